//! The addresses that a key may be used from, and whether one is among them.
//!
//! An address is 16 bytes: an IPv4 one is written as IPv6 has it, `::ffff:a.b.c.d`, so that both forms are one.
//! A range is an address and how many of its first bits count; a record keeps it in 17 bytes.

use std::net::IpAddr;

/// The most ranges of a record.
pub const MAX_RANGES: usize = 64;

/// Bytes of a range: how many bits count, and the address.
pub const RANGE_BYTES: usize = 17;

const ALL_BITS: u8 = 128;

/// Of an IPv4 address in the form of IPv6.
const IPV4_BITS: u8 = 96;

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(u128);

impl Address {
    /// Reads an IPv4 or IPv6 address. A zone (`%eth0`) is passed over: it says by which of a host's links the
    /// address was seen.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let address = match text.split_once('%') {
            Some((address, zone)) if !zone.is_empty() && address.contains(':') => address,
            Some(_) => return None,
            None => text,
        };
        address.parse().ok().map(Self::of)
    }

    fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        })
    }

    fn is_ipv4(self) -> bool {
        self.0 >> 32 == 0xffff
    }
}

/// Reads an address, or a range in the form of CIDR, into the bytes that are kept; or says what is wrong.
pub fn read_range(text: &str) -> Result<[u8; RANGE_BYTES], &'static str> {
    const NONE: &str = "must be IPv4 or IPv6 addresses, or ranges such as 10.0.0.0/8";
    let (address, len) = match text.split_once('/') {
        None => (text, None),
        Some((address, len)) => (address, Some(len)),
    };
    let address: IpAddr = address.parse().map_err(|_| NONE)?;
    let most = if address.is_ipv4() { ALL_BITS - IPV4_BITS } else { ALL_BITS };
    let len = match len {
        None => most,
        Some(len) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
            len.parse().ok().filter(|len| *len <= most).ok_or(NONE)?
        }
        Some(_) => return Err(NONE),
    };
    let bits = ALL_BITS - most + len;
    let Address(address) = Address::of(address);
    if address & !mask(bits) != 0 {
        return Err("must be ranges that begin at their first address: 10.0.0.0/8, not 10.0.0.1/8");
    }
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] =
        address.to_be_bytes();
    Ok([bits, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15])
}

/// So many bits at the front.
fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(u32::from(ALL_BITS.saturating_sub(bits))).unwrap_or(0)
}

/// Whether an address is within one of the ranges. An IPv6 range that is wider than all of IPv4 covers none of that.
pub fn cover(ranges: &[u8], address: Address) -> bool {
    ranges.as_chunks::<RANGE_BYTES>().0.iter().any(|&[bits, ref first @ ..]| {
        let first = u128::from_be_bytes(*first);
        (address.0 ^ first) & mask(bits) == 0 && (bits >= IPV4_BITS || !address.is_ipv4())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_covered(range: &str, address: &str) -> bool {
        let range = read_range(range).unwrap_or_else(|why| panic!("{range}: {why}"));
        cover(&range, Address::parse(address.as_bytes()).unwrap())
    }

    #[test]
    fn a_range_covers_its_addresses_in_either_form() {
        for (range, address, covers) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3/32", "::ffff:a01:203", true),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.1.2.3", false),
            ("::/0", "::ffff:10.1.2.3", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("2001:DB8::1", "2001:db8:0:0:0:0:0:1", true),
            ("fe80::/10", "fe80::1%eth0", true),
            ("2001:db8::/127", "2001:db8::1", true),
            ("2001:db8::/127", "2001:db8::2", false),
        ] {
            assert_eq!(is_covered(range, address), covers, "{range} {address}");
        }
        assert!(!cover(&[], Address::parse(b"10.0.0.1").unwrap()));
    }

    #[test]
    fn what_is_no_address_or_no_range_is_told() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.256",
            "010.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "fe80::1%eth0",
            "10.0.0.0/8/8",
            "*",
            "localhost",
            " 10.0.0.1",
            "10.0.0.0/255.0.0.0",
        ] {
            assert!(read_range(text).unwrap_err().starts_with("must be IPv4"), "{text}");
        }
        for text in ["10.0.0.1/8", "10.0.0.1/31", "2001:db8::1/32", "0.0.0.1/0", "::1/0"] {
            assert!(read_range(text).unwrap_err().contains("first address"), "{text}");
        }
        for text in [
            "",
            "10.0.0",
            "10.0.0.1/32",
            "10.0.0.1%eth0",
            "fe80::1%",
            "%eth0",
            "10.0.0.1 ",
            "\u{e9}",
        ] {
            assert_eq!(Address::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Address::parse(b"\xff"), None);
    }
}
