//! Usage counts of a key: what is pending, what was leased in batches, what was counted in all.
//!
//! **What always holds.** No count is lost or told twice: what was counted is what was settled or taken, and
//! what is leased, and what is pending. A counter is no entry: no invalidation takes it away. An id of a
//! batch or of a line is never given twice, on any node.

pub mod batches;
pub mod change;
pub mod counter;
pub mod id;
pub mod lease;
