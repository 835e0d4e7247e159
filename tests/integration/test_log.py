"""The log of a running server: its lines, its files under load, syslog, JSON, the whole trace, and never a secret."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from auth.nkey import KeyPair
from tests.support.certificates import make_certificates
from tests.support.ports import reserve_port
from tests.support.realm import Realm
from tests.support.servers import NATSKEEP, ServerProcess
from tests.support.wire import WireConnection

SECONDS = 20.0
LINE = re.compile(r"\[(\d+)\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[(INF|DBG|WRN|ERR|FTL|TRC)\] (.*)")
CONNECT = b'CONNECT {"verbose":false,"protocol":1,"name":"me","lang":"go","version":"1.2"}\r\n'
EXCHANGE = b"SUB foo 1\r\nPUB foo 2\r\nhi\r\nUNSUB 1\r\nPING\r\n"
TRACED = [
    "<<- [SUB foo 1]",
    "<<- [PUB foo 2]",
    '<<- MSG_PAYLOAD: ["hi"]',
    "->> [MSG foo 1 2]",
    '->> MSG_PAYLOAD: ["hi"]',
    "<<- [UNSUB 1]",
    "<-> [DELSUB 1]",
    "<<- [PING]",
    "->> [PONG]",
]


@pytest.fixture
def port() -> int:
    return reserve_port()


def started(directory: Path, port: int, *words: str, config: str = "") -> ServerProcess:
    """A server that is ready, as the log on its output says."""
    arguments = ["-a", "127.0.0.1", "-p", str(port), *words]
    if config:
        (directory / "server.conf").write_text(config)
        arguments += ["-c", str(directory / "server.conf")]
    return ServerProcess(NATSKEEP, arguments, directory, preforked=True)


def stop(process: ServerProcess) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait_until_exit(SECONDS) == 0


def connected(port: int, connect: bytes = CONNECT) -> WireConnection:
    client = WireConnection(port)
    client.read_info()
    client.send(connect + b"PING\r\n")
    until_pong(client)
    return client


def until_pong(client: WireConnection) -> None:
    """Reads on to the next PONG, for which a PING was sent."""
    while client.frame() != b"PONG":
        assert not client.ended


def until(condition: Callable[[], bool], process: ServerProcess) -> None:
    """Waits for what a test cannot be told of."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        assert process.wait_until_exit(0.01) is None, process.output


def texts(log: str, level: str | None = None) -> list[str]:
    """What follows the label in each line, of one level or of all; every line must be a whole one."""
    found = [LINE.fullmatch(line) for line in log.splitlines()]
    assert all(found), log
    return [match[3] for match in found if match is not None and level in {None, match[2]}]


# Lines.


def test_the_lines_of_a_start_and_an_end(tmp_path: Path, port: int) -> None:
    config = 'server_name: keep\nauthorization {user: a, password: b}\nmax_payload: 10MB\nhttp: "127.0.0.1:-1"\n'
    with started(tmp_path, port, config=config) as process:
        assert process.wait_until_ready()
        stop(process)
        lines = texts(process.output)
        assert {int(found) for found in re.findall(r"^\[(\d+)\]", process.output, re.MULTILINE)} == {process.pid}
    expected = [
        "Starting nats-server",
        r"  Version:  2\.14\.5 .*",
        r"  Git:      \[not set\]",
        "  Name:     keep",
        "  ID:       N[A-Z2-7]{55}",
        "Plaintext passwords detected, use nkeys or bcrypt",
        r"Using configuration file: .*server\.conf \(sha256:[0-9a-f]{64}\)",
        r"Maximum payloads over 8\.00 MB are generally discouraged and could lead to poor performance",
        r"Starting http monitor on 127\.0\.0\.1:\d+",
        rf"Listening for client connections on 127\.0\.0\.1:{port}",
        "Server is ready",
        'Trapped "terminated" signal',
        r"Initiating Shutdown\.\.\.",
        r"Server Exiting\.\.",
    ]
    assert len(lines) == len(expected)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(expected, lines, strict=True)), lines


def test_a_start_that_fails_has_begun(tmp_path: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), started(tmp_path, port) as process:
        assert process.wait_until_exit(SECONDS) == 1
        assert texts(process.output)[0] == "Starting nats-server"
        assert "address already in use" in texts(process.output, "FTL")[0]


def test_lines_without_time(tmp_path: Path, port: int) -> None:
    with started(tmp_path, port, "-T=false") as process:
        assert process.wait_until_ready()
        assert f"[{process.pid}] [INF] Server is ready\n" in process.output


def test_debug_and_trace_are_apart(tmp_path: Path, port: int) -> None:
    for word, levels in (("-D", {"INF", "DBG"}), ("-V", {"INF", "TRC"}), ("-DVV", {"INF", "DBG", "TRC"})):
        with started(tmp_path, port, word) as process:
            assert process.wait_until_ready()
            connected(port).close()
            stop(process)
            assert {found[1] for found in re.finditer(r" \[([A-Z]{3})\] ", process.output)} == levels


@pytest.mark.parametrize("secured", [False, True])
def test_trace_of_a_whole_conversation(tmp_path: Path, port: int, secured: bool) -> None:
    make_certificates(tmp_path)
    config = f'tls {{cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server-key.pem"}}\n' if secured else ""
    with started(tmp_path, port, "-DV", config=config) as process:
        assert process.wait_until_ready()
        client = WireConnection(port)
        client.read_info()
        address = f"127.0.0.1:{client.local_port}"
        if secured:
            client.start_tls(ssl.create_default_context(cafile=tmp_path / "ca.pem"))
        client.send(CONNECT + EXCHANGE)
        until_pong(client)
        client.send(b"CONECT secret\r\n")
        while not client.ended:
            client.frame()
        client.close()
        until(lambda: "connection closed" in process.output, process)
        stop(process)
        lines = [line for line in texts(process.output) if line.startswith(address)]
    named = f'{address} - cid:1 - "v1.2:go:me" - '
    begin = [f"{address} - cid:1 - Client connection created"]
    if secured:
        begin += [
            f"{address} - cid:1 - Starting TLS client connection handshake",
            f"{address} - cid:1 - TLS handshake complete",
            f"{address} - cid:1 - TLS version 1.3, cipher suite TLS_AES_128_GCM_SHA256",
        ]
    offset = next(iter(re.findall(r"i=(\d+)", "".join(lines))))
    assert lines == [
        *begin,
        f"{address} - cid:1 - <<- [{CONNECT.decode().strip()}]",
        *(named + line for line in TRACED),
        f"{named}Client parser ERROR, state=0, i={offset}: proto='\"CONECT\"...'",
        f"{named}->> [-ERR Unknown Protocol Operation]",
        f"{named}Client connection closed: Protocol Violation",
    ]


def test_a_slow_consumer_is_named(tmp_path: Path, port: int) -> None:
    with started(tmp_path, port, "-D", config="max_payload: 1MB\nmax_pending: 1MB\n") as process:
        assert process.wait_until_ready()
        receiver, sender = connected(port), connected(port)
        receiver.send(b"SUB a 1\r\nPING\r\n")
        until_pong(receiver)
        message = b"PUB a 500000\r\n" + b"x" * 500_000 + b"\r\n"

        def publish() -> None:
            while "Slow Consumer" not in process.output and not sender.ended:
                sender.send(message)

        publisher = threading.Thread(target=publish)
        publisher.start()
        until(lambda: "Slow Consumer Detected" in process.output, process)
        publisher.join()
        until(lambda: "(Pending Bytes)" in process.output, process)
        label = f'127.0.0.1:{receiver.local_port} - cid:1 - "v1.2:go:me"'
        assert f"{label} - Slow Consumer Detected: MaxPending of 1048576 Exceeded" in texts(process.output, "INF")
        assert f"{label} - Client connection closed: Slow Consumer (Pending Bytes)" in texts(process.output, "DBG")


# Files.


def test_rotation_under_load_loses_nothing(tmp_path: Path, port: int) -> None:
    log = tmp_path / "the.log"
    with started(tmp_path, port, "-V", "-l", str(log), "-log_size_limit", "20000") as process:
        until(lambda: log.exists() and "Server is ready" in log.read_text(), process)
        client = connected(port)
        for start in range(0, 2000, 100):
            client.send(b"".join(b"PUB n.%d 0\r\n\r\n" % number for number in range(start, start + 100)))
        client.send(b"PING\r\n")
        until_pong(client)
        stop(process)
        assert process.output == ""
    files = sorted(tmp_path.glob("the.log.*"))
    assert len(files) > 5
    assert all(re.fullmatch(r"the\.log\.\d{4}(\.\d\d){5}\.\d{9}", file.name) for file in files)
    assert all(file.stat().st_size < 21_000 for file in (*files, log))
    whole = "".join(file.read_text() for file in (*files, log))
    assert re.findall(r"\[PUB n\.(\d+) 0\]", whole) == [str(number) for number in range(2000)]
    assert texts(whole, "INF").count("Server is ready") == 1


def test_old_files_go(tmp_path: Path, port: int) -> None:
    log = tmp_path / "the.log"
    config = f'logfile: "{log}"\nlogfile_size_limit: 2000\nlogfile_max_num: 3\ntrace: true\n'
    with started(tmp_path, port, config=config) as process:
        until(lambda: log.exists() and "Server is ready" in log.read_text(), process)
        client = connected(port)
        client.send(b"PING\r\n" * 200)
        for _ in range(200):
            until_pong(client)
        stop(process)
    assert len(list(tmp_path.glob("the.log*"))) == 3


def test_reopen_after_rename(tmp_path: Path, port: int) -> None:
    log, moved = tmp_path / "the.log", tmp_path / "moved"
    with started(tmp_path, port, "-l", str(log)) as process:
        until(lambda: log.exists() and "Server is ready" in log.read_text(), process)
        log.rename(moved)
        process.send_signal(signal.SIGUSR1)
        until(lambda: log.exists() and "re-opened" in log.read_text(), process)
        stop(process)
    assert texts(moved.read_text())[-1] == 'Trapped "user defined signal 1" signal'
    assert texts(log.read_text()) == [
        "File log re-opened", 'Trapped "terminated" signal', "Initiating Shutdown...", "Server Exiting.."
    ]  # fmt: skip


def test_reopen_where_there_is_no_file(tmp_path: Path, port: int) -> None:
    with started(tmp_path, port) as process:
        assert process.wait_until_ready()
        process.send_signal(signal.SIGUSR1)
        assert process.wait_for("File log re-open ignored, not a file logger")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-l", "/nonexistent/x.log"], "error opening file: open /nonexistent/x.log: no such file or directory"),
        (["-r", "unixgram:///x"], 'invalid network type: "unixgram"'),
        (["-r", "unix:///nonexistent/x"], 'error connecting to syslog: "No such file or directory"'),
    ],
)
def test_a_log_that_cannot_be_had(tmp_path: Path, port: int, words: list[str], message: str) -> None:
    with started(tmp_path, port, *words) as process:
        assert process.wait_until_exit(SECONDS) == 1
        assert message in process.output


# Other forms.


def test_json_lines(tmp_path: Path, port: int) -> None:
    config = (
        "log_format: json\ntrace: true\ndebug: true\n"
        'accounts {A {users [{user: eve, password: pw, permissions {publish: "a"}}]}}\n'
    )
    with started(tmp_path, port, config=config) as process:
        assert process.wait_until_ready()
        client = connected(port, b'CONNECT {"verbose":false,"user":"eve","pass":"pw","name":"x\\u001b[2J\\n"}\r\n')
        client.send(b"PUB no.\x1b\xff 1\r\n\x00\r\nPING\r\n")
        until_pong(client)
        address = f"127.0.0.1:{client.local_port}"
        stop(process)
        lines = [json.loads(line) for line in process.output.splitlines()]
    assert {tuple(line)[:5] for line in lines} == {("time", "level", "pid", "component", "message")}
    ours = [line for line in lines if "cid" in line]
    assert {(line["cid"], line["address"]) for line in ours} == {(1, address)}
    assert {line["level"] for line in lines} == {"info", "warning", "debug", "trace", "error"}
    assert all(value.isprintable() for line in lines for value in line.values() if isinstance(value, str))
    [refusal] = [line for line in ours if "denial" in line]
    assert refusal["level"] == "error"
    assert (refusal["account"], refusal["user"]) == ("A", "user:eve")
    assert refusal["message"].startswith(r'Publish Violation - Subject "no.\x1b\xff" - denial ' + refusal["denial"])


def test_remote_syslog(tmp_path: Path, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(SECONDS)
        url = f"udp://127.0.0.1:{server.getsockname()[1]}"
        with started(tmp_path, port, "-r", url, "-V") as process:
            messages: list[str] = []
            while "Server is ready" not in "".join(messages):
                messages.append(server.recv(65536).decode())
            connected(port).close()
            while "<<- [PING]" not in messages[-1]:
                messages.append(server.recv(65536).decode())
            stop(process)
            while "Server Exiting" not in messages[-1]:
                messages.append(server.recv(65536).decode())
            assert process.output == ""
    head = rf"<\d>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) \S+ \S+\[{process.pid}\]: "
    assert all(re.match(head, message) for message in messages)


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_syslog_over_a_stream(tmp_path: Path, port: int, scheme: str) -> None:
    if scheme == "tcp":
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        url = f"unix://{tmp_path}/s"
    config = f'remote_syslog: "{url}"\nlog_format: json\n'
    with listening, started(tmp_path, port, config=config) as process:
        listening.settimeout(SECONDS)
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(SECONDS)
            data = b""
            while b"Server is ready" not in data:
                data += connection.recv(65536)
            stop(process)
            while piece := connection.recv(65536):
                data += piece
    said = [json.loads(line.split("]: ", 1)[1])["message"] for line in data.decode().splitlines()]
    assert said[0] == "Starting nats-server"
    assert said[-1] == "Server Exiting.."


# Secrets.


def signed(seed: str, nonce: str) -> str:
    return base64.urlsafe_b64encode(KeyPair.from_seed(seed).sign(nonce.encode())).decode().rstrip("=")


def attempt(port: int, **fields: object) -> None:
    """One connection that shows some evidence, right or wrong, and says more than it should."""
    client = WireConnection(port)
    client.read_info()
    if "seed" in fields:
        fields["sig"] = signed(str(fields.pop("seed")), client.info["nonce"])
    for line in (b"CONNECT " + json.dumps({"verbose": False, **fields}).encode(), b"PING"):
        client.send(line + b"\r\n")
    while not client.ended and client.frame() != b"PONG":
        pass
    client.close()


def test_no_secret_is_logged(tmp_path: Path, port: int) -> None:
    key = KeyPair.from_seed("SUADKO5UTCMXWNNU3LKUHJSNPABLHQGSO4LP6OMXJE4FVHOICIXZA5V3PE")
    hashed = bcrypt.hashpw(b"hush-hashed", bcrypt.gensalt(4)).decode()
    config = (
        f'authorization {{users [{{user: a, password: "hush-plain"}}, {{user: b, password: "{hashed}"}}, '
        f"{{nkey: {key.public}}}]}}\n"
    )
    with started(tmp_path, port, "-DVV", config=config) as process:
        assert process.wait_until_ready()
        for fields in (
            {"user": "a", "pass": "hush-plain"},
            {"user": "a", "PASS": "hush-wrong"},
            {"user": "b", "pass": "hush-hashed"},
            {"user": "b", "pass": "hush-wrong"},
            {"auth_token": "hush-token"},
            {"nkey": key.public, "seed": key.seed},
            {"nkey": key.public, "sig": "hush-signature"},
            {"user": key.seed, "name": key.seed},
            {"jwt": "hush.jwt.token", "password": "hush-mistaken", "token": ["hush-list"]},
        ):
            attempt(port, **fields)
        for line in (
            b'CONNECT {"user":"a","pass":"hush-broken"',
            b'CONECT {"pass":"hush-verb"}',
            b"auth hush-redis",
            b"PUB " + key.seed.encode() + b" x",
        ):
            client = WireConnection(port)
            client.read_info()
            client.send(line + b"\r\n")
            while not client.ended:
                client.frame()
            client.close()
        stop(process)
        output = process.output
    assert texts(output, "ERR")
    assert "hush" not in output
    assert key.seed not in output
    assert hashed not in output
    assert "[REDACTED]" in output


@pytest.mark.parametrize("bearer", [False, True])
def test_no_token_is_logged(tmp_path: Path, port: int, bearer: bool) -> None:
    realm = Realm()
    realm.user.nats.bearer_token = bearer
    options = realm.options()
    [operator], [(account, account_token)] = options.operators, options.resolver_preload.items()
    config = (
        f"operator: {operator.token}\nresolver: MEMORY\nmax_control_line: 8KB\n"
        f"resolver_preload {{{account}: {account_token}}}\n"
    )
    with started(tmp_path, port, "-DVV", config=config) as process:
        assert process.wait_until_ready()
        client = WireConnection(port)
        client.read_info()
        proof = {"jwt": realm.token()} | ({} if bearer else {"sig": signed(realm.user_key.seed, client.info["nonce"])})
        client.send(b"CONNECT " + json.dumps({"verbose": False, **proof}).encode() + b"\r\nPING\r\n")
        until_pong(client)
        # A client may do what its server never does: put its own token into a message.
        client.send(b"PUB a %d\r\n%b\r\nPING\r\n" % (len(realm.token()), realm.token().encode()))
        until_pong(client)
        client.close()
        attempt(port, jwt=realm.token(), sig="AAAA")
        attempt(port, jwt=realm.token()[:-8] + "AAAAAAAA")
        stop(process)
        output = process.output
    label = f'"{realm.account_key.public}/ACME/jwt:{realm.user_key.public}"'
    assert f"{label} - <<- [PING]" in output
    assert "eyJ" not in output
    assert all(value not in output for value in proof.values())
