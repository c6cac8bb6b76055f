"""The driver for an event loop: one connection to each server, on which all calls that are under way share the way.

Replies are matched to calls by their order alone, and each call's are read whether it still waits or not: a call that
was cancelled, or whose time was up, leaves nothing behind that another could take for its own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

from redis_apikey._effects import (
    Address,
    Background,
    Call,
    Command,
    Effect,
    Lane,
    Load,
    NoReply,
    Send,
    Steps,
    Wait,
)
from redis_apikey._endpoints import Endpoint, endpoint_of, pack
from redis_apikey._follow import (
    CHANNEL_PING,
    LOST_AFTER,
    PAUSE,
    NothingHeard,
    error_reply,
    is_probe,
    is_push,
    settled,
    start_commands,
    take_push,
)
from redis_apikey._l1 import Heeding
from redis_apikey._settings import L1

log = logging.getLogger("redis_apikey")

T = TypeVar("T")

CONNECT_TIMEOUT = 2.0
"""Seconds that connecting may take. Nobody waits for that longer than for anything else."""

MOST_TIMES = 10
"""How often its time a call may take in all, while replies to others come, or what is to be read waits for the loop."""

HELD_UP = 0.01
"""Seconds by which a timer is late where the loop did something else: so long nobody has listened to Redis."""

IDLE = 0.01
"""Seconds without a reply after which a connection may have been closed without anybody noticing."""


@dataclass(slots=True, eq=False)
class _Pending:
    """Commands under way, and who waits for their replies."""

    packed: list[bytes]
    expected: int
    reply: asyncio.Future[list[object]]
    timeout: float
    asked_at: float
    until: float
    sent_at: float | None = None
    timer: asyncio.TimerHandle | None = None
    replies: list[object] = field(default_factory=list)


class _Link:
    """One connection to one server, opened when it is needed and again when it was lost."""

    def __init__(self, new_connection: Callable[[], Any]) -> None:
        self._new_connection = new_connection
        self._loop = asyncio.get_running_loop()
        self._packer = new_connection()
        self._unsent: deque[_Pending] = deque()
        self._unanswered: deque[_Pending] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._heard_at = 0.0

    async def send(self, commands: tuple[Command, ...], timeout: float) -> list[object]:
        # Here, so that what can't be sent is an error of this call alone.
        packed, now = pack(self._packer, commands), self._loop.time()
        reply: asyncio.Future[list[object]] = self._loop.create_future()
        pending = _Pending(packed, len(commands), reply, timeout, now, now + MOST_TIMES * timeout)
        self._unsent.append(pending)
        self._wake.set()
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        self._expire_at(pending, now + timeout)
        try:
            return await reply
        finally:
            if pending.timer is not None:
                pending.timer.cancel()

    def _expire_at(self, pending: _Pending, due: float) -> None:
        pending.timer = self._loop.call_at(due, self._expire, pending, due)

    def _expire(self, pending: _Pending, due: float) -> None:
        """Its time is that in which Redis is silent: a burst, or a loop that is held up, are not Redis' doing."""
        if pending.reply.done():
            return
        now, sent_at, timeout = self._loop.time(), pending.sent_at, pending.timeout
        again = max(pending.asked_at if sent_at is None else sent_at, self._heard_at) + timeout
        late = now - due
        if late > HELD_UP:
            # What has come has to be read first, and what is to be sent to be written.
            pending.until += late
            again = max(again, now + min(late, timeout))
        again = min(again, pending.until)
        if again > now:
            self._expire_at(pending, again)
            return
        self._give_up(pending)

    def _give_up(self, pending: _Pending, turns: int = 3) -> None:
        if pending.reply.done():
            return
        if turns:
            # The reply may be here, and has only to be read.
            self._loop.call_soon(self._give_up, pending, turns - 1)
            return
        sent_at = pending.sent_at
        pending.reply.set_exception(
            NoReply(f"no reply within {pending.timeout:.3f} s", maybe_done=sent_at is not None, timed_out=True)
        )
        if sent_at is not None and self._heard_at < sent_at and self._task is not None:
            # Nothing came since: the connection may be dead, and nobody would tell.
            self._task.cancel()

    async def _run(self) -> None:
        cause: BaseException | None = None
        reader: asyncio.Task[None] | None = None
        connection: Any = None
        try:
            connection = self._new_connection()
            await asyncio.wait_for(connection.connect(), CONNECT_TIMEOUT)
            self._heard_at = self._loop.time()
            reader = self._loop.create_task(self._read(connection))
            # Who writes learns of a lost connection by the reader.
            reader.add_done_callback(lambda _: self._wake.set())
            while not reader.done():
                if self._unsent and not self._unanswered and self._loop.time() > self._heard_at + IDLE:
                    # It may have been closed meanwhile: the loop has to look before anything is sent.
                    for _ in range(3):
                        await asyncio.sleep(0)
                    if reader.done():
                        break
                await self._write(connection)
                await self._wake.wait()
            reader.result()
        except asyncio.CancelledError:
            cause = NoReply("the connection did not answer", maybe_done=True, timed_out=True)
        except Exception as error:
            cause = error
        finally:
            # The next call opens another one.
            self._task = None
            unsent, self._unsent = self._unsent, deque()
            unanswered, self._unanswered = self._unanswered, deque()
            for pending in unanswered:
                self._fail(pending, cause, maybe_done=True)
            for pending in unsent:
                self._fail(pending, cause, maybe_done=False)
            if reader is not None:
                reader.cancel()
            if connection is not None:
                await connection.disconnect(nowait=True)

    @staticmethod
    def _fail(pending: _Pending, cause: BaseException | None, maybe_done: bool) -> None:
        if not pending.reply.done():
            text, refused = str(cause) or type(cause).__name__, False
            if isinstance(cause, (AuthenticationError, ResponseError)):
                text, refused = error_reply(cause).text, True
            pending.reply.set_exception(NoReply(text, maybe_done=maybe_done, timed_out=False, refused=refused))

    async def _write(self, connection: Any) -> None:
        self._wake.clear()
        while self._unsent:
            packed: list[bytes] = []
            now = self._loop.time()
            while self._unsent and len(packed) < 1000:
                pending = self._unsent.popleft()
                if pending.reply.done():
                    continue
                pending.sent_at = now
                self._unanswered.append(pending)
                packed.extend(pending.packed)
            if packed:
                await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: Any) -> None:
        while True:
            try:
                reply = settled(
                    await connection.read_response(disable_decoding=True, timeout=math.inf, disconnect_on_error=False)
                )
            except (ResponseError, BusyLoadingError, AuthenticationError) as error:
                reply = error_reply(error)
            self._heard_at = self._loop.time()
            if not self._unanswered:
                raise ConnectionError("a reply came that nobody had asked for")
            pending = self._unanswered[0]
            pending.replies.append(reply)
            if len(pending.replies) == pending.expected:
                self._unanswered.popleft()
                if not pending.reply.done():
                    pending.reply.set_result(pending.replies)

    async def close(self) -> None:
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


class Driver:
    """Carries out what the protocol asks, in the running event loop."""

    def __init__(self, client: Any, cluster: bool, load_limit: int) -> None:
        self.client = client
        self.endpoint: Endpoint = endpoint_of(client, Connection, SSLConnection, cluster)
        self._load_limit = load_limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Semaphore(load_limit)
        self._links: dict[tuple[Address, Lane], _Link] = {}
        self._background: set[asyncio.Task[None]] = set()

    new_event = staticmethod(asyncio.Event)

    async def run(self, steps: Steps[T]) -> T:
        try:
            effect = next(steps)
            while True:
                try:
                    value = await self._perform(effect)
                except BaseException as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _perform(self, effect: Effect) -> object:
        if isinstance(effect, Send):
            return await self._link(effect.address, effect.lane).send(effect.commands, effect.timeout)
        if isinstance(effect, Load):
            self._enter_loop()
            async with self._room:
                effect.started()
                return await _awaited(effect.call())
        if isinstance(effect, Call):
            return await _awaited(effect.call())
        if isinstance(effect, Background):
            return self._begin(effect.steps)
        if isinstance(effect, Wait):
            await effect.event.wait()  # type: ignore[attr-defined]
            return None
        await asyncio.sleep(effect.seconds)
        return None

    def _begin(self, steps: Steps[None]) -> bool:
        self._enter_loop()
        if len(self._background) >= self._load_limit:
            return False
        task = asyncio.create_task(self.run(steps))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return True

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # What belongs to another loop, which has ended, is of no use in this one.
            self._loop, self._links, self._room = loop, {}, asyncio.Semaphore(self._load_limit)
            self._background = set()

    def _link(self, address: Address, lane: Lane) -> _Link:
        self._enter_loop()
        link = self._links.get((address, lane))
        if link is None:
            link = self._links[address, lane] = _Link(lambda: self.new_connection(address))
        return link

    def new_connection(self, address: Address, **arguments: Any) -> Any:
        # Who waits has a timer.
        timeouts = {"socket_timeout": None, "socket_connect_timeout": CONNECT_TIMEOUT}
        return self.endpoint.connection_class(**{**self.endpoint.arguments_for(address), **timeouts, **arguments})

    def forked(self) -> None:
        """In a child that was forked: connections are the parent's."""
        self._loop, self._links, self._background = None, {}, set()

    async def close(self) -> None:
        under_way = [task for task in self._background if task is not asyncio.current_task()]
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()


async def _within(seconds: float, steps: Coroutine[Any, Any, None]) -> None:
    """Raises what they raise, and asyncio.TimeoutError.

    Unlike wait_for (before Python 3.12), it never loses that its caller is cancelled while they end by themselves.
    """
    task = asyncio.ensure_future(steps)
    # Whoever is cancelled does not ask what has become of it.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    finally:
        task.cancel()
    if not done:
        raise asyncio.TimeoutError
    task.result()


async def _awaited(value: object) -> object:
    return await value if inspect.isawaitable(value) else value


class Follower:
    """A task that hears of invalidations, and tells the L1."""

    def __init__(
        self,
        driver: Driver,
        cache: Heeding,
        settings: L1,
        prefix: str,
        probe_key: str,
        addresses: Callable[[], Awaitable[list[Address]]],
        probe: Callable[[], Awaitable[None]],
    ) -> None:
        self._driver = driver
        self._cache = cache
        self._settings = settings
        self._prefix = prefix
        self._probe_key = probe_key
        self._addresses = addresses
        self._probe = probe
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """If it does not run in this loop."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._cache.lose()
            self._task = loop.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self._follow(await self._addresses())
            except Exception as error:
                level = logging.DEBUG if str(error) == self._said else logging.WARNING
                self._said = str(error)
                log.log(level, "the L1 follows anew: %s", error)
            finally:
                self._cache.lose()
            await asyncio.sleep(PAUSE)

    async def _follow(self, addresses: list[Address]) -> None:
        """To all of them, until one is lost or others are there."""
        if self._settings.follow == "channel":
            addresses = addresses[:1]
        connections: list[Any] = []
        listeners: list[asyncio.Task[None]] = []
        try:
            for address in addresses:
                connection = self._driver.new_connection(address, protocol=3)
                connections.append(connection)
                await _within(LOST_AFTER, self._begin(connection))
                if self._settings.follow == "channel":
                    try:
                        await _within(LOST_AFTER, self._hear_probe(connection))
                    except asyncio.TimeoutError:
                        raise NothingHeard(self._settings.channel) from None
            self._cache.follow(None if self._settings.follow == "channel" else addresses)
            heard = [asyncio.Event() for _ in connections]
            listeners = [
                asyncio.ensure_future(self._listen(connection, event))
                for connection, event in zip(connections, heard, strict=True)
            ]
            watch = asyncio.ensure_future(self._watch(addresses, connections, heard))
            listeners.append(watch)
            done, _ = await asyncio.wait(listeners, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in listeners:
                task.cancel()
            for connection in connections:
                await connection.disconnect(nowait=True)

    async def _begin(self, connection: Any) -> None:
        await connection.connect()

        async def same(response: object) -> object:
            return response

        # Without it the parser calls a handler of its own.
        connection._parser.set_invalidation_push_handler(same)
        for command in start_commands(self._settings, self._prefix):
            await connection.send_command(*command)
            while True:
                response = await self._read(connection)
                if not is_push(response) or take_push(self._cache, response):
                    break

    async def _hear_probe(self, connection: Any) -> None:
        await self._probe()
        while True:
            response = await self._read(connection)
            take_push(self._cache, response)
            if is_probe(response, self._probe_key):
                return

    async def _read(self, connection: Any) -> object:
        return await connection.read_response(disable_decoding=True, push_request=True, timeout=math.inf)

    async def _listen(self, connection: Any, heard: asyncio.Event) -> None:
        while True:
            response = await self._read(connection)
            if is_push(response):
                take_push(self._cache, response)
            else:
                heard.set()

    async def _all_heard(self, heard: list[asyncio.Event]) -> None:
        for event in heard:
            await event.wait()

    async def _watch(self, addresses: list[Address], connections: list[Any], heard: list[asyncio.Event]) -> None:
        """A question each second: who does not answer is lost, and messages with it."""
        while True:
            for connection, event in zip(connections, heard, strict=True):
                event.clear()
                await connection.send_command(*CHANNEL_PING, check_health=False)
            await _within(LOST_AFTER, self._all_heard(heard))
            await asyncio.sleep(1.0)
            if self._settings.follow == "tracking" and (await self._addresses()) != addresses:
                return
