//! Commands: what one is, how its options are read, how the server learns of it.
//!
//! A command is described once. What COMMAND INFO, DOCS and GETKEYS say of it and what its options may be
//! come from that description, so that they can't differ.

pub mod grammar;
pub mod register;
pub mod spec;
