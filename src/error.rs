//! Errors as a client sees them.

use apikey_engine::record::bad_record::BadRecord;
use std::borrow::Cow;

/// The text of an error reply, its code first.
#[derive(Debug)]
pub struct Error(pub Cow<'static, str>);

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub const WRONG_TYPE: Self =
        Self(Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value"));

    /// A bug of ours. A constant, so that being ready to say it costs nothing.
    pub const INTERNAL: Self = Self(Cow::Borrowed("ERR internal error; the log has its place"));

    pub const SYNTAX: Self = Self(Cow::Borrowed("ERR syntax error"));

    /// An error of the general code.
    pub fn err(text: impl std::fmt::Display) -> Self {
        Self(Cow::Owned(format!("ERR {text}")))
    }

    /// An argument is not between two bounds.
    pub fn between(
        argument: &str,
        least: impl std::fmt::Display,
        most: impl std::fmt::Display,
    ) -> Self {
        Self::err(format_args!("{argument} must be between {least} and {most}"))
    }
}

impl From<BadRecord> for Error {
    fn from(BadRecord(why): BadRecord) -> Self {
        Self(Cow::Owned(format!("BADRECORD {why}")))
    }
}

impl From<crate::ffi::Refused> for Error {
    fn from(_: crate::ffi::Refused) -> Self {
        Self::err("the server refused the change")
    }
}
