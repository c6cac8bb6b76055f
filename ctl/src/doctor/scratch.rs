//! A key of the doctor's own, through what an application does, at each primary, with the time of each step.
//!
//! **What always holds.** The key's name is random and nobody else's. The record lives for a minute at most, also where
//! this program is killed. The count is made and taken back in one transaction, so that no consumer is given it. LEASE
//! hands out whatever is pending, others' counts too, so it is called only where nothing is pending and no batch is open;
//! a batch that has others' counts all the same is given back at once.

use std::time::Instant;

use anyhow::Result;
use redis::{Cmd, Value};
use serde::Serialize;

use crate::connect::{Link, Refusal};
use crate::reading::{reply, Health};

use super::finding::Finding;

/// How long the record lives, in seconds.
const LIFE: u64 = 60;
/// The finding of what the user may not.
pub const NOT_ALLOWED: &str = "scratch-not-allowed";
const SECRET: &str = "apikeyctl-doctor";

/// What was tried at a primary.
#[derive(Debug, Serialize)]
pub struct Tried {
    pub address: String,
    pub key: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub ms: f64,
}

/// Why it went no further.
enum Stop {
    Found(Finding),
    /// Not allowed to this user.
    Denied(&'static str),
}

struct Scratch<'a> {
    link: &'a mut Link,
    key: String,
    steps: Vec<Step>,
}

/// Goes through all that this user may. `health` is what it said just before.
pub fn run(link: &mut Link, key: &str, health: Option<&Health>) -> Result<(Tried, Vec<Finding>)> {
    let address = link.address.to_string();
    let mut scratch = Scratch { link, key: key.into(), steps: Vec::new() };
    let mut found = Vec::new();
    let mut tell = |ended: Result<(), Stop>| match ended {
        Ok(()) => {}
        Err(Stop::Found(finding)) => found.push(finding.at(&address)),
        Err(Stop::Denied(step)) => {
            let what = format!("{step} was not tried: the user may not call all that is tried, or taken back, there");
            found.push(
                Finding::note(NOT_ALLOWED, what, "log in as a user who may, to have it tried")
                    .at(&address),
            );
        }
    };
    let ran = scratch.entry().and_then(|entry| {
        let is_well = entry.is_ok();
        tell(entry);
        if is_well {
            let count = scratch.count()?;
            let is_well = count.is_ok();
            tell(count);
            match health {
                Some(health) if is_well && is_idle(health) => tell(scratch.lease()?),
                _ if is_well => tell(Err(Stop::Found(Finding::note(
                    "lease-not-tried",
                    "LEASE and ACK were not tried: counts are pending or leased, or HEALTH does not tell, and LEASE would take what is an application's",
                    "",
                )))),
                _ => {}
            }
        }
        Ok(())
    });
    let cleared = scratch.clear();
    ran.and(cleared)?;
    Ok((Tried { address, key: scratch.key, steps: scratch.steps }, found))
}

/// Whether LEASE would hand out nothing.
fn is_idle(health: &Health) -> bool {
    ["usage_pending", "open_batches"].iter().all(|name| health.number(name) == Some(0))
}

impl Scratch<'_> {
    /// Asks, and keeps the time; an error is a finding.
    fn ask(&mut self, step: &'static str, command: &Cmd) -> Result<Result<Value, Stop>> {
        let start = Instant::now();
        let told = self.link.try_ask(command)?;
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        Ok(told
            .map_err(|refusal| stop(step, &refusal))
            .inspect(|_| self.steps.push(Step { step, ms })))
    }

    /// A step whose reply has to be this.
    fn expect(
        &mut self,
        step: &'static str,
        command: &Cmd,
        expected: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Result<(), Stop>> {
        Ok(match self.ask(step, command)? {
            Ok(told) if is(&told) => Ok(()),
            Ok(told) => {
                Err(failed(step, &format!("it replied {}, and not {expected}", reply::json(&told))))
            }
            Err(stop) => Err(stop),
        })
    }

    /// A record: stored, verified, killed by its tag; stored again, and killed by its key.
    fn entry(&mut self) -> Result<Result<(), Stop>> {
        let tag = format!("{}:tag", self.key);
        let code = |expected: &'static str| {
            move |told: &Value| {
                reply::items(told).and_then(<[_]>::first).and_then(reply::text).as_deref()
                    == Some(expected)
            }
        };
        let is_one = |told: &Value| reply::number(told) == Some(1);
        let mut validate = redis::cmd("APIKEY.VALIDATE");
        validate.arg(&self.key).arg("SECRET").arg(SECRET);
        for (step, kill, at) in [
            ("TAGINVAL", "APIKEY.TAGINVAL", tag.clone()),
            ("INVAL", "APIKEY.INVAL", self.key.clone()),
        ] {
            let token = match self.ask("TOKEN", redis::cmd("APIKEY.TOKEN").arg(&self.key))? {
                Ok(token) => reply::text(&token).unwrap_or_default(),
                Err(stop) => return Ok(Err(stop)),
            };
            let record = format!(
                r#"{{"id":"apikeyctl-doctor","user_id":"apikeyctl-doctor","name":"{step}","is_active":true}}"#
            );
            let mut set = redis::cmd("APIKEY.SETVAL");
            set.arg(&self.key).arg(record).arg("EX").arg(LIFE).arg("SECRET").arg(SECRET);
            set.arg("TAGS").arg(1).arg(&tag).arg("TOKEN").arg(token);
            let mut done = self.expect("SETVAL", &set, "OK", |told| *told == Value::Okay)?;
            if done.is_ok() {
                done = self.expect("VALIDATE", &validate, "VALID", code("VALID"))?;
            }
            if done.is_ok() {
                done = self.expect(step, redis::cmd(kill).arg(&at), "1", is_one)?;
            }
            if done.is_ok() {
                done = self.expect("VALIDATE", &validate, "MISS", code("MISS"))?;
            }
            if done.is_err() {
                return Ok(done);
            }
        }
        Ok(Ok(()))
    }

    /// Commands in a transaction, with its time; each of its replies.
    fn transaction(
        &mut self,
        step: &'static str,
        commands: &[Cmd],
    ) -> Result<Result<Vec<Value>, Stop>> {
        let exec = redis::cmd("EXEC");
        let all: Vec<Cmd> =
            [redis::cmd("MULTI")].iter().chain(commands).chain([&exec]).cloned().collect();
        let start = Instant::now();
        let replies = self.link.ask_all(&all)?;
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        // The first refusal is the reason for EXEC's own.
        let mut last = None;
        for told in replies {
            match told {
                Ok(value) => last = Some(value),
                Err(refusal) => return Ok(Err(stop(step, &refusal))),
            }
        }
        let told = last.as_ref().and_then(reply::items).unwrap_or_default();
        for value in told {
            if let Value::ServerError(error) = value {
                return Ok(Err(stop(step, &Refusal::of(error))));
            }
        }
        self.steps.push(Step { step, ms });
        Ok(Ok(told.to_vec()))
    }

    fn incr(&self) -> Cmd {
        let mut incr = redis::cmd("APIKEY.USAGE.INCR");
        incr.arg(&self.key);
        incr
    }

    fn with_key(&self, name: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(&self.key);
        command
    }

    /// A count, taken back before anybody can be given it.
    fn count(&mut self) -> Result<Result<(), Stop>> {
        let commands = [self.incr(), self.with_key("APIKEY.USAGE.TAKE"), self.with_key("DEL")];
        Ok(self.transaction("USAGE.INCR", &commands)?.and_then(|told| {
            let counted = told.first().and_then(reply::number);
            match counted {
                Some(1) => Ok(()),
                _ => Err(failed("USAGE.INCR", "it did not count one use")),
            }
        }))
    }

    /// A count, leased in the transaction that makes it, and settled.
    fn lease(&mut self) -> Result<Result<(), Stop>> {
        let mut lease = redis::cmd("APIKEY.USAGE.LEASE");
        lease.arg(LIFE * 1000).arg("COUNT").arg(1);
        // Before anything is leased: whether it may be settled at all.
        for name in ["APIKEY.USAGE.ACK", "APIKEY.USAGE.NACK"] {
            let refusal = self.link.try_ask(redis::cmd(name).arg("wrong"))?.err();
            if let Some(refusal) = refusal.filter(|refusal| refusal.code == "NOPERM") {
                return Ok(Err(stop("USAGE.ACK", &refusal)));
            }
        }
        let told = match self.transaction("USAGE.LEASE", &[self.incr(), lease])? {
            Ok(told) => told,
            Err(stop) => return Ok(Err(stop)),
        };
        let batches = told.get(1).and_then(reply::items).unwrap_or_default();
        let mut settled = Err(failed("USAGE.LEASE", "it gave out no count"));
        for batch in batches {
            let Some([id, lines, ..]) = reply::items(batch) else { continue };
            let key = |line: &Value| {
                reply::items(line).and_then(|line| line.get(1)).and_then(reply::text)
            };
            let is_ours = reply::items(lines)
                .unwrap_or_default()
                .iter()
                .all(|line| key(line).as_ref() == Some(&self.key));
            let id = reply::text(id).unwrap_or_default();
            settled = match is_ours {
                true => {
                    self.expect("USAGE.ACK", redis::cmd("APIKEY.USAGE.ACK").arg(id), "1", |told| {
                        reply::number(told) == Some(1)
                    })?
                }
                false => {
                    self.ask("USAGE.NACK", redis::cmd("APIKEY.USAGE.NACK").arg(id))?.map(|_| ())
                }
            };
        }
        Ok(settled)
    }

    /// Nothing of it is left, as far as this user may.
    fn clear(&mut self) -> Result<()> {
        let gone = [self.with_key("APIKEY.INVAL"), self.with_key("DEL")];
        self.link.ask_all(&gone)?;
        Ok(())
    }
}

fn stop(step: &'static str, refusal: &Refusal) -> Stop {
    match refusal.code.as_str() {
        "NOPERM" => Stop::Denied(step),
        _ if refusal.is_unknown_command() => Stop::Denied(step),
        "MISCONF" | "NOREPLICAS" => {
            let what = format!("{step}: {refusal}");
            let todo = "until that is mended no key can be revoked: for a disk the server's log says why, for replicas see why they are away";
            Stop::Found(Finding::wrong("writes-refused", what, todo))
        }
        "OOM" => {
            let todo = "raise maxmemory, or choose a policy that evicts";
            Stop::Found(Finding::wrong("memory-full", format!("{step}: {refusal}"), todo))
        }
        _ => failed(step, &refusal.to_string()),
    }
}

fn failed(step: &str, how: &str) -> Stop {
    let todo =
        "see what was found before, and the server's log; docs/commands.md has what it replies";
    Stop::Found(Finding::wrong(
        "scratch-failed",
        format!("a key of the doctor's own went wrong at {step}: {how}"),
        todo,
    ))
}
