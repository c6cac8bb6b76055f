"""Runs examples/usage_to_postgres/drain.py in processes that are killed soon after they began.

    consumers.py lease|flush OPTION..        (the options are drain.py's)

First prints how many microseconds such a process takes to its first acknowledgement. Then, for each line
on stdin, a number of microseconds: a new process runs drain.py's main() from its first line, is killed
with SIGKILL after that time, and `killed` is printed.

A process is forked from this one, which has loaded the interpreter and the libraries and has no connection:
starting Python anew would take longer than what is to be killed. `flush` is the consumer with the lease
left out.
"""

import ctypes
import os
import pathlib
import signal
import sys
import time
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "examples/usage_to_postgres"))
import drain  # noqa: E402

PR_SET_PDEATHSIG = 1


class Flusher(drain.Consumer):
    """Takes counts by USAGE.FLUSH, which forgets them."""

    def lease(self):
        taken = self.counters.execute_command("APIKEY.USAGE.FLUSH", "COUNT", self.options.count)
        now = int(time.time() * 1000)
        lines = [(new_id(), key, count, now) for key, count in zip(taken[::2], taken[1::2])]
        return [(new_id(), lines)] if lines else []

    def ack(self, batch):
        pass


def new_id():
    return uuid.uuid4().hex.encode()


def fork():
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        drain.main()
        os._exit(1)  # it should not have ended
    return child


def time_to_first_ack():
    """In seconds."""
    consumer = drain.Consumer

    class EndsThen(consumer):
        def ack(self, batch):
            super().ack(batch)
            os._exit(0)

    drain.Consumer = EndsThen
    start = time.monotonic()
    os.waitpid(fork(), 0)
    drain.Consumer = consumer
    return time.monotonic() - start


def main():
    if sys.argv.pop(1) == "flush":
        drain.Consumer = Flusher
    print(int(time_to_first_ack() * 1e6), flush=True)
    for line in sys.stdin:
        child = fork()
        time.sleep(int(line) / 1e6)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else f"ended by itself: status {status}", flush=True)


main()
