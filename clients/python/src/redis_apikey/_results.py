"""What the library answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar, cast
from uuid import UUID

from redis_apikey._ids import text_of_id

V = TypeVar("V")

# What these are is said in __init__.py, where the reference finds it.
Id: TypeAlias = str | int | UUID
Record: TypeAlias = dict[str, object]
Source: TypeAlias = Literal["l1", "cache", "database"]
ValueSource: TypeAlias = Literal["l1", "cache", "stale", "loaded"]
LimitKind: TypeAlias = Literal["rate", "quota", "credits"]
CacheStatus: TypeAlias = Literal["HIT", "MISS", "BYPASS", "STALE"]


@dataclass(frozen=True, slots=True)
class LimitState:
    """How one limit stands."""

    name: str
    """The limit's name."""
    limit: int | None
    """The most that there can be: a rate's burst, a quota's units; None of credits."""
    remaining: int
    """What is left."""
    reset_after: float | None
    """Seconds until all is there again; None where that does not come by itself."""
    retry_after: float | None = None
    """Seconds until what was asked for is there: 0 where it is now; None where that does not come by itself, and where
    nothing was asked for."""
    kind: LimitKind | None = None
    """`rate`, `quota` or `credits`; None where this process has not seen the key's record yet."""
    window: int | None = None
    """Whole seconds that `limit` is for, where that is known."""
    shadow: bool = False
    """Whether it is only tried out, and denies nothing."""


class Valid:
    """The key is good for what was asked."""

    __match_args__ = ("record", "source")
    __slots__ = ("_json", "_record", "cache_status", "limits", "source")

    def __init__(
        self,
        json: bytes,
        source: Source,
        cache_status: CacheStatus = "HIT",
        limits: tuple[LimitState, ...] | None = None,
    ) -> None:
        self._json = json
        self._record: Record | None = None
        self.source: Source = source
        """Who knew: this process (`l1`), Redis (`cache`) or the `database`."""
        self.cache_status: CacheStatus = cache_status
        """What `X-Cache-Status` says."""
        self.limits = limits
        """How the limits stand by which the request was admitted, and it was counted; None: neither was done."""

    @property
    def stale(self) -> bool:
        """Whether Redis was not there, and an answer of before was given, as `when_down="stale"` allows."""
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
    """The key is not good for what was asked."""

    code: str
    """`MALFORMED` (its form or its checksum is wrong: nobody was asked), `ABSENT`, `MISMATCH`, `DISABLED`, `EXPIRED`,
    `FORBIDDEN_IP`, `FORBIDDEN` or `UNVERIFIED` (the row has no digest)."""
    scope: str | None = None
    """The first one that does not hold, where the code is `FORBIDDEN`."""
    cache_status: CacheStatus = field(default="BYPASS", compare=False, repr=False)
    """What `X-Cache-Status` says."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The key is good, and has asked for more than one of its limits has. Nothing was taken from any."""

    code: Literal["RATE_LIMITED", "USAGE_EXCEEDED"]
    """`RATE_LIMITED`: too fast. `USAGE_EXCEEDED`: a quota or the credits are used up."""
    limit: str
    """The name of the limit that says so; of several the one with the longest wait."""
    retry_after: float | None
    """Seconds to wait; None where waiting is of no use."""
    limits: tuple[LimitState, ...] = ()
    """How all of them stand."""
    cache_status: CacheStatus = field(default="HIT", compare=False, repr=False)
    """What `X-Cache-Status` says."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What has become of a request's cost."""

    before: int
    """What was taken for it."""
    now: int
    """What it has cost."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody could say: neither Redis nor, where `when_down` lets it be asked, the database; or nobody could judge the
    limits, and `limits_when_unavailable` is `"refuse"`."""

    cause: str
    """What went wrong, in words."""
    cache_status: CacheStatus = field(default="BYPASS", compare=False, repr=False)
    """What `X-Cache-Status` says."""


Result: TypeAlias = Valid | Refused | Limited | Unavailable


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a user's keys."""

    items: list[Record]
    """Those of the page."""
    total: int
    """How many there are in all."""
    source: Source
    """Who knew: Redis (`cache`) or the `database`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What `load` of `decide` may return in the place of a bool.

    With `id` and `user` of the key the decision is kept though no record of it is cached.
    """

    allowed: bool
    """What was decided."""
    id: str | int | None = None
    """The key's id."""
    user: str | int | None = None
    """Whose the key is; None: nobody's, where `id` is given."""
    ttl: float | None = None
    """Seconds that it is kept; None: as the server's `apikey.scope-ttl` says."""
    tags: Sequence[str] = ()
    """What else it was made of: `commands.taginval` of one of these ends it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A counter's part of a batch."""

    id: str
    """It never repeats, and is what guards against counting twice."""
    key: str
    """The counter's key in Redis."""
    prefix: str | None
    """The public prefix of the API key, where the counter's name has the library's form."""
    count: int
    """Uses."""
    last_used_at: float
    """Of the counter's last use, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts that were handed over, until they are acknowledged."""

    id: str
    """What it is acknowledged by."""
    lines: tuple[Line, ...]
    """A counter each."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """What became of the rows of a warm-up: how many of them."""

    stored: int
    """In the cache now."""
    refused: int
    """Not stored, since their token was too old, or they were revoked or written since it was taken, or their slot has
    moved, or fills are switched off. They are loaded when they are asked for."""
    bad: int
    """Not stored, since they can't be judged. Each was told."""


@dataclass(frozen=True, slots=True, repr=False)
class GeneratedKey:
    """A new key. Show `presented` to its owner, once; store `prefix` and `digest`."""

    prefix: str
    """The public part, what `key_prefix` holds."""
    secret: str
    """What the digest is made of; nobody has to keep it."""
    presented: str
    """The whole key, as its owner presents it."""
    digest: str
    """64 hex digits, what `key_hash` holds."""

    def __repr__(self) -> str:
        return f"GeneratedKey(prefix={self.prefix!r})"


@dataclass(frozen=True, slots=True)
class Answer(Generic[V]):
    """What `look_up` of a region answers."""

    value: V | None
    """None: the source has no such thing."""
    source: ValueSource
    """Who knew: this process (`l1`), Redis (`cache`, or `stale` for what is over its TTL), or `load` (`loaded`)."""


ChangeKind: TypeAlias = Literal["changed", "created", "user_deleted", "invalidated"]


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed in the database, to be told to Redis: for an outbox it goes through JSON and back.

    Raises ValueError for one that names nothing, and ValueError or TypeError for what is no id and no prefix.
    """

    kind: ChangeKind
    """Which of the client's methods it would have been."""
    id: Id | None = None
    """The key's id, where it is about one."""
    user: Id | None = None
    """Whose key it is, or who was deleted."""
    prefixes: tuple[str, ...] = ()
    """The public prefixes of the keys that it is about."""
    keys: tuple[str, ...] = ()
    """Of `invalidated`, which a `Cache` tells: names in Redis."""
    tags: tuple[str, ...] = ()
    """Of `invalidated`: tags, as the server has them."""
    soft: bool = False
    """Of `invalidated`: what the tags cover is only stale, where it has a grace."""

    def __post_init__(self) -> None:
        if self.kind not in ("changed", "created", "user_deleted", "invalidated"):
            raise ValueError("kind must be changed, created, user_deleted or invalidated")
        for name in ("id", "user"):
            id_ = getattr(self, name)
            if id_ is not None:
                text = text_of_id(name, id_)
                if isinstance(id_, UUID):
                    object.__setattr__(self, name, text)
        for name, singular in (("prefixes", "prefix"), ("keys", "key"), ("tags", "tag")):
            texts = getattr(self, name)
            if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
                raise TypeError(f"{name} must be several texts")
            object.__setattr__(self, name, tuple(texts))
            for text in getattr(self, name):
                if not isinstance(text, str):
                    raise TypeError(f"{singular} must be a text, not {type(text).__name__}")
                if not text:
                    raise ValueError(f"{singular} must not be empty")
        if self.kind == "invalidated":
            if not self.keys and not self.tags:
                raise ValueError("what is invalidated must name keys or tags")
            return
        if self.keys or self.tags:
            raise ValueError(f"keys and tags are of what is invalidated, not {self.kind}")
        if self.id is None and self.user is None and not self.prefixes:
            raise ValueError("a change must name a key's id or prefix, or a user")
        if self.kind == "user_deleted" and self.user is None:
            raise ValueError("user must be given where one was deleted")
        if self.kind == "created" and not self.prefixes:
            raise ValueError("prefix must be given of a key that was created")

    def to_json(self) -> str:
        """JSON, as a column of an outbox keeps it."""
        if self.kind == "invalidated":
            of_region = {"keys": list(self.keys), "tags": list(self.tags), "soft": self.soft}
            return json.dumps({"kind": self.kind, **{name: said for name, said in of_region.items() if said}})
        return json.dumps({"kind": self.kind, "id": self.id, "user": self.user, "prefixes": list(self.prefixes)})

    @classmethod
    def from_json(cls, text: str) -> Change:
        """The change that `to_json` wrote. Raises ValueError for anything else."""
        try:
            fields = json.loads(text)
            if fields["kind"] == "invalidated":
                soft = bool(fields.get("soft"))
                return cls("invalidated", keys=fields.get("keys", ()), tags=fields.get("tags", ()), soft=soft)
            return cls(fields["kind"], fields["id"], fields["user"], fields["prefixes"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("not a change, as Change.to_json writes it") from error


# These too.
Parse: TypeAlias = Callable[[str], "tuple[str, str] | None"]
Row: TypeAlias = Mapping[str, object]
