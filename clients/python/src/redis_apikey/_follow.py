"""What an L1 is told by, in RESP3: CLIENT TRACKING, or the module's channel."""

from __future__ import annotations

from typing import cast

from redis_apikey._effects import Command, ErrorReply
from redis_apikey._l1 import Heeding
from redis_apikey._settings import L1

LOST_AFTER = 2.0
"""Seconds without a reply after which a connection is taken for lost."""

PAUSE = 0.1
"""Seconds before it is tried again."""

CHANNEL_PING: Command = ("PING",)


def start_commands(settings: L1, prefix: str) -> list[Command]:
    """What a connection says before anything is kept of keys whose names begin so."""
    if settings.follow == "channel":
        return [("SUBSCRIBE", settings.channel)]
    return [("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)]


def is_probe(response: object, key: str) -> bool:
    """Whether it is the message of a key that was invalidated to hear whether messages come.

    A channel that nobody publishes to can be followed too.
    """
    is_message = isinstance(response, list) and len(response) == 3 and response[0] == b"message"
    return is_message and key.encode() in cast("list[bytes]", response)[2]


class NothingHeard(Exception):
    """The channel is not the server's."""

    def __init__(self, channel: str) -> None:
        super().__init__(f"no message comes: is apikey.invalidation-channel {channel}?")


def is_push(response: object) -> bool:
    """Whether it came by itself: the replies to what is asked here are no arrays."""
    return isinstance(response, list)


def take_push(cache: Heeding, response: object) -> bool:
    """Tells the L1; whether it was the confirmation of SUBSCRIBE."""
    if not isinstance(response, list) or not response:
        return False
    kind = response[0]
    if kind == b"invalidate":
        cache.heed_tracking(response[1])
    elif kind == b"message":
        cache.heed(response[2])
    return bool(kind == b"subscribe")


def settled(reply: object) -> object:
    """With the errors that are among the replies of EXEC as those are that come by themselves."""
    if isinstance(reply, list) and any(isinstance(one, Exception) for one in reply):
        return [error_reply(one) if isinstance(one, Exception) else one for one in reply]
    return reply


def error_reply(error: Exception) -> ErrorReply:
    """With its code in front, which redis-py takes away from those that it knows.

    Of a command that the server does not know it echoes the arguments: those are left out.
    """
    code, text = getattr(error, "status_code", None), str(error).split(", with args beginning with:")[0]
    return ErrorReply(f"{code} {text}" if isinstance(code, str) else text)
