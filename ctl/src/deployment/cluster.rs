//! The nodes of a cluster, as one of them tells.

use anyhow::{Context, Result};

use super::place::{Member, Place, Said};
use super::slots;
use crate::connect::{Access, Address};

/// All that the seed knows of, with those that have failed; not those that have no address.
pub fn places(access: &Access, seed: &Address) -> Result<Vec<Place>> {
    let mut link = access.link(seed, 0)?;
    let nodes: String = link.ask(redis::cmd("CLUSTER").arg("NODES")).context("--cluster")?;
    let host = seed.host().unwrap_or_default();
    let places = nodes.lines().filter_map(|line| place(line, host, access.speaks_tls()));
    Ok(places.collect())
}

/// `id ip:port@bus[,host] flags primary ping pong epoch link slot..`. A node that does not know its own address
/// leaves it out: it is the one that was asked. By TLS the name is asked, where it has one: that is what
/// certificates are for.
fn place(line: &str, seed: &str, by_name: bool) -> Option<Place> {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, address, flags, primary, _, _, _, _, owned @ ..] = words.as_slice() else {
        return None;
    };
    let flags: Vec<&str> = flags.split(',').collect();
    if flags.contains(&"noaddr") || flags.contains(&"handshake") {
        return None;
    }
    let (address, names) = address.split_once(',').unwrap_or((address, ""));
    let (address, _bus) = address.split_once('@').unwrap_or((address, ""));
    let (ip, port) = address.rsplit_once(':')?;
    let name = names.split(',').next().filter(|name| by_name && !name.is_empty());
    let host = name.unwrap_or(if ip.is_empty() { seed } else { ip });
    let said = if flags.contains(&"master") { Said::Primary } else { Said::Replica };
    Some(Place {
        address: Address::tcp(host, port.parse().ok().filter(|&port| port > 0)?),
        said,
        member: Some(Member {
            id: (*id).into(),
            primary: (*primary != "-").then(|| (*primary).into()),
            slots: owned.iter().filter_map(|text| slots::range(text)).collect(),
            is_failing: flags.contains(&"fail") || flags.contains(&"fail?"),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_node_with_its_slots() {
        let line =
            "07c3 10.0.0.1:30004@31004,node-1 master,fail? - 0 1 2 connected 0-10 12 [93->-67ed]";
        let found = place(line, "seed", false).expect("a node");
        let member = Member {
            id: "07c3".into(),
            primary: None,
            slots: vec![0..=10, 12..=12],
            is_failing: true,
        };
        let expected = Place {
            address: Address::tcp("10.0.0.1", 30004),
            said: Said::Primary,
            member: Some(member),
        };
        assert_eq!(found, expected);
        let by_name = place(line, "seed", true).expect("a node");
        assert_eq!(by_name.address, Address::tcp("node-1", 30004));
        let replica = place("67ed :30002@31002 myself,slave 07c3 0 1 2 connected", "seed", true);
        let replica = replica.expect("a node");
        assert_eq!((replica.address, replica.said), (Address::tcp("seed", 30002), Said::Replica));
        assert_eq!(place("x :0@0 master,noaddr - 0 0 0 disconnected", "seed", false), None);
        assert_eq!(place("", "seed", false), None);
    }
}
