//! The grammar that commands share: options in any order and any case, each at most once.

use crate::command::{Arg, Repeat};
use crate::config;
use crate::error::{Error, Result};
use crate::ffi::{Args, Ctx, Name};
use apikey_engine::digest::{self, Digest, MAX_SECRET_BYTES};
use apikey_engine::fence::Token;
use apikey_engine::tags::{MAX_CALLER_TAGS, MAX_NAMESPACE_BYTES, MAX_TAG_BYTES};
use std::iter::StepBy;
use std::ops::Range;

/// The arguments behind the fixed ones, read one by one.
pub struct Options<'a> {
    args: Args<'a>,
    position: usize,
}

impl<'a> Options<'a> {
    pub fn new(args: Args<'a>, position: usize) -> Self {
        Self { args, position }
    }

    /// The next option's name as it was written.
    pub fn next_name(&mut self) -> Option<&'a [u8]> {
        let name = self.args.get(self.position)?;
        self.position += 1;
        Some(name.bytes())
    }

    /// The next argument, which belongs to the option `of`.
    pub fn value(&mut self, of: &str) -> Result<Name<'a>> {
        let value = self
            .args
            .get(self.position)
            .ok_or_else(|| Error::err(format_args!("{of} has no value")))?;
        self.position += 1;
        Ok(value)
    }

    /// The error for an option that the command does not know. Its name is not repeated: it may be
    /// a secret whose option was forgotten.
    pub fn unknown(&self) -> Error {
        Error::err(format_args!("unknown option at argument {}", self.position.saturating_sub(1)))
    }
}

/// Whether an option has this name, in any case.
pub fn is(option: &[u8], name: &str) -> bool {
    option.eq_ignore_ascii_case(name.as_bytes())
}

/// Keeps every argument that follows the word SECRET out of MONITOR and SLOWLOG, before anything else
/// is read: also where the call is malformed.
pub fn redact_secrets(ctx: Ctx, args: Args) {
    for position in 1..args.len().saturating_sub(1) {
        if args.get(position).is_some_and(|word| is(word.bytes(), "SECRET")) {
            ctx.redact(position + 1);
        }
    }
}

/// Sets what an option gave; an error where it has been given.
pub fn set_once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::err(format_args!("{name} is given twice")));
    }
    Ok(())
}

pub fn exclude(one: &str, other: &str) -> Error {
    Error::err(format_args!("{one} and {other} exclude each other"))
}

/// A whole number between two bounds.
pub fn integer(value: Name, name: &str, least: i64, most: i64) -> Result<i64> {
    match value.integer() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Error::between(name, least, most)),
    }
}

/// A secret's digest.
pub fn secret(value: Name) -> Result<Digest> {
    text(value, "SECRET", MAX_SECRET_BYTES).map(digest::of_secret)
}

/// A text of 1 to `most` bytes.
pub fn text<'a>(value: Name<'a>, name: &str, most: usize) -> Result<&'a [u8]> {
    let text = value.bytes();
    if !(1..=most).contains(&text.len()) {
        return Err(Error::err(format_args!("{name} must be between 1 and {most} bytes")));
    }
    Ok(text)
}

/// A digest in hex.
pub fn digest(value: Name) -> Result<Digest> {
    digest::from_hex(value.bytes()).ok_or_else(|| Error::err("DIGEST must be 64 hex digits"))
}

/// One tag.
pub fn tag<'a>(value: Name<'a>, name: &str) -> Result<&'a [u8]> {
    text(value, name, MAX_TAG_BYTES)
}

/// `TAGS n tag...`, for COMMAND DOCS.
pub const TAGS: Arg = Arg::block(
    c"tags",
    &[Arg::integer(c"count").after(c"TAGS"), Arg::string(c"tag").repeated(Repeat::Value)],
);

/// `TAGS n tag...`, behind the word.
pub fn tags<'a>(options: &mut Options<'a>, replayed: bool) -> Result<Vec<&'a [u8]>> {
    let most = if replayed { MAX_CALLER_TAGS } else { config::MAX_TAGS.size() };
    if most == 0 {
        return Err(Error::err("TAGS is not allowed while apikey.max-tags is 0"));
    }
    let count = integer(options.value("TAGS")?, "TAGS count", 1, most as i64)?;
    (0..count)
        .map(|_| {
            let value =
                options.value("").map_err(|_| Error::err("TAGS has fewer tags than its count"))?;
            tag(value, "a tag of TAGS")
        })
        .collect()
}

/// `NS ns`, for COMMAND DOCS.
pub const NAMESPACE: Arg = Arg::string(c"namespace").after(c"NS");

/// `NS ns`, behind the word.
pub fn namespace<'a>(options: &mut Options<'a>) -> Result<&'a [u8]> {
    text(options.value("NS")?, "NS", MAX_NAMESPACE_BYTES)
}

/// `TOKEN t`, behind the word.
pub fn token(options: &mut Options) -> Result<Token> {
    let text = options.value("TOKEN")?.bytes();
    Token::parse(text).map_err(|_| Error::err("TOKEN must be one that a MISS or apikey.token gave"))
}

/// The most keys of a call that counts them.
const MAX_COUNTED_KEYS: i64 = 10_000;

/// `numkeys key value [key value ...]`, at the front of a call: where the keys are. The value of each is
/// behind it.
pub fn counted_keys(args: Args) -> Result<StepBy<Range<usize>>> {
    let Some(count) = args.get(1) else { return Err(Error::SYNTAX) };
    let count = integer(count, "numkeys", 1, MAX_COUNTED_KEYS)?;
    let end = 2 + 2 * usize::try_from(count).unwrap_or(0);
    if end > args.len() {
        return Err(Error::err("numkeys is more than the keys and records that follow"));
    }
    Ok((2..end).step_by(2))
}

/// When an entry is to expire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expiry {
    /// As the configuration says.
    Default,
    /// When what it replaces would have.
    Keep,
    /// At this time, in epoch milliseconds.
    At(i64),
}

impl Expiry {
    /// The time, where nothing is kept; `ttl` is the default.
    pub fn at(self, now: i64, ttl: &config::Number) -> i64 {
        match self {
            Self::At(time) => time,
            Self::Keep | Self::Default => now + ttl.get() * 1000,
        }
    }
}

/// The options that say so, for COMMAND DOCS.
pub const EXPIRY_OR_KEEP: &[Arg] = &[
    Arg::integer(c"seconds").after(c"EX"),
    Arg::integer(c"milliseconds").after(c"PX"),
    Arg::unix_time(c"unix-time-seconds").after(c"EXAT"),
    Arg::unix_time(c"unix-time-milliseconds").after(c"PXAT"),
    Arg::word(c"keepttl", c"KEEPTTL"),
];

/// Those without KEEPTTL.
pub const EXPIRY: &[Arg] = EXPIRY_OR_KEEP.split_at(4).0;

/// The most seconds that a time may have (the year 5138), and milliseconds.
const MAX_SECONDS: i64 = 100_000_000_000;
const MAX_MILLISECONDS: i64 = MAX_SECONDS * 1000;

/// EX, PX, EXAT, PXAT and KEEPTTL, of which one may be given.
#[derive(Default)]
pub struct ExpiryOptions(Option<(&'static str, Expiry)>);

/// The moment at which a call is read, and whether it is one that was resolved elsewhere.
#[derive(Clone, Copy)]
pub struct Call {
    /// Epoch milliseconds.
    pub now: i64,
    pub replayed: bool,
}

impl ExpiryOptions {
    /// Takes the option if it is one of these.
    pub fn take(&mut self, option: &[u8], options: &mut Options, call: Call) -> Result<bool> {
        let names = ["EX", "PX", "EXAT", "PXAT", "KEEPTTL"];
        let Some(name) = names.into_iter().find(|name| is(option, name)) else { return Ok(false) };
        match self.0 {
            Some((before, _)) if before == name => {
                return Err(Error::err(format_args!("{name} is given twice")))
            }
            Some((before, _)) => return Err(exclude(before, name)),
            None => {}
        }
        let mut number = |most| integer(options.value(name)?, name, 1, most);
        let expiry = match name {
            "EX" => Expiry::At(call.now.saturating_add(number(MAX_SECONDS)? * 1000)),
            "PX" => Expiry::At(call.now.saturating_add(number(MAX_MILLISECONDS)?)),
            "EXAT" => Expiry::At(number(MAX_SECONDS)? * 1000),
            // What a primary has resolved from EX may be later than what a client may give.
            "PXAT" if call.replayed => Expiry::At(number(i64::MAX)?),
            "PXAT" => Expiry::At(number(MAX_MILLISECONDS)?),
            _ => Expiry::Keep,
        };
        self.0 = Some((name, expiry));
        Ok(true)
    }

    pub fn get(&self) -> Expiry {
        self.0.map_or(Expiry::Default, |(_, expiry)| expiry)
    }
}

/// The options of a fill that has to name its token.
pub struct Fill<'a> {
    pub token: Token,
    expiry: ExpiryOptions,
    pub tags: Vec<&'a [u8]>,
    /// Empty where none was given.
    pub namespace: &'a [u8],
}

impl<'a> Fill<'a> {
    /// Reads them from a position on; `more` takes what is special to the command before that.
    pub fn parse(
        args: Args<'a>,
        position: usize,
        call: Call,
        mut more: impl FnMut(&[u8], &mut Options<'a>) -> Result<bool>,
    ) -> Result<Self> {
        let mut options = Options::new(args, position);
        let (mut token, mut expiry) = (None, ExpiryOptions::default());
        let (mut tags, mut namespace) = (None, None);
        while let Some(option) = options.next_name() {
            if more(option, &mut options)? {
                continue;
            }
            if is(option, "TOKEN") {
                set_once(&mut token, "TOKEN", self::token(&mut options)?)?;
            } else if is(option, "TAGS") {
                set_once(&mut tags, "TAGS", self::tags(&mut options, call.replayed)?)?;
            } else if is(option, "NS") {
                set_once(&mut namespace, "NS", self::namespace(&mut options)?)?;
            } else if is(option, "KEEPTTL") || !expiry.take(option, &mut options, call)? {
                return Err(options.unknown());
            }
        }
        let token = token.ok_or_else(|| {
            Error::err(
                "TOKEN is required: what a reader did not find may have come since it looked",
            )
        })?;
        let (tags, namespace) = (tags.unwrap_or_default(), namespace.unwrap_or_default());
        Ok(Self { token, expiry, tags, namespace })
    }

    /// When the entry is to expire, where `ttl` is the default.
    pub fn expires_at(&self, now: i64, ttl: &config::Number) -> i64 {
        self.expiry.get().at(now, ttl)
    }
}

/// The options of [`Fill`] with every default spelled out; nobody asks for the token again.
pub fn resolved<'t>(
    expires_at: i64,
    tags: impl Iterator<Item = &'t [u8]>,
    namespace: &[u8],
) -> Vec<Vec<u8>> {
    let word = |word: &str| word.as_bytes().to_vec();
    let mut all = vec![word("TOKEN"), word(&Token::REFUSED.text())];
    all.extend([word("PXAT"), word(&expires_at.to_string())]);
    let tags: Vec<_> = tags.map(<[u8]>::to_vec).collect();
    if !tags.is_empty() {
        all.extend([word("TAGS"), word(&tags.len().to_string())]);
        all.extend(tags);
    }
    if !namespace.is_empty() {
        all.extend([word("NS"), namespace.to_vec()]);
    }
    all
}

/// `COUNT n`, the only option of some commands.
pub fn count(args: Args, position: usize, default: i64, most: i64) -> Result<i64> {
    let mut options = Options::new(args, position);
    let mut count = None;
    while let Some(option) = options.next_name() {
        if !is(option, "COUNT") {
            return Err(options.unknown());
        }
        let value = integer(options.value("COUNT")?, "COUNT", 1, most)?;
        set_once(&mut count, "COUNT", value)?;
    }
    Ok(count.unwrap_or(default))
}
