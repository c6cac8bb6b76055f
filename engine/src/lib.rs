//! What redis-apikey decides, without Redis.
//!
//! Nothing here opens a key, replies or reads a clock: time is a parameter, and what a function
//! returns is what the server side is to do. So all of it is tested without a server.
//!
//! | folder or file, from the bottom to the top | holds |
//! | --- | --- |
//! | [`defrag`] | how allocations are handed to who moves them |
//! | [`clock`] | what a time says that was noted by another clock, or before it was set
//! | [`minute`] | lookups of the last minute |
//! | [`tags`] | the tag index: which names carry which tags; knows nothing of API keys |
//! | [`entry`] | what records and all other entries have in common: kinds, names of tags, whose they are |
//! | [`limits`] | rates, quotas and credits; requests that were counted under an id
//! | [`record`] | what is kept of a record's JSON, how it is laid out, and VALIDATE's checks in their order |
//! | [`answers`] | what else an application keeps: its scope decisions, lists of a user's records |
//! | [`usage`] | usage counters; counts that were leased and not settled, the batches they form |
//! | [`invalidation`] | tokens, and when a fill is too late; the message that tells other caches |
//! | [`cache`] | regions of a cache: their values, how fresh these are, who loads what is missing, what goes when there is too much |
//! | [`bus`] | what the primaries of a cluster ask each other, and who has still to answer |
//! | [`database`] | what is known of one database: the index, pending counters, totals |
//! | [`codec`] | a value's bytes in an RDB, a DUMP and the replication stream |
//! | [`vouch`] | whether a node may say VALID, which may have been replaced, or can't be told of an invalidation |
//! | [`report`] | what was answered and refused; how the module fares |
//!
//! **What holds in all of it.**
//!
//! - It knows no server: this crate depends on none, and has no unsafe code.
//! - A file imports what lies below it: of its own folder, and of folders further up in this table. A
//!   folder's `mod.rs` names its files and nothing else.
//! - Nothing panics, whatever it is given: what comes from outside is bounded before it is kept, and a sum
//!   that could overflow is checked.
//! - The same steps give the same state on each node: what differs between nodes (the time, what is random) is
//!   a parameter.
//! - Where a map or a set is keyed with what comes from outside, its hash has a key that is drawn at random.

pub mod answers;
pub mod bus;
pub mod cache;
pub mod clock;
pub mod codec;
pub mod database;
pub mod defrag;
pub mod entry;
pub mod invalidation;
pub mod limits;
pub mod minute;
pub mod record;
pub mod report;
pub mod tags;
pub mod usage;
pub mod vouch;
