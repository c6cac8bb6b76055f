//! Commands of limits: ADMIT verifies a key, takes from its limits, and counts, all at once.

pub mod admit;
pub mod credit;
pub mod limits;
pub mod option;
pub mod requests;
pub mod settle;
