//! How a run ended, as its exit status says it.

use std::process::ExitCode;

/// What a subcommand found. That a call was wrong, or could not even begin, is an error in its place, and
/// has the same status as [`Verdict::Blind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// 0: all is as it should be.
    Well,
    /// 2: something could not be looked at, and nothing wrong was found in the rest.
    Blind,
    /// 1: something is wrong, or was left undone.
    Wrong,
    /// 130: by Ctrl-C.
    Interrupted,
}

/// Of a call that was wrong, or could not begin.
pub const COULD_NOT_LOOK: u8 = 2;

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(match verdict {
            Verdict::Well => 0,
            Verdict::Wrong => 1,
            Verdict::Blind => COULD_NOT_LOOK,
            Verdict::Interrupted => 130,
        })
    }
}
