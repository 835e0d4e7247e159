"""Pages for a browser, served beside the loop of a test."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = "text/html; charset=utf-8"
SCRIPT = "text/javascript; charset=utf-8"


class _Pages(ThreadingHTTPServer):
    """Answers each path with a content type and a body."""

    daemon_threads = True

    def __init__(self, content: Mapping[str, tuple[str, str]], cookie: str) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.content = content
        self.cookie = cookie


class _Request(BaseHTTPRequestHandler):
    server: _Pages

    def do_GET(self) -> None:
        found = self.server.content.get(self.path)
        if found is None:
            self.send_error(404)
            return
        kind, text = found
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server.cookie:
            self.send_header("Set-Cookie", self.server.cookie)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Says nothing."""


@contextmanager
def pages(
    content: Mapping[str, tuple[str, str]], *, tls: ssl.SSLContext | None = None, cookie: str = ""
) -> Iterator[str]:
    """Serves content by path, each with its type, for as long as the block; the origin of the pages. A cookie is set
    with every answer, as the value of ``Set-Cookie`` says."""
    server = _Pages(content, cookie)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()
