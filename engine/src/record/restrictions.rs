//! Names by which tables say that a key may not be used: what has one of them, and is none of a record's own
//! fields, is not dropped in silence.
//!
//! A name is compared by its letters and digits alone, in small letters: `expiresAt`, `EXPIRES_AT` and
//! `key-expires-at` are one. This is the whole list. A name too many costs who has such a field a setting, a name too few
//! lets keys pass that must not: so the list has stems and parts of names rather than names. What is missing here can be
//! mapped all the same.

use crate::record::fields::Kept;
use crate::record::json::string;
use std::borrow::Cow;
use std::cell::RefCell;

/// What a name says, a bit each.
type Says = u16;

/// Where it is set, the key may be used.
const ACTIVE: Says = 1;
/// Where it is set, the key may not be used.
const TAKEN_BACK: Says = 1 << 1;
/// Until when the key may be used, or for how long.
const END: Says = 1 << 2;
/// From when on it may be used.
const BEGINNING: Says = 1 << 3;
/// What it may do.
const GRANT: Says = 1 << 4;
/// What it may not do.
const DENIAL: Says = 1 << 5;
/// From where it may be used.
const ADDRESSES: Says = 1 << 6;
/// Something else that decides.
const OTHER: Says = 1 << 7;
/// How it is with the key, in words of the table's.
const STATE: Says = 1 << 8;

/// Wherever they stand in a name, in the order of the alphabet.
const STEMS: [(&str, Says); 140] = [
    ("abandon", TAKEN_BACK),
    ("abilities", GRANT),
    ("accesscontrol", OTHER),
    ("accountcontrol", OTHER),
    ("accountlock", TAKEN_BACK),
    ("activefrom", BEGINNING),
    ("activesince", BEGINNING),
    ("allow", GRANT),
    ("archiv", TAKEN_BACK),
    ("audience", GRANT),
    ("authoris", ACTIVE),
    ("authorities", GRANT),
    ("authoriz", ACTIVE),
    ("availablefrom", BEGINNING),
    ("banned", TAKEN_BACK),
    ("blacklist", DENIAL),
    ("blocked", TAKEN_BACK),
    ("blocklist", DENIAL),
    ("cancel", TAKEN_BACK),
    ("canlogin", ACTIVE),
    ("capabilit", GRANT),
    ("caveat", OTHER),
    ("cidr", ADDRESSES),
    ("compromis", TAKEN_BACK),
    ("condition", OTHER),
    ("constraint", OTHER),
    ("criticaloption", OTHER),
    ("deactivat", TAKEN_BACK),
    ("decommission", TAKEN_BACK),
    ("delet", TAKEN_BACK),
    ("denied", DENIAL),
    ("deny", DENIAL),
    ("deprecat", TAKEN_BACK),
    ("deprovision", TAKEN_BACK),
    ("destroy", TAKEN_BACK),
    ("disabl", TAKEN_BACK),
    ("disallow", DENIAL),
    ("discard", TAKEN_BACK),
    ("effectiv", BEGINNING),
    ("embargo", BEGINNING),
    ("enabledfrom", BEGINNING),
    ("entitlement", GRANT),
    ("erased", TAKEN_BACK),
    ("exclud", DENIAL),
    ("exclusion", DENIAL),
    ("expir", END),
    ("expired", TAKEN_BACK),
    ("forbid", DENIAL),
    ("forcecommand", OTHER),
    ("freez", TAKEN_BACK),
    ("frozen", TAKEN_BACK),
    ("goodthrough", END),
    ("goodthru", END),
    ("granttype", GRANT),
    ("inactiv", TAKEN_BACK),
    ("invalid", TAKEN_BACK),
    ("ipallow", ADDRESSES),
    ("ipsafelist", ADDRESSES),
    ("ipwhitelist", ADDRESSES),
    ("leaked", TAKEN_BACK),
    ("lifespan", END),
    ("lifetime", END),
    ("limitedby", OTHER),
    ("locked", TAKEN_BACK),
    ("lockout", TAKEN_BACK),
    ("maxage", END),
    ("maxttl", END),
    ("maxusage", OTHER),
    ("maxuses", OTHER),
    ("nonactive", TAKEN_BACK),
    ("notactive", TAKEN_BACK),
    ("notafter", END),
    ("notbefore", BEGINNING),
    ("notenabled", TAKEN_BACK),
    ("notusabl", TAKEN_BACK),
    ("notvalid", TAKEN_BACK),
    ("notvalidafter", END),
    ("notvalidbefore", BEGINNING),
    ("numuses", OTHER),
    ("obsolete", TAKEN_BACK),
    ("onetime", OTHER),
    ("paused", TAKEN_BACK),
    ("permission", GRANT),
    ("permit", GRANT),
    ("policies", OTHER),
    ("policy", OTHER),
    ("privileg", GRANT),
    ("prohibit", DENIAL),
    ("purge", TAKEN_BACK),
    ("quarantin", TAKEN_BACK),
    ("recycl", TAKEN_BACK),
    ("redeem", TAKEN_BACK),
    ("redempt", TAKEN_BACK),
    ("referer", OTHER),
    ("reject", TAKEN_BACK),
    ("remaininguses", OTHER),
    ("remov", TAKEN_BACK),
    ("rescind", TAKEN_BACK),
    ("restrict", DENIAL),
    ("retired", TAKEN_BACK),
    ("revoc", TAKEN_BACK),
    ("revok", TAKEN_BACK),
    ("roledescriptor", OTHER),
    ("safelist", GRANT),
    ("scope", GRANT),
    ("singleuse", OTHER),
    ("sunset", TAKEN_BACK),
    ("supersed", TAKEN_BACK),
    ("suspen", TAKEN_BACK),
    ("terminat", TAKEN_BACK),
    ("tombston", TAKEN_BACK),
    ("trash", TAKEN_BACK),
    ("unapproved", TAKEN_BACK),
    ("unauthor", TAKEN_BACK),
    ("unusabl", TAKEN_BACK),
    ("unverified", TAKEN_BACK),
    ("usabl", ACTIVE),
    ("usagelimit", OTHER),
    ("uselimit", OTHER),
    ("usesleft", OTHER),
    ("useslimit", OTHER),
    ("usesremaining", OTHER),
    ("validafter", BEGINNING),
    ("validbefore", END),
    ("validend", END),
    ("validfrom", BEGINNING),
    ("validity", END),
    ("validperiod", OTHER),
    ("validprincipal", OTHER),
    ("validrange", OTHER),
    ("validsince", BEGINNING),
    ("validstart", BEGINNING),
    ("validthru", END),
    ("validtill", END),
    ("validtime", OTHER),
    ("validto", END),
    ("validuntil", END),
    ("voided", TAKEN_BACK),
    ("whitelist", GRANT),
    ("withdrawn", TAKEN_BACK),
];

/// As a whole, but for what may stand [`BEFORE`] and [`BEHIND`] them.
fn word(word: &[u8]) -> Says {
    match word {
        b"activated" | b"active" | b"alive" | b"approved" | b"available" | b"enable"
        | b"enabled" | b"inuse" | b"iscurrent" | b"isuse" | b"useyn" | b"valid" | b"verified" => {
            ACTIVE
        }
        b"block" | b"closed" | b"consumed" | b"deact" | b"dead" | b"del" | b"delyn"
        | b"flagged" | b"gone" | b"held" | b"hold" | b"inact" | b"killed" | b"lock" | b"onhold"
        | b"pause" | b"pending" | b"replaced" | b"stolen" | b"stopped" | b"void" => TAKEN_BACK,
        b"duration" | b"endat" | b"enddate" | b"enddatetime" | b"enddt" | b"ended" | b"ends"
        | b"endtime" | b"eol" | b"exp" | b"tokenwindow" | b"usebefore" | b"useby" => END,
        b"activation" | b"beginat" | b"begindate" | b"begins" | b"begintime" | b"nbf"
        | b"signedstart" | b"startat" | b"startdate" | b"startdatetime" | b"starton"
        | b"starts" | b"starttime" => BEGINNING,
        b"accesslevel" | b"grants" | b"perm" => GRANT,
        b"banlist" | b"blocks" | b"except" => DENIAL,
        b"addresses" | b"addressrange" | b"addressranges" | b"boundip" | b"fixedip"
        | b"ipbinding" | b"requestip" | b"signedip" | b"sourceaddress" | b"sourceip"
        | b"staticip" => ADDRESSES,
        b"lifecycle" | b"state" | b"status" => STATE,
        b"during" | b"effect" | b"limited" | b"sysperiod" | b"systemperiod" => OTHER,
        _ => 0,
    }
}

/// The same, and anything may stand before them: they begin where a word does.
fn free_word(word: &[u8]) -> Says {
    match word {
        b"ban" | b"bans" => TAKEN_BACK,
        b"before" | b"till" | b"ttl" | b"until" => END,
        b"perms" | b"rights" => GRANT,
        b"ipaccess" | b"ipaddresses" | b"ipaddrs" | b"ipblock" | b"ipblocks" | b"ipfilter"
        | b"ipfilters" | b"iplist" | b"iplists" | b"ipmask" | b"iprange" | b"ipranges" | b"ips"
        | b"ipset" | b"ipsets" | b"netmask" | b"network" | b"networks" | b"subnet" | b"subnets" => {
            ADDRESSES
        }
        b"acl" | b"acls" | b"origins" | b"readonly" | b"referrers" => OTHER,
        _ => 0,
    }
}

const BEFORE: [&str; 29] = [
    "access",
    "account",
    "api",
    "auth",
    "authorized",
    "bound",
    "client",
    "creation",
    "credential",
    "data",
    "default",
    "good",
    "is",
    "key",
    "lifecycle",
    "login",
    "max",
    "min",
    "object",
    "permitted",
    "record",
    "remote",
    "row",
    "secret",
    "source",
    "token",
    "trusted",
    "user",
    "was",
];
const BEHIND: [&str; 53] = [
    "after",
    "at",
    "before",
    "by",
    "cd",
    "code",
    "date",
    "datetime",
    "days",
    "dt",
    "dttm",
    "end",
    "epoch",
    "fl",
    "flag",
    "flg",
    "for",
    "from",
    "hours",
    "id",
    "ind",
    "indicator",
    "list",
    "m",
    "millis",
    "mins",
    "minutes",
    "ms",
    "ns",
    "on",
    "period",
    "range",
    "reason",
    "sec",
    "seconds",
    "secs",
    "since",
    "stamp",
    "start",
    "state",
    "status",
    "tags",
    "time",
    "tm",
    "to",
    "ts",
    "tz",
    "unix",
    "until",
    "us",
    "utc",
    "value",
    "yn",
];

/// No [word](word) is longer.
const LONGEST_WORD: usize = 13;

/// Before what may have anything before it: what was so is none.
const PAST: [&[u8]; 2] = [b"old", b"previous"];

/// Where the stems of each first letter begin, at the place of that; those of the next one begin where they end.
const FIRST_STEMS: [usize; 33] = {
    let mut first = [0; 33];
    let (mut letter, mut at) = (0, 0);
    while letter < 32 {
        first[letter] = at;
        while at < STEMS.len() && place(STEMS[at].0.as_bytes()[0]) == letter {
            at += 1;
        }
        letter += 1;
    }
    assert!(at == STEMS.len(), "the stems are not in the order of the alphabet");
    first[32] = at;
    first
};

const fn place(letter: u8) -> usize {
    (letter & 31) as usize
}

/// Longer names are looked at in memory of their own, and for stems alone.
const USUAL_BYTES: usize = 64;

/// Of a name its letters and digits, in small letters.
struct Letters<'a> {
    letters: &'a [u8],
    /// The places at which words begin in the name as it is written, a bit each; the first is not one.
    begins: u128,
}

impl<'a> Letters<'a> {
    fn of(name: &str, memory: &'a mut [u8]) -> Self {
        let (mut len, mut begins) = (0, 0);
        let mut before = b'_';
        let mut bytes = name.bytes().peekable();
        while let Some(byte) = bytes.next() {
            if byte.is_ascii_alphanumeric() {
                let Some(to) = memory.get_mut(len) else { break };
                // In `ipACLs` at both capitals that a small letter is beside.
                let is_capital = byte.is_ascii_uppercase()
                    && (!before.is_ascii_uppercase()
                        || bytes.peek().is_some_and(u8::is_ascii_lowercase));
                if is_capital || !before.is_ascii_alphanumeric() {
                    begins |= bit(len);
                }
                *to = byte.to_ascii_lowercase();
                len += 1;
            }
            before = byte;
        }
        Self { letters: memory.get(..len).unwrap_or_default(), begins: begins & !1 }
    }

    fn from(&self, at: usize) -> &'a [u8] {
        self.letters.get(at..).unwrap_or_default()
    }

    fn to(&self, at: usize) -> &'a [u8] {
        self.letters.get(..at).unwrap_or_default()
    }

    /// What is said by something that begins there, of which the opposite may stand before it.
    fn with_what_is_before(&self, at: usize, says: Says) -> Says {
        let before = self.to(at);
        let is_un =
            before.ends_with(b"un") && (at == 2 || self.begins & bit(at.saturating_sub(2)) != 0);
        if !is_un && !before.ends_with(b"not") && !before.ends_with(b"non") {
            return says;
        }
        let instead = |one, other| if says & one != 0 { other } else { 0 };
        let opposite = (says & !(ACTIVE | TAKEN_BACK | GRANT | END | BEGINNING))
            | instead(ACTIVE, TAKEN_BACK)
            | instead(TAKEN_BACK, ACTIVE)
            | instead(GRANT, DENIAL)
            | instead(BEGINNING, END);
        match opposite {
            0 => OTHER,
            opposite => opposite,
        }
    }

    fn stems(&self) -> Says {
        let mut all = 0;
        for (at, letter) in self.letters.iter().enumerate() {
            let from = FIRST_STEMS.get(place(*letter)).copied().unwrap_or_default();
            let to = FIRST_STEMS.get(place(*letter) + 1).copied().unwrap_or_default();
            for (stem, says) in STEMS.get(from..to).unwrap_or_default() {
                if self.from(at).starts_with(stem.as_bytes()) {
                    all |= self.with_what_is_before(at, *says);
                }
            }
        }
        all
    }

    /// What words say between parts that may stand before and behind them; `anywhere` also behind others.
    fn words(&self, anywhere: bool) -> Says {
        let len = self.letters.len();
        if len > USUAL_BYTES {
            return 0;
        }
        let mut ends = bit(len);
        for end in (1..=len).rev() {
            if ends & bit(end) != 0 {
                for part in BEHIND.iter().filter(|part| self.to(end).ends_with(part.as_bytes())) {
                    ends |= bit(end.saturating_sub(part.len()));
                }
            }
        }
        let mut begins = 1;
        for begin in 0..len {
            if begins & bit(begin) != 0 {
                for part in
                    BEFORE.iter().filter(|part| self.from(begin).starts_with(part.as_bytes()))
                {
                    begins |= bit(begin + part.len());
                }
            }
        }
        let mut all = 0;
        for end in (1..=len).filter(|end| ends & bit(*end) != 0) {
            let first = end.saturating_sub(LONGEST_WORD);
            for begin in (first..end).filter(|begin| (begins | self.begins) & bit(*begin) != 0) {
                let part = self.to(end).get(begin..).unwrap_or_default();
                let mut says = if PAST.contains(&self.to(begin)) { 0 } else { free_word(part) };
                if anywhere || begins & bit(begin) != 0 {
                    says |= word(part);
                }
                if says != 0 {
                    all |= self.with_what_is_before(begin, says);
                }
            }
        }
        all
    }

    fn has(&self, part: &str) -> bool {
        self.letters.windows(part.len()).any(|letters| letters == part.as_bytes())
    }
}

/// The bit of a place within [`USUAL_BYTES`].
fn bit(place: usize) -> u128 {
    u32::try_from(place).ok().and_then(|place| 1u128.checked_shl(place)).unwrap_or_default()
}

/// Calls `with` with the letters of a name.
fn of_letters<T>(name: &str, with: impl FnOnce(&Letters) -> T) -> T {
    let (mut usual, mut long) = ([0; USUAL_BYTES], Vec::new());
    let memory = match name.len() {
        0..=USUAL_BYTES => &mut usual[..],
        len => {
            long.resize(len, 0);
            &mut long[..]
        }
    };
    with(&Letters::of(name, memory))
}

/// Whether a field of this name looks as if it restricted its key.
pub fn looks_like_one(name: &str) -> bool {
    HARMLESS.with_borrow_mut(|harmless| {
        let place = Harmless::place(name);
        if harmless.has(place, name) {
            return false;
        }
        let is_one = of_letters(name, |letters| letters.stems() != 0 || letters.words(false) != 0);
        if !is_one {
            harmless.keep(place, name);
        }
        is_one
    })
}

thread_local! {
    static HARMLESS: RefCell<Harmless> = const { RefCell::new(Harmless::NONE) };
}

/// Names that were found not to look like one, the latest at each place: a table's fields come again with each of its
/// rows, and to look through a name takes a thousand instructions.
struct Harmless([([u8; Self::MOST_BYTES], u8); Self::PLACES]);

impl Harmless {
    const PLACES: usize = 256;
    /// Longer names are not kept.
    const MOST_BYTES: usize = 31;
    const NONE: Self = Self([([0; Self::MOST_BYTES], 0); Self::PLACES]);

    /// Where a name is kept (FNV-1a).
    fn place(name: &str) -> usize {
        let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        name.bytes().take(Self::MOST_BYTES).fold(0x811c_9dc5, hash) as usize % Self::PLACES
    }

    fn has(&self, place: usize, name: &str) -> bool {
        let kept = self.0.get(place).and_then(|(kept, len)| kept.get(..usize::from(*len)));
        !name.is_empty() && kept == Some(name.as_bytes())
    }

    fn keep(&mut self, place: usize, name: &str) {
        let Ok(len) = u8::try_from(name.len()) else { return };
        let Some((kept, kept_len)) = self.0.get_mut(place) else { return };
        if let Some(kept) = kept.get_mut(..name.len()) {
            kept.copy_from_slice(name.as_bytes());
            *kept_len = len;
        }
    }
}

/// What a name says, of whatever it says it.
fn says(name: &str) -> Says {
    of_letters(name, |letters| {
        let mut says = letters.stems() | letters.words(true);
        // A key that is locked until then may be used from then on.
        let is_until = ["until", "till", "thru", "before"].iter().any(|word| letters.has(word));
        if says & TAKEN_BACK != 0 && is_until {
            says = says & !END | BEGINNING;
        }
        says
    })
}

/// What to do with a field that looks like a restriction and is not judged, beside dropping it.
pub fn remedy(name: &str) -> &'static str {
    const MAP: &str = "map it by apikey.field-names";
    match says(name) {
        says if says & BEGINNING != 0 => "let the query judge it",
        says if says & END != 0 => MAP,
        says if says & TAKEN_BACK != 0 => "name it in apikey.inactive-fields",
        says if says & (ACTIVE | GRANT | ADDRESSES | STATE) != 0 && says & DENIAL == 0 => MAP,
        _ => "let the query judge it",
    }
}

/// Whether a flag of this name, where it is set, says that its key may not be used.
pub fn says_taken_back(name: &str) -> bool {
    says(name) & (TAKEN_BACK | DENIAL) != 0
}

/// Why a table's name may not be mapped to a field: what restricts a key would be judged as something else.
pub fn refuse_to_map(own: Kept, theirs: &str) -> Option<String> {
    let says = says(theirs);
    let has = |what: Says| says & what != 0;
    let why = match own {
        Kept::IsActive if has(BEGINNING) => "which says from when on the key may be used: let the query judge it",
        Kept::IsActive if has(TAKEN_BACK | DENIAL) => {
            "which says the opposite: name it in apikey.inactive-fields"
        }
        Kept::IsActive if has(END) => "which says when the key ends: map expires_at to it",
        Kept::ExpiresAt if has(BEGINNING) || has(ACTIVE) && !has(END) => {
            "which says from when on the key may be used: let the query judge it"
        }
        Kept::Scopes if has(DENIAL | TAKEN_BACK) => {
            "which says what the key may not do: leave that out of its scopes in the query"
        }
        Kept::Scopes if has(ADDRESSES) => "which says from where it may be used: map allowed_ips to it",
        Kept::AllowedIps if has(DENIAL | TAKEN_BACK) => {
            "which says from where the key may not be used: have the query give those from which it may"
        }
        Kept::IsActive | Kept::ExpiresAt | Kept::Scopes | Kept::AllowedIps => return None,
        _ if looks_like_one(theirs) => "which looks as if it restricted the key",
        _ => return None,
    };
    Some(format!("must not map {} to {theirs}, {why}", own.name()))
}

/// Why a field may not be one of those that make a key inactive: it is set where the key is active.
pub fn refuse_as_inactive(name: &str) -> Option<String> {
    let says = says(name);
    (says & ACTIVE != 0 && says & END == 0).then(|| {
        format!("must not be {name}, which says that a key is active: map is_active to it by apikey.field-names")
    })
}

/// Names of fields that hold the name of another one, and of those that hold what it has.
const NAMES: [&str; 9] =
    ["key", "name", "k", "field", "property", "attribute", "attr", "column", "option"];
const VALUES: [&str; 4] = ["value", "val", "v", "values"];

/// The first name in a value that looks like one: in objects, in arrays, in pairs of a name and a value, and in texts
/// that are JSON, as deep as they go. What is read is JSON, or is in a text and may be none.
pub fn first_in(value: &str) -> Option<String> {
    // Without an escape a text has no quotes, and without these a name is none.
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b':' | b'=')) {
        return None;
    }
    // Of pairs: a restriction's name, and whether anything is given a value.
    let (mut named, mut has_value) = (None, false);
    let mut is_of_name = false;
    let mut left = value.find('"').and_then(|at| value.get(at..)).unwrap_or_default();
    // Each quote is looked at as the beginning of a string: in a text that is none of JSON alone, an odd one may stand
    // before it. In JSON what is between strings is no name.
    while !left.is_empty() {
        let (len, _) = string(left.as_bytes());
        let (text, behind) = left.split_at_checked(len).unwrap_or((left, ""));
        let is_last = behind.is_empty();
        let text = unescaped(text);
        let next = behind.trim_start();
        if next.starts_with(':') || next.starts_with("=>") {
            if looks_like_one(&text) {
                return Some(text.into_owned());
            }
            let is = |name: &&str| text.eq_ignore_ascii_case(name);
            has_value |= VALUES.iter().any(is);
            is_of_name = NAMES.iter().any(is);
        } else {
            if let Some(found) = first_in(&text) {
                return Some(found);
            }
            // Between the two there is the string of the colon.
            let is_colon = || matches!(text.trim(), ":" | "=>");
            if is_of_name && !is_colon() {
                is_of_name = false;
                if named.is_none() && looks_like_one(&text) {
                    named = Some(text.into_owned());
                }
            }
        }
        if is_last {
            break;
        }
        // The quote that ends it, as the beginning of the next.
        left = left.get(len.saturating_sub(1)..).unwrap_or_default();
    }
    named.filter(|_| has_value)
}

/// What a string says, whatever is wrong with it: half of a surrogate pair is a character that nobody knows, and what
/// is no escape stands for itself.
fn unescaped(json: &str) -> Cow<'_, str> {
    let text = json.strip_prefix('"').unwrap_or(json);
    let text = text.strip_suffix('"').unwrap_or(text);
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut left = text;
    while let Some(at) = left.find('\\') {
        let (before, escape) = left.split_at_checked(at).unwrap_or((left, ""));
        plain.push_str(before);
        let (c, len) = unescape(escape);
        plain.extend(c);
        left = escape.get(len..).unwrap_or_default();
    }
    plain.push_str(left);
    Cow::Owned(plain)
}

/// What the escape says with which a text begins, and its bytes.
fn unescape(text: &str) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    if let Some(first) = unit(0) {
        let units = [Some(first), unit(6)];
        let c = char::decode_utf16(units.into_iter().flatten()).next().and_then(Result::ok);
        return match c {
            Some(c) => (Some(c), c.len_utf16() * 6),
            None => (Some(char::REPLACEMENT_CHARACTER), 6),
        };
    }
    let c = text.chars().nth(1);
    let len = c.map_or(1, |c| 1 + c.len_utf8());
    let c = c.map(|c| match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        c => c,
    });
    (c, len)
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
            "invalidated",
            "revocation_date",
            "discarded_at",
            "del_flag",
            "accountNonLocked",
            "locked_until",
            "valid_before",
            "sys_period",
            "ip_range",
            "authorizedIPs",
            "customer_ips",
            "bucketACL",
            "scope_list",
            "policies",
            "num_uses",
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
            "period_start",
            "current_period_end",
            "trial_ends_at",
            "rate_limit_enabled",
            "email_verified",
            "lock_version",
            "oracle",
            "model_id",
            "remaining",
            "old_until",
        ] {
            assert!(!looks_like_one(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_was_looked_at_before_says_the_same() {
        // More than there are places, and some that have a place together.
        let names: Vec<String> = (0..2000).map(|n| format!("field{n}")).collect();
        for _ in 0..2 {
            for (name, n) in names.iter().zip(0..) {
                assert!(!looks_like_one(name), "{name}");
                assert!(looks_like_one(&format!("expires{n}")), "{n}");
                assert!(looks_like_one(&format!("{name}_expires")), "{n}");
            }
            assert!(!looks_like_one("") && !looks_like_one(&"a".repeat(31)));
            assert!(!looks_like_one(&"a".repeat(32)) && !looks_like_one(&"a".repeat(300)));
            assert!(looks_like_one(&("a".repeat(31) + "_expires_at")));
        }
    }

    #[test]
    fn the_longest_words_are_found() {
        for (word, says) in [("startdatetime", BEGINNING), ("addressranges", ADDRESSES)] {
            assert_eq!(word.len(), LONGEST_WORD);
            assert_eq!(super::word(word.as_bytes()), says);
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
        for (own, names) in [
            (
                Kept::IsActive,
                &[
                    "paused",
                    "is_expired",
                    "expired",
                    "invalid",
                    "denied",
                    "forbidden",
                    "restricted",
                    "blacklisted",
                    "voided",
                    "retired",
                    "lockout",
                    "is_deleted",
                    "expiresAt",
                    "valid_until",
                    "not_before",
                    "not_valid",
                    "customer_locked",
                    "unauthorized",
                ][..],
            ),
            (
                Kept::ExpiresAt,
                &[
                    "not_before",
                    "valid_from",
                    "nbf",
                    "locked_until",
                    "starts_at",
                    "activated_at",
                    "validAfterTime",
                ],
            ),
            (
                Kept::Scopes,
                &["denied_scopes", "revokedScopes", "not_allowed_scopes", "ip_whitelist"],
            ),
            (Kept::AllowedIps, &["denied_ips", "ip_blacklist", "blocked_ips", "notAllowedIps"]),
        ] {
            for name in names {
                assert!(refuses(own, name), "{own:?} {name}");
            }
        }
        for (own, names) in [
            (
                Kept::IsActive,
                &[
                    "accountNonLocked",
                    "account_non_expired",
                    "unlocked",
                    "not_revoked",
                    "usable",
                    "approved",
                ][..],
            ),
            (
                Kept::ExpiresAt,
                &["valid_before", "not_valid_after", "until", "expired_at", "ends_at", "ttl"],
            ),
            (Kept::Scopes, &["abilities", "oauth_scopes", "allowed", "rights"]),
            (Kept::AllowedIps, &["ip_whitelist", "authorized_ips", "cidrs", "source_ips"]),
        ] {
            for name in names {
                assert!(!refuses(own, name), "{own:?} {name}");
            }
        }
    }

    #[test]
    fn what_says_that_a_key_is_active_does_not_make_it_inactive() {
        for name in [
            "enabled",
            "active",
            "valid",
            "accountNonLocked",
            "isUsable",
            "customer_enabled",
            "activated_at",
        ] {
            assert!(refuse_as_inactive(name).is_some(), "{name}");
        }
        for name in [
            "revoked",
            "disabled_at",
            "inactive",
            "not_active",
            "is_revoked",
            "deactivated",
            "blocked",
            "expired",
            "status",
        ] {
            assert!(refuse_as_inactive(name).is_none(), "{name}");
        }
    }

    #[test]
    fn an_error_gives_advice_that_can_be_followed() {
        for (name, advice) in [
            ("expiresAt", "map it"),
            ("status", "map it"),
            ("scope", "map it"),
            ("is_expired", "map it"),
            ("is_revoked", "inactive-fields"),
            ("not_before", "query"),
            ("locked_until", "query"),
            ("denied_ips", "query"),
            ("policies", "query"),
        ] {
            assert!(remedy(name).contains(advice), "{name}: {}", remedy(name));
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
            (r#""{\u0022expires_at\u0022:1,\u0022x\u0022:\u0022\ud800\u0022}""#, "expires_at"),
            (r#""{\"e\\u0078pires_at\":1,\"x\":\"\ud800\"}""#, "expires_at"),
            (r#"{"exp\ud800ires_at":1}"#, "exp\u{fffd}ires_at"),
            (r#"{"\ud83d\ude00ttl":1}"#, "\u{1f600}ttl"),
            (r#""5\" wide {\"expires_at\":1}""#, "expires_at"),
            (r#""a \"x\\\" {\"expires_at\":1}""#, "expires_at"),
            (r#"[{"key":"expires_at","value":1}]"#, "expires_at"),
            (r#""[{\"value\":1, \"Name\" : \"revoked\"}]""#, "revoked"),
            (r#""\"expires_at\"=>\"2020\"""#, "expires_at"),
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
            r#"[{"name":"revoked"}]"#,
            r#"[{"key":"plan","value":"active"}]"#,
        ] {
            assert_eq!(first_in(value), None, "{value}");
        }
    }
}
