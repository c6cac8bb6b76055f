//! A connection whose bytes are read as they come: an RDB, which is no reply and may be larger than memory.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{anyhow, Result};
use redis::{Cmd, RedisConnectionInfo, RedisError};

use super::address::Address;
use super::link;
use super::refusal::Refusal;
use super::tls::Tls;

/// The most bytes of a line.
const MAX_LINE: usize = 1 << 16;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What has the timeouts.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub struct Wire {
    pub address: Address,
    stream: Box<dyn Stream>,
    socket: Socket,
    patience: Duration,
}

impl Wire {
    /// Connects and logs in.
    pub(super) fn open(
        address: &Address,
        tls: Option<&Tls>,
        login: &RedisConnectionInfo,
        patience: Duration,
    ) -> Result<Self> {
        let refused = |error: io::Error| link::explain(address, &RedisError::from(error));
        let (stream, socket): (Box<dyn Stream>, _) = match address {
            Address::Socket(path) => {
                let stream = UnixStream::connect(path).map_err(refused)?;
                (Box::new(stream.try_clone().map_err(refused)?), Socket::Unix(stream))
            }
            Address::Tcp { host, port } => {
                let stream = connect(host, *port, patience).map_err(refused)?;
                let socket = Socket::Tcp(stream.try_clone().map_err(refused)?);
                match tls {
                    Some(tls) => (Box::new(tls.speak(host, stream)?), socket),
                    None => (Box::new(stream), socket),
                }
            }
        };
        let mut wire = Self { address: address.clone(), stream, socket, patience };
        wire.wait_up_to(patience)?;
        if let Some(password) = login.password() {
            let mut auth = redis::cmd("AUTH");
            auth.arg(login.username()).arg(password);
            if let Err(refusal) = wire.try_ask(&auth)? {
                return Err(wire.refused(&auth, &refusal));
            }
        }
        Ok(wire)
    }

    /// How long the next bytes may take from here on.
    pub fn wait_up_to(&mut self, patience: Duration) -> Result<()> {
        self.patience = patience;
        let time = Some(patience);
        let set = match &self.socket {
            Socket::Tcp(tcp) => tcp.set_read_timeout(time).and(tcp.set_write_timeout(time)),
            Socket::Unix(unix) => unix.set_read_timeout(time).and(unix.set_write_timeout(time)),
        };
        set.map_err(|error| self.broken(error))
    }

    /// Asks for what has a line as its reply.
    pub fn try_ask(&mut self, command: &Cmd) -> Result<Result<String, Refusal>> {
        let sent = self.stream.write_all(&command.get_packed_command());
        sent.and_then(|()| self.stream.flush()).map_err(|error| self.broken(error))?;
        let line = self.line()?;
        match (line.strip_prefix('+'), line.strip_prefix('-')) {
            (Some(told), _) => Ok(Ok(told.into())),
            (_, Some(refusal)) => Ok(Err(Refusal::read(refusal))),
            _ => Err(anyhow!("{}: a reply that is not known: {line:.40}", self.address)),
        }
    }

    /// The next line that is not empty: servers send empty ones to say that they are still there.
    pub fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            // A byte at a time, as what follows is no line.
            let mut byte = [0];
            let read = self.read(&mut byte)?;
            match byte {
                _ if read == 0 => return Err(self.broken(ErrorKind::UnexpectedEof.into())),
                [b'\n'] if line.is_empty() => {}
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [b'\r'] => {}
                [byte] if line.len() < MAX_LINE => line.push(byte),
                _ => return Err(anyhow!("{}: a line without an end", self.address)),
            }
        }
    }

    /// Some of what comes next; 0 when the server has closed the connection.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            return match self.stream.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // TLS that was ended without a word.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                Err(error) => Err(self.broken(error)),
                Ok(read) => Ok(read),
            };
        }
    }

    /// The error that a refusal is where it ends what one wanted.
    pub fn refused(&self, command: &Cmd, refusal: &Refusal) -> anyhow::Error {
        link::refused(&self.address, command, refusal)
    }

    fn broken(&self, error: io::Error) -> anyhow::Error {
        link::broken(&self.address, self.patience, &RedisError::from(error))
    }
}

/// To the first of the host's addresses that answers in time.
pub(super) fn connect(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut error = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(why) => error = why,
        }
    }
    Err(error)
}
