//! The bytes of what is stored: in an RDB, in DUMP's payload, in an AOF and in the replication stream.
//!
//! **What always holds.** What one version has written every later one reads, byte by byte as its table
//! says. Bytes from anyone are never more than an error: what they ask to allocate is bounded, nothing is
//! left over, and no two parts of a value can say two things.

pub mod bytes;
pub mod counter;
pub mod names;
pub mod stored;
pub mod value;
pub mod version;
