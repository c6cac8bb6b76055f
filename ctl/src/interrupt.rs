//! SIGINT, SIGTERM and SIGHUP: a wish to end, which who is at work sees when it is between two things.

use std::process::exit;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

const INTERRUPTED: i32 = 130;

/// How long who is at work has to end by itself.
const MOMENT: Duration = Duration::from_millis(500);

pub struct Interrupt {
    is_wanted: Mutex<bool>,
    comes: Condvar,
}

static INTERRUPT: Interrupt = Interrupt { is_wanted: Mutex::new(false), comes: Condvar::new() };

impl Interrupt {
    /// Takes the signals over, once in a process. The second one ends whatever it waits for.
    pub fn watch() -> Result<&'static Self> {
        Self::watch_then(|| {})
    }

    /// The same for who reads from a terminal. Where that has gone crossterm reads on for ever, so it is ended a moment
    /// after the first signal in any case, with the terminal left as it was by `restore`.
    pub fn watch_at_terminal(restore: fn()) -> Result<&'static Self> {
        Self::watch_then(move || {
            sleep(MOMENT);
            restore();
            exit(INTERRUPTED);
        })
    }

    fn watch_then(after_the_first: impl Fn() + Send + 'static) -> Result<&'static Self> {
        ctrlc::set_handler(move || {
            let mut is_wanted = INTERRUPT.lock();
            if *is_wanted {
                exit(INTERRUPTED);
            }
            *is_wanted = true;
            INTERRUPT.comes.notify_all();
            drop(is_wanted);
            after_the_first();
        })
        .context("could not take over Ctrl-C")?;
        Ok(&INTERRUPT)
    }

    pub fn is_wanted(&self) -> bool {
        *self.lock()
    }

    /// Waits for so long, or until it is wanted, and returns whether it is.
    pub fn wait(&self, time: Duration) -> bool {
        let waited = self.comes.wait_timeout_while(self.lock(), time, |is_wanted| !*is_wanted);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
