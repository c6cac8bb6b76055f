//! The tag index: which names carry which tags, and which of them were condemned with a tag.
//!
//! It knows neither Redis nor API keys: a name is bytes, a tag a fingerprint. The tables beneath it are
//! its own.
//!
//! **What always holds.** What an operation costs is bounded by the item's own tags, whatever the number
//! of items, of tags and of a tag's members. No table is ever moved as a whole. What a name or a tag says
//! comes from outside: nobody who does not know the key of the fingerprints can make them meet.

mod arrivals;
pub mod buckets;
pub mod check;
pub mod defrag;
pub mod fingerprint;
pub mod index;
mod item;
pub mod segments;
pub mod walk;
