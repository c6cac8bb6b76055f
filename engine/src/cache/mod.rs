//! Regions of a cache: their values, how fresh these are, who loads what is missing, and what goes when there is too much.
//!
//! **What always holds.** A value is of one region, and carries its tag; a region's bytes are those of its entries. A
//! soft invalidation, a grace or a lease never keeps alive what any other invalidation has killed. What is kept of names
//! that nobody has stored is bounded.

pub mod eviction;
pub mod freshness;
pub mod glob;
pub mod leases;
pub mod patterns;
pub mod policy;
pub mod region;
pub mod regions;
pub mod top;
#[cfg(test)]
mod trace;
pub mod uses;
pub mod value;
