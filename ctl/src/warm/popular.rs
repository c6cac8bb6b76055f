//! Which keys of a region are read most, by CACHE.TOP at all primaries.

use std::collections::HashSet;

use anyhow::{Context, Result};
use redis::Value;

use crate::connect::Access;
use crate::deployment::Deployment;
use crate::reading::reply;

/// So many of them; fewer where fewer were read.
pub fn keys(
    access: &Access,
    region: &str,
    namespace: Option<&str>,
    most: usize,
) -> Result<HashSet<Vec<u8>>> {
    let deployment = Deployment::look(access)?;
    let mut all: Vec<(i64, Vec<u8>)> = Vec::new();
    for node in deployment.all_primaries()? {
        let mut link = node.connect(access.database())?;
        let mut command = redis::cmd("CACHE.TOP");
        command.arg(region).arg("COUNT").arg(most);
        if let Some(namespace) = namespace {
            command.arg("NS").arg(namespace);
        }
        let told: Value = link.ask(&command)?;
        for pair in reply::items(&told).context("CACHE.TOP has a reply that is not known")? {
            let [key, hits] = reply::items(pair).unwrap_or_default() else { continue };
            if let (Some(key), Some(hits)) = (reply::bytes(key), reply::number(hits)) {
                all.push((hits, key.to_vec()));
            }
        }
    }
    all.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
    Ok(all.into_iter().take(most).map(|(_, key)| key).collect())
}
