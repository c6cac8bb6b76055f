//! A blocking client for one connection. Replies are values to compare with literals; an error is a
//! value too, with its whole text.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use redis::{Parser, Value};

/// A reply as the server said it. `Bulk` holds bytes; `Error` the text behind the `-`.
#[derive(Clone, PartialEq)]
pub enum Reply {
    Simple(String),
    Bulk(Vec<u8>),
    Int(i64),
    Nil,
    Array(Vec<Reply>),
    /// RESP3 only.
    Map(Vec<(Reply, Reply)>),
    /// RESP3 only.
    Set(Vec<Reply>),
    /// RESP3 only: an out-of-band message, its kind left out.
    Push(Vec<Reply>),
    /// RESP3 only.
    Bool(bool),
    /// RESP3 only.
    Double(f64),
    Error(String),
}

pub fn simple(text: &str) -> Reply {
    Reply::Simple(text.into())
}

pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
    Reply::Bulk(bytes.as_ref().to_vec())
}

pub fn int(number: i64) -> Reply {
    Reply::Int(number)
}

pub fn nil() -> Reply {
    Reply::Nil
}

pub fn ok() -> Reply {
    simple("OK")
}

pub fn error(text: &str) -> Reply {
    Reply::Error(text.into())
}

pub fn array(items: impl IntoIterator<Item = Reply>) -> Reply {
    Reply::Array(items.into_iter().collect())
}

pub fn map<K: Into<Reply>, V: Into<Reply>>(pairs: impl IntoIterator<Item = (K, V)>) -> Reply {
    Reply::Map(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        bulk(text)
    }
}

impl From<i64> for Reply {
    fn from(number: i64) -> Self {
        int(number)
    }
}

impl Reply {
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The text of a string, simple or bulk, or of an error.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Reply::Simple(text) | Reply::Error(text) => text.clone(),
            Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("not a string: {other:?}"),
        }
    }

    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) => bytes,
            other => panic!("not a bulk string: {other:?}"),
        }
    }

    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(number) => *number,
            other => panic!("not an integer: {other:?}"),
        }
    }

    #[track_caller]
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }

    /// What a map, or the flat array that stands for one in RESP2, has under `name`.
    #[track_caller]
    pub fn get(&self, name: &str) -> &Reply {
        let found = match self {
            Reply::Map(pairs) => pairs.iter().find(|(k, _)| k.text() == name).map(|p| &p.1),
            Reply::Array(flat) => {
                flat.chunks_exact(2).find(|pair| pair[0].text() == name).map(|pair| &pair[1])
            }
            other => panic!("not a map: {other:?}"),
        };
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The names of a map, or of the flat array that stands for one.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        match self {
            Reply::Map(pairs) => pairs.iter().map(|(k, _)| k.text()).collect(),
            Reply::Array(flat) => flat.chunks(2).map(|pair| pair[0].text()).collect(),
            other => panic!("not a map: {other:?}"),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "+{text}"),
            Reply::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::Int(number) => write!(f, "{number}"),
            Reply::Nil => write!(f, "nil"),
            Reply::Array(items) => f.debug_list().entries(items).finish(),
            Reply::Map(pairs) => f.debug_map().entries(pairs.iter().map(|p| (&p.0, &p.1))).finish(),
            Reply::Set(items) => f.debug_set().entries(items).finish(),
            Reply::Push(items) => f.debug_tuple("Push").field(items).finish(),
            Reply::Bool(value) => write!(f, "#{value}"),
            Reply::Double(value) => write!(f, ",{value}"),
            Reply::Error(text) => write!(f, "-{text}"),
        }
    }
}

fn from_value(value: Value) -> Reply {
    let all = |items: Vec<Value>| items.into_iter().map(from_value).collect();
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::Array(items) => Reply::Array(all(items)),
        Value::SimpleString(text) => Reply::Simple(text),
        Value::Okay => ok(),
        Value::Map(pairs) => {
            Reply::Map(pairs.into_iter().map(|(k, v)| (from_value(k), from_value(v))).collect())
        }
        Value::Attribute { data, .. } => from_value(*data),
        Value::Set(items) => Reply::Set(all(items)),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(value) => Reply::Bool(value),
        Value::VerbatimString { text, .. } => bulk(text),
        Value::BigNumber(digits) => bulk(digits),
        Value::Push { data, .. } => Reply::Push(all(data)),
        Value::ServerError(e) => Reply::Error(match e.details() {
            Some(details) => format!("{} {details}", e.code()),
            None => e.code().into(),
        }),
        other => panic!("a reply the harness does not know: {other:?}"),
    }
}

/// The bytes that say `args` as a command.
pub fn packed<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> Vec<u8> {
    let mut command = redis::Cmd::new();
    for arg in args {
        command.arg(arg.as_ref());
    }
    command.get_packed_command()
}

/// What a connection is over.
trait Stream: Read + Write + Send {
    /// How long to wait for a reply, or until the server takes what is sent.
    fn be_patient_for(&self, time: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn be_patient_for(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Stream for UnixStream {
    fn be_patient_for(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

/// Reads from the socket and, when asked to, keeps every byte that came.
struct Tee {
    stream: Box<dyn Stream>,
    kept: Option<Vec<u8>>,
}

impl Read for Tee {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(into)?;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&into[..n]);
        }
        Ok(n)
    }
}

pub struct Client {
    input: Tee,
    parser: Parser,
}

/// How long a reply may take.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Self::over(stream).patient_for(TIMEOUT)
    }

    /// Connects to a socket in the file system.
    pub fn connect_to(path: &Path) -> io::Result<Self> {
        Self::over(UnixStream::connect(path)?).patient_for(TIMEOUT)
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self { input: Tee { stream: Box::new(stream), kept: None }, parser: Parser::new() }
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = A>) -> io::Result<()> {
        self.input.stream.write_all(&packed(args))
    }

    /// The next reply.
    pub fn read(&mut self) -> io::Result<Reply> {
        match self.parser.parse_value(&mut self.input) {
            Ok(value) => Ok(from_value(value)),
            Err(e) => Err(io::Error::other(e)),
        }
    }

    pub fn try_cmd<A: AsRef<[u8]>>(
        &mut self,
        args: impl IntoIterator<Item = A>,
    ) -> io::Result<Reply> {
        self.send(args)?;
        self.read()
    }

    /// Sends a command and gives its reply. A connection that breaks fails the test.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = A>) -> Reply {
        let args: Vec<A> = args.into_iter().collect();
        let reply = self.try_cmd(args.iter());
        reply.unwrap_or_else(|e| {
            let words: Vec<String> =
                args.iter().map(|a| a.as_ref().escape_ascii().to_string()).collect();
            panic!("no reply to {}: {e}", words.join(" "))
        })
    }

    /// A command written as one line, its arguments separated by single spaces.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        self.cmd(line.split(' '))
    }

    /// A line that must succeed: an error as reply fails the test.
    #[track_caller]
    pub fn must(&mut self, line: &str) -> Reply {
        let reply = self.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        reply
    }

    /// Sends the lines at once and reads their replies.
    #[track_caller]
    pub fn pipeline(&mut self, lines: &[String]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(lines.len());
        // In batches, so that neither side waits for the other with full buffers.
        for some in lines.chunks(500) {
            let bytes: Vec<u8> = some.iter().flat_map(|l| packed(l.split(' '))).collect();
            self.input.stream.write_all(&bytes).expect("pipeline");
            for line in some {
                let reply = self.read();
                replies.push(reply.unwrap_or_else(|e| panic!("no reply to {line}: {e}")));
            }
        }
        replies
    }

    /// How long to wait for a reply, or until the server takes what is sent.
    pub fn patient_for(self, time: Duration) -> io::Result<Self> {
        self.input.stream.be_patient_for(time)?;
        Ok(self)
    }

    /// Sends a few lines at once and reads their replies. After an error the connection is of no use.
    pub fn try_lines(&mut self, lines: &[&str]) -> io::Result<Vec<Reply>> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| packed(line.split(' '))).collect();
        self.input.stream.write_all(&bytes)?;
        lines.iter().map(|_| self.read()).collect()
    }

    /// Speaks RESP3 from here on.
    #[track_caller]
    pub fn resp3(&mut self) {
        self.must("HELLO 3");
    }

    /// The value of one line of INFO, or none where there is no such line.
    #[track_caller]
    pub fn info(&mut self, section: &str, name: &str) -> Option<String> {
        let text = self.cmd(["INFO", section]).text();
        text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::to_string)
    }

    /// Keeps, from here on, the very bytes that the server sends.
    pub fn keep_bytes(&mut self) {
        self.input.kept.get_or_insert_with(Vec::new);
    }

    /// The bytes that came since `keep_bytes`.
    pub fn kept_bytes(&self) -> &[u8] {
        self.input.kept.as_deref().unwrap_or_default()
    }
}
