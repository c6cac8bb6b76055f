//! What all commands say alike.

use apikey_engine::record::bad_record::BadRecord;
use host::command::spec::Spec;
use host::Error;

/// A command of which no more is said than its name and what follows: it reads, has no keys, and takes no
/// arguments.
pub const PLAIN: Spec = Spec { since: c"0.1.0", ..Spec::PLAIN };

/// The error of a record that can't be kept.
pub fn bad_record(BadRecord(why): BadRecord) -> Error {
    Error::coded("BADRECORD", why)
}
