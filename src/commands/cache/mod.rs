//! Regions of a cache: their values, and what is set and known of regions.

pub mod clear;
pub mod fail;
pub mod get;
pub mod mset;
pub mod named;
pub mod patinval;
pub mod region;
pub mod set;
pub mod setabsent;
pub mod stats;
pub mod store;
pub mod taginval;
pub mod top;
