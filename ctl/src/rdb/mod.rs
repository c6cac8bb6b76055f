//! The server's own format: an RDB, and the payload of DUMP and RESTORE, whose parts are the same.
//!
//! `reader.rs` reads lengths and strings, `value.rs` knows where a value of each type ends, `items.rs` goes over the
//! keys of a file, `payload.rs` is one key's. `proof.rs` says whether a file is whole, `contents.rs` what it has.
//!
//! **What always holds.** A file is anybody's: what it says it has is not allocated before it has come.

pub mod contents;
pub mod items;
pub mod payload;
pub mod proof;
mod reader;
mod value;

pub use contents::{Contents, Kind};
pub use items::Item;
pub use proof::{prove, Proof};
