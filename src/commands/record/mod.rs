//! A key's record: stored, verified, removed.

pub mod inval;
pub mod msetval;
pub mod setabsent;
pub mod setval;
pub mod store;
pub mod token;
pub mod validate;
pub mod verify;
