//! The grammar of options: in any order and any case, each at most once unless it says otherwise, those of a
//! group excluding each other. They are read once, by the description that COMMAND DOCS shows.

use super::spec::{Arg, Bounds, Kind, Repeat};
use crate::error::{Error, Result};
use crate::strings::{Args, Name};
use smallvec::SmallVec;
use std::ffi::CStr;

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
    found: SmallVec<[Found; 4]>,
}

/// An option that was given.
#[derive(Debug)]
struct Found {
    option: &'static Arg,
    token: &'static str,
    /// The number of the group, or of the option, in the description.
    group: usize,
    /// The first of its values, and how many there are.
    position: usize,
    values: usize,
    /// Where the value, or the first of several, is a number.
    number: i64,
}

impl<'a> Options<'a> {
    /// Reads the arguments from a position on.
    pub fn parse(
        options: &'static [Arg],
        args: Args<'a>,
        mut position: usize,
        judged: Judged,
    ) -> Result<Self> {
        let mut found = SmallVec::<[Found; 4]>::new();
        while let Some(word) = args.get(position) {
            let Some((group, option, token)) = find(options, word.bytes()) else {
                // The word is not repeated: it may be a secret whose option was forgotten.
                return Err(Error::err(format_args!("unknown option at argument {position}")));
            };
            let mut next =
                Found { option, token, group, position: position + 1, values: 0, number: 0 };
            next.read(args, judged)?;
            next.may_stand_beside(&found)?;
            position += 1 + next.values;
            found.push(next);
        }
        for (group, option) in options.iter().enumerate() {
            if !option.optional && !found.iter().any(|found| found.group == group) {
                let token = option.token.map_or("an option", text);
                let reason = option.reason.unwrap_or("the command can't do without");
                return Err(Error::err(format_args!("{token} is required: {reason}")));
            }
        }
        Ok(Self { args, found })
    }

    fn all<'s>(&'s self, token: &'s str) -> impl Iterator<Item = &'s Found> {
        self.found.iter().filter(move |found| found.token == token)
    }

    /// Whether the option was given.
    pub fn has(&self, token: &str) -> bool {
        self.all(token).next().is_some()
    }

    /// The value of an option.
    pub fn value(&self, token: &str) -> Option<Name<'a>> {
        self.args.get(self.all(token).next()?.position)
    }

    /// The number that is the value of an option.
    pub fn number(&self, token: &str) -> Option<i64> {
        Some(self.all(token).next()?.number)
    }

    /// The values of an option that can be repeated with its token.
    pub fn values(&self, token: &'static str) -> impl Iterator<Item = Name<'a>> + '_ {
        let args = self.args;
        self.all(token).filter_map(move |found| args.get(found.position))
    }

    /// The values of an option that has several, without their number where that is the first.
    pub fn list(&self, token: &str) -> impl Iterator<Item = Name<'a>> + use<'a> {
        let (from, count) = self.all(token).next().map_or((0, 0), |found| {
            let counted = usize::from(found.option.is_counted());
            (found.position + counted, found.values - counted)
        });
        self.args.from(from).take(count)
    }
}

/// The option of this name: the number of its group, and its word.
fn find(options: &'static [Arg], word: &[u8]) -> Option<(usize, &'static Arg, &'static str)> {
    let is = |arg: &'static Arg| {
        let token = arg.token.or(match arg.kind {
            Kind::Block([first, ..]) => first.token,
            _ => None,
        })?;
        token.to_bytes().eq_ignore_ascii_case(word).then(|| (arg, text(token)))
    };
    options.iter().enumerate().find_map(|(group, arg)| {
        let (arg, token) = match arg.kind {
            Kind::OneOf(args) => args.iter().find_map(is)?,
            _ => is(arg)?,
        };
        Some((group, arg, token))
    })
}

fn text(token: &'static CStr) -> &'static str {
    token.to_str().unwrap_or_default()
}

impl Arg {
    /// Whether it is a block that begins with the number of its values.
    fn is_counted(&self) -> bool {
        matches!(self.kind, Kind::Block([.., last]) if last.repeat == Repeat::Value)
    }
}

impl Found {
    /// An error where the option can't come behind those that have.
    fn may_stand_beside(&self, found: &[Self]) -> Result<()> {
        let token = self.token;
        let mut count = 0;
        for before in found.iter().filter(|before| before.group == self.group) {
            if before.token != token {
                return Err(Error::exclude(before.token, token));
            }
            count += 1;
        }
        match self.option.repeat {
            Repeat::WithToken(2) if count >= 2 => {
                Err(Error::err(format_args!("{token} is given more than twice")))
            }
            Repeat::WithToken(most) if count >= most => {
                Err(Error::err(format_args!("{token} is given more than {most} times")))
            }
            Repeat::No | Repeat::Value if count >= 1 => {
                Err(Error::err(format_args!("{token} is given twice")))
            }
            _ => Ok(()),
        }
    }

    /// Finds and checks the values.
    fn read(&mut self, args: Args, judged: Judged) -> Result<()> {
        let token = self.token;
        let missing = || Error::err(format_args!("{token} has no value"));
        match &self.option.kind {
            Kind::Token => {}
            Kind::Block([count, each]) if self.option.is_counted() => {
                let value = args.get(self.position).ok_or_else(missing)?;
                let name = format!("{token} {}", text(count.name));
                if let Kind::Integer(Bounds { client: Some(bound), .. }) = &count.kind {
                    if judged == Judged::Here && (bound.most)() == 0 {
                        let why = bound.name;
                        return Err(Error::err(format_args!(
                            "{token} is not allowed while {why} is 0"
                        )));
                    }
                }
                self.number = check(&count.kind, value, &name, judged)?;
                self.values = 1 + usize::try_from(self.number).unwrap_or(0);
                if args.len() < self.position.saturating_add(self.values) {
                    let what = text(each.name);
                    return Err(Error::err(format_args!(
                        "{token} has fewer {what}s than its count"
                    )));
                }
                let name = format!("a {} of {token}", text(each.name));
                for value in args.from(self.position + 1).take(self.values - 1) {
                    check(&each.kind, value, &name, judged)?;
                }
            }
            Kind::Block(parts) => {
                for part in *parts {
                    let value = args.get(self.position + self.values).ok_or_else(missing)?;
                    check(&part.kind, value, token, judged)?;
                    self.values += 1;
                }
            }
            kind => {
                let value = args.get(self.position).ok_or_else(missing)?;
                self.number = check(kind, value, token, judged)?;
                self.values = 1;
            }
        }
        Ok(())
    }
}

/// Checks a value; returns its number, or 0.
fn check(kind: &Kind, value: Name, name: &str, judged: Judged) -> Result<i64> {
    match kind {
        Kind::Integer(bounds) | Kind::UnixTime(bounds) => {
            let most = match bounds.client {
                Some(bound) if judged == Judged::Here => (bound.most)().min(bounds.most),
                _ => bounds.most,
            };
            integer(value, name, bounds.least, most)
        }
        Kind::String(Some((least, most))) => bytes(value, name, *least, *most).map(|_| 0),
        Kind::Checked(is_right, must) if !is_right(value.bytes()) => {
            Err(Error::err(format_args!("{name} must {must}")))
        }
        _ => Ok(0),
    }
}

/// A whole number between two bounds.
pub fn integer(value: Name, name: &str, least: i64, most: i64) -> Result<i64> {
    match value.integer() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Error::between(name, least, most)),
    }
}

/// Bytes, so many at least and at most.
pub fn bytes<'a>(value: Name<'a>, name: &str, least: usize, most: usize) -> Result<&'a [u8]> {
    let bytes = value.bytes();
    if !(least..=most).contains(&bytes.len()) {
        return Err(Error::err(format_args!("{name} must be between {least} and {most} bytes")));
    }
    Ok(bytes)
}

/// The most keys of a call that counts them.
const MAX_COUNTED_KEYS: i64 = 10_000;

/// `numkeys key value [key value ...]`, at the front of a call: the positions of the keys. The value of each
/// is behind it.
pub fn counted_keys(args: Args) -> Result<impl ExactSizeIterator<Item = usize>> {
    let Some(count) = args.get(1) else { return Err(Error::SYNTAX) };
    let count = integer(count, "numkeys", 1, MAX_COUNTED_KEYS)?;
    let end = 2 + 2 * usize::try_from(count).unwrap_or(0);
    if end > args.len() {
        return Err(Error::err("numkeys is more than the keys and records that follow"));
    }
    Ok((2..end).step_by(2))
}
