//! By commands with ADMIT's arguments and its replies that verify nothing and know no limits: the floors of an admission
//! and of a refusal.

use redis::{Pipeline, Value};

use super::admit::{call, is_admitted, is_refused, standings};
use super::stored::Stored;
use crate::pipeline::Side;
use crate::workload::Workload;

/// Bytes of what ADMIT tells replicas of a counter with one rate, as an AOF has them.
const CHANGE: usize = 76;

/// What becomes of a request.
#[derive(Clone, Copy)]
pub enum FloorAdmit {
    Admitted(Stored),
    Refused(Stored),
}

impl FloorAdmit {
    pub const WHAT: &'static str = "FLOOR.ADMIT key 1 counter DIGEST d SCOPE x";
    pub const REFUSED: &'static str = "FLOOR.REFUSE, the same";

    /// The key of the record, which [`super::FloorSet`] has stored, and the counter.
    fn keys(self, work: Workload, i: u64) -> (String, String) {
        let key = work.floor_key(i);
        let counter = match self {
            FloorAdmit::Admitted(_) => Workload::usage_key(&key),
            FloorAdmit::Refused(_) => format!("{key}:spent"),
        };
        (key, counter)
    }

    fn stored(self) -> Stored {
        match self {
            FloorAdmit::Admitted(stored) | FloorAdmit::Refused(stored) => stored,
        }
    }
}

impl Side for FloorAdmit {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let (stored, command) = match self {
            FloorAdmit::Admitted(stored) => (stored, "FLOOR.ADMIT"),
            FloorAdmit::Refused(stored) => (stored, "FLOOR.REFUSE"),
        };
        let number = stored.pick(i);
        call(command, self.keys(stored.work, number), stored.work, number, pipe);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        let is_right = match self {
            FloorAdmit::Admitted(stored) => is_admitted(reply, stored.length, 1),
            FloorAdmit::Refused(_) => is_refused(reply),
        };
        is_right && standings(reply).is_some_and(is_one_limit)
    }
}

/// Whether one limit is told of, as ADMIT tells of it: name, limit, remaining, reset, retry.
fn is_one_limit(limits: &[Value]) -> bool {
    let [Value::Array(limit)] = limits else { return false };
    matches!(
        limit.as_slice(),
        [Value::BulkString(_), Value::Int(_), Value::Int(_), Value::Int(_), Value::Int(_)]
    )
}

/// Makes the counter: as many bytes as ADMIT says of one.
pub struct FloorCounter(pub FloorAdmit);

impl Side for FloorCounter {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let (_, counter) = self.0.keys(self.0.stored().work, i);
        pipe.cmd("FLOOR.SET").arg(counter).arg(&[0_u8; CHANGE][..]);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_admit_replies_is_right() {
        let stored = Stored { work: Workload::new(1, 1), entries: 1, length: 2 };
        let (admitted, refused) = (FloorAdmit::Admitted(stored), FloorAdmit::Refused(stored));
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let limit = |numbers: usize| {
            let name = std::iter::once(bulk("second"));
            Value::Array(name.chain((0..numbers).map(|_| Value::Int(5))).collect())
        };
        let reply = |code: &str, what: &str, limits: Vec<Value>| {
            Value::Array(vec![bulk(code), bulk(what), Value::Int(5), Value::Array(limits)])
        };
        let valid = reply("VALID", "{}", vec![limit(4)]);
        let limited = reply("RATE_LIMITED", "second", vec![limit(4)]);
        assert!(admitted.right(0, &valid) && !admitted.right(0, &limited));
        assert!(refused.right(0, &limited) && !refused.right(0, &valid));
        for (code, what) in [("VALID", "{}"), ("RATE_LIMITED", "second")] {
            for limits in [vec![], vec![limit(3)], vec![limit(4), limit(4)], vec![bulk("second")]] {
                let wrong = reply(code, what, limits);
                assert!(!admitted.right(0, &wrong) && !refused.right(0, &wrong), "{wrong:?}");
            }
        }
        assert!(!admitted.right(0, &reply("VALID", "{ }", vec![limit(4)])));
        assert!(!refused.right(0, &reply("RATE_LIMITED", "minute", vec![limit(4)])));
        assert!(!admitted.right(0, &Value::Nil) && !refused.right(0, &Value::Nil));
    }
}
