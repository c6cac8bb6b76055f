//! The rows, one file each, what a row is (`row.rs`), and the commands that several of them share
//! (`fills.rs`). A new row is a file that ends in a [`Row`], and its line in [`ROWS`].

mod admit;
mod cache;
mod client;
mod cluster;
mod drain;
mod fills;
mod growth;
mod incr;
mod memory;
mod msetval;
mod pauses;
mod rdb;
mod reclaim;
mod records;
mod replica;
mod row;
mod script;
mod setval;
mod validate;
mod versions;

pub use row::{Row, Run};

pub const ROWS: &[Row] = &[
    validate::ROW,
    script::ROW,
    client::ROW,
    admit::ROW,
    versions::ROW,
    growth::ROW,
    setval::ROW,
    msetval::ROW,
    records::ROW,
    memory::ROW,
    rdb::ROW,
    replica::ROW,
    incr::ROW,
    drain::ROW,
    reclaim::ROW,
    pauses::ROW,
    cluster::ROW,
    cache::ROW,
];
