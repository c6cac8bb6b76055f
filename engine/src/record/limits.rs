//! The limits of a record, from its JSON.

use crate::limits::calendar::{Calendar, Unit};
use crate::limits::limit::{push, Limit, Rule, MAX_COUNTERS, MAX_LIMITS};
use crate::record::bad_record::{bad, BadRecord};
use crate::record::json::each_field;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What one limit's fields say.
#[derive(Default)]
struct Fields<'a> {
    name: Option<Cow<'a, str>>,
    units: Option<i64>,
    per: Option<i64>,
    burst: Option<i64>,
    quota: Option<i64>,
    period: Option<Cow<'a, str>>,
    day: Option<i64>,
    offset: Option<i64>,
    credits: Option<bool>,
    cost: Option<i64>,
    counter: Option<i64>,
    shadow: Option<bool>,
}

/// A field that is there once, and of its type.
fn set<'a, T: Deserialize<'a>>(
    field: &mut Option<T>,
    name: &str,
    value: &'a str,
    what: &str,
) -> Result<(), String> {
    if field.is_some() {
        return Err(format!("{name} is given twice"));
    }
    *field = Some(serde_json::from_str(value).map_err(|_| format!("{name} must be {what}"))?);
    Ok(())
}

impl<'a> Fields<'a> {
    /// The field with a number, from 1.
    fn take(&mut self, number: usize, name: &str, value: &'a str) -> Result<(), String> {
        const NUMBER: &str = "a whole number";
        const BOOLEAN: &str = "true or false";
        match name {
            "name" => set(&mut self.name, name, value, "a string"),
            "units" => set(&mut self.units, name, value, NUMBER),
            "per" => set(&mut self.per, name, value, NUMBER),
            "burst" => set(&mut self.burst, name, value, NUMBER),
            "quota" => set(&mut self.quota, name, value, NUMBER),
            "period" => set(&mut self.period, name, value, "a string"),
            "day" => set(&mut self.day, name, value, NUMBER),
            "offset" => set(&mut self.offset, name, value, NUMBER),
            "credits" => set(&mut self.credits, name, value, BOOLEAN),
            "cost" => set(&mut self.cost, name, value, NUMBER),
            "counter" => set(&mut self.counter, name, value, NUMBER),
            "shadow" => set(&mut self.shadow, name, value, BOOLEAN),
            // Not its name: what restricts a key is not dropped, and what stands in a record is not quoted.
            _ => Err(format!("has a field that no limit has (number {number})")),
        }
    }

    /// The limit, and the number of its counter.
    fn limit(&self) -> Result<(u8, Limit), String> {
        let is_rate = self.units.is_some() || self.per.is_some() || self.burst.is_some();
        let is_quota = self.quota.is_some()
            || self.period.is_some()
            || self.day.is_some()
            || self.offset.is_some();
        let rule = match (is_rate, is_quota, self.credits) {
            (true, false, None) => {
                let lacks = |field| format!("is a rate, and must have {field}");
                let units = self.units.ok_or_else(|| lacks("units"))?;
                let per = self.per.ok_or_else(|| lacks("per"))?;
                Rule::Rate { units, per, burst: self.burst.unwrap_or(units) }
            }
            (false, true, None) => {
                let lacks = |field| format!("is a quota, and must have {field}");
                let units = self.quota.ok_or_else(|| lacks("quota"))?;
                let period = self.period.as_deref().ok_or_else(|| lacks("period"))?;
                quota(units, period, self.day, self.offset)?
            }
            (false, false, Some(true)) => Rule::Credits,
            _ => {
                return Err("must be one of a rate (units, per), a quota (quota, period) or \
                            credits (true)"
                    .into())
            }
        };
        let name = self.name.as_deref().ok_or("must have a name")?;
        let limit =
            Limit::new(name.as_bytes(), rule, self.cost.unwrap_or(1), self.shadow == Some(true))?;
        let counter = u8::try_from(self.counter.unwrap_or(1)).unwrap_or(0);
        match (1..=MAX_COUNTERS).contains(&counter) {
            true => Ok((counter, limit)),
            false => Err(format!("counter must be between 1 and {MAX_COUNTERS}")),
        }
    }
}

/// A quota, as records and calls say it.
pub fn quota(
    units: i64,
    period: &str,
    day: Option<i64>,
    offset: Option<i64>,
) -> Result<Rule, String> {
    let unit = match (Unit::of(period), day) {
        (Some(Unit::Month(_)), Some(day)) => Unit::Month(u8::try_from(day).unwrap_or(0)),
        (Some(_), Some(_)) => return Err("day is for a period of months alone".into()),
        (Some(unit), None) => unit,
        (None, _) => return Err(format!("period must be one of {}", Unit::NAMES.join(", "))),
    };
    let offset = i16::try_from(offset.unwrap_or(0)).unwrap_or(i16::MAX);
    Ok(Rule::Quota { units, calendar: Calendar { unit, offset } })
}

/// Reads the limits of a record; nothing where they are null.
pub(super) fn read_limits(value: &str) -> Result<Vec<u8>, BadRecord> {
    let mut bytes = Vec::new();
    let Ok(all) = serde_json::from_str::<Option<Vec<&RawValue>>>(value) else {
        return bad("limits must be null or an array of objects");
    };
    let all = all.unwrap_or_default();
    if all.len() > MAX_LIMITS {
        return bad(format!("limits must have at most {MAX_LIMITS} elements"));
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    for (number, text) in (1..).zip(all) {
        let (counter, limit) = read_limit(text.get())
            .map_err(|why| BadRecord(format!("limits: limit {number} {why}").into()))?;
        if names.iter().any(|name| name == limit.name()) {
            return bad(format!("limits: limit {number} must have a name of its own"));
        }
        names.push(limit.name().to_vec());
        push(counter, &limit, &mut bytes);
    }
    Ok(bytes)
}

fn read_limit(text: &str) -> Result<(u8, Limit), String> {
    let mut fields = Fields::default();
    let (mut taken, mut number) = (Ok(()), 0);
    let read = each_field(text, |name, value| {
        number += 1;
        if taken.is_ok() && value != "null" {
            taken = fields.take(number, &name, value);
        }
    });
    taken?;
    if read.is_err() {
        return Err("must be an object".into());
    }
    fields.limit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::limit::each;

    fn read(json: &str) -> Result<Vec<(u8, Limit)>, String> {
        let bytes = read_limits(json).map_err(|bad| bad.0.into_owned())?;
        Ok(each(&bytes).map(|(counter, limit)| (counter, Limit::read(limit).unwrap())).collect())
    }

    #[test]
    fn limits_are_what_their_fields_say() {
        let all = read(
            r#"[{"name":"second","units":10,"per":1000,"burst":20,"cost":0},
                {"name":"minute","units":5,"per":60000,"counter":2,"shadow":true,"burst":null},
                {"name":"month","quota":100000,"period":"Month","day":15,"offset":540},
                {"name":"hour","quota":0,"period":"hour"},
                {"name":"credits","credits":true,"cost":3,"shadow":false}]"#,
        )
        .unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|(at, limit)| (*at, *limit.rule(), limit.cost(), limit.is_shadow()))
            .collect();
        let rate = |units, per, burst| Rule::Rate { units, per, burst };
        let quota =
            |units, unit, offset| Rule::Quota { units, calendar: Calendar { unit, offset } };
        assert_eq!(
            shown,
            [
                (1, rate(10, 1000, 20), 0, false),
                (2, rate(5, 60000, 5), 1, true),
                (1, quota(100_000, Unit::Month(15), 540), 1, false),
                (1, quota(0, Unit::Hour, 0), 1, false),
                (1, Rule::Credits, 3, false),
            ]
        );
        assert_eq!((read("null").unwrap().len(), read("[]").unwrap().len()), (0, 0));
    }

    #[test]
    fn a_wrong_limit_is_named_by_its_number_and_what_is_wrong() {
        let bad = |json: &str| read(json).unwrap_err();
        for json in ["{}", "1", "\"[]\"", "true", "[1"] {
            assert_eq!(bad(json), "limits must be null or an array of objects");
        }
        let many = format!("[{}]", vec![r#"{"name":"a","credits":true}"#; 17].join(","));
        assert_eq!(bad(&many), "limits must have at most 16 elements");
        let good = r#"{"name":"a","credits":true}"#;
        for (limit, why) in [
            ("1", "must be an object"),
            ("null", "must be an object"),
            (good, "must have a name of its own"),
            (r#"{"credits":true}"#, "must have a name"),
            (r#"{"name":1,"credits":true}"#, "name must be a string"),
            (r#"{"name":"b","name":"c","credits":true}"#, "name is given twice"),
            (
                r#"{"name":"b","credits":true,"limit":1}"#,
                "has a field that no limit has (number 3)",
            ),
            (r#"{"limit":1,"name":"b"}"#, "has a field that no limit has (number 1)"),
            (
                r#"{"name":"b"}"#,
                "must be one of a rate (units, per), a quota (quota, period) or credits (true)",
            ),
            (
                r#"{"name":"b","credits":false}"#,
                "must be one of a rate (units, per), a quota (quota, period) or credits (true)",
            ),
            (
                r#"{"name":"b","credits":true,"units":1,"per":1}"#,
                "must be one of a rate (units, per), a quota (quota, period) or credits (true)",
            ),
            (r#"{"name":"b","units":1}"#, "is a rate, and must have per"),
            (r#"{"name":"b","per":1}"#, "is a rate, and must have units"),
            (r#"{"name":"b","burst":1}"#, "is a rate, and must have units"),
            (r#"{"name":"b","quota":1}"#, "is a quota, and must have period"),
            (r#"{"name":"b","period":"day"}"#, "is a quota, and must have quota"),
            (r#"{"name":"b","offset":1}"#, "is a quota, and must have quota"),
            (r#"{"name":"b","units":1.5,"per":1}"#, "units must be a whole number"),
            (r#"{"name":"b","units":"1","per":1}"#, "units must be a whole number"),
            (r#"{"name":"b","units":0,"per":1}"#, "units must be between 1 and 1000000000000000"),
            (
                r#"{"name":"b","quota":1,"period":"fortnight"}"#,
                "period must be one of hour, day, week, month, year",
            ),
            (
                r#"{"name":"b","quota":1,"period":"day","day":1}"#,
                "day is for a period of months alone",
            ),
            (r#"{"name":"b","quota":1,"period":"month","day":32}"#, "day must be between 1 and 31"),
            (
                r#"{"name":"b","quota":1,"period":"month","day":257}"#,
                "day must be between 1 and 31",
            ),
            (
                r#"{"name":"b","quota":1,"period":"day","offset":65536}"#,
                "offset must be between -1440 and 1440",
            ),
            (r#"{"name":"b","credits":true,"counter":0}"#, "counter must be between 1 and 16"),
            (r#"{"name":"b","credits":true,"counter":257}"#, "counter must be between 1 and 16"),
            (r#"{"name":"b","credits":true,"shadow":1}"#, "shadow must be true or false"),
            (r#"{"name":"b","credits":true,"cost":1000001}"#, "cost must be between 0 and 1000000"),
        ] {
            assert_eq!(bad(&format!("[{good},{limit}]")), format!("limits: limit 2 {why}"));
        }
    }
}
