//! By our command.

use anyhow::{ensure, Context, Result};
use redis::{Connection, Pipeline, Value};

use super::stored::Stored;
use crate::counters::{counted, Of};
use crate::pipeline::Side;
use crate::workload::{Workload, SCOPE};

/// VALIDATE with SECRET and one SCOPE.
pub struct Validate(pub Stored);

impl Validate {
    pub const WHAT: &'static str = "VALIDATE key SECRET s SCOPE x";
}

impl Side for Validate {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        verify("APIKEY.VALIDATE", &self.0.work.key(self.0.pick(i)), &self.0, i, pipe);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        is_valid(reply, self.0.length)
    }
}

/// The same, and USAGE.INCR in the same pipeline.
pub struct ValidateAndCount(pub Stored);

impl ValidateAndCount {
    pub const WHAT: &'static str = "VALIDATE key SECRET s SCOPE x + USAGE.INCR";
}

impl Side for ValidateAndCount {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        Validate(self.0).call(i, pipe);
        Of::Ours.count(self.0.work, self.0.pick(i), pipe);
    }

    fn right(&self, command: usize, reply: &Value) -> bool {
        match command {
            0 => Validate(self.0).right(0, reply),
            _ => counted(reply),
        }
    }
}

/// VALIDATE with DIGEST and one SCOPE.
pub struct ValidateDigest(pub Stored);

impl ValidateDigest {
    pub const WHAT: &'static str = "VALIDATE key DIGEST d SCOPE x";
}

impl Side for ValidateDigest {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let (work, number) = (self.0.work, self.0.pick(i));
        pipe.cmd("APIKEY.VALIDATE").arg(work.key(number));
        pipe.arg("DIGEST").arg(work.digest(number)).arg("SCOPE").arg(SCOPE);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        is_valid(reply, self.0.length)
    }
}

/// The same, and USAGE.INCR in the same pipeline.
pub struct ValidateDigestAndCount(pub Stored);

impl ValidateDigestAndCount {
    pub const WHAT: &'static str = "VALIDATE key DIGEST d SCOPE x + USAGE.INCR";
}

impl Side for ValidateDigestAndCount {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        ValidateDigest(self.0).call(i, pipe);
        Of::Ours.count(self.0.work, self.0.pick(i), pipe);
    }

    fn right(&self, command: usize, reply: &Value) -> bool {
        match command {
            0 => ValidateDigest(self.0).right(0, reply),
            _ => counted(reply),
        }
    }
}

/// A command with VALIDATE's arguments.
pub(super) fn verify(command: &str, key: &str, stored: &Stored, i: u64, pipe: &mut Pipeline) {
    let secret = stored.work.secret(stored.pick(i));
    pipe.cmd(command).arg(key).arg("SECRET").arg(secret).arg("SCOPE").arg(SCOPE);
}

/// Whether a reply says VALID, with a record of that length.
pub(super) fn is_valid(reply: &Value, length: usize) -> bool {
    matches!(answer(reply), Some((b"VALID", record)) if record.len() == length)
}

/// The first two elements of VALIDATE's reply.
pub(super) fn answer(reply: &Value) -> Option<(&[u8], &[u8])> {
    let Value::Array(elements) = reply else {
        return None;
    };
    match elements.as_slice() {
        [Value::BulkString(code), Value::BulkString(record), ..] => Some((code, record)),
        [Value::SimpleString(code), Value::BulkString(record), ..] => {
            Some((code.as_bytes(), record))
        }
        _ => None,
    }
}

/// Looks whole at VALIDATE's reply for entry 0, and gives the length of its record.
pub fn record_length(con: &mut Connection, work: Workload) -> Result<usize> {
    let stored = Stored { work, entries: 1, length: 0 };
    let mut pipe = Pipeline::new();
    Validate(stored).call(0, &mut pipe);
    let replies: Vec<Value> = pipe.query(con)?;
    let (code, record) = answer(&replies[0]).with_context(|| format!("{replies:?}"))?;
    ensure!(code == b"VALID", "VALIDATE says {replies:?}");
    let (got, expected): (serde_json::Value, serde_json::Value) =
        (serde_json::from_slice(record)?, serde_json::from_str(&work.record(0))?);
    ensure!(got == expected, "VALIDATE gave {got}, stored was {expected}");
    Ok(record.len())
}
