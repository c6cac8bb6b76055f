//! Where counts go.

use anyhow::Result;

use super::batch::Batch;

pub trait Sink {
    /// Sees that it can be written, before anything is leased for it.
    fn ready(&mut self) -> Result<()>;

    /// Writes a batch, so that it outlives this process. A line that is there already is not written again. An error:
    /// all of it may or may not be there, and has to come again.
    fn write(&mut self, batch: &Batch) -> Result<Written>;

    /// Whether what failed may work later.
    fn may_come_back(&self) -> bool;
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Written {
    /// Lines that were not there yet.
    pub new: u64,
    /// Lines that are not taken, by their places in the batch, and why.
    pub refused: Vec<(usize, String)>,
}
