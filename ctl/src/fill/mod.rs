//! Storing records and values of regions under tokens, line by line: what `warm` and `import` have in common.
//!
//! The order is what makes it safe. Each primary gives a token (`node.rs`), then the export begins (`lines.rs`),
//! then its records are stored under the tokens: one that was revoked or changed after its primary gave the token is
//! refused by the server, however old the export's snapshot is.
//!
//! A line is turned into a command (`recipe.rs`), goes into the pipeline of the primary that has the key's slot
//! (`primaries.rs`), and what became of it is counted (`tally.rs`). A bad line is reported and stops nothing.
//! Nothing is kept between runs: one can be interrupted and started again, since storing a record twice is storing
//! it.

pub mod lines;
mod node;
mod primaries;
pub mod recipe;
mod run;
mod tally;

pub use lines::{Source, LONGEST_OF_REGIONS};
pub use recipe::{Fill, Recipe};
pub use run::{run, Job};
