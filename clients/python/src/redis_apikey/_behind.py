"""Writes that the database gets later: each is set in the cache and put on a stream, in one transaction; a worker reads
the stream as the group `writers`, and applies them.

What holds: writes of a key are applied in the order in which they were made, each at least once, and no later one of a
key before an earlier one has been. For that one worker at a time has a region's stream, by a lock that ends by itself;
who takes it claims all that another had read and not acknowledged. A worker that was held up for longer than the lock
may apply what another has applied already: ids grow, so that a database which keeps the last id refuses that.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis_apikey._effects import Call, Command, ErrorReply, Sleep, Steps
from redis_apikey._errors import CommandRefused, RedisUnavailable
from redis_apikey._regions import Fill, Outbox, RegionProtocol
from redis_apikey._replies import good, text
from redis_apikey._results import Change
from redis_apikey._settings import check_seconds
from redis_apikey._values import Unreadable

log = logging.getLogger("redis_apikey")

GROUP = "writers"
MOST_WAITING = 10_000
"""Writes behind ones that fail, after which nothing new is read."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
"""Seconds before a write that failed is tried again."""

RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
LET_GO = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def write(region: RegionProtocol, key: str, value: object, fill: Fill, outbox: Outbox) -> Steps[str]:
    """The write's id in its stream. It is not sent twice.

    Raises RedisUnavailable, which says whether it may have been taken, and CommandRefused where it was not.
    """
    if value is None:
        raise ValueError("None can't be written behind: delete in the database, and invalidate")
    shared, names = region.shared, region.names
    if shared.servers.cluster and not region.settings.one_slot:
        raise ValueError("write_behind in a cluster needs a region with one_slot=True")
    name = names.entry(key)
    sealed, tags = region.sealed(key, value, region.codec.serializer.dumps(value), fill)
    commands: list[Command] = [
        ("MULTI",),
        region.set_command(name, sealed, tags, fill, None),
        ("XADD", names.stream, "*", "key", key, "label", sealed.label, "value", sealed.data),
        ("EXEC",),
    ]
    change = Change("invalidated", keys=(name,))
    with shared.dropping(name):
        replies = yield from shared.ask(name, commands, repeat=False)
        done = replies[-1]
        if not isinstance(done, list):
            refused = next((reply for reply in replies if isinstance(reply, ErrorReply)), None)
            raise CommandRefused(refused.text if refused else "EXECABORT the transaction was not carried out")
        was_set, added = done
        if isinstance(was_set, ErrorReply) or isinstance(added, ErrorReply):
            # One of them was carried out: what the cache has is not what the database will have.
            yield from shared.change(change, outbox)
            good(added)
            log.warning("a value that is written behind is not in the cache: %s", was_set)
    return text(added)


@dataclass(frozen=True, slots=True)
class Entry:
    """A write, as the stream has it."""

    id: str
    key: str
    label: bytes
    data: bytes


@dataclass(slots=True)
class _Failing:
    """A write that fails, with all that came behind it for its key."""

    entries: deque[Entry]
    pause: float
    again_at: float


class WorkerProtocol:
    """A worker of one region. Every method that yields is carried out by a driver."""

    def __init__(
        self,
        region: RegionProtocol,
        apply: Callable[[str, Any, str], object],
        consumer: str,
        batch: int,
        lock: float,
        on_error: Callable[[str, Any, str, Exception], object] | None,
    ) -> None:
        check_seconds("lock", lock)
        if not 1 <= batch <= 1000:
            raise ValueError("batch must be between 1 and 1000 writes")
        self._region = region
        self._shared = region.shared
        self._stream = region.names.stream
        self._lock_name = f"{region.names.stream}:worker"
        self._apply_to = apply
        self._consumer = consumer
        self._batch = batch
        self._lock = lock
        self._on_error = on_error
        self._clock = region.shared.clock
        self.applied = 0
        """Writes, in all."""
        self._has_lock = False
        self._renewed = 0.0
        self._claimed: deque[Entry] = deque()
        self._failing: dict[str, _Failing] = {}
        self._applied: dict[str, bytes] = {}
        """What was applied last of keys whose entries are still to be looked at."""

    def round(self) -> Steps[int | None]:
        """How many writes were read, or applied that had failed before; None: another worker has the stream.

        Raises RedisUnavailable, CommandRefused: what was applied and is not acknowledged is applied again.
        """
        try:
            if not (yield from self._hold()):
                return None
            done: list[Entry] = []
            try:
                yield from self._try_again(done)
                entries = yield from self._read()
                for entry in entries:
                    failing = self._failing.get(entry.key)
                    if failing is not None:
                        failing.entries.append(entry)
                    elif not (yield from self._apply(entry, done)):
                        again_at = self._clock() + FIRST_PAUSE
                        self._failing[entry.key] = _Failing(deque((entry,)), FIRST_PAUSE, again_at)
            except GeneratorExit:
                raise
            except BaseException:
                # What is done is done, whoever has interrupted it.
                yield from self._acknowledge(done)
                raise
            yield from self._acknowledge(done)
            if not entries:
                yield from self._look_at_applied()
            return len(entries) or len(done)
        except (RedisUnavailable, CommandRefused):
            # What was read and did not arrive is among what is claimed.
            self._lose()
            raise

    def let_go(self) -> Steps[None]:
        """Of the stream, so that another may have it at once."""
        if not self._has_lock:
            return
        self._lose()
        try:
            yield from self._ask([("EVAL", LET_GO, 1, self._lock_name, self._consumer)])
        except RedisUnavailable as error:
            log.info("a stream that is let go is held until its lock ends: %s", error)

    def _lose(self) -> None:
        self._has_lock = False
        self._claimed.clear()
        self._failing.clear()
        self._applied.clear()

    def _ask(self, commands: Sequence[Command]) -> Steps[list[object]]:
        outages = self._shared.outages
        return self._shared.ask(
            self._stream, commands, repeat=False, timeout=outages.change_timeout, spare=False, lane="slow"
        )

    def _hold(self) -> Steps[bool]:
        """Whether this worker has the stream; who takes it claims what others have left."""
        milliseconds = int(self._lock * 1000)
        renew: Command = ("EVAL", RENEW, 1, self._lock_name, self._consumer, milliseconds)
        began = self._clock()
        if self._has_lock:
            if began < self._renewed + self._lock / 3:
                return True
            if good((yield from self._ask([renew]))[0]) == 1:
                self._renewed = began
                return True
            log.warning("another worker has taken the stream %s: this one was held up", self._stream)
            self._lose()
            return False
        taken: Command = ("SET", self._lock_name, self._consumer, "NX", "PX", milliseconds)
        if good((yield from self._ask([taken]))[0]) is None and good((yield from self._ask([renew]))[0]) != 1:
            return False
        self._renewed = began
        (made,) = yield from self._ask([("XGROUP", "CREATE", self._stream, GROUP, "0", "MKSTREAM")])
        if not (isinstance(made, ErrorReply) and made.code == "BUSYGROUP"):
            good(made)
        self._has_lock = True
        cursor: object = b"0-0"
        while True:
            claim: Command = ("XAUTOCLAIM", self._stream, GROUP, self._consumer, 0, text(cursor), "COUNT", self._batch)
            reply = cast("list[Any]", good((yield from self._ask([claim]))[0]))
            cursor = reply[0]
            # Redis 6.2 says nil for what was deleted.
            self._claimed.extend(_entry(item) for item in reply[1] if item is not None and item[1] is not None)
            if text(cursor) == "0-0":
                return True

    def _read(self) -> Steps[list[Entry]]:
        if self._claimed:
            return [self._claimed.popleft() for _ in range(min(self._batch, len(self._claimed)))]
        if sum(len(failing.entries) for failing in self._failing.values()) >= MOST_WAITING:
            return []
        read: Command = (
            *("XREADGROUP", "GROUP", GROUP, self._consumer),
            *("COUNT", self._batch, "STREAMS", self._stream, ">"),
        )
        reply = good((yield from self._ask([read]))[0])
        if not reply:
            return []
        items = next(iter(reply.values())) if isinstance(reply, dict) else cast("list[Any]", reply)[0][1]
        return [_entry(item) for item in items]

    def _try_again(self, done: list[Entry]) -> Steps[None]:
        for key, failing in list(self._failing.items()):
            if self._clock() < failing.again_at:
                continue
            while failing.entries:
                if not (yield from self._apply(failing.entries[0], done)):
                    failing.pause = min(failing.pause * 2, LONGEST_PAUSE)
                    failing.again_at = self._clock() + failing.pause
                    break
                failing.entries.popleft()
            else:
                del self._failing[key]

    def _apply(self, entry: Entry, done: list[Entry]) -> Steps[bool]:
        """Whether it need not be tried again. Raises RedisUnavailable where the lock may be another's."""
        if not (yield from self._hold()):
            raise RedisUnavailable(f"another worker has taken the stream {self._stream}")
        value: Any = None
        try:
            plain = self._region.codec.open(entry.key, entry.data, entry.label)
            value = self._region.codec.serializer.loads(plain)
            yield Call(lambda: self._apply_to(entry.key, value, entry.id))
        except Exception as error:
            if isinstance(error, Unreadable):
                log.error("a write of %s can't be read: %s", self._stream, error)
            if not (yield from self._is_given_up(entry, value, error)):
                return False
        done.append(entry)
        self.applied += 1
        self._applied[entry.key] = entry.data
        return True

    def _is_given_up(self, entry: Entry, value: Any, failure: Exception) -> Steps[bool]:
        on_error = self._on_error
        if on_error is None:
            log.warning("the write %s of %s is tried again: %r", entry.id, self._stream, failure)
            return False
        try:
            return bool((yield Call(lambda: on_error(entry.key, value, entry.id, failure))))
        except Exception:
            log.exception("on_error raised")
            return False

    def _acknowledge(self, done: list[Entry]) -> Steps[None]:
        if not done:
            return
        ids = [entry.id for entry in done]
        commands: list[Command] = [
            ("MULTI",),
            ("XACK", self._stream, GROUP, *ids),
            ("XDEL", self._stream, *ids),
            ("EXEC",),
        ]
        for reply in (yield from self._ask(commands)):
            good(reply)

    def _look_at_applied(self) -> Steps[None]:
        """Once nothing is left to apply, that the cache has not what a reader has loaded from before.

        An entry can be evicted, or refreshed, while its write is under way.
        """
        region = self._region
        while self._applied:
            key, data = next(iter(self._applied.items()))
            name = region.names.entry(key)
            reply = yield from self._shared.one(name, region.get_command(name), repeat=True)
            parts = cast("list[object]", reply)
            if not (parts[0] in (b"HIT", b"STALE") and parts[1] == data):
                # Also where nothing is there: somebody may be loading it.
                yield from self._shared.tell(Change("invalidated", keys=(name,)))
            self._applied.pop(key, None)


def run(worker: WorkerProtocol, poll: float, is_stopped: Callable[[], bool]) -> Steps[None]:
    """Until it is stopped. What goes wrong is logged, and tried again."""
    check_seconds("poll", poll)
    try:
        while not is_stopped():
            pause = poll
            try:
                if (yield from worker.round()):
                    continue
            except (RedisUnavailable, CommandRefused) as error:
                log.warning("a worker goes on later: %s", error)
                pause = max(poll, 0.5)
            yield Sleep(pause)
    finally:
        yield from worker.let_go()


def drain(worker: WorkerProtocol) -> Steps[int]:
    """Until nothing is left but what fails; returns how many were applied.

    Waits for a worker that has the stream. Raises RedisUnavailable, CommandRefused.
    """
    before = worker.applied
    try:
        while (handled := (yield from worker.round())) != 0:
            if handled is None:
                yield Sleep(0.05)
        return worker.applied - before
    finally:
        yield from worker.let_go()


def _entry(item: Any) -> Entry:
    id_, fields = item
    of = dict(zip(fields[::2], fields[1::2], strict=True))
    key = cast(bytes, of[b"key"]).decode("utf-8", "surrogateescape")
    return Entry(text(id_), key, cast(bytes, of[b"label"]), cast(bytes, of[b"value"]))
