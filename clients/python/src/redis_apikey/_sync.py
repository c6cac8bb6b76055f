"""The driver for threads: a connection for each call under way."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.sentinel import SentinelConnectionPool

from redis_apikey._effects import Address, Background, Call, Command, Effect, Load, NoReply, Send, Steps, Wait
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
from redis_apikey._sentinels import Sentinels
from redis_apikey._settings import L1

log = logging.getLogger("redis_apikey")

T = TypeVar("T")

CLOSE_TIMEOUT = 1.0
"""Seconds that closing waits for the thread of the L1, and for loads of the background."""


class _Socket:
    """A socket whose reads all end by one deadline, however many there are: a reply may come byte by byte."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self.deadline: float | None = None

    def _limit(self) -> None:
        if self.deadline is None:
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._plain.settimeout(left)

    def recv(self, *arguments: Any) -> Any:
        self._limit()
        return self._plain.recv(*arguments)

    def recv_into(self, *arguments: Any) -> Any:
        self._limit()
        return self._plain.recv_into(*arguments)

    def sendall(self, *arguments: Any) -> Any:
        self._limit()
        return self._plain.sendall(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


def _bounded(connection_class: Any, sentinels: Sentinels | None = None) -> Any:
    """The same connections, all of whose waiting ends by `deadline`: connecting, the handshake and replies.

    `sentinels`: who says where they go.
    """

    class Bounded(connection_class):  # type: ignore[misc]
        deadline: float | None = None

        def wait_until(self, deadline: float | None) -> None:
            self.deadline = deadline
            if self._sock is not None:
                self._sock.deadline = deadline

        def connect(self) -> None:
            if sentinels is None:
                super().connect()
            elif self._sock is None:
                # Each connection asks again: so it goes to whom a failover has made the primary.
                self.connect_to(sentinels.primary(self.deadline or time.monotonic() + LOST_AFTER))

        @property
        def socket_connect_timeout(self) -> float | None:
            """Looked up for each address that a name has: they share the time."""
            return self._connect_timeout if self.deadline is None else self._left()

        @socket_connect_timeout.setter
        def socket_connect_timeout(self, seconds: float | None) -> None:
            self._connect_timeout = seconds

        def _left(self) -> float:
            return 0.001 if self.deadline is None else max(self.deadline - time.monotonic(), 0.001)

        def _connect(self) -> _Socket:
            sock = _Socket(super()._connect())
            sock.deadline = self.deadline
            return sock

        def _wrap_socket_with_ssl(self, plain: Any) -> Any:
            if self.deadline is not None:
                # The handshake of TLS, which would have redis-py's own timeout.
                plain.settimeout(self._left())
            return super()._wrap_socket_with_ssl(plain)

    return Bounded


class Driver:
    """Carries out what the protocol asks, in the caller's thread."""

    def __init__(self, client: Any, cluster: bool, load_limit: int) -> None:
        self.client = client
        self.endpoint: Endpoint = endpoint_of(client, Connection, SSLConnection, cluster)
        pool = getattr(client, "connection_pool", None)
        sentinels = None
        if isinstance(pool, SentinelConnectionPool) and pool.is_master:
            sentinels = Sentinels(pool, _bounded)
        self._bounded = _bounded(self.endpoint.connection_class, sentinels)
        self._load_limit = load_limit
        self._room = threading.BoundedSemaphore(load_limit)
        self._idle: dict[Address, list[Any]] = {}
        self._background: set[threading.Thread] = set()

    new_event = staticmethod(threading.Event)

    def run(self, steps: Steps[T]) -> T:
        try:
            effect = next(steps)
            while True:
                try:
                    value = self._perform(effect)
                except BaseException as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _perform(self, effect: Effect) -> object:
        if isinstance(effect, Send):
            return self._send(effect.address, effect.commands, effect.timeout)
        if isinstance(effect, Load):
            with self._room:
                effect.started()
                return effect.call()
        if isinstance(effect, Call):
            return effect.call()
        if isinstance(effect, Background):
            return self._begin(effect.steps)
        if isinstance(effect, Wait):
            effect.event.wait()  # type: ignore[attr-defined]
            return None
        time.sleep(effect.seconds)
        return None

    def _begin(self, steps: Steps[None]) -> bool:
        if len(self._background) >= self._load_limit:
            return False

        def run() -> None:
            try:
                self.run(steps)
            finally:
                self._background.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="redis-apikey-refresh", daemon=True)
        self._background.add(thread)
        thread.start()
        return True

    def _send(self, address: Address, commands: Sequence[Command], timeout: float) -> list[object]:
        deadline = time.monotonic() + timeout
        connection = self._connection(address)
        sent = False
        try:
            packed = pack(connection, commands)
        except ValueError:
            self._idle.setdefault(address, []).append(connection)
            raise
        try:
            connection.wait_until(deadline)
            if not connection.is_connected:
                connection.connect()
            sent = True
            connection.send_packed_command(packed, check_health=False)
            replies: list[object] = []
            for _ in commands:
                try:
                    replies.append(settled(connection.read_response(disable_decoding=True)))
                except (ResponseError, AuthenticationError) as error:
                    replies.append(error_reply(error))
        except BusyLoadingError as error:
            connection.disconnect()
            return [error_reply(error)] * len(commands)
        except RedisTimeout as error:
            connection.disconnect()
            raise NoReply(f"no reply within {timeout:.3f} s", maybe_done=sent, timed_out=True) from error
        except (AuthenticationError, ResponseError) as error:
            connection.disconnect()
            raise NoReply(error_reply(error).text, maybe_done=sent, timed_out=False, refused=True) from error
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise NoReply(
                str(error) or type(error).__name__, maybe_done=sent, timed_out=time.monotonic() >= deadline
            ) from error
        except BaseException:
            # Its reply may come yet, and is nobody else's.
            connection.disconnect()
            raise
        connection.wait_until(None)
        self._idle.setdefault(address, []).append(connection)
        return replies

    def _connection(self, address: Address) -> Any:
        idle = self._idle.get(address)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:
                break
            try:
                # What can be read of an idle connection is its end.
                if connection.is_connected and not connection.can_read(0):
                    return connection
            except (RedisError, OSError):
                pass
            connection.disconnect()
        return self._bounded(**self.endpoint.arguments_for(address))

    def new_connection(self, address: Address, **arguments: Any) -> Any:
        return self._bounded(**{**self.endpoint.arguments_for(address), **arguments})

    def forked(self) -> None:
        """In a child that was forked: connections are the parent's, and so are the loads under way."""
        self._idle, self._background = {}, set()
        self._room = threading.BoundedSemaphore(self._load_limit)

    def close(self) -> None:
        until = time.monotonic() + CLOSE_TIMEOUT
        for thread in list(self._background):
            if thread is not threading.current_thread():
                thread.join(max(until - time.monotonic(), 0.0))
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.disconnect()


class Follower:
    """A thread that hears of invalidations, and tells the L1."""

    def __init__(
        self,
        driver: Driver,
        cache: Heeding,
        settings: L1,
        prefix: str,
        probe_key: str,
        addresses: Callable[[], list[Address]],
        probe: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._cache = cache
        self._settings = settings
        self._prefix = prefix
        self._probe_key = probe_key
        self._addresses = addresses
        self._probe = probe
        self._said = ""
        self._closed = threading.Event()
        self._pid: int | None = None
        self._thread: threading.Thread | None = None
        self._waker: socket.socket | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """If it does not run in this process."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._cache.lose()
                self._waker = None
                self._thread = threading.Thread(target=self._run, name="redis-apikey-l1", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Waits for the thread, unless it waits for a server itself."""
        self._closed.set()
        if self._pid != os.getpid() or self._thread is None:
            # None runs here: in a child that was forked these are the parent's.
            return
        waker = self._waker
        if waker is not None:
            with contextlib.suppress(OSError):
                waker.send(b".")
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_TIMEOUT)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow(self._addresses())
            except Exception as error:
                level = logging.DEBUG if str(error) == self._said else logging.WARNING
                self._said = str(error)
                log.log(level, "the L1 follows anew: %s", error)
            finally:
                self._cache.lose()
            self._closed.wait(PAUSE)

    def _follow(self, addresses: list[Address]) -> None:
        """To all of them, until one is lost or others are there."""
        if self._settings.follow == "channel":
            addresses = addresses[:1]
        connections = []
        try:
            for address in addresses:
                connection = self._driver.new_connection(
                    address, protocol=3, socket_timeout=LOST_AFTER, socket_connect_timeout=LOST_AFTER
                )
                connections.append(connection)
                connection.wait_until(time.monotonic() + LOST_AFTER)
                connection.connect()
                connection.wait_until(None)
                # Without it the parser calls a handler of its own.
                connection._parser.set_invalidation_push_handler(lambda response: response)
                for command in start_commands(self._settings, self._prefix):
                    connection.send_command(*command)
                    self._settle(connection)
                if self._settings.follow == "channel":
                    self._hear_probe(connection)
            self._cache.follow(None if self._settings.follow == "channel" else addresses)
            self._listen(addresses, connections)
        finally:
            for connection in connections:
                connection.disconnect()

    def _settle(self, connection: Any) -> None:
        """Reads a reply; pushes that come before it are heeded."""
        while True:
            response = connection.read_response(
                disable_decoding=True, push_request=True, timeout=LOST_AFTER, disconnect_on_error=False
            )
            if not is_push(response):
                return
            if take_push(self._cache, response):
                return

    def _hear_probe(self, connection: Any) -> None:
        self._probe()
        until = time.monotonic() + LOST_AFTER
        while (left := until - time.monotonic()) > 0:
            if connection.can_read(left):
                response = connection.read_response(disable_decoding=True, push_request=True, timeout=LOST_AFTER)
                take_push(self._cache, response)
                if is_probe(response, self._probe_key):
                    return
        raise NothingHeard(self._settings.channel)

    def _listen(self, addresses: list[Address], connections: list[Any]) -> None:
        woken, waker = socket.socketpair()
        with woken, waker, selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            self._waker = waker
            for connection in connections:
                selector.register(connection._get_socket(), selectors.EVENT_READ)
            while not self._closed.is_set():
                for connection in connections:
                    # A question for each round: who does not answer is lost, and messages with it.
                    connection.send_command(*CHANNEL_PING, check_health=False)
                    self._settle(connection)
                until = time.monotonic() + 1.0
                while (left := until - time.monotonic()) > 0 and not self._closed.is_set():
                    for connection in connections:
                        while connection.can_read(0):
                            response = connection.read_response(
                                disable_decoding=True, push_request=True, timeout=LOST_AFTER
                            )
                            take_push(self._cache, response)
                    selector.select(left)
                if self._settings.follow == "tracking" and self._addresses() != addresses:
                    return
