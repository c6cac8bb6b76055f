"""What the library raises. Nobody has to import an error of redis-py's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis_apikey._results import Change


class ApiKeysError(Exception):
    """Of this library."""


class BadRecord(ApiKeysError):
    """A row of the database can't be judged; the text names the field and what it must be."""


class RedisUnavailable(ApiKeysError):
    """Redis gave no answer in time, or could not be reached.

    `maybe_done` says whether the command may have been carried out all the same: it had been sent.
    """

    def __init__(self, cause: str, *, maybe_done: bool = False) -> None:
        super().__init__(cause)
        self.maybe_done = maybe_done


class CommandRefused(ApiKeysError):
    """Redis replied an error. `code` is its first word: `ERR`, `NOPERM`, `WRONGTYPE`, `OOM` .."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.split(" ", 1)[0]


class ChangeNotTold(ApiKeysError):
    """A change is committed, and Redis could not be told everywhere: what it was about may be served as before.

    `change` is what has to be told again (`keys.tell(change)`), `kept` whether `outbox` took it.
    """

    def __init__(self, change: Change, cause: str, *, kept: bool) -> None:
        super().__init__(cause)
        self.change = change
        self.kept = kept
