//! The module in real servers. `harness` says how a run is directed.

mod harness;
mod model;

mod acl;
mod codes;
mod configuration;
mod docs;
mod errors;
mod exactness;
mod fuzz;
mod harness_works;
mod health;
mod ordinary_keys;
mod persistence;
mod records;
mod replication;
mod secrecy;
mod setval;
mod tags;
mod tokens;
mod usage;
