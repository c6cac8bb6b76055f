//! `warm`: fills the cache from an export of the database; one JSON object a line becomes one SETVAL, or, for a region,
//! one CACHE.SET.
//!
//! `row.rs` reads a line, `pattern.rs` makes keys and tags of it, `recipe.rs` and `values.rs` the command; `popular.rs`
//! asks which keys are read most; `fill` does the rest.

mod flags;
pub mod pattern;
mod popular;
pub mod recipe;
pub mod row;
mod values;

pub use flags::Flags;

use anyhow::Result;

use crate::connect::Access;
use crate::fill::{self, Job, Recipe, Source};
use crate::output::{note, Output, Verdict};

use flags::Recipes;

pub fn run(access: &Access, output: &Output, flags: Flags) -> Result<Verdict> {
    let flags::Parts { file, command, mut recipe, popular, if_absent, unfenced } = flags.parts()?;
    let source = Source::new(file, command)?;
    if let (Some(most), Recipes::Values(values)) = (popular, &mut recipe) {
        let keys = popular::keys(access, &values.region, values.namespace.as_deref(), most)?;
        if keys.is_empty() {
            note("no key of this region was read since the server was started: nothing is popular");
        }
        values.popular = Some(keys);
    }
    let recipe: &dyn Recipe = match &recipe {
        Recipes::Records(recipe) => recipe,
        Recipes::Values(recipe) => recipe,
    };
    fill::run(access, output, &Job { name: "warm", source, recipe, if_absent, unfenced })
}
