//! A scrape as the page that Prometheus reads: OpenMetrics, or the older text for who does not ask for that.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{prometheus_text, text, DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::families::{Family, Kind, FAMILIES, OF_INFO, STATUSES};
use super::regions;
use crate::reading::{Durations, Facts, Region, Role};
use crate::watch::{Figures, Scrape, Seen};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The bounds of the buckets, in microseconds, as LATENCY HISTOGRAM has them: always the same, so that those of
/// several nodes can be added.
const BOUNDS: [u64; 19] = [
    4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16_909, 33_818, 67_637, 135_274,
    270_549, 541_098, 1_082_196,
];

/// The page, and its content type.
pub fn page(scrape: Scrape, open_metrics: bool) -> Result<(String, &'static str), fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut page = String::new();
    match open_metrics {
        true => text::encode(&mut page, &registry)?,
        false => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok((page, if open_metrics { OPEN_METRICS } else { prometheus_text::CONTENT_TYPE }))
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Scrape {
    fn encode(&self, mut to: DescriptorEncoder) -> fmt::Result {
        let up = self.nodes.iter().map(|seen| of_node(seen, seen.figures.is_ok()));
        gauges(&mut to, "apikey_up", "Whether it gave all of these figures", up)?;
        let found = [(vec![], f64::from(self.lost.is_none()))];
        let help = "Whether the servers could be found by who tells of them";
        gauges(&mut to, "apikey_discovery_up", help, found)?;
        let loaded = self
            .nodes
            .iter()
            .filter_map(|seen| Some(of_node(seen, seen.facts.as_ref()?.module.is_some())));
        let help = "Whether a server that answers has the module";
        gauges(&mut to, "apikey_module_loaded", help, loaded)?;
        infos(&mut to, &self.nodes)?;

        let told: Vec<(&str, &Figures)> = self
            .nodes
            .iter()
            .filter_map(|seen| Some((&*seen.node, seen.figures.as_ref().ok()?)))
            .collect();
        statuses(&mut to, &told)?;
        for family in FAMILIES {
            numbers(&mut to, family, &told, |figures, field| figures.health.number(field))?;
        }
        let with_regions: Vec<(&str, &[Region])> = told
            .iter()
            .filter_map(|(node, figures)| Some((*node, figures.regions.as_deref()?)))
            .collect();
        regions::encode(&mut to, &with_regions)?;
        let with_facts: Vec<(&str, &Facts)> = self
            .nodes
            .iter()
            .filter(|seen| seen.figures.is_ok())
            .filter_map(|seen| Some((&*seen.node, seen.facts.as_ref()?)))
            .collect();
        for family in OF_INFO {
            numbers(&mut to, family, &with_facts, |facts, field| facts.info.number(field))?;
        }
        histograms(&mut to, &told)?;
        let mut scrape = to.encode_descriptor(
            "apikey_scrape_duration",
            "How long the servers took to give these figures",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        scrape.encode_gauge(&self.took.as_secs_f64())
    }
}

fn of_node(seen: &Seen, is_so: bool) -> (Labels<'_>, f64) {
    (vec![("node", &seen.node)], is_so.into())
}

fn gauges<'a>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (Labels<'a>, f64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// What does not count: role and versions, so that a failover does not break every other series in two.
fn infos(to: &mut DescriptorEncoder, nodes: &[Seen]) -> fmt::Result {
    let help = "What the server is";
    let mut family = to.encode_descriptor("apikey_node", help, None, MetricType::Info)?;
    for seen in nodes {
        let Some(facts) = &seen.facts else { continue };
        let role = match facts.role {
            Role::Primary => "primary",
            Role::Replica { .. } => "replica",
        };
        let server = [
            ("node", &*seen.node),
            ("role", role),
            ("server", facts.server.name),
            ("server_version", &*facts.server.version),
        ];
        family.encode_info(&server)?;
    }
    let help = "The module's version";
    let mut family = to.encode_descriptor("apikey_build", help, None, MetricType::Info)?;
    for seen in nodes {
        let Ok(figures) = &seen.figures else { continue };
        let version = figures.health.version();
        family.encode_info(&[("node", &*seen.node), ("version", &*version)])?;
    }
    Ok(())
}

fn statuses(to: &mut DescriptorEncoder, told: &[(&str, &Figures)]) -> fmt::Result {
    let series = told.iter().flat_map(|(node, figures)| {
        let status = figures.health.status();
        STATUSES.map(|name| (vec![("node", *node), ("status", name)], f64::from(status == name)))
    });
    gauges(to, "apikey_health_status", "1 for the status that APIKEY.HEALTH has", series)
}

/// `number` reads a field of what a node told.
fn numbers<T>(
    to: &mut DescriptorEncoder,
    family: &Family,
    told: &[(&str, &T)],
    number: impl Fn(&T, &str) -> Option<i64>,
) -> fmt::Result {
    let (kind, unit) = match family.kind {
        Kind::Counter => (MetricType::Counter, None),
        Kind::Gauge => (MetricType::Gauge, None),
        Kind::Bytes => (MetricType::Gauge, Some(&Unit::Bytes)),
        Kind::Seconds => (MetricType::Gauge, Some(&Unit::Seconds)),
    };
    let mut encoder = to.encode_descriptor(family.name, family.help, unit, kind)?;
    for (node, figures) in told {
        for (field, label) in family.figures.all() {
            // Nil, or a field that this version of the module, or of the server, does not have.
            let Some(number) = number(figures, field) else { continue };
            let labels: Labels = [("node", *node)].into_iter().chain(label).collect();
            let mut encoder = encoder.encode_family(&labels)?;
            match family.kind {
                Kind::Counter => {
                    let number = u64::try_from(number).unwrap_or(0);
                    encoder.encode_counter::<NoLabelSet, u64, f64>(&number, None)?;
                }
                Kind::Gauge | Kind::Bytes => encoder.encode_gauge(&number)?,
                Kind::Seconds => encoder.encode_gauge(&(number as f64 / 1e3))?,
            }
        }
    }
    Ok(())
}

fn histograms(to: &mut DescriptorEncoder, told: &[(&str, &Figures)]) -> fmt::Result {
    let mut family = to.encode_descriptor(
        "apikey_command_duration",
        "How long the module's commands took, in the server's main thread",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (node, figures) in told {
        for (command, durations) in &figures.durations {
            let labels: Labels = vec![("node", node), ("command", command)];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                durations.microseconds as f64 / 1e6,
                durations.calls,
                &buckets(durations),
                None,
            )?;
        }
    }
    Ok(())
}

/// How many calls each bucket has beyond the one before; of a server that keeps none, the last has all.
fn buckets(durations: &Durations) -> Vec<(f64, u64)> {
    let mut before = 0;
    let mut bucket = |bound: f64, within: u64| {
        let more = within.saturating_sub(before);
        before = before.max(within);
        (bound, more)
    };
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    if !durations.within.is_empty() {
        buckets.extend(BOUNDS.map(|bound| {
            let within =
                durations.within.range(..=bound).next_back().map_or(0, |(_, calls)| *calls);
            bucket(bound as f64 / 1e6, within)
        }));
    }
    buckets.push(bucket(f64::INFINITY, durations.calls));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_the_same_for_all_commands_and_lose_no_call() {
        let within = [(1, 2), (33, 5), (66, 7), (2_164_392, 8)].into();
        let buckets = buckets(&Durations { calls: 8, microseconds: 0, within });
        assert_eq!(buckets.len(), BOUNDS.len() + 1);
        let some: Vec<_> = buckets.iter().filter(|(_, calls)| *calls > 0).copied().collect();
        let expected = [(4e-6, 2), (33e-6, 3), (66e-6, 2), (f64::INFINITY, 1)];
        assert_eq!(some, expected);
        let none = Durations { calls: 3, microseconds: 9, within: [].into() };
        assert_eq!(super::buckets(&none), [(f64::INFINITY, 3)]);
    }
}
