//! Values as keys hold them: what the engine made, and where the index has it.
//!
//! A value belongs to its key; the server drops it, perhaps on another thread, where it reaches nothing but
//! itself. All else happens under the server's lock. Looking at a value writes nothing: a child that saves
//! would have to copy its page.

pub mod entry;
pub mod life;
pub mod usage;
