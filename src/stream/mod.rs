//! What replicas and the AOF get: each word of it, how it is written and how it is read.
//!
//! It is resolved: absolute times, digests for secrets, every default spelled out, and what was decided in
//! place of what was asked. Where a public command can say that, it is one ([`resolved`]); for what it can't
//! there are internal commands, which are refused unless they come by replication or loading:
//!
//! | word | says |
//! | --- | --- |
//! | [`stored`] | records that were stored, as they are laid out, with their expiry |
//! | [`apply`] | a value as it is, with the expiry that its key has: the first count of a counter, and every value of an AOF that is rewritten |
//! | [`killed`] | tags that were invalidated, and the keys that were removed with them |
//! | [`dropped`] | all entries of all databases died |
//! | [`gone`] | dead entries were taken away |
//! | [`reclaimed`] | the same, as it was written before there was [`gone`] |
//! | [`leased`] | a batch was given out, with its lines, or again, without |
//! | [`settled`] | lines of a batch were settled, where an ACK of many does so in slices |
//! | [`changed`] | what counters have become by requests that were admitted or settled, or by credits |
//! | [`replaced`] | a value of a region's was stored, and others were evicted for it |
//! | [`softened`] | tags that were invalidated softly |
//! | [`regions`] | what is set of regions, to replicas alone |
//! | [`version`] | the version of all this, to replicas alone |
//!
//! A word keeps its form for ever: another form is another word, and a higher version. Where one that comes
//! can't be read, or done, this node does not have what it was told, and its entries die
//! ([`crate::state::State::cannot_replay`]).
//!
//! Each is one command, never two: two would be a transaction, and Redis 7.0 and 8.2 drop transactions of an
//! AOF at load whose commands the default user may not run.

pub mod apply;
pub mod changed;
pub mod dropped;
pub mod gone;
pub mod killed;
pub mod leased;
pub mod reclaimed;
pub mod regions;
pub mod replaced;
pub mod resolved;
pub mod send;
pub mod settled;
pub mod softened;
pub mod stored;
pub mod version;
