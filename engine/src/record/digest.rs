//! Digests of secrets: SHA-256 of a secret's bytes, or any 32 bytes that the caller computed alike.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// Bytes in a digest.
pub const DIGEST_BYTES: usize = 32;

/// A digest as it is stored and compared.
pub type Digest = [u8; DIGEST_BYTES];

/// The most bytes that a secret may have; the least is 1.
pub const MAX_SECRET_BYTES: usize = 1024;

/// SHA-256 of the secret's bytes.
pub fn of_secret(secret: &[u8]) -> Digest {
    Sha256::digest(secret).into()
}

/// Reads 64 hex digits of either case.
pub fn from_hex(text: &[u8]) -> Option<Digest> {
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
    fn a_digest_matches_any_of_those_stored() {
        let stored = [[1; 32], [2; 32]].concat();
        assert!(is_one_of(&[1; 32], &stored));
        assert!(is_one_of(&[2; 32], &stored));
        assert!(!is_one_of(&[3; 32], &stored));
        assert!(!is_one_of(&[1; 32], &[]));
    }
}
