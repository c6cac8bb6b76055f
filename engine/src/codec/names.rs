//! The argument of `APIKEY.GONE`, in an AOF and in the stream: names of keys, one after the other, each
//! without what it shares with the one before.
//!
//! ```text
//! bytes shared with the beginning of the name before (1 byte) | how many follow (varint: 7 bits each, the lower first, the highest bit set where more come) | these
//! ```

use crate::codec::value::BadBytes;

/// Names that are put together one by one.
#[derive(Debug, Default)]
pub struct PackedNames {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl PackedNames {
    pub fn push(&mut self, name: &[u8]) {
        let both = self.last.iter().zip(name).take(usize::from(u8::MAX));
        let shared = both.take_while(|(before, now)| before == now).count();
        let rest = name.get(shared..).unwrap_or_default();
        self.bytes.push(shared as u8);
        let mut len = rest.len();
        while len >= MORE.into() {
            self.bytes.push(len as u8 | MORE);
            len >>= BITS;
        }
        self.bytes.push(len as u8);
        self.bytes.extend_from_slice(rest);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

const MORE: u8 = 1 << BITS;
const BITS: u32 = 7;

/// The longest varint: a name has at most 512 MiB.
const MAX_VARINT_BYTES: usize = 5;

/// Names that are taken apart one by one.
#[derive(Debug)]
pub struct Names<'a> {
    left: &'a [u8],
    name: Vec<u8>,
}

impl<'a> Names<'a> {
    /// Those that [`PackedNames`] has put together; an error where not all of it can be taken apart.
    pub fn unpack(bytes: &'a [u8]) -> Result<Self, BadBytes> {
        let (mut left, mut before) = (bytes, 0);
        while !left.is_empty() {
            let (shared, rest, behind) = split(left).ok_or(BadBytes("cut off"))?;
            if shared > before {
                return Err(BadBytes("a name shares more than there is"));
            }
            before = shared + rest.len();
            left = behind;
        }
        Ok(Self { left: bytes, name: Vec::new() })
    }

    /// The next one.
    pub fn next_name(&mut self) -> Option<&[u8]> {
        let (shared, rest, behind) = split(self.left)?;
        self.left = behind;
        self.name.truncate(shared);
        self.name.extend_from_slice(rest);
        Some(&self.name)
    }
}

/// What the first name shares, the rest of it, and what is behind it.
fn split(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let (&shared, bytes) = bytes.split_first()?;
    let end = bytes.iter().take(MAX_VARINT_BYTES).position(|&byte| byte & MORE == 0)?;
    let (len, bytes) = bytes.split_at_checked(end + 1)?;
    let len = len.iter().rev().fold(0, |len, &byte| len << BITS | usize::from(byte & !MORE));
    let (rest, behind) = bytes.split_at_checked(len)?;
    Some((shared.into(), rest, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(names: &[Vec<u8>]) -> Vec<u8> {
        let mut packed = PackedNames::default();
        names.iter().for_each(|name| packed.push(name));
        packed.bytes().to_vec()
    }

    fn unpack(bytes: &[u8]) -> Result<Vec<Vec<u8>>, BadBytes> {
        let mut names = Names::unpack(bytes)?;
        Ok(std::iter::from_fn(|| names.next_name().map(<[u8]>::to_vec)).collect())
    }

    #[test]
    fn a_name_is_written_without_what_it_shares_with_the_one_before() {
        let names = [b"apikey:{a}".to_vec(), b"apikey:{b}".to_vec(), b"apikey:{b}:scopes".to_vec()];
        let bytes = b"\x00\x0aapikey:{a}\x08\x02b}\x0a\x07:scopes";
        assert_eq!(pack(&names), bytes);
        assert_eq!(unpack(bytes).unwrap(), names);
        assert_eq!(unpack(b"").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn names_are_empty_and_long_as_well() {
        let long = |end: &[u8]| [vec![0xff; 300], vec![b'x'; 70_000], end.to_vec()].concat();
        let names = [vec![], long(b"a"), long(b"b"), vec![], vec![], vec![0], long(b"")];
        assert_eq!(unpack(&pack(&names)).unwrap(), names);
    }

    #[test]
    fn what_is_malformed_is_an_error() {
        let bytes = pack(&[b"name".to_vec(), vec![b'x'; 200]]);
        for end in (1..bytes.len()).filter(|&end| end != 6) {
            assert_eq!(unpack(&bytes[..end]), Err(BadBytes("cut off")), "{end}");
        }
        let shares = BadBytes("a name shares more than there is");
        assert_eq!(unpack(b"\x01\x00"), Err(shares.clone()));
        assert_eq!(unpack(b"\x00\x01a\x02\x00"), Err(shares));
        assert_eq!(unpack(b"\x00\xff\xff\xff\xff\xff\x00"), Err(BadBytes("cut off")));
        assert_eq!(unpack(b"\x00\xff\xff\xff\xff\x7fx"), Err(BadBytes("cut off")));
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(
            names in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..300), 0..50)
        ) {
            prop_assert_eq!(unpack(&pack(&names)).unwrap(), names);
        }

        #[test]
        fn bytes_from_anyone_are_names_or_an_error(
            bytes in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..100)
        ) {
            if let Ok(names) = unpack(&bytes) {
                prop_assert_eq!(unpack(&pack(&names)).unwrap(), names);
            }
        }
    }
}
