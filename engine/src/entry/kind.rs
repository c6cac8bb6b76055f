//! The kinds of entries, and the trait of them all: an entry is of a kind, and carries tags by which it can
//! be invalidated.

/// The kinds of entries, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Record,
    /// A record's type holds it: there is no such API key.
    Absent,
    Scopes,
    List,
    /// A value of a region's.
    Cached,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Absent => "absent",
            Self::Scopes => "scopes",
            Self::List => "list",
            Self::Cached => "cache",
        }
    }
}

/// The region that an entry belongs to, and how much of it the entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionOf<'a> {
    pub namespace: &'a [u8],
    pub name: &'a [u8],
    /// What the value takes.
    pub bytes: usize,
}

/// What a key holds that can be invalidated.
pub trait Entry {
    fn kind(&self) -> Kind;

    /// Calls `each` with every tag that the entry carries: the automatic ones, then the caller's.
    fn each_tag(&self, each: &mut dyn FnMut(&[u8]));

    /// How many tags [`Entry::each_tag`] names.
    fn tag_count(&self) -> usize;

    /// Whether a soft invalidation of one of its tags leaves it, stale; else it is dead by that as by any other.
    fn outlives_soft(&self) -> bool {
        false
    }

    /// The region that it belongs to.
    fn region(&self) -> Option<RegionOf<'_>> {
        None
    }
}
