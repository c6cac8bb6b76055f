//! What follows of a plan, each with its reason.

use super::outlook::records;
use super::planned::{when, Advice, Plan, Primary};
use crate::output::grouped;
use crate::reading::bytes::person;

/// Part of a limit that one aims at.
const AIM: f64 = 0.8;

pub fn of(plan: &Plan) -> Vec<Advice> {
    let mut all: Vec<Advice> =
        plan.primaries.iter().flat_map(|primary| of_primary(plan, primary)).collect();
    all.extend(shards(plan));
    all
}

fn of_primary(plan: &Plan, primary: &Primary) -> Vec<Advice> {
    let address = &primary.address;
    let mut all = Vec::new();
    let mut advise = |what: String, todo: String| all.push(Advice { what, todo });
    match primary.maxmemory {
        None => advise(
            format!("{address} has no maxmemory: it takes memory until the kernel ends it"),
            "set it, or give --maxmemory to plan for one".into(),
        ),
        Some(limit) => {
            if let Some(target) =
                primary.target.as_ref().filter(|target| target.bytes > limit * AIM)
            {
                let records = records(&target.keys);
                advise(
                    format!(
                        "{} records at {address} take {}, {:.0} % of {}",
                        grouped(records as u64),
                        person(target.bytes),
                        target.bytes / limit * 100.0,
                        person(limit)
                    ),
                    format!(
                        "maxmemory of {} keeps them at 80 %, or more primaries",
                        person(target.bytes / AIM)
                    ),
                );
            }
            let reached = primary.room.first().and_then(|room| room.months);
            if let Some(months) = reached.filter(|months| *months <= plan.months.into()) {
                let full = primary.room.last().and_then(|room| room.months);
                let full = full
                    .map_or_else(String::new, |months| format!(", and all of it {}", when(months)));
                advise(
                    format!("{address} has 80 % of {} {}{full}", person(limit), when(months)),
                    "raise maxmemory or add primaries before; a policy that evicts only hides it in a lower hit rate".into(),
                );
            }
        }
    }
    let machine = &primary.machine;
    if machine.has > 0.0 && machine.needs > machine.has {
        advise(
            format!(
                "{address}: {} of data want {} of the machine's {}: holes ({:.2} times the data), what a fork copies{}, {} for replicas",
                person(machine.data),
                person(machine.needs),
                person(machine.has),
                machine.fragmentation,
                if machine.copy_on_write.is_some() { " as the latest did" } else { " at worst" },
                person(machine.replica_buffers)
            ),
            "a larger machine or a smaller maxmemory; where none is to be had, no BGSAVE and no AOF rewrite while much is written".into(),
        );
    }
    all
}

/// When, and into how many, it is to be split.
fn shards(plan: &Plan) -> Option<Advice> {
    let above = plan.shard_above as f64;
    let at =
        |place: usize| plan.primaries.iter().filter_map(move |primary| primary.outlook.get(place));
    let is_above = |bytes: f64| bytes > above;
    let by_month =
        (0..=usize::from(plan.months)).find(|place| at(*place).any(|then| is_above(then.bytes)));
    let by_target = plan.primaries.iter().filter_map(|primary| primary.target.as_ref());
    let target: f64 = by_target.clone().map(|then| then.bytes).sum();
    let (when, bytes) = match by_month {
        Some(month) => {
            let last = at(usize::from(plan.months)).map(|then| then.bytes).sum::<f64>();
            (format!("in month {month}"), last.max(target))
        }
        None if by_target.clone().any(|then| is_above(then.bytes)) => {
            ("with the planned keys".into(), target)
        }
        None => return None,
    };
    let primaries = (bytes / (above * AIM)).ceil();
    Some(Advice {
        what: format!(
            "a primary has more than {} {when}: forks, full resyncs and restarts take the longer",
            person(above)
        ),
        todo: format!(
            "{primaries:.0} primaries of a cluster have {} each, 80 % of that (docs/protocol.md)",
            person(bytes / primaries)
        ),
    })
}
