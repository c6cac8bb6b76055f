//! The commands that fill a server, for several rows.

use redis::{Pipeline, Value};

use crate::pipeline::Side;
use crate::workload::{Workload, TTL};

/// A new entry by our command. Its three tags are the automatic ones: id, user and kind.
pub struct Fill(pub Workload);

impl Side for Fill {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("APIKEY.SETVAL").arg(self.0.key(i)).arg(self.0.record(i));
        pipe.arg("EX").arg(TTL).arg("DIGEST").arg(self.0.digest(i));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The sanitised record as a string under the entry's name, and nothing that finds it again.
pub struct FillString(pub Workload);

impl Side for FillString {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(self.0.key(i)).arg(self.0.record(i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The string's name in the sets of the same three tags, as tag caches keep them.
pub struct FillSets(pub Workload);

impl Side for FillSets {
    const COMMANDS: usize = 3;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        for tag in self.0.tags(i) {
            pipe.cmd("SADD").arg(tag).arg(self.0.key(i));
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(1)
    }
}

/// Both: what a tag cache stores for an entry.
pub struct FillTagged(pub Workload);

impl Side for FillTagged {
    const COMMANDS: usize = FillString::COMMANDS + FillSets::COMMANDS;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        FillString(self.0).call(i, pipe);
        FillSets(self.0).call(i, pipe);
    }

    fn right(&self, command: usize, reply: &Value) -> bool {
        match command {
            0 => FillString(self.0).right(0, reply),
            _ => FillSets(self.0).right(command - 1, reply),
        }
    }
}
