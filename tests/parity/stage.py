"""A server in a situation: its clients, what it is asked and what it tells, and the shapes of it all."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import signal
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

from auth.nkey import KeyPair
from tests.parity.shape import Shape, shape_of, word
from tests.support.certificates import Certificates
from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target
from tests.support.wire import FRAME_SECONDS, WireConnection

PASSWORD = "p"
STEP_SECONDS = 20.0
"""How long something may take to become true that is asked for again and again."""

_PAUSE_SECONDS = 0.02
_NO_RESPONDERS = "NATS/1.0 503"
_INDENTED = re.compile(r"\A[{\[]\n( +)")


class StageError(AssertionError):
    """The server did not come to where a situation has something to look at."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a client has received. Where there was no reply subject, ``reply`` is the size."""

    subject: str
    reply: str
    header: str
    payload: bytes


class Peer:
    """A client that logs in by the CONNECT of some client library."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, *, tls_first: bool) -> None:
        self._wire = WireConnection(port, keep_pings=True)
        self._was_pinged = False
        if tls is not None and tls_first:
            self._wire.start_tls(tls)
        self._wire.read_info()
        if tls is not None and not tls_first:
            self._wire.start_tls(tls)
        self.info = self._wire.info

    @property
    def cid(self) -> int:
        cid: int = self.info["client_id"]
        return cid

    def send(self, *lines: str | bytes) -> None:
        """Sends lines."""
        self._wire.send(b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines))

    def connect(self, fields: dict[str, Any], key: KeyPair | None = None) -> None:
        """Sends CONNECT, with the nonce signed where there is a key."""
        if key is not None:
            signature = key.sign(self.info["nonce"].encode())
            fields = {**fields, "sig": base64.urlsafe_b64encode(signature).decode().rstrip("=")}
        self.send(f"CONNECT {json.dumps(fields)}", "PING")

    def frame(self) -> bytes | None:
        """The next frame; PINGs are answered and not handed on."""
        deadline = time.monotonic() + FRAME_SECONDS
        while (frame := self._wire.frame(deadline - time.monotonic())) == b"PING":
            self._was_pinged = True
            self.send("PONG")
        return frame

    def until(self, line: bytes) -> None:
        """Reads until a frame that begins with this."""
        seen: list[bytes] = []
        while (frame := self.frame()) is not None:
            seen.append(frame)
            if frame.startswith(line):
                return
        raise StageError(f"no {line!r} but {seen[-3:]!r}")

    def settle(self) -> None:
        """Waits until all that was sent is done."""
        self.send("PING")
        self.until(b"PONG")

    def until_measured(self) -> None:
        """Waits until the server has measured the way to this client and back, which it does on its own."""
        if not self._was_pinged:
            while (frame := self._wire.frame()) not in {b"PING", None}:
                pass
            if frame is None:
                raise StageError("the server does not ask for a PONG")
            self.send("PONG")
        self.settle()

    def until_closed(self) -> None:
        """Reads until the server has ended the connection."""
        deadline = time.monotonic() + STEP_SECONDS
        while self.frame() is not None or not self._wire.ended:
            if time.monotonic() > deadline:
                raise StageError("the server keeps the connection")
        self._wire.close()

    def message(self, subject: str = "") -> Message:
        """The next message, or the next one of this subject, with others passed over."""
        while (frame := self.frame()) is not None:
            line, _, body = frame.partition(b"\r\n")
            verb, found, _, *more = line.decode().split(" ")
            if verb not in {"MSG", "HMSG"} or (subject and found != subject):
                continue
            size = int(more[-2]) if verb == "HMSG" else 0
            return Message(found, more[0], body[:size].decode(), body[size:])
        raise StageError(f"no message of {subject}")

    def close(self) -> None:
        """Ends the connection."""
        self._wire.close()


class Stage:
    """One server in one situation. ``shapes`` are those of all that was asked and told, by what it was."""

    def __init__(self, target: Target, certificates: Certificates, directory: Path) -> None:
        self.shapes: dict[str, Shape] = {}
        self.values: dict[str, str] = {}
        """What is named otherwise in every run, by the names it has in the stored shapes."""
        self.certificates = certificates
        self.directory = directory
        self.port, self.http_port = reserve_port(), reserve_port()
        self.is_secure = False
        """Whether monitoring is asked over HTTPS."""
        self._target = target
        self._server: ServerProcess | None = None
        self._peers: list[Peer] = []
        self._inboxes = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for peer in self._peers:
            peer.close()
        if self._server is not None:
            self._server.stop()

    def start(self, configuration: str, *arguments: str) -> None:
        """Starts the server on the ports of the stage."""
        self.write("server.conf", f'listen: "127.0.0.1:{self.port}"\nserver_name: quay\n{configuration}')
        self._server = ServerProcess(
            self._target, ["-c", "server.conf", *arguments], self.directory, preforked=True
        )
        if not self._server.wait_until_ready():
            raise StageError(f"the server does not get ready: {self._server.output[-2000:]}")

    def write(self, file: str, text: str) -> None:
        """A file of the server, with the port of its monitoring and the place of the certificates filled in."""
        text = text.replace("$HTTP", str(self.http_port)).replace("$CERTS", str(self.certificates.directory))
        (self.directory / file).write_text(text)

    def signal(self, number: signal.Signals) -> None:
        """Sends the server a signal."""
        assert self._server is not None
        self._server.send_signal(number)

    # Clients

    def context(self, certificate: str = "") -> ssl.SSLContext:
        """What a client knows of TLS; it shows a certificate where one is named."""
        directory = self.certificates.directory
        made = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        if certificate:
            made.load_cert_chain(directory / f"{certificate}.pem", directory / f"{certificate}-key.pem")
        return made

    def open(self, tls: ssl.SSLContext | None = None, *, tls_first: bool = False) -> Peer:
        """A client that has read INFO."""
        peer = Peer(self.port, tls, tls_first=tls_first)
        self._peers.append(peer)
        self.values["id"] = peer.info["server_id"]
        return peer

    def client(
        self, user: str = "", fields: dict[str, Any] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> Peer:
        """A client that was let in, with the password of all users."""
        peer = self.open(tls)
        names = {"user": user, "pass": PASSWORD} if user else {}
        peer.connect({"verbose": False, "headers": True, "no_responders": True, **names, **(fields or {})})
        peer.until(b"PONG")
        return peer

    def refused(self, user: str = "", fields: dict[str, Any] | None = None, key: KeyPair | None = None) -> None:
        """A client that was not let in."""
        peer = self.open()
        peer.connect({"user": user, "pass": "wrong", **(fields or {})} if user else fields or {}, key)
        peer.until_closed()

    # Monitoring

    def get(self, *paths: str) -> None:
        """Keeps the shapes of what HTTP answers."""
        for path in paths:
            status, headers, body = self.fetch(path)
            shape: dict[str, Shape] = {"status": str(status), "content": headers.get("Content-Type", ABSENT_HEADER)}
            shape["origin"] = headers.get("Access-Control-Allow-Origin", ABSENT_HEADER)
            shape.update(self._body(body.decode(), is_json="json" in shape["content"]))
            self._keep(f"GET {path}", shape)

    def fetch(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """One answer over HTTP."""
        connection = (
            http.client.HTTPSConnection("localhost", self.http_port, timeout=FRAME_SECONDS, context=self.context())
            if self.is_secure
            else http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=FRAME_SECONDS)
        )
        try:
            connection.request("GET", self.filled(path))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def until(self, path: str, condition: Callable[[Any], bool]) -> None:
        """Waits until monitoring shows something; what it shows is kept elsewhere."""
        deadline = time.monotonic() + STEP_SECONDS
        while not condition(found := json.loads(self.fetch(path)[2])):
            if time.monotonic() > deadline:
                raise StageError(f"{path} never shows what it should: {found}")
            time.sleep(_PAUSE_SECONDS)

    def until_closed(self, number: int) -> None:
        """Waits until so many connections are remembered as closed."""
        self.until("/connz?state=closed", lambda page: page["total"] == number)

    # Messages

    def ask(
        self, peer: Peer, subject: str, request: object = None, *, header: str = "", others: Sequence[object] = ()
    ) -> None:
        """Keeps the shape of the answer to a request. ``others`` are requests that must have no answer."""
        inbox = f"inbox.{next(self._inboxes)}"
        peer.send(f"SUB {inbox}.* {inbox}")
        for number, one in enumerate((*others, request)):
            self._publish(peer, subject, f"{inbox}.{number}", one, header)
        try:
            # What the client is told meanwhile is no answer.
            while not (answer := peer.message()).subject.startswith(f"{inbox}."):
                pass
        except StageError as error:
            raise StageError(f"{subject}{_told(request)}: {error}") from None
        peer.send(f"UNSUB {inbox}")
        if answer.subject != f"{inbox}.{len(others)}":
            raise StageError(f"{subject}: an answer to {answer.subject}")
        more = f" ({header})" if header else ""
        self._keep(f"ASK {subject}{_told(request)}{more}", self._message(answer))
        for one in others:
            self._keep(f"ASK {subject}{_told(one)}{more}", "silence")

    def told(self, peer: Peer, *subjects: str, what: str = "") -> None:
        """Keeps the shapes of the next messages with these subjects."""
        for subject in subjects:
            message = peer.message(self.filled(subject))
            self._keep(f"TOLD {subject}{' of ' if what else ''}{what}", self._message(message))

    def _publish(self, peer: Peer, subject: str, reply: str, request: object, header: str) -> None:
        body = "" if request is None else request if isinstance(request, str) else json.dumps(request)
        payload = self.filled(body).encode()
        words = ["PUB", self.filled(subject), reply, str(len(payload))]
        if header:
            lines = f"NATS/1.0\r\n{header}\r\n\r\n".encode()
            words = ["HPUB", *words[1:-1], str(len(lines)), str(len(lines) + len(payload))]
            payload = lines + payload
        peer.send(" ".join(words), payload)

    def _message(self, message: Message) -> Shape:
        header, body = message.header.strip(), message.payload
        if header == _NO_RESPONDERS:
            return "no responders"
        if "Content-Encoding: gzip" in header:
            body = gzip.decompress(body)
        shape: dict[str, Shape] = {"header": word(header.replace("\r\n", " "))} if header else {}
        return {**shape, **self._body(body.decode(), is_json=body.startswith(b"{"))}

    def _body(self, text: str, *, is_json: bool) -> dict[str, Shape]:
        if not is_json or not text.startswith("{"):
            return {"body": "page" if text.startswith("<") else word(self._stored(text))}
        document = json.loads(self._stored(text))
        indent = _INDENTED.match(text)
        layout = f"indented by {len(indent[1])}" if indent else "empty" if not document else "compact"
        if layout == "compact" and '": ' in text:
            layout = "spaced"
        return {"layout": layout, "body": shape_of(document)}

    # Names

    def filled(self, text: str) -> str:
        """The text with the values of this run in place of their names."""
        return re.sub(r"<([\w ]+)>", lambda match: self.values.get(match[1], match[0]), text)

    def _stored(self, text: str) -> str:
        """The text with the place of the server's files named."""
        return text.replace(str(self.directory), "<directory>")

    def _keep(self, name: str, shape: Shape) -> None:
        """Keeps a shape; the second of one name is numbered, and so on."""
        number = next(number for number in count(1) if _numbered(name, number) not in self.shapes)
        self.shapes[_numbered(name, number)] = shape


ABSENT_HEADER = "none"


def _told(request: object) -> str:
    return "" if request is None else f" {request if isinstance(request, str) else json.dumps(request)}"


def _numbered(name: str, number: int) -> str:
    return f"{name} #{number}" if number > 1 else name
