"""A cache of answers in the application's memory: of VALID ones, and of values of a region.

What holds: an answer is given for what was asked (key, secret, scopes, address; or a name) and nothing else, never
beyond `max_age` nor beyond its own end, and not after the message of its invalidation has come. Nothing is kept while
no messages come, nor an answer during whose asking a message came that may have been about it. All goes at once when
messages may have been missed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Generic, Protocol, TypeAlias, TypeVar

from redis_apikey._effects import Address
from redis_apikey._settings import L1 as Limits

Q = TypeVar("Q", bound=Hashable)
V = TypeVar("V")

Question: TypeAlias = "tuple[bytes, tuple[str, ...], str | None]"


def question(presented: str, scopes: tuple[str, ...], address: str | None) -> Question:
    """What an answer is kept under: no secret is."""
    return sha256(presented.encode("utf-8", "surrogatepass")).digest(), scopes, address


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    key: bytes
    tags: frozenset[bytes]
    ends: float


@dataclass(slots=True, eq=False)
class Asking:
    """An answer that is under way: what was invalidated meanwhile."""

    key: bytes
    asked: float
    generation: int
    keys: bool = False
    tags: set[bytes] = field(default_factory=set)
    all: bool = False


class Heeding(Protocol):
    """What is told by messages."""

    def heed(self, message: bytes) -> None: ...

    def heed_tracking(self, keys: object) -> None: ...

    def follow(self, addresses: Iterable[Address] | None = None) -> None: ...

    def lose(self) -> None: ...


class Cache(Generic[Q, V]):
    """Of answers to questions.

    `keep_stale`: what is dropped because messages may be missed is kept apart for when Redis does not answer.
    """

    def __init__(self, limits: Limits, keep_stale: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._keep_stale = keep_stale
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Q, _Entry[V]] = {}
        self._stale: dict[Q, _Entry[V]] = {}
        self._by_name: dict[bytes, set[Q]] = {}
        """Of keys and tags: what stands under them. Neither can be taken for the other: a key has a brace."""
        self._asking: dict[bytes, set[Asking]] = {}
        self._numbers: dict[str, int] = {}
        self._following = False
        self._followed: frozenset[Address] | None = None
        """Whose messages come; None: everybody's."""
        self._generation = 0

    @property
    def needs_tags(self) -> bool:
        """Whether messages name tags: then each answer comes with its own."""
        return self._limits.follow == "channel"

    def get(self, question: Q) -> V | None:
        """What is kept."""
        entry = self._entries.get(question)
        if entry is None or self._clock() >= entry.ends:
            return None
        return entry.value

    def get_stale(self, question: Q) -> V | None:
        """The same, of what was true when messages last came."""
        entry = self._entries.get(question) or self._stale.get(question)
        if entry is None or self._clock() >= entry.ends:
            return None
        return entry.value

    def asking(self, key: str) -> Asking | None:
        """To be said before the server is asked; None: nothing can be kept now."""
        if not self._following:
            return None
        asking = Asking(key.encode("utf-8", "surrogatepass"), self._clock(), self._generation)
        with self._lock:
            self._asking.setdefault(asking.key, set()).add(asking)
        return asking

    def answered(
        self,
        asking: Asking,
        question: Q | None = None,
        value: V | None = None,
        left_ms: int = -1,
        tags: Iterable[bytes] = (),
    ) -> None:
        """To be said whatever the answer was; with a value it is kept if it still can be."""
        with self._lock:
            others = self._asking.get(asking.key)
            if others is not None:
                others.discard(asking)
                if not others:
                    del self._asking[asking.key]
            carried = frozenset(tags)
            outdated = asking.keys or asking.all or not asking.tags.isdisjoint(carried)
            if (
                question is None
                or value is None
                or outdated
                or not self._following
                or asking.generation != self._generation
            ):
                return
            age = self._limits.max_age if left_ms < 0 else min(self._limits.max_age, left_ms / 1000)
            self._forget(question)
            while len(self._entries) >= self._limits.max_entries:
                self._forget(next(iter(self._entries)))
            self._entries[question] = _Entry(value, asking.key, carried, asking.asked + age)
            self._stale.pop(question, None)
            for name in (asking.key, *carried):
                self._by_name.setdefault(name, set()).add(question)

    def _forget(self, question: Q) -> None:
        entry = self._entries.pop(question, None)
        if entry is None:
            return
        for name in (entry.key, *entry.tags):
            there = self._by_name.get(name)
            if there is not None:
                there.discard(question)
                if not there:
                    del self._by_name[name]

    def drop(self, keys: Sequence[bytes], tags: Sequence[bytes] = ()) -> None:
        """What these were about is no longer true."""
        with self._lock:
            self._drop(keys, tags)

    def _drop(self, keys: Sequence[bytes], tags: Sequence[bytes]) -> None:
        for key in keys:
            for asking in self._asking.get(key, ()):
                asking.keys = True
        if tags:
            for askings in self._asking.values():
                for asking in askings:
                    asking.tags.update(tags)
        for name in (*keys, *tags):
            for question in list(self._by_name.get(name, ())):
                self._forget(question)
        if self._stale:
            gone = {*keys, *tags}
            self._stale = {
                question: entry
                for question, entry in self._stale.items()
                if entry.key not in gone and gone.isdisjoint(entry.tags)
            }

    def drop_told(self, keys: Sequence[str], tags: Sequence[str], is_of_tags: Callable[[V], bool] | None) -> None:
        """What this process has changed itself: by names, and by what is kept.

        CLIENT TRACKING names no tags, so that entries are looked through for those that `is_of_tags`.
        """
        with self._lock:
            self._drop([key.encode() for key in keys], [tag.encode() for tag in tags])
            if self.needs_tags or is_of_tags is None:
                return
            for askings in self._asking.values():
                for asking in askings:
                    asking.all = True
            for entries in (self._entries, self._stale):
                for question, entry in list(entries.items()):
                    if is_of_tags(entry.value):
                        self._forget(question)
                        self._stale.pop(question, None)

    def clear(self) -> None:
        """Everything may be outdated."""
        with self._lock:
            self._clear()
            self._stale.clear()

    def _clear(self) -> None:
        self._generation += 1
        self._entries.clear()
        self._by_name.clear()
        self._numbers.clear()

    def follow(self, addresses: Iterable[Address] | None = None) -> None:
        """Messages come from now on: those of these servers, or of all."""
        with self._lock:
            self._clear()
            self._stale.clear()
            self._followed = None if addresses is None else frozenset(addresses)
            self._following = True

    def hears(self, address: Address) -> bool:
        """Whether an answer of this server can be kept: one that a slot has moved to may not be followed yet."""
        followed = self._followed
        return followed is None or address in followed

    def lose(self) -> None:
        """Messages may be missed from now on."""
        with self._lock:
            if self._keep_stale:
                self._stale.update(self._entries)
            self._following = False
            self._clear()

    def forked(self) -> None:
        """In a child that was forked: nobody hears of anything, and the lock may be another's for ever."""
        self._lock = threading.Lock()
        self._following = False
        self._asking = {}
        self._entries, self._stale, self._by_name = {}, {}, {}
        self._generation += 1

    def heed(self, message: bytes) -> None:
        """A message of the channel. What is none of the module's clears all."""
        try:
            told = json.loads(message)
            run, number = str(told["run"]), int(told["number"])
            keys = [_name(name) for name in told.get("keys", ())]
            tags = [_name(name) for name in told.get("tags", ())]
        except (KeyError, TypeError, ValueError):
            self.clear()
            return
        with self._lock:
            missed = self._numbers.get(run) != number - 1
            if missed or told.get("flushed"):
                numbers = {**self._numbers, run: number}
                self._clear()
                self._stale.clear()
                self._numbers = numbers
                return
            self._numbers[run] = number
            self._drop(keys, tags)

    def heed_tracking(self, keys: object) -> None:
        """A message of CLIENT TRACKING: keys, or None where the server can't say which."""
        if isinstance(keys, list):
            self.drop([key for key in keys if isinstance(key, bytes)])
        else:
            self.clear()


def _name(name: object) -> bytes:
    """As the server has it: text, or bytes in hex."""
    if isinstance(name, dict):
        return bytes.fromhex(name["hex"])
    if isinstance(name, str):
        return name.encode()
    raise TypeError(name)
