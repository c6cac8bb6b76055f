//! The one way to connect: what the command line says of servers, TLS and users, and links made by it.
//!
//! **What always holds.** Every wait is bounded: for a connection and for each reply. An error names the
//! server and says what to do, and none repeats a password.

pub mod access;
pub mod address;
mod anybody;
pub mod flags;
pub mod link;
pub mod refusal;
mod tls;
pub mod wire;

pub use access::{Access, Way};
pub use address::Address;
pub use anybody::Anybody;
pub use flags::ConnectFlags;
pub use link::Link;
pub use refusal::Refusal;
pub use wire::Wire;
