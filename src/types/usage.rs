//! The type of usage counters: `apikeyuse`.

use super::entries::{load, OLDEST_ENCODING};
use crate::defrag::Server;
use crate::state;
use crate::stream::apply;
use crate::values::usage::UsageValue;
use apikey_engine::codec::value::{encode_usage, Value};
use apikey_engine::codec::version::{COUNTERS, VERSION};
use apikey_engine::limits::account::{Account, Kept};
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;
use host::defrag::Mover;
use host::key::data_type::DataType;
use host::key::handle::Handle;
use host::key::stream::{Digest, Load, Rewrite, Save};
use host::{now, Lock};
use std::ffi::{c_int, CStr};

pub struct Usage;

pub static USAGE: Handle<Usage> = Handle::new();

/// The bytes of a counter, with the terms that its batches have now.
pub fn encode(lock: Lock, value: &UsageValue) -> Vec<u8> {
    let leases = state::with(lock, |state| state.leases(value));
    encode_usage(&value.counter, &leases, value.account(), now())
}

impl DataType for Usage {
    type Value = UsageValue;

    const NAME: &'static CStr = c"apikeyuse";

    const ENCODING: c_int = COUNTERS as c_int;

    const NEWEST_ENCODING: c_int = VERSION as c_int;

    const OLDEST_ENCODING: c_int = OLDEST_ENCODING;

    fn load(lock: Lock, from: &mut Load) -> Option<Box<UsageValue>> {
        load(lock, from, |value| match value {
            Value::Usage(counter, leases, mut account) => {
                state::with(lock, |state| account.share(&mut state.known));
                Some(UsageValue::new(counter, leases, account))
            }
            _ => None,
        })
    }

    fn loaded(lock: Lock, value: &UsageValue, database: i32, name: &[u8]) {
        state::load_counter(lock, database, name, value);
    }

    fn save(lock: Lock, value: &UsageValue, into: &mut Save) {
        into.bytes(&encode(lock, value));
    }

    fn rewrite(lock: Lock, value: &UsageValue, into: &mut Rewrite) {
        apply::rewrite(into, &encode(lock, value));
    }

    /// What was counted was counted once: the copy begins with nothing.
    fn copy(_: Lock, _: &UsageValue) -> Option<Box<UsageValue>> {
        Some(UsageValue::new(Counter::default(), Leases::default(), Account::default()))
    }

    fn unlinked(lock: Lock, value: &mut UsageValue, name: &[u8]) {
        state::with(lock, |state| state.remove_counter(name, value));
    }

    fn defrag(_: Lock, value: &mut UsageValue, mover: &mut Mover) {
        value.defrag(&mut Server(mover));
    }

    /// Not `last_used_at`: each node has it by its own clock.
    fn digest(lock: Lock, value: &UsageValue, into: &mut Digest) {
        into.number(value.counter.pending());
        into.number(value.counter.total());
        into.number(value.counter.first_used_at());
        for lease in state::with(lock, |state| state.leases(value)).lines() {
            into.bytes(&lease.batch.to_bytes());
            into.bytes(&lease.line.to_bytes());
            into.number(lease.count);
            into.number(lease.terms.leased_at);
            into.number(lease.terms.deadline);
        }
        let now = now();
        for Kept { limit, level } in value.account().lasting(now) {
            into.bytes(limit.bytes());
            into.number(level.amount);
            into.number(level.at);
        }
        for request in value.account().requests().iter() {
            into.bytes(&request.print.0);
            into.number(request.at);
            into.number(request.cost);
            into.number(request.is_settled.into());
        }
    }

    fn bytes(value: &UsageValue) -> usize {
        value.bytes()
    }
}
