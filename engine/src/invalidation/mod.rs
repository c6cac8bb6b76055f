//! What an invalidation does beside removing entries: it refuses fills that began before it, and is
//! announced to caches outside the server.
//!
//! **What always holds.** A fill that is accepted began after everything that touched its key or one of its
//! tags. Each invalidation takes the next number of the run, and is announced with it: who sees one left
//! out has missed something.

pub mod announcement;
pub mod fence;
