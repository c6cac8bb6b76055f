//! `warm`: fills the cache from an export of the database; one JSON object a line becomes one SETVAL.
//!
//! `row.rs` reads a line, `pattern.rs` makes keys and tags of it, `recipe.rs` the command; `fill` does the rest.

mod flags;
pub mod pattern;
pub mod recipe;
pub mod row;

pub use flags::Flags;

use anyhow::Result;

use crate::connect::Access;
use crate::fill::{self, Job, Source};
use crate::output::{Output, Verdict};

pub fn run(access: &Access, output: &Output, flags: Flags) -> Result<Verdict> {
    let flags::Parts { file, command, recipe, unfenced } = flags.into();
    let source = Source::new(file, command)?;
    let if_absent = recipe.if_absent;
    fill::run(access, output, &Job { name: "warm", source, recipe: &recipe, if_absent, unfenced })
}
