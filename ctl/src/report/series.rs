//! A period that is watched as it passes: what the nodes say, again and again.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::period::{mean, within, Period};
use crate::connect::Link;
use crate::deployment::{Away, Node};
use crate::history::Moment;
use crate::output::Progress;

/// From one moment to the next.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Since the beginning.
    pub seconds: f64,
    pub hits_per_second: f64,
    pub misses_per_second: f64,
    pub hit_rate: Option<f64>,
    /// VALIDATE, in microseconds.
    pub mean_us: Option<f64>,
    pub p99_us: Option<u64>,
    /// Of all nodes together.
    pub used_memory: f64,
}

/// Nodes that are asked again and again, each by one connection.
pub struct Watched<'a> {
    nodes: Vec<(&'a Node, Option<Link>)>,
    /// Those that did not answer, at any time, and why.
    pub away: BTreeMap<String, String>,
}

impl<'a> Watched<'a> {
    pub fn new(nodes: impl Iterator<Item = &'a Node>) -> Self {
        Self { nodes: nodes.map(|node| (node, None)).collect(), away: BTreeMap::new() }
    }

    /// What each says now.
    pub fn ask(&mut self) -> Vec<Moment> {
        let mut all = Vec::new();
        for (node, link) in &mut self.nodes {
            match read(node, link) {
                Ok(moment) => all.push(moment),
                Err(why) => {
                    // It is connected to again the next time.
                    *link = None;
                    self.away.insert(node.address().to_string(), format!("{why:#}"));
                }
            }
        }
        all
    }

    pub fn away(&self) -> impl Iterator<Item = Away> + '_ {
        self.away.iter().map(|(address, why)| Away { address: address.clone(), why: why.clone() })
    }
}

fn read(node: &Node, link: &mut Option<Link>) -> Result<Moment> {
    let link = match link {
        Some(link) => link,
        None => link.insert(node.connect(0)?),
    };
    Moment::read(link)
}

/// Watches for a while, and returns what was seen, and what the nodes say at the end.
pub fn watch(
    nodes: &mut Watched,
    first: &[Moment],
    length: Duration,
    every: Duration,
) -> (Vec<Sample>, Vec<Moment>) {
    let began = Instant::now();
    let progress = Progress::of(Some(length.as_secs()));
    let (mut samples, mut last, mut at) = (Vec::new(), first.to_vec(), 0.0);
    loop {
        let next = Duration::from_secs_f64(at) + every;
        thread::sleep(next.min(length).saturating_sub(began.elapsed()));
        let now = nodes.ask();
        let seconds = began.elapsed().as_secs_f64();
        samples.push(sample(&last, &now, seconds, seconds - at));
        progress.advance((seconds - at) as u64, "watching".into());
        (last, at) = (now, seconds);
        if began.elapsed() >= length {
            return (samples, last);
        }
    }
}

fn sample(before: &[Moment], now: &[Moment], seconds: f64, took: f64) -> Sample {
    // A node that was away before would seem to have done all of its work now.
    let known = |moment: &&Moment| before.iter().any(|then| then.address == moment.address);
    let both: Vec<Moment> = now.iter().filter(known).cloned().collect();
    let period = Period::between(before, &both);
    let validate = period.validate();
    Sample {
        seconds,
        hits_per_second: period.number("hits") / took.max(0.001),
        misses_per_second: period.number("misses") / took.max(0.001),
        hit_rate: period.hit_rate(),
        mean_us: validate.and_then(mean),
        p99_us: validate.and_then(|durations| within(durations, 0.99)),
        used_memory: now.iter().map(|moment| moment.number("used_memory")).sum(),
    }
}
