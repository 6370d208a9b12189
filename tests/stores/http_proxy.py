"""An HTTP proxy on loopback between a client and an object store: faults for requests that a test names.

It is a process of its own: some calls of delta-rs hold Python's lock while they wait for the store, and would
wait for a thread of the same process for ever.

Never: a reply that the server did not give; a request that is changed.
"""

import contextlib
import multiprocessing
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import msgspec

LOOPBACK = "127.0.0.1"
SERVER_SECONDS = 30
PATIENCE_SECONDS = 30
WITHOUT_BODY = (204, 304)


class Accident(Enum):
    """What happens to a request."""

    NONE = auto()
    REPLY_LOST = auto()
    """The server does it, and the connection ends before the client hears of it."""
    CUT = auto()
    """The connections on both sides end in the middle of the request."""
    SILENCE = auto()
    """The server does not see it, and the client hears nothing until it gives up."""


class Rule(msgspec.Struct):
    """The next `count` requests with this method and a target that `pattern` finds have the accident."""

    accident: Accident = Accident.NONE
    method: str = ""
    pattern: str = ""
    """Of path and query, as they are sent."""
    count: int = 0


class FaultyProxy:
    """The proxy as a test sees it."""

    def __init__(self, port: int, orders: Connection) -> None:
        self.port = port
        self._orders = orders

    def next(self, accident: Accident, method: str, pattern: str, *, count: int = 1) -> None:
        """From now on this rule is the only one."""
        self._ask(Rule(accident, method, pattern, count))

    def pass_all(self) -> int:
        """No more accidents; how many the last rule had."""
        return self._ask(Rule())

    def _ask(self, rule: Rule) -> int:
        self._orders.send(rule)
        if not self._orders.poll(PATIENCE_SECONDS):
            raise TimeoutError("the proxy does not answer")
        happened: int = self._orders.recv()
        return happened


@contextmanager
def faulty_proxy(target_port: int) -> Iterator[FaultyProxy]:
    """A proxy in front of a server on loopback; ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(target_port, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_SECONDS):
            raise TimeoutError("the proxy does not start")
        yield FaultyProxy(ours.recv(), ours)
    finally:
        ours.close()
        process.join(PATIENCE_SECONDS)


def _serve(target_port: int, orders: Connection) -> None:
    """What the process runs, until the other side closes `orders`."""
    with _Server((LOOPBACK, 0), _Handler) as server:
        server.target_port = target_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        orders.send(server.server_address[1])
        with contextlib.suppress(EOFError):
            while True:
                rule = orders.recv()
                orders.send(server.obey(rule))
        server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    target_port: int

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._lock = threading.Lock()
        self._rule = Rule()
        self._happened = 0

    def obey(self, rule: Rule) -> int:
        """How many accidents there were under the rule before."""
        with self._lock:
            happened, self._happened, self._rule = self._happened, 0, rule
            return happened

    def accident_of(self, method: str, target: str) -> Accident:
        with self._lock:
            rule = self._rule
            if not rule.count or method != rule.method or not re.search(rule.pattern, target):
                return Accident.NONE
            rule.count -= 1
            self._happened += 1
            return rule.accident

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that ends in the middle is what the proxy is for."""


class _Handler(BaseHTTPRequestHandler):
    """One request per connection, so that no client meets a connection that ended meanwhile."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        self.close_connection = True
        accident = self.server.accident_of(self.command, self.path)
        body = self._body()
        if accident is Accident.SILENCE:
            self.rfile.read(1)
            return
        connection = HTTPConnection(LOOPBACK, self.server.target_port, timeout=SERVER_SECONDS)
        with contextlib.closing(connection) as server, contextlib.suppress(HTTPException):
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":  # answered here, as its sender waits for it
                    server.putheader(name, value)
            server.endheaders()
            if accident is Accident.CUT:
                server.send(body[: len(body) // 2])
                return
            server.send(body)
            self._answer(server, accident)

    def _body(self) -> bytes:
        """As it came, its chunks with their frames."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [size := self.rfile.readline()]
        while length := int(size.partition(b";")[0], 16):
            parts += [self.rfile.read(length + len(b"\r\n")), size := self.rfile.readline()]
        return b"".join([*parts, *self._trailers()])

    def _trailers(self) -> Iterator[bytes]:
        """Checksums of the body, and the empty line."""
        while (line := self.rfile.readline()).strip():
            yield line
        yield line

    def _answer(self, server: HTTPConnection, accident: Accident) -> None:
        reply = server.getresponse()
        content = reply.read()
        if accident is Accident.REPLY_LOST:
            return
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        size = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if size is not None and reply.status not in WITHOUT_BODY:
            self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
