"""The names of keys and tags."""

from __future__ import annotations

from redis_apikey._effects import Argument
from redis_apikey._ids import text_of_id
from redis_apikey._results import Id

_USAGE = ":usage"


class Names:
    """`ns` separates tenants: it stands before every name."""

    def __init__(self, ns: str = "") -> None:
        if len(ns.encode()) > 100:
            raise ValueError("ns must have at most 100 bytes")
        self.ns = ns
        self.prefix = f"{ns}apikey:{{"
        """Of all keys."""
        self.probe = self.record("redis-apikey-l1")
        """What an L1 invalidates to hear whether messages come."""
        self.id_tags, self.user_tags = f"{ns}apikey:id:", f"{ns}apikey:user:"

    def record(self, prefix: str) -> str:
        return f"{self.ns}apikey:{{{prefix}}}"

    def scopes(self, prefix: str) -> str:
        return f"{self.ns}apikey:{{{prefix}}}:scopes"

    def usage(self, prefix: str) -> str:
        return f"{self.ns}apikey:{{{prefix}}}{_USAGE}"

    def list(self, user: Id) -> str:
        return f"{self.ns}apikey:list:{{{text_of_id('user', user)}}}"

    def id_tag(self, id_: Id) -> str:
        return self.id_tags + text_of_id("id", id_)

    def user_tag(self, user: Id) -> str:
        return self.user_tags + text_of_id("user", user)

    def prefix_of_usage(self, key: str) -> str | None:
        """Of a counter's name, where it has this form."""
        beginning, end = f"{self.ns}apikey:{{", f"}}{_USAGE}"
        if key.startswith(beginning) and key.endswith(end):
            return key[len(beginning) : -len(end)]
        return None

    def option(self) -> tuple[Argument, ...]:
        return ("NS", self.ns) if self.ns else ()
