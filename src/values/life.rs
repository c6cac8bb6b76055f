//! Where the index has a value, and whether an entry lives.

use apikey_engine::database::databases::SiteId;
use apikey_engine::tags::segments::Place;
use std::cell::Cell;

/// Where the index has a value. The database's number would not do: SWAPDB exchanges it.
#[derive(Debug, Default)]
pub struct Link {
    site: Cell<SiteId>,
    place: Cell<Option<NonMaxPlace>>,
}

/// A place + 1, so that `Option` costs nothing: the highest place is never used.
type NonMaxPlace = std::num::NonZeroU32;

impl Link {
    pub fn set(&self, site: SiteId, place: Option<Place>) {
        self.site.set(site);
        self.place.set(place.and_then(|place| NonMaxPlace::new(place.wrapping_add(1))));
    }

    pub fn clear(&self) {
        self.set(0, None);
    }

    /// Whether the index has the value.
    pub fn is_set(&self) -> bool {
        self.site.get() != 0
    }

    pub fn site(&self) -> SiteId {
        self.site.get()
    }

    pub fn place(&self) -> Option<Place> {
        self.place.get().map(|place| place.get() - 1)
    }
}

/// Counts how often all entries of a node have died at once; see [`crate::trust`].
pub type Era = u32;

/// Before all eras: the value is stamped dead.
const NEVER: Era = 0;

/// What has become of an entry by invalidations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Alive,
    /// It is stale, where it can be; else it is dead.
    Softened,
    Dead,
}

/// Where an entry lives, and whether it does.
#[derive(Debug)]
pub struct Life {
    pub link: Link,
    /// The one in which the value came to its name.
    era: Cell<Era>,
    /// Epoch seconds, until 2106; 0 is not known: the value was loaded. Each node has its own.
    stored_at: Cell<u32>,
}

// It stands in each record.
const _: () = assert!(size_of::<Life>() == 16 && align_of::<Life>() == 4);

impl Life {
    pub fn new(dead: bool) -> Self {
        let era = if dead { NEVER } else { Era::MAX };
        Self { link: Link::default(), era: Cell::new(era), stored_at: Cell::new(0) }
    }

    /// Notes that the value is stored now (epoch milliseconds).
    pub fn stored(&self, now: i64) {
        self.stored_at.set(u32::try_from(now.div_euclid(1000)).unwrap_or(0));
    }

    /// When the value was stored, in epoch milliseconds, to the second; `None` where that is not known.
    pub fn stored_at(&self) -> Option<i64> {
        Some(self.stored_at.get()).filter(|&at| at != 0).map(|at| i64::from(at) * 1000)
    }

    /// Whether the value is stamped dead. It can be dead without: [`crate::state::State::is_dead`].
    pub fn is_stamped_dead(&self) -> bool {
        self.era.get() == NEVER
    }

    /// There is no way back.
    pub fn stamp_dead(&self) {
        self.era.set(NEVER);
    }

    pub fn era(&self) -> Era {
        self.era.get()
    }

    /// The value has come to a name.
    pub fn enter(&self, era: Era) {
        if !self.is_stamped_dead() {
            self.era.set(era);
        }
    }
}
