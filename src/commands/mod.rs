//! The commands, a file for each or for a few that belong together. Each reads from top to bottom: parse,
//! look up, decide in the engine, apply, replicate, notify, reply.

pub mod access;
pub mod cache;
pub mod check;
#[cfg(debug_assertions)]
pub mod debug;
pub mod describe;
pub mod health;
pub mod internal;
pub mod limits;
pub mod list;

pub mod log;
pub mod miss;
pub mod plain;
pub mod record;
pub mod register;
pub mod scopes;
pub mod tags;
pub mod usage;
