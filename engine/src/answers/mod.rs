//! Answers that an application worked out and is asked for again: its scope decisions, the lists of a
//! user's records. They are kept beside the records and say nothing of them.
//!
//! **What always holds.** Nothing is judged here: what is told is what the application said, in its order.
//! Each is an entry with a [label](crate::entry::label), bounded in number and in bytes, and laid out once:
//! another one replaces it. A decision that has expired is not told.

pub mod decisions;
pub mod list;
