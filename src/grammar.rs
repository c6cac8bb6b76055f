//! The options that commands share, and what is made of them.

use crate::settings;
use apikey_engine::entry::region_tag::{is_regions, REGION};
use apikey_engine::entry::tag_names::{
    MAX_ANY_TAG_BYTES, MAX_CALLER_TAGS, MAX_NAMES, MAX_NAMESPACE_BYTES, MAX_OWN_TAGS, MAX_TAG_BYTES,
};
use apikey_engine::invalidation::fence::Token;
use apikey_engine::record::digest::{self, Accepted, Digest, MAX_SECRET_BYTES, NEVER};
use apikey_engine::record::values::{EARLIEST, LATEST};
use host::command::grammar::{bytes, Judged, Options};
use host::command::spec::{Arg, Hides, Repeat, Values};
use host::settings::Number;
use host::{Args, Ctx, Error, Name, Result};
use smallvec::{smallvec, SmallVec};

/// Of a call that takes no secret: all of it where it is wrong, since somebody may have given one.
pub const HIDES: Hides = Hides { errors: true, ..Hides::NOTHING };

/// The same, where it takes records: a row may come with all its columns.
pub const fn hides_records(values: Values) -> Hides {
    Hides { values, ..HIDES }
}

/// The same, where it takes SECRET.
pub const fn hides_secret(values: Values) -> Hides {
    Hides { behind: &["SECRET"], values, ..HIDES }
}

/// The most seconds that a time may have (the year 5138), and milliseconds.
const MAX_SECONDS: i64 = 100_000_000_000;
const MAX_MILLISECONDS: i64 = MAX_SECONDS * 1000;

/// When an entry is to expire.
pub const EXPIRY: Arg = Arg::one_of(c"expiration", EXPIRY_OR_KEEP.split_at(4).0).optional();

/// The same, or when what it replaces would have.
pub const EXPIRY_OR_KEEPTTL: Arg = Arg::one_of(c"expiration", EXPIRY_OR_KEEP).optional();

const EXPIRY_OR_KEEP: &[Arg] = &[
    Arg::integer(c"seconds").between(1, MAX_SECONDS).after(c"EX"),
    Arg::integer(c"milliseconds").between(1, MAX_MILLISECONDS).after(c"PX"),
    Arg::unix_time(c"unix-time-seconds").between(1, MAX_SECONDS).after(c"EXAT"),
    // What a primary has resolved from EX may be later than what a client may give.
    Arg::unix_time(c"unix-time-milliseconds")
        .between(1, i64::MAX)
        .at_most("the latest time", || MAX_MILLISECONDS)
        .after(c"PXAT"),
    Arg::word(c"keepttl", c"KEEPTTL"),
];

const DIGEST: Arg = Arg::string(c"digest").after(c"DIGEST");

const SECRET: Arg = Arg::bytes(c"secret", 1, MAX_SECRET_BYTES).after(c"SECRET");

/// `SECRET s`, or `DIGEST hex`.
pub const PROOF: Arg = Arg::one_of(c"proof", &[SECRET, DIGEST]).optional();

/// `SECRET s`, or once or twice `DIGEST hex`, each with the time until when it is accepted.
pub const PROOFS: Arg = Arg::one_of(c"proof", &[SECRET, ACCEPTED]).optional();

const ACCEPTED: Arg = Arg::block(c"accepted", &[DIGEST, UNTIL]).repeated(Repeat::WithToken(2));

const UNTIL: Arg =
    Arg::unix_time(c"unix-time-milliseconds").between(EARLIEST, LATEST).after(c"UNTIL").optional();

/// `TAGS n tag...` as a primary says them of an entry: with those that its fields made.
pub const ALL_OWN_TAGS: Arg = Arg::block(
    c"tags",
    &[
        Arg::integer(c"count").between(1, MAX_OWN_TAGS as i64).after(c"TAGS"),
        Arg::bytes(c"tag", 1, MAX_ANY_TAG_BYTES).repeated(Repeat::Value),
    ],
)
.optional();

/// `TAGS n tag...`.
pub const TAGS: Arg = Arg::block(
    c"tags",
    &[
        Arg::integer(c"count")
            .between(1, MAX_CALLER_TAGS as i64)
            .at_most("apikey.max-tags", || settings::MAX_TAGS.get())
            .after(c"TAGS"),
        Arg::bytes(c"tag", 1, MAX_TAG_BYTES).repeated(Repeat::Value),
    ],
)
.optional();

/// `NS ns`.
pub const NAMESPACE: Arg = Arg::bytes(c"namespace", 1, MAX_NAMESPACE_BYTES).after(c"NS").optional();

/// `TOKEN t`, which a reader has to give.
pub const TOKEN: Arg = Arg::checked(
    c"token",
    |text| Token::parse(text).is_ok(),
    "be one that a MISS or apikey.token gave",
)
.after(c"TOKEN")
.because("what a reader did not find may have come since it looked");

/// `NX`.
pub const NX: Arg = Arg::word(c"nx", c"NX").optional();

/// `COUNT n`, of so many at most.
pub const fn count(most: i64) -> Arg {
    Arg::integer(c"count").between(1, most).after(c"COUNT").optional()
}

/// Where the running call is judged.
pub fn judged(replayed: bool) -> Judged {
    match replayed {
        true => Judged::Elsewhere,
        false => Judged::Here,
    }
}

/// Reads `COUNT n` from a position on.
pub fn read_count(
    options: &'static [Arg],
    args: Args,
    position: usize,
    default: i64,
) -> Result<usize> {
    let options = Options::parse(options, args, position, Judged::Here)?;
    let count = options.number("COUNT").unwrap_or(default);
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The names that are all of a call from a position on: so many at most, unless it is replayed.
pub fn names<'a>(ctx: &Ctx, args: Args<'a>, from: usize, of: &str) -> Result<Vec<Name<'a>>> {
    let names: Vec<Name> = args.from(from).collect();
    if names.len() > MAX_NAMES && !ctx.is_replayed() {
        return Err(Error::between(format_args!("the number of {of}"), 1, MAX_NAMES));
    }
    Ok(names)
}

/// One tag.
pub fn tag<'a>(value: Name<'a>, name: &str) -> Result<&'a [u8]> {
    bytes(value, name, 1, MAX_ANY_TAG_BYTES)
}

/// When an entry is to expire, as its options say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expiry {
    /// As the settings say.
    Default,
    /// When what it replaces would have.
    Keep,
    /// At this time, in epoch milliseconds.
    At(i64),
}

impl Expiry {
    /// From the options [`EXPIRY_OR_KEEP`].
    pub fn read(options: &Options, now: i64) -> Self {
        if let Some(seconds) = options.number("EX") {
            Self::At(now.saturating_add(seconds * 1000))
        } else if let Some(ms) = options.number("PX") {
            Self::At(now.saturating_add(ms))
        } else if let Some(seconds) = options.number("EXAT") {
            Self::At(seconds * 1000)
        } else if let Some(ms) = options.number("PXAT") {
            Self::At(ms)
        } else if options.has("KEEPTTL") {
            Self::Keep
        } else {
            Self::Default
        }
    }

    /// The time, where nothing is kept; `ttl` is the default.
    pub fn at(self, now: i64, ttl: &Number) -> i64 {
        match self {
            Self::At(time) => time,
            Self::Keep | Self::Default => now.saturating_add(ttl.get() * 1000),
        }
    }
}

/// The digest that SECRET or DIGEST gives.
pub fn digest(options: &Options) -> Result<Option<Digest>> {
    match options.value("SECRET") {
        Some(secret) => Ok(Some(digest::of_secret(secret))),
        None => options.value("DIGEST").map(from_text).transpose(),
    }
}

/// The digests that SECRET or DIGEST has a record accept.
pub fn accepted(options: &Options) -> Result<SmallVec<[Accepted; 2]>> {
    if let Some(secret) = options.value("SECRET") {
        return Ok(smallvec![digest::of_secret(secret).into()]);
    }
    let mut digests = SmallVec::new();
    for (text, until) in options.values_with_numbers("DIGEST") {
        digests.push(Accepted { digest: from_text(text)?, until: until.unwrap_or(NEVER) });
    }
    Ok(digests)
}

/// A digest in one of the forms that databases write.
fn from_text(text: &[u8]) -> Result<Digest> {
    digest::from_text(text)
        .ok_or_else(|| Error::err(format_args!("DIGEST must be {}", digest::FORMS)))
}

/// The token that TOKEN gives.
pub fn token(options: &Options) -> Option<Token> {
    Token::parse(options.value("TOKEN")?).ok()
}

/// The tags that TAGS gives; an error where a client gives one that is a region's.
pub fn tags<'a>(
    options: &Options<'a>,
    judged: Judged,
) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>> {
    if judged == Judged::Here && options.list("TAGS").any(|tag| is_regions(tag.bytes())) {
        return Err(Error::err(format_args!("a tag of TAGS must not have {REGION} in it")));
    }
    Ok(options.list("TAGS").map(Name::bytes))
}

/// What the options of a fill say that has to name its token.
pub struct Fill<'a> {
    pub token: Token,
    pub expiry: Expiry,
    pub tags: Vec<&'a [u8]>,
    /// Empty where none was given.
    pub namespace: &'a [u8],
}

impl<'a> Fill<'a> {
    pub fn read(options: &Options<'a>, now: i64, judged: Judged) -> Result<Self> {
        Ok(Self {
            token: token(options).ok_or(Error::SYNTAX)?,
            expiry: Expiry::read(options, now),
            tags: tags(options, judged)?.collect(),
            namespace: options.value("NS").unwrap_or_default(),
        })
    }
}
