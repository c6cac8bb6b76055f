//! The message that tells caches outside the server of an invalidation: one line of JSON.
//!
//! ```text
//! {"run":"9f0c..","number":17,"database":0,"tags":["apikey:user:42"]}
//! {"run":"9f0c..","number":18,"database":0,"keys":["apikey:{ak_live_7Qm2}"]}
//! {"run":"9f0c..","number":19,"database":null,"flushed":true}
//! {"run":"9f0c..","number":20,"database":0,"flushed":true,"unnamed":1000}
//! {"run":"9f0c..","number":21,"database":0,"flushed":true,"pattern":"cache:products:*"}
//! ```
//!
//! Numbers follow each other within a run: who sees one left out, or another run, has missed something.
//! A name that is not UTF-8 is an object with its bytes in hex, `{"hex":"ff00"}`, so that no two names
//! look alike. `database` is null where it is all of them.
//!
//! A message has at most [`MAX_BYTES`]: one that would have more names nothing, and says that all is to be
//! dropped, since the server drops a subscriber for whom too much waits (`client-output-buffer-limit pubsub`).

use crate::invalidation::fence::Fence;
use serde::Serialize;

/// What was invalidated.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Tags(&'a [&'a [u8]]),
    Keys(&'a [&'a [u8]]),
    /// Names of keys that fit: whoever can't tell which drops all.
    Pattern(&'a [u8]),
    /// Everything.
    Flushed,
}

/// The most bytes of a message.
pub const MAX_BYTES: usize = 64 << 10;

#[derive(Default, Serialize)]
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
    /// How many tags or keys there are that no message could name.
    #[serde(skip_serializing_if = "Option::is_none")]
    unnamed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<Shown<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Text(&'a str),
    Bytes { hex: String },
}

/// The message for what the fence was last raised for; `database` is `None` for all of them.
pub fn message(fence: &Fence, database: Option<i32>, what: What) -> String {
    let all = || Message {
        run: fence.run_text(),
        number: fence.current(),
        database,
        flushed: Some(true),
        ..Message::default()
    };
    let names = match what {
        What::Tags(names) | What::Keys(names) => names,
        What::Flushed => return written(&all()),
        What::Pattern(pattern) => {
            return written(&Message { pattern: Some(show(pattern)), ..all() });
        }
    };
    // Names are not shown shorter than they are.
    if names.iter().map(|name| name.len()).sum::<usize>() <= MAX_BYTES {
        let shown = Some(names.iter().map(|name| show(name)).collect());
        let (tags, keys) = match what {
            What::Tags(_) => (shown, None),
            _ => (None, shown),
        };
        let text = written(&Message { tags, keys, flushed: None, ..all() });
        if text.len() <= MAX_BYTES {
            return text;
        }
    }
    written(&Message { unnamed: Some(names.len()), ..all() })
}

/// Strings and numbers can always be written.
fn written(message: &Message) -> String {
    serde_json::to_string(message).unwrap_or_default()
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

    #[test]
    fn names_that_a_message_has_no_room_for_are_all() {
        let fence = Fence::new(0xabc, 1);
        let named = |names: &[&[u8]]| {
            let head = r#"{"run":"0000000000000abc","number":0,"database":0,"#;
            let all = format!(r#"{head}"flushed":true,"unnamed":{}}}"#, names.len());
            let [tags, keys] = [What::Tags(names), What::Keys(names)].map(|what| {
                let message = message(&fence, Some(0), what);
                assert!(message.len() <= MAX_BYTES, "{}", message.len());
                message != all
            });
            assert_eq!(tags, keys);
            tags
        };
        let around = message(&fence, Some(0), What::Tags(&[b""])).len();
        let room = MAX_BYTES - around;
        assert!(named(&[&vec![b'x'; room]]));
        assert!(!named(&[&vec![b'x'; room + 1]]));
        assert!(named(&vec![&b"tag"[..]; 10_000]));
        assert!(!named(&vec![&b"tag"[..]; 11_000]));
        // What has to be written longer than it is.
        assert!(!named(&[&vec![1; room / 5]]));
        assert!(!named(&[&vec![0xff; room / 2 + 1]]));
        assert!(!named(&[&vec![b'x'; 100 << 20]]));
    }
}
