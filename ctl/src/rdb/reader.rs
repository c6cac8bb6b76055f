//! Lengths and strings, as the server writes them. What was read of a value is kept, so that it can be passed on.

use std::io::{self, Read};

/// The most bytes of a string that is looked into: a key, or a value of the module's.
const MAX_BYTES: usize = 64 << 20;

/// What stands in the place of a length where a string is no plain one.
const INT_8: u8 = 0xc0;
const INT_16: u8 = 0xc1;
const INT_32: u8 = 0xc2;
const COMPRESSED: u8 = 0xc3;

pub struct Reader<R> {
    from: R,
    kept: Vec<u8>,
    /// How many bytes were read.
    at: u64,
}

/// The bytes are not what they should be.
pub fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: Read> Reader<R> {
    pub fn new(from: R) -> Self {
        Self { from, kept: Vec::new(), at: 0 }
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    /// What was read since it was called last.
    pub fn kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    /// Reads so many bytes.
    pub fn take(&mut self, len: u64) -> io::Result<&[u8]> {
        let begin = self.kept.len();
        let read = (&mut self.from).take(len).read_to_end(&mut self.kept)? as u64;
        self.at += read;
        if read < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.kept.get(begin..).unwrap_or_default())
    }

    pub fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N as u64)?.try_into().map_err(|_| bad("too few bytes"))
    }

    pub fn byte(&mut self) -> io::Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn length(&mut self) -> io::Result<u64> {
        let first = self.byte()?;
        self.length_after(first)
    }

    /// The two first bits say how long the number is.
    fn length_after(&mut self, first: u8) -> io::Result<u64> {
        match (first >> 6, first) {
            (0, _) => Ok(u64::from(first & 63)),
            (1, _) => Ok(u64::from(first & 63) << 8 | u64::from(self.byte()?)),
            (2, 0x80) => self.array().map(u32::from_be_bytes).map(u64::from),
            (2, 0x81) => self.array().map(u64::from_be_bytes),
            _ => Err(bad("a length of a form that is not known")),
        }
    }

    /// A string that nobody looks into.
    pub fn skip_string(&mut self) -> io::Result<()> {
        let len = match self.byte()? {
            INT_8 => 1,
            INT_16 => 2,
            INT_32 => 4,
            COMPRESSED => {
                let len = self.length()?;
                self.length()?;
                len
            }
            first => self.length_after(first)?,
        };
        self.take(len).map(|_| ())
    }

    pub fn string(&mut self) -> io::Result<Vec<u8>> {
        match self.byte()? {
            INT_8 => self.array().map(|bytes| i8::from_le_bytes(bytes).to_string().into()),
            INT_16 => self.array().map(|bytes| i16::from_le_bytes(bytes).to_string().into()),
            INT_32 => self.array().map(|bytes| i32::from_le_bytes(bytes).to_string().into()),
            COMPRESSED => {
                let (compressed, len) = (self.length()?, self.length()?);
                let len = usize::try_from(len).ok().filter(|&len| len <= MAX_BYTES);
                let len = len.ok_or_else(|| bad("a string that is too long"))?;
                let bytes = lzf::decompress(self.take(compressed)?, len).ok();
                bytes
                    .filter(|bytes| bytes.len() == len)
                    .ok_or_else(|| bad("a string that is compressed wrongly"))
            }
            first => {
                let len = self.length_after(first)?;
                if len > MAX_BYTES as u64 {
                    return Err(bad("a string that is too long"));
                }
                self.take(len).map(<[u8]>::to_vec)
            }
        }
    }
}

/// A number, as the server writes lengths; the longest form will do for any.
pub fn length(number: u64) -> Vec<u8> {
    match u8::try_from(number) {
        Ok(short @ 0..64) => vec![short],
        _ => [&[0x81][..], &number.to_be_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader::new(bytes);
        let string = reader.string().ok()?;
        let mut skipping = Reader::new(bytes);
        skipping.skip_string().expect("it is one");
        assert_eq!((skipping.at(), skipping.kept()), (reader.at(), reader.kept()));
        Some(string)
    }

    #[test]
    fn a_string_is_read_in_each_form() {
        let long = vec![b'x'; 300];
        let small = lzf::compress(&long).expect("compressed");
        let len = u8::try_from(small.len()).expect("short");
        for (bytes, expected) in [
            (b"\x03abc".to_vec(), b"abc".to_vec()),
            ([&[0x41, 0x2c][..], &long].concat(), long.clone()),
            ([&[0x80, 0, 0, 1, 0x2c][..], &long].concat(), long.clone()),
            ([&[0x81, 0, 0, 0, 0, 0, 0, 1, 0x2c][..], &long].concat(), long.clone()),
            ([&[0xc3, len, 0x41, 0x2c][..], &small].concat(), long.clone()),
            (b"\xc0\xff".to_vec(), b"-1".to_vec()),
            (b"\xc1\x00\x01".to_vec(), b"256".to_vec()),
            (b"\xc2\x00\x00\x01\x00".to_vec(), b"65536".to_vec()),
            (b"\x00".to_vec(), Vec::new()),
        ] {
            assert_eq!(string(&bytes), Some(expected), "{bytes:?}");
        }
        for bytes in [&b"\x03ab"[..], b"", b"\xc4", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff1"] {
            assert_eq!(Reader::new(bytes).string().ok(), None, "{bytes:?}");
        }
        let wrong = b"\xc3\x05\x41\x2c\x01\x02\x03\x04\x05";
        assert!(Reader::new(&wrong[..]).string().is_err());
    }

    #[test]
    fn a_length_is_read_as_it_is_written() {
        for number in [0, 63, 64, 16_384, u64::MAX] {
            assert_eq!(Reader::new(length(number).as_slice()).length().ok(), Some(number));
        }
    }
}
