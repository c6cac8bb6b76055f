//! Which PostgreSQL, and how it is reached: a URL, the PG* variables that psql takes too, TLS.

use std::env;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure, Context, Result};
use postgres::config::SslMode;
use postgres::{Client, Config};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::Anybody;

pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
}

const FORM: &str = "--postgres must be postgresql://[user@]host[:port][/database]; the password stands in PGPASSWORD";

/// As psql does without one.
const SOCKETS: &str = "/var/run/postgresql";

const PATIENCE: Duration = Duration::from_secs(10);

impl Database {
    /// What the URL says and, where it says nothing, the variables. The URL is not repeated: it may hold a password.
    pub fn new(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let is_url = base.starts_with("postgresql://") || base.starts_with("postgres://");
        ensure!(url.is_empty() || is_url, FORM);
        let (of_tls, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| {
            Tls::NAMES.iter().any(|(name, _)| pair.split('=').next() == Some(name))
        });
        let mut config = match is_url {
            true => Config::from_str(&format!("{base}?{}", rest.join("&")))
                .map_err(|error| anyhow!("{FORM} ({})", causes(&error)))?,
            false => Config::new(),
        };
        complete(&mut config)?;
        let tls = Tls::new(&of_tls.join("&"))?;
        config.ssl_mode(tls.mode);
        Ok(Self { config, tls: MakeRustlsConnect::new(tls.client()?) })
    }

    /// How long all of its hosts together may take to let one in.
    pub fn patience(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        let each = self.config.get_connect_timeout().copied().unwrap_or(PATIENCE);
        each.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX))
    }

    pub fn connect(&self) -> Result<Client> {
        self.config.connect(self.tls.clone()).map_err(|error| explain(&error))
    }
}

/// What stands in the environment and not in the URL.
fn complete(config: &mut Config) -> Result<()> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let is_there = Path::new(SOCKETS).exists();
        let usual = || if is_there { SOCKETS.into() } else { "localhost".into() };
        for host in variable("PGHOST").unwrap_or_else(usual).split(',') {
            config.host(host);
        }
    }
    if let (true, Some(ports)) = (config.get_ports().is_empty(), variable("PGPORT")) {
        for port in ports.split(',') {
            config.port(port.parse().context("PGPORT must be a port")?);
        }
    }
    if let (None, Some(user)) = (config.get_user(), variable("PGUSER")) {
        config.user(&user);
    }
    if let (None, Some(password)) = (config.get_password(), variable("PGPASSWORD")) {
        config.password(password);
    }
    if let (None, Some(database)) = (config.get_dbname(), variable("PGDATABASE")) {
        config.dbname(&database);
    }
    if let (None, Some(options)) = (config.get_options(), variable("PGOPTIONS")) {
        config.options(&options);
    }
    if config.get_application_name().is_none() {
        config.application_name(variable("PGAPPNAME").as_deref().unwrap_or("apikeyctl drain"));
    }
    if config.get_connect_timeout().is_none() {
        let seconds =
            variable("PGCONNECT_TIMEOUT").map(|text| text.parse().map(Duration::from_secs));
        let seconds = seconds.transpose().context("PGCONNECT_TIMEOUT must be seconds")?;
        config.connect_timeout(seconds.unwrap_or(PATIENCE));
    }
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

/// What libpq calls sslmode and sslrootcert, sslcert and sslkey.
struct Tls {
    mode: SslMode,
    verifies: bool,
    root: Option<String>,
    shown: Option<(String, String)>,
}

impl Tls {
    const NAMES: [(&str, &str); 4] = [
        ("sslmode", "PGSSLMODE"),
        ("sslrootcert", "PGSSLROOTCERT"),
        ("sslcert", "PGSSLCERT"),
        ("sslkey", "PGSSLKEY"),
    ];

    /// Of what the URL says of it.
    fn new(query: &str) -> Result<Self> {
        let [mode, root, cert, key] = Self::NAMES.map(|(name, in_environment)| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            let said = pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
            said.or_else(|| variable(in_environment))
        });
        let root = root.filter(|root| root != "system");
        let mode = mode.as_deref().unwrap_or("prefer");
        let verifies = mode.starts_with("verify-") || root.is_some();
        let mode = match mode {
            "disable" => SslMode::Disable,
            "allow" | "prefer" => SslMode::Prefer,
            "require" | "verify-ca" | "verify-full" => SslMode::Require,
            _ => bail!("sslmode must be disable, allow, prefer, require, verify-ca or verify-full"),
        };
        let shown = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => bail!("sslcert and sslkey belong together: give both, or neither"),
        };
        Ok(Self { mode, verifies, root, shown })
    }

    fn client(&self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .context("TLS")?;
        let builder = match self.verifies {
            true => builder.with_root_certificates(self.roots()?),
            false => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            }
        };
        let Some((cert, key)) = &self.shown else { return Ok(builder.with_no_client_auth()) };
        let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("sslkey: {key}"))?;
        let client = builder.with_client_auth_cert(certificates("sslcert", cert)?, key);
        client.context("sslcert and sslkey")
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match &self.root {
            Some(path) => {
                for certificate in certificates("sslrootcert", path)? {
                    roots.add(certificate).with_context(|| format!("sslrootcert: {path}"))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }
}

fn certificates(name: &str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.with_context(|| format!("{name}: {path}"))?;
    ensure!(!certificates.is_empty(), "{name}: {path} has no certificate");
    Ok(certificates)
}

/// PostgreSQL's error, and what to do.
pub fn explain(error: &postgres::Error) -> anyhow::Error {
    let hint = match error.code().map(|code| code.code()) {
        Some("42P01" | "3F000") => "; --create-tables makes the tables, and examples/usage_to_postgres/schema.sql has them",
        Some("42703" | "42P10" | "42804") => "; the tables have to be as examples/usage_to_postgres/schema.sql makes them",
        Some("28P01" | "28000") => "; give the user in the URL or PGUSER and the password in PGPASSWORD",
        Some("3D000") => "; the URL or PGDATABASE names the database: create it, or name another",
        Some("42501") => "; the user needs SELECT, INSERT and UPDATE on usage_line and usage_total (and with --create-tables CREATE on their schema)",
        Some("25006") => "; it is a standby: name the primary, or several hosts and target_session_attrs=read-write",
        Some("57014") => "; it took longer than the lease: is something holding locks on the tables?",
        Some(_) => "",
        None if causes(error).contains("certificate") => "; sslrootcert names the CA that has signed its certificate, which has to be for the host that is asked",
        None => "; is it up, and do the URL or PGHOST and PGPORT say where it is?",
    };
    anyhow!("PostgreSQL: {}{hint}", causes(error))
}

/// With what is behind it, which it does not say itself.
fn causes(error: &postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        let detail = told.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", told.message());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
