//! redis-apikey: the module.
//!
//! What is decided stands in the crate `apikey-engine`, what the server is asked by in `host`; here keys are
//! opened, replies written and changes replicated. Files from the bottom up; each imports those above it in
//! this table alone (`floors.txt`).
//!
//! | file | holds |
//! | --- | --- |
//! | [`settings`] | settings, which know no state |
//! | [`values`] | what keys hold |
//! | [`trouble`] | calls by name that the server refuses |
//! | [`trust`] | whether what this node holds is to be trusted |
//! | [`migrations`] | slots that move as a whole, to this node and from it |
//! | [`state`] | the index of each database, the fence, and counts |
//! | [`defrag`] | what active defragmentation moves |
//! | [`stream`] | what replicas and the AOF get: its words, how they are written and read |
//! | [`vouch`] | whether this node may say VALID |
//! | [`types`] | how the server saves, loads, copies and drops what keys hold |
//! | [`keyspace`] | the one file that opens keys |
//! | [`invalidation`] | what every invalidation does |
//! | [`evict`] | what of a region goes that holds more than it may |
//! | [`patinval`] | a job: the entries of regions whose keys fit a pattern are killed |
//! | [`policies`] | what is set of regions takes effect |
//! | [`reclaim`], [`check`] | jobs: dead entries are taken away; keys and index are compared |
//! | [`events`] | keys that come by themselves, databases emptied or exchanged |
//! | [`counters`] | what a command without keys has changed of counters, as it is told |
//! | [`members`] | a walk over the counters that have something pending, or leased |
//! | [`settling`] | batches are settled, and given back, on this node |
//! | [`tagged`] | what carries a tag is killed, and counted, on this node |
//! | [`bus`] | questions to the other primaries of a cluster, and answers to theirs |
//! | [`grammar`] | the options that commands share |
//! | [`commands`] | a file for each command, or for a few that belong together |

#![deny(unsafe_code)]

mod bus;
mod check;
mod commands;
mod counters;
mod defrag;
mod events;
mod evict;
mod grammar;
mod invalidation;
mod keyspace;
mod members;
mod migrations;
mod patinval;
mod policies;
mod reclaim;
mod settings;
mod settling;
mod state;
mod stream;
mod tagged;
mod trouble;
mod trust;
mod types;
mod values;
mod vouch;

use crate::bus::Bus;
use crate::commands::health::Health;
use crate::commands::register;
use crate::defrag::Indices;
use crate::events::Events;
use crate::migrations::Follower;
use crate::types::{entries, usage};
use host::{log, Ctx, Level, Loading, Lock, Module, Result};
use std::ffi::{c_int, CStr};

struct ApiKey;

host::entry!(ApiKey);

impl Module for ApiKey {
    const NAME: &'static CStr = c"apikey";
    const VERSION: c_int = 100;

    fn load(loading: &mut Loading) -> Result<()> {
        loading.settings(&settings::ALL)?;
        loading.when_set(trim_log);
        state::create(loading.lock());
        loading.data_type(&entries::RECORDS)?;
        loading.data_type(&entries::SCOPES)?;
        loading.data_type(&entries::LISTS)?;
        loading.data_type(&entries::VALUES)?;
        loading.data_type(&usage::USAGE)?;
        register::register(loading)?;
        loading.listen::<Events>();
        loading.follow_migrations::<Follower>();
        loading.info::<Health>()?;
        loading.defrag::<Indices>()?;
        loading.receive::<Bus>();
        loading.after_each(reclaim::look);
        loading.each_cron(each_cron);
        loading.when_replay_fails(cannot_replay);
        log(Level::Notice, concat!("redis-apikey ", env!("CARGO_PKG_VERSION"), " is loaded"));
        Ok(())
    }
}

/// What is to be looked at from time to time.
fn each_cron(ctx: &mut Ctx) {
    vouch::begin(ctx);
    policies::watch(ctx);
}

/// A replica, or a server that loads its AOF, can't do what it was told.
fn cannot_replay(ctx: &mut Ctx, command: &str, why: &str) {
    state::with(ctx.lock(), |state| state.cannot_replay(command, why));
}

/// The log may have become shorter.
fn trim_log(lock: Lock) {
    state::with(lock, |state| state.refusals.trim(settings::LOG_MAX_LEN.size()));
}
