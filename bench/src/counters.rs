//! Usage counters of the API keys: ours, and strings that INCR counts in.
//!
//! They begin at a million: below 10,000 a server without `maxmemory` shares its integers and INCR has
//! to store another object, which would be in our favour.

use redis::{Pipeline, Value};

use crate::pipeline::Side;
use crate::workload::Workload;

const START: i64 = 1_000_000;

/// Whose counters: they belong to the keys of one kind.
#[derive(Clone, Copy, PartialEq)]
pub enum Of {
    /// The module's entries.
    Ours,
    /// The strings that a client reads.
    Strings,
    /// The strings that a script reads.
    Script,
}

impl Of {
    fn name(self, work: Workload, i: u64) -> String {
        Workload::usage_key(&match self {
            Of::Ours => work.key(i),
            Of::Strings => work.string_key(i),
            Of::Script => work.script_key(i),
        })
    }

    /// Counts one use of an API key.
    pub fn count(self, work: Workload, i: u64, pipe: &mut Pipeline) {
        let command = if self == Of::Ours { "APIKEY.USAGE.INCR" } else { "INCR" };
        pipe.cmd(command).arg(self.name(work, i));
    }
}

/// Whether this is the reply to [`Of::count`] of a counter that [`Create`] made.
pub fn counted(reply: &Value) -> bool {
    matches!(reply, Value::Int(count) if *count > START)
}

/// Makes the counters.
pub struct Create(pub Workload, pub Of);

impl Side for Create {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let Create(work, of) = *self;
        let name = of.name(work, i);
        if of == Of::Ours {
            pipe.cmd("APIKEY.USAGE.INCR").arg(name).arg("BY").arg(START);
        } else {
            pipe.cmd("INCRBY").arg(name).arg(START);
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(START)
    }
}
