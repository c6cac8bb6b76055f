//! One primary: its connection, its token, and the pipeline of what goes to it.
//!
//! Fills are written into a buffer. [`Node::send`] sends it and then reads the replies of the one before,
//! so that the server has work while the next is made. A server reads on whether or not its replies are
//! read, and they are short, so neither waits for the other with full buffers.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Result};
use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, RedisError, ServerError, Value};

use crate::recipe::Fill;
use crate::tally::Tally;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that is paused for a failover answers within this.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// How old a token of an unfenced run becomes.
const UNFENCED_AGE: Duration = Duration::from_secs(1);

/// What a server gives that has no token to give.
const NO_TOKEN: &str = "0";

/// The tag of every record, behind its namespace.
const RECORD_TAG: &[u8] = b"apikey:kind:record";

pub struct Node {
    address: String,
    connection: Connection,
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
    Fill { line: u64, key: Option<String> },
    /// What a key holds, whose fill was refused.
    Why { line: u64 },
}

pub fn open(server: &ConnectionInfo) -> Result<Connection> {
    let client = Client::open(server.clone()).map_err(|error| explain(server, &error))?;
    let connection = client
        .get_connection_with_timeout(CONNECT_TIMEOUT)
        .map_err(|error| explain(server, &error))?;
    connection.set_read_timeout(Some(REPLY_TIMEOUT))?;
    connection.set_write_timeout(Some(REPLY_TIMEOUT))?;
    Ok(connection)
}

fn address(server: &ConnectionInfo) -> String {
    match server.addr() {
        ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
        other => other.to_string(),
    }
}

/// What a server that can't be reached, or lets nobody in, wants.
fn explain(server: &ConnectionInfo, error: &RedisError) -> anyhow::Error {
    let address = address(server);
    if error.is_io_error() {
        return anyhow!("could not reach {address} ({error}): is the server running there? --url says where it is");
    }
    let hint = match error.code() {
        Some("NOAUTH") | Some("WRONGPASS") => {
            "; give the user by --user and the password in REDISCLI_AUTH, or both in the URL"
        }
        _ => "",
    };
    anyhow!("{address} refused the connection ({error}){hint}")
}

impl Node {
    /// Connects and takes a token.
    pub fn connect(server: &ConnectionInfo, token_key: &str) -> Result<Self> {
        let mut node = Self {
            address: address(server),
            connection: open(server)?,
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
            bail!("{}: {why}", node.address);
        }
        Ok(node)
    }

    fn take_token(&mut self) -> Result<()> {
        let key = self.token_key.clone();
        let token: Result<String, RedisError> =
            redis::cmd("APIKEY.TOKEN").arg(key).query(&mut self.connection);
        self.taken = Instant::now();
        self.token = token.map_err(|error| {
            let hint = match (error.code(), error.to_string()) {
                (Some("MOVED"), _) => ": it is a node of a cluster; say --cluster",
                (Some("READONLY"), _) => ": it is a replica: say the primary's URL",
                (Some("NOAUTH" | "NOPERM"), _) => {
                    ": the user needs APIKEY.TOKEN, APIKEY.SETVAL and their keys; --user, REDISCLI_AUTH"
                }
                (_, text) if text.contains("unknown command") => {
                    ": it has no module redis-apikey; start it with --loadmodule libapikey.so"
                }
                _ => "",
            };
            anyhow!("{} gives no token ({error}){hint}", self.address)
        })?;
        Ok(())
    }

    /// Why no fill is stored, where it is for a switch, or for what the server is. A user who may not see
    /// HEALTH sees the fills refused.
    pub fn is_switched_off(&mut self) -> Option<&'static str> {
        let health: Vec<Value> =
            redis::cmd("APIKEY.HEALTH").query(&mut self.connection).unwrap_or_default();
        let is_off = |name: &[u8]| {
            health.chunks_exact(2).any(|pair| {
                matches!(pair, [Value::BulkString(field), Value::Int(0)] if field.as_slice() == name)
            })
        };
        if is_off(b"enabled") {
            Some("apikey.enabled is no")
        } else if is_off(b"writes_enabled") {
            Some("apikey.writes-enabled is no")
        } else if self.token == NO_TOKEN {
            Some("it is a replica: say the primary's URL")
        } else {
            None
        }
    }

    /// How long a token is good for, where the server tells.
    pub fn token_ttl(&mut self) -> Option<Duration> {
        let mut command = redis::cmd("CONFIG");
        let reply: Vec<String> =
            command.arg("GET").arg("apikey.token-ttl-ms").query(&mut self.connection).ok()?;
        Some(Duration::from_millis(reply.get(1)?.parse().ok()?))
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
            let sent = self.connection.send_packed_command(&self.out);
            sent.map_err(|error| self.broken(&error))?;
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
            let reply = self.connection.recv_response().map_err(|error| self.broken(&error))?;
            match (asked, reply) {
                (Asked::Fill { .. }, Value::Okay) => tally.stored += 1,
                (Asked::Fill { line, key: Some(key) }, Value::Nil) => {
                    redis::cmd("APIKEY.TAGS").arg(key).write_packed_command(&mut self.out);
                    self.next.push(Asked::Why { line });
                }
                (Asked::Fill { key: None, .. }, Value::Nil) => self.refused += 1,
                (Asked::Why { .. }, Value::Array(tags)) => {
                    let of_record = |tag: &Value| matches!(tag, Value::BulkString(tag) if tag.ends_with(RECORD_TAG));
                    match tags.iter().any(of_record) {
                        true => tally.there_already += 1,
                        false => self.refused += 1,
                    }
                }
                (Asked::Fill { line, .. } | Asked::Why { line }, Value::ServerError(error)) => {
                    self.judge(line, &error, tally)?;
                }
                (_, other) => bail!("{}: a reply that is not known: {other:?}", self.address),
            }
        }
        Ok(())
    }

    /// An error that is the record's own is reported; one that all others would get as well ends the run.
    fn judge(&self, line: u64, error: &ServerError, tally: &mut Tally) -> Result<()> {
        let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
        let hint = match error.code() {
            "BADRECORD" | "WRONGTYPE" | "ERR" => {
                tally.bad(line, &text);
                return Ok(());
            }
            "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" => {
                "slots of the cluster move, or its URL wants --cluster: start again when they are settled"
            }
            "OOM" => "its memory is full: raise maxmemory, or choose a policy that evicts, and start again",
            "READONLY" => "it is a replica now: start again with the primary's URL",
            "NOPERM" => "the user needs APIKEY.SETVAL, APIKEY.TOKEN and, for --if-absent, APIKEY.TAGS, with write permission for the keys",
            _ => "start again when the server can store",
        };
        Err(anyhow!("{} stops taking records at line {line} ({text}): {hint}", self.address))
    }

    fn broken(&self, error: &RedisError) -> anyhow::Error {
        anyhow!(
            "the connection to {} broke ({error}): see that the server is there and start again; what was stored stays",
            self.address
        )
    }
}

/// What holds for all records of a run.
pub struct Run<'a> {
    pub unfenced: bool,
    pub if_absent: bool,
    pub tally: &'a mut Tally,
}
