"""Keys: how they are made, taken apart and hashed.

A key is `<name>_<id>_<secret><checksum>`. Its public prefix is `<name>_<id>`. The secret has 33 characters of base62,
192 bits. The checksum is the CRC-32 of all before it, in 6 characters of base62: what was mistyped or cut costs nobody
a question.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from typing import TypeAlias

from redis_apikey._results import GeneratedKey

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_BITS = 192
SECRET_CHARACTERS = 33
ID_CHARACTERS = 12
CHECKSUM_CHARACTERS = 6
MAX_PREFIX_BYTES = 256
MAX_SECRET_BYTES = 1024

Pepper: TypeAlias = bytes | bytearray | str

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_]{1,64}_[0-9A-Za-z]{12}", re.ASCII)
_KEY = re.compile(r"([A-Za-z0-9_]+_[0-9A-Za-z]{12})_([0-9A-Za-z]{33})([0-9A-Za-z]{6})", re.ASCII)
_MAX_CHARACTERS = 256


def base62(number: int, characters: int) -> str:
    """So many characters, the last digits of the number."""
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def checksum(text: str) -> str:
    return base62(zlib.crc32(text.encode()), CHECKSUM_CHARACTERS)


def digest_of(secret: str, pepper: bytes | None) -> bytes:
    """SHA-256 of the secret's bytes; with a pepper HMAC-SHA-256."""
    if pepper is None:
        return hashlib.sha256(secret.encode()).digest()
    return hmac.digest(pepper, secret.encode(), "sha256")


def read_peppers(given: Pepper | Sequence[Pepper] | None) -> tuple[bytes, ...]:
    """None for none. Raises ValueError for an empty one, which would be none where one was meant."""
    if given is None:
        return ()
    several = given if isinstance(given, Sequence) and not isinstance(given, (bytes, bytearray, str)) else (given,)
    try:
        peppers = tuple(one.encode() if isinstance(one, str) else bytes(one) for one in several if _is_pepper(one))
    except UnicodeEncodeError:
        # Its text has the pepper.
        peppers = ()
    if not peppers or len(peppers) != len(several):
        raise ValueError("pepper must be bytes or a text, not empty, or at least one of these, or None")
    return peppers


def _is_pepper(one: object) -> bool:
    return isinstance(one, (bytes, bytearray, str)) and len(one) > 0


def generate(name: str, peppers: Sequence[bytes]) -> GeneratedKey:
    if not _NAME.fullmatch(name):
        raise ValueError("name must be 1 to 64 letters, digits and _: ak_live")
    return _with_secret(f"{name}_{base62(secrets.randbits(128), ID_CHARACTERS)}", peppers)


def regenerate(prefix: str, peppers: Sequence[bytes]) -> GeneratedKey:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("prefix must be that of a key that was generated")
    return _with_secret(prefix, peppers)


def _with_secret(prefix: str, peppers: Sequence[bytes]) -> GeneratedKey:
    secret = base62(secrets.randbits(SECRET_BITS), SECRET_CHARACTERS)
    body = f"{prefix}_{secret}"
    digest = digest_of(secret, peppers[0] if peppers else None)
    return GeneratedKey(prefix, secret, body + checksum(body), digest.hex())


def parse(presented: str) -> tuple[str, str] | None:
    """The prefix and the secret of a key of the library's own form; None where form or checksum is wrong."""
    if len(presented) > _MAX_CHARACTERS:
        return None
    found = _KEY.fullmatch(presented)
    if found is None or checksum(presented[:-CHECKSUM_CHARACTERS]) != found[3]:
        return None
    return found[1], found[2]


def parse_dotted(presented: str) -> tuple[str, str] | None:
    """For `parse=`: keys of the form `<prefix>.<secret>`."""
    prefix, dot, secret = presented.partition(".")
    return (prefix, secret) if dot else None


def is_presentable(prefix: str, secret: str) -> bool:
    """Whether a key that was taken apart may be asked about."""
    try:
        return 0 < len(prefix.encode()) <= MAX_PREFIX_BYTES and 0 < len(secret.encode()) <= MAX_SECRET_BYTES
    except UnicodeEncodeError:
        return False
