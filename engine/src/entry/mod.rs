//! What all entries have in common, whatever they hold: a kind, tags by which they are invalidated, and
//! whose they are.
//!
//! **What always holds.** Every name, id and tag that is kept is within the bounds that stand here, so
//! that an automatic tag is always made in full. An entry carries each of its tags once, the automatic
//! ones before the caller's, and nothing adds to them later: another entry replaces it.

pub mod kind;
pub mod label;
pub mod region_tag;
pub mod tag_names;
