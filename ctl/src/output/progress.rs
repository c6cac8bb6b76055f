//! How far it is, on a terminal: a bar where the length is known, else what has come so far.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::note::note;

pub struct Progress {
    /// It draws on the standard error, on a terminal alone, and a few times a second.
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    /// Begins, for an input of so many bytes where that is known.
    pub fn of_bytes(length: Option<u64>) -> Self {
        let unknown = "{spinner} {bytes}  {msg}  {elapsed}";
        Self::begin(length, "{bar:20} {percent:>3}%  {msg}  {eta} to go", unknown)
    }

    /// Begins, for so many of what is counted.
    pub fn of(length: Option<u64>) -> Self {
        let known = "{bar:20} {human_pos}/{human_len}  {msg}  {elapsed}";
        Self::begin(length, known, "{spinner} {human_pos}  {msg}  {elapsed}")
    }

    fn begin(length: Option<u64>, known: &str, unknown: &str) -> Self {
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), known),
            None => (ProgressBar::new_spinner(), unknown),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, since: Instant::now() }
    }

    /// So much more is done, and this is to be said of it.
    pub fn advance(&self, by: u64, message: String) {
        self.bar.set_message(message);
        self.bar.inc(by);
    }

    /// Says something beside the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }

    pub fn took(&self) -> Duration {
        self.since.elapsed()
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar does not outlive what it tells of, however that ended.
impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
