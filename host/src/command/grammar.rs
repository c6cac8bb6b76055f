//! The grammar of options: in any order and any case, each at most once unless it says otherwise, those of a
//! group excluding each other. They are read once, by the description that COMMAND DOCS shows.

use super::spec::{Arg, Bounds, Kind, Repeat};
use crate::error::{Error, Result};
use crate::strings::{Args, Name};
use smallvec::SmallVec;
use std::ffi::CStr;
use std::fmt::Display;

/// Where a call is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Here, where its client is: all bounds hold.
    Here,
    /// Where its client was: [`Bounds::client`] does not hold.
    Elsewhere,
}

/// The options of a call, each within its bounds.
#[derive(Debug)]
pub struct Options<'a> {
    args: Args<'a>,
    found: SmallVec<[Found<'a>; 4]>,
}

/// An option that was given.
#[derive(Debug)]
struct Found<'a> {
    option: &'static Arg,
    /// The value, or the first of several.
    value: &'a [u8],
    /// Where the value, or the first of several, is a number; or that of the part which may be left out.
    number: i64,
    /// The first of its values, and how many there are.
    position: u32,
    values: u32,
    /// The number of the group, or of the option, in the description.
    group: u32,
}

impl<'a> Options<'a> {
    /// Reads the arguments from a position on.
    // In place: handing all of it back through memory would cost as much as reading it.
    #[inline(always)]
    pub fn parse(
        options: &'static [Arg],
        args: Args<'a>,
        position: usize,
        judged: Judged,
    ) -> Result<Self> {
        let mut parsed = Self { args, found: SmallVec::new() };
        parsed.read(options, position, judged)?;
        Ok(parsed)
    }

    fn read(&mut self, options: &'static [Arg], mut position: usize, judged: Judged) -> Result<()> {
        while let Some(word) = self.args.get(position) {
            let Some((group, option)) = find(options, word.bytes()) else {
                // The word is not repeated: it may be a secret whose option was forgotten.
                return Err(Error::err(format_args!("unknown option at argument {position}")));
            };
            position += 1;
            let mut next = Found {
                option,
                value: &[],
                number: 0,
                position: short(position),
                values: 0,
                group,
            };
            next.read(self.args, judged)?;
            next.may_stand_beside(&self.found)?;
            position += next.values as usize;
            self.found.push(next);
        }
        for (group, option) in (0..).zip(options) {
            if !option.optional && !self.found.iter().any(|found| found.group == group) {
                let reason = option.reason.unwrap_or("the command can't do without");
                return Err(Error::err(format_args!("{} is required: {reason}", option.shown())));
            }
        }
        Ok(())
    }

    fn all<'s>(&'s self, token: &'s str) -> impl Iterator<Item = &'s Found<'a>> {
        let is = |option: &Arg| option.token.is_some_and(|t| t.to_bytes() == token.as_bytes());
        self.found.iter().filter(move |found| is(found.option))
    }

    /// Whether the option was given.
    pub fn has(&self, token: &str) -> bool {
        self.all(token).next().is_some()
    }

    /// The value of an option.
    pub fn value(&self, token: &str) -> Option<&'a [u8]> {
        Some(self.all(token).next()?.value)
    }

    /// The number that is the value of an option.
    pub fn number(&self, token: &str) -> Option<i64> {
        Some(self.all(token).next()?.number)
    }

    /// The values of an option that can be repeated with its token.
    pub fn values<'s>(&'s self, token: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.all(token).map(|found| found.value)
    }

    /// Where the values of an option stand that can be repeated with its token.
    pub fn positions<'s>(&'s self, token: &'s str) -> impl Iterator<Item = usize> + use<'s, 'a> {
        self.all(token).map(|found| found.position as usize)
    }

    /// The values of an option that can be repeated with its token, each with the number of the part that may be left out.
    pub fn values_with_numbers<'s>(
        &'s self,
        token: &'s str,
    ) -> impl Iterator<Item = (&'a [u8], Option<i64>)> + 's {
        self.all(token).map(|found| (found.value, (found.values > 1).then_some(found.number)))
    }

    /// The values of an option that has several, without their number where that is the first.
    pub fn list(&self, token: &str) -> impl Iterator<Item = Name<'a>> + use<'a> {
        let (from, count) = self.all(token).next().map_or((0, 0), |found| {
            let counted = u32::from(found.option.is_counted());
            (found.position + counted, found.values.saturating_sub(counted))
        });
        self.args.from(from as usize).take(count as usize)
    }
}

/// Whether an argument is this word, in any case.
// In place: most are not, which their lengths say.
#[inline(always)]
pub(super) fn is_word(argument: &[u8], word: &[u8]) -> bool {
    // Nearly all write it as it is shown, which is found out in one go.
    argument.len() == word.len() && (argument == word || argument.eq_ignore_ascii_case(word))
}

/// A command has fewer arguments than that.
fn short(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The option of this name, and the number of its group.
#[inline]
fn find(options: &'static [Arg], word: &[u8]) -> Option<(u32, &'static Arg)> {
    (0..).zip(options).find_map(|(group, arg)| {
        let arg = match arg.kind {
            Kind::OneOf(args) => args.iter().find(|arg| arg.is(word))?,
            _ => Some(arg).filter(|arg| arg.is(word))?,
        };
        Some((group, arg))
    })
}

impl Arg {
    /// Whether its word is this one, in any case.
    #[inline(always)]
    fn is(&self, word: &[u8]) -> bool {
        self.token.is_some_and(|token| is_word(word, token.to_bytes()))
    }

    /// Its word, for errors.
    fn shown(&self) -> &'static str {
        self.token.map_or("an option", text)
    }

    /// Whether it is a block that begins with the number of its values.
    fn is_counted(&self) -> bool {
        matches!(self.kind, Kind::Block([.., last]) if last.repeat == Repeat::Value)
    }
}

fn text(text: &'static CStr) -> &'static str {
    text.to_str().unwrap_or_default()
}

impl<'a> Found<'a> {
    /// An error where the option can't come behind those that have.
    fn may_stand_beside(&self, found: &[Self]) -> Result<()> {
        let mut count = 0;
        for before in found.iter().filter(|before| before.group == self.group) {
            if !std::ptr::eq(before.option, self.option) {
                return Err(Error::exclude(before.option.shown(), self.option.shown()));
            }
            count += 1;
        }
        let most = match self.option.repeat {
            Repeat::WithToken(most) => most,
            Repeat::No | Repeat::Value => 1,
        };
        if count < most {
            return Ok(());
        }
        let token = self.option.shown();
        Err(match most {
            1 => Error::err(format_args!("{token} is given twice")),
            2 => Error::err(format_args!("{token} is given more than twice")),
            most => Error::err(format_args!("{token} is given more than {most} times")),
        })
    }

    /// Finds and checks the values.
    fn read(&mut self, args: Args<'a>, judged: Judged) -> Result<()> {
        let (option, from) = (self.option, self.position as usize);
        let value = |at: usize| {
            let missing = || Error::err(format_args!("{} has no value", option.shown()));
            args.get(from + at).ok_or_else(missing)
        };
        match &option.kind {
            Kind::Token => {}
            Kind::Read(_, read) => self.values = short(read(args, from)?),
            Kind::Block([count, each]) if option.is_counted() => {
                let token = option.shown();
                let first = value(0)?;
                if let Kind::Integer(Bounds { client: Some(bound), .. }) = &count.kind {
                    if judged == Judged::Here && (bound.most)() == 0 {
                        let why = bound.name;
                        return Err(Error::err(format_args!(
                            "{token} is not allowed while {why} is 0"
                        )));
                    }
                }
                let name = Called::CountOf(option, count);
                self.number = check(&count.kind, first, name, judged)?;
                let values = usize::try_from(self.number).unwrap_or(0);
                self.values = short(values.saturating_add(1));
                if args.len() <= from.saturating_add(values) {
                    let what = text(each.name);
                    return Err(Error::err(format_args!(
                        "{token} has fewer {what}s than its count"
                    )));
                }
                for value in args.from(from + 1).take(values) {
                    check(&each.kind, value, Called::OneOf(option, each), judged)?;
                }
            }
            Kind::Block([first, last]) if last.optional => {
                let value = value(0)?;
                self.value = value.bytes();
                self.values = 1;
                check(&first.kind, value, Called::Option(option), judged)?;
                if args.get(from + 1).is_some_and(|word| last.is(word.bytes())) {
                    let missing = || Error::err(format_args!("{} has no value", last.shown()));
                    let number = args.get(from + 2).ok_or_else(missing)?;
                    self.number = check(&last.kind, number, Called::Option(last), judged)?;
                    self.values = 3;
                }
            }
            Kind::Block(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    check(&part.kind, value(at)?, Called::Option(option), judged)?;
                }
                self.values = short(parts.len());
            }
            kind => {
                let value = value(0)?;
                self.value = value.bytes();
                self.values = 1;
                self.number = check_bytes(kind, value, self.value, Called::Option(option), judged)?;
            }
        }
        Ok(())
    }
}

/// What an error calls a value.
#[derive(Clone, Copy)]
enum Called {
    Option(&'static Arg),
    CountOf(&'static Arg, &'static Arg),
    OneOf(&'static Arg, &'static Arg),
}

impl std::fmt::Display for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Option(option) => f.write_str(option.shown()),
            Self::CountOf(option, count) => write!(f, "{} {}", option.shown(), text(count.name)),
            Self::OneOf(option, each) => write!(f, "a {} of {}", text(each.name), option.shown()),
        }
    }
}

/// Checks a value; returns its number, or 0.
fn check(kind: &Kind, value: Name, name: Called, judged: Judged) -> Result<i64> {
    check_bytes(kind, value, value.bytes(), name, judged)
}

/// The same, where its bytes are known.
fn check_bytes(
    kind: &Kind,
    value: Name,
    bytes: &[u8],
    name: Called,
    judged: Judged,
) -> Result<i64> {
    match kind {
        Kind::Integer(bounds) | Kind::UnixTime(bounds) => {
            let most = match bounds.client {
                Some(bound) if judged == Judged::Here => (bound.most)().min(bounds.most),
                _ => bounds.most,
            };
            match (kind, value.integer()) {
                (_, Some(number)) if (bounds.least..=most).contains(&number) => Ok(number),
                // Of a time that would be one in milliseconds, the unit is told.
                (Kind::UnixTime(_), Some(number))
                    if number < bounds.least
                        && number
                            .checked_mul(1000)
                            .is_some_and(|ms| (bounds.least..=most).contains(&ms)) =>
                {
                    Err(Error::err(format_args!(
                        "{name} must be between {} and {most}; it looks like seconds",
                        bounds.least
                    )))
                }
                _ => Err(Error::between(name, bounds.least, most)),
            }
        }
        Kind::String(Some((least, most))) => within(bytes, name, *least, *most).map(|_| 0),
        Kind::Checked(is_right, must) if !is_right(bytes) => {
            Err(Error::err(format_args!("{name} must {must}")))
        }
        _ => Ok(0),
    }
}

/// A whole number between two bounds.
pub fn integer(value: Name, name: impl Display, least: i64, most: i64) -> Result<i64> {
    match value.integer() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Error::between(name, least, most)),
    }
}

/// Bytes, so many at least and at most.
pub fn bytes<'a>(
    value: Name<'a>,
    name: impl Display,
    least: usize,
    most: usize,
) -> Result<&'a [u8]> {
    within(value.bytes(), name, least, most)
}

fn within(bytes: &[u8], name: impl Display, least: usize, most: usize) -> Result<&[u8]> {
    if !(least..=most).contains(&bytes.len()) {
        return Err(Error::err(format_args!("{name} must be between {least} and {most} bytes")));
    }
    Ok(bytes)
}

/// The most keys of a call that counts them.
const MAX_COUNTED_KEYS: i64 = 10_000;

/// `numkeys key [key ...]` from a position on: the positions of the keys.
pub fn counted_names(args: Args, at: usize) -> Result<std::ops::Range<usize>> {
    let Some(count) = args.get(at) else { return Err(Error::SYNTAX) };
    let count = integer(count, "numkeys", 1, MAX_COUNTED_KEYS)?;
    let end = at + 1 + usize::try_from(count).unwrap_or(0);
    match end <= args.len() {
        true => Ok(at + 1..end),
        false => Err(Error::err("numkeys is more than the keys that follow")),
    }
}

/// `numkeys key value [key value ...]` from a position on: the positions of the keys. The value of each is behind
/// it.
pub fn counted_keys(args: Args, at: i32) -> Result<impl ExactSizeIterator<Item = usize>> {
    let at = usize::try_from(at).unwrap_or(0);
    let Some(count) = args.get(at) else { return Err(Error::SYNTAX) };
    let count = integer(count, "numkeys", 1, MAX_COUNTED_KEYS)?;
    let end = at + 1 + 2 * usize::try_from(count).unwrap_or(0);
    if end > args.len() {
        return Err(Error::err("numkeys is more than the keys and values that follow"));
    }
    Ok((at + 1..end).step_by(2))
}
