//! Tags: killing what carries one, counting and listing it, and what an entry carries.

pub mod of;
pub mod tagcard;
pub mod taginval;
pub mod tagscan;
