//! By one EVALSHA: a script that gets the JSON, decodes it, compares the digest of the secret, checks
//! what VALIDATE checks, takes from a rate and counts the use if it is to, and gives the JSON back.
//!
//! The client computes the digest, as it has to (a script has no SHA-256), and sends it in hex; the
//! stored JSON has it as one more field. The codes and their order are VALIDATE's.

use anyhow::Result;
use redis::{Connection, Pipeline, Value};

use super::admit::{BURST, DAY_MS};
use super::client::now_ms;
use super::stored::Stored;
use super::validate::is_valid;
use crate::pipeline::Side;
use crate::workload::{Workload, SCOPE, TTL};

/// Digest, scope, and the time in epoch milliseconds.
const CHECK: &str = "
local json = redis.call('GET', KEYS[1])
if not json then return {'MISS'} end
local record = cjson.decode(json)
if record.digest ~= ARGV[1] then return {'MISMATCH'} end
if not record.is_active then return {'DISABLED'} end
if record.expires_at ~= cjson.null and record.expires_at <= tonumber(ARGV[3]) then
    return {'EXPIRED'}
end
local request = ARGV[2]
local colon = string.find(request, ':', 1, true)
local wildcard = colon and string.sub(request, 1, colon) .. '*'
local granted = false
for _, scope in ipairs(record.scopes) do
    if scope == request or scope == wildcard or scope == '*' then
        granted = true
        break
    end
end
if not granted then return {'FORBIDDEN', request} end
";
const COUNT: &str = "redis.call('INCR', KEYS[2])\n";
/// GCRA, whose time of arrival stands in a third key: milliseconds of a unit, and units of the burst. It replies what
/// the fields of a response need, as ADMIT does.
const LIMIT: &str = "
local now, unit, burst = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local arrival = math.max(tonumber(redis.call('GET', KEYS[3]) or 0), now) + unit
local early = arrival - unit * burst - now
if early > 0 then
    return {'RATE_LIMITED', 'second', early, {{'second', burst, 0, arrival - unit - now, early}}}
end
redis.call('SET', KEYS[3], string.format('%.0f', arrival), 'PX', string.format('%.0f', arrival - now))
local left = math.floor((unit * burst - (arrival - now)) / unit)
";
const REPLY: &str = "return {'VALID', json}\n";
const LIMITED_REPLY: &str =
    "return {'VALID', json, -1, {{'second', burst, left, arrival - now, 0}}}\n";

/// What the script does beside verifying.
#[derive(Clone, Copy, PartialEq)]
pub enum Also {
    Nothing,
    Count,
    LimitAndCount,
}

/// The record with the digest of the secret.
fn json(work: Workload, i: u64) -> String {
    work.record_with(i, "digest", &format!("\"{}\"", work.digest(i)))
}

pub struct ScriptStore(pub Workload);

impl Side for ScriptStore {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(self.0.script_key(i)).arg(json(self.0, i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The time of arrival that stands where each key was admitted once.
pub struct ScriptLevel(pub Workload);

impl Side for ScriptLevel {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let level = level_key(&self.0.script_key(i));
        pipe.cmd("SET").arg(level).arg(now_ms() + DAY_MS as u64).arg("PX").arg(DAY_MS);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

fn level_key(key: &str) -> String {
    format!("{key}:level")
}

/// The EVALSHA.
pub struct Script {
    stored: Stored,
    also: Also,
    sha: String,
    /// Bytes of the JSON that it gives back.
    length: usize,
}

impl Script {
    /// Loads the script into the server; where it counts, it takes the usage counter as a second key.
    pub fn load(con: &mut Connection, stored: Stored, also: Also) -> Result<Script> {
        let text = match also {
            Also::Nothing => [CHECK, REPLY].concat(),
            Also::Count => [CHECK, COUNT, REPLY].concat(),
            Also::LimitAndCount => [CHECK, LIMIT, COUNT, LIMITED_REPLY].concat(),
        };
        let sha = redis::cmd("SCRIPT").arg("LOAD").arg(text).query(con)?;
        Ok(Script { stored, also, sha, length: json(stored.work, 0).len() })
    }
}

impl Side for Script {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let number = self.stored.pick(i);
        let key = self.stored.work.script_key(number);
        pipe.cmd("EVALSHA").arg(&self.sha);
        match self.also {
            Also::Nothing => pipe.arg(1).arg(&key),
            Also::Count => pipe.arg(2).arg(&key).arg(Workload::usage_key(&key)),
            Also::LimitAndCount => {
                pipe.arg(3).arg(&key).arg(Workload::usage_key(&key)).arg(level_key(&key))
            }
        };
        pipe.arg(self.stored.work.digest(number)).arg(SCOPE).arg(now_ms());
        if self.also == Also::LimitAndCount {
            pipe.arg(DAY_MS).arg(BURST);
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        is_valid(reply, self.length)
    }
}
