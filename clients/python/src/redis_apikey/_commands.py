"""The module's commands as they are, for who wants the protocol: how each is sent, and what its reply becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

from redis_apikey._admission import REFUSALS, Admission, check_cost, check_id, id_option, seconds, states
from redis_apikey._effects import Argument, Command, Steps
from redis_apikey._protocol import Protocol
from redis_apikey._records import until_to_send
from redis_apikey._replies import as_map, good, px, tags_option, text
from redis_apikey._results import LimitKind, LimitState, Settled

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Validation:
    """VALIDATE's reply, or ADMIT's."""

    code: str
    """VALID, MISS, MISMATCH, ABSENT ..: the reply's first element."""
    scope: str | None = None
    """Of FORBIDDEN: the first that does not hold."""
    record: bytes | None = None
    """JSON, of VALID and UNVERIFIED."""
    token: bytes | None = None
    """Of MISS and UNVERIFIED."""
    ends_in: float | None = None
    """Seconds, of VALID and UNVERIFIED; None: it does not end by itself."""
    limit: str | None = None
    """Of RATE_LIMITED and USAGE_EXCEEDED: the name of the limit."""
    retry_after: float | None = None
    """Seconds, of the same; None: it does not come by itself."""
    limits: tuple[LimitState, ...] = ()
    """Of ADMIT's VALID, RATE_LIMITED and USAGE_EXCEEDED."""


@dataclass(frozen=True, slots=True)
class Raw(Generic[T]):
    """A command, the key that routes it (None: any primary), and what its reply becomes.

    `repeat`: it may be sent twice. `slow`: the server may let the caller wait.
    """

    key: str | None
    command: Command
    read: Callable[[object], T]
    repeat: bool = True
    slow: bool = False

    def steps(self, protocol: Protocol) -> Steps[T]:
        """Raises RedisUnavailable, CommandRefused."""
        if self.slow:
            replies = yield from protocol.insist(self.key, [self.command])
            return self.read(replies[0])
        replies = yield from protocol.ask(self.key, [self.command], repeat=self.repeat)
        return self.read(good(replies[0]))


def options(
    token: bytes | str | None = None,
    ttl: float | None = None,
    tags: Sequence[str] = (),
    ns: str | None = None,
) -> tuple[Argument, ...]:
    """What all fills have in common."""
    return (
        *(() if token is None else ("TOKEN", token)),
        *px(ttl),
        *tags_option(tags),
        *(("NS", ns) if ns else ()),
    )


def validate(key: str, digest: str | None, address: str | None, scopes: Sequence[str]) -> Raw[Validation]:
    return Raw(key, ("APIKEY.VALIDATE", key, *_presented(digest, address, scopes)), _validation)


def _presented(digest: str | None, address: str | None, scopes: Sequence[str]) -> tuple[Argument, ...]:
    options: list[Argument] = []
    if digest is not None:
        options += ("DIGEST", digest)
    if address is not None:
        options += ("IP", address)
    for scope in scopes:
        options += ("SCOPE", scope)
    return tuple(options)


def admit(
    key: str,
    counters: Sequence[str],
    digest: str | None,
    address: str | None,
    scopes: Sequence[str],
    admission: Admission,
    peek: bool,
) -> Raw[Validation]:
    command: list[Argument] = ["APIKEY.ADMIT", key, len(counters), *counters]
    command += _presented(digest, address, scopes)
    command += admission.options()
    if peek:
        command.append("PEEK")
    return Raw(key, tuple(command), _validation, repeat=peek or admission.request_id is not None)


def settle(counter: str, request_id: str, cost: int) -> Raw[Settled | None]:
    check_id(request_id)
    check_cost(cost)
    return Raw(
        counter,
        ("APIKEY.SETTLE", counter, request_id, cost),
        lambda reply: None if reply is None else Settled(*cast("list[int]", reply)),
    )


def credit(counter: str, name: str, by: int | None, set: int | None, request_id: str | None) -> Raw[int]:
    if (by is None) == (set is None):
        raise ValueError("either by or set must be given")
    if request_id is not None:
        check_id(request_id)
    amount: tuple[Argument, ...] = ("SET", cast(int, set)) if by is None else ("BY", by)
    command: Command = ("APIKEY.CREDIT", counter, name, *amount, *id_option(request_id))
    return Raw(counter, command, as_int, repeat=request_id is not None)


def limits(counter: str) -> Raw[tuple[LimitState, ...]]:
    def read(reply: object) -> tuple[LimitState, ...]:
        lines = cast("list[tuple[bytes, bytes, int, int, int]]", reply)
        return tuple(
            LimitState(text(name), None if most < 0 else most, left, seconds(reset), kind=cast(LimitKind, text(kind)))
            for name, kind, most, left, reset in lines
        )

    return Raw(counter, ("APIKEY.LIMITS", counter), read)


def _validation(reply: object) -> Validation:
    parts = cast("list[object]", reply)
    code = cast(bytes, parts[0]).decode()
    if code == "VALID":
        of_limits = states(parts[3]) if len(parts) > 3 else ()
        return Validation(code, record=cast(bytes, parts[1]), ends_in=seconds(parts[2]), limits=of_limits)
    if code in REFUSALS:
        return Validation(code, limit=text(parts[1]), retry_after=seconds(parts[2]), limits=states(parts[3]))
    if code == "UNVERIFIED":
        record, token = cast(bytes, parts[1]), cast(bytes, parts[2])
        return Validation(code, record=record, token=token, ends_in=seconds(parts[3]))
    if code == "MISS":
        return Validation(code, token=cast(bytes, parts[1]))
    return Validation(code, scope=cast(bytes, parts[1]).decode() if code == "FORBIDDEN" else None)


def setval(
    key: str,
    record: str | bytes,
    digests: Mapping[str, int | None],
    common: tuple[Argument, ...],
    only: Literal["NX", "XX"] | None,
) -> Raw[bool]:
    command: list[Argument] = ["APIKEY.SETVAL", key, record]
    for digest, until in digests.items():
        command += ("DIGEST", digest)
        if until is not None:
            command += ("UNTIL", until_to_send(until))
    # Without a token it is a writer's word, whose order counts.
    return Raw(key, (*command, *common, *((only,) if only else ())), is_ok, repeat="TOKEN" in common)


def setabsent(key: str, common: tuple[Argument, ...]) -> Raw[bool]:
    return Raw(key, ("APIKEY.SETABSENT", key, *common), is_ok)


def token(key: str) -> Raw[bytes]:
    return Raw(key, ("APIKEY.TOKEN", key), as_bytes)


def checkscope(key: str, resource: str, action: str) -> Raw[tuple[str, bytes | None]]:
    def read(reply: object) -> tuple[str, bytes | None]:
        code, its_token = cast("list[bytes | None]", reply)[:2]
        return cast(bytes, code).decode(), its_token

    return Raw(key, ("APIKEY.CHECKSCOPE", key, resource, action), read)


def setscope(
    key: str,
    id_: str | int,
    user: str | int,
    resource: str,
    action: str,
    allow: bool,
    common: tuple[Argument, ...],
) -> Raw[bool]:
    said = "ALLOW" if allow else "DENY"
    return Raw(key, ("APIKEY.SETSCOPE", key, str(id_), str(user), resource, action, said, *common), is_ok)


def getlist(key: str, offset: int, limit: int | None) -> Raw[tuple[int, list[bytes]] | bytes]:
    def read(reply: object) -> tuple[int, list[bytes]] | bytes:
        code, page = cast("list[object]", reply)[:2]
        if code == b"MISS":
            return cast(bytes, page)
        total, records = cast("list[object]", page)
        return cast(int, total), cast("list[bytes]", records)

    limits: tuple[Argument, ...] = () if limit is None else ("LIMIT", limit)
    return Raw(key, ("APIKEY.GETLIST", key, "OFFSET", offset, *limits), read)


def setlist(key: str, user: str | int, records: str | bytes, common: tuple[Argument, ...]) -> Raw[bool]:
    return Raw(key, ("APIKEY.SETLIST", key, str(user), records, *common), is_ok)


def inval(keys: Sequence[str]) -> Raw[int]:
    return Raw(keys[0], ("APIKEY.INVAL", *keys), as_int, slow=True)


def taginval(tags: Sequence[str]) -> Raw[int]:
    return Raw(None, ("APIKEY.TAGINVAL", *tags), as_int, slow=True)


def tagcard(tag: str) -> Raw[int]:
    return Raw(None, ("APIKEY.TAGCARD", tag), as_int, slow=True)


def tags(key: str) -> Raw[list[str]]:
    return Raw(
        key,
        ("APIKEY.TAGS", key),
        lambda reply: [tag.decode("utf-8", "surrogateescape") for tag in cast("list[bytes]", reply)],
    )


def describe(key: str) -> Raw[dict[str, object] | None]:
    return Raw(key, ("APIKEY.DESCRIBE", key), lambda reply: None if reply is None else as_map(reply))


def usage_incr(key: str, by: int, request_id: str | None) -> Raw[int]:
    if request_id is not None:
        check_id(request_id)
    command: Command = ("APIKEY.USAGE.INCR", key, "BY", by, *id_option(request_id))
    return Raw(key, command, as_int, repeat=request_id is not None)


def usage_get(key: str) -> Raw[dict[str, object]]:
    return Raw(key, ("APIKEY.USAGE.GET", key), as_map)


def usage_take(keys: Sequence[str]) -> Raw[list[int]]:
    return Raw(keys[0], ("APIKEY.USAGE.TAKE", *keys), lambda reply: cast("list[int]", reply), repeat=False)


def health() -> Raw[dict[str, object]]:
    return Raw(None, ("APIKEY.HEALTH",), as_map)


def is_ok(reply: object) -> bool:
    """Whether it was stored."""
    return reply in (b"OK", "OK")


def as_int(reply: object) -> int:
    return cast(int, reply)


def as_bytes(reply: object) -> bytes:
    return cast(bytes, reply)
