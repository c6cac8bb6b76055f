"""The protocol: what is asked of whom in which order, and what that means. No sockets, no threads, no event loop.

What makes it safe:

- A row is read after its token was had, and every fill carries the token, so that the server refuses a fill that an
  invalidation has overtaken.
- Who waits for another's load takes its row only where that load began after its own call did. Else the row may be
  older than a change that was told before the call: then the server is asked again.
- What the server can't say is judged here by the row, never by an earlier answer (but for `when_down="stale"`).
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Literal, TypeVar, cast

from redis_apikey import _keys as keys
from redis_apikey._addresses import read_address
from redis_apikey._effects import (
    Address,
    Argument,
    Call,
    Command,
    ErrorReply,
    Event,
    Load,
    NoReply,
    Sleep,
    Steps,
    Wait,
    send,
)
from redis_apikey._errors import (
    ApiKeysError,
    BadRecord,
    ChangeNotTold,
    CommandRefused,
    RedisUnavailable,
)
from redis_apikey._follow import probe_key
from redis_apikey._l1 import Cache, Question, question
from redis_apikey._names import Names
from redis_apikey._records import Judged, kind_of, read_row, until_to_send
from redis_apikey._replies import as_map, good, px, tags_option, text
from redis_apikey._results import (
    Batch,
    CacheStatus,
    Change,
    Decision,
    Id,
    Line,
    Page,
    Record,
    Refused,
    Result,
    Row,
    Unavailable,
    Valid,
)
from redis_apikey._scopes import check_requests
from redis_apikey._servers import Breaker, Servers, address_in
from redis_apikey._settings import Settings
from redis_apikey._verdict import judge

log = logging.getLogger("redis_apikey")

V = TypeVar("V")

PASSING = frozenset(
    ("ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "PARTIAL", "READONLY", "TRYAGAIN", "UNBLOCKED")
)
"""Errors after which a change, a lease or an acknowledgement is said again."""

SLOW_ATTEMPT = 2.0
"""Seconds that one attempt of a call may take that waits for other nodes: more than `apikey.cluster-timeout-ms`."""

GIVE_BACK = 0.5
"""Seconds that giving batches back may take."""

REDIRECTIONS = 5
COMMANDS_AT_ONCE = 200
LANDED = 256
MOST_WARNINGS = 100

NOBODY = "nobody"
"""Whose a decision is where its key is nobody's: the command wants a user. To share it costs a miss at most."""


def _lasts(error: ApiKeysError) -> bool:
    """Whether it is of no use to say the same again."""
    return isinstance(error, CommandRefused) and error.code not in PASSING


class LoadFailed(Exception):
    """The application's function raised; its error is the cause."""


class Again(Exception):
    """What another has loaded may be too old: the server is to be asked again."""


@dataclass(slots=True)
class Flight(Generic[V]):
    """A load under way."""

    event: Event
    started: int | None = None
    value: V | None = None
    error: Exception | None = None
    ended: bool = False


class Flights(Generic[V]):
    """One load of one thing at a time."""

    def __init__(self, count: itertools.count[int], new_event: Callable[[], Event]) -> None:
        self._count = count
        self._new_event = new_event
        self._lock = threading.Lock()
        self._flights: dict[str, Flight[V]] = {}
        self._landed: dict[str, Flight[V]] = {}
        """The latest, for who missed before they landed and comes to ask behind that."""

    def run(self, name: str, began: int, may_ask_again: bool, load: Callable[[Flight[V]], Steps[V]]) -> Steps[V]:
        """What `load` returns, or what that of another returned which started after `began`.

        Raises Again where that of another has ended that started before, and the caller can ask the server.
        """
        while True:
            with self._lock:
                landed = self._landed.get(name)
                if landed is not None and landed.started is not None and landed.started > began:
                    return cast(V, landed.value)
                flight = self._flights.get(name)
                leads = flight is None
                if flight is None:
                    flight = self._flights[name] = Flight(self._new_event())
            if leads:
                return (yield from self._lead(name, flight, load))
            yield Wait(flight.event)
            if flight.ended and flight.started is not None and flight.started > began:
                if flight.error is not None:
                    raise flight.error
                return cast(V, flight.value)
            if may_ask_again:
                raise Again

    def _lead(self, name: str, flight: Flight[V], load: Callable[[Flight[V]], Steps[V]]) -> Steps[V]:
        try:
            flight.value = yield from load(flight)
            flight.ended = True
            with self._lock:
                self._landed.pop(name, None)
                self._landed[name] = flight
                if len(self._landed) > LANDED:
                    del self._landed[next(iter(self._landed))]
            return flight.value
        except Exception as error:
            flight.error = error
            flight.ended = True
            raise
        finally:
            with self._lock:
                del self._flights[name]
            flight.event.set()

    def start(self, flight: Flight[V]) -> None:
        flight.started = next(self._count)

    def forked(self) -> None:
        """In a child that was forked: who led a flight is not there."""
        self._lock = threading.Lock()
        self._flights, self._landed = {}, {}


@dataclass(frozen=True, slots=True)
class Missed:
    """The server does not know; a fill needs the token."""

    token: bytes


@dataclass(slots=True)
class _Told:
    """The commands that tell a change: those of keys, and the tags."""

    keys: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


class Protocol:
    """Shared by both clients. Every method that yields is carried out by a driver."""

    def __init__(
        self,
        settings: Settings,
        seeds: Sequence[Address],
        cluster: bool,
        new_event: Callable[[], Event],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.names = Names(settings.ns)
        self.servers = Servers(
            seeds, cluster, lambda: Breaker(settings.breaker_failures, settings.breaker_pause, clock)
        )
        self.l1 = Cache(settings.l1, settings.when_down == "stale", clock) if settings.l1 else None
        self._warned: set[str] = set()
        self._clock = clock
        self._wall = wall
        self._count = itertools.count(1)
        self._rows: Flights[Judged | None] = Flights(self._count, new_event)
        self._lists: Flights[list[bytes]] = Flights(self._count, new_event)
        self._decisions: Flights[bool] = Flights(self._count, new_event)

    def forked(self) -> None:
        """In a child that was forked, before anything else."""
        for flights in (self._rows, self._lists, self._decisions):
            flights.forked()
        if self.l1 is not None:
            self.l1.forked()

    # ---------------------------------------------------------------- asking

    def ask(
        self,
        key: str | None,
        commands: Sequence[Command],
        *,
        repeat: bool,
        timeout: float | None = None,
        spare: bool = True,
        slow: bool = False,
        at: Address | Literal["owner"] = "owner",
        by: list[Address] | None = None,
    ) -> Steps[list[object]]:
        """The replies to commands of one slot, within `timeout` seconds (those of the settings) in all.

        A command that may have been carried out is sent again only if `repeat`. `spare`: leave a server alone that
        did not answer lately. Each that replied is appended to `by`. Raises RedisUnavailable; error replies are among
        the replies.
        """
        deadline = self._clock() + (self.settings.timeout if timeout is None else timeout)
        packed = tuple(commands)
        failures = redirections = 0
        to: Address
        redirected: Address = None
        sent = packed
        while True:
            if redirected is not None:
                to, redirected = redirected, None
            else:
                to, sent = (yield from self._route(key, deadline)) if at == "owner" else at, packed
            breaker = self.servers.breaker(to)
            if spare and not breaker.allows():
                raise RedisUnavailable("redis did not answer lately and is not asked for a while")
            began = self._clock()
            left = deadline - began
            if left <= 0:
                raise RedisUnavailable("no time is left to ask redis")
            try:
                replies = yield from send(to, sent, left, slow)
            except NoReply as error:
                if error.refused:
                    self._warn("redis does not let us in", error.cause)
                breaker.failed(began)
                self.servers.in_doubt = self.servers.cluster
                failures += 1
                may_repeat = (repeat or not error.maybe_done) and not error.timed_out
                if may_repeat and failures < 2 and self._clock() < deadline:
                    continue
                raise RedisUnavailable(error.cause, maybe_done=error.maybe_done) from None
            breaker.succeeded()
            if by is not None:
                by.append(to)
            replies = replies[len(sent) - len(packed) :]
            refusal = next((reply for reply in replies if isinstance(reply, ErrorReply)), None)
            if refusal is None or not self.servers.cluster or at != "owner":
                return replies
            redirections += 1
            if redirections > REDIRECTIONS or self._clock() >= deadline:
                return replies
            if refusal.code in ("MOVED", "ASK"):
                slot, where = refusal.text.split(" ")[1:3]
                redirected = address_in(where, to)
                if refusal.code == "MOVED":
                    self.servers.move(int(slot), redirected)
                    sent = packed
                else:
                    sent = (("ASKING",), *packed)
                if redirections > 1:
                    # While one takes over from the other, each may send on to the other.
                    yield Sleep(0.005 * redirections)
            elif refusal.code == "TRYAGAIN":
                yield Sleep(0.005)
            else:
                if refusal.code in ("CLUSTERDOWN", "READONLY"):
                    self.servers.in_doubt = True
                return replies

    def _route(self, key: str | None, deadline: float) -> Steps[Address]:
        servers = self.servers
        if servers.in_doubt:
            yield from self._read_owners(deadline)
        address = servers.any_primary() if key is None else servers.owner(key)
        if address is None and servers.cluster:
            servers.in_doubt = True
            raise RedisUnavailable("no node of the cluster is known to own the key's slot")
        return address

    def _read_owners(self, deadline: float) -> Steps[None]:
        """Who owns which slots. Where some are known, one caller asks, and the others go by those."""
        servers = self.servers
        if servers.is_known:
            servers.in_doubt = False
        cause = "no node of the cluster is known"
        for address in servers.whom_to_ask():
            breaker = servers.breaker(address)
            began = self._clock()
            left = deadline - began
            if left <= 0:
                break
            if not breaker.allows():
                continue
            try:
                # Who does not answer leaves time for others, and for what is to be asked.
                replies = yield from send(address, (("CLUSTER", "SLOTS"),), left / 3, False)
            except NoReply as error:
                if error.refused:
                    self._warn("redis does not let us in", error.cause)
                breaker.failed(began)
                cause = error.cause
                continue
            breaker.succeeded()
            if servers.learn(replies[0], address):
                servers.in_doubt = False
                return
            if isinstance(replies[0], ErrorReply):
                cause = replies[0].text
        servers.in_doubt = True
        if not servers.is_known:
            raise RedisUnavailable(cause)

    def primaries(self) -> Steps[list[Address]]:
        """All that there are now."""
        if self.servers.cluster:
            self.servers.in_doubt = True
            yield from self._read_owners(self._clock() + self.settings.change_timeout)
        return self.servers.primaries()

    def know_primaries(self) -> Steps[None]:
        """Where none are known yet, or some are in doubt."""
        if self.servers.in_doubt:
            yield from self._read_owners(self._clock() + self.settings.timeout)

    def probe(self) -> Steps[None]:
        """Invalidates what is not there, so that who follows the channel hears of it."""
        key = probe_key(self.names.ns)
        try:
            yield from self.one(key, ("APIKEY.INVAL", key), repeat=True)
        except CommandRefused as error:
            raise RedisUnavailable(f"the channel can't be tried: {error}") from None

    def insist(
        self,
        key: str | None,
        commands: Sequence[Command],
        *,
        deadline: float | None = None,
        at: Address | Literal["owner"] = "owner",
    ) -> Steps[list[object]]:
        """The same until it is done, within `change_timeout`: for what may be said twice and must not be lost.

        Raises RedisUnavailable, CommandRefused.
        """
        deadline = self._clock() + self.settings.change_timeout if deadline is None else deadline
        pause = 0.02
        while True:
            try:
                return (yield from self._attempt(key, commands, deadline, at))
            except (RedisUnavailable, CommandRefused) as error:
                if _lasts(error) or self._clock() + pause >= deadline:
                    raise
            yield Sleep(pause)
            pause = min(pause * 2, 0.5)

    def _attempt(
        self, key: str | None, commands: Sequence[Command], deadline: float, at: Address | Literal["owner"] = "owner"
    ) -> Steps[list[object]]:
        """Once, within what is left. Raises RedisUnavailable, CommandRefused: the refusal that lasts, if one does."""
        left = min(deadline - self._clock(), SLOW_ATTEMPT)
        replies = yield from self.ask(key, commands, repeat=True, timeout=left, spare=False, slow=True, at=at)
        refusals = [CommandRefused(reply.text) for reply in replies if isinstance(reply, ErrorReply)]
        if refusals:
            raise next((refusal for refusal in refusals if _lasts(refusal)), refusals[0])
        return replies

    def _insist_on_each(self, parts: Sequence[tuple[str | None, Sequence[Command]]]) -> Steps[None]:
        """As `insist`, of several: what fails keeps none of the others from being tried.

        So they are tried in turns, and of a server that does not answer each turn waits once.
        """
        deadline = self._clock() + self.settings.change_timeout
        pause = 0.02
        failed: ApiKeysError | None = None
        refused: CommandRefused | None = None
        while parts:
            left: list[tuple[str | None, Sequence[Command]]] = []
            silent: set[Address] = set()
            for part in parts:
                key, commands = part
                if key is not None and self.servers.is_known and self.servers.owner(key) in silent:
                    left.append(part)
                    continue
                try:
                    yield from self._attempt(key, commands, deadline)
                except (RedisUnavailable, CommandRefused) as error:
                    if isinstance(error, CommandRefused) and _lasts(error):
                        refused = refused or error
                        continue
                    failed = failed or error
                    left.append(part)
                    if key is not None and self.servers.is_known and isinstance(error, RedisUnavailable):
                        silent.add(self.servers.owner(key))
            parts = left
            if parts:
                if self._clock() + pause >= deadline:
                    break
                yield Sleep(pause)
                pause = min(pause * 2, 0.5)
        error_of_all = refused or (failed if parts else None)
        if error_of_all is not None:
            raise error_of_all

    def one(self, key: str | None, command: Command, *, repeat: bool, timeout: float | None = None) -> Steps[object]:
        """The reply to one command. Raises RedisUnavailable, CommandRefused."""
        return good((yield from self.ask(key, (command,), repeat=repeat, timeout=timeout))[0])

    # ---------------------------------------------------------------- verify

    def verify_from_l1(self, presented: str, scopes: Sequence[str], address: str | None) -> Valid | None:
        """The short way, in which nobody is asked."""
        l1 = self.l1
        if l1 is None or isinstance(scopes, str) or not isinstance(presented, str):
            return None
        record = l1.get(question(presented, tuple(scopes), address))
        return None if record is None else Valid(record, "l1")

    def verify(
        self,
        presented: str,
        scopes: Sequence[str],
        address: str | None,
        load: Callable[[str], object],
    ) -> Steps[Result]:
        """Raises BadRecord, and ValueError for scopes and addresses that are none."""
        requests = check_requests(scopes)
        from_address = None if address is None else read_address(address)
        taken = self.settings.parse(presented) if isinstance(presented, str) else None
        if taken is None or not keys.is_presentable(*taken):
            return Refused("MALFORMED")
        prefix, secret = taken
        peppers: Sequence[bytes | None] = self.settings.peppers or (None,)
        digests = [keys.digest_of(secret, pepper) for pepper in peppers]
        asked = question(presented, requests, address)
        began = next(self._count)
        while True:
            token: bytes | None = None
            try:
                answer = yield from self._validate(prefix, digests, requests, address, asked)
            except (RedisUnavailable, CommandRefused) as error:
                self._cant_say(error)
                if self.settings.when_down != "load":
                    return self._without_redis(asked, error)
            else:
                if not isinstance(answer, Missed):
                    return answer
                token = answer.token
            try:
                row = yield from self._rows.run(
                    prefix, began, token is not None, partial(self._row, prefix, token, load)
                )
            except Again:
                continue
            except LoadFailed as failed:
                return Unavailable(f"load raised {failed.__cause__!r}")
            verdict = judge(row, digests, requests, from_address, int(self._wall() * 1000))
            status: CacheStatus = "BYPASS" if token is None else "MISS"
            if verdict.code == "VALID" and row is not None:
                return Valid(row.json, "database", status)
            return Refused(verdict.code, verdict.scope, status)

    def _without_redis(self, asked: Question, error: Exception) -> Result:
        if self.settings.when_down == "stale" and self.l1 is not None:
            record = self.l1.get_stale(asked)
            if record is not None:
                return Valid(record, "l1", "STALE")
        return Unavailable(str(error))

    def _validate(
        self,
        prefix: str,
        digests: Sequence[bytes],
        scopes: Sequence[str],
        address: str | None,
        asked: Question,
    ) -> Steps[Valid | Refused | Missed]:
        key = self.names.record(prefix)
        options: list[Argument] = []
        if address is not None:
            options += ("IP", address)
        for scope in scopes:
            options += ("SCOPE", scope)
        for number, digest in enumerate(digests):
            reply = yield from self._ask_l1(key, ("APIKEY.VALIDATE", key, "DIGEST", digest.hex(), *options), asked)
            code = text(reply[0])
            if code == "VALID":
                return Valid(cast(bytes, reply[1]), "cache")
            if code == "MISS":
                return Missed(cast(bytes, reply[1]))
            if code == "UNVERIFIED":
                # What is cached has no digest: the row may have one.
                return Missed(cast(bytes, reply[2]))
            if code == "MISMATCH" and number + 1 < len(digests):
                continue
            scope_reply = reply[1] if len(reply) > 1 else None
            return Refused(code, text(scope_reply) if code == "FORBIDDEN" else None, "HIT")
        raise AssertionError("there is a digest")

    def _ask_l1(self, key: str, command: Command, asked: Question) -> Steps[list[object]]:
        """VALIDATE's reply; it is kept where it is VALID and an L1 follows what is invalidated."""
        l1 = self.l1
        asking = None if l1 is None else l1.asking(key)
        if l1 is None or asking is None:
            return cast("list[object]", (yield from self.one(key, command, repeat=True)))
        kept = False
        by: list[Address] = []
        try:
            reply: object
            tags: list[bytes] | None = []
            if l1.needs_tags:
                # Together, so that the tags are those of the record.
                together = (("MULTI",), command, ("APIKEY.TAGS", key), ("EXEC",))
                replies = yield from self.ask(key, together, repeat=True, by=by)
                done = replies[-1]
                if isinstance(done, list) and len(done) == 2 and not isinstance(done[0], ErrorReply):
                    reply, tags = done[0], done[1]
                else:
                    # Before Redis 8 a transaction is refused while memory is full.
                    reply, tags = (yield from self.one(key, command, repeat=True)), None
            else:
                reply = good((yield from self.ask(key, (command,), repeat=True, by=by))[0])
            answer = cast("list[object]", reply)
            if answer[0] == b"VALID" and isinstance(tags, list) and l1.hears(by[-1]):
                left = cast(int, answer[2])
                l1.answered(asking, asked, cast(bytes, answer[1]), left, tags)
                kept = True
            return answer
        finally:
            if not kept:
                l1.answered(asking)

    def _row(
        self, prefix: str, token: bytes | None, load: Callable[[str], object], flight: Flight[Judged | None]
    ) -> Steps[Judged | None]:
        """Reads the row, and fills with it where there is a token."""
        row = yield from self._load(self._rows, flight, lambda: load(prefix))
        judged = None if row is None else read_row(cast(Row, row), self.settings.fields)
        if token is not None:
            try:
                yield from self._fill(prefix, cast("Row | None", row), judged, token)
            except RedisUnavailable as error:
                log.debug("a fill got no reply: %s", error)
            except CommandRefused as error:
                if error.code == "BADRECORD":
                    raise BadRecord(str(error)) from None
                self._warn("a fill was refused", str(error))
            except ValueError as error:
                log.warning("a fill can't be sent: %s", error)
        return judged

    def _warn(self, what: str, error: str) -> None:
        """Of each error once: where one call gets it, all the others do."""
        said = f"{what}: {error}"
        is_new = said not in self._warned and len(self._warned) < MOST_WARNINGS
        if is_new:
            self._warned.add(said)
        log.log(logging.WARNING if is_new else logging.DEBUG, "%s", said)

    def _cant_say(self, error: RedisUnavailable | CommandRefused) -> None:
        """Of a read. What was refused for good is a server without the module, or a user who may not."""
        if _lasts(error):
            self._warn("redis refuses to say", str(error))
        else:
            log.debug("redis can't say: %s", error)

    def _load(self, flights: Flights[V], flight: Flight[V], call: Callable[[], object]) -> Steps[object]:
        try:
            return (yield Load(call, lambda: flights.start(flight)))
        except Exception as error:
            raise LoadFailed from error

    def _fill(self, prefix: str, row: Row | None, judged: Judged | None, token: bytes) -> Steps[None]:
        key = self.names.record(prefix)
        if row is None or judged is None:
            command: Command = (
                "APIKEY.SETABSENT",
                key,
                "TOKEN",
                token,
                *px(self.settings.absent_ttl),
                *self.names.option(),
            )
        else:
            try:
                command = self.setval(key, row, judged, token, self.settings.ttl)
            except Exception:
                # Without them nothing would take the record back; the row is judged all the same.
                log.exception("tags raised, and the record is not kept")
                return
        yield from self.one(key, command, repeat=True)

    def setval(self, key: str, row: Row, judged: Judged, token: bytes, ttl: float | None) -> Command:
        """A fill. Raises what `tags` raises."""
        digests: list[Argument] = []
        for digest, until in judged.digests:
            digests += ("DIGEST", digest.hex())
            if until is not None:
                digests += ("UNTIL", until_to_send(until))
        tags = tags_option(self.settings.tags(row)) if self.settings.tags else ()
        return ("APIKEY.SETVAL", key, judged.sent, *digests, "TOKEN", token, *px(ttl), *tags, *self.names.option())

    # ---------------------------------------------------------------- changes

    def change(self, change: Change, outbox: Callable[[Change], object] | None) -> Steps[None]:
        """Tells a change. What can't be told is given to the outbox, and raises ChangeNotTold all the same."""
        try:
            yield from self.tell(change)
        except ChangeNotTold as error:
            kept = yield from self._keep(change, outbox)
            raise ChangeNotTold(change, str(error), kept=kept) from error.__cause__
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            # The caller was cancelled or interrupted, and its change is committed.
            yield from self._keep(change, outbox)
            raise

    def _keep(self, change: Change, outbox: Callable[[Change], object] | None) -> Steps[bool]:
        if outbox is None:
            return False
        try:
            yield Call(lambda: outbox(change))
        except Exception:
            log.exception("the outbox raised")
            return False
        return True

    def tell(self, change: Change) -> Steps[None]:
        """INVAL and TAGINVAL, until all have replied. Raises ChangeNotTold."""
        told = self._told(change)
        self._drop(change, told)
        # Each key by itself: while their slot moves, an INVAL of two would have to find both at one node.
        commands: list[Command] = [("APIKEY.INVAL", name) for name in told.keys]
        if told.tags:
            # First: one command for most of what there is.
            commands.insert(0, ("APIKEY.TAGINVAL", *told.tags))
        parts: list[tuple[str | None, Sequence[Command]]]
        if self.servers.cluster:
            parts = [(None if command[0] == "APIKEY.TAGINVAL" else str(command[1]), (command,)) for command in commands]
        else:
            firsts = range(0, len(commands), COMMANDS_AT_ONCE)
            parts = [(None, commands[first : first + COMMANDS_AT_ONCE]) for first in firsts]
        try:
            yield from self._insist_on_each(parts)
        except (RedisUnavailable, CommandRefused) as error:
            raise ChangeNotTold(change, str(error), kept=False) from error
        finally:
            # Once more: an answer may have come meanwhile that was asked for before.
            self._drop(change, told)

    def _told(self, change: Change) -> _Told:
        names, told = self.names, _Told()
        for prefix in change.prefixes:
            told.keys += (names.record(prefix), names.scopes(prefix))
        if change.user is not None:
            told.keys.append(names.list(change.user))
        if change.id is not None:
            told.tags.append(names.id_tag(change.id))
        all_of_user = change.id is None and not change.prefixes
        if change.user is not None and (change.kind == "user_deleted" or all_of_user):
            told.tags.append(names.user_tag(change.user))
        return told

    def _drop(self, change: Change, told: _Told) -> None:
        if self.l1 is None:
            return
        fields: list[tuple[str, object]] = []
        if change.id is not None:
            fields.append(("id", change.id))
        if change.user is not None and self.names.user_tag(change.user) in told.tags:
            fields.append(("user_id", change.user))
        self.l1.drop_record(told.keys, told.tags, fields)

    # ---------------------------------------------------------------- lists and decisions

    def page(self, user: Id, load: Callable[[Id], object], offset: int, limit: int | None) -> Steps[Page]:
        """Raises what `load` raises, BadRecord, and RedisUnavailable where the database may not be asked."""
        if offset < 0 or (limit is not None and limit < 0):
            raise ValueError("offset and limit must be at least 0")
        key = self.names.list(user)
        command: Command = ("APIKEY.GETLIST", key, "OFFSET", offset)
        if limit is not None:
            command += ("LIMIT", limit)
        began = next(self._count)
        while True:
            token: bytes | None = None
            try:
                reply = cast("list[object]", (yield from self.one(key, command, repeat=True)))
            except (RedisUnavailable, CommandRefused) as error:
                self._cant_say(error)
                if self.settings.when_down != "load":
                    raise RedisUnavailable(str(error)) from error
            else:
                if reply[0] == b"HIT":
                    total, page = cast("tuple[int, list[bytes]]", reply[1])
                    return Page(_read(page), total, "cache")
                token = cast(bytes, reply[1])
            try:
                records = yield from self._lists.run(
                    key, began, token is not None, partial(self._records, key, user, token, load)
                )
            except Again:
                continue
            except LoadFailed as failed:
                raise cast(Exception, failed.__cause__) from None
            end = len(records) if limit is None else offset + limit
            return Page(_read(records[offset:end]), len(records), "database")

    def _records(
        self,
        key: str,
        user: Id,
        token: bytes | None,
        load: Callable[[Id], object],
        flight: Flight[list[bytes]],
    ) -> Steps[list[bytes]]:
        rows = yield from self._load(self._lists, flight, lambda: load(user))
        if not isinstance(rows, Iterable):
            raise BadRecord(f"load must return rows, not {kind_of(rows)}")
        judged = [read_row(cast(Row, row), self.settings.fields) for row in rows]
        if token is not None:
            array = b"[" + b",".join(row.sent for row in judged) + b"]"
            command: Command = ("APIKEY.SETLIST", key, str(user), array, "TOKEN", token, *self.names.option())
            yield from self._store(key, command)
        return [row.json for row in judged]

    def _store(self, key: str, command: Command) -> Steps[None]:
        """A fill that nobody depends on."""
        try:
            yield from self.one(key, command, repeat=True)
        except RedisUnavailable as error:
            log.debug("a fill got no reply: %s", error)
        except CommandRefused as error:
            self._warn("a fill was refused", str(error))

    def decide(
        self,
        prefix: str,
        resource: str,
        action: str,
        load: Callable[[str, str, str], object],
        load_row: Callable[[str], object] | None,
    ) -> Steps[bool]:
        """Raises what either `load` raises, and RedisUnavailable where the database may not be asked."""
        key = self.names.scopes(prefix)
        began = next(self._count)
        while True:
            token: bytes | None = None
            try:
                command = ("APIKEY.CHECKSCOPE", key, resource, action)
                reply = cast("list[object]", (yield from self.one(key, command, repeat=True)))
            except (RedisUnavailable, CommandRefused) as error:
                self._cant_say(error)
                if self.settings.when_down != "load":
                    raise RedisUnavailable(str(error)) from error
            else:
                if reply[0] != b"MISS":
                    return reply[0] == b"ALLOW"
                token = cast(bytes, reply[1])
            name = f"{len(prefix)}:{len(resource)}:{prefix}{resource}{action}"
            try:
                return (
                    yield from self._decisions.run(
                        name,
                        began,
                        token is not None,
                        partial(self._decision, prefix, resource, action, token, load, load_row),
                    )
                )
            except Again:
                continue
            except LoadFailed as failed:
                raise cast(Exception, failed.__cause__) from None

    def _decision(
        self,
        prefix: str,
        resource: str,
        action: str,
        token: bytes | None,
        load: Callable[[str, str, str], object],
        load_row: Callable[[str], object] | None,
        flight: Flight[bool],
    ) -> Steps[bool]:
        made = yield from self._load(self._decisions, flight, lambda: load(prefix, resource, action))
        if not isinstance(made, (bool, Decision)):
            raise TypeError("load must return a bool or a Decision")
        decision = made if isinstance(made, Decision) else Decision(made)
        if token is None:
            if not decision.allowed or decision.id is not None or load_row is None:
                return decision.allowed
            return (yield from self._row_of(prefix, load_row)) is not None
        id_, user = decision.id, decision.user
        if id_ is None:
            id_, user = yield from self._whose(prefix, load_row)
        if id_ is None:
            # There is no such key, or nobody knows whose it is: then nothing could take the decision back.
            return decision.allowed and load_row is None
        key = self.names.scopes(prefix)
        command: Command = (
            "APIKEY.SETSCOPE",
            key,
            str(id_),
            NOBODY if user is None else str(user),
            resource,
            action,
            "ALLOW" if decision.allowed else "DENY",
            "TOKEN",
            token,
            *px(decision.ttl),
            *tags_option(decision.tags),
            *self.names.option(),
        )
        yield from self._store(key, command)
        return decision.allowed

    def _whose(
        self, prefix: str, load_row: Callable[[str], object] | None
    ) -> Steps[tuple[str | int | None, str | int | None]]:
        """The id and the user of a key: by the automatic tags of its record, else by its row."""
        key = self.names.record(prefix)
        found: list[str | int | None] = [None, None]
        try:
            tags = yield from self.one(key, ("APIKEY.TAGS", key), repeat=True)
        except (RedisUnavailable, CommandRefused):
            tags = []
        # The automatic ones are the first.
        for tag in reversed(cast("list[bytes]", tags)):
            name = tag.decode("utf-8", "replace")
            for number, beginning in enumerate((self.names.id_tags, self.names.user_tags)):
                if name.startswith(beginning):
                    found[number] = name[len(beginning) :]
        if found[0] is None and load_row is not None:
            row = yield from self._row_of(prefix, load_row)
            if row is not None:
                record = json.loads(row.json)
                return record["id"], record.get("user_id")
        return found[0], found[1]

    def _row_of(self, prefix: str, load_row: Callable[[str], object]) -> Steps[Judged | None]:
        began = next(self._count)
        return (yield from self._rows.run(prefix, began, False, partial(self._row, prefix, None, load_row)))

    def health(self) -> Steps[dict[str, object]]:
        """How the cache fares: of one primary, as far as this user may ask."""
        try:
            reply = yield from self.one(None, ("APIKEY.HEALTH",), repeat=True)
        except RedisUnavailable as error:
            return {"status": "down", "reasons": [str(error)]}
        except CommandRefused as error:
            # An application may not be allowed to ask: then an answer is all that is known.
            may_not = error.code == "NOPERM"
            return {"status": "healthy" if may_not else "down", "reasons": [] if may_not else [str(error)]}
        said = as_map(reply)
        return {"status": said["status"], "reasons": said["reasons"]}

    # ---------------------------------------------------------------- usage

    def count(self, prefix: str, by: int) -> Steps[int]:
        """What is pending. Raises RedisUnavailable, CommandRefused; it is never sent twice."""
        key = self.names.usage(prefix)
        return cast(int, (yield from self.one(key, ("APIKEY.USAGE.INCR", key, "BY", by), repeat=False)))

    def lease(self, at: Address, milliseconds: int, count: int) -> Steps[list[Batch]]:
        """Of one primary. Raises RedisUnavailable, CommandRefused."""
        command: Command = ("APIKEY.USAGE.LEASE", milliseconds, "COUNT", count)
        replies = yield from self.insist(None, [command], at=at)
        return [self._batch(batch) for batch in cast("list[list[object]]", replies[0])]

    def _batch(self, batch: list[object]) -> Batch:
        lines = []
        for line in cast("list[list[object]]", batch[1]):
            key = cast(bytes, line[1]).decode("utf-8", "surrogateescape")
            lines.append(
                Line(
                    text(line[0]),
                    key,
                    self.names.prefix_of_usage(key),
                    cast(int, line[2]),
                    cast(int, line[3]) / 1000,
                )
            )
        return Batch(text(batch[0]), tuple(lines))

    def acknowledge(self, at: Address, batch: str) -> Steps[None]:
        """Where the primary that leased it does not answer, another asks all of them."""
        said: Command = ("APIKEY.USAGE.ACK", batch)
        deadline = self._clock() + self.settings.change_timeout
        if self.servers.cluster:
            try:
                yield from self._attempt(None, [said], deadline, at)
                return
            except (RedisUnavailable, CommandRefused) as error:
                log.debug("ACK is said to another: %s", error)
            yield from self.insist(None, [said], deadline=deadline)
        else:
            yield from self.insist(None, [said], deadline=deadline, at=at)

    def give_back(self, at: Address, batches: Sequence[str]) -> Steps[None]:
        """Once, and nobody waits for long: the consumer has an error to tell, and batches come again by themselves."""
        try:
            yield from self._attempt(None, [("APIKEY.USAGE.NACK", *batches)], self._clock() + GIVE_BACK, at)
        except (RedisUnavailable, CommandRefused) as error:
            log.info("batches come again when their lease ends, for they can't be given back: %s", error)


def _read(records: Sequence[bytes]) -> list[Record]:
    return [cast(Record, json.loads(record)) for record in records]
