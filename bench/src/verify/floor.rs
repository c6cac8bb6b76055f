//! By a command with VALIDATE's arguments and VALIDATE's reply that verifies nothing: the floor.

use redis::{Pipeline, Value};

use super::stored::Stored;
use super::validate::{is_valid, verify};
use crate::pipeline::Side;
use crate::workload::TTL;

/// Stores just as many bytes as VALIDATE replies with.
pub struct FloorSet(pub Stored);

impl Side for FloorSet {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let bytes = self.0.bytes(i);
        pipe.cmd("FLOOR.SET").arg(self.0.work.floor_key(i)).arg(bytes).arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

pub struct FloorGet(pub Stored);

impl FloorGet {
    pub const WHAT: &'static str = "FLOOR.GET key SECRET s SCOPE x";
}

impl Side for FloorGet {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        verify("FLOOR.GET", &self.0.work.floor_key(self.0.pick(i)), &self.0, i, pipe);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        is_valid(reply, self.0.length)
    }
}
