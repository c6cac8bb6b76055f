//! The message that tells caches outside the server of an invalidation: one line of JSON.
//!
//! ```text
//! {"run":"9f0c..","number":17,"database":0,"tags":["apikey:user:42"]}
//! {"run":"9f0c..","number":18,"database":0,"keys":["apikey:{ak_live_7Qm2}"]}
//! {"run":"9f0c..","number":19,"database":null,"flushed":true}
//! ```
//!
//! Numbers follow each other within a run: who sees one left out, or another run, has missed something.
//! A name that is not UTF-8 is an object with its bytes in hex, `{"hex":"ff00"}`, so that no two names
//! look alike. `database` is null where it is all of them.

use crate::invalidation::fence::Fence;
use serde::Serialize;

/// What was invalidated.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Tags(&'a [&'a [u8]]),
    Keys(&'a [&'a [u8]]),
    /// Everything.
    Flushed,
}

#[derive(Serialize)]
struct Message<'a> {
    run: String,
    number: u64,
    database: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Shown<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Shown<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flushed: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Text(&'a str),
    Bytes { hex: String },
}

/// The message for what the fence was last raised for; `database` is `None` for all of them.
pub fn message(fence: &Fence, database: Option<i32>, what: What) -> String {
    let mut message = Message {
        run: fence.run_text(),
        number: fence.current(),
        database,
        tags: None,
        keys: None,
        flushed: None,
    };
    match what {
        What::Tags(names) => message.tags = Some(names.iter().map(|name| show(name)).collect()),
        What::Keys(names) => message.keys = Some(names.iter().map(|name| show(name)).collect()),
        What::Flushed => message.flushed = Some(true),
    }
    // Strings and numbers can always be written.
    serde_json::to_string(&message).unwrap_or_default()
}

fn show(name: &[u8]) -> Shown<'_> {
    match std::str::from_utf8(name) {
        Ok(text) => Shown::Text(text),
        Err(_) => Shown::Bytes { hex: const_hex::encode(name) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_of_json() {
        let mut fence = Fence::new(0xabc, 1);
        fence.raise([]);
        assert_eq!(
            message(&fence, Some(3), What::Tags(&[b"a\n\"", b"\xff\0"])),
            r#"{"run":"0000000000000abc","number":1,"database":3,"tags":["a\n\"",{"hex":"ff00"}]}"#
        );
        fence.raise([]);
        assert_eq!(
            message(&fence, Some(0), What::Keys(&[b"k"])),
            r#"{"run":"0000000000000abc","number":2,"database":0,"keys":["k"]}"#
        );
        fence.raise_all();
        assert_eq!(
            message(&fence, None, What::Flushed),
            r#"{"run":"0000000000000abc","number":3,"database":null,"flushed":true}"#
        );
    }
}
