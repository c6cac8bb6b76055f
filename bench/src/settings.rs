//! How large and how often: what every row is told.

use std::path::PathBuf;

/// What a run was asked for, every default spelled out.
pub struct Settings {
    /// How many times both sides of a row are measured.
    pub rounds: usize,
    /// How many fills of each kind `pauses` and `reclaim` make.
    pub runs: usize,
    /// Calls of each side in one round, for the rows that read what is there.
    pub calls: u64,
    /// How many entries a server is filled with; `growth` and `reclaim`, which go up to it, and `pauses`
    /// have numbers of their own.
    pub entries: u64,
    pub growth_entries: u64,
    pub pause_entries: u64,
    pub reclaim_entries: u64,
    pub json: Option<PathBuf>,
    /// Where the curves are drawn.
    pub chart: Option<PathBuf>,
    /// The server's program (APIKEY_SERVER_BIN).
    pub server: PathBuf,
    /// The module (APIKEY_MODULE).
    pub module: PathBuf,
    /// The module that is the floor (APIKEY_FLOOR_MODULE); beside the other unless it says so.
    pub floor: PathBuf,
}
