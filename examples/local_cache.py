#!/usr/bin/env python3
"""A cache of VALIDATE's answers in the application's own memory.

It follows apikey.invalidation-channel, so that what it holds goes as soon as the message of its
invalidation arrives. Run it to play with it:

    examples/local_cache.py --port 6399      # then one "KEY DIGEST [SCOPE ..]" on each line

It prints the code of each answer, and whether the server was asked. Needs redis-py (Debian:
python3-redis) and a server with `apikey.invalidation-channel` set.
"""

import argparse
import json
import sys
import threading
import time

import redis


class LocalCache:
    """Remembers what VALIDATE answered with VALID, for at most `ttl` seconds, and no longer than it holds."""

    def __init__(self, client, channel, ttl=5.0):
        self.client = client
        self.channel = channel
        self.ttl = ttl
        self.lock = threading.Lock()
        self.answers = {}  # (key, digest, address, scopes) -> (record, tags, when it ends)
        self.numbers = {}  # run -> number of its latest message
        self.changes = 0  # messages and drops so far
        self.following = False  # only then may anything be remembered
        threading.Thread(target=self._follow, daemon=True).start()

    def validate(self, key, digest, *scopes, address=None):
        """The code, the record if it is VALID, and whether it came from here.

        `address` is the one that the key was presented from: what is good from one may not be from another.
        """
        question = (key, digest, address, scopes)
        with self.lock:
            record, _, end = self.answers.get(question, (None, None, 0))
            if record is not None and time.monotonic() < end:
                return "VALID", record, True
            changes = self.changes
        asked = time.monotonic()
        call = ["APIKEY.VALIDATE", key, "DIGEST", digest]
        if address is not None:
            call += ["IP", address]
        for scope in scopes:
            call += ["SCOPE", scope]
        # Together, so that the tags are those of the record.
        pipeline = self.client.pipeline(transaction=True)
        pipeline.execute_command(*call)
        pipeline.execute_command("APIKEY.TAGS", key)
        try:
            answer, tags = pipeline.execute()
        except redis.ResponseError:
            # Before Redis 8 a transaction is refused while memory is full. Nothing is remembered then.
            answer, tags = self.client.execute_command(*call), None
        code = answer[0].decode()
        if code != "VALID":
            return code, None, False
        # No channel tells of the passing of time: the reply says when it ends by itself, -1 for never.
        record, left = answer[1], answer[2]
        end = asked + (self.ttl if left < 0 else min(self.ttl, left / 1000))
        with self.lock:
            # A message that came meanwhile may have been about this answer.
            if tags is not None and self.following and self.changes == changes:
                self.answers[question] = (record, set(tags), end)
        return code, record, False

    def _follow(self):
        while True:
            try:
                with self.client.pubsub() as messages:
                    messages.subscribe(self.channel)
                    while True:
                        message = messages.get_message(timeout=1.0)
                        if message and message["type"] == "subscribe":
                            self._drop(following=True)
                        elif message and message["type"] == "message":
                            self._heed(json.loads(message["data"]))
            except Exception as error:  # a lost connection, a message that is none of ours
                # Whatever is published now is missed.
                self._drop(following=False)
                print("the channel is followed anew:", error, file=sys.stderr)
                time.sleep(0.1)

    def _heed(self, message):
        run, number = message["run"], message["number"]
        with self.lock:
            self.changes += 1
            missed = self.numbers.get(run) != number - 1
            self.numbers[run] = number
            if missed or message.get("flushed"):
                self.answers.clear()
                return
            tags = {name_of(tag) for tag in message.get("tags", ())}
            keys = {name_of(key) for key in message.get("keys", ())}
            self.answers = {
                question: answer
                for question, answer in self.answers.items()
                if question[0].encode() not in keys and not tags & answer[1]
            }

    def _drop(self, following):
        with self.lock:
            self.changes += 1
            self.following = following
            self.answers.clear()
            self.numbers.clear()


def name_of(name):
    """A name as the server has it: text, or bytes in hex."""
    return bytes.fromhex(name["hex"]) if isinstance(name, dict) else name.encode()


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=6379)
    options.add_argument("--channel", default="apikey-invalidations")
    options.add_argument("--ttl", type=float, default=5.0, help="seconds that an answer is kept")
    options = options.parse_args()
    client = redis.Redis(options.host, options.port, health_check_interval=2, socket_timeout=5)
    cache = LocalCache(client, options.channel, options.ttl)
    for line in sys.stdin:
        key, digest, *scopes = line.split()
        try:
            code, _, local = cache.validate(key, digest, *scopes)
            print(code, "local" if local else "server", flush=True)
        except redis.RedisError as error:
            print("ERROR", error, flush=True)


if __name__ == "__main__":
    main()
