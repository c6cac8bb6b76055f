//! Errors as a client sees them.

use crate::api::Refused;
use std::borrow::Cow;
use std::fmt::Display;

/// The text of an error reply, its code first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub Cow<'static, str>);

/// What can go wrong in a way that a client, or the log of a load, is told.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The key holds something that is not the command's.
    pub const WRONG_TYPE: Self =
        Self(Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value"));

    /// A bug of the module's.
    pub const INTERNAL: Self = Self(Cow::Borrowed("ERR internal error; the log has its place"));

    /// Arguments that the command's grammar has not, and no more is known.
    pub const SYNTAX: Self = Self(Cow::Borrowed("ERR syntax error"));

    /// An error of the general code.
    pub fn err(text: impl Display) -> Self {
        Self::coded("ERR", text)
    }

    /// An error of a code of its own.
    pub fn coded(code: &str, text: impl Display) -> Self {
        Self(Cow::Owned(format!("{code} {text}")))
    }

    /// An argument is not between two bounds.
    pub fn between(argument: impl Display, least: impl Display, most: impl Display) -> Self {
        Self::err(format_args!("{argument} must be between {least} and {most}"))
    }

    /// Two options can't stand together.
    pub fn exclude(one: &str, other: &str) -> Self {
        Self::err(format_args!("{one} and {other} exclude each other"))
    }
}

impl From<Refused> for Error {
    fn from(_: Refused) -> Self {
        Self::err("the server refused the change")
    }
}
