//! `apikeyctl`, the operator's program, run as its users run it: what it prints for a person and as JSON, and how it
//! ends.

mod backup;
mod check;
mod connect;
mod cron;
mod dashboard;
mod doctor;
mod drain;
mod export;
mod exporter;
mod monitoring;
mod operator;
mod plan;
pub mod program;
mod report;
mod reset;
mod top;
mod uninstall;
pub mod warm;

pub use program::{bare, command, program, Ran};
