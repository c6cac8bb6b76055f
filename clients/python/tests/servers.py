"""Servers of the tests: each on a port of its own in a temporary folder, ended with the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

TOP = Path(__file__).resolve().parents[3]
MODULE = os.environ.get("APIKEY_MODULE", str(TOP / "target/debug/libapikey.so"))
SERVER = os.environ.get("APIKEY_SERVER_BIN") or shutil.which("redis-server") or "redis-server"


def free_port() -> int:
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port <= 55_535:
            return port


def eventually(holds: Callable[[], Any], within: float = 20.0) -> Any:
    """What `holds` returns, once that is something."""
    until = time.monotonic() + within
    while True:
        found = holds()
        if found or time.monotonic() > until:
            assert found
            return found
        time.sleep(0.01)


class Server:
    def __init__(self, *config: str, settings: Sequence[str] = ()) -> None:
        self.config = config
        self.settings = settings
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix="apikey-py-")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.dir}",
            f"logfile {self.dir}/log",
            'save ""',
            f"loadmodule {MODULE} {' '.join(self.settings)}",
            *self.config,
        ]
        Path(self.dir, "conf").write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([SERVER, f"{self.dir}/conf"], stdout=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.ConnectionError:
            assert self.process is not None
            assert self.process.poll() is None, Path(self.dir, "log").read_text()
            return False

    def client(self, **arguments: Any) -> Any:
        return redis.Redis(port=self.port, **arguments)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Cluster:
    """Three primaries."""

    def __init__(self) -> None:
        self.nodes = [
            Server(
                "cluster-enabled yes",
                "cluster-node-timeout 5000",
                settings=["invalidation-channel", "apikey-invalidations"],
            )
            for _ in range(3)
        ]
        clients = [node.client() for node in self.nodes]
        for number, client in enumerate(clients):
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            if number:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        self.settled()

    def settled(self) -> None:
        """Waits until all nodes know each other, and take calls."""
        eventually(lambda: all(self._is_settled(node.client()) for node in self.nodes))

    @staticmethod
    def _is_settled(client: Any) -> bool:
        info = client.execute_command("CLUSTER INFO")
        return bool(info.get("cluster_state") == "ok" and info["cluster_known_nodes"] == "3")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
