"""Bad configurations: each is refused with all that is wrong with it, the places, and exit code 1.

With NATSKEEP_REFERENCE=/path/to/nats-server the same files are shown to that server too, which must refuse those that
it is said to refuse, and no others.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from broker.__main__ import main
from tests.support.servers import AS_NATS_SERVER, ROOT, Target, targets

EXIT_SECONDS = 30.0
FILE = "t.conf"
CHECK = ["-t", "-c", FILE]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True, slots=True)
class BadConfig:
    """One file, and what is said about it."""

    name: str
    config: str
    errors: tuple[str, ...]
    """The lines that natskeep prints."""
    reference: str
    """Whether ``nats-server -t`` ``refuses`` or ``accepts`` it, or does ``either``, by chance."""

    @staticmethod
    def load(path: Path) -> BadConfig:
        document = yaml.safe_load(path.read_text())
        return BadConfig(document["name"], document["config"], tuple(document["errors"]), document["reference"])


CASES = [BadConfig.load(path) for path in sorted((Path(__file__).parent / "config").glob("*.yaml"))]
THROUGH_THE_COMMAND = (
    "foo-unknown-field",
    "port-field-takes-an-integer-not-a-string",
    "include-error-parsing-file-nofile-conf-open-nofile-conf",
    "max_payload-max-payload-2097152-cannot-be-higher-than-max-pending",
    "cluster-name-cannot-contain-spaces",
)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["natskeep"])
    return tmp_path


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_configuration(
    case: BadConfig, target: Target, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / FILE).write_text(case.config)
    if target.is_reference:
        found = subprocess.run([*target.command, *CHECK], capture_output=True, timeout=EXIT_SECONDS, check=False)
        assert case.reference == "either" or found.returncode == (case.reference == "refuses")
        return
    assert main(CHECK) == 1
    assert capsys.readouterr().err == "natskeep: " + "\n".join(case.errors) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_name_is_that_of_the_file(case: BadConfig) -> None:
    assert (Path(__file__).parent / "config" / f"{case.name}.yaml").exists()


@pytest.mark.parametrize("name", THROUGH_THE_COMMAND)
@pytest.mark.parametrize("check", [["-t"], []], ids=["check", "start"])
def test_the_command_ends_with_1(name: str, check: list[str], tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.name == name)
    (tmp_path / FILE).write_text(case.config)
    words = [*AS_NATS_SERVER.command, *check, "-c", FILE]
    found = subprocess.run(
        words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=EXIT_SECONDS, check=False
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == "nats-server: " + "\n".join(case.errors) + "\n"
