"""The protocol: what is asked of whom in which order, and what that means. No sockets, no threads, no event loop.

What makes it safe:

- A row is read after its token was had, and every fill carries the token, so that the server refuses a fill that an
  invalidation has overtaken.
- Who waits for another's load takes its row only where that load began after its own call did. Else the row may be
  older than a change that was told before the call: then the server is asked again.
- What the server can't say is judged here by the row, never by an earlier answer (but for `when_down="stale"`).
- Limits are the server's to judge, never this process': a key that has some is good once ADMIT says so. Where nobody
  can ask it, `limits_when_unavailable` decides.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from redis_apikey import _keys as keys
from redis_apikey._addresses import read_address
from redis_apikey._admission import REFUSALS, Admission, check_cost, check_id, id_option, limited, read_counters, states
from redis_apikey._effects import (
    Address,
    Argument,
    Command,
    Event,
    Steps,
)
from redis_apikey._errors import (
    BadRecord,
    CommandRefused,
    RedisUnavailable,
)
from redis_apikey._exchange import Exchange, Told
from redis_apikey._flights import Again, Flight, Flights, LoadFailed
from redis_apikey._l1 import Cache, Question, question
from redis_apikey._limited import LimitedKeys
from redis_apikey._limits import Limit, read_limits
from redis_apikey._names import Names
from redis_apikey._records import Judged, kind_of, read_row, until_to_send
from redis_apikey._replies import as_map, good, px, tags_option, text
from redis_apikey._results import (
    Batch,
    CacheStatus,
    Change,
    Decision,
    Id,
    Limited,
    Line,
    Page,
    Record,
    Refused,
    Result,
    Row,
    Settled,
    Source,
    Unavailable,
    Valid,
)
from redis_apikey._scopes import check_requests
from redis_apikey._servers import slot_of
from redis_apikey._settings import Settings
from redis_apikey._verdict import judge

log = logging.getLogger("redis_apikey")

V = TypeVar("V")

GIVE_BACK = 0.5
"""Seconds that giving batches back may take."""

COMMANDS_AT_ONCE = 200

LOADS = 2
"""How often one call loads a key that is gone again when it is to be admitted."""

NOBODY = "nobody"
"""Whose a decision is where its key is nobody's: the command wants a user. To share it costs a miss at most."""


@dataclass(frozen=True, slots=True)
class Missed:
    """The server does not know; a fill needs the token."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call of verify asks for; `question` is what an L1 keeps its answer under."""

    prefix: str
    digests: Sequence[bytes]
    scopes: tuple[str, ...]
    address: str | None
    admission: Admission
    question: Question

    def options(self) -> Command:
        """Those of VALIDATE, beside the digest."""
        options: list[Argument] = [] if self.address is None else ["IP", self.address]
        for scope in self.scopes:
            options += ("SCOPE", scope)
        return tuple(options)


class Protocol(Exchange):
    """Of API keys, shared by both clients. Every method that yields is carried out by a driver."""

    def __init__(
        self,
        settings: Settings,
        seeds: Sequence[Address],
        cluster: bool,
        new_event: Callable[[], Event],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, seeds, cluster, clock)
        self.settings = settings
        self.names = Names(settings.ns)
        self.l1: Cache[Question, bytes] | None = None
        if settings.l1:
            self.l1 = Cache(settings.l1, settings.when_down == "stale", clock)
        self._limited = LimitedKeys()
        self._wall = wall
        self._count = itertools.count(1)
        self._rows: Flights[Judged | None] = Flights(self._count, new_event)
        self._lists: Flights[list[bytes]] = Flights(self._count, new_event)
        self._decisions: Flights[bool] = Flights(self._count, new_event)

    def forked(self) -> None:
        """In a child that was forked, before anything else."""
        for flights in (self._rows, self._lists, self._decisions):
            flights.forked()
        self._limited.forked()
        if self.l1 is not None:
            self.l1.forked()

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
        admission: Admission,
        load: Callable[[str], object],
    ) -> Steps[Result]:
        """Raises BadRecord, and ValueError for scopes, addresses and counters that are none."""
        requests = check_requests(scopes)
        from_address = None if address is None else read_address(address)
        taken = self.settings.parse(presented) if isinstance(presented, str) else None
        if taken is None or not keys.is_presentable(*taken):
            return Refused("MALFORMED")
        prefix, secret = taken
        self._check_counters(prefix, admission.counters)
        peppers: Sequence[bytes | None] = self.settings.peppers or (None,)
        digests = [keys.digest_of(secret, pepper) for pepper in peppers]
        asked = Asked(prefix, digests, requests, address, admission, question(presented, requests, address))
        judged: Valid | None = None
        loads = 0
        began = next(self._count)
        while True:
            token: bytes | None = None
            try:
                answer = yield from self._ask_server(asked, judged)
            except (RedisUnavailable, CommandRefused) as error:
                self.cant_say(error)
                if judged is not None:
                    return self._without_limits(judged, asked, error)
                if self.settings.when_down != "load":
                    return self._without_redis(asked, error)
                cause: Exception = error
            else:
                if not isinstance(answer, Missed):
                    return answer
                token = answer.token
                cause = RedisUnavailable("the key's record does not stay in the cache")
                if judged is not None and loads == LOADS:
                    return self._without_limits(judged, asked, cause)
            try:
                row = yield from self._load_row(prefix, began, token, load)
            except Again:
                continue
            except LoadFailed as failed:
                return Unavailable(f"load raised {failed.__cause__!r}")
            loads += 1
            verdict = judge(row, digests, requests, from_address, int(self._wall() * 1000))
            status: CacheStatus = "BYPASS" if token is None and judged is None else "MISS"
            if verdict.code != "VALID" or row is None:
                return Refused(verdict.code, verdict.scope, status)
            judged = Valid(row.json, "database", status)
            self._limited.learn(prefix, row.limits)
            if not (row.limits or admission.is_wanted):
                return judged
            if token is None:
                return self._without_limits(judged, asked, cause)
            # Another fill has to be of a load that is later than this one.
            began = next(self._count)

    def _load_row(
        self, prefix: str, began: int, token: bytes | None, load: Callable[[str], object]
    ) -> Steps[Judged | None]:
        fill = partial(self._row, prefix, token, load)
        return (yield from self._rows.run(prefix, began, token is not None, fill))

    def _check_counters(self, prefix: str, counters: Sequence[str]) -> None:
        """Raises ValueError."""
        own = self.names.usage(prefix)
        if own in counters:
            raise ValueError("counters must be others than the key's own, which is the first")
        if self.servers.cluster and any(slot_of(counter) != slot_of(own) for counter in counters):
            raise ValueError(f"counters must have the key's hash tag in a cluster, {{{prefix}}}")

    def _without_limits(self, valid: Valid, asked: Asked, error: Exception) -> Valid | Unavailable:
        """Of a key that is good, where nobody can say what its limits allow."""
        has_limits = bool(asked.admission.limits or _limits_of(valid._json))
        if has_limits and self.settings.limits_when_unavailable == "refuse":
            return Unavailable(f"nobody can judge the limits: {error}", valid.cache_status)
        return valid

    def _without_redis(self, asked: Asked, error: Exception) -> Result:
        if self.settings.when_down == "stale" and self.l1 is not None:
            record = self.l1.get_stale(asked.question)
            if record is not None:
                return self._without_limits(Valid(record, "l1", "STALE"), asked, error)
        return Unavailable(str(error))

    def _ask_server(self, asked: Asked, judged: Valid | None) -> Steps[Result | Missed]:
        """By ADMIT, where one knows that limits are to be judged; else by VALIDATE, which shows whether they are."""
        valid: Valid | Refused | Missed | None = judged
        if not (judged or asked.admission.is_wanted or self._limited.of(asked.prefix)):
            valid = yield from self._validate(asked)
            limits = _limits_of(valid._json) if isinstance(valid, Valid) else ()
            if not limits:
                return valid
            self._limited.learn(asked.prefix, limits)
        try:
            return (yield from self._admit(asked, "cache" if judged is None else "database"))
        except CommandRefused as error:
            if error.text.startswith(("ERR numcounters", "ERR LIMIT")):
                # They are those of the record, with these of the call.
                raise BadRecord(error.text.removeprefix("ERR ")) from None
            refused = error
        # Of a server that takes no writes: who is good can be had of it all the same.
        self.cant_say(refused)
        if valid is None:
            valid = yield from self._validate(asked)
        if not isinstance(valid, Valid):
            return valid
        return self._without_limits(valid, asked, refused)

    def _admit(self, asked: Asked, source: Source) -> Steps[Valid | Refused | Limited | Missed]:
        """Raises RedisUnavailable, CommandRefused. What has no id of its own is never sent twice."""
        admission, key = asked.admission, self.names.record(asked.prefix)
        counters = (self.names.usage(asked.prefix), *admission.counters)
        status: CacheStatus = "HIT" if source == "cache" else "MISS"

        def ask(digest: str) -> Steps[list[object]]:
            options = (*asked.options(), *admission.options())
            command = ("APIKEY.ADMIT", key, len(counters), *counters, "DIGEST", digest, *options)
            return cast("list[object]", (yield from self.one(key, command, repeat=admission.request_id is not None)))

        reply = yield from self._by_digests(asked, ask)
        code = text(reply[0])
        if code in REFUSALS:
            return limited(reply, (*self._limited.of(asked.prefix), *admission.limits), status)
        if code != "VALID":
            return _answer(reply, status)
        valid = Valid(cast(bytes, reply[1]), source, status)
        known = _limits_of(valid._json)
        self._limited.learn(asked.prefix, known)
        # A limit of the call stands for the record's of the same name.
        valid.limits = states(reply[3], (*known, *admission.limits))
        return valid

    def _validate(self, asked: Asked) -> Steps[Valid | Refused | Missed]:
        key = self.names.record(asked.prefix)

        def ask(digest: str) -> Steps[list[object]]:
            command = ("APIKEY.VALIDATE", key, "DIGEST", digest, *asked.options())
            return (yield from self.read(self.l1, key, command, asked.question, _kept))

        return _answer((yield from self._by_digests(asked, ask)), "HIT")

    def _by_digests(self, asked: Asked, ask: Callable[[str], Steps[list[object]]]) -> Steps[list[object]]:
        """The reply for the first that is the record's, else for the last."""
        reply: list[object] = []
        for digest in asked.digests:
            reply = yield from ask(digest.hex())
            if text(reply[0]) != "MISMATCH":
                break
        return reply

    def _row(
        self, prefix: str, token: bytes | None, load: Callable[[str], object], flight: Flight[Judged | None]
    ) -> Steps[Judged | None]:
        """Reads the row, and fills with it where there is a token."""
        row = yield from self._rows.load(flight, lambda: load(prefix))
        judged = None if row is None else read_row(cast(Row, row), self.settings.fields)
        if token is not None:
            try:
                yield from self._fill(prefix, cast("Row | None", row), judged, token)
            except RedisUnavailable as error:
                log.debug("a fill got no reply: %s", error)
            except CommandRefused as error:
                if error.code == "BADRECORD":
                    raise BadRecord(str(error)) from None
                self.warn("a fill was refused", str(error))
            except ValueError as error:
                log.warning("a fill can't be sent: %s", error)
        return judged

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

    def _told(self, change: Change) -> Told:
        names, told = self.names, Told()
        if change.kind == "invalidated":
            raise ValueError("what a region's key or tag is about is told by a Cache")
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

    def _drop(self, change: Change, told: Told) -> None:
        if self.l1 is None:
            return
        fields: list[tuple[str, object]] = []
        if change.id is not None:
            fields.append(("id", change.id))
        if change.user is not None and self.names.user_tag(change.user) in told.tags:
            fields.append(("user_id", change.user))
        self.l1.drop_told(told.keys, told.tags, partial(_is_of, fields) if fields else None)

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
                self.cant_say(error)
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
        rows = yield from self._lists.load(flight, lambda: load(user))
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
            self.warn("a fill was refused", str(error))

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
                self.cant_say(error)
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
        made = yield from self._decisions.load(flight, lambda: load(prefix, resource, action))
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

    def count(self, prefix: str, by: int, request_id: str | None) -> Steps[int]:
        """What is pending. Raises RedisUnavailable, CommandRefused; without an id it is never sent twice."""
        if request_id is not None:
            check_id(request_id)
        key = self.names.usage(prefix)
        command = ("APIKEY.USAGE.INCR", key, "BY", by, *id_option(request_id))
        return cast(int, (yield from self.one(key, command, repeat=request_id is not None)))

    def settle(self, prefix: str, request_id: str, cost: int, counters: Sequence[str]) -> Steps[Settled | None]:
        """In each counter. Raises RedisUnavailable, CommandRefused."""
        check_id(request_id)
        check_cost(cost)
        others = read_counters(counters)
        self._check_counters(prefix, others)
        key = self.names.usage(prefix)
        # It settles once, however often it is said.
        said = [("APIKEY.SETTLE", counter, request_id, cost) for counter in (key, *others)]
        replies = [good(reply) for reply in (yield from self.ask(key, said, repeat=True))]
        settled = [Settled(*cast("list[int]", reply)) for reply in replies if reply is not None]
        return settled[0] if settled else None

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


def _is_of(fields: Sequence[tuple[str, object]], json_of_record: bytes) -> bool:
    """Whether a record has one of these."""
    record = json.loads(json_of_record)
    return any(str(record.get(name)) == str(value) for name, value in fields)


def _kept(reply: list[object]) -> tuple[bytes, int] | None:
    """Of VALIDATE's reply, the record and how long it holds, where it is VALID without further ado."""
    if reply[0] != b"VALID" or _limits_of(cast(bytes, reply[1])):
        return None
    return cast(bytes, reply[1]), cast(int, reply[2])


def _limits_of(record: bytes) -> tuple[Limit, ...]:
    """Of a record as the server has it."""
    # Of most records this says it.
    return read_limits(json.loads(record).get("limits")) if b'"limits"' in record else ()


def _answer(reply: list[object], status: CacheStatus) -> Valid | Refused | Missed:
    """Of VALIDATE's reply, and of ADMIT's that is none of limits."""
    code = text(reply[0])
    if code == "VALID":
        return Valid(cast(bytes, reply[1]), "cache")
    if code == "MISS":
        return Missed(cast(bytes, reply[1]))
    if code == "UNVERIFIED":
        # What is cached has no digest: the row may have one.
        return Missed(cast(bytes, reply[2]))
    return Refused(code, text(reply[1]) if code == "FORBIDDEN" else None, status)


def _read(records: Sequence[bytes]) -> list[Record]:
    return [cast(Record, json.loads(record)) for record in records]
