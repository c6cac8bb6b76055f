//! How far it is, on a terminal: a bar where the length is known, else what has come so far.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::Tally;

pub struct Progress {
    /// It draws on a terminal alone, and a few times a second.
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    /// Begins, for an input of so many bytes where that is known.
    pub fn begin(length: Option<u64>) -> Self {
        let (bar, template) = match length {
            Some(length) => {
                (ProgressBar::new(length), "{bar:20} {percent:>3}%  {msg}  {eta} to go")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}  {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, since: Instant::now() }
    }

    /// So many more bytes were read.
    pub fn advance(&self, bytes: usize, tally: &Tally) {
        let rate = tally.lines as f64 / self.since.elapsed().as_secs_f64().max(0.001);
        let bad = if tally.bad > 0 { format!(", {} bad", tally.bad) } else { String::new() };
        self.bar.set_message(format!("{} lines, {rate:.0}/s{bad}", tally.lines));
        self.bar.inc(bytes as u64);
    }

    /// Says something beside the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("warm: {text}"));
    }

    pub fn took(&self) -> Duration {
        self.since.elapsed()
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
