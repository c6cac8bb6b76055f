//! Which primary has a key: the one server, or in a cluster the one that has the key's slot.
//!
//! The map of slots is read once. A token is its primary's, and nothing orders the invalidations of two:
//! where slots move meanwhile the run ends and has to be started again.

use anyhow::{bail, ensure, Context, Result};
use crc::{Crc, CRC_16_XMODEM};
use redis::{ConnectionAddr, ConnectionInfo, Value};

use crate::node::{self, Node};

const SLOTS: usize = 16_384;
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Host and port.
type Address = (String, u16);

/// First slot, last slot and primary.
type Range = (usize, usize, Address);

pub struct Primaries {
    pub nodes: Vec<Node>,
    /// The place in `nodes` of each slot's primary; empty where there is one server for all.
    by_slot: Vec<Option<usize>>,
}

impl Primaries {
    /// Connects, and takes a token from each.
    pub fn connect(server: &ConnectionInfo, is_cluster: bool) -> Result<Self> {
        if !is_cluster {
            // Any key will do.
            let node = Node::connect(server, "warm")?;
            return Ok(Self { nodes: vec![node], by_slot: Vec::new() });
        }
        let ConnectionAddr::Tcp(seed, _) = server.addr() else {
            bail!("--cluster wants the host and port of one of its nodes");
        };
        let mut connection = node::open(server)?;
        let ranges: Value = redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query(&mut connection)
            .context("--cluster: CLUSTER SLOTS")?;
        let ranges =
            ranges_of(&ranges, seed).context("CLUSTER SLOTS has a form that is not known")?;
        let mut addresses: Vec<Address> = Vec::new();
        let mut by_slot = vec![None; SLOTS];
        for (first, last, address) in ranges {
            let known = addresses.iter().position(|known| *known == address);
            let place = known.unwrap_or(addresses.len());
            if known.is_none() {
                addresses.push(address);
            }
            by_slot.get_mut(first..=last).context("a slot beyond 16383")?.fill(Some(place));
        }
        ensure!(by_slot.iter().all(Option::is_some), "the cluster has slots without a primary");
        let mut nodes = Vec::new();
        for (place, (host, port)) in addresses.into_iter().enumerate() {
            let server = server.clone().set_addr(ConnectionAddr::Tcp(host, port));
            // A token is asked for by a key; this one is the primary's.
            let key = (0u32..).map(|number| format!("warm:{number}"));
            let key = { key }.find(|key| by_slot[slot(key.as_bytes())] == Some(place));
            nodes.push(Node::connect(&server, &key.context("no key of its slots")?)?);
        }
        Ok(Self { nodes, by_slot })
    }

    pub fn of(&mut self, key: &str) -> &mut Node {
        let place = match self.by_slot.is_empty() {
            true => 0,
            false => self.by_slot[slot(key.as_bytes())].unwrap_or(0),
        };
        &mut self.nodes[place]
    }
}

/// The ranges of slots. A node that does not know its own address leaves it out: it is the one that was
/// asked.
fn ranges_of(reply: &Value, seed: &str) -> Option<Vec<Range>> {
    let items = |value: &Value| match value {
        Value::Array(items) => Some(items.clone()),
        _ => None,
    };
    let number = |value: Option<&Value>| match value {
        Some(Value::Int(number)) => usize::try_from(*number).ok(),
        _ => None,
    };
    let range = |value: &Value| {
        let range = items(value)?;
        let primary = items(range.get(2)?)?;
        let host = match primary.first()? {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            _ => seed.to_string(),
        };
        let port = u16::try_from(number(primary.get(1))?).ok()?;
        Some((number(range.first())?, number(range.get(1))?, (host, port)))
    };
    items(reply)?.iter().map(range).collect()
}

/// The slot of a key: of what its first braces hold, where they hold anything.
fn slot(key: &[u8]) -> usize {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let behind = &key[open + 1..];
        let len = behind.iter().position(|&byte| byte == b'}')?;
        (len > 0).then_some(&behind[..len])
    });
    usize::from(CRC.checksum(tag.unwrap_or(key))) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CLUSTER KEYSLOT says.
    #[test]
    fn a_key_has_the_slot_that_the_server_gives_it() {
        for (key, expected) in [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("apikey:{foo}:scopes", 12182),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
