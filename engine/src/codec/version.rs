//! The version of what one node writes for others: values in an RDB or a DUMP, the words of the stream.
//!
//! There is one number for both, since the RDB of a full resync says by it what the stream behind it will be.
//! Every entry in an RDB carries it, and a primary says it to its replicas
//! (`APIKEY.STREAM`). A node that does not read it refuses the RDB, and takes nothing of such a stream for
//! alive.
//!
//! Counters carry a number of their own ([`COUNTERS`]), which stays as long as their bytes do. So who goes back to the
//! version before takes the counts along, once there are no entries.
//!
//! **When it is raised**: when a node that has the version before would read something wrongly, or would lack
//! something for not knowing a word. A word never changes what it says: another form has another name, so
//! that whoever does not know it never takes it for what it is not.
//!
//! | version | is |
//! | --- | --- |
//! | 1 | the first |
//! | 2 | GONE in the stead of RECLAIMED, SETTLED, and LEASED of several batches |
//! | 3 | records that are judged by their `allowed_ips`, or are nobody's; ids of up to 256 bytes; absent keys with a namespace and a tag of their kind; SETABSENT with NS |
//! | 4 | records whose digests end by themselves, or that carry tags of their own fields |
//! | 5 | values of regions; records with limits, and what was taken from them; REPLACED, SOFTENED, REGIONS and USAGE.CHANGED |

/// What this module writes. The server keeps ten bits of it beside a value.
pub const VERSION: u16 = 5;

/// What counters carry: the version of the time when their bytes became what they are.
pub const COUNTERS: u16 = 1;

/// The oldest that it reads.
pub const OLDEST: u16 = 1;

/// Why a version is not read; `None` where it is.
pub fn unread(version: i64) -> Option<String> {
    why(version, OLDEST, VERSION)
}

fn why(version: i64, oldest: u16, newest: u16) -> Option<String> {
    let order = match version {
        _ if version < oldest.into() => "older",
        _ if version > newest.into() => "newer",
        _ => return None,
    };
    let reads = if oldest == newest { newest.to_string() } else { format!("{oldest} to {newest}") };
    Some(format!("version {version} is {order} than what this module reads ({reads})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_older_or_newer() {
        assert_eq!(unread(VERSION.into()), None);
        assert_eq!(unread(OLDEST.into()), None);
        assert_eq!(unread(COUNTERS.into()), None);
        for version in [2, 3, 4] {
            assert_eq!(why(version, 2, 4), None);
        }
        let said = |version| why(version, 2, 4).unwrap();
        assert_eq!(said(1), "version 1 is older than what this module reads (2 to 4)");
        assert_eq!(said(5), "version 5 is newer than what this module reads (2 to 4)");
        assert_eq!(
            why(i64::MIN, 3, 3).unwrap(),
            format!("version {} is older than what this module reads (3)", i64::MIN)
        );
    }
}
