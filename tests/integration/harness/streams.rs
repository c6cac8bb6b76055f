//! What a server tells others than the caller: the lines of MONITOR and the replication stream, as bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::client::packed;
use super::{eventually, PATIENCE};

/// A connection whose bytes are gathered as they come.
pub struct Tap {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Tap {
    fn open(port: u16, first: &[&str]) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_millis(10))).expect("timeout");
        stream.write_all(&packed(first)).expect("send");
        Self { stream, seen: Vec::new() }
    }

    /// MONITOR, from now on.
    pub fn monitor(port: u16) -> Self {
        let mut tap = Self::open(port, &["MONITOR"]);
        tap.until(b"+OK\r\n");
        tap.seen.clear();
        tap
    }

    /// The replication stream of a server with the module, from now on. What the RDB before it holds is in [`Tap::seen`] too.
    pub fn replication(port: u16) -> Self {
        let mut tap = Self::open(port, &["PSYNC", "?", "-1"]);
        tap.until(b"+FULLRESYNC ");
        tap.until(b"\r\n");
        // Newlines keep the connection alive while the RDB is made; then `$<length>`, then the RDB.
        tap.until(b"$");
        let header = find(&tap.seen, b"$").expect("length of the RDB") + 1;
        let start = Instant::now();
        loop {
            if let Some(line) = find(&tap.seen[header..], b"\r\n") {
                let digits = std::str::from_utf8(&tap.seen[header..header + line]).expect("length");
                let length: usize = digits.parse().expect("length of the RDB");
                if tap.seen.len() >= header + line + 2 + length {
                    break;
                }
            }
            assert!(start.elapsed() < PATIENCE, "the RDB never came whole");
            tap.gather();
        }
        // What the module says first to whoever comes.
        tap.until(b"\r\napikey.stream\r\n$1\r\n");
        tap
    }

    /// The version that it is of.
    pub fn version(&mut self) -> u16 {
        const WORD: &[u8] = b"\r\napikey.stream\r\n$1\r\n";
        let at = find(self.until(WORD), WORD).expect("the word") + WORD.len();
        eventually("the version", || {
            self.gather();
            self.seen.len() > at
        });
        u16::from(self.seen[at] - b'0')
    }

    /// Gathers until `marker` has been seen, and gives all bytes up to now.
    #[track_caller]
    pub fn until(&mut self, marker: &[u8]) -> &[u8] {
        let start = Instant::now();
        while find(&self.seen, marker).is_none() {
            assert!(
                start.elapsed() < PATIENCE,
                "{} never came; seen: {}",
                marker.escape_ascii(),
                self.seen.escape_ascii()
            );
            self.gather();
        }
        &self.seen
    }

    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// What has been seen, readable: bytes that are not printable are escaped.
    pub fn text(&self) -> String {
        self.seen.escape_ascii().to_string()
    }

    /// Forgets what has been seen.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    fn gather(&mut self) {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => panic!("closed; seen: {}", self.seen.escape_ascii()),
            Ok(n) => self.seen.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// A primary that gives every replica this RDB, and then says nothing: its port. It ends with the test.
pub fn serve_rdb(rdb: Vec<u8>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for link in listener.incoming().flatten() {
            // A replica that hangs up comes again.
            let _ = give(&rdb, link);
        }
    });
    port
}

fn give(rdb: &[u8], mut link: TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let n = link.read(&mut chunk)?;
        let seen = chunk[..n].to_ascii_uppercase();
        if n == 0 {
            return Ok(());
        } else if find(&seen, b"\r\nPSYNC\r\n").is_some() {
            let head = format!("+FULLRESYNC {} 0\r\n${}\r\n", "a".repeat(40), rdb.len());
            link.write_all(&[head.as_bytes(), rdb].concat())?;
        } else if find(&seen, b"PING").is_some() {
            link.write_all(b"+PONG\r\n")?;
        } else {
            link.write_all("+OK\r\n".repeat(arrays(&seen)).as_bytes())?;
        }
    }
}

/// How many commands there are in what was sent.
fn arrays(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'*').count()
}

/// Where `part` begins in `whole`.
pub fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(whole, part)
}
