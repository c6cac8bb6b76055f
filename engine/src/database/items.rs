//! Items of the index: under which fingerprints it has an entry, and a usage counter.
//!
//! An entry is an item with its tags. One whose value is stamped dead (see the design: what came by
//! RENAME, COPY, MOVE or RESTORE, or was not trusted after a start) carries no tag any more: it is an item of
//! the reserved tag [`DEAD`], so that it can be found and TAGINVAL doesn't count it. A usage counter is an
//! item only while it has something pending or leased: of the reserved tag [`PENDING`] (or [`WAITING`],
//! where it can't be leased), and of a tag for each batch that has a line of it.

use crate::entry::kind::Entry;
use crate::tags::fingerprint::{Fingerprint, Fingerprints};
use crate::usage::lease::Leases;

/// Stands for "waits for its end" in the index.
pub const DEAD: Fingerprint = Fingerprint::reserved(1);

/// Stands for "has a pending count" in the index.
pub const PENDING: Fingerprint = Fingerprint::reserved(2);

/// Stands for "has a pending count that can't be leased, since it has lines in the most batches". Apart
/// from the others, so that LEASE does not meet it.
pub const WAITING: Fingerprint = Fingerprint::reserved(3);

/// What the database has to know of a counter.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    pub pending: i64,
    pub leases: &'a Leases,
}

impl Held<'_> {
    pub(super) const NOTHING: Self = Self { pending: 0, leases: Leases::NONE };

    /// The reserved tag of what is pending.
    fn pending_tag(&self) -> Option<Fingerprint> {
        (self.pending > 0).then_some(if self.leases.is_full() { WAITING } else { PENDING })
    }

    pub(super) fn has_tags_of(&self, other: &Self) -> bool {
        let batches = |held: &Self| held.leases.lines().iter().map(|lease| lease.batch);
        self.pending_tag() == other.pending_tag() && batches(self).eq(batches(other))
    }
}

/// The fingerprints under which the index has an entry.
pub fn tags_in_index(
    entry: &dyn Entry,
    dead: bool,
    of: &Fingerprints,
    prints: &mut Vec<Fingerprint>,
) {
    prints.clear();
    if dead {
        prints.push(DEAD);
    } else {
        entry.each_tag(&mut |tag| prints.push(of.of(tag)));
    }
}

/// The fingerprints under which the index has a counter; none where it does not.
pub fn counter_tags_in_index(held: Held, of: &Fingerprints, prints: &mut Vec<Fingerprint>) {
    prints.clear();
    prints.extend(held.pending_tag());
    prints.extend(held.leases.lines().iter().map(|lease| lease.batch.fingerprint(of)));
}
