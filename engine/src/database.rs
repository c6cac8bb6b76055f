//! What the module knows of one database beside its keys: the tag index, which usage counters have
//! something pending, and how many keys there are of each kind.
//!
//! The keys are the server's; whoever owns a key tells the database when it comes and goes. A
//! record is an item of the index with its tags. One whose value is stamped dead (see the design: what
//! came by RENAME, COPY, MOVE or RESTORE, or was not trusted after a start) carries no tag any more: it
//! is an item of the reserved tag [`DEAD`], whose members are all condemned, so that it can be found
//! and TAGINVAL doesn't count it. A usage counter is an item only while it has something pending, of
//! the reserved tag [`PENDING`].
//!
//! **Reclaim.** What is condemned waits until its key is taken away: [`Database::next_to_reclaim`]
//! names such keys one by one. Where every entry may be dead ([`Database::sweep`]) it names all items,
//! and whoever asks has to look at each.

use crate::record::Record;
use crate::segments::Place;
use crate::tag_index::{CondemnedWalk, Fingerprint, Fingerprints, TagIndex};

/// Stands for "waits for its end" in the index.
pub const DEAD: Fingerprint = Fingerprint::reserved(1);

/// Stands for "has a pending count" in the index.
pub const PENDING: Fingerprint = Fingerprint::reserved(2);

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Database {
    index: TagIndex,
    records: u64,
    absent: u64,
    counters: u64,
    pending: i128,
    /// Changes since the start, so that a walk can tell whether something changed meanwhile.
    changes: u64,
    /// The name of the record that left last: an eviction is told after the removal.
    last_removed: Vec<u8>,
    /// Reused for the tags of one record.
    prints: Vec<Fingerprint>,
    /// A walk over the condemned that has begun.
    walk: Option<CondemnedWalk>,
    /// Places of the index, from the first on, that a sweep has still to look at.
    to_sweep: Place,
}

/// Totals of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub records: u64,
    /// Keys that say that there is no such API key.
    pub absent: u64,
    pub counters: u64,
    pub pending: i128,
}

impl Database {
    pub fn index(&self) -> &TagIndex {
        &self.index
    }

    pub fn totals(&self) -> Totals {
        Totals {
            records: self.records,
            absent: self.absent,
            counters: self.counters,
            pending: self.pending,
        }
    }

    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Tags that a live entry carries.
    pub fn tag_count(&self) -> usize {
        let reserved =
            [DEAD, PENDING].map(|tag| usize::from(self.index.last_member(tag).is_some()));
        self.index.tag_count() - reserved.iter().sum::<usize>()
    }

    /// A record's key has come. Returns its place, `None` when the index is full.
    pub fn add_record(
        &mut self,
        name: &[u8],
        record: &Record,
        dead: bool,
        of: &Fingerprints,
    ) -> Option<Place> {
        let mut prints = std::mem::take(&mut self.prints);
        tags_in_index(record, dead, of, &mut prints);
        let place = self.index.insert(name, &prints);
        self.prints = prints;
        if place.is_some() {
            *self.count_of(record) += 1;
            self.changes += 1;
        }
        if dead {
            self.condemn(DEAD);
        }
        place
    }

    /// A record's key has gone. The name is compared, so that nothing but its own item goes with it.
    pub fn remove_record(&mut self, name: &[u8], place: Option<Place>, record: &Record) {
        self.remove_item(name, place);
        self.last_removed.clear();
        self.last_removed.extend_from_slice(name);
        let count = self.count_of(record);
        *count = count.saturating_sub(1);
        self.changes += 1;
    }

    fn count_of(&mut self, record: &Record) -> &mut u64 {
        if record.is_absent() {
            &mut self.absent
        } else {
            &mut self.records
        }
    }

    /// Whether the record that left last had this name.
    pub fn was_last_removed(&self, name: &[u8]) -> bool {
        !name.is_empty() && *self.last_removed == *name
    }

    /// Condemns the records that carry a tag; returns how many were not by this tag before.
    pub fn condemn(&mut self, tag: Fingerprint) -> usize {
        self.index.condemn(tag)
    }

    /// Every record may be dead.
    pub fn sweep(&mut self) {
        self.to_sweep = Place::try_from(self.index.items_end()).unwrap_or(Place::MAX);
    }

    /// Dead records that are still there, at most: one can be condemned by several tags, and a sweep
    /// counts what it has not looked at.
    pub fn reclaim_backlog(&self) -> usize {
        self.index.condemned() + self.to_sweep as usize
    }

    /// The next key that may be dead; `None` at the end of a walk, after which another may begin. The
    /// key may be taken away before the next call.
    pub fn next_to_reclaim(&mut self) -> Option<&[u8]> {
        while let Some(place) = self.to_sweep.checked_sub(1) {
            self.to_sweep = place;
            if self.index.name(place).is_some() {
                return self.index.name(place);
            }
        }
        let walk = self.walk.get_or_insert_with(|| self.index.walk_condemned());
        match self.index.next_condemned(walk) {
            Some(place) => self.index.name(place),
            None => {
                self.walk = None;
                None
            }
        }
    }

    /// A counter's key has come. Returns its place if it has something pending and there is room.
    pub fn add_counter(&mut self, name: &[u8], pending: i64) -> Option<Place> {
        self.counters += 1;
        self.set_pending(name, None, 0, pending)
    }

    /// A counter's key has gone.
    pub fn remove_counter(&mut self, name: &[u8], place: Option<Place>, pending: i64) {
        self.counters = self.counters.saturating_sub(1);
        self.set_pending(name, place, pending, 0);
    }

    /// A counter's pending count has changed. Returns its place from now on.
    pub fn set_pending(
        &mut self,
        name: &[u8],
        place: Option<Place>,
        before: i64,
        now: i64,
    ) -> Option<Place> {
        self.changes += 1;
        self.pending += i128::from(now) - i128::from(before);
        match place {
            None if now > 0 => self.index.insert(name, &[PENDING]),
            Some(_) if now == 0 => {
                self.remove_item(name, place);
                None
            }
            place => place,
        }
    }

    fn remove_item(&mut self, name: &[u8], place: Option<Place>) {
        if let Some(place) = place.filter(|&place| self.index.name(place) == Some(name)) {
            self.index.remove(place);
        }
    }

    /// Takes the item at `place` out of the index and leaves all else: makes the index wrong. For
    /// tests that CHECK sees it.
    pub fn forget(&mut self, place: Place) {
        self.index.remove(place);
    }
}

/// The fingerprints under which the index has a record.
pub fn tags_in_index(
    record: &Record,
    dead: bool,
    of: &Fingerprints,
    prints: &mut Vec<Fingerprint>,
) {
    prints.clear();
    if dead {
        prints.push(DEAD);
    } else {
        record.each_tag(&mut |tag| prints.push(of.of(tag)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sanitise::{Limits, Parts};

    #[test]
    fn a_database_counts_what_comes_and_goes() {
        let of = Fingerprints::new([1; 16]);
        let json = br#"{"id":"k","user_id":"u","is_active":true}"#;
        let parts = Parts::sanitise(json, &Limits::STORED).unwrap();
        let record = Record::new(&parts, &[], b"", &[]).unwrap();

        let mut database = Database::default();
        let live = database.add_record(b"live", &record, false, &of);
        let dead = database.add_record(b"dead", &record, true, &of);
        let counter = database.add_counter(b"counter", 5);
        let idle = database.add_counter(b"idle", 0);
        assert!(live.is_some() && dead.is_some() && counter.is_some());
        assert_eq!(idle, None);
        let nobody = Record::absent(&[]).unwrap();
        let absent = database.add_record(b"absent", &nobody, false, &of);
        assert!(absent.is_some());
        assert_eq!(database.totals(), Totals { records: 2, absent: 1, counters: 2, pending: 5 });
        database.remove_record(b"absent", absent, &nobody);
        assert_eq!(database.tag_count(), 3);
        assert_eq!(database.index().member_count(of.of(b"apikey:user:u")), 1);

        assert_eq!(database.reclaim_backlog(), 1);
        assert_eq!(database.condemn(of.of(b"apikey:user:u")), 1);
        assert_eq!(database.reclaim_backlog(), 2);
        assert_eq!(database.next_to_reclaim(), Some(&b"live"[..]));
        assert_eq!(database.next_to_reclaim(), Some(&b"dead"[..]));
        assert_eq!(database.next_to_reclaim(), None);
        database.sweep();
        let mut names: Vec<_> =
            (0..5).map(|_| database.next_to_reclaim().map(<[u8]>::to_vec)).collect();
        names.sort_unstable();
        let seen: Vec<_> = names.iter().flatten().map(Vec::as_slice).collect();
        assert_eq!(seen, [&b"counter"[..], b"dead", b"dead", b"live", b"live"]);

        let counter = database.set_pending(b"counter", counter, 5, 0);
        assert_eq!(counter, None);
        let idle = database.set_pending(b"idle", idle, 0, 7);
        assert_eq!(database.index().member(PENDING, 0), idle);
        database.remove_record(b"other", dead, &record);
        assert_eq!(database.index().name(dead.unwrap()), Some(&b"dead"[..]));
        database.remove_record(b"live", live, &record);
        assert!(database.was_last_removed(b"live"));
        database.remove_counter(b"counter", counter, 0);
        database.remove_counter(b"idle", idle, 7);
        assert_eq!(database.totals(), Totals::default());
        assert_eq!(database.tag_count(), 0);
    }
}
