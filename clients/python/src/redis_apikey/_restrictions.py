"""Names by which tables say that a key may not be used: `engine/src/record/restrictions.rs`, its lists and its rules.

What has such a name and is none of a record's own fields is refused, by the server and here, so that no restriction
is dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntFlag


class Says(IntFlag):
    """What a name says of a key."""

    NOTHING = 0
    ACTIVE = 1
    TAKEN_BACK = 2
    END = 4
    BEGINNING = 8
    GRANT = 16
    DENIAL = 32
    ADDRESSES = 64
    OTHER = 128
    STATE = 256


def _by_word(lists: Mapping[Says, str]) -> dict[str, Says]:
    return {word: says for says, words in lists.items() for word in words.split()}


STEMS: dict[str, Says] = _by_word(
    {
        Says.ACTIVE: "authoris authoriz canlogin usabl",
        Says.TAKEN_BACK: (
            "abandon accountlock archiv banned blocked cancel compromis deactivat decommission delet deprecat "
            "deprovision destroy disabl discard erased expired freez frozen inactiv invalid leaked locked "
            "lockout nonactive notactive notenabled notusabl notvalid obsolete paused purge quarantin recycl "
            "redeem redempt reject remov rescind retired revoc revok sunset supersed suspen terminat tombston "
            "trash unapproved unauthor unusabl unverified voided withdrawn"
        ),
        Says.END: (
            "expir goodthrough goodthru lifespan lifetime maxage maxttl notafter notvalidafter validbefore "
            "validend validity validthru validtill validto validuntil"
        ),
        Says.BEGINNING: (
            "activefrom activesince availablefrom effectiv embargo enabledfrom notbefore notvalidbefore "
            "validafter validfrom validsince validstart"
        ),
        Says.GRANT: (
            "abilities allow audience authorities capabilit entitlement granttype permission permit privileg "
            "safelist scope whitelist"
        ),
        Says.DENIAL: "blacklist blocklist denied deny disallow exclud exclusion forbid prohibit restrict",
        Says.ADDRESSES: "cidr ipallow ipsafelist ipwhitelist",
        Says.OTHER: (
            "accesscontrol accountcontrol caveat condition constraint criticaloption forcecommand limitedby "
            "maxusage maxuses numuses onetime policies policy referer remaininguses roledescriptor singleuse "
            "usagelimit uselimit usesleft useslimit usesremaining validperiod validprincipal validrange "
            "validtime"
        ),
    }
)
"""Wherever they stand in a name."""

WORDS: dict[str, Says] = _by_word(
    {
        Says.ACTIVE: (
            "activated active alive approved available enable enabled inuse iscurrent isuse useyn valid verified"
        ),
        Says.TAKEN_BACK: (
            "block closed consumed deact dead del delyn flagged gone held hold inact killed lock onhold pause "
            "pending replaced stolen stopped void"
        ),
        Says.END: "duration endat enddate enddatetime enddt ended ends endtime eol exp tokenwindow usebefore useby",
        Says.BEGINNING: (
            "activation beginat begindate begins begintime nbf signedstart startat startdate startdatetime "
            "starton starts starttime"
        ),
        Says.GRANT: "accesslevel grants perm",
        Says.DENIAL: "banlist blocks except",
        Says.ADDRESSES: (
            "addresses addressrange addressranges boundip fixedip ipbinding requestip signedip sourceaddress "
            "sourceip staticip"
        ),
        Says.STATE: "lifecycle state status",
        Says.OTHER: "during effect limited sysperiod systemperiod",
    }
)
"""As a whole, but for what may stand BEFORE and BEHIND them."""

FREE_WORDS: dict[str, Says] = _by_word(
    {
        Says.TAKEN_BACK: "ban bans",
        Says.END: "before till ttl until",
        Says.GRANT: "perms rights",
        Says.ADDRESSES: (
            "ipaccess ipaddresses ipaddrs ipblock ipblocks ipfilter ipfilters iplist iplists ipmask iprange "
            "ipranges ips ipset ipsets netmask network networks subnet subnets"
        ),
        Says.OTHER: "acl acls origins readonly referrers",
    }
)
"""The same, and anything may stand before them: they begin where a word does."""

BEFORE = [
    "access",
    "account",
    "api",
    "auth",
    "authorized",
    "bound",
    "client",
    "creation",
    "credential",
    "data",
    "default",
    "good",
    "is",
    "key",
    "lifecycle",
    "login",
    "max",
    "min",
    "object",
    "permitted",
    "record",
    "remote",
    "row",
    "secret",
    "source",
    "token",
    "trusted",
    "user",
    "was",
]
BEHIND = [
    "after",
    "at",
    "before",
    "by",
    "cd",
    "code",
    "date",
    "datetime",
    "days",
    "dt",
    "dttm",
    "end",
    "epoch",
    "fl",
    "flag",
    "flg",
    "for",
    "from",
    "hours",
    "id",
    "ind",
    "indicator",
    "list",
    "m",
    "millis",
    "mins",
    "minutes",
    "ms",
    "ns",
    "on",
    "period",
    "range",
    "reason",
    "sec",
    "seconds",
    "secs",
    "since",
    "stamp",
    "start",
    "state",
    "status",
    "tags",
    "time",
    "tm",
    "to",
    "ts",
    "tz",
    "unix",
    "until",
    "us",
    "utc",
    "value",
    "yn",
]
PAST = ("old", "previous")
"""Before what may have anything before it: what was so is none."""

USUAL_BYTES = 64

NAMES = frozenset(["key", "name", "k", "field", "property", "attribute", "attr", "column", "option"])
"""Names of fields that hold the name of another one."""
VALUES = frozenset(["value", "val", "v", "values"])
"""Those that hold what it has."""

_STEM = re.compile("|".join(f"(?={stem})" for stem in STEMS))
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.)|$)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_COLON = re.compile(r"\s*(?::|=>)")


def _letters_of(name: str) -> tuple[str, set[int]]:
    """Its ASCII letters and digits, in small letters, and at which of them words begin but for the first."""
    letters: list[str] = []
    begins: set[int] = set()
    before = "_"
    for at, char in enumerate(name):
        if char.isascii() and char.isalnum():
            following = name[at + 1 : at + 2]
            follows_small = following.isascii() and following.islower()
            before_is_capital = before.isascii() and before.isupper()
            is_capital = char.isupper() and (not before_is_capital or follows_small)
            if is_capital or not (before.isascii() and before.isalnum()):
                begins.add(len(letters))
            letters.append(char.lower())
        before = char
    begins.discard(0)
    return "".join(letters), begins


def _with_what_is_before(letters: str, begins: set[int], at: int, says: Says) -> Says:
    """What is said by something that begins there, of which the opposite may stand before it."""
    before = letters[:at]
    is_un = before.endswith("un") and (at == 2 or at - 2 in begins)
    if not is_un and not before.endswith(("not", "non")):
        return says
    opposite = says & ~(Says.ACTIVE | Says.TAKEN_BACK | Says.GRANT | Says.END | Says.BEGINNING)
    for one, other in (
        (Says.ACTIVE, Says.TAKEN_BACK),
        (Says.TAKEN_BACK, Says.ACTIVE),
        (Says.GRANT, Says.DENIAL),
        (Says.BEGINNING, Says.END),
    ):
        if says & one:
            opposite |= other
    return opposite or Says.OTHER


def _stems(letters: str, begins: set[int]) -> Says:
    found = Says.NOTHING
    for match in _STEM.finditer(letters):
        at = match.start()
        for stem, says in STEMS.items():
            if letters.startswith(stem, at):
                found |= _with_what_is_before(letters, begins, at, says)
    return found


def _words(letters: str, begins: set[int], *, anywhere: bool) -> Says:
    """What words say between parts that may stand before and behind them; `anywhere` also behind others."""
    found = Says.NOTHING
    if len(letters) > USUAL_BYTES:
        return found
    ends = {len(letters)}
    for end in range(len(letters), 0, -1):
        if end in ends:
            ends.update(end - len(part) for part in BEHIND if letters[:end].endswith(part))
    starts = {0}
    for start in range(len(letters)):
        if start in starts:
            starts.update(start + len(part) for part in BEFORE if letters.startswith(part, start))
    for end in ends:
        for start in starts | begins:
            if start >= end:
                continue
            word = letters[start:end]
            says = Says.NOTHING if letters[:start] in PAST else FREE_WORDS.get(word, Says.NOTHING)
            if anywhere or start in starts:
                says |= WORDS.get(word, Says.NOTHING)
            if says:
                found |= _with_what_is_before(letters, begins, start, says)
    return found


def looks_like_one(name: str) -> bool:
    """Whether a field of this name looks as if it restricted its key."""
    letters, begins = _letters_of(name)
    return bool(_stems(letters, begins) or _words(letters, begins, anywhere=False))


def _says(name: str) -> Says:
    letters, begins = _letters_of(name)
    says = _stems(letters, begins) | _words(letters, begins, anywhere=True)
    # A key that is locked until then may be used from then on.
    if says & Says.TAKEN_BACK and any(word in letters for word in ("until", "till", "thru", "before")):
        says = (says & ~Says.END) | Says.BEGINNING
    return says


def remedy(name: str) -> str:
    """What to do with a field that looks like a restriction and is not judged, beside dropping it."""
    says = _says(name)
    if says & Says.BEGINNING:
        return "let the query judge it"
    if says & Says.END:
        return "name it in Fields' names"
    if says & Says.TAKEN_BACK:
        return "name it in Fields' inactive"
    if says & (Says.ACTIVE | Says.GRANT | Says.ADDRESSES | Says.STATE) and not says & Says.DENIAL:
        return "name it in Fields' names"
    return "let the query judge it"


def refuse_to_map(own: str, theirs: str) -> str | None:
    """Why a table's name may not stand for a field: what restricts a key would be judged as something else."""
    says = _says(theirs)
    taken = says & (Says.DENIAL | Says.TAKEN_BACK)
    begins = "which says from when on the key may be used: let the query judge it"
    if own == "is_active":
        if says & Says.BEGINNING:
            return begins
        if taken:
            return "which says the opposite: name it in inactive"
        return "which says when the key ends: map expires_at to it" if says & Says.END else None
    if own == "expires_at":
        return begins if says & Says.BEGINNING or (says & Says.ACTIVE and not says & Says.END) else None
    if own == "scopes":
        if taken:
            return "which says what the key may not do: leave that out of its scopes in the query"
        return "which says from where it may be used: map allowed_ips to it" if says & Says.ADDRESSES else None
    if own == "allowed_ips":
        why = "which says from where the key may not be used: have the query give those from which it may"
        return why if taken else None
    return "which looks as if it restricted the key" if looks_like_one(theirs) else None


def says_active(name: str) -> bool:
    """Whether a flag of this name says, where it is set, that its key may be used: it makes none inactive."""
    says = _says(name)
    return bool(says & Says.ACTIVE and not says & Says.END)


def first_in(value: str) -> str | None:
    """The first name in a value that looks like one: in objects, arrays, pairs of a name and a value, JSON in texts.

    `value` is JSON, or a text that may be none.
    """
    if "\\" not in value and ":" not in value and "=>" not in value:
        return None
    named: str | None = None
    has_value = is_of_name = False
    for text, is_name in _strings(value):
        if is_name:
            if looks_like_one(text):
                return text
            has_value = has_value or text.lower() in VALUES
            is_of_name = text.lower() in NAMES
            continue
        found = first_in(text)
        if found is not None:
            return found
        if is_of_name and text.strip() not in (":", "=>"):
            is_of_name = False
            if named is None and looks_like_one(text):
                named = text
    return named if has_value else None


def _strings(value: str) -> Iterator[tuple[str, bool]]:
    """What stands between each quote and the next, and whether it is a name.

    In a text that is not JSON alone, an odd quote may stand before it.
    """
    at = value.find('"')
    while at >= 0:
        end = _string_end(value, at)
        yield _unescaped(value[at:end]), _COLON.match(value, end) is not None
        at = end - 1 if end < len(value) else -1


def _string_end(value: str, at: int) -> int:
    end = at + 1
    while end < len(value):
        if value[end] == '"':
            return end + 1
        end += 2 if value[end] == "\\" else 1
    return len(value)


def _unescaped(text: str) -> str:
    """What a string says, whatever is wrong with it."""
    text = text.removeprefix('"').removesuffix('"')
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(lambda escape: _char(escape[1], escape[2] or ""), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _char(code: str | None, other: str) -> str:
    return chr(int(code, 16)) if code is not None else _ESCAPED.get(other, other)
