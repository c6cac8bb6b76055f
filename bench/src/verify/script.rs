//! By one EVALSHA: a script that gets the JSON, decodes it, compares the digest of the secret, checks
//! what VALIDATE checks, counts the use if it is to, and gives the JSON back.
//!
//! The client computes the digest, as it has to (a script has no SHA-256), and sends it in hex; the
//! stored JSON has it as one more field. The codes and their order are VALIDATE's.

use anyhow::Result;
use redis::{Connection, Pipeline, Value};

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
const REPLY: &str = "return {'VALID', json}\n";

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

/// The EVALSHA.
pub struct Script {
    stored: Stored,
    counts: bool,
    sha: String,
    /// Bytes of the JSON that it gives back.
    length: usize,
}

impl Script {
    /// Loads the script into the server; with `counts` it takes the usage counter as a second key.
    pub fn load(con: &mut Connection, stored: Stored, counts: bool) -> Result<Script> {
        let text = [CHECK, if counts { COUNT } else { "" }, REPLY].concat();
        let sha = redis::cmd("SCRIPT").arg("LOAD").arg(text).query(con)?;
        Ok(Script { stored, counts, sha, length: json(stored.work, 0).len() })
    }
}

impl Side for Script {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let number = self.stored.pick(i);
        let key = self.stored.work.script_key(number);
        pipe.cmd("EVALSHA").arg(&self.sha);
        if self.counts {
            pipe.arg(2).arg(&key).arg(Workload::usage_key(&key));
        } else {
            pipe.arg(1).arg(&key);
        }
        pipe.arg(self.stored.work.digest(number)).arg(SCOPE).arg(now_ms());
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        is_valid(reply, self.length)
    }
}
