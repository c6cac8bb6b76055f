"""What the protocol asks of its driver.

The protocol (`_protocol.py`) decides; it is written as generators that yield one of these and are sent what came of it.
A driver (`_sync.py`, `_asyncio.py`) carries them out, with threads or in an event loop, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar, cast

Argument: TypeAlias = "str | bytes | int"
Command: TypeAlias = tuple[Argument, ...]
Address: TypeAlias = "tuple[str, int] | None"
"""Host and port; None for where the application's own client goes."""


Lane: TypeAlias = Literal["quick", "slow", "walk"]
"""What stands behind what on a connection: `slow` is what the server may let wait for other nodes, `walk` what goes
through all keys; what is in a hurry stands behind neither."""


class Event(Protocol):
    """Of threading or of asyncio."""

    def set(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error that the server replied."""

    text: str

    @property
    def code(self) -> str:
        return self.text.split(" ", 1)[0]


class NoReply(Exception):
    """No reply came. `maybe_done`: the commands had been sent; `timed_out`: the time was up.

    `refused`: the server did not let the connection in, and said why.
    """

    def __init__(self, cause: str, *, maybe_done: bool, timed_out: bool, refused: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.maybe_done = maybe_done
        self.timed_out = timed_out
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Send:
    """Commands for one server, whose replies come within `timeout` seconds, or NoReply is raised."""

    address: Address
    commands: tuple[Command, ...]
    timeout: float
    lane: Lane


@dataclass(frozen=True, slots=True)
class Load:
    """A call of the application's own function; `started` is called right before, once there is room for it."""

    call: Callable[[], object]
    started: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the application's own function that needs no room."""

    call: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Background:
    """Steps that go on while the caller does not wait for them; False comes of it where there is no room for more.

    They raise nothing.
    """

    steps: Steps[None]


@dataclass(frozen=True, slots=True)
class Wait:
    """Until an event is set."""

    event: Event


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


Effect: TypeAlias = "Send | Load | Call | Background | Wait | Sleep"
T = TypeVar("T")
Steps: TypeAlias = Generator[Effect, object, T]


def send(address: Address, commands: tuple[Command, ...], timeout: float, lane: Lane) -> Steps[list[object]]:
    """The replies, among them ErrorReply. Raises NoReply."""
    return cast("list[object]", (yield Send(address, commands, timeout, lane)))
