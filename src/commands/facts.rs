//! What all commands say alike.

use apikey_engine::record::bad_record::BadRecord;
use host::Error;
use std::ffi::CStr;

/// The version since which a command exists.
pub const SINCE: &CStr = c"0.1.0";

/// The error of a record that can't be kept.
pub fn bad_record(BadRecord(why): BadRecord) -> Error {
    Error::coded("BADRECORD", why)
}
