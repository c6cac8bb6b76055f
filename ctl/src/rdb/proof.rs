//! Whether a file is whole: the checksum that the server has put at its end, and one over all of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};

use crc::{Crc, CRC_64_REDIS};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::reader::bad;

pub const CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// Bytes of the server's checksum.
const SEAL: usize = 8;

/// What a file was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub size: u64,
    pub sha256: String,
    /// Whether the server has put a checksum at the end: not with `rdbchecksum no`.
    pub has_checksum: bool,
}

/// Reads a file from its beginning, and leaves it there. An error: it is not what the server wrote.
pub fn prove(file: &mut File) -> io::Result<Proof> {
    file.rewind()?;
    let mut from = BufReader::with_capacity(1 << 20, &mut *file);
    let (mut hash, mut checksum, mut size) = (Sha256::new(), CRC.digest(), 0);
    // The last bytes that have come are the server's checksum, if it ends there.
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let chunk = from.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        hash.update(chunk);
        let len = chunk.len();
        size += len as u64;
        tail.extend_from_slice(chunk);
        from.consume(len);
        let before = tail.len().saturating_sub(SEAL);
        checksum.update(tail.get(..before).unwrap_or_default());
        tail.drain(..before);
    }
    file.rewind()?;
    let told = tail.try_into().map(u64::from_le_bytes).map_err(|_| bad("it is too short"))?;
    if told != 0 && told != checksum.finalize() {
        return Err(bad("its checksum is wrong: it was cut off, or changed since it was written"));
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Proof { size, sha256, has_checksum: told != 0 })
}
