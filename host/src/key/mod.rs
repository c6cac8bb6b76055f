//! Keys and what they hold.
//!
//! A module's values live under keys, which the server opens, frees, saves and copies. Here a key is a
//! borrow of the call's context: while a value is looked at nothing can be called that might take it away,
//! since whatever could (opening another key, a command, a notification) wants the context for itself.

pub mod data_type;
pub mod handle;
pub mod open;
pub mod stream;
pub mod thin;
pub mod walk;
