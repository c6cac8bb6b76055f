//! A connection to one server, on which each wait is bounded.

use std::time::Duration;

use anyhow::{anyhow, Context, Result};
use redis::{Client, Cmd, Connection, FromRedisValue, RedisError, Value};

use super::address::Address;
use super::refusal::Refusal;

/// A reply: what the server said, or by what it refused.
pub type Reply = Result<Value, Refusal>;

pub struct Link {
    pub address: Address,
    connection: Connection,
    /// How long a reply may take.
    patience: Duration,
}

impl Link {
    /// Connects, logs in and selects the database, all within the time.
    pub(super) fn open(client: &Client, address: &Address, timeout: Duration) -> Result<Self> {
        let connection = client
            .get_connection_with_timeout(timeout)
            .map_err(|error| explain(address, &error))?;
        let mut link = Self { address: address.clone(), connection, patience: timeout };
        link.wait_up_to(timeout)?;
        Ok(link)
    }

    /// How long a reply may take from here on.
    pub fn wait_up_to(&mut self, patience: Duration) -> Result<()> {
        self.patience = patience;
        let set = self.connection.set_read_timeout(Some(patience));
        set.and_then(|()| self.connection.set_write_timeout(Some(patience)))
            .map_err(|error| self.broken(&error))
    }

    /// Asks, and returns the reply, a refusal too. An error is a connection that is of no use any more.
    pub fn try_ask(&mut self, command: &Cmd) -> Result<Reply> {
        self.send(&command.get_packed_command())?;
        self.receive()
    }

    /// Asks, and returns the reply in a form of the caller's. A refusal is an error that names the server,
    /// the command and what to do.
    pub fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T> {
        match self.try_ask(command)? {
            Ok(value) => T::from_redis_value(value).with_context(|| {
                format!("{}: {} has a reply that is not known", self.address, name_of(command))
            }),
            Err(refusal) => Err(self.refused(command, &refusal)),
        }
    }

    /// Asks many at once, and returns their replies in that order. What is asked should be some hundred
    /// short commands: neither side reads while it writes.
    pub fn ask_all(&mut self, commands: &[Cmd]) -> Result<Vec<Reply>> {
        let bytes: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        if !bytes.is_empty() {
            self.send(&bytes)?;
        }
        commands.iter().map(|_| self.receive()).collect()
    }

    pub fn select(&mut self, database: u32) -> Result<()> {
        self.ask(redis::cmd("SELECT").arg(database))
    }

    /// Sends commands as they are packed; each has one reply to [`Link::receive`].
    pub fn send(&mut self, packed: &[u8]) -> Result<()> {
        self.connection.send_packed_command(packed).map_err(|error| self.broken(&error))
    }

    /// The next reply.
    pub fn receive(&mut self) -> Result<Reply> {
        match self.connection.recv_response() {
            Ok(Value::ServerError(error)) => Ok(Err(Refusal::of(&error))),
            Ok(value) => Ok(Ok(value)),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The error that a refusal is where it ends what one wanted.
    pub fn refused(&self, command: &Cmd, refusal: &Refusal) -> anyhow::Error {
        refused(&self.address, command, refusal)
    }

    fn broken(&self, error: &RedisError) -> anyhow::Error {
        broken(&self.address, self.patience, error)
    }
}

pub(super) fn refused(address: &Address, command: &Cmd, refusal: &Refusal) -> anyhow::Error {
    let name = name_of(command);
    anyhow!("{address}: {name}: {refusal}{}", refusal.hint(&name))
}

/// What is said of a connection that is of no use any more.
pub(super) fn broken(address: &Address, patience: Duration, error: &RedisError) -> anyhow::Error {
    of_tls(address, error).unwrap_or_else(|| match error.is_timeout() {
        true => anyhow!(
            "{address} gave no answer within {patience:?}: is it up, and is it Redis, with TLS or without as it was asked?"
        ),
        false => anyhow!("the connection to {address} broke ({error}){MAY_BE_TLS}"),
    })
}

const MAY_BE_TLS: &str = "; if it never worked, the server may speak TLS (rediss://, --tls)";

/// What TLS wants, where it is that: it may show at the first word only.
fn of_tls(address: &Address, error: &RedisError) -> Option<anyhow::Error> {
    let text = error.to_string();
    // By rustls with the times, or without.
    let has_ended = ["certificate: certificate expired", "certificate: Expired"];
    if has_ended.iter().any(|told| text.contains(told)) {
        return Some(anyhow!("{address}: its certificate has ended: docs/runbooks/certificate.md"));
    }
    if text.contains("fatal alert: CertificateExpired") {
        return Some(anyhow!(
            "{address}: the certificate of --cert has ended: docs/runbooks/certificate.md"
        ));
    }
    let why = if text.contains("invalid peer certificate") {
        "it shows a certificate that is not believed: --cacert names the CA that has signed it, and it must be for the host that is asked"
    } else if text.contains("fatal alert") {
        "it lets nobody in without a certificate that it believes: --cert and --cert-key show one"
    } else {
        return None;
    };
    Some(anyhow!("{address} ({text}): {why}"))
}

/// The command's name, with the subcommand of those that have one.
fn name_of(command: &Cmd) -> String {
    let words: Vec<String> = command
        .args_iter()
        .take(2)
        .map(|arg| match arg {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        })
        .collect();
    match words.first().map(String::as_str) {
        Some("CONFIG" | "CLUSTER" | "CLIENT" | "SENTINEL" | "ACL" | "LATENCY" | "MODULE") => {
            words.join(" ")
        }
        Some(name) => name.to_string(),
        None => String::new(),
    }
}

/// What a server that can't be reached, or lets nobody in, wants.
pub(super) fn explain(address: &Address, error: &RedisError) -> anyhow::Error {
    if let Some(why) = of_tls(address, error) {
        return why;
    }
    let text = error.to_string();
    if error.is_timeout() {
        return anyhow!(
            "{address} lets nobody in in time: is it up, and does it speak TLS (rediss://, --tls)?"
        );
    }
    if error.is_io_error() {
        let tls = if error.is_connection_dropped() { MAY_BE_TLS } else { "" };
        return anyhow!(
            "could not reach {address} ({text}): is the server running there? --url says where it is{tls}"
        );
    }
    let code = match error.kind() {
        redis::ErrorKind::AuthenticationFailed => "WRONGPASS",
        _ => error.code().unwrap_or_default(),
    };
    let hint = Refusal { code: code.into(), text: String::new() }.hint("AUTH");
    anyhow!("{address} refused the connection ({text}){hint}")
}
