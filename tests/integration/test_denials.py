"""What a server refuses is explained afterwards, from its log in either format and from its configuration."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from broker.config.load import load
from broker.log.formats import JsonFormatter, LineFormatter
from tests.support.realm import Realm
from tests.support.serving import Client, serving
from tools.nsk.__main__ import main

CONFIGURATION = """
accounts { SHOP {
  users: [{user: web, password: p, permissions: {publish: {allow: ["orders.>"]}, subscribe: {deny: "no.>"}}}]
  mappings: {"old": "x.new"}
} }
"""


def written(log: pytest.LogCaptureFixture, formatter: logging.Formatter, path: Path) -> list[str]:
    """Writes the log as a server does; the ids of its denials."""
    path.write_text("".join(f"{formatter.format(record)}\n" for record in log.records))
    return re.findall(r" - denial ([0-9a-f]{8}): ", path.read_text())


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
async def test_denials_of_users_of_the_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], formatter: logging.Formatter
) -> None:
    configuration, log = tmp_path / "server.conf", tmp_path / "natskeep.log"
    configuration.write_text(CONFIGURATION)
    async with serving(load(str(configuration)).options) as server:
        client = await Client.connect(server, user="web", **{"pass": "p"}, name="shop \"front\"")
        await client.send(b"PUB old 0\r\n\r\nSUB no.way q 1\r\nPUB orders.x _R_.f 0\r\n\r\n")
        assert len(await client.ping()) == 3
    ids = written(caplog, formatter, log)
    asked = []
    for denial in ids:
        assert main(["explain", "--denial", denial, "--log", str(log), "-c", str(configuration)]) == 1
        asked.append(capsys.readouterr().out.splitlines()[0])
    assert asked == [
        'publish "x.new": denied',
        'subscribe "no.way" queue "q": denied',
        'publish with reply "_R_.f": denied',
    ]


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
async def test_denials_of_users_of_tokens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], formatter: logging.Formatter
) -> None:
    realm = Realm()
    realm.user.nats.publish.allow.append("orders.>")
    options = realm.options()
    creds, configuration, log = tmp_path / "u.creds", tmp_path / "server.conf", tmp_path / "natskeep.log"
    creds.write_text(realm.token())
    (account,) = options.resolver_preload.values()
    configuration.write_text(
        f"operator: {options.operators[0].token}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {realm.account_key.public}: {account} }}\n"
    )
    async with serving(options) as server:
        client = await realm.connect(server)
        await client.send(b"PUB other 0\r\n\r\n")
        assert len(await client.ping()) == 1
    (denial,) = written(caplog, formatter, log)
    words = ["explain", "--denial", denial, "--log", str(log), "-c", str(configuration), "--creds", str(creds)]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert out.startswith('publish "other": denied\n')
    assert 'add publish allow "other" to the user JWT' in out
