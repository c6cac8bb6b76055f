"""A way to a server on which replies are lost."""

from __future__ import annotations

import contextlib
import socket
import threading

from servers import Server


class Proxy:
    """Hands all on, but for replies to what has `lost` in it: their connections end, so often as `losses` says."""

    def __init__(self, server: Server) -> None:
        self._to = ("127.0.0.1", server.port)
        self.lost = b""
        self.losses = 0
        self.seen: list[bytes] = []
        """The commands, as they were sent."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, socket.create_connection(self._to) as server, contextlib.suppress(OSError):
            while said := caller.recv(65536):
                self.seen.append(said)
                server.sendall(said)
                reply = server.recv(65536)
                if self.losses and self.lost in said:
                    # The server has done it.
                    self.losses -= 1
                    return
                caller.sendall(reply)

    def close(self) -> None:
        self._listener.close()
