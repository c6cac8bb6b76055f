//! The primary and its replicas, as Sentinels know them.

use anyhow::{anyhow, bail, Result};
use redis::Value;

use super::place::{Place, Said};
use crate::connect::{Access, Address, Link};
use crate::reading::reply;

/// What the first Sentinel that answers says.
pub fn places(access: &Access, name: &str, at: &[Address]) -> Result<Vec<Place>> {
    let mut whys = Vec::new();
    for sentinel in at {
        let told = access.sentinel_link(sentinel).and_then(|mut link| ask(&mut link, name));
        match told {
            Ok(places) => return Ok(places),
            Err(why) => whys.push(format!("{why:#}")),
        }
    }
    bail!("--sentinel: none of them tells where {name} is: {}", whys.join("; "))
}

fn ask(link: &mut Link, name: &str) -> Result<Vec<Place>> {
    let mut command = redis::cmd("SENTINEL");
    let told: Value = link.ask(command.arg("GET-MASTER-ADDR-BY-NAME").arg(name))?;
    let address = match reply::texts(&told).as_deref() {
        Some([host, port]) => format!("{host}:{port}").parse().ok(),
        _ => None,
    };
    let primary: Address = address.ok_or_else(|| {
        anyhow!("{} watches no {name}: see `sentinel monitor` there", link.address)
    })?;
    let mut command = redis::cmd("SENTINEL");
    let told: Value = link.ask(command.arg("REPLICAS").arg(name))?;
    let replica = |told: &Value| {
        let fields = reply::fields(told)?;
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.and_then(|(_, value)| reply::text(value))
        };
        let address: Address = format!("{}:{}", field("ip")?, field("port")?).parse().ok()?;
        Some(Place::new(address, Said::Replica))
    };
    let replicas = reply::items(&told).unwrap_or_default().iter().filter_map(replica);
    // A replica that was just promoted may still stand there.
    let replicas: Vec<Place> = replicas.filter(|place| place.address != primary).collect();
    Ok([vec![Place::new(primary, Said::Primary)], replicas].concat())
}
