//! Why something is no record, in words that quote nothing of it.

use std::borrow::Cow;

/// A sentence for the error reply; see the top of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord(pub Cow<'static, str>);

pub(super) fn bad<T>(why: impl Into<Cow<'static, str>>) -> Result<T, BadRecord> {
    Err(BadRecord(why.into()))
}
