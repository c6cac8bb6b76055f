//! The slots of a cluster: which one a key has, and which ones a node says it has.

use std::ops::RangeInclusive;

use crc::{Crc, CRC_16_XMODEM};

pub const SLOTS: u16 = 16_384;
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key: of what its first braces hold, where they hold anything.
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let behind = key.get(open + 1..)?;
        let len = behind.iter().position(|&byte| byte == b'}')?;
        behind.get(..len).filter(|tag| !tag.is_empty())
    });
    CRC.checksum(tag.unwrap_or(key)) % SLOTS
}

/// What CLUSTER NODES has at the end of a line: `0-5460` or `5461`. A slot that moves (`[93->-id]`) is none.
pub fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CLUSTER KEYSLOT says.
    #[test]
    fn a_key_has_the_slot_that_the_server_gives_it() {
        for (key, expected) in [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("apikey:{foo}:scopes", 12182),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn ranges_are_read_as_nodes_say_them() {
        assert_eq!(range("0-5460"), Some(0..=5460));
        assert_eq!(range("5461"), Some(5461..=5461));
        for text in ["", "[93->-abc]", "7-", "9-8", "0-16384"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
