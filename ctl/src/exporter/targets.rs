//! Whom a scrape may ask for: what the connection options find, or one of the servers that `--target` names.
//!
//! The password goes to servers of the command line alone. Else whoever reaches this port could have it sent to a
//! server of their own.

use std::str::FromStr;

use anyhow::{ensure, Result};

use crate::connect::address::NoAddress;
use crate::connect::{Access, Address};
use crate::watch::Watch;

/// `host:port`, also behind `redis://` or `rediss://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    address: Address,
    wants_tls: bool,
}

impl FromStr for Target {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let plain = text.strip_prefix("redis://");
        let tls = text.strip_prefix("rediss://");
        // What has a user in it, or a database, has no port at its end, or an at sign in its host.
        let address: Address = plain.or(tls).unwrap_or(text).parse()?;
        match address.host() {
            Some(host) if !host.contains('@') => Ok(Self { address, wants_tls: tls.is_some() }),
            _ => Err(NoAddress),
        }
    }
}

pub struct Targets {
    default: Watch,
    named: Vec<(Address, Watch)>,
}

/// Why a target is not asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It can't be read.
    NoTarget,
    /// The command line does not name it.
    NotNamed,
}

impl Targets {
    pub fn new(access: &Access, targets: &[Target]) -> Result<Self> {
        for target in targets {
            ensure!(
                !target.wants_tls || access.speaks_tls(),
                "--target rediss://{}: TLS is for all of them or none: say --tls",
                target.address
            );
        }
        let named = targets.iter().map(|Target { address, .. }| {
            (address.clone(), Watch::new(access.alone_at(address.clone())))
        });
        Ok(Self { default: Watch::new(access.clone()), named: named.collect() })
    }

    /// What is to be scraped for what a request has as target.
    pub fn find(&self, target: Option<&str>) -> Result<&Watch, Refused> {
        let Some(text) = target else { return Ok(&self.default) };
        let target: Target = text.parse().map_err(|_| Refused::NoTarget)?;
        let named = self.named.iter().find(|(address, _)| *address == target.address);
        named.map(|(_, watch)| watch).ok_or(Refused::NotNamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port_and_nothing_else() {
        for (text, wants_tls) in [("h:1", false), ("redis://h:1", false), ("rediss://h:1", true)] {
            let target = Target { address: Address::tcp("h", 1), wants_tls };
            assert_eq!(text.parse(), Ok(target), "{text}");
        }
        for text in ["", "h", "redis://h", "redis://u:p@h:1", "http://h:1/", "redis://h:1/0"] {
            assert_eq!(text.parse::<Target>(), Err(NoAddress), "{text}");
        }
    }
}
