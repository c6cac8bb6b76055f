"""What the library answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

Record: TypeAlias = dict[str, object]
"""A record as the module keeps it: `id`, `user_id`, `scopes` .. and never a digest."""

Source: TypeAlias = Literal["l1", "cache", "database"]


CacheStatus: TypeAlias = Literal["HIT", "MISS", "BYPASS", "STALE"]
"""What `X-Cache-Status` says: a cache answered; it did not know; it was not asked or did not answer; it was there
before."""


class Valid:
    """The key is good for what was asked.

    `source` says who knew: this process (`l1`), Redis (`cache`) or the `database`. `stale` is True where Redis was
    not there and an answer of before was given, as `when_down="stale"` allows.
    """

    __match_args__ = ("record", "source")
    __slots__ = ("_json", "_record", "cache_status", "source")

    def __init__(self, json: bytes, source: Source, cache_status: CacheStatus = "HIT") -> None:
        self._json = json
        self._record: Record | None = None
        self.source: Source = source
        self.cache_status: CacheStatus = cache_status

    @property
    def stale(self) -> bool:
        return self.cache_status == "STALE"

    @property
    def record(self) -> Record:
        """The record. It is the caller's own: nobody else sees what is done to it."""
        if self._record is None:
            self._record = cast(Record, json.loads(self._json))
        return self._record

    def __repr__(self) -> str:
        return f"Valid(source={self.source!r}, stale={self.stale!r})"


@dataclass(frozen=True, slots=True)
class Refused:
    """The key is not good for what was asked.

    `code` is `MALFORMED` (its form or its checksum is wrong: nobody was asked), `ABSENT`, `MISMATCH`, `DISABLED`,
    `EXPIRED`, `FORBIDDEN_IP`, `FORBIDDEN` or `UNVERIFIED` (the row has no digest). `scope` is the first one that
    does not hold, where the code is `FORBIDDEN`.
    """

    code: str
    scope: str | None = None
    cache_status: CacheStatus = field(default="BYPASS", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody could say: neither Redis nor, where `when_down` lets it be asked, the database."""

    cause: str
    cache_status: CacheStatus = field(default="BYPASS", compare=False, repr=False)


Result: TypeAlias = Valid | Refused | Unavailable


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a user's keys. `total` is how many there are in all."""

    items: list[Record]
    total: int
    source: Source


@dataclass(frozen=True, slots=True)
class Decision:
    """What `load` of `decide` may return in the place of a bool.

    With `id` and `user` of the key the decision is kept though no record of it is cached. `ttl` is in seconds; `tags`
    are what else the decision was made of.
    """

    allowed: bool
    id: str | int | None = None
    user: str | int | None = None
    ttl: float | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A counter's part of a batch. `id` never repeats: it is what guards against counting twice."""

    id: str
    key: str
    """The counter's key in Redis."""
    prefix: str | None
    """The public prefix of the API key, where the counter's name has the library's form."""
    count: int
    last_used_at: float
    """Of the counter's last use, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts that were handed over, until they are acknowledged."""

    id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Warmed:
    """What became of the rows of a warm-up: how many of them."""

    stored: int
    refused: int
    """Not stored, since their token was too old, or they were revoked or written since it was taken, or their slot has
    moved, or fills are switched off. They are loaded when they are asked for."""
    bad: int
    """Not stored, since they can't be judged. Each was told."""


@dataclass(frozen=True, slots=True, repr=False)
class GeneratedKey:
    """A new key. Show `presented` to its owner, once; store `prefix` and `digest`."""

    prefix: str
    secret: str
    presented: str
    digest: str
    """64 hex digits, what `key_hash` holds."""

    def __repr__(self) -> str:
        return f"GeneratedKey(prefix={self.prefix!r})"


ChangeKind: TypeAlias = Literal["changed", "created", "user_deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed in the database, to be told to Redis: for an outbox it goes through JSON and back."""

    kind: ChangeKind
    id: str | int | None = None
    user: str | int | None = None
    prefixes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """JSON, as a column of an outbox keeps it."""
        return json.dumps({"kind": self.kind, "id": self.id, "user": self.user, "prefixes": list(self.prefixes)})

    @classmethod
    def from_json(cls, text: str) -> Change:
        """The change that `to_json` wrote. Raises ValueError for anything else."""
        try:
            fields = json.loads(text)
            kind, prefixes = fields["kind"], tuple(fields["prefixes"])
            if kind not in ("changed", "created", "user_deleted"):
                raise ValueError(kind)
            return cls(kind, fields["id"], fields["user"], prefixes)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("not a change, as Change.to_json writes it") from error


Parse: TypeAlias = Callable[[str], "tuple[str, str] | None"]
"""Takes what was presented apart into the public prefix and the secret; None where it has not the form of a key."""

Row: TypeAlias = Mapping[str, object]
"""A row as the database has it, its columns by their names."""
