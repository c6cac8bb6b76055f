//! Jobs: work that is done in slices, so that nobody waits for it but those who have asked.
//!
//! A kind of job is a static. One job of a kind is under way at a time; who asks for what is under way joins
//! it and gets its outcome; who asks for something else waits for its turn. Between two slices the server has
//! a pause for others. A job that was asked for by clients ends when none of them waits any more; one that
//! was [started](Jobs::start), or [begun](Jobs::begin), by the module itself goes on until it says so.

use crate::blocked::Waiting;
use crate::context::Ctx;
use crate::error::Result;
use crate::guard;
use crate::lock::{Lock, Locked};
use crate::reply::Reply;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the server has for others between two slices, in milliseconds.
pub const PAUSE_MS: i64 = 1;

/// Work that is done in slices.
pub trait Job: Send + 'static {
    /// What those who wait are told.
    type Outcome: Send + Sync + 'static;

    /// How long a slice may take.
    fn budget(&self) -> Duration;

    /// Does some of the work, until then at the latest.
    fn slice(&mut self, ctx: &mut Ctx, until: Instant) -> Step<Self::Outcome>;

    /// Whether who asks for `other` may have this one's outcome.
    fn is_the_same(&self, other: &Self) -> bool;

    /// Replies to one who waited.
    fn reply(outcome: &Self::Outcome, reply: Reply);
}

/// How a slice has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<O> {
    /// There is more to do, after the usual pause.
    More,
    /// There is, or may be, more to do, but not before so many milliseconds.
    Later(i64),
    /// That was all.
    Done(O),
}

/// The jobs of a kind.
pub struct Jobs<J: Job> {
    /// What the log calls the kind.
    name: &'static str,
    /// The first is under way, if the timer is set.
    queue: Locked<RefCell<Queue<J>>>,
}

struct Queue<J: Job> {
    jobs: VecDeque<Asked<J>>,
    /// Whether a timer will come.
    is_ticking: bool,
}

/// What a job's outcome is for; it gets none where the job has panicked.
type Then<O> = Box<dyn FnOnce(&mut Ctx, Option<&O>) + Send>;

/// A job, and who has asked for it.
struct Asked<J: Job> {
    /// Away while a slice of it runs.
    job: Option<J>,
    waiting: Vec<Waiting>,
    /// Whether it goes on with nobody waiting.
    is_own: bool,
    then: Option<Then<J::Outcome>>,
}

impl<J: Job> Asked<J> {
    fn is_wanted(&self) -> bool {
        self.is_own || !self.waiting.is_empty()
    }
}

impl<J: Job> Jobs<J> {
    /// No jobs of a kind that the log knows by this name.
    pub const fn new(name: &'static str) -> Self {
        let queue = Queue { jobs: VecDeque::new(), is_ticking: false };
        Self { name, queue: Locked::new(RefCell::new(queue)) }
    }

    /// Has the caller wait for the outcome of a job: of one like it, where there is one. An error, with
    /// nothing done, where the caller of the command can't wait.
    pub fn ask(&'static self, ctx: &mut Ctx, command: &str, job: J) -> Result<()> {
        let waiting = ctx.block(command)?;
        let mut queue = self.queue.get(ctx.lock()).borrow_mut();
        let same =
            |asked: &&mut Asked<J>| asked.job.as_ref().is_some_and(|other| other.is_the_same(&job));
        match queue.jobs.iter_mut().find(same) {
            Some(asked) => asked.waiting.push(waiting),
            None => {
                let waiting = vec![waiting];
                let job = Some(job);
                queue.jobs.push_back(Asked { job, waiting, is_own: false, then: None });
            }
        }
        drop(queue);
        self.tick_after(ctx, 0);
        Ok(())
    }

    /// Starts a job of the module's own, so many milliseconds from now, unless there is one like it. In a
    /// slice of a job of the kind nothing is started: that job can't be compared, and counts as one like it.
    pub fn start(&'static self, ctx: &mut Ctx, job: J, ms: i64) {
        let mut queue = self.queue.get(ctx.lock()).borrow_mut();
        let is_there =
            |asked: &Asked<J>| asked.job.as_ref().is_none_or(|other| other.is_the_same(&job));
        if !queue.jobs.iter().any(is_there) {
            let (job, waiting) = (Some(job), Vec::new());
            queue.jobs.push_back(Asked { job, waiting, is_own: true, then: None });
        }
        drop(queue);
        self.tick_after(ctx, ms);
    }

    /// Begins a job of the module's own, whatever else is under way. When it is over, `then` gets its outcome; none
    /// where it has panicked.
    pub fn begin(
        &'static self,
        ctx: &mut Ctx,
        job: J,
        then: impl FnOnce(&mut Ctx, Option<&J::Outcome>) + Send + 'static,
    ) {
        let (job, waiting, then) = (Some(job), Vec::new(), Some(Box::new(then) as Then<_>));
        let asked = Asked { job, waiting, is_own: true, then };
        self.queue.get(ctx.lock()).borrow_mut().jobs.push_back(asked);
        self.tick_after(ctx, 0);
    }

    /// How many jobs are under way, or wait for their turn.
    pub fn len(&self, lock: Lock) -> usize {
        self.queue.get(lock).borrow().jobs.len()
    }

    /// Whether there is no job.
    pub fn is_empty(&self, lock: Lock) -> bool {
        self.len(lock) == 0
    }

    fn tick_after(&'static self, ctx: &mut Ctx, ms: i64) {
        let was_ticking =
            std::mem::replace(&mut self.queue.get(ctx.lock()).borrow_mut().is_ticking, true);
        if !was_ticking {
            ctx.after(ms, |ctx| self.tick(ctx));
        }
    }

    /// Does a slice of the job whose turn it is.
    fn tick(&'static self, ctx: &mut Ctx) {
        let queue = self.queue.get(ctx.lock());
        queue.borrow_mut().is_ticking = false;
        // To drop those that nobody wants any more may panic.
        let next = guard::run(self.name, None, || queue.borrow_mut().next());
        let Some(mut job) = next else {
            if !self.is_empty(ctx.lock()) {
                self.tick_after(ctx, PAUSE_MS);
            }
            return;
        };
        let step = guard::run(self.name, None, || {
            let until = Instant::now() + job.budget();
            Some(job.slice(ctx, until))
        });
        let pause = match &step {
            Some(Step::Later(ms)) => *ms,
            _ => PAUSE_MS,
        };
        let outcome = match step {
            Some(Step::More | Step::Later(_)) => {
                if let Some(asked) = queue.borrow_mut().jobs.front_mut() {
                    asked.job = Some(job);
                }
                return self.tick_after(ctx, pause);
            }
            Some(Step::Done(outcome)) => Some(Arc::new(outcome)),
            // It has panicked: whoever waits gets an error.
            None => None,
        };
        let asked = queue.borrow_mut().jobs.pop_front();
        if let Some(Asked { waiting, then, .. }) = asked {
            if let Some(outcome) = &outcome {
                for waiting in waiting {
                    let outcome = outcome.clone();
                    waiting.answer(move |reply| J::reply(&outcome, reply));
                }
            }
            if let Some(then) = then {
                guard::run(self.name, (), || then(ctx, outcome.as_deref()));
            }
        }
        if !self.is_empty(ctx.lock()) {
            self.tick_after(ctx, pause);
        }
    }
}

impl<J: Job> Queue<J> {
    /// The job whose turn it is, of those that are wanted.
    fn next(&mut self) -> Option<J> {
        for asked in &mut self.jobs {
            asked.waiting.retain(|waiting| !waiting.has_gone());
        }
        self.jobs.retain(Asked::is_wanted);
        self.jobs.front_mut()?.job.take()
    }
}
