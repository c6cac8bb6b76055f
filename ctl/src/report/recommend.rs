//! What follows of the figures, each with its reason.

use super::found::Recommendation;
use super::kpis::{Kpi, Level};
use super::regions::Told;
use crate::history::Moment;

pub fn of(kpis: &[Kpi], nodes: &[Moment]) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = nodes.iter().flat_map(of_health).collect();
    all.extend(kpis.iter().filter(|kpi| kpi.level >= Level::Fair).map(of_kpi));
    all.extend(nodes.iter().filter(|node| node.number("maxmemory") < 1.0).map(without_limit));
    all.sort_by_key(|one| std::cmp::Reverse(one.level));
    all
}

/// Of those that find too little, or evict too much.
pub fn of_regions(regions: &[Told]) -> Vec<Recommendation> {
    let mut all = Vec::new();
    for told in regions {
        let one = |level, why: String, todo: &str| Recommendation {
            level,
            about: "region".into(),
            why: format!("region {}: {why}", told.title),
            todo: todo.into(),
        };
        if let Some(rate) = told.hit_rate.value.filter(|_| told.hit_rate.level >= Level::Fair) {
            let why = format!("{rate:.1} % of {} lookups found something", told.lookups);
            let todo = "see its evictions and refused fills, a TTL that is too short, and readers that do not fill; apikeyctl warm --region --popular loads what is used most";
            all.push(one(told.hit_rate.level, why, todo));
        }
        let evictions = &told.eviction_rate;
        if let Some(rate) = evictions.value.filter(|_| evictions.level >= Level::Fair) {
            let why = format!("{rate:.1} % of its entries are evicted in five minutes");
            let todo = "raise its MAXBYTES or MAXENTRIES (CACHE.REGION SET), or maxmemory where it has no bound";
            all.push(one(evictions.level, why, todo));
        }
    }
    all
}

fn of_health(node: &Moment) -> Vec<Recommendation> {
    let level = match node.text("status") {
        "unhealthy" => Level::Critical,
        _ => Level::Warning,
    };
    let one = |reason: String| Recommendation {
        level,
        about: "health".into(),
        why: format!("{} is {}: {reason}", node.address, node.text("status")),
        todo: "apikeyctl doctor says what to do (docs/operations.md#health)".into(),
    };
    node.reasons().into_iter().map(one).collect()
}

fn without_limit(node: &Moment) -> Recommendation {
    Recommendation {
        level: Level::Fair,
        about: "memory".into(),
        why: format!("{} has no maxmemory: it takes memory until the kernel ends it", node.address),
        todo: "set it; apikeyctl plan says how much is wanted".into(),
    }
}

fn of_kpi(kpi: &Kpi) -> Recommendation {
    let todo = match kpi.kpi {
        "hit_rate" => "after a start or a large TAGINVAL it rises by itself; else see evictions and stale fills, a validation-ttl that is too short, and readers that do not fill",
        "response_time" | "response_time_p99" => "see SLOWLOG and LATENCY LATEST for what else the server does, and whether it has a processor for itself; large records and many scopes cost the most",
        "memory" => "apikeyctl plan says how long it will do; raise maxmemory, or add primaries",
        "evictions" => "memory is too small for what is used: raise maxmemory, or shorten validation-ttl; apikeyctl plan says what is wanted",
        "stale_fills" => "tokens are older than token-ttl-ms, come from another node, or very much is invalidated at once: see fence-slots (docs/settings.md)",
        "refusals" => "APIKEY.LOG has who is refused and why: a client that goes on with a key that is gone, or somebody who guesses",
        "usage_lag" => "no consumer settles what was leased: see that one runs and can acknowledge (docs/usage.md)",
        _ => "use fewer connections, with a pool for each process, or raise maxclients and the limit of open files",
    };
    let side = if kpi.thresholds.wants_more() { "under" } else { "above" };
    let (name, mark) = match kpi.level {
        Level::Critical => ("critical", kpi.thresholds.critical),
        Level::Warning => ("warned of", kpi.thresholds.warning),
        _ => ("aimed at", kpi.thresholds.target),
    };
    let value = kpi.value.unwrap_or(0.0);
    Recommendation {
        level: kpi.level,
        about: kpi.kpi.into(),
        why: format!(
            "{}: {value:.1} {unit}, {side} the {mark} {unit} that are {name} ({})",
            kpi.title,
            kpi.of,
            unit = kpi.unit
        ),
        todo: todo.into(),
    }
}
