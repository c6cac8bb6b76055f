"""Servers that fork their workers after the application was loaded (gunicorn, uWSGI, multiprocessing)."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Part of a client that a child can't go on with."""

    def forked(self) -> None: ...


_parts: weakref.WeakSet[Forked] = weakref.WeakSet()


def watch(*parts: Forked) -> None:
    """Each is told in a child."""
    for part in parts:
        _parts.add(part)


def _tell() -> None:
    for part in list(_parts):
        part.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
