//! What can be wrong, by subject. Each check is a function of what was seen, so that what is hard to bring about can be
//! tested all the same.

mod certificates;
mod clients;
mod clock;
mod cluster;
mod health;
mod kernel;
mod memory;
mod module;
mod persistence;
mod reachability;
mod replication;
mod requests;
mod settings;

use super::finding::Finding;
use super::looking::Seen;

type Check = fn(&[Seen]) -> Vec<Finding>;

/// In the order in which things break.
const ALL: [Check; 13] = [
    reachability::check,
    module::check,
    cluster::check,
    replication::check,
    health::check,
    settings::check,
    memory::check,
    requests::check,
    clients::check,
    persistence::check,
    clock::check,
    certificates::check,
    kernel::check,
];

/// All that is found in what was seen of all nodes.
pub fn run(all: &[Seen]) -> Vec<Finding> {
    ALL.iter().flat_map(|check| check(all)).collect()
}
