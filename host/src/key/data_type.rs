//! Data types: what the server does with a module's values, and on which thread.
//!
//! All but one of the methods run under the server's lock, and get a [`Lock`] to show. What drops a value
//! is its own `Drop`, which may run on a thread of the server's: it has no lock to show, so by its type it
//! reaches no more than the value.

use super::stream::{Digest, Load, Rewrite, Save};
use super::thin::Thin;
use crate::defrag::Mover;
use crate::lock::Lock;
use std::ffi::{c_int, CStr};

/// A native data type of the module.
pub trait DataType: 'static {
    /// What a key of the type holds. The server may drop it on another thread, with its database: FLUSHALL
    /// ASYNC, a resync.
    type Value: Thin + Send + ?Sized;

    /// Nine characters of `A-Z a-z 0-9 - _`, which no other module has.
    const NAME: &'static CStr;

    /// The version of the encoding, which the server keeps beside a value (0 to 1023).
    const ENCODING: c_int = 0;

    /// The latest version of the encoding that [`DataType::load`] reads. A value of a later one is not loaded.
    const NEWEST_ENCODING: c_int = Self::ENCODING;

    /// The oldest version of the encoding that [`DataType::load`] reads.
    const OLDEST_ENCODING: c_int = Self::ENCODING;

    /// Reads a value from an RDB or a RESTORE; `None` where it can't be, which ends the load: an error of
    /// RESTORE, a resync that fails, a server that does not start. The bytes may be an attacker's. A panic is
    /// `None`.
    fn load(lock: Lock, from: &mut Load) -> Option<Box<Self::Value>>;

    /// A value that [`DataType::load`] has read, from an RDB that the server loads, stands under this key of a database of
    /// this number. Told before anything of the module's runs that has a [`Ctx`](crate::Ctx); where the server drops the value
    /// after all, which it can if it serves clients meanwhile, it is [`unlinked`](DataType::unlinked) then. 6.2 has
    /// [an event](crate::events::KeyEvent::Loaded) for it instead.
    fn loaded(_lock: Lock, _value: &Self::Value, _database: i32, _name: &[u8]) {}

    /// Writes what [`DataType::load`] reads. May run in a child process. A panic has the server give up the file
    /// that it writes, so that the one before stays; what DUMP then replies no RESTORE takes.
    fn save(lock: Lock, value: &Self::Value, into: &mut Save);

    /// Writes the command that brings a value back, into an AOF that is rewritten. May run in a child process. A
    /// panic has the server give up the rewrite, so that the AOF before stays.
    fn rewrite(lock: Lock, value: &Self::Value, into: &mut Rewrite);

    /// What COPY stores; `None` refuses it, and so does a panic.
    fn copy(_lock: Lock, _value: &Self::Value) -> Option<Box<Self::Value>> {
        None
    }

    /// The value's key, of this name, has gone (or holds another value): deleted, expired, evicted, renamed,
    /// overwritten; or it will not come to the key of which [`loaded`](DataType::loaded) was told. Not told where whole
    /// databases are emptied or exchanged.
    fn unlinked(_lock: Lock, _value: &mut Self::Value, _name: &[u8]) {}

    /// Hands what the value has allocated to [active defragmentation](crate::defrag); the value itself has been. All
    /// at once: the server takes each value for a small one, so it should not own very many allocations.
    fn defrag(_lock: Lock, _value: &mut Self::Value, _mover: &mut Mover) {}

    /// What two servers that hold the same have in common, for DEBUG DIGEST.
    fn digest(_lock: Lock, _value: &Self::Value, _into: &mut Digest) {}

    /// The bytes that the value takes, for MEMORY USAGE; a panic is 0.
    fn bytes(value: &Self::Value) -> usize {
        size_of_val(value)
    }
}
