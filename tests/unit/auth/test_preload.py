"""Preloaded account JWTs that need not be verified again."""

from __future__ import annotations

import pytest

from auth import settings as settings_module
from auth.claims import AccountClaims
from auth.envelope import JwtError
from auth.preload import VerifiedPreload
from auth.settings import check_settings
from tests.unit.auth.realm import ACCOUNT, Realm


def test_it_is_a_mapping_of_what_was_verified() -> None:
    tokens = Realm().preload()
    preload = VerifiedPreload()
    for name, token in tokens.items():
        preload.add(name, token)
    assert preload == tokens
    assert len(preload) == 2
    assert repr(preload) == "VerifiedPreload(2 accounts)"


def test_nothing_else_gets_in() -> None:
    token = Realm().preload()[ACCOUNT.public]
    preload = VerifiedPreload()
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BAAA")
    with pytest.raises(JwtError):
        preload.add(ACCOUNT.public, forged)
    with pytest.raises(JwtError):
        preload.add(ACCOUNT.public, "")
    assert not preload


def test_settings_verify_only_what_has_not_been(monkeypatch: pytest.MonkeyPatch) -> None:
    realm = Realm()
    tokens, preload = realm.preload(), VerifiedPreload()
    for name, token in tokens.items():
        preload.add(name, token)
    verified: list[str] = []

    class Counted(AccountClaims):
        @classmethod
        def from_token(cls, token: str) -> Counted:
            verified.append(token)
            return super().from_token(token)

    monkeypatch.setattr(settings_module, "AccountClaims", Counted)
    check_settings(realm.settings(preload=preload))
    assert verified == []
    check_settings(realm.settings(preload=tokens))
    assert verified == list(tokens.values())
