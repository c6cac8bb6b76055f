//! TLS: which certificates are shown, and which are believed.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{bail, ensure, Context, Result};
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use x509_cert::der::Decode;
use x509_cert::Certificate;

use super::anybody::Anybody;
use super::flags::ConnectFlags;

/// How TLS is spoken.
#[derive(Clone)]
pub struct Tls {
    certificates: TlsCertificates,
    insecure: bool,
}

impl Tls {
    /// What the options want; none where they want no TLS.
    pub fn new(flags: &ConnectFlags, is_in_url: bool) -> Result<Option<Self>> {
        let read = |name: &str, path: &Path| {
            fs::read(path).with_context(|| format!("--{name}: {}", path.display()))
        };
        let client_tls = match (&flags.cert, &flags.cert_key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read("cert", cert)?,
                client_key: read("cert-key", key)?,
            }),
            (None, None) => None,
            _ => bail!("--cert and --cert-key belong together: give both, or neither"),
        };
        let root_cert = flags.cacert.as_deref().map(|path| read("cacert", path)).transpose()?;
        ensure!(
            !(flags.insecure && root_cert.is_some()),
            "--insecure takes any certificate, so --cacert says nothing: leave one out"
        );
        let is_wanted =
            is_in_url || flags.tls || flags.insecure || client_tls.is_some() || root_cert.is_some();
        if !is_wanted {
            return Ok(None);
        }
        // Fails where one is installed already, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = TlsCertificates { client_tls, root_cert };
        Ok(Some(Self { certificates, insecure: flags.insecure }))
    }

    /// A client that speaks it, to this host.
    pub fn client(&self, info: ConnectionInfo, host: &str, port: u16) -> Result<Client> {
        let (host, insecure) = (host.to_string(), self.insecure);
        let addr = ConnectionAddr::TcpTls { host, port, insecure, tls_params: None };
        Client::build_with_tls(info.set_addr(addr), self.certificates.clone())
            .context("--cacert, --cert and --cert-key must be PEM files")
    }

    /// The same on a connection that was made: for what the library's client can't read as it comes.
    pub fn speak(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(host.to_string()).context("no name for TLS")?;
        let config = self.config().context("--cacert, --cert and --cert-key must be PEM files")?;
        let connection = ClientConnection::new(Arc::new(config), name)?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// When the certificate that is shown there ends.
    pub fn end_of_certificate(&self, host: &str, stream: TcpStream) -> Result<SystemTime> {
        let mut stream = self.speak(host, stream)?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
        let shown = Certificate::from_der(shown.context("no certificate was shown")?)?;
        Ok(shown.tbs_certificate.validity.not_after.to_system_time())
    }

    fn config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        match &self.certificates.root_cert {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate?)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match &self.certificates.client_tls {
            Some(own) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(&own.client_cert).collect();
                config.with_client_auth_cert(
                    chain?,
                    PrivateKeyDer::from_pem_slice(&own.client_key)?,
                )?
            }
            None => config.with_no_client_auth(),
        };
        if self.insecure {
            let anybody = Anybody(Arc::clone(config.crypto_provider()));
            config.dangerous().set_certificate_verifier(Arc::new(anybody));
        }
        Ok(config)
    }
}
