//! How long the module's commands took: LATENCY HISTOGRAM (7.0 and later), and INFO commandstats for their sums.

use std::collections::BTreeMap;

use anyhow::Result;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::info::{part, Info};
use super::reply;
use crate::connect::Link;

/// What the calls of one command took since the start, or since CONFIG RESETSTAT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    pub calls: u64,
    /// Of all of them together.
    pub microseconds: u64,
    /// Of how many calls it is known that they took no more than so many microseconds. Powers of two, nearly; the
    /// server leaves out those that no call has added to. Empty where it keeps none: before 7.0, and with
    /// `latency-tracking no`.
    pub within: BTreeMap<u64, u64>,
}

/// Of each command of the module's that was called, by its name: `apikey.validate`.
pub fn read(link: &mut Link) -> Result<BTreeMap<String, Durations>> {
    let mut command = redis::cmd("LATENCY");
    command.arg("HISTOGRAM");
    let kept = match link.try_ask(&command)? {
        Ok(reply) => reply,
        Err(refusal) if refusal.is_unknown_command() => Value::Array(Vec::new()),
        Err(refusal) => return Err(link.refused(&command, &refusal)),
    };
    Ok(join(&Info::read(link, "commandstats")?, &kept))
}

fn join(stats: &Info, kept: &Value) -> BTreeMap<String, Durations> {
    let of_command = |(name, line): (&str, &str)| {
        let name = name
            .strip_prefix("cmdstat_")
            .filter(|name| ["apikey.", "cache."].iter().any(|begin| name.starts_with(begin)))?;
        let calls = part(line, "calls")?.parse().ok()?;
        let microseconds = part(line, "usec")?.parse().ok()?;
        let durations = Durations { calls, microseconds, within: BTreeMap::new() };
        Some((name.to_string(), durations))
    };
    let mut all: BTreeMap<String, Durations> = stats.lines().filter_map(of_command).collect();
    for (name, histogram) in reply::fields(kept).unwrap_or_default() {
        let (Some(durations), Some(within)) = (all.get_mut(&name), within(&histogram)) else {
            continue;
        };
        // Both are asked one after the other, and a histogram has no fewer than its buckets.
        durations.calls = durations.calls.max(within.values().copied().max().unwrap_or(0));
        durations.within = within;
    }
    all
}

fn within(histogram: &Value) -> Option<BTreeMap<u64, u64>> {
    let fields = reply::fields(histogram)?;
    let (_, buckets) = fields.into_iter().find(|(name, _)| name == "histogram_usec")?;
    let number = |value: &Value| u64::try_from(reply::number(value)?).ok();
    match buckets {
        Value::Map(pairs) => {
            pairs.iter().map(|(bound, calls)| Some((number(bound)?, number(calls)?))).collect()
        }
        Value::Array(flat) => flat
            .chunks_exact(2)
            .map(|pair| match pair {
                [bound, calls] => Some((number(bound)?, number(calls)?)),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_joined_with_their_buckets() {
        let text = |text: &str| Value::BulkString(text.into());
        let stats = Info::parse(
            "cmdstat_get:calls=1,usec=1\r\ncmdstat_apikey.validate:calls=3,usec=180,usec_per_call=60.00\r\n\
             cmdstat_apikey.token:calls=1,usec=9\r\n",
        );
        let buckets = Value::Array([33, 2, 132, 4].map(Value::Int).into());
        let histogram =
            Value::Array(vec![text("calls"), Value::Int(4), text("histogram_usec"), buckets]);
        let kept = Value::Array(vec![text("apikey.validate"), histogram]);
        let validate =
            Durations { calls: 4, microseconds: 180, within: [(33, 2), (132, 4)].into() };
        let token = Durations { calls: 1, microseconds: 9, within: BTreeMap::new() };
        let expected =
            [("apikey.token".to_string(), token), ("apikey.validate".to_string(), validate)];
        assert_eq!(join(&stats, &kept), expected.into());
        assert_eq!(join(&stats, &Value::Nil).len(), 2);
    }
}
