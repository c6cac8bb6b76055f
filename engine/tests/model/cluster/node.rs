//! A primary: the engine's fence and what it remembers of questions, joined as `src/bus.rs`, `src/tagged.rs` and the
//! commands join them; and of the keyspace one key.

use super::rules::{Check, Rules};
use crate::names::{key_name, Covers, Shown, Tag, Version};
use apikey_engine::bus::asked::{Asked, Before};
use apikey_engine::entry::kind::Entry;
use apikey_engine::invalidation::fence::{Fence, Token};
use apikey_engine::tags::fingerprint::{Fingerprint, Fingerprints};
use apikey_engine::usage::id::{Id, Ids};

/// The row, and the key under which it is cached.
pub const KEY: usize = 0;

/// What is invalidated by tag.
pub const TAG: Tag = Tag::Id(KEY);

/// What stands under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Held {
    Nothing,
    /// An entry that every read takes for nothing: it has come by RESTORE.
    Dead,
    Live(Version),
}

/// How far a node is with a question, for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Unasked,
    AtWork,
    Done(u64),
}

#[derive(Clone)]
pub struct Node {
    fence: Fence,
    ids: Ids,
    asked: Asked,
    pub held: Held,
    /// The model's: the newest version whose invalidation this node has done, or was told of.
    pub told: Version,
    /// The model's, by the number of the question.
    pub stages: Vec<Stage>,
}

/// The names of an entry that a fill is judged by: its key's and its tags'.
fn names() -> Vec<Fingerprint> {
    let shown = Shown { row: KEY, version: 0, user: Some(0) };
    let mut names = vec![print(key_name(KEY).as_bytes())];
    shown.record().each_tag(&mut |tag| names.push(print(tag)));
    assert!(Covers::Tag(TAG).covers(KEY, shown) && names.contains(&print(TAG.name().as_bytes())));
    names
}

fn print(name: &[u8]) -> Fingerprint {
    Fingerprints::new([9; 16]).of(name)
}

/// The names, since they are always the same.
pub struct Names(Vec<Fingerprint>);

impl Names {
    pub fn new() -> Self {
        Self(names())
    }
}

impl Node {
    pub fn new(number: u8) -> Self {
        Self {
            fence: Fence::new(u64::from(number) + 1, 64),
            ids: Ids::new([number + 1; 10]),
            asked: Asked::default(),
            held: Held::Nothing,
            told: 0,
            stages: Vec::new(),
        }
    }

    pub fn token(&self) -> Token {
        self.fence.token(0)
    }

    pub fn accepts(&self, token: &Token, names: &Names) -> bool {
        self.fence.accepts(token, names.0.iter().copied(), 0, 0)
    }

    pub fn new_id(&mut self) -> Id {
        self.ids.draw().expect("an id")
    }

    /// What INVAL and SETVAL without a token do first.
    pub fn raise(&mut self, name: &[u8]) {
        self.fence.raise([print(name)]);
    }

    /// What a slot's fence would do: see [`Rules::slots_fence`].
    pub fn fence_all(&mut self) {
        self.fence.raise_all();
    }

    /// Takes the entry away; returns how many lived.
    pub fn remove(&mut self) -> u64 {
        u64::from(matches!(std::mem::replace(&mut self.held, Held::Nothing), Held::Live(_)))
    }

    /// TAGINVAL on this node.
    pub fn kill(&mut self, tags: &[&[u8]]) -> u64 {
        tags.iter().for_each(|tag| self.raise(tag));
        let is_covered = tags.contains(&TAG.name().as_bytes());
        if is_covered {
            self.remove()
        } else {
            0
        }
    }

    /// The other primary was told of the key: `told_of_keys`.
    pub fn told_of_keys(&mut self, names: &[&[u8]], version: Version, rules: &Rules) {
        for name in names {
            if rules.on(Check::KeysRaise) {
                self.raise(name);
            }
            if *name == key_name(KEY).as_bytes() && rules.on(Check::KeysRemove) {
                self.remove();
            }
        }
        self.told = self.told.max(version);
    }

    /// A question has come.
    pub fn begin(&mut self, id: Id) -> Before {
        self.asked.begin(id)
    }

    /// What it asked for is done.
    pub fn done(&mut self, id: Id, count: u64) {
        self.asked.done(id, Some(count));
    }
}
