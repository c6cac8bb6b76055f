//! Figures of regions, by CACHE.STATS: of each region's own, since their names are an operator's and few; of those that
//! are asked most, where there are many.

use std::cmp::Reverse;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::families::Kind;
use crate::reading::Region;

/// Regions of a server that have series.
const MOST: usize = 200;

/// Where a figure of a region's stands; none where it has none.
type Figure = fn(&Region) -> Option<u64>;

/// A metric, with the value of the label that tells its figures apart.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    label: &'static str,
    figures: &'static [(&'static str, Figure)],
}

const fn one(
    name: &'static str,
    kind: Kind,
    figures: &'static [(&'static str, Figure)],
    help: &'static str,
) -> Family {
    Family { name, help, kind, label: "", figures }
}

const FAMILIES: &[Family] = &[
    one(
        "apikey_region_entries",
        Kind::Gauge,
        &[("", |region| Some(region.entries))],
        "Entries of a region, dead ones that are not yet removed among them",
    ),
    one(
        "apikey_region_dead_entries",
        Kind::Gauge,
        &[("", |region| Some(region.dead))],
        "Dead entries of a region that are still to be removed",
    ),
    one(
        "apikey_region",
        Kind::Bytes,
        &[("", |region| Some(region.bytes))],
        "What a region holds, with the names of its keys",
    ),
    Family {
        name: "apikey_region_answers",
        help: "Answers of CACHE.GET and MGET, by code",
        kind: Kind::Counter,
        label: "answer",
        figures: &[
            ("hit", |region| Some(region.hits)),
            ("stale", |region| Some(region.stale)),
            ("miss", |region| Some(region.misses)),
            ("wait", |region| Some(region.waits)),
            ("absent", |region| Some(region.absent)),
        ],
    },
    one(
        "apikey_region_evicted_entries",
        Kind::Counter,
        &[("", |region| Some(region.evicted))],
        "Entries that went for the region's bounds, or for want of memory",
    ),
    one(
        "apikey_region_refused_fills",
        Kind::Counter,
        &[("", |region| Some(region.refused_fills))],
        "Fills that their token refused",
    ),
    one(
        "apikey_region_leases",
        Kind::Counter,
        &[("", |region| Some(region.leases))],
        "Leases that were given to who loads",
    ),
    one(
        "apikey_region_oldest",
        Kind::Seconds,
        &[("", |region| region.oldest)],
        "Age of the oldest of some entries",
    ),
    one(
        "apikey_region_limit",
        Kind::Bytes,
        &[("", |region| Some(region.max_bytes))],
        "What a region may hold, by MAXBYTES; 0 where there is no limit",
    ),
    one(
        "apikey_region_limit_entries",
        Kind::Gauge,
        &[("", |region| Some(region.max_entries))],
        "How many entries a region may have, by MAXENTRIES; 0 where there is no limit",
    ),
];

/// Of nodes with their regions.
pub fn encode(to: &mut DescriptorEncoder, told: &[(&str, &[Region])]) -> fmt::Result {
    let chosen: Vec<(&str, String, &Region)> = told
        .iter()
        .flat_map(|(node, regions)| {
            chosen(regions).into_iter().map(|region| (*node, region.database.to_string(), region))
        })
        .collect();
    for family in FAMILIES {
        let (kind, unit) = match family.kind {
            Kind::Counter => (MetricType::Counter, None),
            Kind::Gauge => (MetricType::Gauge, None),
            Kind::Bytes => (MetricType::Gauge, Some(&Unit::Bytes)),
            Kind::Seconds => (MetricType::Gauge, Some(&Unit::Seconds)),
        };
        let mut encoder = to.encode_descriptor(family.name, family.help, unit, kind)?;
        for (node, database, region) in &chosen {
            for (value, figure) in family.figures {
                let Some(number) = figure(region) else { continue };
                let mut labels = vec![
                    ("node", *node),
                    ("database", database.as_str()),
                    ("namespace", region.namespace.as_str()),
                    ("region", region.region.as_str()),
                ];
                if !family.label.is_empty() {
                    labels.push((family.label, value));
                }
                let mut encoder = encoder.encode_family(&labels)?;
                match family.kind {
                    Kind::Counter => {
                        encoder.encode_counter::<NoLabelSet, u64, f64>(&number, None)?;
                    }
                    Kind::Gauge | Kind::Bytes => {
                        encoder.encode_gauge(&i64::try_from(number).unwrap_or(i64::MAX))?;
                    }
                    Kind::Seconds => encoder.encode_gauge(&(number as f64 / 1e3))?,
                }
            }
        }
    }
    let help = "Regions that have no series, since a server has too many";
    let mut encoder =
        to.encode_descriptor("apikey_regions_left_out", help, None, MetricType::Gauge)?;
    for (node, regions) in told {
        let left_out = i64::try_from(regions.len().saturating_sub(MOST)).unwrap_or(i64::MAX);
        encoder.encode_family(&[("node", *node)])?.encode_gauge(&left_out)?;
    }
    Ok(())
}

/// Those that are asked most, in their order. As counters grow who is among them seldom changes.
fn chosen(regions: &[Region]) -> Vec<&Region> {
    let mut chosen: Vec<&Region> = regions.iter().collect();
    chosen.sort_by_key(|region| (Reverse(region.lookups()), region.id()));
    chosen.truncate(MOST);
    chosen.sort_by_key(|region| region.id());
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_regions_those_that_are_asked_most_are_told() {
        let region = |number: u64| Region {
            region: format!("r{number:04}"),
            hits: number,
            ..Region::default()
        };
        let all: Vec<Region> = (0..1000).map(region).collect();
        let chosen: Vec<&str> = chosen(&all).iter().map(|region| region.region.as_str()).collect();
        assert_eq!(
            (chosen.len(), chosen.first(), chosen.last()),
            (200, Some(&"r0800"), Some(&"r0999"))
        );
    }
}
