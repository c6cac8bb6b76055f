"""The protocol of regions: what is asked in which order, and what that means. `_exchange.py` knows servers.

What makes it safe:

- A value is loaded after its token was had, and stored with it, so that the server refuses what an invalidation has
  overtaken.
- One reader in the fleet loads, where the region has a LEASE: the others are told WAIT. A lease that is not used is
  given back, so that nobody waits for who does not come; and nobody waits longer than `patience`, whatever is said.
- In the process one load of a key is under way, and who waits for it takes what it brings only where it began later.
- What is handed out was made of bytes for each caller: it is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from redis_apikey._effects import (
    Argument,
    Background,
    Call,
    Command,
    ErrorReply,
    Sleep,
    Steps,
)
from redis_apikey._errors import ChangeNotTold, CommandRefused, RedisUnavailable
from redis_apikey._flights import Again, Flight, LoadFailed
from redis_apikey._names import RegionNames
from redis_apikey._replies import as_map, good, px, tags_option, text
from redis_apikey._results import Change, ValueSource
from redis_apikey._servers import slot_of
from redis_apikey._settings import L1, check_seconds
from redis_apikey._shared import Shared
from redis_apikey._values import Codec, Sealed, Unreadable

log = logging.getLogger("redis_apikey")

T = TypeVar("T")

NOT_MADE: Any = object()

NO_TOKEN = b"0"
"""Given where every fill is refused: by a replica, or while the module is switched off."""

MOST_KEYS = 1000
"""Of one CACHE.MGET or CACHE.MSET."""

MOST_TOGETHER = 16 * 1024 * 1024
"""Bytes of values in one CACHE.MSET."""

Tags: TypeAlias = "Sequence[str] | Callable[[Any], Sequence[str]]"
Outbox: TypeAlias = "Callable[[Change], object] | None"
Alike: TypeAlias = "tuple[int, str, tuple[str, ...], int]"
"""What one CACHE.MSET can carry: the slot, the label, the tags; and how many were full before."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How what was loaded is stored. Times are in seconds. Raises TypeError, ValueError."""

    tags: Tags = ()
    ttl: float | None = None
    grace: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tags, (str, bytes)):
            raise TypeError("tags must be several texts, or a function of the value")
        for name in ("ttl", "grace"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name))

    def with_own(self, tags: Tags, ttl: float | None, grace: float | None) -> Fill:
        """The same, with what is given."""
        return Fill(tags, self.ttl if ttl is None else ttl, self.grace if grace is None else grace)

    def tags_of(self, value: object) -> tuple[str, ...]:
        return tuple(self.tags(value) if callable(self.tags) else self.tags)

    def times(self) -> tuple[Argument, ...]:
        grace = () if self.grace is None else ("GRACE", max(int(self.grace * 1000), 1))
        return (*px(self.ttl), *grace)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a region answers, as bytes of its serializer; None: its source has no such thing."""

    plain: bytes | None
    source: ValueSource
    value: Any = NOT_MADE
    """The value, where it was made of the bytes already."""


@dataclass(frozen=True, slots=True)
class Said:
    """GET's reply. `plain` and `value` are of HIT and STALE."""

    code: str
    plain: bytes | None = None
    value: Any = NOT_MADE
    token: bytes | None = None
    retry: float = 0.0
    """Seconds, of WAIT."""
    left_ms: int = 0
    unreadable: bool = False
    """There is a value, which is none for us."""


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """All times are in seconds. `Cache.region` says what each is."""

    patience: float = 5.0
    backoff: float = 0.5
    refresh_ahead: bool = True
    one_slot: bool = False
    l1: L1 | None = None

    def __post_init__(self) -> None:
        for name in ("patience", "backoff"):
            check_seconds(name, getattr(self, name))
        if self.l1 is not None and not isinstance(self.l1, L1):
            raise TypeError(f"l1 must be an L1 or None, not {type(self.l1).__name__}")


class RegionProtocol:
    """Of one region. Every method that yields is carried out by a driver."""

    def __init__(self, shared: Shared, names: RegionNames, codec: Codec, settings: RegionSettings) -> None:
        if shared.outages.when_down == "stale" and settings.l1 is None:
            raise ValueError('when_down="stale" needs an l1')
        self.shared = shared
        self.names = names
        self.codec = codec
        self.settings = settings
        self.l1 = shared.new_l1(settings.l1) if settings.l1 else None

    # ---------------------------------------------------------------- values

    def value(self, kept: Kept) -> Any:
        """The caller's own."""
        if kept.value is not NOT_MADE:
            return kept.value
        return None if kept.plain is None else self.codec.serializer.loads(kept.plain)

    def _made(self, plain: bytes) -> object:
        """Raises Unreadable: it may have been written by another version of the application."""
        try:
            return self.codec.serializer.loads(plain)
        except Exception as error:
            raise Unreadable(f"its bytes are not of the serializer: {error}") from None

    def from_l1(self, key: str) -> Kept | None:
        """The short way, in which nobody is asked."""
        plain = None if self.l1 is None else self.l1.get(self.names.entry(key))
        return None if plain is None else Kept(plain, "l1")

    # ---------------------------------------------------------------- asking

    def get_command(self, name: str) -> Command:
        return ("CACHE.GET", name, self.names.region, *self.names.option())

    def _said(self, key: str, reply: list[object]) -> Said:
        code = text(reply[0])
        if code in ("HIT", "STALE"):
            last = 5 if code == "HIT" else 4
            token = cast("bytes | None", reply[last]) if len(reply) > last else None
            try:
                plain = self.codec.open(key, cast(bytes, reply[1]), cast("bytes | None", reply[2]))
                value = self._made(plain)
            except Unreadable as error:
                self.shared.warn(f"a value of the region {self.names.region} can't be read", str(error))
                return Said("MISS", token=_useful(token), unreadable=True)
            return Said(code, plain, value, _useful(token), left_ms=cast(int, reply[4]) if code == "HIT" else 0)
        if code == "MISS":
            return Said(code, token=_useful(cast(bytes, reply[1])))
        if code == "WAIT":
            return Said(code, retry=cast(int, reply[2]) / 1000)
        return Said("ABSENT")

    def _ask(self, key: str, name: str) -> Steps[Said]:
        """Raises RedisUnavailable, CommandRefused."""
        seen: list[Said] = []

        def kept(reply: list[object]) -> tuple[bytes, int] | None:
            seen.append(self._said(key, reply))
            said = seen[-1]
            # What is about to be refreshed is not kept, nor what is no good any more.
            is_good = said.code == "HIT" and said.plain is not None and said.token is None
            return (cast(bytes, said.plain), said.left_ms) if is_good else None

        reply = yield from self.shared.read(self.l1, name, self.get_command(name), name, kept)
        said = seen[-1] if seen else self._said(key, reply)
        if said.unreadable and said.token is None:
            said = Said("MISS", token=(yield from self._token(name)), unreadable=True)
        return said

    def _token(self, name: str) -> Steps[bytes | None]:
        try:
            return _useful(cast(bytes, (yield from self.shared.one(name, ("APIKEY.TOKEN", name), repeat=True))))
        except (RedisUnavailable, CommandRefused) as error:
            self.shared.cant_say(error)
            return None

    def _ask_many(self, keys: Sequence[str]) -> Steps[dict[str, Said | Exception]]:
        """In one round trip for each server: by MGET for each slot; MGET has no NS, so with one by GETs."""
        commands: list[tuple[str, Command]] = []
        asked: list[list[str]] = []
        if self.names.ns:
            for key in keys:
                name = self.names.entry(key)
                commands.append((name, self.get_command(name)))
                asked.append([key])
        else:
            for some in self._together(keys):
                names = [self.names.entry(key) for key in some]
                commands.append((names[0], ("CACHE.MGET", self.names.region, *names)))
                asked.append(some)
        found: dict[str, Said | Exception] = {}
        replies = yield from self.shared.ask_each(commands)
        for some, reply in zip(asked, replies, strict=True):
            if isinstance(reply, RedisUnavailable):
                found.update(dict.fromkeys(some, reply))
            elif isinstance(reply, ErrorReply):
                found.update(dict.fromkeys(some, CommandRefused(reply.text)))
            else:
                each = [reply] if self.names.ns else cast("list[object]", reply)
                for key, of_key in zip(some, each, strict=True):
                    if isinstance(of_key, ErrorReply):
                        found[key] = CommandRefused(of_key.text)
                        continue
                    said = self._said(key, cast("list[object]", of_key))
                    if said.unreadable and said.token is None:
                        token = yield from self._token(self.names.entry(key))
                        said = Said("MISS", token=token, unreadable=True)
                    found[key] = said
        return found

    def _together(self, keys: Sequence[str]) -> list[list[str]]:
        """Those that one command can name."""
        of: dict[int, list[str]] = {}
        for key in keys:
            of.setdefault(slot_of(self.names.entry(key)) if self.shared.servers.cluster else 0, []).append(key)
        return [some[first : first + MOST_KEYS] for some in of.values() for first in range(0, len(some), MOST_KEYS)]

    # ---------------------------------------------------------------- reading

    def get(self, key: str) -> Steps[Kept | None]:
        """None: the cache can't say. A lease that comes with the answer is given back."""
        name = self.names.entry(key)
        try:
            said = yield from self._ask(key, name)
        except (RedisUnavailable, CommandRefused) as error:
            self.shared.cant_say(error)
            return self._stale_of_l1(name)
        if said.token is not None:
            yield from self._give_back([(name, said.token)])
        return _kept(said)

    def get_many(self, keys: Sequence[str]) -> Steps[dict[str, Kept]]:
        """Those of which the cache can say something."""
        found: dict[str, Kept] = {}
        given: list[tuple[str, bytes]] = []
        for key, said in (yield from self._ask_many(_each_once(keys))).items():
            name = self.names.entry(key)
            if isinstance(said, Said):
                kept = _kept(said)
                if said.token is not None:
                    given.append((name, said.token))
            else:
                self.shared.cant_say(cast("RedisUnavailable | CommandRefused", said))
                kept = self._stale_of_l1(name)
            if kept is not None:
                found[key] = kept
        yield from self._give_back(given)
        return found

    def get_or_set(self, key: str, load: Callable[[str], object], fill: Fill, allow_stale: bool) -> Steps[Kept]:
        """Raises what `load` raises, and RedisUnavailable where the source may not be asked."""
        shared, name = self.shared, self.names.entry(key)
        began = next(shared.count)
        until = shared.clock() + self.settings.patience
        held: bytes | None = None
        while True:
            token: bytes | None = None
            stale: Said | None = None
            try:
                said = yield from self._ask(key, name)
            except (RedisUnavailable, CommandRefused) as error:
                shared.cant_say(error)
                without = self._without_redis(name, error)
                if without is not None:
                    return without
            else:
                if said.code == "HIT":
                    if said.token is not None:
                        yield from self._refresh_ahead(key, said.token, load, fill)
                    return Kept(said.plain, "cache", said.value)
                if said.code == "ABSENT":
                    return Kept(None, "cache")
                token = said.token
                if said.code == "STALE" and allow_stale:
                    if token is None:
                        return Kept(said.plain, "stale", said.value)
                    stale = said
                if said.code == "WAIT":
                    if held is not None:
                        # The lease is ours: we had it before we waited for a load of this process that was too old.
                        token = held
                    else:
                        joined = None
                        try:
                            joined = yield from shared.values.join(self._flight(name), began)
                        except Again:
                            continue
                        except LoadFailed as failed:
                            raise cast(Exception, failed.__cause__) from None
                        if joined is not None:
                            return Kept(joined[0], "loaded")
                        left = until - shared.clock()
                        if left > 0:
                            yield Sleep(min(max(said.retry, 0.001), left))
                            continue
            held = token or held
            try:
                plain = yield from shared.values.run(
                    self._flight(name), began, token is not None, partial(self._load, key, name, token, load, fill)
                )
            except Again:
                continue
            except LoadFailed as failed:
                if stale is not None:
                    log.warning("load of the region %s raised, and a stale value is given", self.names.region)
                    return Kept(stale.plain, "stale", stale.value)
                raise cast(Exception, failed.__cause__) from None
            return Kept(plain, "loaded")

    def _flight(self, *names: str) -> Hashable:
        """What is under way: bytes of another serializer are none for us, though the region is the same."""
        return (self.codec.serializer.name, *names)

    def _without_redis(self, name: str, error: RedisUnavailable | CommandRefused) -> Kept | None:
        """None: the source is to be asked. Raises RedisUnavailable."""
        if self.shared.outages.when_down == "load":
            return None
        stale = self._stale_of_l1(name)
        if stale is None:
            raise RedisUnavailable(str(error)) from error
        return stale

    def _stale_of_l1(self, name: str) -> Kept | None:
        plain = None
        if self.shared.outages.when_down == "stale" and self.l1 is not None:
            plain = self.l1.get_stale(name)
        return None if plain is None else Kept(plain, "l1")

    def _load(
        self,
        key: str,
        name: str,
        token: bytes | None,
        load: Callable[[str], object],
        fill: Fill,
        flight: Flight[bytes | None],
    ) -> Steps[bytes | None]:
        """Loads, and stores where there is a token."""
        try:
            value = yield from self.shared.values.load(flight, lambda: load(key))
            # What can't be serialised is the caller's to see, as what load raises is.
            plain = None if value is None else self.codec.serializer.dumps(value)
        except GeneratorExit:
            raise
        except BaseException as error:
            if token is not None:
                backoff = self.settings.backoff if isinstance(error, Exception) else None
                yield from self._give_back([(name, token)], backoff)
            raise
        if token is not None:
            yield from self._store(key, name, token, value, plain, fill)
        return plain

    def _refresh_ahead(self, key: str, token: bytes, load: Callable[[str], object], fill: Fill) -> Steps[None]:
        name = self.names.entry(key)
        if self.settings.refresh_ahead and (yield Background(self._refresh(key, name, token, load, fill))):
            return
        yield from self._give_back([(name, token)])

    def _refresh(self, key: str, name: str, token: bytes, load: Callable[[str], object], fill: Fill) -> Steps[None]:
        try:
            yield from self.shared.values.run(
                self._flight(name), next(self.shared.count), False, partial(self._load, key, name, token, load, fill)
            )
        except LoadFailed as failed:
            log.warning("refreshing a value of the region %s: load raised %r", self.names.region, failed.__cause__)
        except Exception:
            log.exception("a value of the region %s was not refreshed", self.names.region)

    # ---------------------------------------------------------------- reading many

    def get_or_set_many(
        self,
        keys: Sequence[str],
        load: Callable[[list[str]], object],
        fill: Fill,
        allow_stale: bool,
    ) -> Steps[dict[str, Kept]]:
        """Of each key. Raises what `load` raises, and RedisUnavailable where the source may not be asked."""
        shared = self.shared
        found: dict[str, Kept] = {}
        began = next(shared.count)
        until = shared.clock() + self.settings.patience
        asked = list(_each_once(keys))
        for key in asked:
            kept = self.from_l1(key)
            if kept is not None:
                found[key] = kept
        asked = [key for key in asked if key not in found]
        while asked:
            tokens: dict[str, bytes | None] = {}
            stale: dict[str, Kept] = {}
            ahead: dict[str, bytes] = {}
            waiting: list[str] = []
            pause = self.settings.patience
            for key, said in (yield from self._ask_many(asked)).items():
                if not isinstance(said, Said):
                    error = cast("RedisUnavailable | CommandRefused", said)
                    shared.cant_say(error)
                    without = self._without_redis(self.names.entry(key), error)
                    if without is None:
                        tokens[key] = None
                    else:
                        found[key] = without
                elif said.code in ("HIT", "ABSENT"):
                    found[key] = Kept(said.plain, "cache", None if said.code == "ABSENT" else said.value)
                    if said.token is not None:
                        ahead[key] = said.token
                elif said.code == "STALE" and allow_stale and said.token is None:
                    found[key] = Kept(said.plain, "stale", said.value)
                elif said.code == "WAIT" and shared.clock() < until:
                    waiting.append(key)
                    pause = min(pause, max(said.retry, 0.001))
                else:
                    tokens[key] = said.token
                    if said.code == "STALE" and allow_stale and said.plain is not None:
                        stale[key] = Kept(said.plain, "stale", said.value)
            if ahead:
                yield from self._refresh_many_ahead(ahead, load, fill)
            if tokens:
                # Before anybody is waited for, who may wait for these.
                found.update((yield from self._load_missing(tokens, stale, began, load, fill)))
            asked = waiting
            if asked:
                yield Sleep(max(min(pause, until - shared.clock()), 0.0))
        return {key: found[key] for key in _each_once(keys)}

    def _load_missing(
        self,
        tokens: Mapping[str, bytes | None],
        stale: Mapping[str, Kept],
        began: int,
        load: Callable[[list[str]], object],
        fill: Fill,
    ) -> Steps[dict[str, Kept]]:
        missing = tuple(tokens)
        name = self._flight(*(self.names.entry(key) for key in missing))
        try:
            loaded = yield from self.shared.batches.run(
                name, began, False, partial(self._load_many, tokens, load, fill)
            )
        except LoadFailed as failed:
            if len(stale) == len(missing):
                log.warning("load of the region %s raised, and stale values are given", self.names.region)
                return dict(stale)
            raise cast(Exception, failed.__cause__) from None
        return {key: Kept(loaded[key], "loaded") for key in missing}

    def _load_many(
        self,
        tokens: Mapping[str, bytes | None],
        load: Callable[[list[str]], object],
        fill: Fill,
        flight: Flight[dict[str, bytes | None]],
    ) -> Steps[dict[str, bytes | None]]:
        given = {self.names.entry(key): token for key, token in tokens.items() if token is not None}
        try:
            values = yield from self.shared.batches.load(flight, lambda: load(list(tokens)))
            if not isinstance(values, Mapping):
                raise TypeError(f"load must return a mapping of keys to values, not {type(values).__name__}")
            loaded = {key: values.get(key) for key in tokens}
            dumps = self.codec.serializer.dumps
            plain = {key: None if value is None else dumps(value) for key, value in loaded.items()}
        except GeneratorExit:
            raise
        except BaseException as error:
            backoff = self.settings.backoff if isinstance(error, Exception) else None
            yield from self._give_back(list(given.items()), backoff)
            raise
        yield from self._store_many(tokens, loaded, plain, fill)
        return plain

    def _refresh_many_ahead(
        self, tokens: Mapping[str, bytes], load: Callable[[list[str]], object], fill: Fill
    ) -> Steps[None]:
        if self.settings.refresh_ahead and (yield Background(self._refresh_many(tokens, load, fill))):
            return
        yield from self._give_back([(self.names.entry(key), token) for key, token in tokens.items()])

    def _refresh_many(
        self, tokens: Mapping[str, bytes], load: Callable[[list[str]], object], fill: Fill
    ) -> Steps[None]:
        try:
            yield from self._load_missing(tokens, {}, next(self.shared.count), load, fill)
        except Exception as error:
            log.warning("refreshing values of the region %s: %r", self.names.region, error)

    # ---------------------------------------------------------------- storing

    def _give_back(self, leases: Sequence[tuple[str, bytes]], backoff: float | None = None) -> Steps[None]:
        """So that others need not wait until they end. Whoever does not hear of it waits so long."""
        region, option = self.names.region, self.names.option()
        after = () if backoff is None else ("BACKOFF", max(int(backoff * 1000), 1))
        commands: list[tuple[str, Command]] = [
            (name, ("CACHE.FAIL", name, region, "TOKEN", token, *after, *option)) for name, token in leases
        ]
        for reply in (yield from self.shared.ask_each(commands)):
            if isinstance(reply, ErrorReply):
                self.shared.warn("a lease was not given back", reply.text)

    def sealed(self, key: str, value: object, plain: bytes, fill: Fill) -> tuple[Sealed, tuple[str, ...]]:
        """What is stored, and all of its tags. Raises what `tags` raises."""
        sealed = self.codec.seal(key, plain)
        return sealed, (*fill.tags_of(value), *sealed.tags)

    def set_command(self, name: str, sealed: Sealed, tags: Sequence[str], fill: Fill, token: bytes | None) -> Command:
        return (
            "CACHE.SET",
            name,
            self.names.region,
            sealed.data,
            *(() if token is None else ("TOKEN", token)),
            *fill.times(),
            *tags_option(tags),
            *self.names.option(),
            "LABEL",
            sealed.label,
        )

    def _set_absent(self, name: str, token: bytes, fill: Fill) -> Command:
        tags = () if callable(fill.tags) else fill.tags
        return (
            "CACHE.SETABSENT",
            name,
            self.names.region,
            "TOKEN",
            token,
            *tags_option(tuple(tags)),
            *self.names.option(),
        )

    def _store(self, key: str, name: str, token: bytes, value: object, plain: bytes | None, fill: Fill) -> Steps[None]:
        """A fill that nobody depends on."""
        try:
            if plain is None:
                command = self._set_absent(name, token, fill)
            else:
                sealed, tags = self.sealed(key, value, plain, fill)
                command = self.set_command(name, sealed, tags, fill, token)
            yield from self.shared.one(name, command, repeat=True)
            return
        except RedisUnavailable as error:
            log.debug("a fill got no reply: %s", error)
            return
        except CommandRefused as error:
            self.shared.warn(f"a fill of the region {self.names.region} was refused", str(error))
        except Exception:
            # Without its tags nothing would take it back; the caller gets it all the same.
            log.exception("a value of the region %s is not kept", self.names.region)
        yield from self._give_back([(name, token)])

    def _store_many(
        self,
        tokens: Mapping[str, bytes | None],
        values: Mapping[str, object],
        plain: Mapping[str, bytes | None],
        fill: Fill,
    ) -> Steps[None]:
        """By MSET for all of a slot that have the same label and tags, with the token of the first of them."""
        commands: list[tuple[str, Command]] = []
        groups: dict[Alike, list[tuple[str, Sealed, bytes]]] = {}
        sizes: dict[Alike, int] = {}
        parts: dict[tuple[int, str, tuple[str, ...]], int] = {}
        lost: list[tuple[str, bytes]] = []
        for key, token in tokens.items():
            if token is None:
                continue
            name, bare = self.names.entry(key), plain[key]
            if bare is None:
                commands.append((name, self._set_absent(name, token, fill)))
                continue
            try:
                sealed, tags = self.sealed(key, values[key], bare, fill)
            except Exception:
                log.exception("a value of the region %s is not kept", self.names.region)
                lost.append((name, token))
                continue
            slot = slot_of(name) if self.shared.servers.cluster else 0
            alike = (slot, sealed.label, tags)
            group = (*alike, parts.get(alike, 0))
            full = sizes.get(group, 0) + len(sealed.data) > MOST_TOGETHER or len(groups.get(group, ())) == MOST_KEYS
            if full and group in groups:
                parts[alike] = parts.get(alike, 0) + 1
                group = (*alike, parts[alike])
            groups.setdefault(group, []).append((name, sealed, token))
            sizes[group] = sizes.get(group, 0) + len(sealed.data)
        for group, entries in groups.items():
            _, label, tags, _ = group
            pairs: list[Argument] = []
            for name, sealed, _ in entries:
                pairs += (name, sealed.data)
            command: Command = (
                "CACHE.MSET",
                self.names.region,
                len(entries),
                *pairs,
                "TOKEN",
                entries[0][2],
                *fill.times(),
                *tags_option(tags),
                *self.names.option(),
                "LABEL",
                label,
            )
            commands.append((entries[0][0], command))
        for reply in (yield from self.shared.ask_each(commands)):
            if isinstance(reply, ErrorReply):
                self.shared.warn(f"fills of the region {self.names.region} were refused", reply.text)
        yield from self._give_back(lost)

    # ---------------------------------------------------------------- writing

    def write(
        self,
        key: str,
        value: object,
        fill: Fill,
        commit: Callable[[], object] | None,
        outbox: Outbox,
    ) -> Steps[object]:
        """What `commit` returns, once the value is there, or the key is not.

        Raises what `commit` raises, and ChangeNotTold where it is committed, and the cache may have what was before.
        """
        shared, name = self.shared, self.names.entry(key)
        # What can't be sent is seen before anything is committed.
        command: Command | None = None
        if value is not None:
            sealed, tags = self.sealed(key, value, self.codec.serializer.dumps(value), fill)
            command = self.set_command(name, sealed, tags, fill, None)
        change = Change("invalidated", keys=(name,))
        yield from shared.turns.take(name)
        try:
            with shared.dropping(name):
                returned: object = None
                if commit is not None:
                    returned = yield from self._commit(commit, change, outbox)
                if command is None or not (yield from self._say(name, command, change, outbox)):
                    yield from shared.change(change, outbox)
                return returned
        finally:
            shared.turns.end(name)

    def _commit(self, commit: Callable[[], object], change: Change, outbox: Outbox) -> Steps[object]:
        try:
            return (yield Call(commit))
        except Exception:
            # It may have been committed all the same: the reply of a database can be lost, too.
            try:
                yield from self.shared.change(change, outbox)
            except ChangeNotTold as error:
                log.warning("commit raised, and nobody could tell the cache: %s", error)
            raise
        except GeneratorExit:
            raise
        except BaseException:
            yield from self.shared.keep(change, outbox)
            raise

    def _say(self, name: str, command: Command, change: Change, outbox: Outbox) -> Steps[bool]:
        """Whether the writer's word was taken. It is not said twice: another's may have come in between."""
        try:
            # It is not stored while the module is switched off.
            return (yield from self.shared.one(name, command, repeat=False)) is not None
        except RedisUnavailable as error:
            log.debug("a value that was written got no reply: %s", error)
            return False
        except CommandRefused as error:
            self.shared.warn(f"a value of the region {self.names.region} that was written was refused", str(error))
            return False
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            # The caller was cancelled or interrupted, and what it wrote is committed.
            yield from self.shared.keep(change, outbox)
            raise

    def invalidate(self, keys: Sequence[str], outbox: Outbox) -> Steps[None]:
        """Raises ChangeNotTold."""
        names = tuple(self.names.entry(key) for key in keys)
        if names:
            yield from self.shared.change(Change("invalidated", keys=names), outbox)

    def clear(self, outbox: Outbox) -> Steps[int]:
        """How many entries there were. Raises ChangeNotTold."""
        change = Change("invalidated", tags=(self.names.tag,))
        return (yield from self.shared.change(change, outbox, ("CACHE.CLEAR", self.names.region, *self.names.option())))

    def invalidate_pattern(self, pattern: str, timeout: float) -> Steps[int]:
        """Of all primaries, each of which walks its keys. Raises RedisUnavailable, CommandRefused."""
        check_seconds("timeout", timeout)
        names = self.names
        command: Command = ("CACHE.PATINVAL", names.pattern(pattern), "REGION", names.region, *names.option())
        killed = 0
        try:
            for address in (yield from self.shared.primaries()):
                at: Any = address if self.shared.servers.cluster else "owner"
                replies = yield from self.shared.ask(
                    None, (command,), repeat=True, timeout=timeout, spare=False, lane="walk", at=at
                )
                killed += cast(int, good(replies[0]))
        finally:
            self.shared.drop_all()
        return killed

    def stats(self) -> Steps[dict[str, object]]:
        """Of all primaries, each as it says. Raises RedisUnavailable, CommandRefused."""
        command: Command = ("CACHE.STATS", self.names.region, *self.names.option())
        return as_map((yield from self.shared.one(None, command, repeat=True)))


def _useful(token: bytes | None) -> bytes | None:
    return None if token == NO_TOKEN else token


def _kept(said: Said) -> Kept | None:
    """What an answer says by itself."""
    if said.code == "ABSENT":
        return Kept(None, "cache")
    return (
        Kept(said.plain, "stale" if said.code == "STALE" else "cache", said.value) if said.plain is not None else None
    )


def _each_once(keys: Sequence[str]) -> list[str]:
    if isinstance(keys, (str, bytes)):
        raise TypeError("keys must be several texts")
    return list(dict.fromkeys(keys))
