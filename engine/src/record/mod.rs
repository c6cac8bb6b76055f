//! A record, what an application knows of an API key: read, laid out, and judged.
//!
//! **What always holds.** What is stored has been sanitised: bounded, checked, and of the fields that may
//! be kept alone; a client gets their text back as it was. A record never changes: another one replaces
//! it. Of a secret there is its digest and no more, compared in constant time. What is said of a record,
//! in an error or a verdict, quotes nothing of it.

pub mod addresses;
pub mod bad_record;
pub mod digest;
pub mod fields;
pub mod json;
pub mod layout;
pub mod limits;
pub mod packed;
pub mod restrictions;
pub mod sanitise;
pub mod scope;
pub mod tag_fields;
pub mod values;
pub mod verdict;
