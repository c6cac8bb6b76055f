//! The latest refused validations, as LOG shows them.
//!
//! One that repeats a recent one, in all but its time and the client's port, is counted there and comes to
//! the front, as ACL LOG has it; only the latest few are looked at, so that noting one costs the same
//! however long the log is. What stands in it comes from whoever asks, so that each text is cut: the
//! log's memory is bounded by its length. It knows no secret and no digest.

use crate::record::verdict::Verdict;
use std::collections::VecDeque;

/// Of longer texts the beginning is kept.
pub const MAX_TEXT_BYTES: usize = 256;

/// As many of the latest entries are compared with a new one.
const RECENT: usize = 10;

/// Milliseconds after which a refusal is a new entry, though it repeats an old one; or before, where the clock
/// was set back.
const GROUPED_MS: u64 = 60_000;

/// What happened, as it is noted. What is not known of the caller is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    pub why: Told,
    /// The scope that does not hold, or the limit, where that is the reason; else empty.
    pub detail: &'a [u8],
    pub key: &'a [u8],
    pub user: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
    pub port: u16,
}

/// Refusals that were alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub count: u64,
    pub code: &'static str,
    /// In words; where it ends with a colon, the scope or the limit follows.
    pub reason: &'static str,
    /// The latest one's.
    pub port: u16,
    /// When the latest one was, in epoch milliseconds.
    pub at: i64,
    /// The key, the detail, the user and the host, one behind the other, and where the first three end.
    texts: Vec<u8>,
    ends: [usize; 3],
    has_user: bool,
    has_host: bool,
}

impl Entry {
    /// The first one, in memory that was used before.
    fn new(refusal: &Refusal, now: i64, mut texts: Vec<u8>) -> Self {
        let (code, reason) = refusal.why;
        let all = [refusal.key, refusal.detail, or_empty(refusal.user), or_empty(refusal.host)];
        let len = all.map(|text| cut(text).len()).iter().sum();
        // What long texts have left is not kept for short ones.
        if texts.capacity() / 2 > len {
            texts = Vec::new();
        }
        texts.clear();
        texts.reserve_exact(len);
        let [.., host] = all;
        let mut ends = [0; 3];
        for (text, end) in all.into_iter().zip(&mut ends) {
            texts.extend_from_slice(cut(text));
            *end = texts.len();
        }
        texts.extend_from_slice(cut(host));
        Self {
            count: 1,
            code,
            reason,
            port: refusal.port,
            at: now,
            texts,
            ends,
            has_user: refusal.user.is_some(),
            has_host: refusal.host.is_some(),
        }
    }

    pub fn key(&self) -> &[u8] {
        let [key, ..] = self.ends;
        self.text(0, key)
    }

    /// The scope that does not hold, or the limit; else empty.
    pub fn detail(&self) -> &[u8] {
        let [key, detail, _] = self.ends;
        self.text(key, detail)
    }

    pub fn user(&self) -> Option<&[u8]> {
        let [_, detail, user] = self.ends;
        self.has_user.then(|| self.text(detail, user))
    }

    pub fn host(&self) -> Option<&[u8]> {
        let [.., user] = self.ends;
        self.has_host.then(|| self.text(user, self.texts.len()))
    }

    fn text(&self, from: usize, to: usize) -> &[u8] {
        self.texts.get(from..to).unwrap_or_default()
    }

    /// Whether another one of this kind was not long ago.
    fn is_repeated_by(&self, refusal: &Refusal, now: i64) -> bool {
        // The key first, by which most differ.
        self.key() == cut(refusal.key)
            && self.code == refusal.why.0
            && now.abs_diff(self.at) <= GROUPED_MS
            && self.detail() == cut(refusal.detail)
            && self.user() == refusal.user.map(cut)
            && self.host() == refusal.host.map(cut)
    }
}

fn or_empty(text: Option<&[u8]>) -> &[u8] {
    text.unwrap_or_default()
}

/// A code, and a reason in words.
pub type Told = (&'static str, &'static str);

/// A request that is too fast, and one for which nothing is left.
pub const RATE_LIMITED: Told = ("RATE_LIMITED", "too many requests for the limit: ");
pub const USAGE_EXCEEDED: Told = ("USAGE_EXCEEDED", "nothing is left of the limit: ");

/// The code and the reason of a refusal; `None` where nothing was refused.
pub fn told(verdict: Verdict) -> Option<Told> {
    match verdict {
        Verdict::Absent => Some(("ABSENT", "there is no such key")),
        Verdict::Mismatch => Some(("MISMATCH", "the secret is wrong, or its time is over")),
        Verdict::Disabled => Some(("DISABLED", "is_active is false")),
        Verdict::Expired => Some(("EXPIRED", "expires_at has passed")),
        Verdict::ForbiddenIp => {
            Some(("FORBIDDEN_IP", "the record does not allow the address, or wants one"))
        }
        Verdict::Forbidden(_) => Some(("FORBIDDEN", "the record does not grant the scope: ")),
        Verdict::Unverified | Verdict::Valid => None,
    }
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The latest first.
    entries: VecDeque<Entry>,
}

impl Refusals {
    /// Notes what was refused `now` (epoch milliseconds), and keeps the latest `most`
    /// entries.
    pub fn note(&mut self, refusal: &Refusal, now: i64, most: usize) {
        if most == 0 {
            return;
        }
        let is_same = |entry: &Entry| entry.is_repeated_by(refusal, now);
        let repeated = self.entries.iter().take(RECENT).position(is_same);
        let entry = match repeated.and_then(|nth| self.entries.remove(nth)) {
            Some(entry) => {
                Entry { count: entry.count.saturating_add(1), port: refusal.port, at: now, ..entry }
            }
            None => {
                // In the memory of the one that goes for it.
                let last = if self.entries.len() < most { None } else { self.entries.pop_back() };
                Entry::new(refusal, now, last.map(|entry| entry.texts).unwrap_or_default())
            }
        };
        self.trim(most - 1);
        self.entries.push_front(entry);
    }

    /// The latest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Keeps the latest `most`.
    pub fn trim(&mut self, most: usize) {
        self.entries.truncate(most);
        if most == 0 {
            self.entries.shrink_to_fit();
        }
    }
}

fn cut(text: &[u8]) -> &[u8] {
    text.get(..MAX_TEXT_BYTES).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(verdict: Verdict) -> Told {
        told(verdict).unwrap()
    }

    const REFUSAL: Refusal = Refusal {
        why: ("MISMATCH", "the secret is wrong"),
        detail: b"",
        key: b"k",
        user: Some(b"u"),
        host: Some(b"h"),
        port: 1,
    };

    /// Code, key and count, the latest first.
    fn seen(log: &Refusals) -> Vec<(&str, String, u64)> {
        let key = |entry: &Entry| String::from_utf8_lossy(entry.key()).into_owned();
        log.iter().map(|entry| (entry.code, key(entry), entry.count)).collect()
    }

    #[test]
    fn what_differs_is_an_entry_and_what_repeats_is_counted() {
        let mut log = Refusals::default();
        let forbidden = Refusal { why: why(Verdict::Forbidden(3)), detail: b"a", ..REFUSAL };
        let all = [
            REFUSAL,
            Refusal { key: b"l", ..REFUSAL },
            Refusal { user: Some(b"v"), ..REFUSAL },
            Refusal { user: None, ..REFUSAL },
            Refusal { host: Some(b"i"), ..REFUSAL },
            Refusal { host: None, ..REFUSAL },
            Refusal { why: why(Verdict::Absent), ..REFUSAL },
            forbidden,
            Refusal { detail: b"b", ..forbidden },
        ];
        for round in 1..=3 {
            for refusal in &all {
                log.note(refusal, 1000, 100);
            }
            assert_eq!(log.iter().len(), all.len());
            assert!(log.iter().all(|entry| entry.count == round));
        }
        log.note(&Refusal { port: 2, ..REFUSAL }, 2000, 100);
        log.note(&Refusal { why: why(Verdict::Forbidden(7)), ..forbidden }, 2001, 100);
        let latest: Vec<_> = log.iter().take(2).map(|e| (e.code, e.count, e.port, e.at)).collect();
        assert_eq!(latest, [("FORBIDDEN", 4, 1, 2001), ("MISMATCH", 4, 2, 2000)]);
        assert_eq!(log.iter().len(), all.len());
        assert_eq!([Verdict::Valid, Verdict::Unverified].map(told), [None, None]);
    }

    #[test]
    fn after_a_minute_and_behind_ten_others_it_is_a_new_entry() {
        let mut log = Refusals::default();
        for now in [0, 60_000, 120_000, 180_001] {
            log.note(&REFUSAL, now, 100);
        }
        assert_eq!(seen(&log), [("MISMATCH", "k".into(), 1), ("MISMATCH", "k".into(), 3)]);
        log.trim(0);
        for key in *b"abcdefghij" {
            log.note(&Refusal { key: &[key], ..REFUSAL }, 0, 100);
        }
        log.note(&Refusal { key: b"a", ..REFUSAL }, 0, 100);
        assert_eq!(seen(&log)[0], ("MISMATCH", "a".into(), 2));
        log.note(&Refusal { key: b"k", ..REFUSAL }, 0, 100);
        log.note(&Refusal { key: b"b", ..REFUSAL }, 0, 100);
        assert_eq!(seen(&log)[0], ("MISMATCH", "b".into(), 1));
        // A clock that was set back.
        log.note(&Refusal { key: b"b", ..REFUSAL }, -5, 100);
        assert_eq!(seen(&log)[0], ("MISMATCH", "b".into(), 2));
        log.note(&Refusal { key: b"b", ..REFUSAL }, -60_006, 100);
        assert_eq!(seen(&log)[..2], [("MISMATCH", "b".into(), 1), ("MISMATCH", "b".into(), 2)]);
    }

    #[test]
    fn the_log_is_bounded_in_entries_and_in_bytes() {
        let mut log = Refusals::default();
        let keys: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
        for key in &keys {
            log.note(&Refusal { key: key.as_bytes(), ..REFUSAL }, 0, 5);
            assert!(log.iter().len() <= 5);
        }
        let left: Vec<String> = seen(&log).into_iter().map(|(_, key, _)| key).collect();
        assert_eq!(left, ["k19", "k18", "k17", "k16", "k15"]);
        log.note(&Refusal { key: b"k15", ..REFUSAL }, 0, 5);
        assert_eq!(seen(&log)[0], ("MISMATCH", "k15".into(), 2));
        log.trim(2);
        assert_eq!(log.iter().len(), 2);
        log.note(&REFUSAL, 0, 0);
        assert_eq!(log.iter().len(), 2);
        let long = vec![b'x'; 100_000];
        let all_long = Refusal {
            why: why(Verdict::Forbidden(0)),
            detail: &long,
            key: &long,
            user: Some(&long),
            host: Some(&long),
            port: 1,
        };
        log.note(&all_long, 0, 5);
        log.note(&all_long, 0, 5);
        let entry = log.iter().next().unwrap();
        assert_eq!((entry.count, entry.detail().len(), entry.key().len()), (2, 256, 256));
        assert_eq!(entry.user().unwrap().len() + entry.host().unwrap().len(), 512);
        // A short one that takes its place does not keep its memory.
        for number in 0..5 {
            log.note(&Refusal { port: 2, detail: &[number], ..REFUSAL }, 0, 5);
        }
        assert!(log.iter().all(|entry| entry.texts.capacity() <= 2 * entry.texts.len() + 1));
    }
}
