"""The addresses that a key may be used from: `engine/src/record/addresses.rs`.

An IPv4 address is taken as IPv6 writes it, `::ffff:a.b.c.d`, so that both forms are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from redis_apikey._errors import BadRecord

MAX_RANGES = 64
_IPV4_BITS = 96
_IPV4 = 0xFFFF << 32


def _read(text: str) -> tuple[int, bool] | None:
    """The address in 128 bits, and whether it was written as IPv4."""
    try:
        if ":" not in text:
            return _IPV4 | int(IPv4Address(text)), True
        return (None if "%" in text else (int(IPv6Address(text)), False)) if text.isascii() else None
    except AddressValueError:
        return None


def read_address(text: str) -> int:
    """An IPv4 or IPv6 address; a zone (`%eth0`) is passed over. Raises ValueError, TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"address must be a text, not {type(text).__name__}")
    address, percent, zone = text.partition("%")
    read = None if percent and (not zone or ":" not in address) else _read(address)
    if read is None:
        raise ValueError("address must be an IPv4 or IPv6 address")
    return read[0]


def read_ranges(value: object) -> list[tuple[int, int]] | None:
    """Of `allowed_ips`, for each range how many of its first bits count, and its first address. None: all may."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise BadRecord("allowed_ips must be null or an array of strings")
    if len(value) > MAX_RANGES:
        raise BadRecord(f"allowed_ips must have at most {MAX_RANGES} elements")
    return [_read_range(text) for text in value]


def _read_range(text: str) -> tuple[int, int]:
    address, slash, bits_text = text.partition("/")
    read = _read(address)
    most = 32 if read and read[1] else 128
    if read is None or (slash and not (bits_text.isascii() and bits_text.isdigit() and int(bits_text) <= most)):
        raise BadRecord("allowed_ips must be IPv4 or IPv6 addresses, or ranges such as 10.0.0.0/8")
    bits = 128 - most + (int(bits_text) if slash else most)
    if read[0] & ((1 << (128 - bits)) - 1):
        raise BadRecord("allowed_ips must be ranges that begin at their first address: 10.0.0.0/8, not 10.0.0.1/8")
    return bits, read[0]


def cover(ranges: Sequence[tuple[int, int]], address: int) -> bool:
    """Whether one of the ranges has the address. An IPv6 range that is wider than all of IPv4 covers none of that."""
    is_ipv4 = address >> 32 == 0xFFFF
    return any((address ^ first) >> (128 - bits) == 0 and (bits >= _IPV4_BITS or not is_ipv4) for bits, first in ranges)
