"""What a row of the database says of a key: `engine/src/record/sanitise.rs`.

A row is read as the server reads it, and as strictly, so that the library judges a miss, and judges alone while Redis
is down, as VALIDATE would. What can't be judged raises BadRecord and is never taken for good.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from inspect import isawaitable
from math import isfinite
from typing import TypeAlias
from uuid import UUID

from redis_apikey import _restrictions as restrictions
from redis_apikey._addresses import read_ranges
from redis_apikey._errors import BadRecord
from redis_apikey._limits import Limit, read_limits
from redis_apikey._results import Record, Row
from redis_apikey._scopes import Scope, read_scopes
from redis_apikey._times import ALWAYS_OVER, EARLIEST, LATEST, NaiveTimes, read_end

KEPT_FIELDS = (
    "id",
    "user_id",
    "name",
    "key_prefix",
    "scopes",
    "is_active",
    "expires_at",
    "created_at",
    "updated_at",
    "allowed_ips",
    "limits",
)
INACTIVE_FIELDS = ("revoked", "revoked_at", "deleted_at", "disabled", "disabled_at", "archived_at")
MAX_ID_BYTES = 256
MAX_LEVELS = 32
DIGEST_BYTES = 32

Accepted: TypeAlias = tuple[bytes, "int | None"]
"""A digest, and until when it is accepted: epoch milliseconds, None where it does not end."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a table calls what a record has: the module's own settings, for rows that the library reads.

    Raises ValueError for names that contradict each other.
    """

    digest: str = "key_hash"
    """The column that holds the digest, or a list of one or two, each perhaps with an end:
    `{"digest": "0ca4..", "until": "2026-12-01T00:00:00Z"}`."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The table's names of the module's: `{"expires_at": "expiresAt"}`."""
    inactive: tuple[str, ...] = INACTIVE_FIELDS
    """Columns that say that a key was taken back, by whatever they hold but null, false, 0 and `""`."""
    dropped: tuple[str, ...] = ()
    """Columns that look like a restriction and are none; they are not sent."""
    extra: tuple[str, ...] = ()
    """Columns that are kept beside the standard ones, as the server's `apikey.extra-fields`."""
    scope: tuple[str, ...] = ()
    """Fields that objects in `scopes` may have, as the server's `apikey.scope-fields`."""
    naive_times: NaiveTimes = "refuse"
    """What a time without a zone is taken for: `"utc"`, or an error."""
    max_name_bytes: int = 100
    """Bytes at which a name is cut, the server's `apikey.max-name-length`."""

    def __post_init__(self) -> None:
        for own, theirs in self.names.items():
            if own not in KEPT_FIELDS:
                raise ValueError(f"names must map one of {', '.join(KEPT_FIELDS)}, not {own}")
            if theirs in KEPT_FIELDS:
                raise ValueError(f"names must not map to {theirs}: a record has a field of that name")
            if theirs in self.inactive:
                raise ValueError(f"{theirs} must not be both in names and in inactive")
            why = restrictions.refuse_to_map(own, theirs)
            if why is not None:
                raise ValueError(f"names must not map {own} to {theirs}, {why}")
        for name in self.inactive:
            if restrictions.says_active(name):
                raise ValueError(f"inactive must not have {name}, which says that a key is active: give it in names")
        for name in self.dropped:
            if name in KEPT_FIELDS and name != "limits":
                raise ValueError(f"dropped must not have {name}: a record has a field of that name")
        if len(set(self.names.values())) != len(self.names):
            raise ValueError("names must map each name once")


@dataclass(frozen=True, slots=True)
class Judged:
    """A row that was read."""

    json: bytes
    """What VALIDATE would reply."""
    digests: tuple[Accepted, ...]
    is_active: bool
    expires_at: int | None
    allowed_ips: list[tuple[int, int]] | None
    scopes: list[Scope]
    limits: tuple[Limit, ...]
    sent: bytes
    """JSON for SETVAL: the record, and the columns that the server may make tags of."""


def read_row(row: Row, fields: Fields) -> Judged:
    """Reads a row. Raises BadRecord."""
    check_mapping(row)
    by_own = {theirs: own for own, theirs in fields.names.items()}
    kept: Record = {}
    extra: dict[str, object] = {}
    others: dict[str, object] = {}
    digests: tuple[Accepted, ...] = ()
    inactive: bool | None = None
    for name, value in row.items():
        if not isinstance(name, str):
            raise BadRecord("record must be an object with texts for names")
        if name == fields.digest:
            digests = read_digests(name, value, fields.naive_times)
            continue
        own = by_own.get(name)
        if own is None and name in fields.dropped:
            continue
        if own is None and name in KEPT_FIELDS:
            own = name
        if own is not None:
            if own in kept:
                raise BadRecord(f"{own} is given twice: names maps a field to it")
            kept[own] = value
            continue
        if name in fields.inactive:
            inactive = bool(inactive) or _is_set(value)
            if name not in fields.extra:
                continue
        if name in fields.extra:
            _check_free(name, value)
            extra[name] = value
            continue
        _may_be_dropped(name, value)
        others[name] = value
    is_active = _say_active(kept, inactive)
    expires_at = read_end("expires_at", kept.get("expires_at"), fields.naive_times)
    ranges = read_ranges(kept.get("allowed_ips"))
    scopes = read_scopes(kept.get("scopes"), fields.scope)
    if any(not isinstance(scope, str) for scope in scopes):
        _check_free("scopes", kept["scopes"])
    limits = read_limits(kept.get("limits"))
    record = _record(kept, fields, is_active, expires_at)
    record.update(extra)
    sent = _json({**record, **others}, ascii_only=True).encode()
    return Judged(_json(record).encode(), digests, is_active, expires_at, ranges, scopes, limits, sent)


def check_mapping(row: object) -> None:
    """Raises BadRecord."""
    if not callable(getattr(row, "items", None)):
        raise BadRecord(f"a row must be a mapping such as dict(row), not {kind_of(row)}")


def kind_of(value: object) -> str:
    """What else was returned."""
    remedy = (
        ": AsyncApiKeys is for functions that are async"
        if isawaitable(value) or isinstance(value, AsyncIterable)
        else ""
    )
    return f"{type(value).__name__}{remedy}"


def _record(kept: Record, fields: Fields, is_active: bool, expires_at: int | None) -> Record:
    record = dict(kept)
    if "id" not in kept:
        raise BadRecord("id is missing")
    record["id"] = _read_id("id", kept["id"])
    if kept.get("user_id") is not None:
        record["user_id"] = _read_id("user_id", kept["user_id"])
    record["is_active"] = is_active
    end = kept.get("expires_at")
    if expires_at is not None and (isinstance(end, datetime) or (isinstance(end, str) and end.lstrip("+-").isdigit())):
        # As a number the server takes no end before 1990.
        record["expires_at"] = until_to_send(expires_at)
    for name in ("name", "key_prefix"):
        text = kept.get(name)
        if text is not None and (not isinstance(text, str) or not _is_whole(text)):
            raise BadRecord(f"{name} must be a string or null")
    if isinstance(name_text := kept.get("name"), str):
        record["name"] = name_text.encode()[: fields.max_name_bytes].decode(errors="ignore")
    for name in ("created_at", "updated_at"):
        if name in kept:
            _check_free(name, kept[name])
            _holds_no_restriction(name, kept[name])
    return record


def _say_active(kept: Record, inactive: bool | None) -> bool:
    own = _read_active(kept["is_active"]) if "is_active" in kept else None
    if own is None and inactive is None:
        raise BadRecord("is_active is missing")
    return own is not False and not inactive


def _read_active(value: object) -> bool:
    if value is True or (type(value) is int and value == 1) or value in ("true", "t"):
        return True
    if value is False or (type(value) is int and value == 0) or value in ("false", "f"):
        return False
    raise BadRecord('is_active must be true or false (or 1, 0, "t", "f")')


def _is_set(value: object) -> bool:
    nothing = value is None or value is False or value == ""
    return not (nothing or (type(value) is int and value == 0))


def _read_id(name: str, value: object) -> str | int:
    if isinstance(value, UUID):
        value = str(value)
    if isinstance(value, str) and _is_whole(value) and 1 <= len(value.encode()) <= MAX_ID_BYTES:
        return value
    # Of integers Python writes 4,300 digits at most.
    if type(value) is int and abs(value) < 10**MAX_ID_BYTES and len(str(value)) <= MAX_ID_BYTES:
        return value
    raise BadRecord(f"{name} must be a string of 1 to {MAX_ID_BYTES} bytes or an integer")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_free(name: str, value: object) -> None:
    if not _is_plain(value, MAX_LEVELS):
        raise BadRecord(
            f"{name} must be JSON that any parser takes: at most {MAX_LEVELS} levels, whole characters, numbers in "
            "the range of a double"
        )


def _is_plain(value: object, levels: int) -> bool:
    if isinstance(value, str):
        return _is_whole(value)
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return abs(value) < 2**1024 - 2**970
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, (list, tuple)):
        return levels > 0 and all(_is_plain(element, levels - 1) for element in value)
    if isinstance(value, dict):
        return levels > 0 and all(
            isinstance(name, str) and _is_whole(name) and _is_plain(element, levels - 1)
            for name, element in value.items()
        )
    return True


def _may_be_dropped(name: str, value: object) -> None:
    if restrictions.looks_like_one(name):
        remedy = restrictions.remedy(name)
        raise BadRecord(f"{name[:128]} is not kept: {remedy}, or name it in Fields' dropped")
    _holds_no_restriction(name, value)


def _holds_no_restriction(name: str, value: object) -> None:
    if value is None or isinstance(value, (bool, int, float)):
        return
    inner = restrictions.first_in(_json(value))
    if inner is not None:
        raise BadRecord(
            f"{inner[:128]} in {name[:128]} is not judged: give it as a field of the record, or name {name[:128]} in "
            "Fields' dropped"
        )


def read_digests(name: str, value: object, naive: NaiveTimes = "refuse") -> tuple[Accepted, ...]:
    """The digests that a column holds. Raises BadRecord."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise _wrong_digest(name)
        read = [_read_ending(name, element, naive) for element in value]
    else:
        read = [_read_digest(name, value)]
    digests = tuple(accepted for accepted in read if accepted is not None)
    if len(digests) > 2:
        raise _wrong_digest(name)
    return digests


def _read_ending(name: str, element: object, naive: NaiveTimes) -> Accepted | None:
    if not isinstance(element, dict):
        return _read_digest(name, element)
    if "digest" not in element or not element.keys() <= {"digest", "until"}:
        raise _wrong_digest(name)
    accepted = _read_digest(name, element["digest"])
    if accepted is None:
        return None
    return accepted[0], read_end(f"until of {name}", element.get("until"), naive)


def _read_digest(name: str, value: object) -> Accepted | None:
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        # A column of bytes holds the digest itself, or its text.
        value = raw if len(raw) == DIGEST_BYTES else raw.decode("ascii", "replace")
    digest = value if isinstance(value, bytes) else digest_from_text(value) if isinstance(value, str) else None
    if digest is None:
        raise _wrong_digest(name)
    return digest, None


def _wrong_digest(name: str) -> BadRecord:
    return BadRecord(
        f"{name} must be 64 hex digits, \\x and those, or base64 of 32 bytes, null, or an array of one or two of "
        'those, or of {"digest": .., "until": ..}'
    )


def digest_from_text(text: str) -> bytes | None:
    """Reads a digest as databases write one: hex, `\\x` and hex, base64, base64url."""
    if not text.isascii():
        return None
    hex_digits = text[2:] if text.startswith("\\x") else text
    if len(hex_digits) == 2 * DIGEST_BYTES:
        try:
            return binascii.unhexlify(hex_digits)
        except ValueError:
            return None
    if text.startswith("\\x"):
        return None
    unpadded = text[:-1] if text.endswith("=") else text
    for decode, encode in (
        (base64.b64decode, base64.b64encode),
        (base64.urlsafe_b64decode, base64.urlsafe_b64encode),
    ):
        digest = _decoded(decode, unpadded)
        # Of each that say the same, the one that the encoder writes.
        if digest is not None and encode(digest).decode().rstrip("=") == unpadded:
            return digest
    return None


def _decoded(decode: Callable[[str], bytes], unpadded: str) -> bytes | None:
    try:
        digest = decode(unpadded + "=")
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES else None


def until_to_send(until: int) -> int:
    """As SETVAL takes it: what has ended before has ended then too."""
    return EARLIEST if until == ALWAYS_OVER else min(max(until, EARLIEST), LATEST)


def _json(value: object, *, ascii_only: bool = False) -> str:
    try:
        return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRecord(f"record is not JSON: {error}") from None


def _plain(value: object) -> object:
    """JSON of what drivers of databases return beside JSON's own types."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__}: name its field in Fields' dropped, or give its JSON")
