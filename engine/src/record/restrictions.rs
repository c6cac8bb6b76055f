//! Names by which tables say that a key may not be used: what has one of them, and is none of a record's own
//! fields, is not dropped in silence.
//!
//! A name is compared by its letters and digits alone, in small letters: `expiresAt`, `EXPIRES_AT` and
//! `key-expires-at` are one. This is the whole list; it is short on purpose, and what is missing here can be
//! mapped all the same.

use crate::record::fields::Kept;
use crate::record::json::{plain_string, string};
use std::borrow::Cow;

/// Wherever they stand in a name.
const STEMS: [&str; 33] = [
    "allow",
    "archiv",
    "banned",
    "blacklist",
    "blocked",
    "blocklist",
    "cancel",
    "cidr",
    "compromis",
    "deactivat",
    "delet",
    "denied",
    "deny",
    "disabl",
    "expir",
    "forbid",
    "frozen",
    "lockout",
    "notafter",
    "notbefore",
    "notvalid",
    "purged",
    "removed",
    "restrict",
    "revok",
    "suspend",
    "terminat",
    "trash",
    "validfrom",
    "validthru",
    "validto",
    "validuntil",
    "whitelist",
];

/// Wherever they stand in the name of a flag, that says of a key that it may not be used.
const TAKEN_BACK: [&str; 18] = [
    "archiv",
    "banned",
    "blocked",
    "cancel",
    "compromis",
    "deactivat",
    "delet",
    "disabl",
    "frozen",
    "inactiv",
    "locked",
    "notactive",
    "purged",
    "removed",
    "revok",
    "suspend",
    "terminat",
    "trash",
];

/// Whether it is one of the words that say so as a whole, but for what may stand [`BEFORE`] and [`BEHIND`] them.
fn is_one_of_words(word: &[u8]) -> bool {
    matches!(
        word,
        b"abilities"
            | b"active"
            | b"enabled"
            | b"enddate"
            | b"endsat"
            | b"exp"
            | b"inactive"
            | b"ipranges"
            | b"ips"
            | b"locked"
            | b"nbf"
            | b"paused"
            | b"permission"
            | b"permissions"
            | b"perms"
            | b"privileges"
            | b"retired"
            | b"scope"
            | b"scopes"
            | b"state"
            | b"status"
            | b"ttl"
            | b"until"
            | b"valid"
            | b"validtill"
            | b"voided"
    )
}

const BEFORE: [&str; 10] =
    ["account", "api", "is", "key", "lifecycle", "permitted", "source", "token", "trusted", "user"];
const BEHIND: [&str; 15] = [
    "at", "by", "code", "date", "flag", "m", "ms", "ns", "on", "seconds", "time", "ts", "unix",
    "us", "utc",
];

/// The letters that follow the first one of stems, a bit each, at the place of that.
const SECOND_LETTERS: [u32; 32] = {
    let mut letters = [0; 32];
    let mut at = 0;
    while at < STEMS.len() {
        let stem = STEMS[at].as_bytes();
        letters[place(stem[0])] |= 1 << place(stem[1]);
        at += 1;
    }
    letters
};

const fn place(letter: u8) -> usize {
    (letter & 31) as usize
}

/// Longer names are looked at in memory of their own.
const USUAL_BYTES: usize = 64;

/// Whether a field of this name looks as if it restricted its key.
pub fn looks_like_one(name: &str) -> bool {
    let mut usual = [0; USUAL_BYTES];
    let mut long = Vec::new();
    let letters = match name.len() {
        0..=USUAL_BYTES => &mut usual[..],
        len => {
            long.resize(len, 0);
            &mut long[..]
        }
    };
    let mut len = 0;
    let alphanumeric = name.bytes().filter(u8::is_ascii_alphanumeric);
    for (to, byte) in letters.iter_mut().zip(alphanumeric) {
        *to = byte.to_ascii_lowercase();
        len += 1;
    }
    let letters = letters.get(..len).unwrap_or_default();
    has_stem(letters) || is_word(letters)
}

/// Whether a flag of this name, where it is set, says that its key may not be used.
pub fn says_taken_back(name: &str) -> bool {
    let letters: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    TAKEN_BACK.iter().any(|stem| letters.contains(stem))
}

/// Why a table's name may not be mapped to a field: what restricts a key would be judged as something else.
pub fn refuse_to_map(own: Kept, theirs: &str) -> Option<String> {
    match own {
        Kept::ExpiresAt | Kept::Scopes | Kept::AllowedIps => None,
        Kept::IsActive if says_taken_back(theirs) => Some(format!(
            "must not map is_active to {theirs}, which says the opposite: name it in apikey.inactive-fields"
        )),
        Kept::IsActive => None,
        own if looks_like_one(theirs) => Some(format!(
            "must not map {} to {theirs}, which looks as if it restricted the key",
            own.name()
        )),
        _ => None,
    }
}

fn has_stem(letters: &[u8]) -> bool {
    let may_begin = |pair: &[u8]| match pair {
        [first, second] => SECOND_LETTERS[place(*first)] & 1 << place(*second) != 0,
        _ => false,
    };
    let begins = |at: usize| {
        let rest = letters.get(at..).unwrap_or_default();
        STEMS.iter().any(|stem| rest.starts_with(stem.as_bytes()))
    };
    letters.windows(2).enumerate().any(|(at, pair)| may_begin(pair) && begins(at))
}

fn is_word(letters: &[u8]) -> bool {
    if letters.len() > USUAL_BYTES {
        return false;
    }
    let (mut rest, mut begins) = (letters, true);
    while begins {
        let (mut word, mut ends) = (rest, true);
        while ends {
            if is_one_of_words(word) {
                return true;
            }
            let shorter = BEHIND.iter().find_map(|part| word.strip_suffix(part.as_bytes()));
            ends = shorter.is_some();
            word = shorter.unwrap_or_default();
        }
        let shorter = BEFORE.iter().find_map(|part| rest.strip_prefix(part.as_bytes()));
        begins = shorter.is_some();
        rest = shorter.unwrap_or_default();
    }
    false
}

/// The first name in a value that looks like one: in objects, in arrays, and in texts that are JSON, as deep as
/// they go. What is read is JSON, or is in a text and may be none.
pub fn first_in(value: &str) -> Option<String> {
    // A text without escapes has no name in it.
    let is_text = value.starts_with('"');
    if !value.contains('\\') && (is_text || !value.contains('{')) {
        return None;
    }
    let mut left = value;
    while let Some(at) = left.find('"') {
        let from = left.get(at..).unwrap_or_default();
        let (len, _) = string(from.as_bytes());
        let (text, behind) = from.split_at_checked(len).unwrap_or((from, ""));
        let text = unescaped(text);
        let found = match behind.trim_start().starts_with(':') {
            true => looks_like_one(&text).then(|| text.into_owned()),
            // A text in a text has twice its escapes: there are few levels of them.
            false => first_in(&text),
        };
        if found.is_some() {
            return found;
        }
        left = behind;
    }
    None
}

/// What a string says; of one that is damaged, what can be read.
fn unescaped(json: &str) -> Cow<'_, str> {
    let damaged = || json.trim_matches('"').replace('\\', "");
    match plain_string(json) {
        Some(plain) => plain.into(),
        None => serde_json::from_str(json).unwrap_or_else(|_| damaged()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_restrictions_are_told_from_others() {
        for name in [
            "expiresAt",
            "EXPIRES_AT",
            "expires",
            "expiry_date",
            "key-expires-at",
            "expiration",
            "valid_until",
            "notAfter",
            "not_before",
            "revoked",
            "isRevoked",
            "revoked_on",
            "disabled",
            "deleted_at",
            "isDeleted",
            "archivedAt",
            "enabled",
            "is_enabled",
            "key_active",
            "active",
            "status",
            "state",
            "ttl",
            "scope",
            "Permissions",
            "abilities",
            "allowed_ips",
            "ipWhitelist",
            "allow_list",
            "denied_ips",
            "restrictions",
            "is_active",
            "scopes",
            "banned_at",
            "suspendedUntil",
            "locked",
            "deactivated_at",
            "deleted_at_m",
            "deletedAtMs",
            "archived_on_utc",
            "deleted_unix",
            "locked_by",
            "ttl_seconds",
            "nbf_ts",
            "soft_deleted",
            "deletion_date",
            "delete_time",
            "removed_at",
            "trashed_at",
            "archive",
            "archiveDate",
            "valid",
            "is_valid",
            "account_status",
            "status_code",
            "cancelled_at",
            "terminated_at",
            "paused",
            "compromised",
            "valid_till",
            "not_valid_after",
            "end_date",
            "ends_at",
            "until",
            "LockoutEnd",
            "cidrs",
            "source_ips",
            "trusted_ips",
            "bound_cidrs",
            "permission",
            "perms",
            "privileges",
            "a_name_that_is_longer_than_what_most_tables_have_and_still_ends_in_expires_at",
        ] {
            assert!(looks_like_one(name), "{name}");
        }
        for name in [
            "",
            "id",
            "metadata",
            "last_used_at",
            "key_hash",
            "usage_count",
            "email",
            "description",
            "activity",
            "last_active_at",
            "updated_at_m",
            "created_by",
            "created_unix",
            "active_ms_of_users",
            "statement",
            "updatedAt",
            "prefix",
            "org_id",
            "plan",
            "x",
            "ünï",
            "ip",
            "ip_address",
            "end",
            "last_used_ip",
            "created_ip",
            "zip",
            "vendor",
            "endpoint",
            "validator",
            "untilled",
            "role",
            "description_code",
        ] {
            assert!(!looks_like_one(name), "{name}");
        }
    }

    #[test]
    fn what_restricts_a_key_is_mapped_to_what_judges_it_alone() {
        let refuses = |own, theirs| refuse_to_map(own, theirs).is_some();
        for name in [
            "blocked",
            "is_revoked",
            "suspended",
            "isBanned",
            "disabled",
            "inactive",
            "not_active",
            "lockedOut",
        ] {
            assert!(says_taken_back(name) && refuses(Kept::IsActive, name), "{name}");
        }
        for name in ["enabled", "status", "isActive", "valid", "state", "live"] {
            assert!(!says_taken_back(name) && !refuses(Kept::IsActive, name), "{name}");
        }
        for own in
            [Kept::Id, Kept::UserId, Kept::Name, Kept::KeyPrefix, Kept::CreatedAt, Kept::UpdatedAt]
        {
            assert!(refuses(own, "expiresAt") && refuses(own, "deleted_at"));
            assert!(!refuses(own, "uuid") && !refuses(own, "createdAt"));
        }
        for own in [Kept::ExpiresAt, Kept::Scopes, Kept::AllowedIps] {
            assert!(!refuses(own, "expiresAt") && !refuses(own, "permissions"));
        }
    }

    #[test]
    fn a_restriction_is_found_however_deep_it_is() {
        for (value, name) in [
            (r#"{"a":1,"expires_at":null}"#, "expires_at"),
            (r#"[1,[{"a":{"isActive":false}}]]"#, "isActive"),
            (r#""{\"limits\":{\"allowed_ips\":[]}}""#, "allowed_ips"),
            (r#"{"a":"[{\"revoked\":true}]"}"#, "revoked"),
            (r#"" {\"\u0065xpires\":1}""#, "expires"),
        ] {
            assert_eq!(first_in(value).as_deref(), Some(name), "{value}");
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(9000), "]".repeat(9000));
        assert_eq!(first_in(&deep(r#"{"ttl":1}"#)).as_deref(), Some("ttl"));
        assert_eq!(first_in(&deep("1")), None);
        let quoted = |json: &str| serde_json::to_string(json).unwrap();
        let texts = (0..8).fold(r#"{"ttl":1}"#.to_string(), |json, _| quoted(&json));
        assert_eq!(first_in(&texts).as_deref(), Some("ttl"));
        assert_eq!(first_in(r#""{\"half\":\"\ud800\",\"ttl\":1}""#).as_deref(), Some("ttl"));
        for value in [
            r#"{"a":{"b":[1,"x"]}}"#,
            r#""{not json""#,
            "1",
            "null",
            r#""expires_at""#,
            r#"["expires_at"]"#,
        ] {
            assert_eq!(first_in(value), None, "{value}");
        }
    }
}
