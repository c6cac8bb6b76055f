//! Patterns of names: which names one matches, as SCAN MATCH has it.
//!
//! `*` stands for any bytes, `?` for one, `[abc]`, `[a-z]` and `[^a]` for one of these or none of these, `\x` for x
//! itself. Bytes are compared, not characters, and case counts. What is not closed is read as the server's
//! stringmatchlen reads it: a bracket ends with the pattern, a backslash at the end is itself.
//!
//! All but `*` stands for exactly one byte, so of several `*` only the last has ever to give way: one point
//! to go back to, and at most as many steps as the lengths multiplied. Who compares says how many steps that may be.
//!
//! Two things are not the server's. Bytes of a range are unsigned on each machine, where the server compares
//! a C `char`. And `**` is `*` for the empty name too, which the server matches with a single `*` alone.

/// Bytes of a pattern.
pub const MAX_PATTERN_BYTES: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any bytes, none too. Never two in a row.
    Any,
    One,
    Byte(u8),
    OneOf(Box<Bytes>),
}

impl Token {
    /// Whether it stands for this byte. [`Token::Any`] does for none by itself.
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Byte(its) => *its == byte,
            Self::OneOf(bytes) => bytes.has(byte),
        }
    }
}

/// A set of bytes, a bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes([u128; 2]);

impl Bytes {
    fn has(&self, byte: u8) -> bool {
        let [low, high] = self.0;
        let half = if byte < 128 { low } else { high };
        half & Self::bit(byte) != 0
    }

    fn add(&mut self, byte: u8) {
        let [low, high] = &mut self.0;
        let half = if byte < 128 { low } else { high };
        *half |= Self::bit(byte);
    }

    fn bit(byte: u8) -> u128 {
        1 << (byte % 128)
    }

    fn all_others(&self) -> Self {
        Self(self.0.map(|half| !half))
    }
}

/// See the top of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    /// `None` where it is empty, or longer than [`MAX_PATTERN_BYTES`].
    pub fn new(pattern: &[u8]) -> Option<Self> {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
            return None;
        }
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let [first, after @ ..] = rest {
            rest = after;
            let token = match (first, after) {
                (b'*', _) => Token::Any,
                (b'?', _) => Token::One,
                (b'[', _) => {
                    let bytes;
                    (bytes, rest) = bracket(after);
                    Token::OneOf(Box::new(bytes))
                }
                (b'\\', [escaped, after @ ..]) => {
                    rest = after;
                    Token::Byte(*escaped)
                }
                (byte, _) => Token::Byte(*byte),
            };
            if token != Token::Any || tokens.last() != Some(&Token::Any) {
                tokens.push(token);
            }
        }
        Some(Self { tokens })
    }

    /// Whether a name matches; `None` where that takes more than so many steps, from which those taken go off.
    pub fn matches(&self, name: &[u8], steps: &mut usize) -> Option<bool> {
        let mut tokens = self.tokens.as_slice();
        let mut left = name;
        // What follows the last `*`, and what of the name is left if that `*` takes one byte more.
        let mut back: Option<(&[Token], &[u8])> = None;
        loop {
            *steps = steps.checked_sub(1)?;
            match (tokens, left) {
                ([], []) => return Some(true),
                ([Token::Any, after @ ..], _) => {
                    if after.is_empty() {
                        return Some(true);
                    }
                    tokens = after;
                    back = left.split_first().map(|(_, shorter)| (after, shorter));
                    continue;
                }
                ([token, after @ ..], [byte, shorter @ ..]) if token.takes(*byte) => {
                    (tokens, left) = (after, shorter);
                    continue;
                }
                // Bytes are missing, and no other way leaves more of them.
                (_, []) => return Some(false),
                _ => {}
            }
            let Some((after, from)) = back else { return Some(false) };
            (tokens, left) = (after, from);
            back = from.split_first().map(|(_, shorter)| (after, shorter));
        }
    }

    /// The bytes with which each name begins that it matches: what stands before the first special character.
    pub fn literal_prefix(&self) -> Vec<u8> {
        let bytes = self.tokens.iter().map_while(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        });
        bytes.collect()
    }
}

/// Reads a bracket from behind its `[`, and returns what follows it.
fn bracket(mut rest: &[u8]) -> (Bytes, &[u8]) {
    let mut bytes = Bytes::default();
    let mut is_negated = false;
    if let [b'^', after @ ..] = rest {
        is_negated = true;
        rest = after;
    }
    loop {
        match rest {
            [] => break,
            [b'\\', escaped, after @ ..] => {
                bytes.add(*escaped);
                rest = after;
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [one, b'-', other, after @ ..] => {
                for byte in *one.min(other)..=*one.max(other) {
                    bytes.add(byte);
                }
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.add(*byte);
                rest = after;
            }
        }
    }
    (if is_negated { bytes.all_others() } else { bytes }, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &Pattern, name: &[u8]) -> bool {
        pattern.matches(name, &mut usize::MAX.clone()).unwrap()
    }

    fn matches(pattern: &str, name: &str) -> bool {
        fits(&Pattern::new(pattern.as_bytes()).unwrap(), name.as_bytes())
    }

    #[test]
    fn a_pattern_matches_what_the_table_says() {
        for (pattern, yes, no) in [
            ("abc", &["abc"][..], &["", "ab", "abcd", "ABC"][..]),
            ("*", &["", "a", "abc"], &[]),
            ("**", &["", "a", "abc"], &[]),
            ("?", &["a"], &["", "ab"]),
            ("a*", &["a", "ab", "abc"], &["", "ba"]),
            ("*a", &["a", "ba", "aaa"], &["", "ab"]),
            ("a*b*c", &["abc", "axxbxxc", "abcbc"], &["ab", "acb", "abcx"]),
            ("*a?", &["ab", "aab", "aaaa"], &["a", "baab "]),
            ("h[ae]llo", &["hallo", "hello"], &["hillo", "hllo"]),
            ("h[^e]llo", &["hallo", "h^llo"], &["hello", "hllo"]),
            ("[a-c]", &["a", "b", "c"], &["d", "-", ""]),
            ("[c-a]", &["a", "b", "c"], &["d", "-"]),
            (r"\*", &["*"], &["a", r"\*"]),
            (r"a\bc", &["abc"], &[r"a\bc"]),
            (r"[\]a]", &["]", "a"], &["\\", "]]"]),
            (r"[\a-z]", &["a", "-", "z"], &["b"]),
            // Not closed, empty, and what looks like a range and is none.
            (r"a\", &[r"a\"], &["a"]),
            ("[", &[], &["", "["]),
            ("[^", &["a", "^", "["], &["", "ab"]),
            ("[ab", &["a", "b"], &["ab", "["]),
            (r"[\", &["\\"], &["["]),
            ("[]", &[], &["", "[]", "]"]),
            ("[]a]", &[], &["a", "]", "a]"]),
            ("[^]", &["a", "]"], &["", "[^]"]),
            ("[^]a]", &["xa]"], &["b"]),
            ("[a-", &["a", "-"], &["b"]),
            // The range from `a` to `]`, not closed.
            ("[a-]", &["a", "]", "^", "_", "`"], &["-", "b", "a]"]),
            (r"[a-\]]", &["a]", r"\]", "^]"], &["a", "]"]),
            ("[-a]", &["-", "a"], &["b"]),
            ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} does not match {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} matches {name}");
            }
        }
        let bytes = Pattern::new(b"[\x80-\xff]").unwrap();
        assert!(fits(&bytes, b"\xc3") && !fits(&bytes, "ä".as_bytes()) && !fits(&bytes, b"a"));
    }

    #[test]
    fn a_pattern_has_1_to_512_bytes() {
        assert_eq!(Pattern::new(b""), None);
        assert_eq!(Pattern::new(&[b'a'; 513]), None);
        assert!(fits(&Pattern::new(&[b'a'; 512]).unwrap(), &[b'a'; 512]));
    }

    #[test]
    fn the_literal_prefix_ends_at_the_first_special_character() {
        for (pattern, prefix) in [
            ("abc", "abc"),
            ("ab*c", "ab"),
            ("*", ""),
            ("a?", "a"),
            (r"a\*b[c]", "a*b"),
            (r"a\", r"a\"),
        ] {
            let pattern = Pattern::new(pattern.as_bytes()).unwrap();
            assert_eq!(pattern.literal_prefix(), prefix.as_bytes());
        }
    }

    /// Where going back to each `*` takes time that grows exponentially.
    #[test]
    fn many_stars_take_no_long_time() {
        let pattern = "a*".repeat(255) + "b";
        let start = std::time::Instant::now();
        assert!(!matches(&pattern, &"a".repeat(100_000)));
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn it_takes_no_more_steps_than_it_may() {
        let pattern = Pattern::new(b"*aab").unwrap();
        for (name, steps, answer, left) in [
            ("aab", 5, Some(true), 0),
            ("aab", 4, None, 0),
            ("aaaab", 100, Some(true), 89),
            ("aac", 100, Some(false), 92),
            ("aac", 6, None, 0),
        ] {
            let mut may = steps;
            assert_eq!((pattern.matches(name.as_bytes(), &mut may), may), (answer, left), "{name}");
        }
    }

    /// The definition, by recursion, read from the pattern's bytes as they stand.
    fn defined(pattern: &[u8], name: &[u8]) -> bool {
        let Some((&first, after)) = pattern.split_first() else { return name.is_empty() };
        if first == b'*' {
            return (0..=name.len()).any(|taken| defined(after, &name[taken..]));
        }
        let Some((&byte, shorter)) = name.split_first() else { return false };
        let (takes, used) = match first {
            b'?' => (true, 1),
            b'\\' if pattern.len() > 1 => (pattern[1] == byte, 2),
            b'[' => {
                let is_negated = after.first() == Some(&b'^');
                let mut at = 1 + usize::from(is_negated);
                let mut takes = false;
                while at < pattern.len() && pattern[at] != b']' {
                    let left = pattern.len() - at;
                    if pattern[at] == b'\\' && left >= 2 {
                        takes |= pattern[at + 1] == byte;
                        at += 2;
                    } else if left >= 3 && pattern[at + 1] == b'-' {
                        let (one, other) = (pattern[at], pattern[at + 2]);
                        takes |= (one <= byte && byte <= other) || (other <= byte && byte <= one);
                        at += 3;
                    } else {
                        takes |= pattern[at] == byte;
                        at += 1;
                    }
                }
                (takes != is_negated, (at + 1).min(pattern.len()))
            }
            literal => (literal == byte, 1),
        };
        takes && defined(&pattern[used..], shorter)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn any_pattern_matches_what_the_definition_says(
            pattern in r"[ab*?\[\]\^\\-]{1,10}",
            name in r"[ab*?\[\]\^\\-]{0,6}",
        ) {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            let glob = Pattern::new(pattern).unwrap();
            prop_assert_eq!(fits(&glob, name), defined(pattern, name));
            prop_assert!(!fits(&glob, name) || name.starts_with(&glob.literal_prefix()));
        }

        #[test]
        fn any_bytes_do(pattern: Vec<u8>, name: Vec<u8>) {
            if let Some(glob) = Pattern::new(&pattern) {
                prop_assert_eq!(fits(&glob, &name), defined(&pattern, &name));
            }
        }
    }
}
