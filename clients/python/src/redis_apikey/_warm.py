"""Filling the cache from the database's rows, before anybody asks for them.

What makes it safe is the order: a token of each primary, then the rows. A row that was read before its key was revoked
comes with a token that is older than the revocation, and is refused. So each row goes to whoever owned its slot when
the tokens were taken, and to nobody else.

Each row is a SETVAL of its own, many in one round trip: so it carries its own digests and tags, whatever the server's
settings are, rows of all slots go together, and one that the server refuses costs no other.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Sequence
from inspect import isawaitable, isgenerator
from typing import cast

from redis_apikey._effects import Address, Call, Command, ErrorReply, Steps
from redis_apikey._errors import BadRecord, CommandRefused, RedisUnavailable
from redis_apikey._keys import is_presentable
from redis_apikey._protocol import Protocol
from redis_apikey._records import check_mapping, kind_of, read_row
from redis_apikey._replies import good
from redis_apikey._results import Row, Warmed
from redis_apikey._settings import check_seconds

log = logging.getLogger("redis_apikey")

MOST_AT_ONCE = 10_000
LOGGED = 10
"""Bad rows that are logged; the rest are counted."""

NO_TOKEN = b"0"
"""Given where every fill is refused."""

OF_THE_ROW = frozenset(("BADRECORD", "ERR", "WRONGTYPE"))
"""Errors that another row need not get."""

TRIES = 16
"""Keys that a primary is asked a token for: the slot of one may be moving."""

MOVED = frozenset(("ASK", "MOVED", "TRYAGAIN"))
"""Its slot is with another primary, or on its way there, whose token says nothing of this one's invalidations."""

Sent = tuple[object, str, Command]
"""A row, its prefix, and the command."""


class Warming:
    """One warm-up: `begin`, then `fill` with rows that were read since."""

    def __init__(
        self,
        protocol: Protocol,
        prefix: str | Callable[[Row], str] | None,
        ttl: float | None,
        batch: int,
        on_bad: Callable[[Row, Exception], object] | None,
    ) -> None:
        if not 1 <= batch <= MOST_AT_ONCE:
            raise ValueError(f"batch must be between 1 and {MOST_AT_ONCE} rows")
        if ttl is not None:
            check_seconds("ttl", ttl)
        settings = protocol.settings
        self._protocol = protocol
        self._prefix = prefix if prefix is not None else settings.fields.names.get("key_prefix", "key_prefix")
        self._ttl = settings.ttl if ttl is None else ttl
        self._on_bad = on_bad
        self._tokens: dict[Address, bytes] = {}
        self._servers = protocol.servers
        self._stored = self._refused = self._bad = 0

    def begin(self) -> Steps[None]:
        """Takes the tokens. Raises RedisUnavailable, CommandRefused."""
        protocol = self._protocol
        yield from protocol.primaries()
        self._servers = servers = protocol.servers.as_now()
        for address in servers.primaries():
            # A token is asked for by a key; these are the primary's.
            names = map(protocol.names.record, map(str, itertools.count()))
            own = (name for name in names if servers.owner(name) == address)
            self._tokens[address] = yield from self._token(address, itertools.islice(own, TRIES))

    def _token(self, address: Address, names: Iterable[str]) -> Steps[bytes]:
        reply: object = None
        for name in names:
            (reply,) = yield from self._ask(address, [("APIKEY.TOKEN", name)])
            if not isinstance(reply, ErrorReply) or reply.code not in MOVED:
                break
        token = cast(bytes, good(reply))
        if token == NO_TOKEN:
            raise RedisUnavailable("redis stores nothing now: apikey.enabled is no, or it refuses writes")
        return token

    def _ask(self, address: Address, commands: Sequence[Command]) -> Steps[list[object]]:
        timeout = self._protocol.settings.change_timeout
        return self._protocol.ask(None, commands, repeat=True, timeout=timeout, spare=False, lane="slow", at=address)

    def fill(self, rows: Sequence[object]) -> Steps[None]:
        """Stores what is good of these. Raises RedisUnavailable, CommandRefused."""
        of: dict[Address, list[Sent]] = {}
        for row in rows:
            try:
                prefix = self._prefix_of(row)
                address = self._servers.owner(self._protocol.names.record(prefix))
                token = self._tokens.get(address)
                command = None if token is None else self._command(row, prefix, token)
            except Exception as error:
                yield from self._tell_bad(row, None, error)
                continue
            if command is None:
                # Nobody was known to own its slot.
                self._refused += 1
            else:
                of.setdefault(address, []).append((row, prefix, command))
        for address, sent in of.items():
            yield from self._send(address, sent)

    def warmed(self) -> Warmed:
        """So far."""
        if self._on_bad is None and self._bad > LOGGED:
            log.warning("%d rows of the warm-up were bad", self._bad)
        return Warmed(self._stored, self._refused, self._bad)

    def _prefix_of(self, row: object) -> str:
        check_mapping(row)
        row = cast(Row, row)
        if callable(self._prefix):
            prefix: object = self._prefix(row)
        elif self._prefix in row:
            prefix = row[self._prefix]
        else:
            raise BadRecord(f"{self._prefix} is missing: say by prefix= which column has the public prefix")
        if not isinstance(prefix, str) or not is_presentable(prefix, "-"):
            raise BadRecord("the public prefix must be a string of 1 to 256 bytes")
        return prefix

    def _command(self, row: object, prefix: str, token: bytes) -> Command:
        judged = read_row(cast(Row, row), self._protocol.settings.fields)
        key = self._protocol.names.record(prefix)
        return self._protocol.setval(key, cast(Row, row), judged, token, self._ttl)

    def _send(self, address: Address, sent: Sequence[Sent]) -> Steps[None]:
        try:
            replies = yield from self._ask(address, [command for _, _, command in sent])
        except ValueError as error:
            # One has what can't be sent, such as half a character in a tag.
            if len(sent) == 1:
                yield from self._tell_bad(sent[0][0], sent[0][1], error)
                return
            for one in sent:
                yield from self._send(address, [one])
            return
        for (row, prefix, _), reply in zip(sent, replies, strict=True):
            if isinstance(reply, ErrorReply) and reply.code in OF_THE_ROW:
                yield from self._tell_bad(row, prefix, CommandRefused(reply.text))
            elif reply is None or (isinstance(reply, ErrorReply) and reply.code in MOVED):
                self._refused += 1
            else:
                good(reply)
                self._stored += 1

    def _tell_bad(self, row: object, prefix: str | None, error: Exception) -> Steps[None]:
        self._bad += 1
        on_bad = self._on_bad
        if on_bad is None:
            if self._bad <= LOGGED:
                log.warning("a row of the warm-up is bad%s: %s", f" ({prefix})" if prefix else "", error)
            return
        try:
            yield Call(lambda: on_bad(cast(Row, row), error))
        except Exception:
            log.exception("on_bad raised")


def in_batches(rows: Callable[[], Iterable[Row]], size: int) -> Generator[list[Row], None, None]:
    """Raises TypeError where `rows` returns nothing that can be iterated."""
    given = rows()
    if not isinstance(given, Iterable):
        raise TypeError(f"rows must return an iterable, not {kind_of(given)}")
    try:
        iterator = iter(given)
        while some := list(itertools.islice(iterator, size)):
            yield some
    finally:
        if isgenerator(given):
            # It may hold a cursor of the database.
            given.close()


async def in_batches_async(
    rows: Callable[[], Iterable[Row] | AsyncIterable[Row] | Awaitable[Iterable[Row] | AsyncIterable[Row]]], size: int
) -> AsyncGenerator[list[Row], None]:
    """The same of what may be asynchronous."""
    given = rows()
    if isawaitable(given):
        given = await given
    if not isinstance(given, AsyncIterable):
        found = given
        for some in in_batches(lambda: found, size):
            yield some
        return
    try:
        some = []
        async for row in given:
            some.append(row)
            if len(some) == size:
                yield some
                some = []
        if some:
            yield some
    finally:
        if isinstance(given, AsyncGenerator):
            await given.aclose()
