//! Commands of limits: ADMIT verifies a key, takes from its limits, and counts, all at once.

pub mod admit;
pub mod change;
pub mod credit;
pub mod levels;
pub mod option;
pub mod requests;
pub mod settle;
