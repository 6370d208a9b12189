"""A TCP proxy that can stop passing bytes in either direction while it keeps the connection open."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ray_fraud.stores.connections import PostgresConnection

CHUNK_BYTES = 65_536


class TcpProxy:
    """Listens on loopback; with `drop_replies` set, what the server says is thrown away."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.drop_replies = threading.Event()
        self.drop_requests = threading.Event()
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "TcpProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._listener.close()

    def lead_to(self, port: int) -> None:
        """New connections go there, open ones stay where they are."""
        self._target = (self._target[0], port)

    def cut(self) -> None:
        """Ends all connections."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for source, sink, dropping in (
                    (client, server, self.drop_requests),
                    (server, client, self.drop_replies),
                ):
                    threading.Thread(target=self._pass, args=(source, sink, dropping), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, dropping: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if not dropping.is_set():
                    sink.sendall(chunk)
            sink.shutdown(socket.SHUT_RDWR)


def proxy_of(where: PostgresConnection) -> TcpProxy:
    parts = urlsplit(where.url)
    return TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5432)


def through(proxy: TcpProxy, where: PostgresConnection) -> PostgresConnection:
    """The same database, reached by the proxy."""
    parts = urlsplit(where.url)
    address = f"{parts.username}@127.0.0.1:{proxy.port}"
    return msgspec.structs.replace(where, url=urlunsplit(parts._replace(netloc=address)))
