"""natskeep in the place of nats-server: started through a link of that name, found by others, quick to start."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.__main__ import main
from tests.support.servers import ROOT, ServerProcess, Target

EXIT_SECONDS = 20.0
LATE = ("aiohttp", "cryptography", "jwt", "nats", "rich", "zoneinfo")
"""What a server with a plain configuration has no use for."""
OF_FILES = ("lark", "broker.config.load", "importlib.metadata")
"""And what one without a configuration file has no use for."""


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link named nats-server that leads to the command as it is installed."""
    script = tmp_path / "natskeep"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom tools.command import main\nsys.exit(main())\n")
    script.chmod(0o700)
    path = tmp_path / "nats-server"
    path.symlink_to(script)
    return path


def run(link: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [link, *words], env=environment, capture_output=True, text=True, timeout=EXIT_SECONDS, check=False
    )


def test_the_process_that_was_started_is_the_server(link: Path, tmp_path: Path) -> None:
    pid_file, directory = tmp_path / "pid", tmp_path / "ports"
    directory.mkdir()
    words = ["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-P", str(pid_file), "--ports_file_dir", str(directory)]
    with ServerProcess(Target("link", (str(link),)), words, tmp_path) as process:
        assert process.wait_until_ready(), process.output
        heard = re.search(r"Listening for client connections on 127\.0\.0\.1:(\d+)", process.output)
        watched = re.search(r"Starting http monitor on 127\.0\.0\.1:(\d+)", process.output)
        assert heard is not None
        assert watched is not None
        file = directory / f"nats-server_{process.pid}.ports"
        while not file.exists():
            assert process.wait_until_exit(0.01) is None, process.output
        assert json.loads(file.read_text()) == {
            "nats": [f"nats://127.0.0.1:{heard[1]}"],
            "monitoring": [f"http://127.0.0.1:{watched[1]}"],
        }
        assert pid_file.read_text() == str(process.pid)
        if sys.platform == "linux":
            assert Path(f"/proc/{process.pid}/comm").read_text() == "nats-server\n"
        done = run(link, "-sl", f"quit={pid_file}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert process.wait_until_exit(EXIT_SECONDS) == 0
        assert not file.exists()


def test_the_ports_file_of_a_killed_server_stays(link: Path, tmp_path: Path) -> None:
    (tmp_path / "server.conf").write_text(f'listen: "127.0.0.1:-1"\nports_file_dir: "{tmp_path}"\n')
    with ServerProcess(Target("link", (str(link),)), ["-c", "server.conf"], tmp_path) as process:
        file = tmp_path / f"nats-server_{process.pid}.ports"
        while not file.exists():
            assert process.wait_until_exit(0.01) is None, process.output
        process.send_signal(signal.SIGKILL)
        assert process.wait_until_exit(EXIT_SECONDS) == -signal.SIGKILL
        assert file.exists()


def test_a_signal_that_cannot_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-sl", "reload=abc"]) == 1
    assert capsys.readouterr().err == "natskeep: invalid pid: abc\n"
    assert main(["--signal", "zzz=1", "-c", "absent.conf"]) == 1
    assert 'unknown signal "zzz"' in capsys.readouterr().err


def test_a_part_that_is_absent_is_no_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-routes", "nats://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == (
        "natskeep: flag -routes needs clustering, which is not available in this version; remove it\n"
    )


def test_help_of_tls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help_tls"]) == 0
    output = capsys.readouterr().out
    assert "    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n" in output
    assert "    X25519\n" in output
    assert "RC4" not in output


def test_a_plain_configuration_loads_nothing_in_vain(tmp_path: Path) -> None:
    (tmp_path / "server.conf").write_text(
        'listen: "127.0.0.1:-1"\naccounts { A { users: [{user: a, password: "b"}] } }\n'
    )
    code = (
        "import asyncio, sys; from broker.__main__ import main; from broker.app import Server; "
        "from broker.config.load import load; code = main(['-t', '-c', 'server.conf'])\n"
        "async def start():\n    async with Server(load('server.conf').options): pass\n"
        f"asyncio.run(start()); print([name for name in {LATE} if name in sys.modules]); sys.exit(code)"
    )
    done = run_code(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_flags_alone_load_no_grammar(tmp_path: Path) -> None:
    code = (
        "import signal, sys, broker.__main__ as program, broker.process as process\n"
        "def ready(server): signal.raise_signal(signal.SIGTERM)\n"
        "def run(options, **more): process.run(options, ready, **more)\n"
        "program.run = run; code = program.main(['-a', '127.0.0.1', '-p', '-1'])\n"
        f"print([name for name in {(*LATE, *OF_FILES)} if name in sys.modules]); sys.exit(code)"
    )
    done = run_code(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert "Server is ready" in done.stderr


def run_code(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=EXIT_SECONDS,
        check=False,
    )
