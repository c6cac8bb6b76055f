//! The terminal, from the first key to the last: it is left as it was, however this ends.

use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event};

use super::draw::draw;
use super::keys::{press, Then};
use super::poll::{Pace, Poll};
use super::view::View;
use crate::interrupt::Interrupt;
use crate::output::Verdict;
use crate::watch::Watch;

/// How often it is looked for samples and signals while no key is pressed.
const TURN: Duration = Duration::from_millis(50);

/// Ends raw mode and the alternate screen; a panic does so by itself, before it is told.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

pub fn run(watch: Watch, every: Duration, of: &str) -> Result<Verdict> {
    let interrupt = Interrupt::watch_at_terminal(ratatui::restore)?;
    let poll = Poll::start(watch, every);
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let _restored = Restored;
    let mut view = View::new(every);
    loop {
        terminal.draw(|frame| draw(frame, &mut view, of)).context("the terminal")?;
        loop {
            if interrupt.is_wanted() {
                return Ok(Verdict::Interrupted);
            }
            if let Some(sample) = poll.newest() {
                view.sample = Some(sample);
                break;
            }
            if !event::poll(TURN).context("the terminal")? {
                continue;
            }
            // A window that has another size is drawn anew, as after a key.
            let then = match event::read().context("the terminal")? {
                Event::Key(key) => press(&mut view, key),
                _ => Then::Draw,
            };
            match then {
                Then::Draw => {}
                Then::Look => poll.set(Pace::Now),
                Then::Pace if view.is_paused => poll.set(Pace::Paused),
                Then::Pace => poll.set(Pace::Every(view.every)),
                Then::Quit => return Ok(Verdict::Well),
            }
            break;
        }
    }
}
