//! Ids of batches and of their lines.
//!
//! A batch and a line have ids of one sequence: 80 bits that are drawn at random for each run of
//! a node (its start, and each change of its role), then 48 that count. So no id is ever given twice,
//! on any node. The id of a batch that a line has [for itself](Id::batch_of_line) is made of the line's.
//! None is zero.

use crate::entry::tag_names::MAX_TAG_BYTES;
use crate::tags::fingerprint::{Fingerprint, Fingerprints};
use sha2::{Digest, Sha256};

/// The id of a batch or of a line; written as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u128);

impl Id {
    /// `None` for zero, which is no id.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let number = u128::from_be_bytes(bytes);
        (number != 0).then_some(Self(number))
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads 32 hex digits; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The decoder takes a prefix 0x as well.
        (text.len() == 32).then_some(())?;
        Self::from_bytes(const_hex::decode_to_array(text).ok()?)
    }

    pub fn to_hex(self) -> String {
        const_hex::encode(self.to_bytes())
    }

    /// The batch that a line of this id has for itself: the same on every node, and one that no node draws. It
    /// stands in RDBs and in what consumers hold, so that it never changes how it is made.
    pub fn batch_of_line(self) -> Self {
        let hash =
            Sha256::new().chain_update(b"apikey:batch-of-line:").chain_update(self.to_bytes());
        let number =
            hash.finalize().iter().take(16).fold(0, |bits, &byte| bits << 8 | u128::from(byte));
        Self(number.max(1))
    }

    /// Stands for the batch in the index. Its name is longer than a tag may be, so that none has it.
    pub fn fingerprint(self, of: &Fingerprints) -> Fingerprint {
        let mut name = [0; MAX_TAG_BYTES + 16];
        if let Some(head) = name.first_chunk_mut() {
            *head = self.to_bytes();
        }
        of.of(&name)
    }
}

/// Gives ids out.
#[derive(Clone, Debug)]
pub struct Ids {
    run: u128,
    given: u64,
}

const COUNTED_BITS: u32 = 48;

impl Ids {
    /// `run` has to be random: no other run of any node may have it.
    pub fn new(run: [u8; 10]) -> Self {
        let run = run.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte));
        Self { run: run << COUNTED_BITS, given: 0 }
    }

    /// Whether this run has still to give the id: what has it was not leased, but made up.
    pub fn is_to_come(&self, id: Id) -> bool {
        id.0 >> COUNTED_BITS == self.run >> COUNTED_BITS && id.0 > self.run | u128::from(self.given)
    }

    /// The next id; `None` when this run has given all it has, which takes nine years at a million
    /// a second.
    pub fn draw(&mut self) -> Option<Id> {
        let number = self.given + 1;
        if number >> COUNTED_BITS != 0 {
            return None;
        }
        self.given = number;
        Some(Id(self.run | u128::from(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_batch_for_itself() {
        let line = |text: &str| Id::parse(text.as_bytes()).unwrap();
        let one = line("abababababababababab000000000001");
        // By `printf apikey:batch-of-line: | cat - line | sha256sum`.
        assert_eq!(one.batch_of_line().to_hex(), "ad2a945ef6d7345a71f20b0538647d03");
        assert_ne!(one.batch_of_line(), line("abababababababababab000000000002").batch_of_line());
        assert_ne!(one.batch_of_line(), one.batch_of_line().batch_of_line());
    }

    #[test]
    fn ids_never_repeat_within_a_run_and_are_read_as_they_were_written() {
        let mut ids = Ids::new([0xab; 10]);
        let first = ids.draw().unwrap();
        assert_eq!(first.to_hex(), "abababababababababab000000000001");
        assert_eq!(Id::parse(first.to_hex().as_bytes()), Some(first));
        assert_eq!(Id::parse(first.to_hex().to_uppercase().as_bytes()), Some(first));
        assert_eq!(Id::from_bytes(first.to_bytes()), Some(first));
        assert_eq!(ids.draw().unwrap().to_hex(), "abababababababababab000000000002");
        for (text, to_come) in [
            ("abababababababababab000000000002", false),
            ("abababababababababab000000000003", true),
            ("ababababababababababffffffffffff", true),
            ("abababababababababac000000000003", false),
            ("ffffffffffffffffffff000000000003", false),
            ("00000000000000000000000000000003", false),
        ] {
            assert_eq!(ids.is_to_come(Id::parse(text.as_bytes()).unwrap()), to_come, "{text}");
        }
        for none in ["", "0x", "12", "x", &"g".repeat(32), &"1".repeat(33), &"0".repeat(32)] {
            assert_eq!(Id::parse(none.as_bytes()), None, "{none}");
        }
        let prefixed = format!("0x{}", first.to_hex());
        assert_eq!(Id::parse(prefixed.as_bytes()), None);
        ids.given = (1 << COUNTED_BITS) - 2;
        assert_eq!(ids.draw().unwrap().to_hex(), "ababababababababababffffffffffff");
        assert_eq!(ids.draw(), None);
        assert_eq!(ids.draw(), None);
    }
}
