//! How far a server's clock is from this machine's.

/// How far a server's clock is ahead of this machine's, in milliseconds: at least and at most, for as long as the
/// answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub least: i64,
    pub most: i64,
}

impl Clock {
    /// What the server said, between two times of this machine.
    pub fn of(before: i64, server: i64, after: i64) -> Self {
        Self { least: server - after.max(before), most: server - before.min(after) }
    }

    /// How far it is ahead of the other (behind, where negative) in any case; 0 where they may be the same.
    pub fn ahead_of(self, other: Self) -> i64 {
        match (self.least - other.most, self.most - other.least) {
            (least @ 1.., _) => least,
            (_, most @ ..=-1) => most,
            _ => 0,
        }
    }
}
