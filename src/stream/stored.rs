//! STORED: `key value [key value ...]`. Records, or values of regions, that were stored, each with its expiry before its
//! bytes.
//!
//! SETVAL and MSETVAL are replicated by it: to store bytes that are laid out already costs a replica a
//! fraction of what it would to read JSON again.

use super::send::{not_ours, send, send_value};
use crate::state;
use apikey_engine::cache::value::Cached;
use apikey_engine::codec::stored::{decode_stored, encode_stored, encode_stored_value};
use apikey_engine::codec::value::Value;
use apikey_engine::record::layout::Record;
use host::{Args, Ctx, Error, Name, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.stored";

/// Says that a record was stored.
pub fn write(ctx: &mut Ctx, key: Name, record: &Record, expires_at: Option<i64>) {
    state::with_bytes(ctx.lock(), |bytes| {
        encode_stored(record, expires_at, bytes);
        send_value(ctx, NAME, key, bytes);
    });
}

/// Says that a value of a region's was stored.
pub fn write_value(ctx: &mut Ctx, key: Name, cached: &Cached, expires_at: Option<i64>) {
    state::with_bytes(ctx.lock(), |bytes| {
        encode_stored_value(cached, expires_at, bytes);
        send_value(ctx, NAME, key, bytes);
    });
}

/// What was stored, to be said at once.
#[derive(Default)]
pub struct Many<'a> {
    words: Vec<Word<'a>>,
}

enum Word<'a> {
    Key(Name<'a>),
    Value(Vec<u8>),
}

impl<'a> Many<'a> {
    pub fn push(&mut self, key: Name<'a>, record: &Record, expires_at: Option<i64>) {
        let mut value = Vec::new();
        encode_stored(record, expires_at, &mut value);
        self.words.extend([Word::Key(key), Word::Value(value)]);
    }

    pub fn push_value(&mut self, key: Name<'a>, cached: &Cached, expires_at: Option<i64>) {
        let mut value = Vec::new();
        encode_stored_value(cached, expires_at, &mut value);
        self.words.extend([Word::Key(key), Word::Value(value)]);
    }

    /// The keys.
    pub fn names(&self) -> impl Iterator<Item = Name<'a>> + '_ {
        self.words.iter().filter_map(|word| match word {
            Word::Key(name) => Some(*name),
            Word::Value(_) => None,
        })
    }

    pub fn len(&self) -> usize {
        self.words.len() / 2
    }

    /// Says that they were stored.
    pub fn write(&self, ctx: &mut Ctx) {
        if self.words.is_empty() {
            return;
        }
        let words = self.words.iter().map(|word| match word {
            Word::Key(name) => name.bytes(),
            Word::Value(value) => value,
        });
        let words: Vec<&[u8]> = words.collect();
        send(ctx, NAME, &[], &words);
    }
}

/// Key, expiry and value of each.
pub fn read(args: Args<'_>) -> Result<Vec<(Name<'_>, Option<i64>, Value<'_>)>> {
    (1..args.len())
        .step_by(2)
        .map(|position| match (args.get(position), args.get(position + 1)) {
            (Some(name), Some(bytes)) => {
                let (expires_at, value) = decode_stored(bytes.bytes()).map_err(not_ours)?;
                Ok((name, expires_at, value))
            }
            _ => Err(Error::SYNTAX),
        })
        .collect()
}
