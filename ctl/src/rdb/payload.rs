//! What DUMP gives of a key, and RESTORE takes.
//!
//! ```text
//! type | value | version of the RDB (2 bytes) | CRC64 (8 bytes)
//! ```
//!
//! where a value of a module's is its id, 5, its bytes as a string, and 0.

use super::items::Item;
use super::proof::CRC;
use super::reader::{length, Reader};
use super::value::{BYTES, MODULE};

/// The oldest version of an RDB that a server of ours writes, 6.2: in it a module's value is as it still is.
const OLDEST: u16 = 9;

/// The module's bytes in what DUMP gives; none where it has another form. The checksum is not looked at: the payload
/// came over a connection just now, and the module's decoder checks what is in it.
pub fn bytes_in_dump(payload: &[u8]) -> Option<Vec<u8>> {
    bytes(payload.strip_prefix(&[MODULE])?)
}

/// The module's bytes in a value.
pub fn bytes(value: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(value);
    reader.length().ok()?;
    if reader.length().ok()? != BYTES {
        return None;
    }
    reader.string().ok()
}

/// What RESTORE takes for a key as it is in a file.
pub fn of_item(item: &Item) -> Vec<u8> {
    sealed(item.of_type, &item.value, item.version)
}

/// What RESTORE takes for these bytes of a module's, on every server.
pub fn of_bytes(id: u64, bytes: &[u8]) -> Vec<u8> {
    let value = [&length(id)[..], &length(BYTES), &length(bytes.len() as u64), bytes, &[0]];
    sealed(MODULE, &value.concat(), OLDEST)
}

fn sealed(of_type: u8, value: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [&[of_type][..], value, &version.to_le_bytes()].concat();
    let checksum = CRC.checksum(&payload);
    payload.extend(checksum.to_le_bytes());
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 9] = [0x81, 1, 2, 3, 4, 5, 6, 7, 8];

    fn payload(string: &[u8]) -> Vec<u8> {
        [&[MODULE][..], &ID, &[5], string, &[0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8]].concat()
    }

    #[test]
    fn the_bytes_are_found() {
        assert_eq!(bytes_in_dump(&payload(b"\x03abc")), Some(b"abc".to_vec()));
        let long = vec![b'x'; 300];
        for bytes in [&b"abc"[..], &long, b""] {
            assert_eq!(bytes_in_dump(&of_bytes(0x0102, bytes)).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn anything_else_is_none() {
        let whole = payload(b"\x03abc");
        for len in 0..14 {
            assert_eq!(bytes_in_dump(&whole[..len]), None, "{len}");
        }
        for string in [&b"\xc3\x05\x41\x2c\x01\x02\x03\x04\x05"[..], b"\xc3"] {
            assert_eq!(bytes_in_dump(&payload(string)), None, "{string:?}");
        }
        assert_eq!(bytes_in_dump(b"\x00\x03abc"), None);
    }
}
