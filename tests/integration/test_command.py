"""The server's command line as scripts and supervisors see it: what it prints, its exit codes, signals and files."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.__main__ import main
from tests.support.ports import reserve_port
from tests.support.servers import NATSKEEP, ROOT, ServerProcess, Target
from tests.support.wire import WireConnection

EXIT_SECONDS = 20.0
POLL_SECONDS = 0.01


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs one command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "broker", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=EXIT_SECONDS,
        check=False,
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    """A running server with a pid file and a log file, and its port."""
    port = reserve_port()
    words = ["-a", "127.0.0.1", "-p", str(port), "-P", str(tmp_path / "pid"), "-l", str(tmp_path / "log")]
    with ServerProcess(NATSKEEP, words, tmp_path) as process:
        wait_for_line(process, tmp_path / "log", "Server is ready")
        yield process, port


def wait_for_line(process: ServerProcess, log: Path, line: str) -> None:
    """Returns once the log file has a line; what is logged there is not on the output."""
    while not log.exists() or line not in log.read_text():
        assert process.wait_until_exit(POLL_SECONDS) is None, process.output


def connected(port: int) -> WireConnection:
    client = WireConnection(port)
    client.read_info()
    client.send(b'CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
    while client.frame() != b"PONG":
        assert not client.ended
    return client


# What is printed and returned.


@pytest.mark.parametrize("word", ["-v", "--version", "version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    output = capsys.readouterr()
    assert re.fullmatch(r"natskeep \d+\.\d+\.\d+ \(nats-server 2\.14\.5\)\n", output.out)
    assert output.err == ""


def test_a_link_named_nats_server_speaks_in_that_name(tmp_path: Path) -> None:
    script = tmp_path / "nats-server"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom tools.command import main\nsys.exit(main())\n")
    script.chmod(0o700)
    results = [
        subprocess.run(
            [script, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=EXIT_SECONDS,
            check=False,
        )
        for words in (["--version"], ["quickstart"])
    ]
    assert (results[0].returncode, results[0].stdout) == (0, "nats-server: v2.14.5\n")
    assert (results[1].returncode, results[1].stderr) == (1, 'nats-server: unrecognized command: "quickstart"\n')


def test_a_syslog_that_is_not_there_is_told_in_one_line() -> None:
    found = command("-a", "127.0.0.1", "-p", "-1", "-r", "unix:///nowhere/log")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == 'natskeep: error connecting to syslog: "No such file or directory"\n'


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    output = capsys.readouterr()
    assert "Usage: natskeep [options]" in output.out
    assert "--config" in output.out
    assert output.err == ""


def test_help_to_a_reader_that_leaves() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "broker", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-zz"], "natskeep: flag provided but not defined: -zz"),
        (["foo"], 'natskeep: unrecognized command: "foo"'),
        (["-t"], "natskeep: must specify [-c, --config] option to check configuration file syntax"),
        (["-c", "/nowhere/x.conf"], "natskeep: open /nowhere/x.conf: no such file or directory"),
        (["-n", "a b"], "natskeep: server name cannot contain spaces"),
        (["-p", "-1", "-m", "1", "-ms", "2"], "natskeep: can't specify both HTTP (1) and HTTPs (2) ports"),
        (["-tls", "-tlscert", "/nowhere/c", "-tlskey", "k"], "open /nowhere/c: no such file or directory"),
        (["-l", "/nowhere/log"], "natskeep: error opening file: open /nowhere/log: no such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_and_exits_1(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    output = capsys.readouterr()
    assert text in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-p", "-1", "-P", "/nowhere/pid"], "Could not write pidfile: open /nowhere/pid: no such file or directory"),
        (["-a", "192.0.2.1", "-p", "4222"], "[FTL] listen tcp 192.0.2.1:4222"),
    ],
)
def test_what_fails_at_the_start_is_logged_and_exits_1(words: list[str], text: str) -> None:
    result = command(*words)
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert (result.returncode, result.stdout) == (1, "")


@pytest.mark.parametrize("flag", ["-p", "-m"])
def test_a_taken_port_is_named(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        result = command("-a", "127.0.0.1", *([] if flag == "-p" else ["-p", "-1"]), flag, port)
    assert result.returncode == 1
    assert re.search(rf"\[FTL\] .*127\.0\.0\.1:{port}: bind: address already in use; .* choose another with {flag}\n",
                     result.stderr)  # fmt: skip


# The configuration file.


def test_a_file_that_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.conf").write_text("port: 4222\n")
    assert main(["-t", "-c", "server.conf"]) == 0
    expected = r"natskeep: configuration file server\.conf is valid \(sha256:[0-9a-f]{64}\)\n"
    assert re.fullmatch(expected, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("porr: 4222\n", 'server.conf:1:0: unknown field "porr"'),
        ("# nothing\n", "server.conf: config has no values or is empty"),
        ("ping_interval: 30\n", 'server.conf:1:0: invalid use of field "ping_interval"'),
        ("max_payload: 2MB\nmax_pending: 1MB\n", "max_payload (2097152) cannot be higher than max_pending (1048576)"),
        ('no_auth_user: "x"\n', 'no_auth_user: "x" present, but users/nkeys are not defined'),
        ("trusted_keys: [OABC]\nresolver: MEMORY\n", "OABC"),
    ],
)
def test_a_check_refuses_with_the_place_and_the_reason(
    text: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.conf").write_text(text)
    assert main(["-t", "-c", "server.conf"]) == 1
    assert message in capsys.readouterr().err


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    port = reserve_port()
    (tmp_path / "server.conf").write_text('listen: "127.0.0.1:1"\nserver_name: filed\nmax_payload: 2KB\n')
    words = ["-c", "server.conf", "--port", str(port), "-n", "flagged"]
    with ServerProcess(NATSKEEP, words, tmp_path) as process:
        assert process.wait_until_ready(), process.output
        client = WireConnection(port)
        client.read_info()
        client.close()
    assert (client.info["server_name"], client.info["max_payload"], client.info["port"]) == ("flagged", 2048, port)


def test_a_file_with_a_warning_starts_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "server.conf").write_text('listen: "127.0.0.1:-1"\nping_interval: 30\n')
    with ServerProcess(NATSKEEP, ["-c", "server.conf"], tmp_path) as process:
        assert process.wait_until_ready(), process.output
        assert 'server.conf:2:1: invalid use of field "ping_interval"' in process.output


# Signals and files.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_and_terminate_stop_cleanly(
    number: signal.Signals, server: tuple[ServerProcess, int], tmp_path: Path
) -> None:
    process, port = server
    client = connected(port)
    pid_file = tmp_path / "pid"
    assert pid_file.read_text() == str(process.pid)
    assert pid_file.stat().st_mode & 0o777 == 0o600
    process.send_signal(number)
    assert process.wait_until_exit(EXIT_SECONDS) == 0
    while client.frame() is not None:
        pass
    assert client.ended
    client.close()
    assert not pid_file.exists()
    assert process.output == ""
    log = (tmp_path / "log").read_text()
    assert log.splitlines()[-1].endswith("Server Exiting..")
    assert "Initiating Shutdown..." in log
    assert "ERR" not in log


def test_the_pid_file_of_another_process_stays(server: tuple[ServerProcess, int], tmp_path: Path) -> None:
    process, _ = server
    (tmp_path / "pid").write_text("1")
    process.send_signal(signal.SIGTERM)
    assert process.wait_until_exit(EXIT_SECONDS) == 0
    assert (tmp_path / "pid").read_text() == "1"


def test_the_log_is_opened_anew(server: tuple[ServerProcess, int], tmp_path: Path) -> None:
    process, _ = server
    log, rotated = tmp_path / "log", tmp_path / "log.1"
    log.rename(rotated)
    process.send_signal(signal.SIGUSR1)
    wait_for_line(process, log, "File log re-opened")
    process.send_signal(signal.SIGTERM)
    assert process.wait_until_exit(EXIT_SECONDS) == 0
    assert "Server is ready" in rotated.read_text()
    assert "Server Exiting.." in log.read_text()


def test_a_lame_duck_is_not_hurried_by_terminate(tmp_path: Path) -> None:
    port = reserve_port()
    (tmp_path / "server.conf").write_text(
        f'listen: "127.0.0.1:{port}"\nlame_duck_duration: "30s"\nlame_duck_grace_period: "29s"\n'
    )
    with ServerProcess(NATSKEEP, ["-c", "server.conf"], tmp_path) as process:
        assert process.wait_until_ready(), process.output
        client = connected(port)
        process.send_signal(signal.SIGUSR2)
        while not client.info.get("ldm"):
            assert client.read_info() is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait_for('Trapped "terminated" signal')
        client.send(b"PING\r\n")
        assert client.frame() == b"PONG"
        client.close()
        assert process.wait_until_exit(EXIT_SECONDS) == 0


def test_limits_of_the_process(server: tuple[ServerProcess, int]) -> None:
    process, _ = server
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)


def test_it_runs_without_uvloop(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['uvloop'] = None; sys.argv[0] = 'natskeep'; "
    target = Target("asyncio", (sys.executable, "-c", f"{hide}from broker.__main__ import main; sys.exit(main())"))
    with ServerProcess(target, ["-a", "127.0.0.1", "-p", "-1"], tmp_path) as process:
        assert process.wait_until_ready(), process.output
        process.send_signal(signal.SIGINT)
        assert process.wait_until_exit(EXIT_SECONDS) == 0


# Reloading.


def test_hangup_reads_the_file_again_below_the_flags(tmp_path: Path) -> None:
    port, log = reserve_port(), tmp_path / "log"
    file = tmp_path / "server.conf"
    base = f'listen: "127.0.0.1:{port}"\nlog_file: "{log}"\npid_file: "{tmp_path / "one"}"\n'
    file.write_text(base)
    with ServerProcess(NATSKEEP, ["-c", str(file), "--max_traced_msg_len", "7"], tmp_path) as process:
        wait_for_line(process, log, "Server is ready")
        client = connected(port)
        file.write_text(base.replace("one", "two") + "max_payload: 100\nmax_traced_msg_len: 9\nports_file_dir: \".\"\n")
        process.send_signal(signal.SIGHUP)
        wait_for_line(process, log, "Reloaded server configuration (sha256:")
        lines = log.read_text()
        assert 'Trapped "hangup" signal' in lines
        assert "Reloaded: max_payload = 100" in lines
        assert "max_traced_msg_len" not in lines
        assert (tmp_path / "two").read_text() == str(process.pid)
        assert not (tmp_path / "one").exists()
        assert len(list(tmp_path.glob("*.ports"))) == 1
        for text, why in (
            (base + "max_pending: 3MB\n", "config reload not supported for MaxPending: old=67108864, new=3145728"),
            (base + "foo: 1\n", 'unknown field "foo"'),
            (base.replace(str(log), str(tmp_path / "nowhere" / "log")), "nowhere"),
        ):
            file.write_text(text)
            process.send_signal(signal.SIGHUP)
            wait_for_line(process, log, f"{why}")
            assert "Failed to reload server configuration: " in log.read_text()
        assert (tmp_path / "two").exists()
        assert not (tmp_path / "one").exists()
        elsewhere = tmp_path / "log.2"
        file.write_text(base.replace(str(log), str(elsewhere)))
        process.send_signal(signal.SIGHUP)
        wait_for_line(process, elsewhere, "Reloaded server configuration")
        client.send(b"PING\r\n")
        while client.frame() != b"PONG":
            assert not client.ended
        client.close()


def test_hangup_without_a_file_is_said_to_change_nothing(server: tuple[ServerProcess, int], tmp_path: Path) -> None:
    process, _ = server
    process.send_signal(signal.SIGHUP)
    wait_for_line(process, tmp_path / "log", "can only reload config when a file is provided using -c or --config")


def test_a_reload_is_told_beforehand(tmp_path: Path) -> None:
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    old.write_text("authorization { users: [ {user: a, password: x}, {user: b, password: x} ] }\n")
    new.write_text("authorization { users: [ {user: b, password: x} ] }\nmax_payload: 100\n")
    told = command("-c", str(old), "--reload-preview", str(new))
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        "Keys:", "  Reloaded: authorization users", "  Reloaded: max_payload = 100",
        "Users:", "  $G/a: sessions close: the user is gone",
    ]
    new.write_text("port: 4333\n")
    told = command("-c", str(old), "--reload-preview", str(new))
    assert "sessions and subscriptions are not told: the configuration names no monitoring port" in told.stderr
    assert told.returncode == 1
    assert "config reload not supported for Port: old=4222, new=4333" in told.stdout
    assert command("--reload-preview", str(new)).returncode == 1


def test_a_reload_of_a_running_server_is_told_with_its_sessions(tmp_path: Path) -> None:
    old, new, log = tmp_path / "old.conf", tmp_path / "new.conf", tmp_path / "log"
    port, monitor = reserve_port(), reserve_port()
    text = f"""
        listen: "127.0.0.1:{port}", http: "127.0.0.1:{monitor}", http_base_path: "/here", log_file: "{log}"
        authorization {{ users: [ {{user: goes, password: secret-1}}, {{user: narrows, password: secret-2}} ] }}
    """
    old.write_text(text)
    narrower = "password: secret-2, permissions: {subscribe: [ok, _INBOX.>]}"
    new.write_text(text.replace("{user: goes, password: secret-1}, ", "").replace("password: secret-2", narrower))
    with ServerProcess(NATSKEEP, ["-c", str(old)], tmp_path) as process:
        wait_for_line(process, log, "Server is ready")
        clients = []
        for user, secret in (("goes", b"secret-1"), ("narrows", b"secret-2")):
            client = WireConnection(port)
            client.read_info()
            connect = b'CONNECT {"verbose":false,"user":"%b","pass":"%b"}\r\n' % (user.encode(), secret)
            client.send(connect + b"SUB ok 1\r\nSUB no q 2\r\nPING\r\n")
            assert client.frame() == b"PONG"
            clients.append(client)
        told = command("-c", str(old), "--reload-preview", str(new))
        assert told.stderr == ""
        assert told.stdout.splitlines() == [
            "Keys:", "  Reloaded: authorization users",
            "Users:", "  $G/goes: sessions close: the user is gone",
            "  $G/narrows: permissions change: subscriptions that they do not allow go",
            "Sessions that would close:", "  cid 1, $G/goes",
            "Subscriptions that would go:", "  cid 2, $G/narrows: no q",
        ]
        other = command("-c", str(new), "--reload-preview", str(old))
        assert f"what runs at 127.0.0.1:{monitor} has another configuration than {new}" in other.stderr
        assert "Sessions" not in other.stdout
        for client in clients:
            client.close()
    silent = command("-c", str(old), "--reload-preview", str(new))
    assert f"the monitoring port at 127.0.0.1:{monitor} does not answer" in silent.stderr
    assert "Users:" in silent.stdout
