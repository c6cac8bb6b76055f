//! By the client, which parses the JSON that it got and checks what VALIDATE checks, other than the
//! secret.

use std::time::{SystemTime, UNIX_EPOCH};

use redis::{Pipeline, Value as Reply};
use serde_json::Value;

use super::stored::Stored;
use super::string::Get;
use crate::counters::{counted, Of};
use crate::pipeline::Side;
use crate::workload::SCOPE;

/// Epoch milliseconds, as `expires_at` has them.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Whether a record is active, has not expired, and has a scope that grants the requested one: an
/// equal one, `*`, or the wildcard of its resource.
pub fn grants(record: &Value, request: &str, now: u64) -> bool {
    let lasts = match &record["expires_at"] {
        Value::Null => true,
        time => time.as_u64().is_some_and(|time| now < time),
    };
    let resource = request.split_once(':').map_or(request, |(resource, _)| resource);
    let has = |scope: &str| {
        scope == request || scope == "*" || scope.strip_suffix(":*") == Some(resource)
    };
    let scopes = record["scopes"].as_array().map_or(&[][..], Vec::as_slice);
    record["is_active"] == true && lasts && scopes.iter().filter_map(Value::as_str).any(has)
}

/// GET and INCR, pipelined; the record is checked, and no secret compared.
pub struct GetAndCount(pub Stored);

impl GetAndCount {
    pub const WHAT: &'static str = "GET + INCR, checked by the client, no secret";
}

impl Side for GetAndCount {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        Get(self.0).call(i, pipe);
        Of::Strings.count(self.0.work, self.0.pick(i), pipe);
    }

    fn right(&self, command: usize, reply: &Reply) -> bool {
        let Reply::BulkString(json) = reply else {
            return command == 1 && counted(reply);
        };
        command == 0
            && serde_json::from_slice(json).is_ok_and(|record| grants(&record, SCOPE, now_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;
    use serde_json::json;

    #[test]
    fn a_record_of_the_workload_grants_its_scope() {
        let record: Value = serde_json::from_str(&Workload::new(1, 1).record(0)).unwrap();
        assert!(grants(&record, SCOPE, now_ms()));
    }

    #[test]
    fn whatever_does_not_hold_is_refused() {
        let record =
            json!({"is_active": true, "expires_at": null, "scopes": ["a:*", "b:c", "*:d"]});
        let with = |name: &str, value: Value| {
            let mut record = record.clone();
            record[name] = value;
            record
        };
        assert!(grants(&record, "a:x", 5) && grants(&record, "b:c", 5));
        assert!(!grants(&record, "b:x", 5) && !grants(&record, "ab:x", 5));
        assert!(grants(&with("scopes", json!(["*"])), "b:x", 5));
        assert!(grants(&with("expires_at", json!(6)), "b:c", 5));
        assert!(!grants(&with("expires_at", json!(5)), "b:c", 5));
        assert!(!grants(&with("is_active", json!(false)), "b:c", 5));
        assert!(!grants(&json!({}), "b:c", 5));
    }
}
