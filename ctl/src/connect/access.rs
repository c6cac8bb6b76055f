//! Where the servers are and who asks, as the command line says: what every connection is made by.

use std::env;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, bail, ensure, Context, Result};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::address::Address;
use super::flags::ConnectFlags;
use super::link::Link;
use super::tls::Tls;
use super::wire::{self, Wire};

/// How the servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// This one and, unless it is to be alone, the replicas that it tells of.
    Server { seed: Address, alone: bool },
    /// The nodes of a cluster, of which this is one.
    Cluster { seed: Address },
    /// What these Sentinels know by that name.
    Sentinel { name: String, at: Vec<Address> },
}

/// Cheap to clone. Not Debug: it has passwords.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    way: Way,
    login: RedisConnectionInfo,
    sentinel_login: RedisConnectionInfo,
    database: u32,
    tls: Option<Tls>,
    timeout: Duration,
}

const FORM: &str = "--url must be redis[s]://[user:password@]host[:port][/database]";

impl Access {
    /// What the options say; a wrong one is an error that names it.
    pub fn new(flags: &ConnectFlags) -> Result<Self> {
        // The URL is not repeated: it may hold a password.
        let info = flags.url.as_str().into_connection_info().map_err(|error| {
            let detail = error.detail().map(|detail| format!(": {detail}"));
            anyhow!("{FORM}{}", detail.unwrap_or_default())
        })?;
        let mut is_tls = false;
        let seed = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Address::tcp(host, *port),
            ConnectionAddr::TcpTls { host, port, insecure, .. } => {
                ensure!(!insecure, "--url: say --insecure in place of #insecure");
                is_tls = true;
                Address::tcp(host, *port)
            }
            ConnectionAddr::Unix(path) => Address::Socket(path.clone()),
            _ => bail!(FORM),
        };
        let database = u32::try_from(info.redis_settings().db())
            .map_err(|_| anyhow!("--url: the database must not be negative"))?;
        let mut login = info.redis_settings().clone().set_db(0).set_skip_set_lib_name();
        if let Some(user) = &flags.user {
            login = login.set_username(user);
        }
        if let (None, Some(password)) = (login.password(), password("REDISCLI_AUTH")?) {
            login = login.set_password(password);
        }
        ensure!(
            login.username().is_none() || login.password().is_some(),
            "--user has no password: give it in REDISCLI_AUTH, or in the URL"
        );
        let mut sentinel_login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = password("APIKEYCTL_SENTINEL_AUTH")? {
            sentinel_login = sentinel_login.set_password(password);
        }
        if let Some(user) = &flags.sentinel_user {
            ensure!(
                sentinel_login.password().is_some(),
                "--sentinel-user has no password: give it in APIKEYCTL_SENTINEL_AUTH"
            );
            sentinel_login = sentinel_login.set_username(user);
        }
        let way = match (&flags.sentinel, flags.cluster) {
            (Some(_), true) => bail!("--sentinel and --cluster exclude each other"),
            (Some(text), false) => sentinel(text)?,
            (None, true) => {
                ensure!(!flags.alone, "--alone and --cluster exclude each other");
                ensure!(database == 0, "--url: a cluster has database 0 alone");
                ensure!(seed.host().is_some(), "--cluster wants the host and port of a node");
                Way::Cluster { seed }
            }
            (None, false) => Way::Server { seed, alone: flags.alone },
        };
        let tls = Tls::new(flags, is_tls)?;
        let timeout = Duration::from_secs(flags.timeout);
        Ok(Self(Arc::new(Inner { way, login, sentinel_login, database, tls, timeout })))
    }

    /// The same user and TLS, for one server alone.
    pub fn alone_at(&self, seed: Address) -> Self {
        let way = Way::Server { seed, alone: true };
        Self(Arc::new(Inner { way, ..(*self.0).clone() }))
    }

    /// The same cluster, told of by another of its nodes.
    pub fn by_node(&self, seed: Address) -> Self {
        Self(Arc::new(Inner { way: Way::Cluster { seed }, ..(*self.0).clone() }))
    }

    /// The same, where a server may take no longer than this for a connection, or an answer that takes it no time.
    pub fn within(&self, most: Duration) -> Self {
        let timeout = self.0.timeout.min(most);
        Self(Arc::new(Inner { timeout, ..(*self.0).clone() }))
    }

    pub fn way(&self) -> &Way {
        &self.0.way
    }

    /// The database that the URL names; 0 where it names none.
    pub fn database(&self) -> u32 {
        self.0.database
    }

    /// Who logs in at servers.
    pub fn user(&self) -> &str {
        self.0.login.username().unwrap_or("default")
    }

    pub fn speaks_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    /// Connects to a server, with this database selected.
    pub fn link(&self, at: &Address, database: u32) -> Result<Link> {
        let login = self.0.login.clone().set_db(i64::from(database));
        self.open(at, login)
    }

    /// Connects to a Sentinel.
    pub fn sentinel_link(&self, at: &Address) -> Result<Link> {
        self.open(at, self.0.sentinel_login.clone())
    }

    /// Connects to a server as the same user, to read what is no reply.
    pub fn wire(&self, at: &Address) -> Result<Wire> {
        Wire::open(at, self.0.tls.as_ref(), &self.0.login, self.0.timeout)
    }

    /// When the certificate that a server shows ends; none where TLS is not spoken.
    pub fn end_of_certificate(&self, at: &Address) -> Result<Option<SystemTime>> {
        let (Some(tls), Address::Tcp { host, port }) = (&self.0.tls, at) else { return Ok(None) };
        let stream = wire::connect(host, *port, self.0.timeout)?;
        stream.set_read_timeout(Some(self.0.timeout))?;
        stream.set_write_timeout(Some(self.0.timeout))?;
        tls.end_of_certificate(host, stream).map(Some)
    }

    fn open(&self, at: &Address, login: RedisConnectionInfo) -> Result<Link> {
        let addr = match at {
            Address::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
            Address::Socket(path) => ConnectionAddr::Unix(path.clone()),
        };
        let info: ConnectionInfo = addr.into_connection_info().context("an address")?;
        let info = info.set_redis_settings(login);
        let client = match (&self.0.tls, at) {
            (Some(tls), Address::Tcp { host, port }) => tls.client(info, host, *port)?,
            _ => Client::open(info)?,
        };
        Link::open(&client, at, self.0.timeout)
    }
}

/// A password of the environment; an empty one is none.
fn password(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => bail!("{name} must be UTF-8"),
    }
}

fn sentinel(text: &str) -> Result<Way> {
    let form = "--sentinel must be NAME@HOST:PORT, with further Sentinels behind commas";
    let (name, rest) = text.split_once('@').context(form)?;
    ensure!(!name.is_empty(), form);
    let at: Result<Vec<Address>, _> = rest.split(',').map(str::parse).collect();
    Ok(Way::Sentinel { name: name.into(), at: at.context(form)? })
}
