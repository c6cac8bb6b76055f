//! A limit: its name, what it bounds, and its bytes, by which it is kept with a record and with a counter.
//!
//! ```text
//! kind, with SHADOW beside it | length of the name | name | cost (4 bytes) | of a rate: units, per, burst; of a quota: units,
//! unit, day (a byte each), offset (2) | of credits nothing
//! ```
//!
//! Numbers have the lower byte first, and eight bytes where nothing else is said. One limit has one form alone, so that
//! two are the same where their bytes are.

use crate::limits::calendar::{Calendar, Unit, MOST_OFFSET};
use std::fmt::Display;

/// The most limits that judge one request.
pub const MAX_LIMITS: usize = 16;

/// The most counters that one call names, and that a limit may stand in.
pub const MAX_COUNTERS: u8 = 16;

/// The most bytes of a limit's name.
pub const MAX_NAME_BYTES: usize = 64;

/// The most units of a quota, of a burst, and of credits.
pub const MAX_UNITS: i64 = 1_000_000_000_000_000;

/// The longest time of a rate: 366 days.
pub const MAX_PER_MS: i64 = 31_622_400_000;

/// The most units that a limit takes for one of COST.
pub const MAX_UNIT_COST: i64 = 1_000_000;

/// The highest COST.
pub const MAX_COST: i64 = 1_000_000_000;

/// What a limit bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// At most `burst` at once, and `units` in `per` milliseconds.
    Rate { units: i64, per: i64, burst: i64 },
    /// `units` in each period.
    Quota { units: i64, calendar: Calendar },
    /// What there is.
    Credits,
}

impl Rule {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate",
            Self::Quota { .. } => "quota",
            Self::Credits => "credits",
        }
    }

    /// Whether what was taken by one is measured the same by the other: a rate's parts, its burst and its pace, a quota's
    /// periods.
    pub fn measures_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quota { calendar, .. }, Self::Quota { calendar: of, .. }) => calendar == of,
            _ => self == other,
        }
    }
}

/// See the top of this file.
#[derive(Debug, PartialEq, Eq)]
pub struct Limit {
    bytes: Box<[u8]>,
    rule: Rule,
    cost: i64,
}

const RATE: u8 = 0;
const QUOTA: u8 = 1;
const CREDITS: u8 = 2;
const SHADOW: u8 = 0x80;

/// Before the name.
const HEAD: usize = 2;

/// The most bytes that a limit takes among those of a record.
pub const MAX_BYTES: usize = 2 + HEAD + MAX_NAME_BYTES + 4 + 24;

fn within(what: impl Display, number: i64, least: i64, most: i64) -> Result<(), String> {
    match (least..=most).contains(&number) {
        true => Ok(()),
        false => Err(format!("{what} must be between {least} and {most}")),
    }
}

impl Limit {
    /// A limit; or what is wrong with it.
    pub fn new(name: &[u8], rule: Rule, cost: i64, shadow: bool) -> Result<Self, String> {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte);
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.iter().all(is_letter) {
            return Err(format!(
                "name must be 1 to {MAX_NAME_BYTES} letters, digits or any of _ - . :"
            ));
        }
        within("cost", cost, 0, MAX_UNIT_COST)?;
        let kind = match rule {
            Rule::Rate { units, per, burst } => {
                within("units", units, 1, MAX_UNITS)?;
                within("per", per, 1, MAX_PER_MS)?;
                within("burst", burst, 1, MAX_UNITS)?;
                if burst.checked_mul(per).is_none() {
                    return Err(format!("burst must be at most {} with this per", i64::MAX / per));
                }
                RATE
            }
            Rule::Quota { units, calendar } => {
                within("quota", units, 0, MAX_UNITS)?;
                within(
                    "offset",
                    calendar.offset.into(),
                    -i64::from(MOST_OFFSET),
                    MOST_OFFSET.into(),
                )?;
                within("day", calendar.unit.parts().1.into(), 1, 31)?;
                QUOTA
            }
            Rule::Credits => CREDITS,
        };
        let mut bytes = vec![kind | if shadow { SHADOW } else { 0 }];
        bytes.push(u8::try_from(name.len()).unwrap_or_default());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&u32::try_from(cost).unwrap_or_default().to_le_bytes());
        match rule {
            Rule::Rate { units, per, burst } => {
                [units, per, burst].iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
            }
            Rule::Quota { units, calendar: Calendar { unit, offset } } => {
                let (number, day) = unit.parts();
                bytes.extend_from_slice(&units.to_le_bytes());
                bytes.extend_from_slice(&[number, day]);
                bytes.extend_from_slice(&offset.to_le_bytes());
            }
            Rule::Credits => {}
        }
        Ok(Self { bytes: bytes.into(), rule, cost })
    }

    /// The limit that has these bytes; `None` where none has.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&[kind, len], rest) = bytes.split_first_chunk::<HEAD>()?;
        let (name, rest) = rest.split_at_checked(len.into())?;
        let (cost, rest) = rest.split_first_chunk()?;
        let cost = i64::from(u32::from_le_bytes(*cost));
        let number = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
        let rule = match (kind & !SHADOW, rest.as_chunks::<8>()) {
            (RATE, ([units, per, burst], [])) => {
                Rule::Rate { units: number(units), per: number(per), burst: number(burst) }
            }
            (QUOTA, ([units], &[unit, day, low, high])) => {
                let unit = Unit::from_parts(unit, day)?;
                let offset = i16::from_le_bytes([low, high]);
                Rule::Quota { units: number(units), calendar: Calendar { unit, offset } }
            }
            (CREDITS, ([], [])) => Rule::Credits,
            _ => return None,
        };
        let limit = Self::new(name, rule, cost, kind & SHADOW != 0).ok()?;
        (*limit.bytes == *bytes).then_some(limit)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn name(&self) -> &[u8] {
        name_of(&self.bytes)
    }

    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Units that it takes for one of COST.
    pub fn cost(&self) -> i64 {
        self.cost
    }

    /// Whether it never denies.
    pub fn is_shadow(&self) -> bool {
        self.bytes.first().is_some_and(|kind| kind & SHADOW != 0)
    }
}

/// The name of the limit that has these bytes.
pub fn name_of(bytes: &[u8]) -> &[u8] {
    let len = bytes.get(1).copied().map_or(0, usize::from);
    bytes.get(HEAD..HEAD + len).unwrap_or_default()
}

/// Whether two limits, by their bytes, are kept as one: of the same name and kind.
pub fn are_one(one: &[u8], other: &[u8]) -> bool {
    let kind = |bytes: &[u8]| bytes.first().map(|kind| kind & !SHADOW);
    kind(one) == kind(other) && name_of(one) == name_of(other)
}

/// Limits of a record, each with the number of its counter, one behind the other:
///
/// ```text
/// number of the counter, from 1 | length of the limit's bytes | the limit's bytes
/// ```
pub fn push(counter: u8, limit: &Limit, into: &mut Vec<u8>) {
    into.push(counter);
    into.push(u8::try_from(limit.bytes.len()).unwrap_or_default());
    into.extend_from_slice(&limit.bytes);
}

/// Reads what [`push`] has written; ends where it was none of that.
pub fn each(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[counter, len], rest) = bytes.split_first_chunk()?;
        let (limit, rest) = rest.split_at_checked(len.into())?;
        bytes = rest;
        Some((counter, limit))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rate(units: i64, per: i64, burst: i64) -> Rule {
        Rule::Rate { units, per, burst }
    }

    pub(crate) fn quota(units: i64, unit: Unit) -> Rule {
        Rule::Quota { units, calendar: Calendar { unit, offset: 0 } }
    }

    pub(crate) fn limit(name: &str, rule: Rule) -> Limit {
        Limit::new(name.as_bytes(), rule, 1, false).unwrap()
    }

    #[test]
    fn a_limit_is_read_as_it_was_written_and_nothing_else_is() {
        let calendar = Calendar { unit: Unit::Month(31), offset: -1440 };
        for rule in [
            rate(10, 1000, 20),
            rate(MAX_UNITS, 1, MAX_UNITS),
            Rule::Quota { units: 0, calendar },
            quota(MAX_UNITS, Unit::Year),
            Rule::Credits,
        ] {
            for (cost, shadow) in [(1, false), (0, true), (MAX_UNIT_COST, true)] {
                let limit = Limit::new(b"per-second", rule, cost, shadow).unwrap();
                let read = Limit::read(limit.bytes()).unwrap();
                assert_eq!(read, limit);
                assert_eq!((read.name(), read.is_shadow()), (&b"per-second"[..], shadow));
                assert!(limit.bytes().len() <= u8::MAX.into());
                for end in 0..limit.bytes().len() {
                    assert!(Limit::read(&limit.bytes()[..end]).is_none(), "{end}");
                }
                assert!(Limit::read(&[limit.bytes(), b"\0"].concat()).is_none());
            }
        }
    }

    #[test]
    fn what_is_beyond_a_bound_is_named() {
        let day = |day| quota(1, Unit::Month(day));
        let offset =
            |offset| Rule::Quota { units: 1, calendar: Calendar { unit: Unit::Day, offset } };
        for (rule, why) in [
            (rate(0, 1, 1), "units must be between 1 and 1000000000000000"),
            (rate(1, 0, 1), "per must be between 1 and 31622400000"),
            (rate(1, MAX_PER_MS + 1, 1), "per must be between 1 and 31622400000"),
            (rate(1, 1, 0), "burst must be between 1 and 1000000000000000"),
            (rate(1, MAX_PER_MS, MAX_UNITS), "burst must be at most 291672107 with this per"),
            (quota(-1, Unit::Day), "quota must be between 0 and 1000000000000000"),
            (day(0), "day must be between 1 and 31"),
            (day(32), "day must be between 1 and 31"),
            (offset(1441), "offset must be between -1440 and 1440"),
        ] {
            assert_eq!(Limit::new(b"x", rule, 1, false).unwrap_err(), why);
        }
        let cost = |cost| Limit::new(b"x", Rule::Credits, cost, false);
        assert_eq!(cost(-1).unwrap_err(), "cost must be between 0 and 1000000");
        assert!(cost(MAX_UNIT_COST + 1).is_err());
        for name in [&b""[..], &[b'x'; 65], b"a b", b"a\"", "ü".as_bytes()] {
            let why = "name must be 1 to 64 letters, digits or any of _ - . :";
            assert_eq!(Limit::new(name, Rule::Credits, 1, false).unwrap_err(), why);
        }
    }

    #[test]
    fn limits_of_a_record_come_as_they_went() {
        let (one, two) = (limit("a", rate(1, 2, 3)), limit("b", Rule::Credits));
        let mut bytes = Vec::new();
        push(1, &one, &mut bytes);
        push(16, &two, &mut bytes);
        assert!(each(&bytes).eq([(1, one.bytes()), (16, two.bytes())]));
        assert_eq!(each(&bytes[..bytes.len() - 1]).count(), 1);
    }
}
