//! What a line of the input becomes.

use redis::Cmd;

use super::lines::LONGEST_OF_RECORDS;

/// A record, or a value of a region's, on its way.
pub struct Fill {
    pub key: Vec<u8>,
    /// SETVAL or CACHE.SET, its TOKEN still to come.
    pub command: Cmd,
}

pub trait Recipe: Sync {
    /// What a line becomes: none where it is of a kind that is passed over. An error is why it is bad.
    fn read(&self, line: &[u8]) -> Result<Option<Fill>, String>;

    /// The most bytes that a line may have.
    fn longest(&self) -> usize {
        LONGEST_OF_RECORDS
    }
}
