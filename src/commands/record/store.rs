//! How a record is stored, by whichever command: what of it is kept, what refuses it, who is told.

use crate::grammar::{accepted, tags, token, Expiry};
use crate::keyspace::OpenKey;
use crate::settings;
use crate::state;
use crate::types::entries::Records;
use crate::values::entry;
use apikey_engine::invalidation::fence::Token;
use apikey_engine::record::bad_record::BadRecord;
use apikey_engine::record::digest::Accepted;
use apikey_engine::record::layout::Record;
use apikey_engine::record::sanitise::Parts;
use host::changes::Class;
use host::command::grammar::{Judged, Options};
use host::{Ctx, Error, Key, Lock, Name, Result};
use smallvec::SmallVec;

/// What the options of SETVAL or MSETVAL say.
pub struct Terms<'a> {
    pub expiry: Expiry,
    digests: SmallVec<[Accepted; 2]>,
    tags: SmallVec<[&'a [u8]; 4]>,
    namespace: &'a [u8],
    pub token: Option<Token>,
    condition: Option<Condition>,
}

#[derive(Clone, Copy, PartialEq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

/// When a fill is judged, and whether it was elsewhere.
#[derive(Clone, Copy)]
pub struct Moment {
    /// Epoch milliseconds.
    pub now: i64,
    pub replayed: bool,
}

impl<'a> Terms<'a> {
    pub fn read(options: &Options<'a>, now: i64, judged: Judged) -> Result<Self> {
        let condition = match (options.has("NX"), options.has("XX")) {
            (true, _) => Some(Condition::IfAbsent),
            (_, true) => Some(Condition::IfPresent),
            _ => None,
        };
        Ok(Self {
            expiry: Expiry::read(options, now),
            digests: accepted(options)?,
            tags: tags(options, judged)?.collect(),
            namespace: options.value("NS").unwrap_or_default(),
            token: token(options),
            condition,
        })
    }

    /// The record that is to be stored: what of it may be kept, with its digests and tags.
    pub fn lay_out(&self, lock: Lock, parts: &Parts) -> Result<Record<'static>> {
        let digests = match (self.digests.as_slice(), parts.digests()) {
            ([], own) => own,
            (given, []) => given,
            _ => {
                return Err(Error::err(
                    "SECRET and DIGEST can't stand beside the record's own digest field",
                ))
            }
        };
        let memory = state::with(lock, |state| state.memory());
        Record::new_in(parts, digests, self.namespace, &self.tags, memory)
            .ok_or_else(|| Error::err("the record can't be laid out"))
    }

    /// Whether NX, XX or TOKEN refuses the record under a name where a live one `exists` or not. A token
    /// that does is counted; what is replayed was judged where its caller was.
    pub fn refuse(
        &self,
        lock: Lock,
        name: Name,
        record: &Record,
        exists: bool,
        Moment { now, replayed }: Moment,
    ) -> bool {
        let refused = match self.condition {
            Some(Condition::IfAbsent) => exists,
            Some(Condition::IfPresent) => !exists,
            None => false,
        };
        let late = |token: &Token| {
            !state::with(lock, |state| state.accepts_fill(token, name.bytes(), record, now))
        };
        refused || (!replayed && self.token.as_ref().is_some_and(late))
    }
}

/// Whether a live record stands under a name, an absent one left out; an error where something else does.
pub fn exists<'k, K: AsRef<Key<'k>>>(key: &OpenKey<'k, K>) -> Result<bool> {
    Ok(key.live::<Records>()?.is_some_and(|value| !entry::record(value).is_absent()))
}

/// What of a client's record may be kept.
pub fn sanitise<'a>(lock: Lock, json: Name<'a>) -> std::result::Result<Parts<'a>, BadRecord> {
    let memory = state::with(lock, |state| [state.memory(), state.memory()]);
    settings::with_record_limits(lock, |limits| Parts::sanitise_in(json.bytes(), limits, memory))
}

/// The error of a record that can't be kept.
pub fn bad_record(BadRecord(why): BadRecord) -> Error {
    Error::coded("BADRECORD", why)
}

/// Tells keyspace notifications that a record was stored.
pub fn notify(ctx: &mut Ctx, name: Name, expires: bool) {
    ctx.notify(Class::Module, c"apikey.setval", name);
    if expires {
        ctx.notify(Class::Generic, c"expire", name);
    }
}
