//! Made-up API keys: number `i` always gives the same name, record, secret and tags, in no order that
//! a table could profit from, and every record is equally long.

use sha2::{Digest, Sha256};

/// Expiry of everything that is stored: none of it may expire in a run.
pub const TTL: &str = "86400";
/// A scope that the second scope of each record grants, by its wildcard.
pub const SCOPE: &str = "orders:write";

/// The API keys of one run.
#[derive(Clone, Copy)]
pub struct Workload {
    users: u64,
}

impl Workload {
    /// `entries` keys; each user has `keys_per_user` of them, far apart.
    pub fn new(entries: u64, keys_per_user: u64) -> Workload {
        Workload { users: (entries / keys_per_user).max(1) }
    }

    /// Where the module keeps the key's record.
    pub fn key(&self, i: u64) -> String {
        format!("apikey:{{ak_live_{}}}", prefix(i))
    }

    /// Where an application keeps it today on a server that has both; as long as [`Workload::key`].
    pub fn string_key(&self, i: u64) -> String {
        format!("string:{{ak_live_{}}}", prefix(i))
    }

    /// Where the floor's module keeps the same bytes; as long as the others.
    pub fn floor_key(&self, i: u64) -> String {
        format!("native:{{ak_live_{}}}", prefix(i))
    }

    /// Where a script keeps what it verifies; as long as the others.
    pub fn script_key(&self, i: u64) -> String {
        format!("script:{{ak_live_{}}}", prefix(i))
    }

    /// Where the module keeps a record with so many limits, of one digit; as long as the others.
    pub fn limited_key(&self, i: u64, limits: usize) -> String {
        format!("limit{limits}:{{ak_live_{}}}", prefix(i))
    }

    /// The usage counter that belongs to a key of any kind.
    pub fn usage_key(key: &str) -> String {
        format!("{key}:usage")
    }

    /// The record, sanitised, as JSON.
    pub fn record(&self, i: u64) -> String {
        format!(
            "{{\"id\":\"{}\",\"user_id\":\"{}\",\"name\":\"Key-{i:09}\",\"key_prefix\":\"ak_live_{}\",\
             \"scopes\":[\"read\",\"orders:*\"],\"is_active\":true,\"expires_at\":1924992000000,\
             \"created_at\":\"2026-03-14T09:26:53Z\",\"updated_at\":\"2026-04-01T17:03:11Z\"}}",
            self.id(i),
            self.user_id(i),
            prefix(i),
        )
    }

    /// What the holder of the key sends.
    pub fn secret(&self, i: u64) -> String {
        format!("ak_live_{}_{:016x}{:016x}", prefix(i), mix(i ^ 0x5ec2e7), mix(i ^ 0x7e2ce5))
    }

    /// SHA-256 of the secret, in hex.
    pub fn digest(&self, i: u64) -> String {
        hex::encode(Sha256::digest(self.secret(i)))
    }

    /// The tags that the module gives the record by itself: one unique, one shared by the user's keys,
    /// one shared by all.
    pub fn tags(&self, i: u64) -> [String; 3] {
        [
            format!("apikey:id:{}", self.id(i)),
            format!("apikey:user:{}", self.user_id(i)),
            "apikey:kind:record".into(),
        ]
    }

    /// The record with one more field at its end, whose value is JSON already.
    pub fn record_with(&self, i: u64, field: &str, value: &str) -> String {
        let mut record = self.record(i);
        record.pop();
        format!("{record},\"{field}\":{value}}}")
    }

    fn id(&self, i: u64) -> String {
        uuid(i)
    }

    fn user_id(&self, i: u64) -> String {
        uuid((1 << 32) + i % self.users)
    }
}

/// A scattered number for `i`; different ones for different `i` (splitmix64).
pub fn mix(i: u64) -> u64 {
    let mut z = i.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Four letters and digits, as the examples' prefixes have, different ones for different `i` (below
/// 62^4): the factor has no divisor in common with 62.
fn prefix(i: u64) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const SPACE: u64 = 62u64.pow(4);
    let mut n = i * 9_876_543 % SPACE;
    let mut text = String::with_capacity(4);
    for _ in 0..4 {
        text.push(LETTERS[(n % 62) as usize] as char);
        n /= 62;
    }
    text
}

fn uuid(i: u64) -> String {
    let (a, b) = (mix(i), mix(!i));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | (b >> 50),
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_ids_are_unique_and_records_equally_long() {
        let work = Workload::new(100_000, 10);
        let keys: HashSet<String> = (0..100_000).map(|i| work.key(i)).collect();
        let ids: HashSet<String> = (0..100_000).map(|i| work.id(i)).collect();
        let lengths: HashSet<usize> = (0..100_000).map(|i| work.record(i).len()).collect();
        assert_eq!((keys.len(), ids.len(), lengths), (100_000, 100_000, HashSet::from([290])));
    }

    #[test]
    fn keys_of_all_kinds_are_equally_long() {
        let work = Workload::new(1_000, 10);
        let keys = [
            work.key(7),
            work.string_key(7),
            work.floor_key(7),
            work.script_key(7),
            work.limited_key(7, 1),
            work.limited_key(7, 4),
        ];
        assert!(keys.iter().all(|key| key.len() == keys[0].len()), "{keys:?}");
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn a_record_with_another_field_is_json() {
        let record = Workload::new(1_000, 10).record_with(7, "versions", "[1,2]");
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["versions"], serde_json::json!([1, 2]));
        assert_eq!(record["key_prefix"], format!("ak_live_{}", prefix(7)));
    }

    #[test]
    fn ten_keys_share_a_user() {
        let work = Workload::new(1_000, 10);
        let users: HashSet<String> = (0..1_000).map(|i| work.user_id(i)).collect();
        assert_eq!(users.len(), 100);
    }
}
