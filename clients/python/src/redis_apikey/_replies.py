"""What replies say, and how arguments are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from redis_apikey._effects import Argument, ErrorReply
from redis_apikey._errors import CommandRefused


def good(reply: object) -> object:
    """Raises CommandRefused for an error."""
    if isinstance(reply, ErrorReply):
        raise CommandRefused(reply.text)
    return reply


def text(reply: object) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def px(seconds: float | None) -> tuple[Argument, ...]:
    """The option that says how long something lives."""
    return () if seconds is None else ("PX", max(int(seconds * 1000), 1))


def tags_option(tags: Sequence[str]) -> tuple[Argument, ...]:
    return ("TAGS", len(tags), *tags) if tags else ()


def as_map(reply: object) -> dict[str, object]:
    """A map of RESP3, or a flat array of RESP2."""
    if isinstance(reply, dict):
        pairs = list(reply.items())
    else:
        flat = cast("list[object]", reply)
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return {cast(bytes, name).decode(): _plain(value) for name, value in pairs}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {_plain(name): _plain(element) for name, element in value.items()}
    return value
