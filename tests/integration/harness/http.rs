//! HTTP, as much of it as a test needs to read a page.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a server answered.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// The lines of the head, in small letters.
    pub head: String,
    pub body: String,
}

/// Gets a path, within 20 s.
pub fn get(port: u16, path: &str) -> io::Result<Page> {
    ask(port, &format!("GET {path} HTTP/1.0"), &[])
}

/// The same of a line like `GET /metrics HTTP/1.0`, with these lines below it.
pub fn ask(port: u16, line: &str, head: &[&str]) -> io::Result<Page> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    stream.write_all(format!("{line}\r\nHost: 127.0.0.1\r\n{head}\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Page { status, head: head.to_lowercase(), body: body.into() })
}

/// A text as a part of a query.
pub fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
