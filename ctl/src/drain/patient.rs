//! A sink that is waited for so long and no longer: a database that is stopped takes a connection, and never answers.
//!
//! It is asked in a thread of its own. What it was asked and nobody waits for any more it may do all the same, later:
//! a batch that it writes then comes again, and no line of it is new.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::interrupt::Interrupt;

use super::batch::Batch;
use super::sink::{Sink, Written};

/// How long it is waited for once the end is wanted.
const IN_THE_END: Duration = Duration::from_secs(5);
/// How long it takes to see that it is.
const MOMENT: Duration = Duration::from_millis(100);

pub struct Patient {
    /// None asks whether it is ready.
    asks: Sender<Option<Batch>>,
    answers: Receiver<Result<Written>>,
    /// It has not answered what it was asked before.
    owes: bool,
    to_be_ready: Duration,
    to_write: Duration,
    interrupt: &'static Interrupt,
}

impl Patient {
    pub fn new(
        mut sink: impl Sink + Send + 'static,
        to_be_ready: Duration,
        to_write: Duration,
        interrupt: &'static Interrupt,
    ) -> Self {
        let (asks, asked) = mpsc::channel::<Option<Batch>>();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            for asked in asked {
                let told = match asked {
                    None => sink.ready().map(|()| Written::default()),
                    Some(batch) => sink.write(&batch),
                };
                if answer.send(told).is_err() {
                    return;
                }
            }
        });
        Self { asks, answers, owes: false, to_be_ready, to_write, interrupt }
    }

    fn ask(&mut self, batch: Option<Batch>, patience: Duration) -> Result<Written> {
        let mut end = Instant::now() + patience;
        if self.owes {
            // Nobody wants to know any more.
            let _ = self.answer(&mut end, patience)?;
        }
        self.asks.send(batch)?;
        self.owes = true;
        self.answer(&mut end, patience)?
    }

    /// What it says, well or not; the error is that it says nothing.
    fn answer(&mut self, end: &mut Instant, patience: Duration) -> Result<Result<Written>> {
        loop {
            let now = Instant::now();
            if self.interrupt.is_wanted() {
                *end = (*end).min(now + IN_THE_END);
            }
            match self.answers.recv_timeout(MOMENT.min(end.saturating_duration_since(now))) {
                Ok(told) => {
                    self.owes = false;
                    return Ok(told);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < *end => {}
                Err(RecvTimeoutError::Timeout) => bail!(
                    "PostgreSQL has not answered for {} s: is it stopped?",
                    patience.as_secs()
                ),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Sink for Patient {
    fn ready(&mut self) -> Result<()> {
        self.ask(None, self.to_be_ready).map(drop)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written> {
        self.ask(Some(batch.clone()), self.to_write)
    }

    fn may_come_back(&self) -> bool {
        true
    }
}
