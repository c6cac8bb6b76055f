//! `report`: how the cache fared in a period, against what one aims at, and what to do about it.
//!
//! `period.rs` is what happened in it, `series.rs` a period that is watched as it passes, `kpis.rs` the key figures with their thresholds,
//! `regions.rs` how regions fared, `top.rs` the tags and counters that matter most. `found.rs` has all of it, `recommend.rs` says what follows;
//! `markdown.rs` and `page.rs`, with `charts.rs`, tell it.

mod charts;
mod found;
mod kpis;
mod markdown;
mod page;
mod period;
mod recommend;
mod regions;
mod series;
mod top;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{bail, ensure, Context, Result};
use clap::Args;

use crate::connect::Access;
use crate::deployment::{Deployment, Node};
use crate::history::{Earlier, Moment};
use crate::output::{Output, Verdict};

use found::{Found, Length};
use kpis::{Level, Other};
use period::Period;
use series::Watched;
use top::Top;

const MORE: &str = "\
The module counts since its server's start, so that is the period by itself. --from takes an earlier report, of --json,
and tells of what came since; --for watches for a while, and has a series for the charts of --html.

Thresholds are those of docs/operating.md, but for those that --threshold gives.

Exit status: 0; 1 where a figure is critical or a node unhealthy; 2 where it could not look at all.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// Watch for so long, like 60s or 10m
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,

    /// How often, while it watches
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    every: Duration,

    /// The period begins at this report, of --json
    #[arg(long, value_name = "FILE", conflicts_with = "length")]
    from: Option<PathBuf>,

    /// Write a page with charts as well, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// So many tags and counters; 0 tells no names
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=100))]
    top: u16,

    /// A figure's target, warning and critical value, like hit_rate=90,85,75; may be given again
    #[arg(long = "threshold", value_name = "NAME=T,W,C")]
    thresholds: Vec<Other>,
}

/// How long and how often it may watch.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
const SHORTEST: Duration = Duration::from_millis(100);
/// Points of a chart: more are no use, and are kept in memory.
const MOST_SAMPLES: u64 = 10_000;

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let every = flags.every.max(SHORTEST);
    if let Some(length) = flags.length {
        ensure!(length <= LONGEST && length >= every, "--for must be between --every and 7 days");
        let samples = length.as_millis() / every.as_millis().max(1);
        ensure!(
            samples <= MOST_SAMPLES.into(),
            "--every is too often for --for: more than {MOST_SAMPLES} samples"
        );
    }
    let earlier = flags.from.as_deref().map(Earlier::read).transpose()?;
    let deployment = Deployment::look(access)?;
    let mut watched = Watched::new(deployment.up());
    let first = watched.ask();
    let (samples, nodes) = match flags.length {
        Some(length) => series::watch(&mut watched, &first, length, every),
        None => (Vec::new(), first.clone()),
    };
    if nodes.is_empty() {
        match watched.away.values().next() {
            Some(why) => bail!("{why}"),
            None => bail!("no server is there that could be asked"),
        }
    }
    let time =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let (figures, period) = match (flags.length, &earlier) {
        (Some(_), _) => {
            let seconds = samples.last().map_or(0.0, |sample| sample.seconds);
            (Period::between(&first, &nodes), Length { seconds, since: "watch" })
        }
        (None, Some(earlier)) => {
            let seconds = earlier.age().as_secs_f64();
            (Period::between(&earlier.nodes, &nodes), Length { seconds, since: "report" })
        }
        (None, None) => {
            let uptime = nodes.iter().map(|node| node.uptime_seconds).max().unwrap_or(0);
            (Period::between(&[], &nodes), Length { seconds: uptime as f64, since: "start" })
        }
    };
    let kpis = kpis::judge(&figures, &nodes, earlier.as_ref(), &flags.thresholds);
    let earlier_nodes = match (flags.length, &earlier) {
        (Some(_), _) => first.as_slice(),
        (None, Some(earlier)) => &earlier.nodes,
        (None, None) => &[],
    };
    let mut regions = regions::between(earlier_nodes, &nodes, period.seconds);
    let mut recommendations = recommend::of(&kpis, &nodes);
    recommendations.extend(recommend::of_regions(&regions));
    recommendations.sort_by_key(|one| std::cmp::Reverse(one.level));
    let primaries: Vec<&Node> = deployment.primaries().collect();
    let top = Top::of(&primaries, flags.top.into());
    // A primary that went meanwhile is told of elsewhere.
    let _ = regions::with_keys(&mut regions, &primaries, flags.top.into());
    let mut found = Found {
        time,
        period,
        level: level(&kpis, &nodes, &regions),
        kpis,
        recommendations,
        counted: figures.counted.clone(),
        commands: found::commands(&figures),
        regions,
        top,
        samples,
        nodes,
        away: deployment.away(),
        figures,
    };
    found.away.extend(watched.away());
    if let Some(path) = &flags.html {
        let page = page::of(&found)?;
        fs::write(path, page).with_context(|| format!("--html {}", path.display()))?;
    }
    output.print(&found)?;
    Ok(match (found.level, found.away.is_empty()) {
        (Level::Critical, _) => Verdict::Wrong,
        (_, false) => Verdict::Blind,
        (_, true) => Verdict::Well,
    })
}

fn level(kpis: &[kpis::Kpi], nodes: &[Moment], regions: &[regions::Told]) -> Level {
    let of_node = |node: &Moment| match node.text("status") {
        "unhealthy" => Level::Critical,
        "degraded" => Level::Warning,
        _ => Level::Good,
    };
    let all = kpis.iter().map(|kpi| kpi.level).chain(nodes.iter().map(of_node));
    all.chain(regions.iter().map(regions::Told::level)).max().unwrap_or(Level::Unknown)
}
