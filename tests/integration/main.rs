//! The module in real servers. `harness` says how a run is directed.

mod harness;
mod model;

mod absent;
mod acl;
mod channel;
mod codes;
mod configuration;
mod docs;
mod errors;
mod exactness;
mod failover;
mod fuzz;
mod guide;
mod harness_works;
mod health;
mod inside;
mod leases;
mod lists;
mod log;
mod msetval;
mod ordinary_keys;
mod persistence;
mod postgres;
mod reclaim;
mod records;
mod replication;
mod scopes;
mod secrecy;
mod setval;
mod stress;
mod tags;
mod tokens;
mod trust;
mod usage;
mod warm;
