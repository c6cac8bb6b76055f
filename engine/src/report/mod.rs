//! What the module tells of itself: what was answered, what was refused, whether it fares well.
//!
//! **What always holds.** Nothing here decides what is answered. It is memory of a node, which no
//! invalidation and no other node depends on, and is bounded whatever is asked.

pub mod health;
pub mod refusals;
pub mod stats;
