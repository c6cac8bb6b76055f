//! The option LIMIT of a call.

use apikey_engine::limits::limit::{Limit, Rule, MAX_COUNTERS};
use apikey_engine::record::limits::quota;
use host::command::grammar::integer;
use host::command::spec::{Arg, Repeat};
use host::{Args, Error, Name, Result};

const RATE: Arg = Arg::block(
    c"rate",
    &[
        Arg::integer(c"units").after(c"RATE"),
        Arg::integer(c"milliseconds"),
        Arg::integer(c"burst").after(c"BURST").optional(),
    ],
);

const PERIOD: Arg = Arg::one_of(
    c"period",
    &[
        Arg::word(c"hour", c"HOUR"),
        Arg::word(c"day", c"DAY"),
        Arg::word(c"week", c"WEEK"),
        Arg::word(c"month", c"MONTH"),
        Arg::word(c"year", c"YEAR"),
    ],
);

const QUOTA: Arg = Arg::block(
    c"quota",
    &[
        Arg::integer(c"units").after(c"QUOTA"),
        PERIOD,
        Arg::integer(c"day-of-month").after(c"DAY").optional(),
        Arg::integer(c"minutes").after(c"OFFSET").optional(),
    ],
);

/// `LIMIT i name RATE ..`, once for each limit.
pub const LIMIT: Arg = Arg::read(
    c"limit",
    &[
        Arg::integer(c"counter").after(c"LIMIT"),
        Arg::string(c"name"),
        Arg::one_of(c"rule", &[RATE, QUOTA, Arg::word(c"credits", c"CREDITS")]),
        Arg::integer(c"units-per-cost").after(c"WEIGHT").optional(),
        Arg::word(c"shadow", c"SHADOW").optional(),
    ],
    |args, from| read(args, from).map(|(_, _, len)| len),
)
.optional()
.repeated(Repeat::WithToken(apikey_engine::limits::limit::MAX_LIMITS));

/// Of a call from a position on.
struct Rest<'a> {
    args: Args<'a>,
    at: usize,
}

impl<'a> Rest<'a> {
    fn next(&mut self) -> Result<Name<'a>> {
        let next = self.args.get(self.at).ok_or_else(|| Error::err("LIMIT is not whole"))?;
        self.at += 1;
        Ok(next)
    }

    fn number(&mut self, name: &str) -> Result<i64> {
        let value = self.next()?.integer();
        value.ok_or_else(|| Error::err(format_args!("{name} of LIMIT must be a whole number")))
    }

    /// Whether a word is next, which it then is no more.
    fn word(&mut self, word: &str) -> bool {
        let is_it = self.args.get(self.at).is_some_and(|arg| is(arg, word));
        self.at += usize::from(is_it);
        is_it
    }

    /// The number behind a word, if that is next.
    fn option(&mut self, word: &str) -> Result<Option<i64>> {
        match self.word(word) {
            true => self.number(word).map(Some),
            false => Ok(None),
        }
    }
}

fn is(arg: Name, word: &str) -> bool {
    arg.bytes().eq_ignore_ascii_case(word.as_bytes())
}

/// The limit from a position on, behind LIMIT: the number of its counter, from 1; itself; how many arguments it has.
pub fn read(args: Args, from: usize) -> Result<(u8, Limit, usize)> {
    let mut rest = Rest { args, at: from };
    let counter = integer(rest.next()?, "the counter of LIMIT", 1, MAX_COUNTERS.into())?;
    let name = rest.next()?;
    let kind = rest.next()?;
    let of_limit = |why: String| Error::err(format_args!("LIMIT {why}"));
    let rule = if is(kind, "RATE") {
        let (units, per) = (rest.number("units")?, rest.number("milliseconds")?);
        Rule::Rate { units, per, burst: rest.option("BURST")?.unwrap_or(units) }
    } else if is(kind, "QUOTA") {
        let units = rest.number("units")?;
        let period = rest.next()?;
        let (mut day, mut offset) = (rest.option("DAY")?, rest.option("OFFSET")?);
        if day.is_none() {
            day = rest.option("DAY")?;
        }
        if offset.is_none() {
            offset = rest.option("OFFSET")?;
        }
        quota(units, &String::from_utf8_lossy(period.bytes()), day, offset).map_err(of_limit)?
    } else if is(kind, "CREDITS") {
        Rule::Credits
    } else {
        return Err(Error::err("LIMIT must be RATE, QUOTA or CREDITS behind its name"));
    };
    let (mut weight, shadow) = (rest.option("WEIGHT")?, rest.word("SHADOW"));
    if weight.is_none() {
        weight = rest.option("WEIGHT")?;
    }
    let limit = Limit::new(name.bytes(), rule, weight.unwrap_or(1), shadow).map_err(of_limit)?;
    Ok((u8::try_from(counter).unwrap_or(1), limit, rest.at - from))
}
