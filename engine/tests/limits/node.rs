//! A primary that admits as the command does, and a replica that is told of it.

use apikey_engine::codec::counter::{decode_change, encode_change};
use apikey_engine::codec::value::{decode, encode_usage, Origin, Value};
use apikey_engine::limits::account::{credited, Account, Judged, Kept};
use apikey_engine::limits::known::Known;
use apikey_engine::limits::level::{Level, Standing};
use apikey_engine::limits::limit::{Limit, Rule};
use apikey_engine::limits::requests::{Print, Request, Take, Window};
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;
use std::sync::Arc;

/// A counter, and what it keeps.
pub type Counted = (Counter, Account);

pub struct Node {
    pub counters: Vec<Counted>,
    pub replica: Vec<Counted>,
    pub known: Known,
    pub window: Window,
    /// Ids that went before their time.
    pub early: usize,
}

pub struct Call<'a> {
    /// Each with the position of its counter.
    pub limits: &'a [(usize, Limit)],
    pub cost: i64,
    pub id: Option<&'a [u8]>,
    pub now: i64,
}

#[derive(Debug)]
pub enum Said {
    Admitted(Vec<Standing>),
    Denied(Vec<Standing>),
    Repeated,
}

pub fn bytes((counter, account): &Counted, now: i64) -> Vec<u8> {
    encode_usage(counter, Leases::NONE, account, now)
}

pub fn read(bytes: &[u8]) -> Counted {
    match decode(bytes, Origin::Anyone) {
        Ok(Value::Usage(counter, _, account)) => (counter, account),
        other => panic!("{other:?}"),
    }
}

impl Node {
    pub fn new(counters: usize) -> Self {
        let all = vec![Counted::default(); counters];
        let window = Window { ms: 60_000, most: 4096 };
        Self { replica: all.clone(), counters: all, known: Known::default(), window, early: 0 }
    }

    pub fn judge(&mut self, call: &Call) -> Vec<(usize, Judged)> {
        let mut all = Vec::new();
        for (at, limit) in call.limits {
            let account = &self.counters[*at].1;
            assert!(account.has_room(std::iter::once(limit.bytes()), call.now));
            let judged = account.judge(limit.bytes(), &mut self.known, call.cost, call.now);
            all.push((*at, judged.unwrap()));
        }
        all
    }

    pub fn admit(&mut self, call: &Call) -> Said {
        let print = call.id.map(Print::of_use);
        if print.is_some_and(|print| self.is_known(0, &print, call.now)) {
            return Said::Repeated;
        }
        let mut all = self.judge(call);
        let standings =
            |all: &[(usize, Judged)]| all.iter().map(|(_, judged)| judged.standing).collect();
        if all.iter().any(|(_, judged)| judged.denies()) {
            return Said::Denied(standings(&all));
        }
        for at in 0..self.counters.len() {
            let (counter, account) = &self.counters[at];
            let mut counter = *counter;
            if at == 0 && call.cost > 0 {
                counter.incr(call.cost, call.now).unwrap();
            }
            let mut change = Change::of(counter);
            let of_it = all.iter_mut().filter(|(of, _)| *of == at).map(|(_, judged)| judged);
            change.take(of_it);
            let of_it = all.iter().filter(|(of, _)| *of == at);
            let takes: Box<[Take]> = of_it.filter_map(|(_, judged)| judged.taken()).collect();
            if let Some(print) = print.filter(|_| at == 0 || !takes.is_empty()) {
                let plain = Request::plain(print, call.now, call.cost);
                let request = Request { is_counted: at == 0, takes, ..plain };
                self.early += change.note(request, account, self.window).early;
            }
            self.put(at, change, call.now);
        }
        Said::Admitted(standings(&all))
    }

    fn is_known(&self, at: usize, print: &Print, now: i64) -> bool {
        let request = self.counters[at].1.requests().get(print);
        request.is_some_and(|request| request.at >= now - self.window.ms)
    }

    /// What was thought before; `None` where the id is not known.
    pub fn settle(&mut self, at: usize, id: &[u8], cost: i64, now: i64) -> Option<i64> {
        let (counter, account) = &self.counters[at];
        let print = Print::of_use(id);
        let (before, change) =
            Change::settle(account, counter, &print, cost, self.window, now)?.unwrap();
        if let Some(change) = change {
            self.put(at, change, now);
        }
        Some(before)
    }

    pub fn credit(&mut self, name: &str, by: i64, now: i64) {
        let (counter, account) = &self.counters[0];
        let limit = Limit::new(name.as_bytes(), Rule::Credits, 1, false).unwrap();
        let before = account.kept(limit.bytes()).map_or(0, |kept| kept.level.amount);
        let level = Level { amount: credited(before, by).unwrap(), at: now };
        let mut change = Change::of(*counter);
        change.levels.push(Kept { limit: Arc::new(limit), level });
        self.put(0, change, now);
    }

    /// Here, and by its bytes on the replica, which has the same then.
    fn put(&mut self, at: usize, change: Change, now: i64) {
        if change.is_nothing(&self.counters[at].0) {
            return;
        }
        let said = encode_change(&change);
        let told = decode_change(&said).unwrap();
        assert_eq!(encode_change(&told), said);
        for ((counter, account), change) in
            [(&mut self.counters[at], change), (&mut self.replica[at], told)]
        {
            *counter = change.counter;
            change.put(account);
        }
        assert_eq!(bytes(&self.replica[at], now), bytes(&self.counters[at], now));
    }

    /// Both nodes have what was saved, and no more.
    pub fn restart(&mut self, now: i64) {
        for counted in self.counters.iter_mut().chain(&mut self.replica) {
            *counted = read(&bytes(counted, now));
        }
    }
}

/// The level of whatever limit has this name.
pub fn kept_of<'a>(account: &'a Account, name: &[u8]) -> Option<&'a Kept> {
    account.levels().iter().find(|kept| kept.limit.name() == name)
}
