//! By ADMIT with DIGEST and one SCOPE, which takes from limits and counts as well.
//!
//! Rates let a million through at once and give one back in a day, quotas have a thousand million: so all of a run are
//! admitted, a limit whose units are gone refuses to its end, and each call finds a limit from which something was taken.

use anyhow::{ensure, Context, Result};
use redis::{Connection, Pipeline, Value};
use serde_json::json;

use super::stored::Stored;
use super::validate::{answer, is_valid};
use crate::pipeline::Side;
use crate::workload::{mix, Workload, SCOPE, TTL};

pub const BURST: i64 = 1_000_000;
pub const DAY_MS: i64 = 86_400_000;
const QUOTA: i64 = 1_000_000_000;
/// The name of a record's first limit.
const NAME: &str = "second";

/// As a record has them: a rate, and as far as there are more another one and two quotas.
fn limits(count: usize) -> serde_json::Value {
    let all = [
        json!({"name": NAME, "units": 1, "per": DAY_MS, "burst": BURST}),
        json!({"name": "minute", "units": 1, "per": DAY_MS, "burst": BURST}),
        json!({"name": "day", "quota": QUOTA, "period": "day"}),
        json!({"name": "month", "quota": QUOTA, "period": "month"}),
    ];
    all.into_iter().take(count).collect()
}

fn record(work: Workload, i: u64, count: usize) -> String {
    work.record_with(i, "limits", &limits(count).to_string())
}

/// Stores records with so many limits.
pub struct FillLimited(pub Workload, pub usize);

impl Side for FillLimited {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let FillLimited(work, count) = *self;
        pipe.cmd("APIKEY.SETVAL").arg(work.limited_key(i, count)).arg(record(work, i, count));
        pipe.arg("EX").arg(TTL).arg("DIGEST").arg(work.digest(i));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// What is asked.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    /// Of a record with one rate.
    One,
    /// Of a record with four limits.
    Four,
    /// Of a record without limits; the rate stands in the call.
    InCall,
    /// Of a record with one rate, each request under an id of its own.
    Id,
    /// Of a record with one rate, whose units are gone.
    Refused,
}

impl How {
    pub const ALL: [How; 5] = [How::One, How::Four, How::InCall, How::Id, How::Refused];

    pub fn what(self) -> &'static str {
        match self {
            How::One => "ADMIT key 1 counter DIGEST d SCOPE x, one rate",
            How::Four => "the same, four limits",
            How::InCall => "the same, one rate as LIMIT of the call",
            How::Id => "the same, one rate, ID",
            How::Refused => "the same, refused by its rate",
        }
    }

    fn limits(self) -> usize {
        if self == How::Four {
            4
        } else {
            1
        }
    }

    /// The key of the record, and the counter.
    fn keys(self, work: Workload, i: u64) -> (String, String) {
        let limited = work.limited_key(i, self.limits());
        match self {
            How::One | How::Four => (limited.clone(), Workload::usage_key(&limited)),
            How::InCall => (work.key(i), work.key(i) + ":named"),
            How::Id => (limited.clone(), limited + ":known"),
            How::Refused => (limited.clone(), limited + ":spent"),
        }
    }

    fn admit(self, work: Workload, number: u64, pipe: &mut Pipeline) {
        call("APIKEY.ADMIT", self.keys(work, number), work, number, pipe);
        if self == How::InCall {
            pipe.arg(&["LIMIT", "1", NAME, "RATE", "1"]).arg(DAY_MS).arg("BURST").arg(BURST);
        }
    }
}

/// A command with ADMIT's arguments.
pub(super) fn call(
    command: &str,
    (key, counter): (String, String),
    work: Workload,
    number: u64,
    pipe: &mut Pipeline,
) {
    pipe.cmd(command).arg(key).arg(1).arg(counter);
    pipe.arg("DIGEST").arg(work.digest(number)).arg("SCOPE").arg(SCOPE);
}

pub struct Admit {
    stored: Stored,
    how: How,
}

impl Admit {
    /// Of counters of which something was taken already ([`First`]); looks whole at what it replies for entry 0.
    pub fn look(con: &mut Connection, stored: Stored, how: How) -> Result<Admit> {
        let mut pipe = Pipeline::new();
        First(stored.work, how).call(0, &mut pipe);
        let replies: Vec<Value> = pipe.query(con)?;
        let (code, got) = answer(&replies[0]).with_context(|| format!("{replies:?}"))?;
        ensure!(code == b"VALID", "ADMIT says {replies:?}");
        let expected = match how {
            How::InCall => stored.work.record(0),
            _ => record(stored.work, 0, how.limits()),
        };
        let (parsed, expected): (serde_json::Value, serde_json::Value) =
            (serde_json::from_slice(got)?, serde_json::from_str(&expected)?);
        ensure!(parsed == expected, "ADMIT gave {parsed}, stored was {expected}");
        let said = standings(&replies[0]).unwrap_or_default();
        ensure!(said.len() == how.limits(), "ADMIT tells of other limits: {replies:?}");
        Ok(Admit { stored: Stored { length: got.len(), ..stored }, how })
    }

    /// What is verified, with the bytes of the record that it replies with.
    pub fn stored(&self) -> Stored {
        self.stored
    }
}

impl Side for Admit {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        self.how.admit(self.stored.work, self.stored.pick(i), pipe);
        if self.how == How::Id {
            pipe.arg("ID").arg(format!("{:016x}{i:016x}", mix(i)));
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        match self.how {
            How::Refused => is_refused(reply),
            how => is_admitted(reply, self.stored.length, how.limits()),
        }
    }
}

/// The first call of each counter, which makes it; takes all that there is where the others are to be refused.
pub struct First(pub Workload, pub How);

impl Side for First {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        self.1.admit(self.0, i, pipe);
        if self.1 == How::Refused {
            pipe.arg("COST").arg(BURST);
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        matches!(answer(reply), Some((b"VALID", _)))
    }
}

/// Whether a reply says VALID, with a record of that length, and tells of so many limits.
pub(super) fn is_admitted(reply: &Value, length: usize, limits: usize) -> bool {
    is_valid(reply, length) && standings(reply).is_some_and(|all| all.len() == limits)
}

/// Whether a reply says that the first limit refuses.
pub(super) fn is_refused(reply: &Value) -> bool {
    matches!(answer(reply), Some((b"RATE_LIMITED", name)) if name == NAME.as_bytes())
}

/// The limits that ADMIT tells of.
pub(super) fn standings(reply: &Value) -> Option<&[Value]> {
    match reply {
        Value::Array(elements) => match elements.get(3) {
            Some(Value::Array(limits)) => Some(limits),
            _ => None,
        },
        _ => None,
    }
}
