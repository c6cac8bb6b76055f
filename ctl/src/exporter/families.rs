//! Which metric each figure of HEALTH is, and some of INFO; docs/operating.md tells of all of them.
//!
//! A percentage has none, since Prometheus makes those of counters, for any time; nor has a text.

use Figures::{By, One};
use Kind::{Bytes, Counter, Gauge, Seconds};

/// A metric that is made of fields of HEALTH, or of INFO.
pub struct Family {
    /// Without its unit, and without `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub figures: Figures,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    Gauge,
    Bytes,
    /// HEALTH has milliseconds.
    Seconds,
}

/// Fields of HEALTH, or of INFO.
pub enum Figures {
    One(&'static str),
    /// The label that tells them apart, and each with its value of that.
    By(&'static str, &'static [(&'static str, &'static str)]),
}

const fn family(name: &'static str, kind: Kind, figures: Figures, help: &'static str) -> Family {
    Family { name, help, kind, figures }
}

pub const FAMILIES: &[Family] = &[
    family("apikey_enabled", Gauge, One("enabled"), "Whether the cache answers: apikey.enabled"),
    family(
        "apikey_writes_enabled",
        Gauge,
        One("writes_enabled"),
        "Whether fills are stored: apikey.writes-enabled",
    ),
    family(
        "apikey_vouches",
        Gauge,
        One("vouches"),
        "0 while every read is a miss, since nothing can be revoked here",
    ),
    family(
        "apikey_lookups",
        Counter,
        By("result", &[("hits", "hit"), ("misses", "miss")]),
        "Lookups of records, decisions and lists",
    ),
    family(
        "apikey_answers",
        Counter,
        By(
            "code",
            &[
                ("valid", "VALID"),
                ("mismatches", "MISMATCH"),
                ("disabled", "DISABLED"),
                ("expired", "EXPIRED"),
                ("forbidden", "FORBIDDEN"),
                ("forbidden_ip", "FORBIDDEN_IP"),
                ("unverified", "UNVERIFIED"),
                ("absent_answers", "ABSENT"),
            ],
        ),
        "Answers of VALIDATE that found something, by code",
    ),
    family(
        "apikey_fills",
        Counter,
        By(
            "result",
            &[
                ("stored_entries", "stored"),
                ("stale_fills_refused", "stale"),
                ("absent_refused", "too_many_absent"),
            ],
        ),
        "Entries that were to be stored: stored, refused by their token, refused by max-absent",
    ),
    family(
        "apikey_invalidations",
        Counter,
        By(
            "by",
            &[
                ("invalidated_tags", "tag"),
                ("invalidated_keys", "key"),
                ("written_keys", "write"),
                ("invalidated_patterns", "pattern"),
                ("flushes", "flush"),
            ],
        ),
        "Tags of TAGINVAL, keys of INVAL, writes without a token, patterns of PATINVAL, flushes of a database",
    ),
    family(
        "apikey_killed_entries",
        Counter,
        One("killed_entries"),
        "Live entries that invalidations killed",
    ),
    family(
        "apikey_evicted_entries",
        Counter,
        One("evicted_entries"),
        "Entries that the server evicted",
    ),
    family(
        "apikey_reclaim_backlog_entries",
        Gauge,
        One("reclaim_backlog"),
        "Dead entries that are still to be removed, at most",
    ),
    family(
        "apikey_entries",
        Gauge,
        By(
            "kind",
            &[
                ("records", "record"),
                ("absent", "absent"),
                ("scopes", "scopes"),
                ("lists", "list"),
                ("cached_values", "cache"),
            ],
        ),
        "Keys of the cache, dead ones that are not yet removed among them",
    ),
    family("apikey_cached", Bytes, One("cached_bytes"), "What all regions hold, with its names"),
    family("apikey_regions", Gauge, One("regions"), "Regions of all databases"),
    family("apikey_tags", Gauge, One("tags"), "Tags that have an entry"),
    family("apikey_index", Bytes, One("index_bytes"), "Memory of the index of tags"),
    family("apikey_usage_counters", Gauge, One("usage_counters"), "Keys that count uses"),
    family(
        "apikey_usage_pending",
        Gauge,
        One("usage_pending"),
        "Uses that were counted and not yet handed over",
    ),
    family(
        "apikey_usage_leased",
        Gauge,
        One("usage_leased"),
        "Uses that were handed over and not yet acknowledged",
    ),
    family(
        "apikey_usage_pending_counters",
        Gauge,
        One("pending_counters"),
        "Counters that have something pending",
    ),
    family(
        "apikey_usage_open_batches",
        Gauge,
        One("open_batches"),
        "Batches of counts that are not settled",
    ),
    family(
        "apikey_usage_oldest_lease",
        Seconds,
        One("oldest_lease_ms"),
        "Since the oldest open batch was first given out; 0 where there is none",
    ),
    family(
        "apikey_usage_redeliveries",
        Counter,
        One("redeliveries"),
        "Deliveries that were not a batch's first",
    ),
    family(
        "apikey_usage_counted",
        Counter,
        One("counted_uses"),
        "Uses that USAGE.INCR and ADMIT counted",
    ),
    family("apikey_usage_settled", Counter, One("settled_uses"), "Uses that ACK settled"),
    family("apikey_usage_taken", Counter, One("taken_uses"), "Uses that TAKE and FLUSH took"),
    family("apikey_admitted", Counter, One("admitted"), "Requests that ADMIT let through"),
    family(
        "apikey_rate_limited",
        Counter,
        One("rate_limited"),
        "Requests that ADMIT refused since they came too fast",
    ),
    family(
        "apikey_usage_exceeded",
        Counter,
        One("usage_exceeded"),
        "Requests that ADMIT refused since a quota or credits were used up",
    ),
    family(
        "apikey_repeated_ids",
        Counter,
        One("repeated_ids"),
        "Requests that were counted under their id before, and so not again",
    ),
    family(
        "apikey_ids_dropped_early",
        Counter,
        One("ids_dropped_early"),
        "Ids that went before apikey.request-id-window-ms, since a counter had too many",
    ),
    family("apikey_server_memory_used", Bytes, One("used_memory"), "Memory of the server"),
    family(
        "apikey_server_memory_limit",
        Bytes,
        One("maxmemory"),
        "maxmemory of the server; 0 where there is no limit",
    ),
];

/// Of INFO, which has them under these names.
pub const OF_INFO: &[Family] = &[
    family("apikey_server_connections", Gauge, One("connected_clients"), "Connections of clients"),
    family("apikey_server_connections_limit", Gauge, One("maxclients"), "maxclients of the server"),
    family(
        "apikey_server_commands",
        Counter,
        One("total_commands_processed"),
        "Commands that the server has carried out, others' than the module's among them",
    ),
    family(
        "apikey_server_error_replies",
        Counter,
        One("total_error_replies"),
        "Errors that the server has replied",
    ),
];

/// The values of HEALTH's `status`.
pub const STATUSES: [&str; 3] = ["healthy", "degraded", "unhealthy"];

impl Figures {
    /// Each field, with the label that it has.
    pub fn all(&self) -> Vec<(&'static str, Option<(&'static str, &'static str)>)> {
        match self {
            One(field) => vec![(*field, None)],
            By(label, fields) => {
                fields.iter().map(|(field, value)| (*field, Some((*label, *value)))).collect()
            }
        }
    }
}
