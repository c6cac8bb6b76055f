"""What the Python programs here have in common: a call on each line of stdin, its outcome on one of stdout."""

import json
import sys


def plain(reply):
    """A reply as JSON has it. A map of nodes is the list of what they said."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, dict):
        return [plain(value) for value in reply.values()]
    if isinstance(reply, (list, tuple)):
        return [plain(value) for value in reply]
    return reply


def say(outcome):
    print(json.dumps(outcome), flush=True)


async def serve(call):
    """Answers each line, `{"way": .., "args": [..]}`, with what `call(way, args)` returns or raises."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            say({"reply": plain(await call(asked["way"], asked["args"]))})
        except Exception as error:
            say({"error": f"{error}" or type(error).__name__})
