//! What the model speaks of: rows of the database, the tags and records made of them, and what an
//! invalidation covers.

use apikey_engine::record::layout::Record;
use apikey_engine::record::sanitise::{Limits, Parts};
use std::fmt;

/// An API key: the row of this number, cached under the name of this number.
pub type Key = usize;
pub const KEYS: usize = 3;

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
}

impl Tag {
    pub fn name(self) -> String {
        match self {
            Self::Id(key) => format!("apikey:id:k{key}"),
            Self::User(user) => format!("apikey:user:u{user}"),
            Self::Team(team) => format!("team:{team}"),
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
        }
    }

    /// The record that an application would store of it.
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

/// Which entries of a database an invalidation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// INVAL, and SETVAL without a token.
    Key(Key),
    /// TAGINVAL.
    Tag(Tag),
    /// FLUSHDB and FLUSHALL.
    All,
}

impl Covers {
    pub fn covers(self, name: Key, shown: Shown) -> bool {
        match self {
            Self::Key(key) => key == name,
            Self::Tag(tag) => shown.carries(tag),
            Self::All => true,
        }
    }
}
