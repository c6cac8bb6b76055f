"""What is asked of whom, how often and for how long: all that a client has to know of servers, and nothing of what it
asks them. No sockets, no threads, no event loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from redis_apikey._effects import Address, Call, Command, ErrorReply, Lane, NoReply, Sleep, Steps, send
from redis_apikey._errors import ApiKeysError, ChangeNotTold, CommandRefused, RedisUnavailable
from redis_apikey._l1 import Cache
from redis_apikey._replies import good
from redis_apikey._results import Change
from redis_apikey._servers import Breaker, Servers, address_in
from redis_apikey._settings import Outages

log = logging.getLogger("redis_apikey")

Q = TypeVar("Q", bound=Hashable)
V = TypeVar("V")

PASSING = frozenset(
    ("ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "PARTIAL", "READONLY", "TRYAGAIN", "UNBLOCKED")
)
"""Errors after which a change, a lease or an acknowledgement is said again."""

SLOW_ATTEMPT = 2.0
"""Seconds that one attempt of a call may take that waits for other nodes: more than `apikey.cluster-timeout-ms`."""

REDIRECTIONS = 5
COMMANDS_AT_ONCE = 200
MOST_WARNINGS = 100

ELSEWHERE = frozenset(("ASK", "CLUSTERDOWN", "MOVED", "TRYAGAIN"))
"""Errors of a node that has not the key."""


def lasts(error: ApiKeysError) -> bool:
    """Whether it is of no use to say the same again."""
    return isinstance(error, CommandRefused) and error.code not in PASSING


@dataclass(slots=True)
class Told:
    """The commands that tell a change: those of keys, and the tags."""

    keys: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    soft: bool = False
    """What the tags kill is only stale, where it has a grace."""


class Exchange:
    """Every method that yields is carried out by a driver."""

    def __init__(
        self,
        outages: Outages,
        seeds: Sequence[Address],
        cluster: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outages = outages
        self.servers = Servers(seeds, cluster, lambda: Breaker(outages.breaker_failures, outages.breaker_pause, clock))
        self._warned: set[str] = set()
        self._clock = clock

    def ask(
        self,
        key: str | None,
        commands: Sequence[Command],
        *,
        repeat: bool,
        timeout: float | None = None,
        spare: bool = True,
        lane: Lane = "quick",
        at: Address | Literal["owner"] = "owner",
        by: list[Address] | None = None,
    ) -> Steps[list[object]]:
        """The replies to commands of one slot, within `timeout` seconds (those of the settings) in all.

        A command that may have been carried out is sent again only if `repeat`. `spare`: leave a server alone that
        did not answer lately. Each that replied is appended to `by`. Raises RedisUnavailable; error replies are among
        the replies.
        """
        deadline = self._clock() + (self._outages.timeout if timeout is None else timeout)
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
                replies = yield from send(to, sent, left, lane)
            except NoReply as error:
                if error.refused:
                    self.warn("redis does not let us in", error.cause)
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
                replies = yield from send(address, (("CLUSTER", "SLOTS"),), left / 3, "quick")
            except NoReply as error:
                if error.refused:
                    self.warn("redis does not let us in", error.cause)
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
            yield from self._read_owners(self._clock() + self._outages.change_timeout)
        return self.servers.primaries()

    def know_primaries(self) -> Steps[None]:
        """Where none are known yet, or some are in doubt."""
        if self.servers.in_doubt:
            yield from self._read_owners(self._clock() + self._outages.timeout)

    def probe(self, key: str) -> Steps[None]:
        """Invalidates what is not there, so that who follows the channel hears of it."""
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
        deadline = self._clock() + self._outages.change_timeout if deadline is None else deadline
        pause = 0.02
        while True:
            try:
                return (yield from self._attempt(key, commands, deadline, at))
            except (RedisUnavailable, CommandRefused) as error:
                if lasts(error) or self._clock() + pause >= deadline:
                    raise
            yield Sleep(pause)
            pause = min(pause * 2, 0.5)

    def _attempt(
        self, key: str | None, commands: Sequence[Command], deadline: float, at: Address | Literal["owner"] = "owner"
    ) -> Steps[list[object]]:
        """Once, within what is left. Raises RedisUnavailable, CommandRefused: the refusal that lasts, if one does."""
        left = min(deadline - self._clock(), SLOW_ATTEMPT)
        replies = yield from self.ask(key, commands, repeat=True, timeout=left, spare=False, lane="slow", at=at)
        refusals = [CommandRefused(reply.text) for reply in replies if isinstance(reply, ErrorReply)]
        if refusals:
            raise next((refusal for refusal in refusals if lasts(refusal)), refusals[0])
        return replies

    def _insist_on_each(self, parts: Sequence[tuple[str | None, Sequence[Command]]]) -> Steps[int]:
        """As `insist`, of several: what fails keeps none of the others from being tried. The sum of the replies.

        So they are tried in turns, and of a server that does not answer each turn waits once.
        """
        deadline = self._clock() + self._outages.change_timeout
        pause = 0.02
        failed: ApiKeysError | None = None
        total = 0
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
                    replies = yield from self._attempt(key, commands, deadline)
                    total += sum(reply for reply in replies if isinstance(reply, int))
                except (RedisUnavailable, CommandRefused) as error:
                    if isinstance(error, CommandRefused) and lasts(error):
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
        return total

    def one(self, key: str | None, command: Command, *, repeat: bool, timeout: float | None = None) -> Steps[object]:
        """The reply to one command. Raises RedisUnavailable, CommandRefused."""
        return good((yield from self.ask(key, (command,), repeat=repeat, timeout=timeout))[0])

    def warn(self, what: str, error: str) -> None:
        """Of each error once: where one call gets it, all the others do."""
        said = f"{what}: {error}"
        is_new = said not in self._warned and len(self._warned) < MOST_WARNINGS
        if is_new:
            self._warned.add(said)
        log.log(logging.WARNING if is_new else logging.DEBUG, "%s", said)

    def cant_say(self, error: RedisUnavailable | CommandRefused) -> None:
        """Of a read. What was refused for good is a server without the module, or a user who may not."""
        if lasts(error):
            self.warn("redis refuses to say", str(error))
        else:
            log.debug("redis can't say: %s", error)

    def read(
        self,
        l1: Cache[Q, V] | None,
        key: str,
        command: Command,
        asked: Q,
        kept: Callable[[list[object]], tuple[V, int] | None],
    ) -> Steps[list[object]]:
        """The reply of a command that reads a key.

        `kept` says of it what an L1 keeps that follows what is invalidated, and for how many milliseconds (-1: it does
        not end by itself). Raises RedisUnavailable, CommandRefused.
        """
        asking = None if l1 is None else l1.asking(key)
        if l1 is None or asking is None:
            return cast("list[object]", (yield from self.one(key, command, repeat=True)))
        is_kept = False
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
            found = kept(answer) if isinstance(tags, list) and l1.hears(by[-1]) else None
            if found is not None:
                l1.answered(asking, asked, found[0], found[1], tags or ())
                is_kept = True
            return answer
        finally:
            if not is_kept:
                l1.answered(asking)

    # ---------------------------------------------------------------- changes

    def change(
        self, change: Change, outbox: Callable[[Change], object] | None, by_tags: Command | None = None
    ) -> Steps[int]:
        """Tells a change. What can't be told is given to the outbox, and raises ChangeNotTold all the same."""
        try:
            return (yield from self.tell(change, by_tags))
        except ChangeNotTold as error:
            kept = yield from self.keep(change, outbox)
            raise ChangeNotTold(change, str(error), kept=kept) from error.__cause__
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            # The caller was cancelled or interrupted, and its change is committed.
            yield from self.keep(change, outbox)
            raise

    def keep(self, change: Change, outbox: Callable[[Change], object] | None) -> Steps[bool]:
        if outbox is None:
            return False
        try:
            yield Call(lambda: outbox(change))
        except Exception:
            log.exception("the outbox raised")
            return False
        return True

    def tell(self, change: Change, by_tags: Command | None = None) -> Steps[int]:
        """Until all have replied; returns how many entries there were, as far as one knows.

        `by_tags` is said in the place of TAGINVAL. Raises ChangeNotTold, and ValueError for what is not this client's.
        """
        told = self._told(change)
        self._drop(change, told)
        # Each key by itself: while their slot moves, an INVAL of two would have to find both at one node.
        commands: list[Command] = [("APIKEY.INVAL", name) for name in told.keys]
        if told.tags:
            # First: one command for most of what there is.
            first = ("CACHE.TAGINVAL", "SOFT") if told.soft else ("APIKEY.TAGINVAL",)
            commands.insert(0, by_tags or (*first, *told.tags))
        parts: list[tuple[str | None, Sequence[Command]]]
        if self.servers.cluster:
            parts = [(str(command[1]) if command[0] == "APIKEY.INVAL" else None, (command,)) for command in commands]
        else:
            firsts = range(0, len(commands), COMMANDS_AT_ONCE)
            parts = [(None, commands[first : first + COMMANDS_AT_ONCE]) for first in firsts]
        try:
            return (yield from self._insist_on_each(parts))
        except (RedisUnavailable, CommandRefused) as error:
            raise ChangeNotTold(change, str(error), kept=False) from error
        finally:
            # Once more: an answer may have come meanwhile that was asked for before.
            self._drop(change, told)

    def _told(self, change: Change) -> Told:
        """What is to be said of a change. Raises ValueError for one that is another client's."""
        raise NotImplementedError

    def _drop(self, change: Change, told: Told) -> None:
        """Drops what an L1 of this process has of it."""
        raise NotImplementedError
