"""Plays one recorded case against one server: starts it, does the steps in order, and says where it went otherwise."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import ssl
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys
import yaml

from tests.support.certificates import Certificates
from tests.support.ports import reserve_port
from tests.support.servers import ServerProcess, Target
from tests.support.wire import BrokenFrameError, WireConnection
from tests.transcripts.matching import frame_difference, json_difference, text_difference, to_bytes, to_text

CONFIGURATION = "server.conf"
EXIT_SECONDS = 30.0
ANSWER_SECONDS = 10.0
_RETRY_SECONDS = 0.5
_TRACE_LIMIT = 3000
_ARMORED = re.compile(r"-----BEGIN [^-]+-----\s*(\S+)\s*-+END")
_ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "rawurl": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="),
    "url": base64.urlsafe_b64encode,
    "std": base64.b64encode,
    "rawstd": lambda raw: base64.b64encode(raw).rstrip(b"="),
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _old_client() -> ssl.SSLContext:
    """A client that knows TLS 1.1 at most, which Python makes under protest only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


# Made before there are threads: catching warnings is not safe among them.
_OLD_CLIENT = _old_client()


class MismatchError(AssertionError):
    """The server did not do what was recorded."""


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded conversation; the format of ``document`` stands in README.md."""

    name: str
    document: dict[str, Any]

    @staticmethod
    def load(path: Path) -> Case:
        document = yaml.load(path.read_text(), _LOADER)
        return Case(document["name"], document)


def play(case: Case, target: Target, certificates: Certificates, directory: Path) -> None:
    """Raises :class:`MismatchError` with the step, the reason and everything that was sent and received until then."""
    player = _Player(case.document, target, certificates, directory)
    try:
        player.run()
    except (MismatchError, BrokenFrameError) as error:
        raise MismatchError("\n".join([str(error), *player.trace])) from None


class _Player:
    def __init__(self, document: dict[str, Any], target: Target, certificates: Certificates, directory: Path) -> None:
        self.trace: list[str] = []
        self._document = document
        self._steps: list[dict[str, Any]] = document["steps"]
        self._target = target
        self._certificates = certificates
        self._directory = directory
        self._port = reserve_port()
        self._http_port = reserve_port()
        self._values = {
            "port": str(self._port),
            "http": str(self._http_port),
            "dir": str(directory),
            "certs": str(certificates.directory),
        }
        self._connections: dict[str, WireConnection] = {}
        self._server: ServerProcess
        self._verbs: dict[str, Callable[[Any], None]] = {
            "open": self._open,
            "connect": self._connect,
            "send": self._send,
            "expect": self._expect,
            "expect_any": self._expect_any,
            "unordered": self._unordered,
            "silence": self._silence,
            "closed": self._closed,
            "close": self._close,
            "ping": self._ping,
            "sleep": time.sleep,
            "exit": self._exit,
            "http": self._http,
            "signal": self._signal,
            "write": self._write,
        }

    def run(self) -> None:
        # Cases about the command line start the command itself; a check of a file is only about the file.
        arguments = self._document.get("args") or []
        preforked = arguments == ["-t"] or (not arguments and "exit" not in self._steps[0])
        environment = {name: self._filled(text) for name, text in self._document.get("env", {}).items()}
        for name, text in self._document.get("files", {}).items():
            (self._directory / name).parent.mkdir(parents=True, exist_ok=True)
            (self._directory / name).write_text(self._filled(text))
        with ServerProcess(
            self._target, self._arguments(), self._directory, environment, preforked=preforked
        ) as self._server:
            try:
                if "exit" not in self._steps[0] and not self._server.wait_until_ready():
                    raise MismatchError(f"the server does not get ready: {self._server.output[-2000:]}")
                for number, step in enumerate(self._steps, 1):
                    ((verb, argument),) = step.items()
                    try:
                        self._verbs[verb](argument)
                    except MismatchError as error:
                        raise MismatchError(f"step {number} ({verb}): {error}") from None
            finally:
                for connection in self._connections.values():
                    connection.close()

    def _arguments(self) -> list[str]:
        arguments = [self._filled(argument) for argument in self._document.get("args") or []]
        text: str | None = self._document.get("config")
        if text is None:
            return arguments
        self._write({"file": CONFIGURATION, "text": text})
        return ["-c", CONFIGURATION, *arguments]

    def _filled(self, text: str) -> str:
        text = re.sub(r"\{\{rep:(.+?)\*(\d+)\}\}", lambda match: match[1] * int(match[2]), text)
        text = re.sub(r"\{\{pin:(\w+)\}\}", lambda match: self._certificates.pins[match[1]], text)
        text = re.sub(
            r"\{\{cid:(\w+)\}\}", lambda match: str(self._connections[match[1]].info["client_id"]), text
        )
        return re.sub(r"\{\{(\w+)\}\}", lambda match: self._values.get(match[1], match[0]), text)

    def _open(self, argument: str | dict[str, Any]) -> None:
        options: dict[str, Any] = {"c": argument} if isinstance(argument, str) else argument
        name, tls = options["c"], options.get("tls")

        def trace(direction: str, data: bytes) -> None:
            self.trace.append(f"    {name} {direction} {to_text(data)[:_TRACE_LIMIT]}")

        connection = WireConnection(self._port, keep_pings=bool(options.get("pings")), trace=trace)
        self._connections[name] = connection
        fails = tls is not None and tls.get("fails")
        try:
            if tls is not None and tls.get("first"):
                connection.start_tls(self._client_context(tls))
            if options.get("info") is not False:
                self._check_info(connection, options.get("info") or {})
            if tls is not None and not tls.get("first"):
                connection.start_tls(self._client_context(tls))
        except OSError as error:
            if not fails:
                raise MismatchError(f"TLS: {error}") from None
            return
        # With TLS 1.3 the refusal of a client certificate arrives after the client's side of the handshake.
        if fails and (connection.frame() is not None or not connection.ended):
            raise MismatchError("the TLS handshake succeeded")

    def _check_info(self, connection: WireConnection, wanted: dict[str, Any]) -> None:
        frame = connection.read_info()
        if not connection.info:
            raise MismatchError(f"no INFO but {_shown(connection, frame)}")
        self._values["id"] = str(connection.info["server_id"])
        if reason := json_difference(wanted, connection.info, "INFO"):
            raise MismatchError(reason)

    def _client_context(self, tls: dict[str, Any]) -> ssl.SSLContext:
        directory = self._certificates.directory
        context = _OLD_CLIENT if tls.get("max") == "1.1" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(str(directory / "ca.pem"))
        if name := tls.get("cert"):
            context.load_cert_chain(str(directory / f"{name}.pem"), str(directory / f"{name}-key.pem"))
        if tls.get("max") == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _connect(self, argument: list[Any]) -> None:
        connection = self._connections[argument[0]]
        options, proof = dict(argument[1]), dict(argument[2] if len(argument) > 2 else {})
        if armored := proof.get("creds"):
            proof["jwt"], proof["seed"] = _ARMORED.findall(armored)
        if "jwt" in proof:
            options["jwt"] = proof["jwt"]
        if "seed" in proof:
            keypair = nkeys.from_seed(proof["seed"].encode())
            signature = keypair.sign(connection.info.get("nonce", "").encode())
            options["sig"] = _ENCODINGS[proof.get("enc", "rawurl")](signature).decode()
            if proof.get("nkey"):
                options["nkey"] = keypair.public_key.decode()
        if "sig" in proof:
            options["sig"] = proof["sig"]
        connection.send(b"CONNECT " + json.dumps(options).encode() + b"\r\n")

    def _send(self, argument: list[str]) -> None:
        name, *texts = argument
        for text in texts:
            self._connections[name].send(to_bytes(self._sized(self._filled(text))))

    def _sized(self, text: str) -> str:
        """The text with the size of its only message in place of ``{{n}}``."""
        before, placeholder, payload = text.partition("{{n}}\\r\\n")
        return f"{before}{len(to_bytes(payload)) - 2}\\r\\n{payload}" if placeholder else text

    def _next(self, name: str, wanted: object) -> bytes:
        connection = self._connections[name]
        frame = connection.frame()
        if frame is None:
            raise MismatchError(f"{_shown(connection, None)} instead of {wanted!r}")
        return frame

    def _expect(self, argument: list[Any]) -> None:
        name, *wanted = argument
        for expected in wanted:
            frame = self._next(name, expected)
            if reason := frame_difference(expected, frame):
                raise MismatchError(reason)
            if isinstance(expected, dict) and "save" in expected:
                self._values[expected["save"]] = frame.split(b"\r\n")[0].split()[3].decode()

    def _expect_any(self, argument: list[Any]) -> None:
        name, *wanted = argument
        frame = self._next(name, wanted)
        if all(frame_difference(expected, frame) for expected in wanted):
            raise MismatchError(f"{to_text(frame)!r} instead of one of {wanted!r}")

    def _unordered(self, argument: list[Any]) -> None:
        name, *wanted = argument
        while wanted:
            frame = self._next(name, wanted)
            hit = next((i for i, expected in enumerate(wanted) if frame_difference(expected, frame) is None), None)
            if hit is None:
                raise MismatchError(f"{to_text(frame)!r} instead of one of {wanted!r}")
            del wanted[hit]

    def _silence(self, argument: list[Any]) -> None:
        connection = self._connections[argument[0]]
        frame = connection.frame(argument[1] / 1000)
        if frame is not None or connection.ended:
            raise MismatchError(f"{_shown(connection, frame)} in the silence")

    def _closed(self, name: str) -> None:
        connection = self._connections[name]
        frame = connection.frame()
        if frame is not None or connection.unread or not connection.ended:
            raise MismatchError(f"{_shown(connection, frame)} instead of the end")

    def _close(self, name: str) -> None:
        self._connections.pop(name).close()

    def _ping(self, name: str) -> None:
        self._connections[name].send(b"PING\r\n")
        self._expect([name, "PONG"])

    def _exit(self, argument: dict[str, Any]) -> None:
        code = self._server.wait_until_exit(EXIT_SECONDS)
        output = self._server.output
        if code != argument.get("code", 0):
            raise MismatchError(f"exit code {code} instead of {argument.get('code', 0)}: {output[-2000:]}")
        for pattern in argument.get("output", []):
            if not re.search(pattern, output, re.DOTALL):
                raise MismatchError(f"nothing like {pattern!r} in the output: {output[-2000:]}")


    def _signal(self, name: str) -> None:
        self._server.send_signal(signal.Signals[f"SIG{name}"])

    def _write(self, argument: dict[str, str]) -> None:
        text = argument["text"]
        if argument["file"] == CONFIGURATION and not self._document.get("bare"):
            text = 'listen: "127.0.0.1:{{port}}"\n' + text
        (self._directory / argument["file"]).write_text(self._filled(text))

    def _http(self, argument: dict[str, Any]) -> None:
        """What the monitoring port answers, which may take a moment to become true."""
        end = time.monotonic() + float(argument.get("retry", _RETRY_SECONDS))
        while reason := self._http_difference(argument):
            if time.monotonic() > end:
                raise MismatchError(f"{argument['path']}: {reason}")
            time.sleep(0.05)

    def _http_difference(self, wanted: dict[str, Any]) -> str | None:
        path = self._filled(wanted["path"])
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=ANSWER_SECONDS)
        try:
            connection.request(wanted.get("method", "GET"), path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        finally:
            connection.close()
        self.trace.append(f"    http {path} {response.status} {to_text(body)[:_TRACE_LIMIT]}")
        if response.status != wanted.get("status", 200):
            return f"status {response.status} instead of {wanted.get('status', 200)}: {to_text(body)[:200]}"
        for name, text in wanted.get("headers", {}).items():
            if reason := text_difference(text, (response.getheader(name) or "").encode("latin-1")):
                return f"header {name}: {reason}"
        if "text" in wanted and (reason := text_difference(wanted["text"], body)):
            return reason
        return json_difference(wanted["json"], json.loads(body)) if "json" in wanted else None


def _shown(connection: WireConnection, frame: bytes | None) -> str:
    if frame is not None:
        return repr(to_text(frame))
    ending = "the connection ended" if connection.ended else "nothing came"
    return f"{ending} after {to_text(connection.unread)!r}" if connection.unread else ending
