//! ADMIT, CREDIT and SETTLE at random, what they must say, and what records and counters have of limits.

use super::account::{Account, Amount, Limit, Request, Rule, Standing};
use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Counters that nobody has.
const NONE: &str = "2 none1 none2";

/// What a record says of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    pub is_active: bool,
    pub limits: Vec<Limit>,
}

impl Default for Card {
    fn default() -> Self {
        Self { is_active: true, limits: Vec::new() }
    }
}

impl Card {
    /// A record with its fields.
    pub fn on(&self, record: String) -> String {
        let record = match self.is_active {
            true => record,
            false => record.replace("true", "false"),
        };
        let limits: Vec<String> = self.limits.iter().map(Limit::json).collect();
        match limits.is_empty() {
            true => record,
            false => record.replace('}', &format!(",\"limits\":[{}]}}", limits.join(","))),
        }
    }
}

/// What ADMIT must say.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// What VALIDATE says.
    Refused(&'static str),
    Admitted(Vec<Standing>),
    Denied(Vec<Standing>),
}

impl Verdict {
    #[track_caller]
    pub fn assert_said(&self, reply: &Reply, what: &str) {
        let all = match self {
            Self::Refused(code) => {
                assert_eq!(code_of(reply), *code, "{what}");
                return;
            }
            Self::Admitted(all) | Self::Denied(all) => all,
        };
        let [code, second, third, limits] = reply.items() else { panic!("{what}: {reply:?}") };
        assert_eq!(limits.items().len(), all.len(), "{what}: {reply:?}");
        for (standing, limit) in all.iter().zip(limits.items()) {
            let [name, most, remaining, reset, retry] = limit.items() else { panic!("{what}") };
            let got = (name.text(), most.int(), remaining.int());
            let limit = &standing.limit;
            let expected = (limit.name.to_string(), limit.rule.most(), standing.remaining());
            assert_eq!(got, expected, "{what}: {reply:?}");
            for ((least, most), wait) in standing.waits().into_iter().zip([reset, retry]) {
                let is_right = (least..=most).contains(&wait.int());
                assert!(is_right, "{what}: {reply:?}, not {least} to {most}");
            }
        }
        if let Self::Admitted(_) = self {
            assert_eq!(code, &bulk("VALID"), "{what}: {reply:?}");
            return;
        }
        // The one with the longest wait, one that is used up before any that is too fast.
        let rank = |(standing, limit): (&Standing, &Reply)| {
            let retry = limit.items()[4].int();
            let wait = if retry < 0 { i64::MAX } else { retry };
            let is_rate = matches!(standing.limit.rule, Rule::Rate { .. });
            standing.denies().then_some(((!is_rate, wait), standing.limit.name, retry))
        };
        let denying: Vec<_> = all.iter().zip(limits.items()).filter_map(rank).collect();
        let first = denying.iter().map(|denying| denying.0).max().expect("one denies");
        let (_, name, retry) = denying.iter().find(|denying| denying.0 == first).expect("it is");
        let expected = if first.0 { "USAGE_EXCEEDED" } else { "RATE_LIMITED" };
        let got = (code.text(), second.text(), third.int());
        assert_eq!(got, (expected.to_string(), name.to_string(), *retry), "{what}: {reply:?}");
    }
}

/// Those of each counter in turn, as replies have them.
fn in_order(limits: &[Limit]) -> impl Iterator<Item = &Limit> {
    (1..=2).flat_map(|counter| limits.iter().filter(move |limit| limit.counter == counter))
}

/// What the limits of a live record are, where the server can tell: a replica admits nobody.
#[track_caller]
pub fn card(client: &mut Client, key: &str, code: &str, expected: Option<&Value>) -> Card {
    let known = match expected {
        Some(Value::Entry { what: What::Record(card), .. }) => card.clone(),
        _ => Card::default(),
    };
    let card = Card { is_active: code == "VALID", ..known };
    let reply = client.run(&format!("APIKEY.ADMIT {key} {NONE} SECRET {SECRET} COST 0"));
    if !matches!(&reply, Reply::Error(text) if text.starts_with("READONLY")) {
        let account = Account::default();
        let standings = in_order(&card.limits).map(|limit| account.judge(limit, 0)).collect();
        let verdict = match card.is_active {
            true => Verdict::Admitted(standings),
            false => Verdict::Refused("DISABLED"),
        };
        verdict.assert_said(&reply, key);
    }
    card
}

/// LIMITS says of a counter what the model does.
#[track_caller]
pub fn compare(client: &mut Client, key: &str, account: &Account, after: &str) {
    let reply = client.must(&format!("APIKEY.LIMITS {key}"));
    let told = |limit: &Reply| {
        let [name, kind, most, remaining, _] = limit.items() else { panic!("{reply:?}") };
        (name.text(), kind.text(), most.int(), remaining.int())
    };
    let mut got: Vec<_> = reply.items().iter().map(told).collect();
    // Of which all is there, they may be missing.
    got.retain(|(_, kind, most, remaining)| match kind.as_str() {
        "credits" => *remaining > 0,
        _ => remaining != most,
    });
    let expected = account.levels().map(|level| {
        let Limit { name, rule, .. } = &level.limit;
        let remaining = Standing { limit: level.limit.clone(), amount: level.amount, asked: 0 };
        (name.to_string(), rule.kind().to_string(), rule.most(), remaining.remaining())
    });
    let mut expected: Vec<_> = expected.collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected, "{key}, after {after}");
}

impl Model {
    fn limit(&mut self, name: &'static str) -> Limit {
        let rule = match self.rng.below(8) {
            0..=3 => Rule::Rate {
                units: [1, 1, 1, 7][self.rng.below(4)],
                burst: [2, 5, 5, 40][self.rng.below(4)],
            },
            4..=6 => Rule::Quota {
                units: [2, 7, 7, 50][self.rng.below(4)],
                offset: [0, 0, 0, 60][self.rng.below(4)],
            },
            _ => Rule::Credits,
        };
        Limit {
            name,
            rule,
            cost: [1, 1, 1, 1, 2, 0][self.rng.below(6)],
            counter: [1, 1, 1, 2][self.rng.below(4)],
            is_shadow: self.rng.one_in(6),
        }
    }

    fn limits(&mut self, most: usize) -> Vec<Limit> {
        let number = self.rng.below(most + 1);
        let from = self.rng.below(NAMES.len());
        (0..number).map(|nth| self.limit(NAMES[(from + nth) % NAMES.len()])).collect()
    }

    pub(super) fn card(&mut self) -> Card {
        Card { is_active: !self.rng.one_in(8), limits: self.limits(3) }
    }

    /// An id that is new, one that a counter knows, or one of the latest.
    pub(super) fn id(&mut self, counter: &str) -> String {
        let known: Vec<String> = match self.here().get(counter) {
            Some(Value::Usage { account, .. }) => account.ids().map(str::to_string).collect(),
            _ => Vec::new(),
        };
        match self.rng.below(4) {
            0 if !known.is_empty() => known[self.rng.below(known.len())].clone(),
            1 if self.requests > 0 => {
                (self.requests - self.rng.below(self.requests.min(6))).to_string()
            }
            _ => {
                self.requests += 1;
                self.requests.to_string()
            }
        }
    }

    /// One of the keys of which this holds, if there are any.
    fn one_of(&mut self, holds: impl Fn(Option<&Value>) -> bool) -> String {
        let here = &self.dbs[self.db];
        let some: Vec<&str> = KEYS.iter().copied().filter(|key| holds(here.get(*key))).collect();
        match some.is_empty() || self.rng.one_in(10) {
            true => self.key(),
            false => some[self.rng.below(some.len())].to_string(),
        }
    }

    fn counter(&mut self) -> String {
        self.one_of(|value| matches!(value, None | Some(Value::Usage { .. })))
    }

    #[track_caller]
    pub(super) fn admit(&mut self) {
        let key = self.one_of(|value| {
            matches!(value, Some(Value::Entry { what: What::Record(_), live: true, .. }))
        });
        let mut counters: Vec<String> =
            (0..=[0, 1, 1, 1][self.rng.below(4)]).map(|_| self.counter()).collect();
        // Who has asked asks again.
        for _ in 0..=self.rng.below(6) {
            if self.rng.one_in(3) {
                counters.reverse();
            }
            self.admit_by(&key, &counters);
        }
    }

    #[track_caller]
    fn admit_by(&mut self, key: &str, counters: &[String]) {
        let mut line = format!("APIKEY.ADMIT {key} {} {}", counters.len(), counters.join(" "));
        let proof = self.rng.pick(&[SECRET, SECRET, SECRET, SECRET, SECRET, SECRET, "wrong", ""]);
        if !proof.is_empty() {
            line += &format!(" SECRET {proof}");
        }
        let has_scope = self.rng.one_in(16);
        if has_scope {
            line += " SCOPE x";
        }
        let mut cost = 1;
        if self.rng.one_in(2) {
            cost = [0, 1, 2, 3, 6, 45][self.rng.below(6)];
            line += &format!(" COST {cost}");
        }
        let counter = &counters[self.rng.below(counters.len())];
        let id = self.rng.one_in(2).then(|| self.id(counter));
        if let Some(id) = &id {
            line += &format!(" ID {id}");
        }
        let is_peek = self.rng.one_in(8);
        if is_peek {
            line += " PEEK";
        }
        let own = if self.rng.one_in(2) { self.limits(2) } else { Vec::new() };
        own.iter().for_each(|limit| line += &limit.option());

        if counters.len() == 2 && counters[0] == counters[1] {
            let twice = error("ERR counter 2 is given twice");
            self.say(line, Expected::Is(twice));
            return;
        }
        let card = match Value::found(self.here().get(key).cloned(), "apikeyrec") {
            Found::Open => return,
            Found::Other => {
                self.say(line, Expected::Is(error(WRONGTYPE)));
                return;
            }
            Found::Live(What::Record(card), _) => card,
            Found::Nothing | Found::Live(..) => {
                self.say(line, Expected::Admission(Verdict::Refused("MISS")));
                return;
            }
        };
        let refused = match (proof, card.is_active) {
            ("wrong", _) => Some("MISMATCH"),
            (_, false) => Some("DISABLED"),
            _ if has_scope => Some("FORBIDDEN"),
            ("", _) => Some("UNVERIFIED"),
            _ => None,
        };
        if let Some(code) = refused {
            self.say(line, Expected::Admission(Verdict::Refused(code)));
            return;
        }
        let is_own = |limit: &&Limit| own.iter().any(|other| other.name == limit.name);
        let limits: Vec<Limit> =
            card.limits.iter().filter(|limit| !is_own(limit)).chain(&own).cloned().collect();
        if let Some(beyond) = limits.iter().find(|limit| limit.counter > counters.len()) {
            let number = beyond.counter;
            let text =
                format!("ERR numcounters must be at least {number}: a limit is of that counter");
            self.say(line, Expected::Is(error(&text)));
            return;
        }
        let values: Vec<Option<Value>> =
            counters.iter().map(|counter| self.here().get(counter).cloned()).collect();
        if values.iter().flatten().any(Value::is_dead) {
            return;
        }
        if values.iter().flatten().any(|value| !matches!(value, Value::Usage { .. })) {
            self.say(line, Expected::Is(error(WRONGTYPE)));
            return;
        }
        let accounts = values.iter().map(|value| match value {
            Some(Value::Usage { account, .. }) => account.clone(),
            _ => Account::default(),
        });
        let mut accounts: Vec<Account> = accounts.collect();
        let in_order = in_order(&limits);
        let mut standings: Vec<Standing> =
            in_order.map(|limit| accounts[limit.counter - 1].judge(limit, cost)).collect();
        let known = id.as_ref().and_then(|id| accounts[0].request(id));
        let is_repeated = known.is_some_and(|request| request.is_counted);
        if !is_repeated && standings.iter().any(Standing::denies) {
            self.say(line, Expected::Admission(Verdict::Denied(standings)));
            return;
        }
        if !is_repeated && !is_peek {
            for (nth, account) in accounts.iter_mut().enumerate() {
                let request = id.as_ref().map(|id| Request::new(id, cost, nth == 0));
                let of_it = standings.iter_mut().filter(|of| of.limit.counter == nth + 1);
                let before = account.clone();
                account.admit(&mut of_it.collect::<Vec<_>>(), request);
                let by = if nth == 0 { cost } else { 0 };
                if by > 0 || *account != before {
                    self.count(&counters[nth], by, account.clone());
                }
            }
        }
        self.say(line, Expected::Admission(Verdict::Admitted(standings)));
    }

    /// A counter, which is made where there is none.
    fn count(&mut self, counter: &str, by: i64, now: Account) {
        let value = self.here().entry(counter.to_string()).or_insert_with(no_counts);
        if let Value::Usage { pending, total, account, .. } = value {
            *pending += by;
            *total += by;
            *account = now;
        }
    }

    /// What a counter has, or would have; `None` where this can't be one, or may be gone.
    #[track_caller]
    fn account(&mut self, key: &str, line: &str) -> Option<Account> {
        match self.here().get(key) {
            None => Some(Account::default()),
            Some(Value::Usage { account, .. }) => Some(account.clone()),
            Some(Value::Entry { live: false, .. }) => None,
            Some(_) => {
                self.say(line.to_string(), Expected::Is(error(WRONGTYPE)));
                None
            }
        }
    }

    #[track_caller]
    pub(super) fn credit(&mut self) {
        let (key, name) = (self.counter(), self.rng.pick(&NAMES));
        let (amount, said) = match self.rng.below(4) {
            0 => (Amount::Set(6), "SET 6"),
            1 => (Amount::By(-4), "BY -4"),
            _ => (Amount::By(9), "BY 9"),
        };
        let id = self.rng.one_in(2).then(|| self.id(&key));
        let option = id.as_ref().map_or(String::new(), |id| format!(" ID {id}"));
        let line = format!("APIKEY.CREDIT {key} {name} {said}{option}");
        let id = id.map(|id| format!("{name}:{id}"));
        // Under an id it is given once.
        for _ in 0..if id.is_some() { 2 } else { 1 } {
            let Some(mut account) = self.account(&key, &line) else { return };
            let expected = match account.credit(name, amount, id.as_deref()) {
                None => error("ERR BY must not take the balance below 0"),
                Some(balance) => {
                    self.count(&key, 0, account);
                    int(balance)
                }
            };
            self.say(line.clone(), Expected::Is(expected));
        }
    }

    #[track_caller]
    pub(super) fn settle_one(&mut self) {
        let key = self.one_of(|value| matches!(value, Some(Value::Usage { .. })));
        let cost = [0, 0, 1, 2, 5, 30][self.rng.below(6)];
        let id = self.id(&key);
        let line = format!("APIKEY.SETTLE {key} {id} {cost}");
        let Some(mut account) = self.account(&key, &line) else { return };
        let expected = match account.settle(&id, cost) {
            None => nil(),
            Some((before, now, by)) => {
                self.count(&key, by, account);
                array([int(before), int(now)])
            }
        };
        self.say(line, Expected::Is(expected));
    }
}
