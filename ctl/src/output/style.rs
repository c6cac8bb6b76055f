//! Colour, where a person looks on: on a terminal, and without NO_COLOR.

use std::env;
use std::fmt::Display;
use std::io::{stderr, stdout, IsTerminal};

/// Paints texts, or leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colours: bool,
}

impl Style {
    /// As the standard output takes it.
    pub fn of_stdout() -> Self {
        Self { colours: stdout().is_terminal() && are_wanted() }
    }

    /// As the standard error takes it.
    pub fn of_stderr() -> Self {
        Self { colours: stderr().is_terminal() && are_wanted() }
    }

    pub fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// What stands back.
    pub fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    pub fn good(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    pub fn warn(self, text: impl Display) -> String {
        self.paint("33", text)
    }

    pub fn bad(self, text: impl Display) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }
}

/// <https://no-color.org>, and terminals that have none.
fn are_wanted() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_colours_stays_as_it_is() {
        assert_eq!(Style { colours: false }.bad("no"), "no");
        assert_eq!(Style { colours: true }.bad("no"), "\x1b[1;31mno\x1b[0m");
    }
}
