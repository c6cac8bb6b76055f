//! What the model speaks of: rows of the database, the tags and records made of them, and what an
//! invalidation covers.

use apikey_engine::cache::value::{Cached, Parts as CachedParts};
use apikey_engine::entry::kind::{Entry, Kind, RegionOf};
use apikey_engine::entry::region_tag::RegionTag;
use apikey_engine::record::layout::Record;
use apikey_engine::record::sanitise::{Limits, Parts};
use std::fmt;

/// An API key: the row of this number, cached under the name of this number.
pub type Key = usize;
pub const KEYS: usize = 3;

/// The region of those rows that are cached as its values ([`Kept`]).
pub const REGION: &str = "rows";

/// How a row is kept, where there are regions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kept {
    Record,
    /// As a value of [`REGION`] that is stale, for so many milliseconds, once it is not fresh any more.
    Cached {
        grace: i64,
    },
}

/// How long a value is fresh, and how long one with a grace is stale.
pub const FRESH_MS: i64 = 2500;
pub const GRACE_MS: i64 = 2500;

impl Kept {
    /// The row that is asked for most has a grace, the next has none, the last is a record.
    pub fn of(row: Key, regions: bool) -> Self {
        match (regions, row) {
            (true, 0) => Self::Cached { grace: GRACE_MS },
            (true, 1) => Self::Cached { grace: 0 },
            _ => Self::Record,
        }
    }
}

/// A database of the server's, as SELECT has them.
pub type Db = usize;
pub const DBS: usize = 2;

/// Counts the changes of a row, its creation and its deletion too.
pub type Version = u32;

pub fn key_name(key: Key) -> String {
    format!("apikey:{{k{key}}}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `apikey:id:..`, the automatic tag of one row.
    Id(Key),
    /// `apikey:user:..`, the automatic tag of a user's rows. A row can change hands.
    User(u8),
    /// A tag of the caller's, which absent entries carry as well.
    Team(u8),
    /// That of [`REGION`], which all its values carry.
    Region,
}

impl Tag {
    pub fn name(self) -> String {
        match self {
            Self::Id(key) => format!("apikey:id:k{key}"),
            Self::User(user) => format!("apikey:user:u{user}"),
            Self::Team(team) => format!("team:{team}"),
            Self::Region => format!("cache:region:{REGION}"),
        }
    }

    pub fn team_of(key: Key) -> Self {
        Self::Team(key as u8 % 2)
    }
}

/// What an entry shows: a row as it was at a version; no user means that there was no such row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub row: Key,
    pub version: Version,
    pub user: Option<u8>,
}

impl Shown {
    pub fn is_absent(self) -> bool {
        self.user.is_none()
    }

    pub fn carries(self, tag: Tag) -> bool {
        match tag {
            Tag::Id(key) => !self.is_absent() && key == self.row,
            Tag::User(user) => self.user == Some(user),
            Tag::Team(_) => tag == Tag::team_of(self.row),
            Tag::Region => matches!(Kept::of(self.row, true), Kept::Cached { .. }),
        }
    }

    /// What an application would store of it, at this time.
    pub fn content(self, kept: Kept, at: i64) -> Content {
        match kept {
            Kept::Record => Content::Record(self.record()),
            Kept::Cached { grace } => Content::Cached(self.cached(grace, at)),
        }
    }

    fn cached(self, grace: i64, at: i64) -> Cached<'static> {
        let value = self.version.to_string();
        let parts = CachedParts {
            value: (!self.is_absent()).then_some(value.as_bytes()),
            region: REGION.as_bytes(),
            namespace: b"",
            label: b"",
            stored_at: at,
            grace: if self.is_absent() { 0 } else { grace },
        };
        let mut tags = vec![Tag::team_of(self.row).name()];
        if let Some(user) = self.user {
            tags.extend([Tag::Id(self.row).name(), Tag::User(user).name()]);
        }
        let tags: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
        Cached::new(&parts, &tags).unwrap()
    }

    pub fn record(self) -> Record<'static> {
        let team = Tag::team_of(self.row).name();
        let tags = [team.as_bytes()];
        let Some(user) = self.user else { return Record::absent(b"", &tags).unwrap() };
        let (row, version) = (self.row, self.version);
        let json = format!(
            r#"{{"id":"k{row}","user_id":"u{user}","is_active":true,"name":"version {version}"}}"#
        );
        let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
        Record::new(&parts, &[], b"", &tags).unwrap()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.user {
            Some(user) => write!(f, "row k{} version {} of u{user}", self.row, self.version),
            None => write!(f, "row k{} version {}: none", self.row, self.version),
        }
    }
}

/// What a key holds: an API key's record, or a value of [`REGION`].
#[derive(Clone, Debug)]
pub enum Content {
    Record(Record<'static>),
    Cached(Cached<'static>),
}

impl Content {
    fn as_entry(&self) -> &dyn Entry {
        match self {
            Self::Record(record) => record,
            Self::Cached(cached) => cached,
        }
    }
}

impl Entry for Content {
    fn kind(&self) -> Kind {
        self.as_entry().kind()
    }

    fn each_tag(&self, each: &mut dyn FnMut(&[u8])) {
        self.as_entry().each_tag(each);
    }

    fn tag_count(&self) -> usize {
        self.as_entry().tag_count()
    }

    fn outlives_soft(&self) -> bool {
        self.as_entry().outlives_soft()
    }

    fn region(&self) -> Option<RegionOf<'_>> {
        self.as_entry().region()
    }
}

/// The tag of [`REGION`].
pub fn region_tag() -> RegionTag {
    RegionTag::new(b"", REGION.as_bytes()).unwrap()
}

/// Which entries of a database an invalidation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// INVAL, and SETVAL without a token.
    Key(Key),
    /// TAGINVAL.
    Tag(Tag),
    /// TAGINVAL SOFT: what has a grace may be returned from now on, as stale.
    Softly(Tag),
    /// PATINVAL of this name, or of all names, among those of the region's values.
    Pattern(Option<Key>),
    /// FLUSHDB and FLUSHALL.
    All,
}

impl Covers {
    pub fn covers(self, name: Key, shown: Shown) -> bool {
        match self {
            Self::Key(key) => key == name,
            Self::Tag(tag) | Self::Softly(tag) => shown.carries(tag),
            Self::Pattern(key) => key.is_none_or(|key| key == name) && shown.carries(Tag::Region),
            Self::All => true,
        }
    }
}
