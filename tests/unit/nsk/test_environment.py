"""Directories and current names come from flags, variables, the working directory and what is remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.nsk.environment import DirectoryFlags, Environment
from tools.nsk.errors import StoreError


def environment(
    home: Path, flags: DirectoryFlags | None = None, cwd: Path | None = None, **variables: str
) -> Environment:
    return Environment(flags, {"HOME": str(home), **variables}, cwd or home)


def operator(root: Path, name: str, *accounts: str) -> Path:
    """An operator's directory, as far as an environment looks at it."""
    for account in accounts:
        (root / name / "accounts" / account).mkdir(parents=True)
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / ".nsc").write_text("{}")
    return root / name


def test_defaults(tmp_path: Path) -> None:
    found = environment(tmp_path)
    assert found.config_directory == tmp_path / ".config/nats/nsc"
    assert found.keystore_directory == tmp_path / ".local/share/nats/nsc/keys"
    assert found.store_root == tmp_path / ".local/share/nats/nsc/stores"


def test_legacy_directories_are_used_where_only_they_exist(tmp_path: Path) -> None:
    (tmp_path / ".nkeys").mkdir()
    assert environment(tmp_path).keystore_directory == tmp_path / ".nkeys"
    (tmp_path / ".local/share/nats/nsc/keys").mkdir(parents=True)
    assert environment(tmp_path).keystore_directory == tmp_path / ".local/share/nats/nsc/keys"


def test_flags_go_before_variables(tmp_path: Path) -> None:
    found = environment(tmp_path, DirectoryFlags(config="c"), NSC_HOME="v", NKEYS_PATH="k")
    assert found.config_directory == tmp_path / "c"
    assert found.keystore_directory == tmp_path / "k"
    found = environment(tmp_path, DirectoryFlags(config="c", data="d", keystore="k", all="~/all"))
    assert {found.config_directory, found.keystore_directory, found.store_root} == {tmp_path / "all"}


def test_what_is_remembered_is_found_again(tmp_path: Path) -> None:
    operator(tmp_path / "stores", "O", "A", "B")
    first = environment(tmp_path)
    first.prepare()
    first.remember(store_root=tmp_path / "stores", operator="O", account="B")
    second = environment(tmp_path)
    assert (second.store_root, second.operator, second.account) == (tmp_path / "stores", "O", "B")
    assert (tmp_path / ".config/nats/nsc/nsc.json").stat().st_mode & 0o777 == 0o600


def test_unknown_members_are_kept(tmp_path: Path) -> None:
    path = tmp_path / ".config/nats/nsc/nsc.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"store_root":"","operator":"O","account":"","last_update":5,"more":[1]}')
    environment(tmp_path).remember(account="A")
    assert json.loads(path.read_text()) == {
        "store_root": str(tmp_path / ".local/share/nats/nsc/stores"),
        "operator": "O",
        "account": "A",
        "github_updates": "nats-io/nsc",
        "last_update": 5,
        "more": [1],
    }


@pytest.mark.parametrize("content", ["{", "[]", '{"operator": 5}'])
def test_a_spoilt_memory_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".config/nats/nsc/nsc.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(StoreError, match=r"nsc\.json. cannot be read"):
        environment(tmp_path)


def test_the_only_one_is_current(tmp_path: Path) -> None:
    operator(tmp_path / "d", "O", "A")
    found = environment(tmp_path, DirectoryFlags(data="d"))
    assert (found.operator, found.account) == ("O", "A")
    operator(tmp_path / "d", "P")
    assert environment(tmp_path, DirectoryFlags(data="d")).operator == ""


def test_an_account_that_is_gone_is_not_current(tmp_path: Path) -> None:
    operator(tmp_path / "stores", "O", "B", "C")
    environment(tmp_path).remember(store_root=tmp_path / "stores", operator="O", account="A")
    assert environment(tmp_path).account == ""


def test_the_working_directory_chooses(tmp_path: Path) -> None:
    root = tmp_path / "stores"
    operator(root, "O", "A")
    directory = operator(root, "P", "B", "C")
    inside = environment(tmp_path, cwd=directory / "accounts" / "C")
    assert (inside.store_root, inside.operator, inside.account, inside.from_cwd) == (root, "P", "C", True)
    above = environment(tmp_path, cwd=root)
    assert (above.store_root, above.operator, above.from_cwd) == (root, "", True)


def test_nothing_is_remembered_where_only_the_working_directory_counts(tmp_path: Path) -> None:
    operator(tmp_path / "d", "O", "A")
    found = environment(tmp_path, DirectoryFlags(data="d"), NSC_CWD_ONLY="1")
    found.prepare()
    found.remember(operator="O")
    assert not found.config_file.exists()
    assert environment(tmp_path, NSC_CWD_ONLY="1").store_root is None


def test_short_paths(tmp_path: Path) -> None:
    found = environment(tmp_path)
    assert found.abbreviated(tmp_path / "x" / "y") == "~/x/y"
    assert found.abbreviated(Path("/elsewhere")) == "/elsewhere"
