//! Messages between nodes, each within [`MAX_MESSAGE_BYTES`].
//!
//! ```text
//! magic (8 bytes) | version (1 byte) | bincode 2.0.1, standard configuration, of a Message
//! ```
//!
//! The magic is there since the server tells the receivers of two modules apart only where their names have nine
//! characters. Another version has another number: who does not read it does not answer, and whoever asks says that
//! an answer is missing.

use crate::cache::glob::MAX_PATTERN_BYTES;
use crate::entry::tag_names::{MAX_ANY_TAG_BYTES, MAX_NAMES};
use crate::usage::id::Id;
use bincode::{BorrowDecode, Encode};

/// The most bytes of a message.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;

const MAGIC: [u8; 8] = *b"\xa9apikey\n";
const VERSION: u8 = 1;

/// What one node says to another.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Question {
        id: Id,
        question: Question<'a>,
    },
    Answer {
        id: Id,
        count: u64,
    },
    /// Keys were invalidated where their slots are, or a writer has stored what they hold; no answer is waited for.
    Keys {
        database: i32,
        names: Vec<&'a [u8]>,
    },
    /// What was asked is being done, and takes longer: the answer comes.
    AtWork {
        id: Id,
    },
}

/// What a primary is asked to do, and to answer with how many it concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// Kill what carries one of the tags.
    TagInval { database: i32, tags: Vec<&'a [u8]> },
    /// Have what carries one of the tags be stale.
    TagSoften { database: i32, tags: Vec<&'a [u8]> },
    /// Kill what is of a region, or of any, and fits a pattern, and what a user may kill.
    PatInval {
        database: i32,
        pattern: &'a [u8],
        /// Its tag.
        region: Option<&'a [u8]>,
        user: Option<&'a [u8]>,
    },
    /// Count what carries the tag.
    TagCard { database: i32, tag: &'a [u8] },
    /// Settle what the batches have.
    Ack { database: i32, batches: Vec<Id> },
    /// Give it back.
    Nack { database: i32, batches: Vec<Id> },
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Of another module's.
    Foreign,
    /// Of another version.
    Version(u8),
    /// They begin like a message.
    Broken,
}

#[derive(Encode, BorrowDecode)]
enum Body<'a> {
    TagInval(i32, Vec<&'a [u8]>),
    TagCard(i32, &'a [u8]),
    Answer(u64),
    Ack(i32, Vec<[u8; 16]>),
    Nack(i32, Vec<[u8; 16]>),
    AtWork,
    Keys(i32, Vec<&'a [u8]>),
    TagSoften(i32, Vec<&'a [u8]>),
    PatInval(i32, &'a [u8], Option<&'a [u8]>, Option<&'a [u8]>),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_MESSAGE_BYTES>()
}

impl<'a> Message<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let bytes_of = |ids: &[Id]| ids.iter().map(|id| id.to_bytes()).collect();
        let (id, body) = match self {
            Self::Keys { database, names } => ([0; 16], Body::Keys(*database, names.clone())),
            Self::Answer { id, count } => (id.to_bytes(), Body::Answer(*count)),
            Self::AtWork { id } => (id.to_bytes(), Body::AtWork),
            Self::Question { id, question } => {
                let body = match question {
                    Question::TagInval { database, tags } => {
                        Body::TagInval(*database, tags.clone())
                    }
                    Question::TagSoften { database, tags } => {
                        Body::TagSoften(*database, tags.clone())
                    }
                    Question::PatInval { database, pattern, region, user } => {
                        Body::PatInval(*database, pattern, *region, *user)
                    }
                    Question::TagCard { database, tag } => Body::TagCard(*database, tag),
                    Question::Ack { database, batches } => Body::Ack(*database, bytes_of(batches)),
                    Question::Nack { database, batches } => {
                        Body::Nack(*database, bytes_of(batches))
                    }
                };
                (id.to_bytes(), body)
            }
        };
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        // Encoding into memory can't fail: a question is below the limit.
        bytes.extend(bincode::encode_to_vec((id, body), config()).unwrap_or_default());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; it says nothing that a client could not.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Unread> {
        let body = bytes.strip_prefix(&MAGIC).ok_or(Unread::Foreign)?;
        let (&version, body) = body.split_first().ok_or(Unread::Broken)?;
        if version != VERSION {
            return Err(Unread::Version(version));
        }
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Unread::Broken);
        }
        let read: Result<(([u8; 16], Body), usize), _> =
            bincode::borrow_decode_from_slice(body, config());
        let ((id, body), _) =
            read.ok().filter(|(_, read)| *read == body.len()).ok_or(Unread::Broken)?;
        if let Body::Keys(database, names) = body {
            let is_bounded = names.len() <= MAX_NAMES;
            return is_bounded.then_some(Self::Keys { database, names }).ok_or(Unread::Broken);
        }
        let id = Id::from_bytes(id).ok_or(Unread::Broken)?;
        let is_tag = |tag: &&[u8]| (1..=MAX_ANY_TAG_BYTES).contains(&tag.len());
        let ids_of = |ids: Vec<[u8; 16]>| {
            let ids: Option<Vec<Id>> = ids.into_iter().map(Id::from_bytes).collect();
            ids.filter(|ids| !ids.is_empty()).ok_or(Unread::Broken)
        };
        let question = match body {
            Body::Answer(count) => return Ok(Self::Answer { id, count }),
            Body::AtWork => return Ok(Self::AtWork { id }),
            Body::Ack(database, batches) => Question::Ack { database, batches: ids_of(batches)? },
            Body::Nack(database, batches) => Question::Nack { database, batches: ids_of(batches)? },
            Body::TagInval(database, tags)
                if (1..=MAX_NAMES).contains(&tags.len()) && tags.iter().all(is_tag) =>
            {
                Question::TagInval { database, tags }
            }
            Body::TagSoften(database, tags)
                if (1..=MAX_NAMES).contains(&tags.len()) && tags.iter().all(is_tag) =>
            {
                Question::TagSoften { database, tags }
            }
            Body::PatInval(database, pattern, region, user)
                if (1..=MAX_PATTERN_BYTES).contains(&pattern.len())
                    && region.as_ref().is_none_or(is_tag) =>
            {
                Question::PatInval { database, pattern, region, user }
            }
            Body::TagCard(database, tag) if is_tag(&tag) => Question::TagCard { database, tag },
            _ => return Err(Unread::Broken),
        };
        Ok(Self::Question { id, question })
    }
}

/// Messages that say of keys that they were invalidated. A name that fits into none is left out: no cluster has it.
pub fn of_keys<'a>(database: i32, names: &[&'a [u8]]) -> Vec<Message<'a>> {
    /// What stands before the names, and before each.
    const BEFORE: usize = 64;
    let mut messages = Vec::new();
    let (mut some, mut bytes) = (Vec::new(), BEFORE);
    for &name in names {
        let len = name.len() + BEFORE;
        if bytes + len > MAX_MESSAGE_BYTES && !some.is_empty() {
            messages.push(Message::Keys { database, names: std::mem::take(&mut some) });
            bytes = BEFORE;
        }
        if bytes + len <= MAX_MESSAGE_BYTES {
            some.push(name);
            bytes += len;
        }
    }
    if !some.is_empty() {
        messages.push(Message::Keys { database, names: some });
    }
    messages
}

/// Each with its length; what stands before them is small beside it.
const MOST_TAGS: usize = MAX_MESSAGE_BYTES / (MAX_ANY_TAG_BYTES + 16);

/// Of one message, with room for what stands before them.
const MOST_BATCHES: usize = MAX_MESSAGE_BYTES / 16 - 64;

impl<'a> Question<'a> {
    /// Questions that together kill what carries one of the tags, each small enough for a message.
    pub fn tag_inval(database: i32, tags: &[&'a [u8]]) -> Vec<Self> {
        tags.chunks(MOST_TAGS)
            .map(|tags| Self::TagInval { database, tags: tags.to_vec() })
            .collect()
    }

    /// Questions that together have what carries one of the tags be stale.
    pub fn tag_soften(database: i32, tags: &[&'a [u8]]) -> Vec<Self> {
        let part = |tags: &[&'a [u8]]| Self::TagSoften { database, tags: tags.to_vec() };
        tags.chunks(MOST_TAGS).map(part).collect()
    }

    /// Questions that together settle batches.
    pub fn ack(database: i32, batches: &[Id]) -> Vec<Self> {
        let part = |batches: &[Id]| Self::Ack { database, batches: batches.to_vec() };
        batches.chunks(MOST_BATCHES).map(part).collect()
    }

    /// Questions that together give batches back.
    pub fn nack(database: i32, batches: &[Id]) -> Vec<Self> {
        let part = |batches: &[Id]| Self::Nack { database, batches: batches.to_vec() };
        batches.chunks(MOST_BATCHES).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> Id {
        Id::from_bytes([7; 16]).unwrap()
    }

    fn batch(byte: u8) -> Id {
        Id::from_bytes([byte; 16]).unwrap()
    }

    fn pat_inval<'a>(
        pattern: &'a [u8],
        region: Option<&'a [u8]>,
        user: Option<&'a [u8]>,
    ) -> Question<'a> {
        Question::PatInval { database: 1, pattern, region, user }
    }

    /// What is written, byte by byte: nodes of two builds have to understand each other.
    #[test]
    fn the_bytes_of_a_version_stay_what_they_are() {
        let head = [&b"\xa9apikey\n\x01"[..], &[7; 16]].concat();
        for (message, body) in [
            (
                Message::Question {
                    id: id(),
                    question: Question::TagInval { database: 3, tags: vec![b"a", b"bc"] },
                },
                &b"\x00\x06\x02\x01a\x02bc"[..],
            ),
            (
                Message::Question {
                    id: id(),
                    question: Question::TagCard { database: 0, tag: b"a" },
                },
                b"\x01\x00\x01a",
            ),
            (Message::Answer { id: id(), count: 5 }, b"\x02\x05"),
            (
                Message::Question {
                    id: id(),
                    question: Question::Ack {
                        database: 1,
                        batches: vec![batch(b'a'), batch(b'b')],
                    },
                },
                b"\x03\x02\x02aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb",
            ),
            (
                Message::Question {
                    id: id(),
                    question: Question::Nack { database: 0, batches: vec![batch(b'a')] },
                },
                b"\x04\x00\x01aaaaaaaaaaaaaaaa",
            ),
            (Message::AtWork { id: id() }, b"\x05"),
            (Message::Keys { database: 1, names: vec![b"", b"k"] }, b"\x06\x02\x02\x00\x01k"),
            (
                Message::Question {
                    id: id(),
                    question: Question::TagSoften { database: 3, tags: vec![b"a", b"bc"] },
                },
                b"\x07\x06\x02\x01a\x02bc",
            ),
            (
                Message::Question { id: id(), question: pat_inval(b"a*", None, None) },
                b"\x08\x02\x02a*\x00\x00",
            ),
            (
                Message::Question { id: id(), question: pat_inval(b"?", Some(b"r"), Some(b"me")) },
                b"\x08\x02\x01?\x01\x01r\x01\x02me",
            ),
        ] {
            let mut bytes = [&head[..], body].concat();
            if matches!(message, Message::Keys { .. }) {
                // It is not answered, and has no id.
                bytes[9..25].fill(0);
            }
            assert_eq!(message.encode(), bytes);
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn what_is_no_message_is_told_from_what_is_of_another_version() {
        let good = Message::Answer { id: id(), count: 5 }.encode();
        for len in 0..good.len() {
            let why = if len < 8 { Unread::Foreign } else { Unread::Broken };
            assert_eq!(Message::decode(&good[..len]), Err(why), "{len}");
        }
        assert_eq!(Message::decode(&[&good[..], b"\0"].concat()), Err(Unread::Broken));
        let mut newer = good.clone();
        newer[8] = 2;
        newer.extend([0; MAX_MESSAGE_BYTES]);
        assert_eq!(Message::decode(&newer), Err(Unread::Version(2)));
        newer[8] = 1;
        assert_eq!(Message::decode(&newer), Err(Unread::Broken));
        let long = [b'x'; MAX_ANY_TAG_BYTES + 1];
        for tags in [vec![], vec![&b""[..]], vec![b"a", &long], vec![b"a"; MAX_NAMES + 1]] {
            for question in [
                Question::TagInval { database: 0, tags: tags.clone() },
                Question::TagSoften { database: 0, tags },
            ] {
                let bytes = Message::Question { id: id(), question }.encode();
                assert_eq!(Message::decode(&bytes), Err(Unread::Broken));
            }
        }
        let longer = [b'*'; MAX_PATTERN_BYTES + 1];
        let longest = pat_inval(&longer[1..], Some(&long[1..]), Some(&longer));
        let message = Message::Question { id: id(), question: longest };
        assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
        for (pattern, region) in
            [(&b""[..], None), (&longer, None), (b"a", Some(&b""[..])), (b"a", Some(&long))]
        {
            let question = pat_inval(pattern, region, None);
            let bytes = Message::Question { id: id(), question }.encode();
            assert_eq!(Message::decode(&bytes), Err(Unread::Broken));
        }
        let head = [&MAGIC[..], &[VERSION], &[7; 16]].concat();
        let none = [&b"\x03\x00\x02"[..], &[1; 16], &[0; 16]].concat();
        let short = [&b"\x04\x00\x02"[..], &[1; 31]].concat();
        for body in
            [b"\x03\x00\x00", b"\x04\x00\x00", &none[..], &short, b"\x03\x00\xfc\xff\xff\xff\x7f"]
        {
            assert_eq!(Message::decode(&[&head, body].concat()), Err(Unread::Broken));
        }
    }

    #[test]
    fn as_many_batches_as_a_call_has_fit_into_a_few_messages() {
        let batches: Vec<Id> =
            (1..=40_000u128).map(|n| Id::from_bytes(n.to_be_bytes()).unwrap()).collect();
        for questions in [Question::ack(1, &batches), Question::nack(1, &batches)] {
            assert_eq!(questions.len(), 3);
            let mut all = Vec::new();
            for question in questions {
                let message = Message::Question { id: id(), question };
                let bytes = message.encode();
                assert!(bytes.len() <= MAX_MESSAGE_BYTES);
                assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
                let Message::Question {
                    question:
                        Question::Ack { database: 1, batches } | Question::Nack { database: 1, batches },
                    ..
                } = message
                else {
                    panic!()
                };
                all.extend(batches);
            }
            assert_eq!(all, batches);
        }
    }

    #[test]
    fn as_many_tags_as_a_call_has_fit_into_a_few_messages() {
        let tags: Vec<Vec<u8>> = (0..1000u16)
            .map(|n| [&n.to_be_bytes()[..], &[b't'; MAX_ANY_TAG_BYTES - 2]].concat())
            .collect();
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        for questions in [Question::tag_inval(1, &tags), Question::tag_soften(1, &tags)] {
            assert_eq!(questions.len(), 3);
            let mut all = Vec::new();
            for question in questions {
                let message = Message::Question { id: id(), question };
                let bytes = message.encode();
                assert!(bytes.len() <= MAX_MESSAGE_BYTES);
                assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
                let Message::Question {
                    question:
                        Question::TagInval { database: 1, tags }
                        | Question::TagSoften { database: 1, tags },
                    ..
                } = message
                else {
                    panic!()
                };
                all.extend(tags);
            }
            assert_eq!(all, tags);
        }
    }

    #[test]
    fn keys_of_any_length_are_told_in_messages_that_are_not_too_long() {
        let names: Vec<Vec<u8>> =
            [0, 1, 200_000, 100_000, 262_000, 300_000, 5].map(|len| vec![b'k'; len]).to_vec();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut all = Vec::new();
        for message in of_keys(2, &names) {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_MESSAGE_BYTES, "{}", bytes.len());
            let Ok(Message::Keys { database: 2, names }) = Message::decode(&bytes) else {
                panic!()
            };
            all.extend(names.iter().map(|name| name.len()));
        }
        assert_eq!(all, [0, 1, 200_000, 100_000, 262_000, 5]);
        assert!(of_keys(0, &[]).is_empty());
        let many = Message::Keys { database: 0, names: vec![b"k"; MAX_NAMES + 1] };
        assert_eq!(Message::decode(&many.encode()), Err(Unread::Broken));
    }

    proptest! {
        #[test]
        fn forged_bytes_are_no_more_than_an_error(
            body in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..60, byte: u8,
        ) {
            let _ = Message::decode(&[&MAGIC[..], &[VERSION], &[7; 16], &body].concat());
            let tags = vec![&b"a"[..], b"bc"];
            let batches = vec![batch(1), batch(2)];
            for question in [
                Question::TagInval { database: 3, tags: tags.clone() },
                Question::TagSoften { database: 3, tags },
                pat_inval(b"a*", Some(b"r"), Some(b"me")),
                Question::Ack { database: 3, batches },
            ] {
                let mut bytes = Message::Question { id: id(), question }.encode();
                let at = at % bytes.len();
                bytes[at] = byte;
                let _ = Message::decode(&bytes);
            }
        }
    }
}
