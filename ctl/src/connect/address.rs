//! Where a server listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A host with its port, or a socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Socket(PathBuf),
}

impl Address {
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// The host, where there is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Socket(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq)]
pub struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be host:port, with a port between 1 and 65535")
    }
}

impl std::error::Error for NoAddress {}

impl FromStr for Address {
    type Err = NoAddress;

    /// Reads `host:port`; an IPv6 address may stand in brackets, or without, as servers say it.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NoAddress)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match port.parse() {
            Ok(port @ 1..) if !host.is_empty() => Ok(Self::tcp(host, port)),
            _ => Err(NoAddress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, host, port) in [
            ("127.0.0.1:6379", "127.0.0.1", 6379),
            ("cache.example.com:1", "cache.example.com", 1),
            ("[2001:db8::1]:6379", "2001:db8::1", 6379),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address, Address::tcp(host, port));
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("::1:6379".parse(), Ok(Address::tcp("::1", 6379)));
        for text in ["", "host", "host:", ":6379", "host:0", "host:65536", "host:x"] {
            assert_eq!(text.parse::<Address>(), Err(NoAddress), "{text}");
        }
    }
}
