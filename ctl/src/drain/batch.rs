//! A batch of counts, as LEASE gives it out.

use redis::Value;

use crate::reading::reply;

/// What is settled as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub id: String,
    pub lines: Vec<Line>,
}

/// What one counter has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Never given to another line: what guards against counting twice.
    pub id: String,
    pub key: Vec<u8>,
    pub count: i64,
    /// Epoch milliseconds.
    pub last_used_at: i64,
}

/// All that LEASE replied; none where it has a form that is not known.
pub fn read(reply: &Value) -> Option<Vec<Batch>> {
    reply::items(reply)?.iter().map(batch).collect()
}

fn batch(value: &Value) -> Option<Batch> {
    let [id, lines, ..] = reply::items(value)? else { return None };
    let lines: Option<Vec<Line>> = reply::items(lines)?.iter().map(line).collect();
    Some(Batch { id: reply::text(id)?, lines: lines? })
}

/// Further elements may come with a newer module.
fn line(value: &Value) -> Option<Line> {
    let [id, key, count, last_used_at, ..] = reply::items(value)? else { return None };
    Some(Line {
        id: reply::text(id)?,
        key: reply::bytes(key)?.to_vec(),
        count: reply::number(count)?,
        last_used_at: reply::number(last_used_at)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_whole_or_not_at_all() {
        let text = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let more = Value::Array(Vec::new());
        let line = [text(b"l"), text(b"k\xff"), Value::Int(3), Value::Int(9), more.clone()];
        let batch = |line: &[Value]| {
            let lines = Value::Array(vec![Value::Array(line.to_vec())]);
            Value::Array(vec![Value::Array(vec![text(b"b"), lines, more.clone()])])
        };
        let expected = Line { id: "l".into(), key: b"k\xff".to_vec(), count: 3, last_used_at: 9 };
        let expected = Batch { id: "b".into(), lines: vec![expected] };
        assert_eq!(read(&batch(&line)), Some(vec![expected]));
        assert_eq!(read(&batch(&line[..3])), None);
        assert_eq!(read(&Value::Array(Vec::new())), Some(Vec::new()));
        assert_eq!(read(&Value::Nil), None);
    }
}
