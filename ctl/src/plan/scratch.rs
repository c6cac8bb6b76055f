//! Records of its own, stored to see what such records take, for a server that has none yet or is to have others.
//!
//! **What always holds.** No key that is there is written (NX). Each ends by itself after a minute, also where this
//! program is killed, and is removed before it ends. They are stored under a token, so that they are no invalidation.
//!
//! What they take is the difference of two looks, after a few and after all: what a server allocates with its first
//! keys, once, is no key's.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use redis::{Cmd, Value};

use super::memory::{Look, Rates};
use crate::connect::Link;
use crate::deployment::slots::slot;
use crate::deployment::Node;
use crate::fill::Recipe;
use crate::reading::Facts;
use crate::warm::pattern::Pattern;
use crate::warm::recipe::OfRows;
use crate::warm::row::Row;

/// How long a record lives, in seconds.
const LIFE: u64 = 60;
/// Records before the first look, and in all.
const FEW: u64 = 2_500;
pub const ALL: u64 = 10_000;
/// Commands of one call.
const STEP: usize = 100;
/// How long tables may take to settle.
const PATIENCE: Duration = Duration::from_secs(4);

/// Of the shape of many tables: 290 bytes with the digest.
const RECORD: &str = r#"{"id":"74613f3f-29f5-4073-b85c-56e682308ea6","user_id":"1000042","name":"Gateway of the north","key_prefix":"ak_live_7Qm2hT9x","key_hash":"0ca4863e0b3e7a7cc4dbb7d7fcad606df52a177f584008b2fc6ec1e3a419b7db","scopes":["users:read","orders:*"],"is_active":true,"expires_at":null,"rate_limit":1000}"#;
const DIGEST: &str = "key_hash";
pub const KEY: &str = "apikey:{{key_prefix}}";

/// What is stored.
pub struct Shape {
    lines: Vec<String>,
    recipe: OfRows,
    /// Users by key.
    users: f64,
}

impl Shape {
    /// The records of a file, one JSON object a line, or one of the usual shape.
    pub fn new(
        file: Option<&Path>,
        key: Pattern,
        digest_field: Option<String>,
        tags: Vec<Pattern>,
        users: f64,
    ) -> Result<Self> {
        let text = match file {
            Some(path) => {
                fs::read_to_string(path).with_context(|| format!("--record {}", path.display()))?
            }
            None => RECORD.into(),
        };
        let lines: Vec<String> =
            text.lines().filter(|line| !line.trim().is_empty()).map(Into::into).collect();
        ensure!(
            !lines.is_empty(),
            "--record has no line: it wants records, one JSON object a line"
        );
        let digest_field = digest_field.or_else(|| file.is_none().then(|| DIGEST.to_string()));
        let recipe =
            OfRows { key, digest_field, namespace: None, tags, ttl: Some(LIFE), if_absent: true };
        let shape = Self { lines, recipe, users };
        // What is wrong with them is found before anything is asked.
        for (number, line) in shape.lines.iter().enumerate() {
            let read = shape.vary(line, 0).and_then(|line| shape.recipe.read(line.as_bytes()));
            if let Err(why) = read {
                bail!("--record line {}: {why}", number + 1);
            }
        }
        Ok(shape)
    }

    /// Bytes of the longest line.
    pub fn longest(&self) -> usize {
        self.lines.iter().map(String::len).max().unwrap_or(0)
    }

    fn line(&self, number: u64) -> Result<String, String> {
        let place = usize::try_from(number).unwrap_or(0) % self.lines.len().max(1);
        self.vary(self.lines.get(place).map(String::as_str).unwrap_or_default(), number)
    }

    /// The same record for another key: what makes the key, and the ids, are others of the same form.
    fn vary(&self, line: &str, number: u64) -> Result<String, String> {
        let row = Row::parse(line.as_bytes())?;
        // Of seven digits, so that each is another's.
        let user = (number as f64 * self.users) as u64 + 1_000_000;
        let mut varied = String::with_capacity(line.len() + 16);
        for (name, value) in row.fields() {
            let number = match name {
                "user_id" => user,
                "id" => number,
                name if self.recipe.key.names(name) => number,
                _ => {
                    push(&mut varied, name, value);
                    continue;
                }
            };
            push(&mut varied, name, &like(value, number));
        }
        varied.push('}');
        Ok(varied)
    }
}

fn push(object: &mut String, name: &str, value: &str) {
    object.push(if object.is_empty() { '{' } else { ',' });
    // Writing a string to memory can't fail.
    object.push_str(&serde_json::to_string(name).unwrap_or_default());
    object.push(':');
    object.push_str(value);
}

/// Another value of the same form, made of a number: of the same length where that has room for it.
fn like(value: &str, number: u64) -> String {
    if value.parse::<i64>().is_ok() {
        let length = u32::try_from(value.len()).unwrap_or(0).clamp(7, 18);
        let number = i64::try_from(number).unwrap_or(0);
        return 10i64.saturating_pow(length - 1).saturating_add(number).to_string();
    }
    let is_hex = value.chars().all(|c| c.is_ascii_hexdigit() || "-\"".contains(c));
    let letters = if is_hex { 6 } else { 26 };
    // The number's digits stand in the places of letters and digits, the last first; others before them.
    let (mut left, mut rest) = (number, number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut next = |radix: u64| {
        let from = if left > 0 { &mut left } else { &mut rest };
        let digit = *from % radix;
        *from /= radix;
        // Less than 26.
        digit as u8
    };
    let mut varied: Vec<char> = value
        .chars()
        .rev()
        .map(|c| match c {
            '0'..='9' => char::from(b'0' + next(10)),
            'a'..='z' => char::from(b'a' + next(letters)),
            'A'..='Z' => char::from(b'A' + next(letters)),
            _ => c,
        })
        .collect();
    varied.reverse();
    varied.into_iter().collect()
}

/// Stores them at a primary, looks before and after, and removes them.
pub fn measure(node: &Node, facts: &Facts, database: u32, shape: &Shape) -> Result<Rates> {
    let mut link = node.connect(database)?;
    let mut stored = Vec::new();
    let measured = store_and_look(node, facts, &mut link, shape, &mut stored);
    let removed = remove(&mut link, &stored);
    let rates = measured?;
    removed.with_context(|| {
        format!("the scratch records could not be removed; they end by themselves within {LIFE} s")
    })?;
    Ok(rates)
}

fn store_and_look(
    node: &Node,
    facts: &Facts,
    link: &mut Link,
    shape: &Shape,
    stored: &mut Vec<Vec<u8>>,
) -> Result<Rates> {
    // So that no two runs, and no application, have the same names.
    let first = RandomState::new().hash_one(0u8) % 1_000_000_000 + 1_000_000;
    let mut numbers = first..first.saturating_add(ALL * 1_000);
    store(node, facts, link, shape, &mut numbers, FEW, stored)?;
    let few = settled(node, facts)?;
    store(node, facts, link, shape, &mut numbers, ALL, stored)?;
    let all = settled(node, facts)?;
    Ok(Rates::between(&few, &all, stored.len()))
}

fn store(
    node: &Node,
    facts: &Facts,
    link: &mut Link,
    shape: &Shape,
    numbers: &mut std::ops::Range<u64>,
    until: u64,
    stored: &mut Vec<Vec<u8>>,
) -> Result<()> {
    let mut token = None;
    while (stored.len() as u64) < until {
        let mut keys = Vec::with_capacity(STEP);
        let mut commands: Vec<Cmd> = Vec::with_capacity(STEP);
        while keys.len() < STEP {
            let number = numbers.next().context("no slot of this node is met")?;
            let line = shape.line(number);
            let fill = line.and_then(|line| shape.recipe.read(line.as_bytes()));
            let Some(mut fill) = fill.map_err(|why| anyhow::anyhow!("--record: {why}"))? else {
                continue;
            };
            let is_its =
                |key: &[u8]| node.place.slots().iter().any(|range| range.contains(&slot(key)));
            if facts.is_in_cluster && !is_its(&fill.key) {
                continue;
            }
            if token.is_none() {
                token = Some(link.ask::<String>(redis::cmd("APIKEY.TOKEN").arg(&fill.key))?);
            }
            fill.command.arg("TOKEN").arg(token.as_deref().unwrap_or_default());
            keys.push(fill.key);
            commands.push(fill.command);
        }
        for ((key, command), reply) in keys.into_iter().zip(&commands).zip(link.ask_all(&commands)?)
        {
            match reply {
                Ok(Value::Okay) => stored.push(key),
                Ok(_) => bail!(
                    "{}: a scratch record was refused: apikeyctl doctor says whether anything is stored there",
                    link.address
                ),
                Err(refusal) => return Err(link.refused(command, &refusal)),
            }
        }
    }
    Ok(())
}

/// A look after the tables have come to rest.
fn settled(node: &Node, facts: &Facts) -> Result<Look> {
    let began = Instant::now();
    let mut last = Look::at(node, facts)?;
    let mut same = 0;
    loop {
        std::thread::sleep(Duration::from_millis(120));
        let look = Look::at(node, facts)?;
        same = if (look.used - last.used).abs() < 16_384.0 { same + 1 } else { 0 };
        last = look;
        if same >= 3 || began.elapsed() > PATIENCE {
            return Ok(last);
        }
    }
}

fn remove(link: &mut Link, keys: &[Vec<u8>]) -> Result<()> {
    for keys in keys.chunks(STEP) {
        let commands: Vec<Cmd> = keys
            .iter()
            .map(|key| {
                let mut command = redis::cmd("UNLINK");
                command.arg(key);
                command
            })
            .collect();
        for (command, reply) in commands.iter().zip(link.ask_all(&commands)?) {
            reply.map_err(|refusal| link.refused(command, &refusal))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn values_keep_their_form_and_are_each_their_own() {
        for value in [
            r#""74613f3f-29f5-4073-b85c-56e682308ea6""#,
            r#""ak_live_7Qm2hT9x""#,
            "42",
            "9007199254740993",
        ] {
            let all: BTreeSet<String> =
                (1_000_000..1_020_000).map(|number| like(value, number)).collect();
            assert_eq!(all.len(), 20_000, "{value}");
            for made in all {
                let form = |text: &str| text.replace(|c: char| c.is_ascii_alphanumeric(), "x");
                assert!(form(&made) == form(value) || value == "42", "{made} {value}");
            }
        }
        assert_eq!(like("42", 7), "1000007");
    }

    #[test]
    fn users_have_several_keys() {
        let key = Pattern::parse(KEY).expect("a pattern");
        let shape = Shape::new(None, key, None, Vec::new(), 0.2).expect("a shape");
        let users: BTreeSet<String> = (0..1_000)
            .map(|number| {
                let line = shape.line(number).expect("a line");
                Row::parse(line.as_bytes())
                    .expect("a row")
                    .field("user_id")
                    .expect("a user")
                    .to_string()
            })
            .collect();
        assert_eq!(users.len(), 200);
    }
}
