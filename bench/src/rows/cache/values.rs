//! The values, and the commands that store and read them: ours, the floor's and plain Redis'.

use redis::{Pipeline, Value};

use crate::pipeline::Side;
use crate::workload::{mix, TTL};

pub const REGION: &str = "bench";

/// Bytes of a value.
const LEN: usize = 1024;

/// The version of each tag, for who compares versions.
const VERSION: u64 = 1_000_000;

/// So many entries; each tag has ten of them.
#[derive(Clone, Copy)]
pub struct Values {
    pub entries: u64,
}

impl Values {
    pub fn key(self, i: u64) -> String {
        format!("cache:bench:{{{:012}}}", i)
    }

    pub fn string_key(self, i: u64) -> String {
        format!("plain:bench:{{{:012}}}", i)
    }

    pub fn floor_key(self, i: u64) -> String {
        format!("floor:bench:{{{:012}}}", i)
    }

    pub fn value(self, i: u64) -> Vec<u8> {
        let mut value = format!("{i}:").into_bytes();
        value.resize(LEN, b'.');
        value
    }

    fn tag(self, i: u64) -> String {
        format!("category:{}", i % (self.entries / 10).max(1))
    }

    /// A scattered entry.
    fn pick(self, i: u64) -> u64 {
        mix(i) % self.entries
    }

    fn is_value(self, bytes: &Value) -> bool {
        matches!(bytes, Value::BulkString(bytes) if bytes.len() == LEN)
    }

    /// A value that is fresh for some time, without a label.
    fn is_hit(self, reply: &Value) -> bool {
        let Value::Array(elements) = reply else { return false };
        matches!(elements.as_slice(),
            [Value::BulkString(code), value, Value::Nil, Value::Int(0..), Value::Int(1..)]
                if code == b"HIT" && self.is_value(value))
    }
}

/// Stores with a tag.
fn set(command: &str, key: String, values: Values, i: u64, pipe: &mut Pipeline) {
    pipe.cmd(command).arg(key).arg(REGION).arg(values.value(i));
    pipe.arg("EX").arg(TTL).arg("TAGS").arg(1).arg(values.tag(i));
}

/// CACHE.SET with a tag.
pub struct Set(pub Values);

impl Side for Set {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        set("CACHE.SET", self.0.key(i), self.0, i, pipe);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// A command of another module with CACHE.SET's arguments, that tells others as much and keeps no index.
pub struct FloorSet(pub Values);

impl FloorSet {
    pub const WHAT: &'static str = "FLOOR.CACHE.SET EX TAGS 1";
}

impl Side for FloorSet {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        set("FLOOR.CACHE.SET", self.0.floor_key(i), self.0, i, pipe);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The string, with its expiry alone.
pub struct SetString(pub Values);

impl Side for SetString {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(self.0.string_key(i)).arg(self.0.value(i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The string, and its name in the sets of both tags.
pub struct SetTagged(pub Values);

impl Side for SetTagged {
    const COMMANDS: usize = 3;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        SetString(self.0).call(i, pipe);
        for tag in [format!("region:{REGION}"), self.0.tag(i)] {
            pipe.cmd("SADD").arg(tag).arg(self.0.string_key(i));
        }
    }

    fn right(&self, command: usize, reply: &Value) -> bool {
        match command {
            0 => *reply == Value::Okay,
            _ => *reply == Value::Int(1),
        }
    }
}

/// The version of an entry's tag; that of the region's is there once.
pub struct SetVersion(pub Values);

impl Side for SetVersion {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(format!("version:region:{REGION}")).arg(VERSION);
        pipe.cmd("SET").arg(format!("version:{}", self.0.tag(i))).arg(VERSION);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

pub struct Get(pub Values);

impl Side for Get {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("CACHE.GET").arg(self.0.key(self.0.pick(i))).arg(REGION);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        self.0.is_hit(reply)
    }
}

/// A command of another module with CACHE.GET's arguments and its reply.
pub struct FloorGet(pub Values);

impl FloorGet {
    pub const WHAT: &'static str = "FLOOR.CACHE.GET";
}

impl Side for FloorGet {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("FLOOR.CACHE.GET").arg(self.0.floor_key(self.0.pick(i))).arg(REGION);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        self.0.is_hit(reply)
    }
}

pub struct GetString(pub Values);

impl Side for GetString {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("GET").arg(self.0.string_key(self.0.pick(i)));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        self.0.is_value(reply)
    }
}

/// The string, and the versions of its tags, as caches have it that compare them.
pub struct GetVersions(pub Values);

impl Side for GetVersions {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let number = self.0.pick(i);
        pipe.cmd("MGET").arg(self.0.string_key(number)).arg(format!("version:region:{REGION}"));
        pipe.arg(format!("version:{}", self.0.tag(number)));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        let version = Value::BulkString(VERSION.to_string().into_bytes());
        matches!(reply, Value::Array(all) if matches!(all.as_slice(), [value, one, other]
            if self.0.is_value(value) && *one == version && *other == version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values = Values { entries: 1_000 };

    #[test]
    fn keys_of_all_kinds_are_equally_long() {
        let keys = [VALUES.key(7), VALUES.string_key(7), VALUES.floor_key(7)];
        assert!(keys.iter().all(|key| key.len() == keys[0].len()), "{keys:?}");
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
    }

    #[test]
    fn only_a_whole_hit_is_right() {
        let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let hit = |code: &[u8], value, left| {
            Value::Array(vec![bulk(code), value, Value::Nil, Value::Int(0), Value::Int(left)])
        };
        let value = || bulk(&VALUES.value(7));
        assert!(VALUES.is_hit(&hit(b"HIT", value(), 5)));
        for wrong in [
            hit(b"STALE", value(), 5),
            hit(b"HIT", bulk(b"7:"), 5),
            hit(b"HIT", value(), -1),
            Value::Array(vec![bulk(b"HIT"), value()]),
            Value::Array(vec![bulk(b"MISS"), Value::Nil]),
            Value::Nil,
        ] {
            assert!(!VALUES.is_hit(&wrong), "{wrong:?}");
        }
    }
}
