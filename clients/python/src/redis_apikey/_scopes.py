"""Scopes: what a record grants, and whether that covers a request: `engine/src/record/scope.rs`.

A scope grants a request when they are equal; or, both split at the first colon, when each part of the scope is equal
or `*`. The text `*` alone grants everything. In a request `*` is a character like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from redis_apikey._errors import BadRecord

MAX_SCOPE_BYTES = 1024
MAX_REQUESTS = 64

Scope: TypeAlias = "str | tuple[str, tuple[str, ...]]"
"""A text, or a resource with its actions."""


def read_scopes(value: object, known_fields: Sequence[str]) -> list[Scope]:
    """Of `scopes`. Raises BadRecord."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise _wrong()
    return [_read_scope(scope, known_fields) for scope in value]


def _wrong() -> BadRecord:
    return BadRecord("scopes must be an array of strings or of objects with a resource and an array of actions")


def _read_scope(value: object, known_fields: Sequence[str]) -> Scope:
    if isinstance(value, str):
        return _read_text(value)
    if not isinstance(value, dict):
        raise _wrong()
    resource, actions = value.get("resource"), value.get("actions")
    if not isinstance(resource, str) or not isinstance(actions, (list, tuple)):
        raise _wrong()
    if not all(isinstance(action, str) for action in actions):
        raise _wrong()
    for field in value:
        if field not in ("resource", "actions") and field not in known_fields:
            raise BadRecord(
                "scopes must have no field but resource and actions in their objects, "
                f"not {str(field)[:128]}, unless scope_fields names it"
            )
    return _read_text(resource), tuple(_read_text(action) for action in actions)


def _read_text(text: str) -> str:
    try:
        too_long = len(text.encode()) > MAX_SCOPE_BYTES
    except UnicodeEncodeError:
        raise _wrong() from None
    if too_long:
        raise BadRecord(f"a text of scopes must have at most {MAX_SCOPE_BYTES} bytes")
    if text.startswith(("!", "-")):
        raise BadRecord("scopes must not begin with ! or -: they grant, and deny nothing")
    return text


def check_requests(scopes: Iterable[str]) -> tuple[str, ...]:
    """What may be asked for. Raises ValueError, or TypeError for what is no text, or one instead of several."""
    if isinstance(scopes, str):
        raise TypeError("scopes must be several texts, not one")
    requests = tuple(scopes)
    if len(requests) > MAX_REQUESTS:
        raise ValueError(f"scopes must be at most {MAX_REQUESTS}")
    for request in requests:
        if not isinstance(request, str):
            raise TypeError(f"a scope must be a text, not {type(request).__name__}")
        if not 0 < len(request.encode()) <= MAX_SCOPE_BYTES:
            raise ValueError(f"a scope must have 1 to {MAX_SCOPE_BYTES} bytes")
    return requests


def grant(scopes: Iterable[Scope], request: str) -> bool:
    """Whether one of the scopes grants the request."""
    resource, colon, action = request.partition(":")
    parts = (resource, action) if colon else None
    return any(
        _text_grants(scope, request, parts) if isinstance(scope, str) else _object_grants(*scope, request, parts)
        for scope in scopes
    )


def _text_grants(scope: str, request: str, parts: tuple[str, str] | None) -> bool:
    if scope in ("*", request):
        return True
    if parts is None:
        return False
    if scope.startswith("*:") and scope[2:] in ("*", parts[1]):
        return True
    return scope.endswith(":*") and scope[:-2] == parts[0]


def _object_grants(resource: str, actions: tuple[str, ...], request: str, parts: tuple[str, str] | None) -> bool:
    if parts is not None and resource in ("*", parts[0]):
        return "*" in actions or parts[1] in actions
    # A resource with a colon in it: the two are equal, or nothing is granted.
    beginning = resource + ":"
    return request.startswith(beginning) and request[len(beginning) :] in actions
