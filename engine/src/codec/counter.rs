//! The bytes of a counter's counts, of what it keeps beside them, and of what has changed of both.
//!
//! ```text
//! an account: limits (vector of bytes: crate::limits::limit), levels (vector of: number of the limit (unsigned), amount, at (signed)), requests
//! a request: print (16 bytes), at, cost (signed), flags (a byte: 1 counted, 2 settled), takes (vector of: number of the limit (unsigned), units, after (signed))
//! a change: pending, total, first_used_at, last_used_at (signed), an account of the levels and the request that changed, how many requests went (unsigned)
//! ```
//!
//! A change is what `APIKEY.USAGE.CHANGED` says in an AOF and in the stream.

use crate::codec::bytes::{read, write, BadBytes};
use crate::limits::account::{Account, Kept};
use crate::limits::level::Level;
use crate::limits::limit::Limit;
use crate::limits::requests::{Print, Request, Take};
use crate::usage::change::Change;
use crate::usage::counter::Counter;
use bincode::enc::Encoder;
use bincode::error::EncodeError;
use bincode::{Decode, Encode};
use smallvec::SmallVec;
use std::sync::Arc;

/// Pending, total, first_used_at, last_used_at.
pub(super) type Numbers = (i64, i64, i64, i64);

pub(super) fn numbers(counter: &Counter) -> Numbers {
    (counter.pending(), counter.total(), counter.first_used_at(), counter.last_used_at())
}

pub(super) fn counter((pending, total, first, last): Numbers) -> Result<Counter, BadBytes> {
    Counter::from_parts(pending, total, first, last).ok_or(BadBytes("numbers that no counter has"))
}

/// Number of a limit, amount, at; or number of a limit, units, after.
type OfLimit = (u32, i64, i64);

/// Print, at, cost, flags, takes.
type OfRequest = ([u8; 16], i64, i64, u8, Vec<OfLimit>);

const COUNTED: u8 = 1;
const SETTLED: u8 = 2;

pub(super) struct AccountOut<'a> {
    limits: SmallVec<[&'a [u8]; 4]>,
    levels: SmallVec<[OfLimit; 4]>,
    requests: Vec<OfRequest>,
}

impl Encode for AccountOut<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (&*self.limits, &*self.levels, &*self.requests).encode(encoder)
    }
}

impl<'a> AccountOut<'a> {
    fn new(
        levels: impl Iterator<Item = &'a Kept>,
        requests: impl Iterator<Item = &'a Request>,
    ) -> Self {
        let mut out =
            Self { limits: SmallVec::new(), levels: SmallVec::new(), requests: Vec::new() };
        for Kept { limit, level } in levels {
            let number = out.number(limit);
            out.levels.push((number, level.amount, level.at));
        }
        for request in requests {
            let Request { print, at, cost, is_counted, is_settled, takes } = request;
            let flags =
                if *is_counted { COUNTED } else { 0 } | if *is_settled { SETTLED } else { 0 };
            let takes = takes.iter().map(|take| (out.number(&take.limit), take.units, take.after));
            let takes = takes.collect();
            out.requests.push((print.0, *at, *cost, flags, takes));
        }
        out
    }

    /// What says something at `now`; all requests, since a change says by a number which of them go.
    pub(super) fn of(account: &'a Account, now: i64) -> Self {
        Self::new(account.lasting(now), account.requests().iter())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.requests.is_empty()
    }

    fn number(&mut self, limit: &'a Limit) -> u32 {
        let bytes = limit.bytes();
        let at = self.limits.iter().position(|known| *known == bytes).unwrap_or_else(|| {
            self.limits.push(bytes);
            self.limits.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

#[derive(Decode)]
pub(super) struct AccountIn {
    limits: Vec<Vec<u8>>,
    levels: Vec<OfLimit>,
    requests: Vec<OfRequest>,
}

impl AccountIn {
    fn parts(&self) -> Option<(Vec<Kept>, Vec<Request>)> {
        let limits: Option<Vec<Arc<Limit>>> =
            self.limits.iter().map(|bytes| Limit::read(bytes).map(Arc::new)).collect();
        let limits = limits?;
        let limit = |number: u32| limits.get(number as usize).map(Arc::clone);
        let levels = self.levels.iter().map(|&(number, amount, at)| {
            Some(Kept { limit: limit(number)?, level: Level { amount, at } })
        });
        let requests = self.requests.iter().map(|(print, at, cost, flags, takes)| {
            if flags & !(COUNTED | SETTLED) != 0 {
                return None;
            }
            let takes: Option<Box<[Take]>> = takes
                .iter()
                .map(|&(number, units, after)| Some(Take { limit: limit(number)?, units, after }))
                .collect();
            Some(Request {
                print: Print(*print),
                at: *at,
                cost: *cost,
                is_counted: flags & COUNTED != 0,
                is_settled: flags & SETTLED != 0,
                takes: takes?,
            })
        });
        Some((levels.collect::<Option<_>>()?, requests.collect::<Option<_>>()?))
    }

    pub(super) fn account(&self) -> Result<Account, BadBytes> {
        self.parts()
            .and_then(|(levels, requests)| Account::from_parts(levels, requests))
            .ok_or(BadBytes("limits or requests that no counter has"))
    }
}

/// The bytes of a change.
pub fn encode_change(change: &Change) -> Vec<u8> {
    // As much as most need: counts, one limit of a short name and its level.
    let mut bytes = Vec::with_capacity(128);
    let account = AccountOut::new(change.levels.iter(), change.request.iter());
    write((numbers(&change.counter), account, change.gone), &mut bytes);
    bytes
}

pub fn decode_change(bytes: &[u8]) -> Result<Change, BadBytes> {
    let (numbers, account, gone): (Numbers, AccountIn, u32) = read(bytes)?;
    let wrong = BadBytes("limits or requests that no counter has");
    let (levels, requests) = account.parts().ok_or_else(|| wrong.clone())?;
    // What is right of an account is right of what changes it.
    Account::from_parts(levels.clone(), requests.clone()).ok_or_else(|| wrong.clone())?;
    match requests.len() {
        0 | 1 => {
            let request = requests.into_iter().next();
            Ok(Change { counter: counter(numbers)?, levels: levels.into(), request, gone })
        }
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::limit::tests::{limit, rate};
    use crate::limits::limit::Rule;
    use smallvec::smallvec;

    fn change() -> Change {
        let (second, credits) = (limit("a", rate(10, 1000, 20)), limit("b", Rule::Credits));
        let (second, credits) = (Arc::new(second), Arc::new(credits));
        let level = |amount| Level { amount, at: 70_000 };
        let take = |limit, units, after| Take { limit: Arc::clone(limit), units, after };
        let request = Request {
            is_settled: true,
            takes: [take(&credits, 2, 5), take(&second, 3, 3000)].into(),
            ..Request::plain(Print([9; 16]), 70_000, 3)
        };
        Change {
            counter: Counter::from_parts(-1, 300, 7, 70_000).unwrap(),
            levels: smallvec![
                Kept { limit: Arc::clone(&second), level: level(3000) },
                Kept { limit: credits, level: level(5) },
            ],
            request: Some(request),
            gone: 2,
        }
    }

    /// A primary that was upgraded last tells them to replicas that were not.
    #[test]
    fn the_bytes_of_a_change_stay_what_they_are() {
        const AT: &[u8] = b"\xfc\xe0\x22\x02\0";
        let numbers = [b"\x01\xfb\x58\x02\x0e", AT].concat();
        let number = |n: i64| n.to_le_bytes();
        let rate = [&b"\0\x01a\x01\0\0\0"[..], &number(10), &number(1000), &number(20)].concat();
        let limits = [&b"\x02\x1f"[..], &rate, b"\x07\x02\x01b\x01\0\0\0"].concat();
        let levels = [b"\x02\0\xfb\x70\x17", AT, b"\x01\x0a", AT].concat();
        let takes = b"\x02\x01\x04\x0a\0\x06\xfb\x70\x17";
        let request = [&b"\x01"[..], &[9; 16], AT, b"\x06\x03", takes].concat();
        let bytes = [&numbers[..], &limits, &levels, &request, b"\x02"].concat();
        assert_eq!(encode_change(&change()), bytes);
        let read = decode_change(&bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", change()));
    }

    #[test]
    fn what_no_counter_has_is_refused() {
        let wrong = |damage: &dyn Fn(&mut Change)| {
            let mut change = change();
            damage(&mut change);
            decode_change(&encode_change(&change)).unwrap_err().0
        };
        let what = "limits or requests that no counter has";
        assert_eq!(wrong(&|change| change.levels[0].level.amount = 20_001), what);
        assert_eq!(wrong(&|change| change.levels[0].level.amount = -1), what);
        assert_eq!(wrong(&|change| change.levels[1].level.at = -1), what);
        assert_eq!(wrong(&|change| change.levels.push(change.levels[0].clone())), what);
        let request = |damage: &dyn Fn(&mut Request)| {
            wrong(&|change| change.request.iter_mut().for_each(damage))
        };
        assert_eq!(request(&|request| request.at = -1), what);
        assert_eq!(request(&|request| request.cost = 1_000_000_001), what);
        assert_eq!(request(&|request| request.takes[1].units = -1), what);
        assert_eq!(request(&|request| request.takes[1].after = 20_001), what);
        assert_eq!(request(&|request| request.takes[1] = request.takes[0].clone()), what);
        assert_eq!(
            request(&|request| request.takes = vec![request.takes[0].clone(); 17].into()),
            what
        );
        // Flags that no request has; the number of a limit that is not there.
        let good = encode_change(&change());
        for (at, byte) in [(good.len() - 11, 7), (good.len() - 9, 2)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(decode_change(&bytes).unwrap_err().0, what, "{at}");
        }
        let mut two = good.clone();
        let numbers = 10;
        two.drain(..numbers);
        let two = [&b"\x02\0\0\0"[..], &two].concat();
        assert_eq!(decode_change(&two).unwrap_err().0, "numbers that no counter has");
    }
}
