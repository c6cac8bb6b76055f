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
    """Redis gave no answer in time, or could not be reached."""

    def __init__(self, cause: str, *, maybe_done: bool = False) -> None:
        super().__init__(cause)
        self.maybe_done = maybe_done
        """Whether the command may have been carried out all the same: it had been sent."""


class CommandRefused(ApiKeysError):
    """Redis replied an error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        """All of it."""
        self.code = text.split(" ", 1)[0]
        """Its first word: `ERR`, `NOPERM`, `WRONGTYPE`, `OOM` .."""


class ChangeNotTold(ApiKeysError):
    """A change is committed, and Redis could not be told everywhere: what it was about may be served as before."""

    def __init__(self, change: Change, cause: str, *, kept: bool) -> None:
        super().__init__(cause)
        self.change = change
        """What has to be told again, by `keys.tell(change)`."""
        self.kept = kept
        """Whether `outbox` took it."""
