//! A report as Markdown, which reads well as it is.

use std::fmt::Write;

use super::found::Found;
use crate::deployment::Away;
use crate::output::{grouped, Report, Style};
use crate::reading::bytes::person;

impl Report for Found {
    fn text(&self, _style: Style) -> String {
        let mut text = String::new();
        // Writing to memory can't fail.
        let _ = write(self, &mut text);
        text
    }
}

/// A cell: nothing of it ends it, or is read as something else.
fn cell(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => "\u{fffd}".to_string(),
            '|' | '\\' | '`' | '*' | '_' | '<' | '[' => format!("\\{c}"),
            c => c.to_string(),
        })
        .collect()
}

pub fn number(value: Option<f64>, unit: &str) -> String {
    match value {
        Some(value) if value.abs() < 10.0 => format!("{value:.2} {unit}"),
        Some(value) => format!("{value:.1} {unit}"),
        None => "-".into(),
    }
}

fn write(found: &Found, out: &mut String) -> std::fmt::Result {
    writeln!(out, "# redis-apikey: {}\n", found.level.name())?;
    writeln!(out, "{}\n", found.span())?;
    let has_earlier = found.kpis.iter().any(|kpi| kpi.before.is_some());
    let before = if has_earlier { " before |" } else { "" };
    writeln!(out, "| figure | value |{before} is | target | warning | critical | of |")?;
    writeln!(
        out,
        "| --- | ---: |{} --- | ---: | ---: | ---: | --- |",
        if has_earlier { " ---: |" } else { "" }
    )?;
    for kpi in &found.kpis {
        let side = if kpi.thresholds.wants_more() { "≥" } else { "≤" };
        let before = if has_earlier {
            format!(" {} |", number(kpi.before, kpi.unit))
        } else {
            String::new()
        };
        writeln!(
            out,
            "| {} | {} |{before} {} | {side} {} | {} | {} | {} |",
            kpi.title,
            number(kpi.value, kpi.unit),
            kpi.level.name(),
            kpi.thresholds.target,
            kpi.thresholds.warning,
            kpi.thresholds.critical,
            cell(&kpi.of)
        )?;
    }
    writeln!(out, "\n## Recommendations\n")?;
    if found.recommendations.is_empty() {
        writeln!(out, "None.")?;
    }
    for one in &found.recommendations {
        writeln!(out, "- **{}** {}. Do: {}", one.level.name(), cell(&one.why), one.todo)?;
    }
    writeln!(out, "\n## What was asked\n\n| answer | number |\n| --- | ---: |")?;
    for (code, number) in found.figures.answers().into_iter().filter(|(_, number)| *number > 0.0) {
        writeln!(out, "| {} | {} |", cell(code), grouped(number as u64))?;
    }
    writeln!(out, "| misses | {} |", grouped(found.figures.number("misses") as u64))?;
    writeln!(out, "\n| command | calls | mean, us | half within, us | 99 of 100 within, us |\n| --- | ---: | ---: | ---: | ---: |")?;
    for one in &found.commands {
        let bound = |bound: Option<u64>| bound.map_or_else(|| "-".into(), grouped);
        let mean = one.mean_us.map_or_else(|| "-".into(), |mean| format!("{mean:.1}"));
        writeln!(
            out,
            "| {} | {} | {mean} | {} | {} |",
            one.command,
            grouped(one.calls),
            bound(one.p50_us),
            bound(one.p99_us)
        )?;
    }
    writeln!(out, "\n## What is there\n\n| node | role | status | used | maxmemory | records | counters | pending | leased |")?;
    writeln!(out, "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for node in &found.nodes {
        let number = |field: &str| grouped(node.number(field) as u64);
        let limit = node.number("maxmemory");
        let limit = if limit > 0.0 { person(limit) } else { "none".into() };
        writeln!(
            out,
            "| {} | {} | {} | {} | {limit} | {} | {} | {} | {} |",
            cell(&node.address),
            node.role,
            node.text("status"),
            person(node.number("used_memory")),
            number("records"),
            number("usage_counters"),
            number("usage_pending"),
            number("usage_leased")
        )?;
    }
    regions(found, out)?;
    top(found, out)?;
    write!(out, "{}", Away::lines(&found.away, Style::default()))
}

fn regions(found: &Found, out: &mut String) -> std::fmt::Result {
    if found.regions.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Regions\n\n| region | is | hit rate | miss rate | evictions | lookups | stale | waits | refused fills | entries | memory | of its bound |"
    )?;
    writeln!(
        out,
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )?;
    for told in &found.regions {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&told.title),
            told.level().name(),
            number(told.hit_rate.value, "%"),
            number(told.miss_rate.value, "%"),
            number(told.eviction_rate.value, "%"),
            grouped(told.lookups),
            grouped(told.stale),
            grouped(told.waits),
            grouped(told.refused_fills),
            grouped(told.entries),
            person(told.bytes as f64),
            number(told.memory, "%")
        )?;
    }
    if found.regions.iter().any(|told| !told.top.is_empty()) {
        writeln!(out, "\n## Keys of regions that are read most\n\n| region | key | reads, about |\n| --- | --- | ---: |")?;
    }
    for told in &found.regions {
        for used in &told.top {
            let (region, key) = (cell(&told.title), cell(&used.key));
            writeln!(out, "| {region} | {key} | {} |", grouped(used.hits))?;
        }
    }
    Ok(())
}

fn top(found: &Found, out: &mut String) -> std::fmt::Result {
    let top = &found.top;
    if let Some(why) = &top.untold {
        return writeln!(out, "\nNo tags and counters: {}", cell(why));
    }
    if !top.tags.is_empty() {
        writeln!(out, "\n## Tags of most entries\n\n{}\n\n| tag | entries | in the sample |\n| --- | ---: | ---: |", top.basis())?;
    }
    for tag in &top.tags {
        let entries = tag.entries.map_or_else(|| "-".into(), grouped);
        writeln!(out, "| {} | {entries} | {} |", cell(&tag.tag), grouped(tag.in_sample))?;
    }
    if !top.counters.is_empty() {
        writeln!(out, "\n## Counters that count most\n\n{}\n\n| counter | total | pending |\n| --- | ---: | ---: |", top.basis())?;
    }
    for counter in &top.counters {
        writeln!(
            out,
            "| {} | {} | {} |",
            cell(&counter.key),
            grouped(counter.total),
            grouped(counter.pending)
        )?;
    }
    Ok(())
}
