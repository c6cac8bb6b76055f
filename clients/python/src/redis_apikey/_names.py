"""The names of keys and tags."""

from __future__ import annotations

import re

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


class RegionNames:
    """Of a region of a namespace. A region that is in one slot has its own name as its hash tag, else keys have theirs.

    Raises ValueError.
    """

    def __init__(self, region: str, ns: str, one_slot: bool) -> None:
        if not isinstance(region, str) or not isinstance(ns, str):
            raise TypeError("the names of a region and of its namespace must be texts")
        if not 1 <= len(region.encode()) <= 64:
            raise ValueError("the name of a region must have 1 to 64 bytes")
        if len(ns.encode()) > 100:
            raise ValueError("ns must have at most 100 bytes")
        if any(character in region + ns for character in "{}\0"):
            raise ValueError("the names of a region and of its namespace must have no brace and no zero byte")
        if region == "writes":
            raise ValueError("no region can be called writes: those names are of write_behind's streams")
        self.region = region
        self.ns = ns
        self.prefix = f"{ns}cache:{{{region}}}:" if one_slot else f"{ns}cache:{region}:{{"
        """Of all of its keys."""
        self._end = "" if one_slot else "}"
        self.tag = f"{ns}cache:region:{region}"
        """That each of its entries has."""
        self.stream = f"{ns}cache:writes:{{{region}}}"
        """Of what is written behind."""
        self.probe = self.entry("redis-apikey-l1")
        """What an L1 invalidates to hear whether messages come."""

    def entry(self, key: str) -> str:
        if not isinstance(key, str):
            raise TypeError(f"key must be a text, not {type(key).__name__}")
        if not key:
            raise ValueError("key must not be empty")
        return f"{self.prefix}{key}{self._end}"

    def pattern(self, pattern: str) -> str:
        """A glob over keys as one over names."""
        return re.sub(r"[*?\[\]\\]", r"\\\g<0>", self.prefix) + pattern + self._end

    def option(self) -> tuple[Argument, ...]:
        return ("NS", self.ns) if self.ns else ()
