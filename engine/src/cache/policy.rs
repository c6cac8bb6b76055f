//! What is set of regions, and its text: the setting `apikey.regions`.
//!
//! A region that nobody set has the defaults. The text names only what is set:
//!
//! ```text
//! products ttl=7200000 max-bytes=64mb evict=lru; search ttl=900000 ns=acme:
//! ```
//!
//! Regions are separated by `;`, words by whitespace or commas, so that it can be written without spaces. Words and
//! units are read in any case; `max-bytes` takes the units of the server's own settings of memory, where k
//! is 1,000 and kb is 1,024. A region that has no words of its own is one with the defaults, which is not
//! the same as none: it is listed. [`Policies::show`] writes one text for what is set, and it reads
//! as the same again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Regions that have settings.
pub const MAX_POLICIES: usize = 1024;

/// Bytes of a region's name.
pub const MAX_NAME_BYTES: usize = 64;

/// Bytes of a namespace.
pub const MAX_NAMESPACE_BYTES: usize = 100;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Which entry of a region over its bounds goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evict {
    /// The one that was not used for the longest time.
    #[default]
    Lru,
    /// The one that is used least often.
    Lfu,
    /// The one that ends first.
    Ttl,
}

impl Evict {
    pub const ALL: [Self; 3] = [Self::Lru, Self::Lfu, Self::Ttl];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Ttl => "ttl",
        }
    }

    /// In any case.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|evict| evict.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What holds for the entries of a region. Times are in milliseconds, shares in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long an entry is fresh whose writer does not say.
    pub ttl_ms: i64,
    /// By how much of it an entry may end earlier, at random.
    pub jitter: u8,
    /// How long it is stale, after that, before it is gone.
    pub grace_ms: i64,
    /// In which last part of its time a reader is asked to refresh it.
    pub eager: u8,
    /// How long one reader alone may load what is missing; 0: all may.
    pub lease_ms: i64,
    /// How long it is known that there is nothing.
    pub absent_ttl_ms: i64,
    /// 0: no bound.
    pub max_bytes: u64,
    /// 0: no bound.
    pub max_entries: u64,
    pub evict: Evict,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl_ms: 3_600_000,
            jitter: 0,
            grace_ms: 0,
            eager: 0,
            lease_ms: 0,
            absent_ttl_ms: 30_000,
            max_bytes: 0,
            max_entries: 0,
            evict: Evict::Lru,
        }
    }
}

impl Policy {
    /// What it is after a change. What the change does not name stays.
    pub fn with(&self, change: &PolicyChange) -> Self {
        Self {
            ttl_ms: change.ttl_ms.unwrap_or(self.ttl_ms),
            jitter: change.jitter.unwrap_or(self.jitter),
            grace_ms: change.grace_ms.unwrap_or(self.grace_ms),
            eager: change.eager.unwrap_or(self.eager),
            lease_ms: change.lease_ms.unwrap_or(self.lease_ms),
            absent_ttl_ms: change.absent_ttl_ms.unwrap_or(self.absent_ttl_ms),
            max_bytes: change.max_bytes.unwrap_or(self.max_bytes),
            max_entries: change.max_entries.unwrap_or(self.max_entries),
            evict: change.evict.unwrap_or(self.evict),
        }
    }
}

/// What of a [`Policy`] is to become what. Its numbers have to be in range: [`Limit::range`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    pub ttl_ms: Option<i64>,
    pub jitter: Option<u8>,
    pub grace_ms: Option<i64>,
    pub eager: Option<u8>,
    pub lease_ms: Option<i64>,
    pub absent_ttl_ms: Option<i64>,
    pub max_bytes: Option<u64>,
    pub max_entries: Option<u64>,
    pub evict: Option<Evict>,
}

/// A part of a [`Policy`] that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Ttl,
    Jitter,
    Grace,
    Eager,
    Lease,
    AbsentTtl,
    MaxBytes,
    MaxEntries,
}

impl Limit {
    /// In the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Ttl,
        Self::Jitter,
        Self::Grace,
        Self::Eager,
        Self::Lease,
        Self::AbsentTtl,
        Self::MaxBytes,
        Self::MaxEntries,
    ];

    /// Its word in a setting.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Jitter => "jitter",
            Self::Grace => "grace",
            Self::Eager => "eager",
            Self::Lease => "lease",
            Self::AbsentTtl => "absent-ttl",
            Self::MaxBytes => "max-bytes",
            Self::MaxEntries => "max-entries",
        }
    }

    /// The same, as the two of them.
    pub const fn bounds(self) -> (i64, i64) {
        match self {
            Self::Ttl | Self::AbsentTtl => (1, YEAR_MS as i64),
            Self::Grace => (0, YEAR_MS as i64),
            Self::Jitter | Self::Eager => (0, 50),
            Self::Lease => (0, 600_000),
            Self::MaxBytes => (0, 1 << 50),
            Self::MaxEntries => (0, 1 << 31),
        }
    }

    pub fn range(self) -> RangeInclusive<u64> {
        match self {
            Self::Ttl | Self::AbsentTtl => 1..=YEAR_MS,
            Self::Grace => 0..=YEAR_MS,
            Self::Jitter | Self::Eager => 0..=50,
            Self::Lease => 0..=600_000,
            Self::MaxBytes => 0..=1 << 50,
            Self::MaxEntries => 0..=1 << 31,
        }
    }

    pub fn of(self, policy: &Policy) -> u64 {
        match self {
            Self::Ttl => policy.ttl_ms.unsigned_abs(),
            Self::Jitter => policy.jitter.into(),
            Self::Grace => policy.grace_ms.unsigned_abs(),
            Self::Eager => policy.eager.into(),
            Self::Lease => policy.lease_ms.unsigned_abs(),
            Self::AbsentTtl => policy.absent_ttl_ms.unsigned_abs(),
            Self::MaxBytes => policy.max_bytes,
            Self::MaxEntries => policy.max_entries,
        }
    }

    /// Puts a number into a change. False, and nothing changes, where it is out of range or there is one
    /// already.
    fn set(self, change: &mut PolicyChange, number: u64) -> bool {
        fn put<T: TryFrom<u64>>(to: &mut Option<T>, number: u64) -> bool {
            let number = T::try_from(number).ok().filter(|_| to.is_none());
            let is_new = number.is_some();
            *to = number.or(to.take());
            is_new
        }
        if !self.range().contains(&number) {
            return false;
        }
        match self {
            Self::Ttl => put(&mut change.ttl_ms, number),
            Self::Jitter => put(&mut change.jitter, number),
            Self::Grace => put(&mut change.grace_ms, number),
            Self::Eager => put(&mut change.eager, number),
            Self::Lease => put(&mut change.lease_ms, number),
            Self::AbsentTtl => put(&mut change.absent_ttl_ms, number),
            Self::MaxBytes => put(&mut change.max_bytes, number),
            Self::MaxEntries => put(&mut change.max_entries, number),
        }
    }
}

/// What is set of regions, by namespace (empty: none) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    of: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Policy>>,
}

impl Policies {
    /// Nothing is set.
    pub const NONE: Self = Self { of: BTreeMap::new() };

    /// What a setting says. The error names the region, the word and the bound.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut policies = Self::default();
        for region in text.split(';') {
            let mut words = region
                .split(|c: char| c.is_ascii_whitespace() || c == ',')
                .filter(|word| !word.is_empty());
            let Some(name) = words.next() else { continue };
            let (ns, change) = words_of(name, words)?;
            let (ns, name) = (ns.as_bytes(), name.as_bytes());
            if policies.get(ns, name).is_some() {
                return Err(format!("{} is there twice", said(ns, name)));
            }
            policies.set(ns, name, &change)?;
        }
        Ok(policies)
    }

    /// The setting's text: one for each state.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let default = Policy::default();
        for (ns, name, policy) in self.iter() {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(&shown(ns, name));
            for limit in Limit::ALL {
                let number = limit.of(policy);
                if number == limit.of(&default) {
                    continue;
                }
                let _ = match limit {
                    Limit::MaxBytes => write!(text, " max-bytes={}", Memory(number)),
                    _ => write!(text, " {}={number}", limit.key()),
                };
            }
            if policy.evict != default.evict {
                let _ = write!(text, " evict={}", policy.evict.name());
            }
        }
        text
    }

    pub fn get(&self, ns: &[u8], name: &[u8]) -> Option<&Policy> {
        self.of.get(ns)?.get(name)
    }

    /// Changes what is set of a region, from the defaults where nothing is. Fails, and changes nothing, where a
    /// name could not stand in a setting or there are too many regions.
    pub fn set(&mut self, ns: &[u8], name: &[u8], change: &PolicyChange) -> Result<(), String> {
        check_name(name)?;
        if !ns.is_empty() {
            check_namespace(ns)?;
        }
        if self.get(ns, name).is_none() && self.len() >= MAX_POLICIES {
            return Err(format!("at most {MAX_POLICIES} regions can have settings"));
        }
        let policy = self.of.entry(ns.to_vec()).or_default().entry(name.to_vec()).or_default();
        *policy = policy.with(change);
        Ok(())
    }

    /// Forgets what is set of a region. Whether something was.
    pub fn remove(&mut self, ns: &[u8], name: &[u8]) -> bool {
        let Some(names) = self.of.get_mut(ns) else { return false };
        let was_there = names.remove(name).is_some();
        if names.is_empty() {
            self.of.remove(ns);
        }
        was_there
    }

    /// Namespace, name and what is set, in the order of their bytes: first those of no namespace.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], &Policy)> {
        self.of.iter().flat_map(|(ns, names)| {
            names.iter().map(move |(name, policy)| (ns.as_slice(), name.as_slice(), policy))
        })
    }

    pub fn len(&self) -> usize {
        self.of.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// Whether it can be the name of a region that has settings; the error says what is wrong.
pub fn check_name(name: &[u8]) -> Result<(), String> {
    check("a region's name", name, MAX_NAME_BYTES)
}

/// As [`check_name`], of a namespace.
pub fn check_namespace(ns: &[u8]) -> Result<(), String> {
    check("a namespace", ns, MAX_NAMESPACE_BYTES)
}

fn check(what: &str, name: &[u8], max: usize) -> Result<(), String> {
    if name.is_empty() || name.len() > max {
        return Err(format!("{what} in settings must be between 1 and {max} bytes long"));
    }
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b";,\"'\\=".contains(byte);
    if name.iter().all(is_plain) {
        return Ok(());
    }
    Err(format!(
        "{what} in settings must be printable ASCII without space, ; , \" ' \\ and =: {}",
        name.escape_ascii()
    ))
}

/// How a region of a namespace stands in the setting. Names there have no space and no `=`, so that no two are the same.
pub fn shown(ns: &[u8], name: &[u8]) -> String {
    match ns {
        [] => name.escape_ascii().to_string(),
        _ => format!("{} ns={}", name.escape_ascii(), ns.escape_ascii()),
    }
}

/// How errors name a region.
fn said(ns: &[u8], name: &[u8]) -> String {
    format!("region {}", shown(ns, name))
}

/// What the words behind a region's name say: its namespace, and what is set.
fn words_of<'a>(
    name: &str,
    words: impl Iterator<Item = &'a str>,
) -> Result<(&'a str, PolicyChange), String> {
    let wrong = |what: String| Err(format!("{}: {what}", said(b"", name.as_bytes())));
    let mut change = PolicyChange::default();
    let mut ns = None;
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return wrong(format!("{} is not of the form key=value", word.escape_default()));
        };
        let key = key.to_ascii_lowercase();
        if key == "ns" {
            if let Err(error) = check_namespace(value.as_bytes()) {
                return wrong(error);
            }
            if ns.replace(value).is_some() {
                return wrong("ns is there twice".into());
            }
        } else if key == "evict" {
            let Some(evict) = Evict::of_name(value.as_bytes()) else {
                return wrong("evict must be lru, lfu or ttl".into());
            };
            if change.evict.replace(evict).is_some() {
                return wrong("evict is there twice".into());
            }
        } else if let Some(limit) = Limit::ALL.into_iter().find(|limit| limit.key() == key) {
            let number = match limit {
                Limit::MaxBytes => memory(value),
                _ => decimal(value),
            };
            let range = limit.range();
            let Some(number) = number.filter(|number| range.contains(number)) else {
                let (least, most) = range.into_inner();
                return wrong(match limit {
                    Limit::MaxBytes => format!(
                        "{key} must be between {least} and {most}, with b, k, kb, m, mb, g or gb behind it"
                    ),
                    _ => format!("{key} must be between {least} and {most}"),
                });
            };
            if !limit.set(&mut change, number) {
                return wrong(format!("{key} is there twice"));
            }
        } else {
            let keys = Limit::ALL.map(Limit::key).join(", ");
            return wrong(format!(
                "there is no {}; there are {keys}, evict and ns",
                key.escape_default()
            ));
        }
    }
    Ok((ns.unwrap_or_default(), change))
}

fn decimal(text: &str) -> Option<u64> {
    // `parse` takes a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
];

/// Bytes with a unit behind them, as the server's own settings have it.
fn memory(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = decimal(text.strip_suffix(digits)?)?;
    let (_, unit) = UNITS.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(digits))?;
    number.checked_mul(*unit)
}

/// Bytes, with the largest unit in which they are a whole number.
struct Memory(u64);

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let is_whole = |unit: u64| self.0 != 0 && self.0.is_multiple_of(unit);
        let binary = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
        match binary.into_iter().find(|(_, unit)| is_whole(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => self.0.fmt(f),
        }
    }
}

/// Until when an entry is fresh that is stored at `now`: its TTL, less at random up to `jitter` percent of
/// it, so that what is stored at once does not end at once. A TTL stays one of at least 1 ms. `random` has
/// to be spread evenly.
pub fn fresh_until(now: i64, ttl_ms: i64, jitter: u8, random: u32) -> i64 {
    let most = i128::from(ttl_ms.max(0)) * i128::from(jitter.min(100)) / 100;
    let off = ((most + 1) * i128::from(random)) >> 32;
    let off = i64::try_from(off).unwrap_or(0);
    now.saturating_add(ttl_ms.saturating_sub(off).max(ttl_ms.min(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        Policies::parse(text).unwrap_err()
    }

    #[test]
    fn a_setting_says_what_differs_from_the_defaults() {
        let text =
            "products ttl=7200000 max-bytes=64mb evict=lru; search TTL=900000,EVICT=Lfu,ns=acme:;";
        let policies = Policies::parse(text).unwrap();
        let products = Policy { ttl_ms: 7_200_000, max_bytes: 64 << 20, ..Policy::default() };
        let search = Policy { ttl_ms: 900_000, evict: Evict::Lfu, ..Policy::default() };
        assert_eq!(policies.get(b"", b"products"), Some(&products));
        assert_eq!(policies.get(b"acme:", b"search"), Some(&search));
        assert_eq!(policies.get(b"", b"search"), None);
        assert_eq!(
            policies.show(),
            "products ttl=7200000 max-bytes=64mb; search ns=acme: ttl=900000 evict=lfu"
        );
        assert_eq!(Policies::parse(" ;; \t").unwrap(), Policies::default());
        assert_eq!(Policies::default().show(), "");
    }

    #[test]
    fn a_region_with_the_defaults_is_set_all_the_same() {
        let policies = Policies::parse("a;b ttl=3600000").unwrap();
        assert_eq!(policies.get(b"", b"a"), Some(&Policy::default()));
        assert_eq!((policies.len(), policies.show()), (2, "a; b".into()));
    }

    #[test]
    fn units_of_memory_are_the_servers() {
        for (text, bytes) in [
            ("0", 0),
            ("7", 7),
            ("7b", 7),
            ("2k", 2_000),
            ("2KB", 2_048),
            ("2m", 2_000_000),
            ("2Mb", 2 << 20),
            ("2g", 2_000_000_000),
            ("2gb", 2 << 30),
        ] {
            assert_eq!(memory(text), Some(bytes), "{text}");
        }
        for text in
            ["mb", "", "-1", "+1", "1.5gb", "1tb", "1 mb", "99999999999gb", "1m2", "1\u{661}"]
        {
            assert_eq!(memory(text), None, "{text}");
        }
        let shown = [0, 7, 1_000, 1_024, 1_536, 3 << 20, 5 << 30];
        assert_eq!(
            shown.map(|bytes| Memory(bytes).to_string()),
            ["0", "7", "1000", "1kb", "1536", "3mb", "5gb"]
        );
    }

    #[test]
    fn an_error_names_the_region_the_key_and_the_bound() {
        for (text, what) in [
            ("a; b ttl=0", "region b: ttl must be between 1 and 31536000000"),
            ("a ttl=31536000001", "region a: ttl must be between 1 and 31536000000"),
            ("a ttl=1h", "region a: ttl must be between 1 and 31536000000"),
            ("a jitter=51", "region a: jitter must be between 0 and 50"),
            ("a eager=+1", "region a: eager must be between 0 and 50"),
            ("a lease=600001", "region a: lease must be between 0 and 600000"),
            ("a absent-ttl=0", "region a: absent-ttl must be between 1 and 31536000000"),
            ("a max-entries=3000000000", "region a: max-entries must be between 0 and 2147483648"),
            (
                "a max-bytes=2000000gb",
                "region a: max-bytes must be between 0 and 1125899906842624, with b, k, kb, m, mb, g or gb behind it",
            ),
            ("a evict=random", "region a: evict must be lru, lfu or ttl"),
            ("a ttl=1 TTL=1", "region a: ttl is there twice"),
            ("a evict=lru evict=lru", "region a: evict is there twice"),
            ("a ns=x ns=x", "region a: ns is there twice"),
            ("a; a", "region a is there twice"),
            ("a ns=x; a, ns=x", "region a ns=x is there twice"),
            ("a b", "region a: b is not of the form key=value"),
            (
                "a size=1",
                "region a: there is no size; there are ttl, jitter, grace, eager, lease, absent-ttl, max-bytes, \
                 max-entries, evict and ns",
            ),
            ("a ns=", "region a: a namespace in settings must be between 1 and 100 bytes long"),
            (
                "a=b",
                r#"a region's name in settings must be printable ASCII without space, ; , " ' \ and =: a=b"#,
            ),
            (
                "\u{e4}",
                r#"a region's name in settings must be printable ASCII without space, ; , " ' \ and =: \xc3\xa4"#,
            ),
        ] {
            assert_eq!(error(text), what, "{text}");
        }
        let long = "r".repeat(65);
        assert_eq!(error(&long), "a region's name in settings must be between 1 and 64 bytes long");
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let mut policies = Policies::default();
        for n in 0..MAX_POLICIES {
            policies.set(b"", format!("r{n}").as_bytes(), &PolicyChange::default()).unwrap();
        }
        let full = policies.clone();
        let change = PolicyChange { jitter: Some(9), ..PolicyChange::default() };
        assert_eq!(
            policies.set(b"", b"one", &change),
            Err("at most 1024 regions can have settings".into())
        );
        assert!(policies.set(b"", b"a b", &change).is_err());
        assert!(policies.set(b"a'b", b"r1", &change).is_err());
        assert_eq!(policies, full);
        policies.set(b"", b"r1", &change).unwrap();
        assert_eq!(policies.get(b"", b"r1").unwrap().jitter, 9);
        assert!(policies.remove(b"", b"r1") && !policies.remove(b"", b"r1"));
        assert!(!policies.remove(b"x", b"r1"));
        policies.set(b"x", b"one", &change).unwrap();
        assert_eq!(
            policies.iter().last().map(|(ns, name, _)| (ns, name)),
            Some((&b"x"[..], &b"one"[..]))
        );
        assert!(policies.remove(b"x", b"one"));
        assert_eq!(policies.len(), MAX_POLICIES - 1);
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let policy = Policy { grace_ms: 5, ..Policy::default() };
        let change = PolicyChange { lease_ms: Some(7), ..PolicyChange::default() };
        assert_eq!(policy.with(&change), Policy { grace_ms: 5, lease_ms: 7, ..Policy::default() });
    }

    #[test]
    fn jitter_takes_its_percentage_off_at_most() {
        assert_eq!(fresh_until(1_000, 100, 0, u32::MAX), 1_100);
        assert_eq!(fresh_until(1_000, 100, 10, 0), 1_100);
        assert_eq!(fresh_until(1_000, 100, 10, u32::MAX), 1_090);
        assert_eq!(fresh_until(1_000, 100, 10, u32::MAX / 2), 1_095);
        assert_eq!(fresh_until(1_000, 1, 50, u32::MAX), 1_001);
        assert_eq!(fresh_until(0, YEAR_MS as i64, 50, 1 << 31), YEAR_MS as i64 / 4 * 3);
    }

    fn changes() -> impl Strategy<Value = PolicyChange> {
        let limits = Limit::ALL.map(|limit| proptest::option::of(limit.range()));
        (limits, proptest::option::of(0..3usize)).prop_map(|(numbers, evict)| {
            let mut change = PolicyChange::default();
            for (limit, number) in Limit::ALL.into_iter().zip(numbers) {
                assert!(number.is_none_or(|number| limit.set(&mut change, number)));
            }
            change.evict = evict.map(|nth| Evict::ALL[nth]);
            change
        })
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same(
            regions in proptest::collection::vec(
                ("[!#-&(-+--:<>-\\[\\]-~]{1,64}", "[!#-&(-+--:<>-\\[\\]-~]{0,100}", changes()),
                0..6,
            ),
        ) {
            let mut policies = Policies::default();
            for (name, ns, change) in &regions {
                policies.set(ns.as_bytes(), name.as_bytes(), change).unwrap();
            }
            let shown = policies.show();
            prop_assert_eq!(Policies::parse(&shown), Ok(policies.clone()));
            prop_assert_eq!(Policies::parse(&shown.replace(' ', ",")).unwrap().show(), shown);
        }

        #[test]
        fn any_text_is_a_setting_or_an_error(text in "([a-c;,= ]|ttl|ns|max-bytes|[0-9]|kb){0,20}") {
            if let Ok(policies) = Policies::parse(&text) {
                prop_assert_eq!(Policies::parse(&policies.show()), Ok(policies));
            }
        }

        #[test]
        fn jitter_stays_within_its_bounds(
            now: i64, ttl in 1..=YEAR_MS as i64, jitter in 0..=50u8, random: u32,
        ) {
            let now = now / 2;
            let left = fresh_until(now, ttl, jitter, random) - now;
            prop_assert!(left >= 1 && left <= ttl);
            prop_assert!(ttl - left <= ttl / 100 * i64::from(jitter) + i64::from(jitter));
        }

        #[test]
        fn no_time_is_too_much(now: i64, ttl: i64, jitter: u8, random: u32) {
            fresh_until(now, ttl, jitter, random);
        }
    }
}
