//! A primary whose counts are handed over: leased, written, acknowledged, in this order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Context, Result};
use redis::Value;

use super::batch::{self, Batch};
use super::sink::Sink;
use super::tally::Tally;
use crate::connect::{Access, Address, Link};
use crate::interrupt::Interrupt;
use crate::output::note;

/// How long replicas may take to have a LEASE: less than any `--timeout`.
const REPLICATION: Duration = Duration::from_millis(500);

/// So many of the lines of a batch that are not taken are told one by one.
const SHOWN: usize = 3;

/// What is asked of each primary.
pub struct Terms<'a> {
    pub access: &'a Access,
    pub lease: Duration,
    /// Lines of a LEASE.
    pub count: u32,
    /// Replicas that must have a LEASE before what it gave out is written.
    pub replicas: u32,
    pub verbose: bool,
    pub interrupt: &'a Interrupt,
}

pub struct Primary {
    pub address: Address,
    link: Option<Link>,
    /// Batches with lines that are not taken, and how many: their leases run out, so that they keep nothing back.
    held: BTreeMap<String, usize>,
    pause: Pause,
}

/// Which side failed.
pub enum Failure {
    Server(anyhow::Error),
    Sink(anyhow::Error),
}

impl Primary {
    pub fn new(address: Address) -> Self {
        Self { address, link: None, held: BTreeMap::new(), pause: Pause::default() }
    }

    /// Whether it is not to be left alone for a while.
    pub fn is_due(&self) -> bool {
        self.pause.is_over()
    }

    /// Lines that are not taken.
    pub fn refused(&self) -> usize {
        self.held.values().sum()
    }

    /// Hands over what one LEASE gives, and returns how many batches that were which were not here before.
    pub fn drain(
        &mut self,
        terms: &Terms,
        sink: &mut dyn Sink,
        tally: &mut Tally,
    ) -> Result<usize, Failure> {
        let drained = self.hand_over(terms, sink, tally);
        match &drained {
            Ok(_) => self.pause = Pause::default(),
            Err(Failure::Server(_)) => {
                self.link = None;
                self.pause.begin();
            }
            Err(Failure::Sink(_)) => {}
        }
        drained
    }

    fn hand_over(
        &mut self,
        terms: &Terms,
        sink: &mut dyn Sink,
        tally: &mut Tally,
    ) -> Result<usize, Failure> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let linked = terms.access.link(&self.address, terms.access.database());
                linked.map_err(Failure::Server)?
            }
        };
        let batches = lease(&mut link, terms).map_err(Failure::Server)?;
        let mut new = 0;
        let mut rest = batches.as_slice();
        while let [batch, behind @ ..] = rest {
            if terms.interrupt.is_wanted() {
                give_back(&mut link, rest);
                break;
            }
            let written = match sink.write(batch) {
                Ok(written) => written,
                Err(why) => {
                    give_back(&mut link, rest);
                    self.link = Some(link);
                    return Err(Failure::Sink(why));
                }
            };
            rest = behind;
            if terms.verbose {
                note(&format!(
                    "batch {}: {} lines, {} new",
                    batch.id,
                    batch.lines.len(),
                    written.new
                ));
            }
            if written.refused.is_empty() {
                acknowledge(&mut link, &batch.id).map_err(Failure::Server)?;
                tally.add(batch, written.new);
                new += 1;
                self.held.remove(&batch.id);
            } else if self.held.insert(batch.id.clone(), written.refused.len()).is_none() {
                new += 1;
                tell_refused(batch, &written.refused);
            }
        }
        self.link = Some(link);
        Ok(new)
    }

    /// Gives back what was not taken, so that whoever drains next need not wait for its lease.
    pub fn end(&mut self) {
        if let Some(link) = &mut self.link {
            nack(link, self.held.keys().map(String::as_str));
        }
    }
}

fn lease(link: &mut Link, terms: &Terms) -> Result<Vec<Batch>> {
    let mut command = redis::cmd("APIKEY.USAGE.LEASE");
    command.arg(terms.lease.as_millis() as u64).arg("COUNT").arg(terms.count);
    let reply: Value = link.ask(&command)?;
    let batches = batch::read(&reply).with_context(|| {
        format!("{}: APIKEY.USAGE.LEASE has a reply that is not known", link.address)
    })?;
    if terms.replicas == 0 || batches.is_empty() {
        return Ok(batches);
    }
    let mut command = redis::cmd("WAIT");
    command.arg(terms.replicas).arg(REPLICATION.as_millis() as u64);
    let have: u32 = link.ask(&command)?;
    if have < terms.replicas {
        give_back(link, &batches);
        return Err(anyhow!(
            "{}: only {have} of --replicas {} had the LEASE within {REPLICATION:?}, so nothing of it is written: are they up, and do they keep up?",
            link.address,
            terms.replicas
        ));
    }
    Ok(batches)
}

/// Fewer lines than the batch had, or none: deleted meanwhile, or acknowledged by another.
fn acknowledge(link: &mut Link, batch: &str) -> Result<()> {
    link.ask::<Value>(redis::cmd("APIKEY.USAGE.ACK").arg(batch)).map(drop)
}

fn give_back(link: &mut Link, batches: &[Batch]) {
    nack(link, batches.iter().map(|batch| &*batch.id));
}

/// Nothing is lost where that fails: they come again when their lease is over.
fn nack<'a>(link: &mut Link, batches: impl Iterator<Item = &'a str>) {
    let mut command = redis::cmd("APIKEY.USAGE.NACK");
    let mut is_any = false;
    for batch in batches {
        command.arg(batch);
        is_any = true;
    }
    if is_any {
        let _ = link.try_ask(&command);
    }
}

fn tell_refused(batch: &Batch, refused: &[(usize, String)]) {
    for (place, why) in refused.iter().take(SHOWN) {
        let Some(line) = batch.lines.get(*place) else { continue };
        let key = line.key.escape_ascii();
        note(&format!("line {} of {key}, {} uses, is not taken: {why}", line.id, line.count));
    }
    let more = refused.len().saturating_sub(SHOWN);
    if more > 0 {
        note(&format!("and {more} more lines of the batch"));
    }
    note(&format!(
        "batch {} stays leased, and comes again with those lines until they are taken: see what the tables refuse",
        batch.id
    ));
}

/// A time to wait after an error, longer each time.
pub struct Pause {
    until: Option<Instant>,
    next: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    /// Begins, and says how long.
    pub fn begin(&mut self) -> Duration {
        let time = self.next;
        self.until = Instant::now().checked_add(time);
        self.next = time.saturating_mul(2).min(Self::LONGEST);
        time
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self { until: None, next: Self::FIRST }
    }
}
