//! Digests of secrets: SHA-256 of a secret's bytes, or any 32 bytes that the caller computed alike.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// Bytes in a digest.
pub const DIGEST_BYTES: usize = 32;

/// A digest as it is stored and compared.
pub type Digest = [u8; DIGEST_BYTES];

/// A digest that a record accepts, and until when: that of an old secret ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub digest: Digest,
    /// Epoch milliseconds, from which on it is no longer accepted; [`NEVER`] where it does not end.
    pub until: i64,
}

/// A time that does not come.
pub const NEVER: i64 = i64::MAX;

impl From<Digest> for Accepted {
    /// One that does not end.
    fn from(digest: Digest) -> Self {
        Self { digest, until: NEVER }
    }
}

/// The most bytes that a secret may have; the least is 1.
pub const MAX_SECRET_BYTES: usize = 1024;

/// SHA-256 of the secret's bytes.
pub fn of_secret(secret: &[u8]) -> Digest {
    Sha256::digest(secret).into()
}

/// What [`from_text`] reads, for errors.
pub const FORMS: &str = "64 hex digits, \\x and those, or base64 of 32 bytes";

/// Reads a digest as databases write one: in hex, of either case, as `bytea` has it too (`\x..`), in base64 or in
/// base64url, with its `=` or without.
pub fn from_text(text: &[u8]) -> Option<Digest> {
    const HEX: usize = 2 * DIGEST_BYTES;
    match text {
        [b'\\', b'x', hex @ ..] => from_hex(hex),
        hex if hex.len() == HEX => from_hex(hex),
        _ => from_base64(text.strip_suffix(b"=").unwrap_or(text)),
    }
}

fn from_base64(text: &[u8]) -> Option<Digest> {
    // What decodes into the digest alone: of each 43 characters that say the same one is taken.
    let mut digest = [0; DIGEST_BYTES];
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD]
        .iter()
        .any(|base64| base64.decode_slice(text, &mut digest) == Ok(DIGEST_BYTES))
        .then_some(digest)
}

/// Reads 64 hex digits of either case.
fn from_hex(text: &[u8]) -> Option<Digest> {
    // The crate would take 0x before them.
    if text.len() != 2 * DIGEST_BYTES {
        return None;
    }
    const_hex::decode_to_array(text).ok()
}

/// 64 lower-case hex digits.
pub fn to_hex(digest: &[u8]) -> Vec<u8> {
    let mut text = vec![0; digest.len() * 2];
    // The buffer has the right length, so that this can't fail.
    let _ = const_hex::encode_to_slice(digest, &mut text);
    text
}

/// Whether the presented digest is one of those stored, in a time that does not depend on where
/// they differ nor on which of them matches. `stored` is a run of whole digests.
pub fn is_one_of(presented: &Digest, stored: &[u8]) -> bool {
    let mut found = subtle::Choice::from(0);
    for digest in stored.as_chunks::<DIGEST_BYTES>().0 {
        found |= difference(digest, presented).ct_eq(&0);
    }
    found.into()
}

/// The latest end of those stored digests that the presented one is; `None` where it is none of them. The time that it takes
/// depends on neither. `ends` has as many as `stored` has digests, each in eight bytes with the lower first.
pub fn end_of(presented: &Digest, stored: &[u8], ends: &[u8]) -> Option<i64> {
    let (digests, ends) = (stored.as_chunks::<DIGEST_BYTES>().0, ends.as_chunks::<END_BYTES>().0);
    let mut found = subtle::Choice::from(0);
    let mut latest = i64::MIN;
    for (digest, end) in digests.iter().zip(ends) {
        let is_it = difference(digest, presented).ct_eq(&0);
        let end = i64::conditional_select(&i64::MIN, &i64::from_le_bytes(*end), is_it);
        found |= is_it;
        latest = latest.max(end);
    }
    bool::from(found).then_some(latest)
}

/// Bytes of an end, as it is stored.
pub const END_BYTES: usize = size_of::<i64>();

/// 0 where both are equal; eight bytes at a time, whatever they are.
fn difference(one: &Digest, other: &Digest) -> u64 {
    let (one, other) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    one.iter().zip(other).fold(0, |difference, (one, other)| {
        difference | (u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_secret_is_its_sha_256() {
        assert_eq!(
            to_hex(&of_secret(b"abc")),
            b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn hex_is_read_in_either_case_and_only_in_full_length() {
        let text = "aB".repeat(32);
        assert_eq!(from_hex(text.as_bytes()), Some([0xab; 32]));
        assert_eq!(from_hex(&text.as_bytes()[..62]), None);
        assert_eq!(from_hex("zz".repeat(32).as_bytes()), None);
        assert_eq!(from_hex(b""), None);
        assert_eq!(from_hex(format!("0x{text}").as_bytes()), None);
        assert_eq!(from_hex(format!("0x{}", &text[2..]).as_bytes()), None);
    }

    #[test]
    fn digests_are_read_as_databases_write_them() {
        // 0xfb.. has characters of both alphabets.
        let bytes = [0xfb; 32];
        let hex = "fb".repeat(32);
        let plain = "+/v7".repeat(10) + "+/s";
        let url = plain.replace('+', "-").replace('/', "_");
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            format!("\\x{hex}"),
            plain.clone(),
            format!("{plain}="),
            url.clone(),
            format!("{url}="),
        ] {
            assert_eq!(from_text(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in [
            String::new(),
            "=".into(),
            format!("\\x{}", &hex[2..]),
            format!("\\x{plain}"),
            format!("{plain}=="),
            format!("{plain}A"),
            plain.replace("+/s", "+/t"),
            plain[1..].into(),
            url.replacen('-', "+", 1),
            format!(" {hex}"),
        ] {
            assert_eq!(from_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_digest_matches_any_of_those_stored() {
        let stored = [[1; 32], [2; 32]].concat();
        assert!(is_one_of(&[1; 32], &stored));
        assert!(is_one_of(&[2; 32], &stored));
        assert!(!is_one_of(&[3; 32], &stored));
        assert!(!is_one_of(&[1; 32], &[]));
    }

    #[test]
    fn a_digest_ends_with_the_latest_of_those_that_it_is() {
        let stored = [[1; 32], [2; 32]].concat();
        let ends = |one: i64, other: i64| [one.to_le_bytes(), other.to_le_bytes()].concat();
        assert_eq!(end_of(&[1; 32], &stored, &ends(7, NEVER)), Some(7));
        assert_eq!(end_of(&[2; 32], &stored, &ends(7, NEVER)), Some(NEVER));
        assert_eq!(end_of(&[3; 32], &stored, &ends(7, NEVER)), None);
        assert_eq!(end_of(&[2; 32], &stored, &ends(7, i64::MIN)), Some(i64::MIN));
        assert_eq!(end_of(&[1; 32], &[[1; 32]; 2].concat(), &ends(7, 8)), Some(8));
        assert_eq!(end_of(&[1; 32], &[[1; 32]; 2].concat(), &ends(8, 7)), Some(8));
        assert_eq!(end_of(&[1; 32], &[], &[]), None);
    }
}
