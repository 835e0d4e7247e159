"""An account server such as operators run: it takes self-signed accounts and gives them back signed by the operator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from auth import jwt
from auth.claims import AccountClaims, OperatorClaims
from auth.nkey import KeyKind, KeyPair


class AccountServer(ThreadingHTTPServer):
    """Serves the operator at /jwt/v1/operator, and takes and gives accounts at /jwt/v1/accounts/<public key>."""

    daemon_threads = True

    def __init__(self, name: str = "MO") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pair = KeyPair.generate(KeyKind.OPERATOR)
        self.accounts: dict[str, str] = {}
        self.posts: list[tuple[str, str | None]] = []
        """The path and the content type of each account that was sent."""
        self.post_status = 200
        self.post_answer = b""
        self.replacements: dict[str, str] = {}
        """What is given instead of an account, by its public key."""
        operator = OperatorClaims.new(self.pair.public)
        operator.name = name
        operator.nats.account_server_url = self.base
        self.operator = jwt.encode(operator, self.pair)

    @property
    def base(self) -> str:
        """The account server's URL, as operators name it in their JWT."""
        return f"http://127.0.0.1:{self.server_address[1]}/jwt/v1"

    def take(self, public: str, token: str) -> None:
        """Sign an account."""
        self.accounts[public] = jwt.encode(AccountClaims.from_token(token), self.pair)


class _Handler(BaseHTTPRequestHandler):
    server: AccountServer

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Stay silent."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        public = self.path.rpartition("/")[2]
        if self.path.endswith("/operator"):
            self._answer(200, self.server.operator.encode())
        elif public in self.server.replacements:
            self._answer(200, self.server.replacements[public].encode())
        elif public in self.server.accounts:
            self._answer(200, self.server.accounts[public].encode())
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posts.append((self.path, self.headers["Content-Type"]))
        if self.server.post_status < 300:
            self.server.take(self.path.rpartition("/")[2], body)
        self._answer(self.server.post_status, self.server.post_answer)


@contextmanager
def serving(name: str = "MO") -> Iterator[AccountServer]:
    """A running account server."""
    with AccountServer(name) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
