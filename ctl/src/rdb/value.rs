//! Where a value ends. Nothing of it is looked into; what it is stands in the server's `rdb.h`, by number.

use std::io::{self, Read};

use super::reader::{bad, Reader};

/// The type of a value of a module's.
pub const MODULE: u8 = 7;

const STRING: u8 = 0;
const LISTS_AND_SETS: [u8; 3] = [1, 2, 14];
const SORTED_SET_OF_TEXTS: u8 = 3;
const SORTED_SET: u8 = 5;
const HASH: u8 = 4;
const QUICKLIST: u8 = 18;
/// Zipmaps, ziplists, listpacks, sets of integers: one string.
const PACKED: [u8; 8] = [9, 10, 11, 12, 13, 16, 17, 20];
const STREAM: u8 = 15;
const STREAM_2: u8 = 19;
const STREAM_3: u8 = 21;
/// Hashes whose fields expire: Valkey's, Redis', and Redis' small one.
const HASH_OF_VALKEY: u8 = 22;
const HASH_OF_REDIS: u8 = 24;
const PACKED_HASH_OF_REDIS: u8 = 25;

/// In what follows a module's id.
const END: u64 = 0;
const SIGNED: u64 = 1;
const UNSIGNED: u64 = 2;
const FLOAT: u64 = 3;
const DOUBLE: u64 = 4;
pub const BYTES: u64 = 5;

/// Reads a value of this type to its end.
pub fn skip(reader: &mut Reader<impl Read>, of_type: u8) -> io::Result<()> {
    match of_type {
        STRING => reader.skip_string(),
        PACKED_HASH_OF_REDIS => {
            reader.take(8)?;
            reader.skip_string()
        }
        MODULE => {
            reader.length()?;
            parts(reader)
        }
        STREAM | STREAM_2 | STREAM_3 => stream(reader, of_type),
        _ if PACKED.contains(&of_type) => reader.skip_string(),
        HASH_OF_REDIS => {
            reader.take(8)?;
            each(reader, |reader| {
                reader.length()?;
                strings(reader, 2)
            })
        }
        _ => each(reader, |reader| match of_type {
            HASH => strings(reader, 2),
            SORTED_SET => reader.skip_string().and_then(|()| reader.take(8).map(|_| ())),
            SORTED_SET_OF_TEXTS => reader.skip_string().and_then(|()| text_of_number(reader)),
            QUICKLIST => reader.length().and_then(|_| reader.skip_string()),
            HASH_OF_VALKEY => strings(reader, 2).and_then(|()| reader.take(8).map(|_| ())),
            _ if LISTS_AND_SETS.contains(&of_type) => reader.skip_string(),
            _ => Err(bad(&format!("a value of a type that is not known ({of_type})"))),
        }),
    }
}

fn each<R: Read>(
    reader: &mut Reader<R>,
    mut one: impl FnMut(&mut Reader<R>) -> io::Result<()>,
) -> io::Result<()> {
    for _ in 0..reader.length()? {
        one(reader)?;
    }
    Ok(())
}

fn strings(reader: &mut Reader<impl Read>, number: usize) -> io::Result<()> {
    (0..number).try_for_each(|_| reader.skip_string())
}

fn lengths(reader: &mut Reader<impl Read>, number: usize) -> io::Result<()> {
    (0..number).try_for_each(|_| reader.length().map(|_| ()))
}

/// Three lengths stand for no text at all: what is no number, and the infinities.
fn text_of_number(reader: &mut Reader<impl Read>) -> io::Result<()> {
    match reader.byte()? {
        253..=255 => Ok(()),
        len => reader.take(len.into()).map(|_| ()),
    }
}

/// What a module has written, to its end.
pub fn parts(reader: &mut Reader<impl Read>) -> io::Result<()> {
    loop {
        match reader.length()? {
            END => return Ok(()),
            SIGNED | UNSIGNED => reader.length().map(|_| ())?,
            FLOAT => reader.take(4).map(|_| ())?,
            DOUBLE => reader.take(8).map(|_| ())?,
            BYTES => reader.skip_string()?,
            _ => return Err(bad("a part of a module's value that is not known")),
        }
    }
}

fn stream(reader: &mut Reader<impl Read>, of_type: u8) -> io::Result<()> {
    each(reader, |reader| strings(reader, 2))?;
    // Entries and the last id; later the first, the greatest of those that were deleted, and all that were added.
    lengths(reader, if of_type == STREAM { 3 } else { 8 })?;
    each(reader, |group| {
        group.skip_string()?;
        lengths(group, if of_type == STREAM { 2 } else { 3 })?;
        each(group, |pending| {
            pending.take(16 + 8)?;
            pending.length().map(|_| ())
        })?;
        each(group, |consumer| {
            consumer.skip_string()?;
            consumer.take(if of_type == STREAM_3 { 16 } else { 8 })?;
            each(consumer, |pending| pending.take(16).map(|_| ()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_not_known_is_named() {
        for of_type in [6, 8, 23, 26, 200] {
            let error = skip(&mut Reader::new(&b"\x01aaaaaaaa"[..]), of_type).expect_err("unknown");
            assert_eq!(
                error.to_string(),
                format!("a value of a type that is not known ({of_type})")
            );
        }
    }

    #[test]
    fn a_value_that_says_more_than_comes_is_none() {
        for of_type in 0..=25 {
            let huge = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            assert!(skip(&mut Reader::new(&huge[..]), of_type).is_err(), "{of_type}");
        }
    }
}
