//! By nothing: GET of a string as long as the record that VALIDATE replies with. It compares nothing
//! and checks nothing: it is what a lookup costs, not an alternative.

use redis::{Pipeline, Value};

use super::stored::Stored;
use crate::pipeline::Side;
use crate::workload::TTL;

impl Stored {
    /// The record, filled up to the length that VALIDATE replies with.
    pub(super) fn bytes(&self, i: u64) -> Vec<u8> {
        let mut record = self.work.record(i).into_bytes();
        record.resize(self.length, b' ');
        record
    }
}

/// Strings of just that length.
pub struct Set(pub Stored);

impl Side for Set {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(self.0.work.string_key(i)).arg(self.0.bytes(i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

pub struct Get(pub Stored);

impl Side for Get {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("GET").arg(self.0.work.string_key(self.0.pick(i)));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        matches!(reply, Value::BulkString(bytes) if bytes.len() == self.0.length)
    }
}
