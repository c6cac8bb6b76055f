//! Whether memory is bounded, and whether what is evicted then can be missed.

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;
use crate::reading::Region;

/// Of all memory, in percent, that `maxmemory` may be: what a fork copies and the system itself want room too.
const MOST: u64 = 90;

/// So many regions are named.
const NAMED: usize = 5;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    all.iter()
        .flat_map(|seen| of_node(seen).into_iter().map(|found| found.at(seen.address())))
        .collect()
}

fn of_node(seen: &Seen) -> Vec<Finding> {
    let Some(facts) = &seen.facts else { return Vec::new() };
    let mut found = Vec::new();
    let maxmemory: Option<u64> = facts.info.number("maxmemory");
    let policy = facts.info.text("maxmemory_policy").unwrap_or_default();
    if maxmemory == Some(0) {
        let what = "maxmemory is 0: memory grows until the system ends the server";
        found.push(Finding::warn(
            "no-maxmemory",
            what,
            "CONFIG SET maxmemory to what it may take, and maxmemory-policy volatile-ttl",
        ));
    }
    let has: Option<u64> = facts.info.number("total_system_memory");
    if let (Some(most), Some(has @ 1..)) = (maxmemory, has) {
        if most > has / 100 * MOST {
            let what = format!("maxmemory is {most} bytes, of {has} that the machine has: it is ended before it evicts");
            found.push(Finding::wrong(
                "maxmemory-too-large",
                what,
                "lower maxmemory, or give the machine more",
            ));
        }
    }
    let todo =
        "CONFIG SET maxmemory-policy volatile-ttl: counts have no TTL, and are then never evicted";
    match (policy.starts_with("allkeys"), seen.has_counters()) {
        (true, true) => {
            let what =
                format!("maxmemory-policy {policy} can evict usage counts, and there are some");
            found.push(Finding::wrong("counts-evictable", what, todo));
        }
        (true, false) => {
            let what =
                format!("maxmemory-policy {policy} can evict usage counts, should there be some");
            found.push(Finding::warn("policy-allkeys", what, todo));
        }
        (false, _) if policy == "noeviction" && maxmemory.is_some_and(|most| most > 0) => {
            let what =
                "maxmemory-policy noeviction: once memory is full nothing is stored or counted";
            found.push(Finding::warn(
                "policy-evicts-nothing",
                what,
                "CONFIG SET maxmemory-policy volatile-ttl",
            ));
            found.extend(without_bounds(seen));
        }
        _ => {}
    }
    found
}

/// Regions that grow until nothing can be stored any more, by their own settings.
fn without_bounds(seen: &Seen) -> Option<Finding> {
    let regions = seen.regions.iter().flatten();
    let names: Vec<String> = regions
        .filter(|region| region.entries > 0 && !region.is_bounded())
        .map(Region::title)
        .collect();
    let told = names.get(..NAMED).unwrap_or(&names).join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!(
        "regions without a bound, which fill memory until nothing is stored or counted: {told}{more}"
    );
    let todo =
        "CACHE.REGION SET name MAXBYTES n for each, or CONFIG SET maxmemory-policy volatile-ttl";
    (!names.is_empty()).then(|| Finding::warn("regions-unbounded", what, todo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn memory_is_bounded_and_what_it_evicts_comes_back() {
        for (maxmemory, policy, counters, expected) in [
            (100, "volatile-ttl", 1, ""),
            (100, "volatile-lru", 0, ""),
            (0, "noeviction", 0, "no-maxmemory"),
            (100, "noeviction", 0, "policy-evicts-nothing"),
            (100, "allkeys-lru", 0, "policy-allkeys"),
            (100, "allkeys-lfu", 3, "counts-evictable"),
            (950, "volatile-ttl", 0, "maxmemory-too-large"),
        ] {
            let info = format!(
                "maxmemory:{maxmemory}\nmaxmemory_policy:{policy}\ntotal_system_memory:1000\n"
            );
            let seen = Seen::saying(1, &info).with_health(&[("usage_counters", counters)], &[]);
            let found = check(&[seen]);
            let expected: Vec<_> = [expected]
                .iter()
                .filter(|name| !name.is_empty())
                .map(|&name| (name, Some("a:1")))
                .collect();
            assert_eq!(names(&found), expected, "{maxmemory} {policy} {counters}");
        }
        assert_eq!(check(&[Seen { facts: None, ..Seen::saying(1, "") }]), []);
    }

    #[test]
    fn regions_without_a_bound_are_told_where_nothing_is_evicted() {
        let region = |name: &str, entries, max_bytes| Region {
            region: name.into(),
            entries,
            max_bytes,
            ..Region::default()
        };
        let regions =
            vec![region("bounded", 1, 9), region("empty", 0, 0), region("products", 1, 0)];
        for (policy, expected) in [
            ("noeviction", &["policy-evicts-nothing", "regions-unbounded"][..]),
            ("volatile-ttl", &[]),
        ] {
            let info = format!("maxmemory:100\nmaxmemory_policy:{policy}\n");
            let seen = Seen { regions: Some(regions.clone()), ..Seen::saying(1, &info) };
            let found = check(&[seen]);
            let told: Vec<_> = found.iter().map(|one| one.finding).collect();
            assert_eq!(told, expected, "{policy}");
            let is_named = |one: &Finding| one.what.ends_with(": products");
            assert_eq!(found.iter().any(is_named), policy == "noeviction", "{found:?}");
        }
    }
}
