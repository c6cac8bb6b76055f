"""Names by which tables say that a key may not be used: `engine/src/record/restrictions.rs`, its lists and its rules.

What has such a name and is none of a record's own fields is refused, by the server and here, so that no restriction
is dropped in silence.
"""

from __future__ import annotations

import json
import re

STEMS = [
    "allow",
    "archiv",
    "banned",
    "blacklist",
    "blocked",
    "blocklist",
    "cancel",
    "cidr",
    "compromis",
    "deactivat",
    "delet",
    "denied",
    "deny",
    "disabl",
    "expir",
    "forbid",
    "frozen",
    "lockout",
    "notafter",
    "notbefore",
    "notvalid",
    "purged",
    "removed",
    "restrict",
    "revok",
    "suspend",
    "terminat",
    "trash",
    "validfrom",
    "validthru",
    "validto",
    "validuntil",
    "whitelist",
]

TAKEN_BACK = [
    "archiv",
    "banned",
    "blocked",
    "cancel",
    "compromis",
    "deactivat",
    "delet",
    "disabl",
    "frozen",
    "inactiv",
    "locked",
    "notactive",
    "purged",
    "removed",
    "revok",
    "suspend",
    "terminat",
    "trash",
]

WORDS = frozenset(
    [
        "abilities",
        "active",
        "enabled",
        "enddate",
        "endsat",
        "exp",
        "inactive",
        "ipranges",
        "ips",
        "locked",
        "nbf",
        "paused",
        "permission",
        "permissions",
        "perms",
        "privileges",
        "retired",
        "scope",
        "scopes",
        "state",
        "status",
        "ttl",
        "until",
        "valid",
        "validtill",
        "voided",
    ]
)

BEFORE = ["account", "api", "is", "key", "lifecycle", "permitted", "source", "token", "trusted", "user"]
BEHIND = ["at", "by", "code", "date", "flag", "m", "ms", "ns", "on", "seconds", "time", "ts", "unix", "us", "utc"]

USUAL_BYTES = 64

_OTHER = re.compile(r"[^a-z0-9]")
_STEM = re.compile("|".join(STEMS))


def letters_of(name: str) -> str:
    """Its ASCII letters and digits, in small letters."""
    lower = "".join(chr(ord(c) | 32) if "A" <= c <= "Z" else c for c in name)
    return _OTHER.sub("", lower)


def looks_like_one(name: str) -> bool:
    """Whether a field of this name looks as if it restricted its key."""
    letters = letters_of(name)
    return _STEM.search(letters) is not None or _is_word(letters)


def says_taken_back(name: str) -> bool:
    """Whether a flag of this name, where it is set, says that its key may not be used."""
    letters = letters_of(name)
    return any(stem in letters for stem in TAKEN_BACK)


def _is_word(letters: str) -> bool:
    if len(letters) > USUAL_BYTES:
        return False
    rest: str | None = letters
    while rest is not None:
        word: str | None = rest
        while word is not None:
            if word in WORDS:
                return True
            word = next((word[: -len(part)] for part in BEHIND if word.endswith(part)), None)
        rest = next((rest[len(part) :] for part in BEFORE if rest.startswith(part)), None)
    return False


def first_in(value: str) -> str | None:
    """The first name in a value that looks like one: in objects, in arrays, and in texts that are JSON.

    `value` is JSON, or a text that may be none.
    """
    if "\\" not in value and (value.startswith('"') or "{" not in value):
        return None
    at = value.find('"')
    while at >= 0:
        end = _string_end(value, at)
        text, behind = _unescaped(value[at:end]), value[end:].lstrip()
        found = (text if looks_like_one(text) else None) if behind.startswith(":") else first_in(text)
        if found is not None:
            return found
        at = value.find('"', end)
    return None


def _string_end(value: str, at: int) -> int:
    end = at + 1
    while end < len(value):
        if value[end] == '"':
            return end + 1
        end += 2 if value[end] == "\\" else 1
    return len(value)


def _unescaped(text: str) -> str:
    try:
        read = json.loads(text)
        return read if isinstance(read, str) else ""
    except ValueError:
        return text.strip('"').replace("\\", "")
