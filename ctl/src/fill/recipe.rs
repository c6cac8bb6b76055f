//! What a line of the input becomes.

use redis::Cmd;

/// A record on its way.
pub struct Fill {
    pub key: Vec<u8>,
    /// SETVAL, its TOKEN still to come.
    pub command: Cmd,
}

pub trait Recipe: Sync {
    /// What a line becomes: none where it is of a kind that is passed over. An error is why it is bad.
    fn read(&self, line: &[u8]) -> Result<Option<Fill>, String>;
}
