//! TLS: which certificates are shown, and which are believed.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};

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
}
