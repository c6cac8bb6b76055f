//! The internal commands, by which replicas and a loaded AOF do what a primary has done
//! ([`crate::stream`]). Refused from clients.

pub mod changed;
pub mod died;
pub mod leased;
pub mod regions;
pub mod settled;
pub mod stored;
pub mod version;
