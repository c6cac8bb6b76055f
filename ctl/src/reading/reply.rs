//! Replies, taken apart: nothing of a form that is not expected is more than none.

use redis::Value;
use serde_json::Value as Json;

/// The fields of a map, or of the flat array that stands for one in RESP2, in their order.
pub fn fields(reply: &Value) -> Option<Vec<(String, Value)>> {
    let named = |name: &Value, value: &Value| Some((text(name)?, value.clone()));
    match reply {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| named(name, value)).collect(),
        Value::Array(flat) if flat.len() % 2 == 0 => flat
            .chunks_exact(2)
            .map(|pair| match pair {
                [name, value] => named(name, value),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

pub fn bytes(reply: &Value) -> Option<&[u8]> {
    match reply {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

/// A string, bulk or simple; what of it is no UTF-8 is replaced.
pub fn text(reply: &Value) -> Option<String> {
    match reply {
        Value::VerbatimString { text, .. } => Some(text.clone()),
        reply => bytes(reply).map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// An integer, also one that is written in a string.
pub fn number(reply: &Value) -> Option<i64> {
    match reply {
        Value::Int(number) => Some(*number),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

pub fn items(reply: &Value) -> Option<&[Value]> {
    match reply {
        Value::Array(items) | Value::Set(items) => Some(items),
        _ => None,
    }
}

/// The strings of an array.
pub fn texts(reply: &Value) -> Option<Vec<String>> {
    items(reply)?.iter().map(text).collect()
}

/// The same as JSON: nil as null, a map as an object.
pub fn json(reply: &Value) -> Json {
    match reply {
        Value::Int(number) => (*number).into(),
        Value::Double(number) => (*number).into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::Array(items) | Value::Set(items) => items.iter().map(json).collect(),
        Value::Map(_) => {
            let pairs = fields(reply).unwrap_or_default();
            Json::Object(pairs.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
        reply => text(reply).map_or(Json::Null, Json::String),
    }
}
