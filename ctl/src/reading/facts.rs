//! What a server says of itself in INFO: what it is, its role, its databases, whether it has the module.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::info::{part, Info};
use crate::connect::{Address, Link};

/// What the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// `redis` or `valkey`.
    pub name: &'static str,
    /// `7.0.15`.
    pub version: String,
}

/// Whom a server follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica {
        of: Address,
        /// Whether it hears of its primary now.
        is_linked: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Facts {
    pub run_id: String,
    pub server: Server,
    pub role: Role,
    /// Of the module, as the server counts it (100 for 1.0.0); none where it is not loaded. HEALTH has it as a text.
    pub module: Option<u64>,
    /// The keys of each database that has some.
    pub keys: BTreeMap<u32, u64>,
    /// The replicas that follow it, where it can be reached as it says.
    pub replicas: Vec<Address>,
    pub is_in_cluster: bool,
    /// All that INFO said of it, without the module's own sections.
    pub info: Info,
}

impl Facts {
    pub fn read(link: &mut Link) -> Result<Self> {
        Ok(Self::of(Info::read(link, "")?))
    }

    /// Of all that INFO says by itself.
    pub fn of(info: Info) -> Self {
        let text = |name: &str| info.text(name).unwrap_or_default().to_string();
        let server = match info.text("valkey_version") {
            Some(version) => Server { name: "valkey", version: version.into() },
            None => Server { name: "redis", version: text("redis_version") },
        };
        let role = match info.text("role") {
            Some("slave") => Role::Replica {
                of: Address::tcp(text("master_host"), info.number("master_port").unwrap_or(0)),
                is_linked: info.text("master_link_status") == Some("up"),
            },
            _ => Role::Primary,
        };
        let module = info.lines().find_map(|(name, line)| {
            let is_ours = name == "module" && part(line, "name") == Some("apikey");
            is_ours.then(|| part(line, "ver")?.parse().ok())?
        });
        let database = |(name, line): (&str, &str)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            Some((number, part(line, "keys")?.parse().ok()?))
        };
        let replica = |(name, line): (&str, &str)| {
            let number = name.strip_prefix("slave")?;
            let is_numbered =
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let (host, port) = (part(line, "ip")?, part(line, "port")?.parse().ok()?);
            (is_numbered && port > 0).then(|| Address::tcp(host, port))
        };
        Self {
            run_id: text("run_id"),
            server,
            role,
            module,
            keys: info.lines().filter_map(database).collect(),
            replicas: info.lines().filter_map(replica).collect(),
            is_in_cluster: info.text("cluster_enabled") == Some("1"),
            info,
        }
    }

    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// The databases that have keys, and the first in any case.
    pub fn databases(&self) -> Vec<u32> {
        let mut databases: Vec<u32> = self.keys.keys().copied().collect();
        if databases.first() != Some(&0) {
            databases.insert(0, 0);
        }
        databases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_what_it_is() {
        let facts = Facts::of(Info::parse(
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nrun_id:ab\r\nrole:master\r\n\
             connected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\nslave_x:1\r\n\
             slave1:ip=::1,port=6380,state=online\r\nmodule:name=other,ver=7\r\n\
             module:name=apikey,ver=100,api=1\r\ncluster_enabled:0\r\n# Keyspace\r\ndb2:keys=7,expires=1\r\n",
        ));
        let server = Server { name: "valkey", version: "9.1.2".into() };
        assert_eq!(
            (facts.server.clone(), facts.module, facts.is_primary()),
            (server, Some(100), true)
        );
        assert_eq!(facts.replicas, [Address::tcp("10.0.0.2", 6379), Address::tcp("::1", 6380)]);
        assert_eq!((facts.keys.get(&2), facts.databases()), (Some(&7), vec![0, 2]));
        let replica = Facts::of(Info::parse(
            "redis_version:6.2.5\nrole:slave\nmaster_host:a\nmaster_port:1\nmaster_link_status:down\n",
        ));
        let role = Role::Replica { of: Address::tcp("a", 1), is_linked: false };
        assert_eq!((replica.role, replica.module), (role, None));
    }
}
