//! Batches are settled, and given back, on this node.
//!
//! More lines than one batch has are settled by a job, in slices, while whoever has asked waits.
//!
//! Each slice is replicated by itself, so that whatever ends the job (the client hangs up, this node is no
//! primary any more, it dies) a line is settled here and there or nowhere; a batch that has lines left is open,
//! and comes again. What others do in between is met as it is: lines that they have settled, deleted or moved
//! to another database are not there, and what of a batch was given out again is settled. The job goes where
//! SWAPDB takes its database, and ends with it.

use crate::counters;
use crate::keyspace;
use crate::members::tag_of;
use crate::reclaim::is_held;
use crate::state;
use crate::stream::send::send;
use crate::stream::settled;
use apikey_engine::database::databases::SiteId;
use apikey_engine::usage::batches::{Terms, MAX_LINES};
use apikey_engine::usage::id::Id;
use host::changes::Class;
use host::job::{Job, Jobs, Step};
use host::server::avoids_replica_traffic;
use host::{Ctx, Lock, Name, Reply, Text};
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// How long a slice may take.
const SLICE: Duration = Duration::from_micros(500);

/// How long the job waits while replicas are to be left alone.
const WAIT_MS: i64 = 100;

/// The commands; ACK is also what keyspace notifications say.
pub const ACK: &CStr = c"apikey.usage.ack";
pub const NACK: &CStr = c"apikey.usage.nack";

pub static SETTLINGS: Jobs<Settling> = Jobs::new("settle");

/// Tells keyspace notifications that a line of a counter was settled, once it is replicated.
pub fn notify(ctx: &mut Ctx, name: Name) {
    ctx.notify(Class::Module, ACK, name);
}

/// Whether this node has all of the batches open in the selected database.
pub fn has_all(ctx: &Ctx, batches: &[Id]) -> bool {
    let database = ctx.database();
    state::with(ctx.lock(), |state| {
        batches.iter().all(|&batch| state.terms(database, batch).is_some())
    })
}

/// How many lines batches have in all.
pub fn lines(ctx: &Ctx, batches: &[Id]) -> usize {
    let database = ctx.database();
    state::with(ctx.lock(), |state| {
        let tags = batches.iter().map(|batch| batch.fingerprint(&state.fingerprints));
        tags.map(|tag| state.member_count(database, tag)).sum()
    })
}

/// Settles batches of the selected database in the stead of a command: at once where they have no more lines than one
/// batch may have. `then` is told how many lines they were; nothing where that can't be said.
pub fn settle(
    ctx: &mut Ctx,
    batches: Vec<Id>,
    then: impl FnOnce(&mut Ctx, Option<usize>) + Send + 'static,
) {
    /// So many are settled long before.
    const AT_ONCE: Duration = Duration::from_secs(600);
    let are_few = lines(ctx, &batches) <= MAX_LINES;
    let mut job = Settling::begin(ctx.lock(), ctx.database(), batches);
    if are_few {
        if let Step::Done(settled) = job.slice(ctx, Instant::now() + AT_ONCE) {
            return then(ctx, Some(settled));
        }
    }
    SETTLINGS.begin(ctx, job, |ctx, settled| then(ctx, settled.copied()));
}

/// Makes batches due at once and returns the number of their lines; 0 for one that was given back before. Its lines
/// do not become pending again: they may have been written already, and what guards against counting them twice is
/// that they come again under the same ids. Nobody is [told](tell_given_back) yet.
pub fn give_back(ctx: &Ctx, batches: &[Id]) -> usize {
    let database = ctx.database();
    state::with(ctx.lock(), |state| {
        let mut lines = 0;
        for &batch in batches {
            if let Some(Terms { deadline: 1.., .. }) = state.terms(database, batch) {
                state.set_deadline(database, batch, 0);
                lines += state.member_count(database, batch.fingerprint(&state.fingerprints));
            }
        }
        lines
    })
}

/// Tells replicas and the AOF of batches that were given back.
pub fn tell_given_back(ctx: &mut Ctx, batches: &[Id]) {
    let ids: Vec<Text> = batches.iter().map(|batch| Text::new(batch.to_hex().as_bytes())).collect();
    send(ctx, NACK, &ids.iter().map(Text::name).collect::<Vec<Name>>(), &[]);
}

/// The job.
pub struct Settling {
    database: i32,
    site: Option<SiteId>,
    /// That are still to be settled, the next one last.
    batches: Vec<Id>,
    /// In the list of the next batch's lines: those before are still to be looked at.
    position: usize,
    /// Whether some of the next batch were settled since its list was begun.
    has_settled: bool,
    settled: usize,
}

impl Settling {
    pub fn begin(lock: Lock, database: i32, mut batches: Vec<Id>) -> Self {
        batches.reverse();
        let site = state::with(lock, |state| state.site(database).map(|site| site.id));
        Self { database, site, batches, position: usize::MAX, has_settled: false, settled: 0 }
    }

    /// Selects the database, wherever it is now; false where it is no more.
    fn select(&mut self, ctx: &mut Ctx) -> bool {
        let Some(site) = self.site else { return false };
        let number = state::with(ctx.lock(), |state| state.number_of(site));
        number.is_some_and(|number| {
            self.database = number;
            ctx.select(number)
        })
    }

    /// The next line: its batch, and the key. A list that had something is begun again at its end, since a
    /// counter that others change goes to the end of it.
    fn next(&mut self, lock: Lock) -> Option<(Id, Text)> {
        while let Some(&batch) = self.batches.last() {
            let tag = tag_of(lock, batch);
            let found = state::with(lock, |state| {
                let end = state.member_count(self.database, tag).min(self.position);
                self.position = end.checked_sub(1)?;
                state.member_name(self.database, tag, self.position).map(Text::new)
            });
            if let Some(name) = found {
                return Some((batch, name));
            }
            self.position = usize::MAX;
            if !std::mem::take(&mut self.has_settled) {
                self.batches.pop();
            }
        }
        None
    }
}

impl Job for Settling {
    /// How many lines were settled.
    type Outcome = usize;

    fn budget(&self) -> Duration {
        SLICE
    }

    /// Each client is told of the lines that it has settled.
    fn is_the_same(&self, _: &Self) -> bool {
        false
    }

    fn slice(&mut self, ctx: &mut Ctx, until: Instant) -> Step<usize> {
        let is_held = self.settled > 0 && is_held();
        if is_held || avoids_replica_traffic(ctx.lock()) {
            return Step::Later(WAIT_MS);
        }
        if ctx.is_any_replica() || !self.select(ctx) {
            return Step::Done(self.settled);
        }
        let mut gone = Vec::new();
        let mut is_over = false;
        while !is_over && Instant::now() < until {
            match self.next(ctx.lock()) {
                Some((batch, name)) => {
                    if keyspace::write(ctx, name.name()).settle_usage(batch).is_some() {
                        self.has_settled = true;
                        gone.push((name, batch));
                    }
                }
                None => is_over = true,
            }
        }
        self.settled += gone.len();
        let names = gone.iter().map(|(name, _)| name.name());
        counters::tell(ctx, names, |ctx| settled::write(ctx, &gone));
        gone.iter().for_each(|(name, _)| notify(ctx, name.name()));
        if is_over {
            Step::Done(self.settled)
        } else {
            Step::More
        }
    }

    fn reply(settled: &usize, reply: Reply) {
        reply.count(*settled);
    }
}
