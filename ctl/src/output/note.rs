//! What is said beside the output: on the standard error.

use super::style::Style;

/// Says something that is no result: a warning, an error.
pub fn note(text: &str) {
    eprintln!("{} {text}", Style::of_stderr().bold("apikeyctl:"));
}
