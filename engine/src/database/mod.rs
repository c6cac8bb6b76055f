//! What the module knows of each database beside its keys (the tag index, open batches, totals), and of all
//! together.
//!
//! **What always holds.** None of it is stored: it is made of keys that come and go. An entry is in the index under the tags that it carries, a dead one under a reserved
//! tag; a counter only while it has something pending or leased. An item is removed by its place and its
//! name together, so that nothing goes but what was meant.

pub mod catalog;
pub mod databases;
pub mod items;
pub mod totals;
