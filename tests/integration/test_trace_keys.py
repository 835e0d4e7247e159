"""The keys of the log have their effect, from the text of a file to the lines."""

from __future__ import annotations

import logging
import re
import socket
import time
from pathlib import Path

import pytest

import broker.log.syslog
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.config.options import Options
from broker.log import TRACE, TRACES, configure
from tests.support.logs import logs_as_before
from tests.support.serving import Client, serving

SECONDS = 20.0


def options(text: str) -> Options:
    return read_options(parse_bytes(text.encode(), "t.conf", {})).options


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("trace: true", ['HPUB', '"abcdef"']),
        ("trace_verbose: true", ['HPUB', '"abcdef"']),
        ("trace: true\nmax_traced_msg_len: 3", ['HPUB', '["abc..."]']),
        ("trace_headers: true", ['HPUB', "K: v"]),
        ("trace: false", []),
    ],
)
async def test_each_of_them_traces(text: str, shown: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE, TRACES)
    async with serving(options(text)) as server:
        client = await Client.connect(server, headers=True)
        await client.send(b"HPUB a 18 24\r\nNATS/1.0\r\nK: v\r\n\r\nabcdef\r\n")
        await client.send(b"PUB a 6\r\nabcdef\r\n")
        await client.ping()
    traced = "\n".join(caplog.messages)
    assert all(part in traced for part in shown), traced
    assert bool(caplog.messages) == bool(shown)
    assert ("abcdef" in traced) == ('"abcdef"' in shown)


def test_times_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-5")
    time.tzset()
    begun = time.gmtime().tm_hour
    written = {}
    with logs_as_before():
        for text in ("logtime: true", "logtime_utc: true", "logtime: false"):
            path = tmp_path / text
            configure(options(f'log_file: "{path}"\n{text}').logging)
            logging.getLogger("natskeep.net").info("said")
            written[text] = path.read_text()
    monkeypatch.undo()
    time.tzset()
    hours = {begun, time.gmtime().tm_hour}
    assert int(re.findall(r" (\d\d):", written["logtime_utc: true"])[0]) in hours
    assert int(re.findall(r" (\d\d):", written["logtime: true"])[0]) in {(hour + 5) % 24 for hour in hours}
    assert re.fullmatch(r"\[\d+\] \[INF\] said\n", written["logtime: false"])


def test_the_syslog_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.log.syslog, "LOCAL_SOCKETS", (str(tmp_path / "daemon"),))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon, logs_as_before():
        daemon.bind(str(tmp_path / "daemon"))
        daemon.settimeout(SECONDS)
        configure(options("syslog: true").logging)
        logging.getLogger("natskeep.net").info("said")
        assert daemon.recv(65536).endswith(b": said\n")
