//! One primary: its connection, its token, and the pipeline of what goes to it.
//!
//! Fills are written into a buffer. [`Node::send`] sends it and then reads the replies of the one before,
//! so that the server has work while the next is made. A server reads on whether or not its replies are
//! read, and they are short, so neither waits for the other with full buffers.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use memchr::memmem;
use redis::Value;

use super::recipe::Fill;
use super::tally::Tally;
use crate::connect::{Access, Address, Link, Refusal};
use crate::reading::{Config, Health};

/// A server that is paused for a failover answers within this.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// How old a token of an unfenced run becomes.
const UNFENCED_AGE: Duration = Duration::from_secs(1);

/// What a server gives that has no token to give.
const NO_TOKEN: &str = "0";

const BROKEN: &str =
    "it ended early: what was stored stays; see that the server is there and start again";

/// The tag of every record, behind its namespace.
const RECORD_TAG: &[u8] = b"apikey:kind:record";

/// What the first tag of every value of a region's has behind its namespace.
const REGION_TAG: &[u8] = b"cache:region:";

pub struct Node {
    link: Link,
    token_key: String,
    token: String,
    taken: Instant,
    out: Vec<u8>,
    /// What stands in `out`.
    next: Vec<Asked>,
    /// What was sent and has no reply yet.
    sent: Vec<Asked>,
    /// Fills that were refused, though their key was free.
    pub refused: u64,
}

enum Asked {
    /// A fill; with its key where a refusal has two reasons.
    Fill { line: u64, key: Option<Vec<u8>> },
    /// What a key holds, whose fill was refused.
    Why { line: u64 },
}

impl Node {
    /// Connects and takes a token.
    pub fn connect(access: &Access, address: &Address, token_key: &str) -> Result<Self> {
        let mut link = access.link(address, access.database())?;
        link.wait_up_to(REPLY_TIMEOUT)?;
        let mut node = Self {
            link,
            token_key: token_key.to_string(),
            token: String::new(),
            taken: Instant::now(),
            out: Vec::new(),
            next: Vec::new(),
            sent: Vec::new(),
            refused: 0,
        };
        node.take_token()?;
        if let Some(why) = node.is_switched_off() {
            bail!("{}: {why}", node.link.address);
        }
        Ok(node)
    }

    fn take_token(&mut self) -> Result<()> {
        let mut command = redis::cmd("APIKEY.TOKEN");
        command.arg(&self.token_key);
        self.token = self.link.ask(&command)?;
        self.taken = Instant::now();
        Ok(())
    }

    /// Why no fill is stored, where it is for a switch, or for what the server is. A user who may not see
    /// HEALTH sees the fills refused.
    pub fn is_switched_off(&mut self) -> Option<&'static str> {
        let health = Health::read(&mut self.link).ok();
        let is_off = |name: &str| health.as_ref().and_then(|health| health.number(name)) == Some(0);
        if is_off("enabled") {
            Some("apikey.enabled is no")
        } else if is_off("writes_enabled") {
            Some("apikey.writes-enabled is no")
        } else if self.token == NO_TOKEN {
            Some("it is a replica: say the primary's URL")
        } else {
            None
        }
    }

    /// How long a token is good for, where the server tells.
    pub fn token_ttl(&mut self) -> Option<Duration> {
        let name = "apikey.token-ttl-ms";
        Config::read(&mut self.link, name).ok()?.number(name).map(Duration::from_millis)
    }

    /// How old the token is.
    pub fn token_age(&self) -> Duration {
        self.taken.elapsed()
    }

    /// Takes a record into the pipeline.
    pub fn push(&mut self, mut fill: Fill, line: u64, run: &mut Run) -> Result<()> {
        if run.unfenced && self.out.is_empty() && self.token_age() > UNFENCED_AGE {
            self.receive(run.tally)?;
            self.take_token()?;
        }
        fill.command.arg("TOKEN").arg(&self.token);
        fill.command.write_packed_command(&mut self.out);
        let key = run.if_absent.then_some(fill.key);
        self.next.push(Asked::Fill { line, key });
        Ok(())
    }

    /// Sends what was taken in, and reads what became of what was sent before.
    pub fn send(&mut self, tally: &mut Tally) -> Result<()> {
        if !self.out.is_empty() {
            self.link.send(&self.out).context(BROKEN)?;
        }
        self.out.clear();
        let next = std::mem::take(&mut self.next);
        let before = std::mem::replace(&mut self.sent, next);
        self.read(before, tally)
    }

    /// Waits for all that is still open.
    pub fn finish(&mut self, tally: &mut Tally) -> Result<()> {
        while !(self.next.is_empty() && self.sent.is_empty()) {
            self.send(tally)?;
        }
        Ok(())
    }

    fn receive(&mut self, tally: &mut Tally) -> Result<()> {
        let sent = std::mem::take(&mut self.sent);
        self.read(sent, tally)
    }

    fn read(&mut self, asked: Vec<Asked>, tally: &mut Tally) -> Result<()> {
        for asked in asked {
            let value = match (self.link.receive().context(BROKEN)?, &asked) {
                (Ok(value), _) => value,
                (Err(refusal), Asked::Fill { line, .. } | Asked::Why { line }) => {
                    self.judge(*line, &refusal, tally)?;
                    continue;
                }
            };
            match (asked, value) {
                (Asked::Fill { .. }, Value::Okay) => tally.stored += 1,
                (Asked::Fill { line, key: Some(key) }, Value::Nil) => {
                    redis::cmd("APIKEY.TAGS").arg(key).write_packed_command(&mut self.out);
                    self.next.push(Asked::Why { line });
                }
                (Asked::Fill { key: None, .. }, Value::Nil) => self.refused += 1,
                (Asked::Why { .. }, Value::Array(tags)) => {
                    let of_record = |tag: &Value| matches!(tag, Value::BulkString(tag) if tag.ends_with(RECORD_TAG));
                    let of_region = |tag: &Value| matches!(tag, Value::BulkString(tag) if memmem::find(tag, REGION_TAG).is_some());
                    match tags.iter().any(of_record) || tags.first().is_some_and(of_region) {
                        true => tally.there_already += 1,
                        false => self.refused += 1,
                    }
                }
                (_, _) => bail!("{}: a reply that is not known", self.link.address),
            }
        }
        Ok(())
    }

    /// An error that is the record's own is reported; one that all others would get as well ends the run.
    fn judge(&self, line: u64, refusal: &Refusal, tally: &mut Tally) -> Result<()> {
        let hint = match refusal.code.as_str() {
            "BADRECORD" | "WRONGTYPE" | "ERR" => {
                tally.bad(line, &refusal.to_string());
                return Ok(());
            }
            "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" => {
                "slots of the cluster move, or its URL wants --cluster: start again when they are settled"
            }
            "OOM" => "its memory is full: raise maxmemory, or choose a policy that evicts, and start again",
            "READONLY" => "it is a replica now: start again with the primary's URL",
            "NOPERM" => "the user needs APIKEY.SETVAL (CACHE.SET for regions), APIKEY.TOKEN and, for --if-absent, APIKEY.TAGS, with write permission for the keys",
            _ => "start again when the server can store",
        };
        let address = &self.link.address;
        Err(anyhow!("{address} stops taking them at line {line} ({refusal}): {hint}"))
    }
}

/// What holds for all records of a run.
pub struct Run<'a> {
    pub unfenced: bool,
    pub if_absent: bool,
    pub tally: &'a mut Tally,
}
