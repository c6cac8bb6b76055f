//! Whether replicas have what their primary has.

use std::time::Duration;

use anyhow::Result;
use redis::Value;

use super::reply;
use crate::connect::Link;

/// How long they may take to say so.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many of so many replicas have not said in time that they have all that was done on this link.
pub fn behind(link: &mut Link, replicas: usize) -> Result<u64> {
    if replicas == 0 {
        return Ok(0);
    }
    let have: Value =
        link.ask(redis::cmd("WAIT").arg(replicas).arg(PATIENCE.as_millis() as u64))?;
    let have = reply::number(&have).and_then(|have| usize::try_from(have).ok()).unwrap_or(0);
    Ok(replicas.saturating_sub(have) as u64)
}
