//! What redis-apikey decides, without Redis.
//!
//! Nothing here opens a key, replies or reads a clock: time is a parameter, and what a function
//! returns is what the server side is to do. So all of it is tested without a server.
//!
//! | file | holds |
//! | --- | --- |
//! | [`sanitise`] | what is kept of a record's JSON |
//! | [`entry`] | what records and all other entries have in common |
//! | [`record`], [`packed`] | a record, as it is laid out; its fields |
//! | [`decisions`] | scope decisions of an application |
//! | [`list`] | a list of a user's records |
//! | [`label`] | whose an entry is that is no record, and its tags |
//! | [`scope`] | when a scope grants a request |
//! | [`digest`] | digests of secrets and their comparison |
//! | [`verdict`] | VALIDATE's checks in their order |
//! | [`tags`] | names of tags and their bounds |
//! | [`tag_index`] | which names carry which tags; knows nothing of API keys |
//! | [`buckets`], [`segments`] | tables that grow a page, or a segment, at a time |
//! | [`database`] | the index, pending counters and totals of one database |
//! | [`announcement`] | the message that tells other caches of an invalidation |
//! | [`fence`] | tokens, and when a fill is too late |
//! | [`usage`] | a usage counter |
//! | [`lease`] | counts that were handed over and not settled; the batches they form |
//! | [`codec`] | a value's bytes in an RDB, a DUMP and the replication stream |
//! | [`refusals`] | the latest refused validations |
//! | [`stats`], [`health`] | what was answered; how the module fares |

pub mod announcement;
pub mod buckets;
pub mod codec;
pub mod database;
pub mod decisions;
pub mod digest;
pub mod entry;
pub mod fence;
pub mod health;
pub mod label;
pub mod lease;
pub mod list;
pub mod packed;
pub mod record;
pub mod refusals;
pub mod sanitise;
pub mod scope;
pub mod segments;
pub mod stats;
pub mod tag_index;
pub mod tags;
pub mod usage;
pub mod verdict;
