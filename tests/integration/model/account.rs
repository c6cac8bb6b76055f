//! What a counter of the model has of limits: what was taken from each, and the requests that were counted under an id.
//!
//! In whole units: the limits of a run get nothing back by themselves while it lasts.

/// Milliseconds in which one unit of a rate comes back: a year and two days.
const PER: i64 = 31_622_400_000;

/// How many requests a counter keeps: few, so that some go while a run lasts.
pub const MAX_REQUESTS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Rate {
        units: i64,
        burst: i64,
    },
    /// Of each year, by a clock that is ahead by so many minutes.
    Quota {
        units: i64,
        offset: i64,
    },
    Credits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub name: &'static str,
    pub rule: Rule,
    pub cost: i64,
    /// The position of its counter, from 1.
    pub counter: usize,
    pub is_shadow: bool,
}

impl Rule {
    pub fn kind(self) -> &'static str {
        match self {
            Rule::Rate { .. } => "rate",
            Rule::Quota { .. } => "quota",
            Rule::Credits => "credits",
        }
    }

    /// The most that there can be.
    pub fn most(self) -> i64 {
        match self {
            Rule::Rate { burst, .. } => burst,
            Rule::Quota { units, .. } => units,
            Rule::Credits => -1,
        }
    }

    /// Whether what was taken by another can be given back by it.
    fn measures_as(self, other: Rule) -> bool {
        match (self, other) {
            (Rule::Quota { offset, .. }, Rule::Quota { offset: of, .. }) => offset == of,
            _ => self == other,
        }
    }

    /// What there is to take behind an amount.
    fn remaining(self, amount: i64) -> i64 {
        match self {
            Rule::Credits => amount,
            _ => (self.most() - amount).max(0),
        }
    }

    /// The amount behind a taking of what there is.
    fn less(self, amount: i64, taken: i64) -> i64 {
        match self {
            Rule::Credits => amount - taken,
            _ => amount + taken,
        }
    }
}

impl Limit {
    pub fn credits(name: &'static str) -> Self {
        Self { name, rule: Rule::Credits, cost: 1, counter: 1, is_shadow: false }
    }

    /// As a record has it.
    pub fn json(&self) -> String {
        let rule = match self.rule {
            Rule::Rate { units, burst } => {
                format!(r#""units":{units},"per":{PER},"burst":{burst}"#)
            }
            Rule::Quota { units, offset } => {
                format!(r#""quota":{units},"period":"year","offset":{offset}"#)
            }
            Rule::Credits => r#""credits":true"#.into(),
        };
        let Self { name, cost, counter, is_shadow, .. } = self;
        format!(
            r#"{{"name":"{name}",{rule},"cost":{cost},"counter":{counter},"shadow":{is_shadow}}}"#
        )
    }

    /// As a call has it.
    pub fn option(&self) -> String {
        let rule = match self.rule {
            Rule::Rate { units, burst } => format!("RATE {units} {PER} BURST {burst}"),
            Rule::Quota { units, offset } => format!("QUOTA {units} YEAR OFFSET {offset}"),
            Rule::Credits => "CREDITS".into(),
        };
        let Self { name, cost, counter, .. } = self;
        let shadow = if self.is_shadow { " SHADOW" } else { "" };
        format!(" LIMIT {counter} {name} {rule} WEIGHT {cost}{shadow}")
    }

    fn is_one_with(&self, other: &Limit) -> bool {
        (self.name, self.rule.kind()) == (other.name, other.rule.kind())
    }
}

/// How a limit stands for who asks.
#[derive(Clone, Debug)]
pub struct Standing {
    pub limit: Limit,
    /// What was taken; of credits what is left.
    pub amount: i64,
    pub asked: i64,
}

impl Standing {
    pub fn remaining(&self) -> i64 {
        self.limit.rule.remaining(self.amount)
    }

    pub fn denies(&self) -> bool {
        !self.limit.is_shadow && self.asked > self.remaining()
    }

    /// Takes what is asked for, as far as there is.
    fn take(&mut self) -> i64 {
        let taken = self.asked.min(self.remaining());
        self.amount = self.limit.rule.less(self.amount, taken);
        taken
    }

    /// Within which milliseconds it says that all is there again, and that what is asked for is.
    pub fn waits(&self) -> [(i64, i64); 2] {
        // What the run has lasted by now.
        const HOUR: i64 = 3_600_000;
        let lacks = self.asked > self.remaining();
        let never = (-1, -1);
        match self.limit.rule {
            Rule::Rate { units, burst } => {
                let wait = |count: i64| match count {
                    ..=0 => (0, 0),
                    _ => ((count * PER - HOUR) / units, (count * PER + units - 1) / units),
                };
                let retry = wait(self.amount + self.asked - burst);
                [wait(self.amount), if self.asked > burst { never } else { retry }]
            }
            Rule::Quota { units, .. } => {
                let year = (1, PER);
                let retry = if lacks { year } else { (0, 0) };
                [year, if self.asked > units { never } else { retry }]
            }
            Rule::Credits => [never, if lacks { never } else { (0, 0) }],
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    pub limit: Limit,
    pub amount: i64,
}

/// What a request has taken from a limit, and the amount right behind that; 0 where nothing can be given back.
#[derive(Clone, Debug, PartialEq)]
struct Take {
    limit: Limit,
    units: i64,
    after: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: String,
    pub cost: i64,
    /// Whether it was counted here.
    pub is_counted: bool,
    is_settled: bool,
    takes: Vec<Take>,
}

impl Request {
    pub fn new(id: &str, cost: i64, is_counted: bool) -> Self {
        Self { id: id.into(), cost, is_counted, is_settled: false, takes: Vec::new() }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    levels: Vec<Level>,
    /// The oldest first.
    requests: Vec<Request>,
}

impl Account {
    /// Those that say something. Others may be gone.
    pub fn levels(&self) -> impl Iterator<Item = &Level> {
        self.levels.iter().filter(|level| level.amount > 0)
    }

    fn level(&self, limit: &Limit) -> Option<&Level> {
        self.levels.iter().find(|level| level.limit.is_one_with(limit))
    }

    pub fn request(&self, id: &str) -> Option<&Request> {
        self.requests.iter().find(|request| request.id == id)
    }

    /// Those of requests, which can be settled.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let ids = self.requests.iter().map(|request| request.id.as_str());
        ids.filter(|id| !id.contains(':'))
    }

    pub fn judge(&self, limit: &Limit, cost: i64) -> Standing {
        let amount = match self.level(limit) {
            None => 0,
            Some(Level { amount, .. }) => match limit.rule {
                // A burst that is smaller now.
                Rule::Rate { burst, .. } => *amount.min(&burst),
                _ => *amount,
            },
        };
        Standing { limit: limit.clone(), amount, asked: limit.cost * cost }
    }

    /// Takes what was judged, under an id where there is one. `is_counted` in the first counter of a call.
    pub fn admit(&mut self, judged: &mut [&mut Standing], request: Option<Request>) {
        let mut takes = Vec::new();
        let mut levels = Vec::new();
        for standing in judged.iter_mut().filter(|standing| standing.limit.cost > 0) {
            let units = standing.take();
            let limit = standing.limit.clone();
            takes.push(Take { limit: limit.clone(), units, after: standing.amount });
            if units > 0 {
                levels.push(Level { limit, amount: standing.amount });
            }
        }
        let request = request.filter(|request| {
            request.is_counted || !takes.is_empty() && self.request(&request.id).is_none()
        });
        let request = request.map(|request| Request { takes, ..request });
        self.change(levels, request);
    }

    /// The levels of limits from now on, and another request, for which the oldest may have to go, and all up to one of the
    /// same id.
    fn change(&mut self, levels: Vec<Level>, request: Option<Request>) {
        if let Some(request) = &request {
            let same = self.requests.iter().position(|other| other.id == request.id);
            let many = (self.requests.len() + 1).saturating_sub(MAX_REQUESTS);
            self.requests.drain(..many.max(same.map_or(0, |at| at + 1)));
        }
        levels.into_iter().for_each(|level| self.put(level));
        self.requests.extend(request);
    }

    fn put(&mut self, level: Level) {
        let goes_on = self
            .level(&level.limit)
            .is_some_and(|before| before.limit.rule.measures_as(level.limit.rule));
        if !goes_on {
            let takes = self.requests.iter_mut().flat_map(|request| &mut request.takes);
            takes
                .filter(|take| take.limit.is_one_with(&level.limit))
                .for_each(|take| take.after = 0);
        }
        match self.levels.iter_mut().find(|kept| kept.limit.is_one_with(&level.limit)) {
            Some(kept) => *kept = level,
            None => self.levels.push(level),
        }
    }

    /// Gives credits, by another amount or to one, where no such id was credited before; returns the balance. `None` where
    /// that is less than nothing.
    pub fn credit(&mut self, name: &'static str, amount: Amount, id: Option<&str>) -> Option<i64> {
        let credits = Limit::credits(name);
        let before = self.level(&credits).map_or(0, |level| level.amount);
        if id.is_some_and(|id| self.request(id).is_some()) {
            return Some(before);
        }
        let amount = match amount {
            Amount::By(by) => before + by,
            Amount::Set(balance) => balance,
        };
        if amount < 0 {
            return None;
        }
        let limit = self.level(&credits).map_or(credits, |level| level.limit.clone());
        let request = id.map(|id| Request::new(id, 0, false));
        self.change(vec![Level { limit, amount }], request);
        Some(amount)
    }

    /// Counts under an id; false where that was counted.
    pub fn count(&mut self, id: &str, cost: i64) -> bool {
        let is_new = !self.request(id).is_some_and(|request| request.is_counted);
        if is_new {
            self.change(Vec::new(), Some(Request::new(id, cost, true)));
        }
        is_new
    }

    /// What a request has really cost: the cost before and now, and by how much the counts change. `None` where it is not
    /// known.
    pub fn settle(&mut self, id: &str, cost: i64) -> Option<(i64, i64, i64)> {
        let at = self.requests.iter().position(|request| request.id == id)?;
        let before = self.requests[at].clone();
        if before.is_settled {
            return Some((before.cost, before.cost, 0));
        }
        let settled = Request { cost, is_settled: true, ..before.clone() };
        self.requests[at] = settled;
        for (nth, take) in before.takes.iter().enumerate() {
            let kept = self.level(&take.limit);
            let (limit, amount) =
                kept.map_or((take.limit.clone(), 0), |kept| (kept.limit.clone(), kept.amount));
            let wanted = take.limit.cost * cost;
            let back = take.units - wanted;
            let (units, amount) = if back < 0 {
                let more = limit.rule.remaining(amount).min(-back);
                (take.units + more, limit.rule.less(amount, more))
            } else {
                let given = match limit.rule {
                    Rule::Rate { .. } => back.min(take.after).min(amount),
                    Rule::Quota { .. } if take.after == 0 => 0,
                    Rule::Quota { .. } => back.min(amount),
                    Rule::Credits => back,
                };
                if let Rule::Rate { .. } = limit.rule {
                    let later = self.requests[at + 1..].iter_mut();
                    for other in later.flat_map(|request| &mut request.takes) {
                        if other.limit.is_one_with(&limit) {
                            other.after = (other.after - given).max(0);
                        }
                    }
                }
                (wanted, limit.rule.less(amount, -given))
            };
            self.requests[at].takes[nth].units = units;
            if amount > 0 || self.level(&limit).is_some() {
                self.put(Level { limit, amount });
            }
        }
        let counted = if before.is_counted { cost - before.cost } else { 0 };
        Some((before.cost, cost, counted))
    }
}

/// What CREDIT says.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    By(i64),
    Set(i64),
}
