//! A report as one page that needs nothing else: no script, and nothing that is loaded.

use std::fmt::Write;

use anyhow::Result;
use maud::{html, Markup, PreEscaped, DOCTYPE};

use super::charts::{bars, lines, Line, COLOURS};
use super::found::Found;
use super::kpis::Kpi;
use super::markdown::number;
use super::series::Sample;
use crate::output::grouped;
use crate::reading::bytes::person;

const STYLE: &str = include_str!("page.css");
/// Nothing is loaded, even were there a way to get it into the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub fn of(found: &Found) -> Result<String> {
    let charts = charts(found)?;
    let title = format!("redis-apikey: {}", found.level.name());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(colours())) }
            }
            body {
                h1 { "redis-apikey: " span class=(found.level.name()) { (found.level.name()) } }
                p class="dim" { (found.span()) }
                div class="cards" { @for kpi in &found.kpis { (card(kpi)) } }
                h2 { "Recommendations" }
                @if found.recommendations.is_empty() { p { "None." } }
                ul {
                    @for one in &found.recommendations {
                        li {
                            span class={ "level " (one.level.name()) } { (one.level.name()) } " " (one.why) "."
                            br; span class="dim" { "Do: " (one.todo) }
                        }
                    }
                }
                h2 { "Charts" }
                div class="charts" { @for chart in &charts { (chart) } }
                (tables(found))
            }
        }
    };
    Ok(page.into_string())
}

/// The colours of the charts, as the scheme of the page has them.
fn colours() -> String {
    let mut rules = String::new();
    for (colour, variable) in COLOURS {
        for attribute in ["fill", "stroke"] {
            // Writing to memory can't fail.
            let _ = writeln!(
                rules,
                "svg [{attribute}=\"{colour}\" i] {{ {attribute}: var({variable}); }}"
            );
        }
    }
    rules
}

fn card(kpi: &Kpi) -> Markup {
    let side = if kpi.thresholds.wants_more() { "≥" } else { "≤" };
    let marks = kpi.thresholds;
    html! {
        div class="card" data-kpi=(kpi.kpi) data-level=(kpi.level.name()) {
            (kpi.title)
            b class=(kpi.level.name()) { (number(kpi.value, kpi.unit)) }
            span class={ "level " (kpi.level.name()) } { (kpi.level.name()) }
            @if let Some(before) = kpi.before { small { "before: " (number(Some(before), kpi.unit)) } }
            // A mark stays with its name.
            small {
                "target\u{a0}" (side) "\u{a0}" (marks.target) ", warning\u{a0}" (marks.warning)
                ", critical\u{a0}" (marks.critical) "\u{a0}" (kpi.unit)
            }
            small { (kpi.of) }
        }
    }
}

fn figure(id: &str, title: &str, keys: &[&str], svg: &str) -> Markup {
    html! {
        figure id=(id) role="img" aria-label=(title) {
            h3 { (title) }
            @if keys.len() > 1 { figcaption { @for key in keys { span class="key" { (key) } } } }
            (PreEscaped(svg))
        }
    }
}

fn charts(found: &Found) -> Result<Vec<Markup>> {
    let mut all = Vec::new();
    let line = |name, of: &dyn Fn(&Sample) -> Option<f64>| Line {
        name,
        points: found
            .samples
            .iter()
            .filter_map(|sample| Some((sample.seconds, of(sample)?)))
            .collect(),
    };
    if !found.samples.is_empty() {
        let mut series = |id, title, unit, drawn: &[Line], most| -> Result<()> {
            let keys: Vec<&str> = drawn.iter().map(|line| line.name).collect();
            all.push(figure(id, title, &keys, &lines(unit, drawn, most)?));
            Ok(())
        };
        series(
            "hit-rate",
            "Hit rate",
            "percent",
            &[line("hit rate", &|sample| sample.hit_rate)],
            100.0,
        )?;
        let hits = line("hits", &|sample| Some(sample.hits_per_second));
        let misses = line("misses", &|sample| Some(sample.misses_per_second));
        series("lookups", "Lookups", "a second", &[hits, misses], 0.0)?;
        let mean = line("mean", &|sample| sample.mean_us);
        let most = line("99 of 100 within", &|sample| sample.p99_us.map(|us| us as f64));
        series("durations", "VALIDATE, in the server", "microseconds", &[mean, most], 0.0)?;
        let memory = line("memory", &|sample| Some(sample.used_memory / 1_048_576.0));
        series("memory", "Memory of all nodes", "MB", &[memory], 0.0)?;
    }
    let mut answers: Vec<_> = found
        .figures
        .answers()
        .into_iter()
        .map(|(code, number)| (code.to_string(), number))
        .collect();
    answers.push(("misses".into(), found.figures.number("misses")));
    let mut barred = |id, title, unit, values: Vec<(String, f64)>| -> Result<()> {
        let whole = |(name, value): (String, f64)| (name, value, grouped(value as u64));
        let drawn: Vec<_> =
            values.into_iter().filter(|(_, value)| *value > 0.0).map(whole).collect();
        if !drawn.is_empty() {
            all.push(figure(id, title, &[], &bars(unit, &drawn)?));
        }
        Ok(())
    };
    barred("answers", "Answers of VALIDATE, and misses", "calls", answers)?;
    let mut before = 0;
    let buckets = found.figures.validate().map(|durations| &durations.within).into_iter().flatten();
    let buckets = buckets.map(|(bound, calls)| {
        let of_bucket = calls.saturating_sub(before);
        before = *calls;
        (format!("to {} us", grouped(*bound)), of_bucket as f64)
    });
    barred("histogram", "VALIDATE, by how long it took", "calls", buckets.collect())?;
    let entries = found.entries().into_iter().map(|(title, number)| (title.to_string(), number));
    barred("entries", "Keys of all primaries", "keys", entries.collect())?;
    let nodes: Vec<_> = found
        .nodes
        .iter()
        .map(|node| {
            let used = node.number("used_memory");
            let limit = node.number("maxmemory");
            let text = match limit > 0.0 {
                true => format!("{} of {}", person(used), person(limit)),
                false => person(used),
            };
            (node.address.clone(), used / 1_048_576.0, text)
        })
        .collect();
    all.push(figure("nodes", "Memory by node", &[], &bars("MB", &nodes)?));
    Ok(all)
}

/// A table whose columns are to the right but for the first few.
fn table(texts: usize, headings: &[&str], rows: Vec<Vec<String>>) -> Markup {
    let class = |column: usize| if column < texts { "" } else { "n" };
    html! {
        div class="wide" {
            table {
                thead { tr { @for (column, heading) in headings.iter().enumerate() { th class=(class(column)) { (heading) } } } }
                tbody {
                    @for row in rows {
                        tr { @for (column, cell) in row.iter().enumerate() { td class=(class(column)) { (cell) } } }
                    }
                }
            }
        }
    }
}

fn tables(found: &Found) -> Markup {
    let bound = |bound: Option<u64>| bound.map_or_else(|| "-".into(), grouped);
    let commands = found.commands.iter().map(|one| {
        let mean = one.mean_us.map_or_else(|| "-".into(), |mean| format!("{mean:.1}"));
        vec![one.command.clone(), grouped(one.calls), mean, bound(one.p50_us), bound(one.p99_us)]
    });
    let nodes = found.nodes.iter().map(|node| {
        let number = |field: &str| grouped(node.number(field) as u64);
        let limit = node.number("maxmemory");
        vec![
            node.address.clone(),
            node.role.clone(),
            node.text("status").to_string(),
            person(node.number("used_memory")),
            if limit > 0.0 { person(limit) } else { "none".into() },
            number("records"),
            number("usage_counters"),
            number("usage_pending"),
            number("usage_leased"),
        ]
    });
    let top = &found.top;
    let tags = top
        .tags
        .iter()
        .map(|tag| vec![tag.tag.clone(), bound(tag.entries), grouped(tag.in_sample)]);
    let counters = top
        .counters
        .iter()
        .map(|one| vec![one.key.clone(), grouped(one.total), grouped(one.pending)]);
    let percent = |value| number(value, "%");
    let regions = found.regions.iter().map(|told| {
        vec![
            told.title.clone(),
            told.level().name().to_string(),
            percent(told.hit_rate.value),
            percent(told.miss_rate.value),
            percent(told.eviction_rate.value),
            grouped(told.lookups),
            grouped(told.entries),
            person(told.bytes as f64),
            percent(told.memory),
        ]
    });
    let keys = found.regions.iter().flat_map(|told| {
        told.top.iter().map(|used| vec![told.title.clone(), used.key.clone(), grouped(used.hits)])
    });
    let keys: Vec<Vec<String>> = keys.collect();
    html! {
        h2 { "Nodes" }
        (table(3, &["node", "role", "status", "used", "maxmemory", "records", "counters", "pending", "leased"], nodes.collect()))
        @for away in &found.away { p class="warning" { "not looked at: " (away.why) } }
        h2 { "Commands" }
        (table(1, &["command", "calls", "mean, us", "half within, us", "99 of 100 within, us"], commands.collect()))
        @if !found.regions.is_empty() {
            h2 { "Regions" }
            (table(2, &["region", "is", "hit rate", "miss rate", "evictions", "lookups", "entries", "memory", "of its bound"], regions.collect()))
        }
        @if !keys.is_empty() {
            h2 { "Keys of regions that are read most" }
            (table(2, &["region", "key", "reads, about"], keys))
        }
        @if let Some(why) = &top.untold { p class="dim" { "No tags and counters: " (why) } }
        @if !top.tags.is_empty() {
            h2 { "Tags of most entries" }
            p class="dim" { (top.basis()) }
            (table(1, &["tag", "entries", "in the sample"], tags.collect()))
        }
        @if !top.counters.is_empty() {
            h2 { "Counters that count most" }
            p class="dim" { (top.basis()) }
            (table(1, &["counter", "total", "pending"], counters.collect()))
        }
    }
}
