//! What DUMP gives of a key of this module's: the module's own bytes, taken out of the server's wrapping.
//!
//! ```text
//! 7 | module id | 5 | the bytes, as a string | 0 | version of the RDB (2 bytes) | CRC64 (8 bytes)
//! ```
//!
//! Numbers are the server's lengths; a string stands there as it is, or compressed by LZF. The checksum is not looked
//! at: the payload came over a connection just now, and the module's decoder checks what is in it.

/// The type of a value of a module's.
const MODULE_2: u8 = 7;

/// What follows in it is a string.
const STRING: u64 = 5;

/// The most bytes that a value may say it has when it is not compressed.
const MAX_BYTES: usize = 64 << 20;

/// The module's bytes; none where the payload has another form.
pub fn bytes(payload: &[u8]) -> Option<Vec<u8>> {
    let mut rest = payload.strip_prefix(&[MODULE_2])?;
    length(&mut rest)?;
    if length(&mut rest)? != STRING {
        return None;
    }
    string(&mut rest)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

/// The two first bits say how long the number is.
fn length(rest: &mut &[u8]) -> Option<u64> {
    let &first = take(rest, 1)?.first()?;
    match (first >> 6, first) {
        (0, _) => Some(u64::from(first & 63)),
        (1, _) => Some(u64::from(first & 63) << 8 | u64::from(*take(rest, 1)?.first()?)),
        (2, 0x80) => Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?).into()),
        (2, 0x81) => Some(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?)),
        _ => None,
    }
}

fn string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    const COMPRESSED: u8 = 0xc3;
    if rest.first() != Some(&COMPRESSED) {
        let len = usize::try_from(length(rest)?).ok()?;
        return take(rest, len).map(<[u8]>::to_vec);
    }
    take(rest, 1)?;
    let compressed = usize::try_from(length(rest)?).ok()?;
    let len = usize::try_from(length(rest)?).ok().filter(|&len| len <= MAX_BYTES)?;
    lzf::decompress(take(rest, compressed)?, len).ok().filter(|bytes| bytes.len() == len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 9] = [0x81, 1, 2, 3, 4, 5, 6, 7, 8];

    fn payload(string: &[u8]) -> Vec<u8> {
        [&[MODULE_2][..], &ID, &[5], string, &[0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8]].concat()
    }

    #[test]
    fn the_bytes_are_found_in_each_form() {
        assert_eq!(bytes(&payload(b"\x03abc")), Some(b"abc".to_vec()));
        let long = vec![b'x'; 300];
        assert_eq!(bytes(&payload(&[&[0x41, 0x2c][..], &long].concat())), Some(long.clone()));
        assert_eq!(
            bytes(&payload(&[&[0x80, 0, 0, 1, 0x2c][..], &long].concat())),
            Some(long.clone())
        );
        let small = lzf::compress(&long).expect("compressed");
        let len = u8::try_from(small.len()).expect("short");
        let string = [&[0xc3, len, 0x41, 0x2c][..], &small].concat();
        assert_eq!(bytes(&payload(&string)), Some(long));
    }

    #[test]
    fn anything_else_is_none() {
        let whole = payload(b"\x03abc");
        for len in 0..14 {
            assert_eq!(bytes(&whole[..len]), None, "{len}");
        }
        for string in [&b"\xc3\x05\x41\x2c\x01\x02\x03\x04\x05"[..], b"\xc0\x07", b"\xc3"] {
            assert_eq!(bytes(&payload(string)), None, "{string:?}");
        }
        assert_eq!(bytes(b"\x00\x03abc"), None);
    }
}
