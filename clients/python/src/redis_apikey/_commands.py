"""The module's commands as they are, for who wants the protocol: how each is sent, and what its reply becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

from redis_apikey._effects import Argument, Command, Steps
from redis_apikey._protocol import Protocol
from redis_apikey._records import until_to_send
from redis_apikey._replies import as_map, good, px, tags_option

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Validation:
    """VALIDATE's reply."""

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
    command: list[Argument] = ["APIKEY.VALIDATE", key]
    if digest is not None:
        command += ("DIGEST", digest)
    if address is not None:
        command += ("IP", address)
    for scope in scopes:
        command += ("SCOPE", scope)
    return Raw(key, tuple(command), _validation)


def _validation(reply: object) -> Validation:
    parts = cast("list[object]", reply)
    code = cast(bytes, parts[0]).decode()
    if code == "VALID":
        return Validation(code, record=cast(bytes, parts[1]), ends_in=_ends_in(parts[2]))
    if code == "UNVERIFIED":
        record, token = cast(bytes, parts[1]), cast(bytes, parts[2])
        return Validation(code, record=record, token=token, ends_in=_ends_in(parts[3]))
    if code == "MISS":
        return Validation(code, token=cast(bytes, parts[1]))
    return Validation(code, scope=cast(bytes, parts[1]).decode() if code == "FORBIDDEN" else None)


def _ends_in(milliseconds: object) -> float | None:
    number = cast(int, milliseconds)
    return None if number < 0 else number / 1000


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


def usage_incr(key: str, by: int) -> Raw[int]:
    return Raw(key, ("APIKEY.USAGE.INCR", key, "BY", by), as_int, repeat=False)


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
