//! Which key does what: as htop and top have them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::view::View;

/// What is to be done besides drawing anew.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    Draw,
    /// Ask the servers at once.
    Look,
    /// The interval, or whether it waits at all, is another.
    Pace,
    Quit,
}

/// For the page of help, in its order.
pub const HELP: [(&str, &str); 9] = [
    ("Up Down PgUp PgDn Home End", "choose a node: what it says of itself stands at the bottom"),
    ("F6 > .", "sort by the column to the right"),
    ("< ,", "sort by the column to the left"),
    ("I", "the other way round"),
    ("Space", "ask now"),
    ("+ -", "ask less often, more often"),
    ("p  Z", "pause, and go on"),
    ("F1 h ?", "this help"),
    ("F10 q Ctrl-C", "quit"),
];

pub fn press(view: &mut View, key: KeyEvent) -> Then {
    if key.kind == KeyEventKind::Release {
        return Then::Draw;
    }
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if with_control => return Then::Quit,
        KeyCode::Char('l') if with_control => return Then::Look,
        KeyCode::F(10) | KeyCode::Char('q' | 'Q') => return Then::Quit,
        // Any key leaves the help.
        _ if view.shows_help => view.shows_help = false,
        KeyCode::F(1) | KeyCode::Char('h' | 'H' | '?') => view.shows_help = true,
        KeyCode::Up | KeyCode::Char('k') => view.choose(view.place().saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => view.choose(view.place() + 1),
        KeyCode::PageUp => view.choose(view.place().saturating_sub(view.page)),
        KeyCode::PageDown => view.choose(view.place() + view.page),
        KeyCode::Home => view.choose(0),
        KeyCode::End => view.choose(usize::MAX),
        KeyCode::F(6) | KeyCode::Char('>' | '.') => view.sort_by_next(false),
        KeyCode::Char('<' | ',') => view.sort_by_next(true),
        KeyCode::Char('I') => view.is_reversed = !view.is_reversed,
        KeyCode::Char(' ') => return Then::Look,
        KeyCode::F(8) | KeyCode::Char('+') => {
            view.change_interval(true);
            return Then::Pace;
        }
        KeyCode::F(7) | KeyCode::Char('-') => {
            view.change_interval(false);
            return Then::Pace;
        }
        KeyCode::F(5) | KeyCode::Char('p' | 'Z') => {
            view.is_paused = !view.is_paused;
            return Then::Pace;
        }
        _ => {}
    }
    Then::Draw
}
