//! The native data types: how the server saves, loads, copies and drops what keys hold.
//!
//! `unlinked` sees every removal of one key and finds the value's place in the index by the value itself.

pub mod entries;
pub mod usage;
