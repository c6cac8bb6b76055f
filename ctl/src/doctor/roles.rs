//! What each role of docs/acl.md needs, and what it should not be given.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// An application: fills, verifies, invalidates and counts
    App,
    /// A consumer of usage counts
    Drain,
    /// Monitoring: reads figures, and no key
    Monitor,
    /// An operator
    Operator,
    /// Backups
    Backup,
}

/// A call, its words separated by spaces. `{key}` stands for a key of the role's, `{tag}` for a tag.
///
/// Those that are [tried](super::access) change nothing where they are allowed: they only read, or revoke what is not
/// there, or an argument is wrong, which the module says after the server has asked for permissions.
pub struct Call {
    pub words: &'static str,
    /// Whether it may be tried.
    pub is_harmless: bool,
}

const fn call(words: &'static str) -> Call {
    Call { words, is_harmless: true }
}

/// One that is only asked about.
const fn asked(words: &'static str) -> Call {
    Call { words, is_harmless: false }
}

const APP: &[Call] = &[
    call("APIKEY.TOKEN {key}"),
    call("APIKEY.SETVAL {key} wrong"),
    call("APIKEY.MSETVAL 1 {key} wrong TOKEN wrong"),
    call("APIKEY.SETABSENT {key} TOKEN wrong"),
    call("APIKEY.VALIDATE {key}"),
    call("APIKEY.INVAL {key}"),
    call("APIKEY.TAGINVAL {tag}"),
    call("APIKEY.TAGINVALNODE {tag}"),
    call("APIKEY.SETSCOPE {key} id user_id resource action ALLOW TOKEN wrong"),
    call("APIKEY.CHECKSCOPE {key} resource action"),
    call("APIKEY.SETLIST {key} user_id wrong TOKEN wrong"),
    call("APIKEY.GETLIST {key}"),
    call("APIKEY.TAGS {key}"),
    call("APIKEY.TAGCARD {tag}"),
    call("APIKEY.TAGSCAN {tag} 0"),
    call("APIKEY.DESCRIBE {key}"),
    call("APIKEY.USAGE.INCR {key} BY wrong"),
    call("APIKEY.USAGE.GET {key}"),
    call("PING"),
];

const DRAIN: &[Call] = &[
    call("APIKEY.USAGE.LEASE wrong"),
    call("APIKEY.USAGE.ACK wrong"),
    call("APIKEY.USAGE.NACK wrong"),
    call("PING"),
];

const MONITOR: &[Call] =
    &[call("APIKEY.HEALTH"), call("INFO"), call("LATENCY LATEST"), call("PING")];

const OPERATOR: &[Call] = &[
    call("APIKEY.HEALTH"),
    call("APIKEY.LOG COUNT 1"),
    asked("APIKEY.CHECK"),
    call("APIKEY.INVAL {key}"),
    call("APIKEY.TAGINVAL {tag}"),
    call("APIKEY.TAGINVALNODE {tag}"),
    call("APIKEY.TAGS {key}"),
    call("APIKEY.TAGCARD {tag}"),
    call("APIKEY.DESCRIBE {key}"),
    call("APIKEY.USAGE.GET {key}"),
    call("SELECT 0"),
    call("SCAN 0 COUNT 1"),
    call("TYPE {key}"),
    call("MEMORY USAGE {key}"),
    call("INFO"),
    call("CONFIG GET maxmemory"),
    call("CONFIG SET apikeyctl-doctor wrong"),
    asked("CONFIG REWRITE"),
    call("SLOWLOG LEN"),
    call("LATENCY LATEST"),
    call("CLIENT LIST"),
    call("PING"),
];

const BACKUP: &[Call] = &[
    call("APIKEY.HEALTH"),
    call("INFO"),
    asked("REPLCONF ack 0"),
    asked("PSYNC ? -1"),
    call("PING"),
];

/// In a cluster, for who has to find the nodes.
const IN_A_CLUSTER: &[Call] = &[call("CLUSTER SLOTS")];

/// What nobody of them should have.
const NOBODY: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "SHUTDOWN",
    "ACL SETUSER x",
    "KEYS *",
    "EVAL x 0",
    "DEBUG SEGFAULT",
    "APIKEY.USAGE.TAKE {key}",
    "APIKEY.USAGE.FLUSH",
];

const NOT_APP: &[&str] = &[
    "CONFIG GET x",
    "CONFIG SET x x",
    "REPLICAOF x 1",
    "APIKEY.USAGE.LEASE 1000",
    "APIKEY.USAGE.ACK x",
    "APIKEY.LOG",
];
const NOT_DRAIN: &[&str] = &[
    "CONFIG GET x",
    "CONFIG SET x x",
    "REPLICAOF x 1",
    "APIKEY.VALIDATE {key}",
    "APIKEY.SETVAL {key} x",
    "APIKEY.INVAL {key}",
    "APIKEY.LOG",
];
const NOT_MONITOR: &[&str] = &[
    "CONFIG GET x",
    "CONFIG SET x x",
    "REPLICAOF x 1",
    "APIKEY.VALIDATE {key}",
    "APIKEY.SETVAL {key} x",
    "APIKEY.INVAL {key}",
    "APIKEY.USAGE.LEASE 1000",
    "GET {key}",
];
const NOT_BACKUP: &[&str] = NOT_MONITOR;
const NOT_OPERATOR: &[&str] =
    &["APIKEY.VALIDATE {key}", "APIKEY.SETVAL {key} x", "APIKEY.USAGE.LEASE 1000", "MODULE LOAD x"];

impl Role {
    /// As docs/acl.md names its user.
    pub fn user(self) -> &'static str {
        match self {
            Self::App => "application",
            Self::Drain => "consumer",
            Self::Monitor => "monitoring",
            Self::Operator => "operator",
            Self::Backup => "backup",
        }
    }

    pub fn needs(self, is_in_cluster: bool) -> impl Iterator<Item = &'static Call> {
        let needs = match self {
            Self::App => APP,
            Self::Drain => DRAIN,
            Self::Monitor => MONITOR,
            Self::Operator => OPERATOR,
            Self::Backup => BACKUP,
        };
        let more = if is_in_cluster && matches!(self, Self::App | Self::Drain) {
            IN_A_CLUSTER
        } else {
            &[]
        };
        needs.iter().chain(more)
    }

    /// What it should not be given.
    pub fn should_not(self) -> impl Iterator<Item = &'static str> {
        let own = match self {
            Self::App => NOT_APP,
            Self::Drain => NOT_DRAIN,
            Self::Monitor => NOT_MONITOR,
            Self::Operator => NOT_OPERATOR,
            Self::Backup => NOT_BACKUP,
        };
        NOBODY.iter().chain(own).copied()
    }

    /// Whether its keys are those below a prefix.
    pub fn has_keys(self) -> bool {
        matches!(self, Self::App)
    }

    /// Whether it may look at INFO and HEALTH.
    pub fn looks(self) -> bool {
        matches!(self, Self::Monitor | Self::Operator | Self::Backup)
    }
}

/// The name of a call's command, with its subcommand where it has one.
pub fn name(call: &str) -> String {
    let mut words = call.split(' ');
    let first = words.next().unwrap_or_default();
    match (first, words.next()) {
        (
            "CONFIG" | "ACL" | "LATENCY" | "SLOWLOG" | "CLIENT" | "CLUSTER" | "MODULE" | "DEBUG"
            | "MEMORY",
            Some(second),
        ) => {
            format!("{first} {second}")
        }
        _ => first.into(),
    }
}
