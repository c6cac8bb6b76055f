"""What becomes of a region's value on its way to the server and back: bytes, then fewer bytes, then what nobody reads.

LABEL names it, `json+zstd;kid=3`, so that who reads knows how, in whatever language. Both happen here and not on the
server: there they would hold up everybody, and the keys would lie beside the locks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

MOST_BYTES = 64 * 1024 * 1024
"""That a compressed value may become: what is said to be more is not unpacked."""

# Together with what stands between them they are no longer than a LABEL may be, of 64 bytes.
_SERIALIZER = re.compile(r"[A-Za-z0-9_.-]{1,16}")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_NONCE = 12
_TAG = 16


class Unreadable(Exception):
    """A value that was written otherwise, or for another key: it is no answer."""


class Serializer(Protocol):
    """Makes bytes of a value, and a value of bytes."""

    name: str
    """Of 1 to 16 letters, digits, `-`, `_` and `.`: what LABEL begins with."""

    def dumps(self, value: Any) -> bytes:
        """The value's bytes. Raises what it will for a value that it can't take: the caller sees that."""

    def loads(self, data: bytes) -> Any:
        """The value of these bytes. What it raises makes the value one that can't be read, which is loaded anew."""


class _Json:
    name = "json"

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class _Bytes:
    name = "bytes"

    def dumps(self, value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"a value of this region must be bytes, not {type(value).__name__}")
        return bytes(value)

    def loads(self, data: bytes) -> Any:
        return data


Serializing: TypeAlias = "Literal['json', 'bytes'] | Serializer"


def serializer_of(given: Serializing) -> Serializer:
    if given == "json":
        return _Json()
    if given == "bytes":
        return _Bytes()
    if isinstance(given, str) or not _SERIALIZER.fullmatch(getattr(given, "name", "")):
        raise ValueError('serializer must be "json", "bytes", or have a name of 1 to 16 letters, digits, "-", "_", "."')
    return given


@dataclass(frozen=True, slots=True)
class Compression:
    """Zstandard, where it makes a value smaller. Needs the package `zstandard`. Raises ValueError, ImportError."""

    threshold: int = 1024
    """Bytes, at least 0: what is shorter is left as it is."""
    level: int = 3
    """1 (fast) to 19 (small)."""

    def __post_init__(self) -> None:
        if self.threshold < 0 or not 1 <= self.level <= 19:
            raise ValueError("threshold must be at least 0, and level between 1 and 19")
        _zstandard()


@dataclass(frozen=True, slots=True)
class Encryption:
    """AES-256-GCM. Needs the package `cryptography`. Raises ValueError, ImportError."""

    keys: Mapping[str, bytes] = field(repr=False)
    """Keys of 32 bytes by their ids, of 1 to 32 letters, digits, `-`, `_` and `.`: all that are read."""
    use: str
    """The id of the one that writes."""

    def __post_init__(self) -> None:
        for id_, key in self.keys.items():
            if not _KEY_ID.fullmatch(id_):
                raise ValueError('the id of a key must be 1 to 32 letters, digits, "-", "_" or "."')
            if len(key) != 32:
                raise ValueError(f"the key {id_} must have 32 bytes")
        if self.use not in self.keys:
            raise ValueError(f"there is no key {self.use}")
        object.__setattr__(self, "keys", dict(self.keys))
        _aes(next(iter(self.keys.values())))


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ImportError("compression needs zstandard: pip install redis-apikey[compression]") from error
    return zstandard


def _aes(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ImportError("encryption needs cryptography: pip install redis-apikey[encryption]") from error
    return AESGCM(key)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value as the server keeps it."""

    data: bytes
    label: str
    tags: tuple[str, ...]
    """What it carries of itself: `kid:3`."""


class Codec:
    """Of one region. `ns`, the region and the key are bound to what is encrypted, so that it is of use nowhere else."""

    def __init__(
        self,
        ns: str,
        region: str,
        serializer: Serializer,
        compression: Compression | None,
        encryption: Encryption | None,
    ) -> None:
        self.serializer = serializer
        self._ns = ns
        self._region = region
        self._compression = compression
        self._encryption = encryption

    def seal(self, key: str, plain: bytes) -> Sealed:
        """Of what the serializer made."""
        data, label = plain, self.serializer.name
        compression = self._compression
        if compression is not None and len(data) >= compression.threshold:
            smaller: bytes = _zstandard().ZstdCompressor(level=compression.level).compress(data)
            if len(smaller) < len(data):
                data, label = smaller, f"{label}+zstd"
        encryption = self._encryption
        if encryption is None:
            return Sealed(data, label, ())
        label = f"{label};kid={encryption.use}"
        nonce = os.urandom(_NONCE)
        data = nonce + _aes(encryption.keys[encryption.use]).encrypt(nonce, data, self._bound_to(key, label))
        return Sealed(data, label, (f"{self._ns}kid:{encryption.use}",))

    def open(self, key: str, data: bytes, label: bytes | None) -> bytes:
        """What the serializer made. Raises Unreadable."""
        said = "" if label is None else label.decode("utf-8", "replace")
        form, *details = said.split(";")
        name, plus, packing = form.partition("+")
        if name != self.serializer.name or (plus and packing != "zstd"):
            raise Unreadable(f"its label is {said!r}")
        kid = None
        for detail in details:
            what, _, kid = detail.partition("=")
            if what != "kid" or len(details) > 1:
                raise Unreadable(f"its label is {said!r}")
        if self._encryption is not None or kid is not None:
            data = self._decrypted(key, data, said, kid)
        return _unpacked(data) if plus else data

    def _decrypted(self, key: str, data: bytes, label: str, kid: str | None) -> bytes:
        own = None if self._encryption is None or kid is None else self._encryption.keys.get(kid)
        if own is None:
            # Also one that is not encrypted where they all are: anybody who may write could have put it there.
            raise Unreadable("it is not encrypted" if kid is None else f"there is no key {kid}")
        if len(data) < _NONCE + _TAG:
            raise Unreadable("it is too short")
        from cryptography.exceptions import InvalidTag

        try:
            plain: bytes = _aes(own).decrypt(data[:_NONCE], data[_NONCE:], self._bound_to(key, label))
        except InvalidTag:
            raise Unreadable("it was written by another key, or for another name") from None
        return plain

    def _bound_to(self, key: str, label: str) -> bytes:
        return "\0".join((self._ns, self._region, key, label)).encode("utf-8", "surrogatepass")


def _unpacked(data: bytes) -> bytes:
    try:
        zstandard = _zstandard()
    except ImportError:
        raise Unreadable("it is compressed, and the package zstandard is not installed") from None
    try:
        size: int = zstandard.frame_content_size(data)
        if not 0 <= size <= MOST_BYTES:
            raise Unreadable(f"it does not say that it becomes at most {MOST_BYTES} bytes")
        plain: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False) if size else b""
    except zstandard.ZstdError as error:
        raise Unreadable(f"it can't be unpacked: {error}") from None
    if len(plain) != size:
        raise Unreadable("it is not as long as it says")
    return plain
