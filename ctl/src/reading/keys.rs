//! Keys of a type, by SCAN.

use anyhow::Result;

use crate::connect::Link;

/// Keys that one call looks at.
pub const STEP: usize = 500;

/// The types of the keys that hold entries.
pub const ENTRIES: [&str; 4] = ["apikeyrec", "apikeyscp", "apikeylst", CACHED];

/// The type of those that hold values of regions.
pub const CACHED: &str = "cache-val";

/// The type of the keys that hold counts.
pub const COUNTER: &str = "apikeyuse";

/// Shows `each` the keys of a type in the selected database, some at a time, the same link with them. A key that comes
/// or goes meanwhile may be there or not, and one may be twice.
pub fn walk(
    link: &mut Link,
    of_type: &str,
    mut each: impl FnMut(&mut Link, &[Vec<u8>]) -> Result<()>,
) -> Result<()> {
    let mut cursor = b"0".to_vec();
    loop {
        let mut command = redis::cmd("SCAN");
        command.arg(&cursor).arg("COUNT").arg(STEP).arg("TYPE").arg(of_type);
        let (next, keys): (Vec<u8>, Vec<Vec<u8>>) = link.ask(&command)?;
        each(link, &keys)?;
        if next == b"0" {
            return Ok(());
        }
        cursor = next;
    }
}
