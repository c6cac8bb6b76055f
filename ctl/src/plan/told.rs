//! A plan, for a person.

use super::outlook::{records, Then};
use super::planned::{when, Plan, Primary};
use crate::deployment::Away;
use crate::output::{grouped, Cell, Report, Style, Table};
use crate::reading::bytes::person;

impl Report for Plan {
    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for primary in &self.primaries {
            text.push_str(&of_primary(primary, style));
            text.push('\n');
        }
        for advice in &self.advice {
            text.push_str(&format!("{}\n  do: {}\n", style.warn(&advice.what), advice.todo));
        }
        text.push_str(&Away::lines(&self.away, style));
        text
    }
}

fn of_primary(primary: &Primary, style: Style) -> String {
    let used = primary.used_memory;
    let limit = match primary.maxmemory {
        Some(limit) => {
            format!("{}, {:.0} % of {}", person(used), used / limit * 100.0, person(limit))
        }
        None => format!("{}, no maxmemory", person(used)),
    };
    let mut text = format!("{}: {limit}\n", style.bold(&primary.address));
    let mut table = Table::new(&["", "keys", "bytes each", "bytes"]);
    for (kind, number) in primary.keys.iter().filter(|(_, number)| **number >= 1.0) {
        let each = primary.rates.bytes_of_key.get(kind);
        let number_cell = Cell::number(*number as u64);
        table.row(match each {
            Some(each) => vec![
                Cell::text(kind.name()),
                number_cell,
                Cell::number(each.round() as u64),
                Cell::text(person(each * number)),
            ],
            None => vec![Cell::text(kind.name()), number_cell],
        });
    }
    if primary.records() < 1.0 {
        let each = primary.rates.bytes_of_key.get(&crate::sample::Kind::Record).copied();
        table.row(vec![
            Cell::text("records"),
            Cell::number(0),
            Cell::number(each.unwrap_or(0.0).round() as u64),
        ]);
    }
    let index = primary.rates.index_bytes_of_entry.round() as u64;
    table.row(vec![
        Cell::text("index, by entry"),
        Cell::text(""),
        Cell::number(index),
        Cell::text(person(primary.index)),
    ]);
    for (name, bytes) in [("tables of keys", primary.tables), ("all else", primary.fixed)] {
        table.row(vec![
            Cell::text(name),
            Cell::text(""),
            Cell::text(""),
            Cell::text(person(bytes)),
        ]);
    }
    text.push_str(&table.lines(style));
    text.push_str(&match primary.rates.by_scratch {
        true => format!(
            "Measured by {} scratch records, which are removed.\n",
            grouped(primary.rates.sampled as u64)
        ),
        false => format!(
            "Kinds differ as in a sample of {} keys.\n",
            grouped(primary.rates.sampled as u64)
        ),
    });
    let percent = |bytes: f64| {
        primary.maxmemory.map(|limit| format!("{:.0} %", bytes / limit * 100.0)).unwrap_or_default()
    };
    let mut table = Table::new(&["", "records", "memory", "as tables double", "of maxmemory"]);
    let mut row = |name: String, then: &Then| {
        table.row(vec![
            Cell::text(name),
            Cell::number(records(&then.keys) as u64),
            Cell::text(person(then.bytes)),
            Cell::text(person(then.at_most)),
            Cell::text(percent(then.bytes)),
        ]);
    };
    if let Some(target) = &primary.target {
        row("planned".into(), target);
    }
    for then in &primary.outlook {
        row(format!("month {:.0}", then.month.unwrap_or(0.0)), then);
    }
    if primary.target.is_some() || !primary.outlook.is_empty() {
        text.push_str(&table.lines(style));
    }
    for room in &primary.room {
        let months = room.months.map(|months| format!(", {}", when(months))).unwrap_or_default();
        text.push_str(&format!(
            "{:>3.0} % of maxmemory: {} records{months}\n",
            room.percent,
            grouped(room.records as u64)
        ));
    }
    let machine = &primary.machine;
    let copied = machine
        .copy_on_write
        .map(|bytes| format!("{} as the latest fork copied, ", person(bytes)))
        .unwrap_or_default();
    text.push_str(&format!(
        "machine: {} of data take {} with holes; a fork {copied}{} at worst; {} for replicas: {} of {}\n",
        person(machine.data),
        person(machine.data * machine.fragmentation),
        person(machine.copy_on_write_at_worst),
        person(machine.replica_buffers),
        person(machine.needs),
        person(machine.has)
    ));
    text
}
