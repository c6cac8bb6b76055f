//! The keys of an RDB, one after the other.
//!
//! ```text
//! REDIS or VALKEY, version | (what stands beside keys | key)* | 255 | CRC64
//! ```

use std::io::{self, Read};

use super::reader::{bad, Reader};
use super::value::{self, MODULE};

/// What stands between keys.
const SLOT_INFO: u8 = 244;
const FUNCTION: u8 = 245;
const MODULE_AUX: u8 = 247;
const IDLE: u8 = 248;
const FREQUENCY: u8 = 249;
const AUX: u8 = 250;
const RESIZE: u8 = 251;
const EXPIRES_MS: u8 = 252;
const EXPIRES: u8 = 253;
const SELECT: u8 = 254;
const END: u8 = 255;

/// A key with its value.
pub struct Item {
    /// Of the file's format.
    pub version: u16,
    pub database: u32,
    pub key: Vec<u8>,
    /// Epoch milliseconds.
    pub expires: Option<i64>,
    pub of_type: u8,
    /// As it stands behind its key.
    pub value: Vec<u8>,
    /// Whose it is, where it is a module's.
    pub module: Option<Module>,
}

/// The type of a module's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    pub id: u64,
    /// Nine letters.
    pub name: String,
    pub encoding: u16,
}

impl Module {
    fn of(id: u64) -> Self {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let letter = |nth: u32| {
            let letter = LETTERS.get((id >> (58 - 6 * nth) & 63) as usize);
            char::from(letter.copied().unwrap_or(b'?'))
        };
        Self { id, name: (0..9).map(letter).collect(), encoding: (id & 0x3ff) as u16 }
    }
}

pub struct Items<R> {
    reader: Reader<R>,
    version: u16,
    database: u32,
    functions: u64,
}

impl<R: Read> Items<R> {
    /// Reads what a file begins with.
    pub fn begin(from: R) -> io::Result<Self> {
        let mut reader = Reader::new(from);
        let head: [u8; 9] = reader.array()?;
        let digits = head.strip_prefix(b"REDIS").or_else(|| head.strip_prefix(b"VALKEY"));
        let version = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let version = version.ok_or_else(|| bad("it does not begin as an RDB does"))?;
        Ok(Self { reader, version, database: 0, functions: 0 })
    }

    /// Libraries of functions that were passed by.
    pub fn functions(&self) -> u64 {
        self.functions
    }

    /// How many bytes were read.
    pub fn at(&self) -> u64 {
        self.reader.at()
    }

    /// The next key; none at the end.
    pub fn next(&mut self) -> io::Result<Option<Item>> {
        let mut expires = None;
        loop {
            self.reader.kept();
            match self.reader.byte()? {
                END => return self.end().map(|()| None),
                SELECT => {
                    let database = self.reader.length()?;
                    self.database =
                        u32::try_from(database).map_err(|_| bad("a database beyond all"))?;
                }
                EXPIRES_MS => expires = Some(self.reader.array().map(i64::from_le_bytes)?),
                EXPIRES => {
                    let seconds = self.reader.array().map(i32::from_le_bytes)?;
                    expires = Some(i64::from(seconds).saturating_mul(1000));
                }
                IDLE => self.reader.length().map(|_| ())?,
                FREQUENCY => self.reader.byte().map(|_| ())?,
                AUX => {
                    self.reader.skip_string()?;
                    self.reader.skip_string()?;
                }
                RESIZE => {
                    self.reader.length()?;
                    self.reader.length()?;
                }
                SLOT_INFO => {
                    self.reader.length()?;
                    self.reader.length()?;
                    self.reader.length()?;
                }
                FUNCTION => {
                    self.functions += 1;
                    self.reader.skip_string()?;
                }
                MODULE_AUX => {
                    self.reader.length()?;
                    value::parts(&mut self.reader)?;
                }
                of_type => return self.item(of_type, expires).map(Some),
            }
        }
    }

    /// Nothing stands behind the checksum.
    fn end(&mut self) -> io::Result<()> {
        self.reader.take(8)?;
        match self.reader.byte() {
            Ok(_) => Err(bad("something stands behind its end")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn item(&mut self, of_type: u8, expires: Option<i64>) -> io::Result<Item> {
        let key = self.reader.string()?;
        self.reader.kept();
        value::skip(&mut self.reader, of_type)?;
        let value = self.reader.kept();
        let module = match of_type {
            MODULE => Some(Module::of(Reader::new(value.as_slice()).length()?)),
            _ => None,
        };
        let (version, database) = (self.version, self.database);
        Ok(Item { version, database, key, expires, of_type, value, module })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_file_are_found() {
        let file = [
            &b"REDIS0010\xfa\x03ver\x057.0.1\xfe\x02\xfb\x02\x01"[..],
            b"\xf5\x03lib\xf9\x07\xfc\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01a\x03abc",
            b"\xfe\x03\xf8\x05\x04\x01b\x01\x01f\x01v\xff\x00\x00\x00\x00\x00\x00\x00\x00",
        ]
        .concat();
        let mut items = Items::begin(file.as_slice()).expect("an RDB");
        let first = items.next().expect("read").expect("a key");
        assert_eq!((first.database, first.key, first.expires), (2, b"a".to_vec(), Some(1)));
        assert_eq!((first.of_type, first.value), (0, b"\x03abc".to_vec()));
        let second = items.next().expect("read").expect("a key");
        assert_eq!((second.database, second.key, second.expires), (3, b"b".to_vec(), None));
        assert_eq!((second.of_type, second.value), (4, b"\x01\x01f\x01v".to_vec()));
        assert!(items.next().expect("read").is_none());
        assert_eq!((second.version, items.functions(), items.at()), (10, 1, file.len() as u64));
        for len in 0..file.len() {
            let all = Items::begin(&file[..len]).and_then(|mut items| {
                while items.next()?.is_some() {}
                Ok(())
            });
            assert!(all.is_err(), "{len}");
        }
        assert!(Items::begin(&b"NOT AN RDB"[..]).is_err());
        assert_eq!(Items::begin(&b"VALKEY080"[..]).expect("an RDB").version, 80);
        let mut more = Items::begin(&b"REDIS0010\xff12345678+"[..]).expect("an RDB");
        assert!(more.next().is_err());
    }

    #[test]
    fn a_type_of_a_module_has_a_name() {
        let number = |letter: u8| match letter {
            b'a'..=b'z' => u64::from(letter - b'a') + 26,
            _ => unreachable!(),
        };
        let id = b"apikeyuse".iter().fold(0, |id, &letter| id << 6 | number(letter)) << 10 | 4;
        assert_eq!(Module::of(id), Module { id, name: "apikeyuse".into(), encoding: 4 });
    }
}
