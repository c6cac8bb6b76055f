//! The ways to verify an API key, or to read what stands for one, that several rows set beside each
//! other. Each has a side that stores what it reads, where [`crate::rows`] has none, and one that
//! reads it, in a scattered order that is the same for all.

mod admit;
mod admit_floor;
mod client;
mod floor;
mod script;
mod stored;
mod string;
mod validate;

pub use admit::{Admit, FillLimited, First, How};
pub use admit_floor::{FloorAdmit, FloorCounter};
pub use client::{grants, now_ms, GetAndCount};
pub use floor::{FloorGet, FloorSet};
pub use script::{Also, Script, ScriptLevel, ScriptStore};
pub use stored::Stored;
pub use string::{Get, Set};
pub use validate::{
    record_length, Validate, ValidateAndCount, ValidateDigest, ValidateDigestAndCount,
};
