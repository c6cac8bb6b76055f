"""One load of one thing at a time, whoever asks for it in this process.

Who waits for another's load takes what it brought only where that load began after its own call did: else that may be
older than a change that was told before the call.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from redis_apikey._effects import Event, Load, Steps, Wait

V = TypeVar("V")

LANDED = 256


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
        self._flights: dict[Hashable, Flight[V]] = {}
        self._landed: dict[Hashable, Flight[V]] = {}
        """The latest, for who missed before they landed and comes to ask behind that."""

    def run(self, name: Hashable, began: int, may_ask_again: bool, load: Callable[[Flight[V]], Steps[V]]) -> Steps[V]:
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

    def _lead(self, name: Hashable, flight: Flight[V], load: Callable[[Flight[V]], Steps[V]]) -> Steps[V]:
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

    def join(self, name: Hashable, began: int) -> Steps[tuple[V] | None]:
        """What that of another returned which started after `began`, and never a load of one's own.

        None: there is none under way. Raises Again where one has ended that started before.
        """
        with self._lock:
            flight = self._flights.get(name)
        if flight is None:
            return None
        yield Wait(flight.event)
        if not flight.ended or flight.started is None or flight.started <= began:
            raise Again
        if flight.error is not None:
            raise flight.error
        return (cast(V, flight.value),)

    def load(self, flight: Flight[V], call: Callable[[], object]) -> Steps[object]:
        """What the application's function returns. Raises LoadFailed."""
        try:
            return (yield Load(call, lambda: self._start(flight)))
        except Exception as error:
            raise LoadFailed from error

    def _start(self, flight: Flight[V]) -> None:
        flight.started = next(self._count)

    def forked(self) -> None:
        """In a child that was forked: who led a flight is not there."""
        self._lock = threading.Lock()
        self._flights, self._landed = {}, {}
