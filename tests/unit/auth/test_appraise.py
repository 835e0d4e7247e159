"""What a user's token is worth apart from one connection: the same refusals as at a login."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auth.appraise import appraise
from auth.errors import AuthError, AuthFailure
from tests.unit.auth.realm import NOW, USER, Realm


def appraised(realm: Realm, now: float = NOW) -> str:
    trust = realm.authenticator().trust
    assert trust is not None
    user, binding = appraise(trust, realm.token(), now)
    assert binding.account.display_name == "ACME"
    return user.public_key


def test_a_sound_token_needs_no_connection() -> None:
    assert appraised(Realm()) == USER.public


def test_a_scoped_user_has_what_the_template_says() -> None:
    realm = Realm()
    realm.use_scope().template.publish.allow = ["u.{{name()}}"]
    trust = realm.authenticator().trust
    assert trust is not None
    _, binding = appraise(trust, realm.token(), NOW)
    assert binding.policy.decide_publish("u.bob").allowed
    assert not binding.policy.decide_publish("u.eve").allowed


def expired(realm: Realm) -> None:
    realm.user.expires_at = NOW


def revoked(realm: Realm) -> None:
    realm.account.revoke(USER.public, NOW)


def account_expired(realm: Realm) -> None:
    realm.account.expires_at = NOW


def bearer(realm: Realm) -> None:
    realm.user.nats.bearer_token = True
    realm.account.nats.limits.disallow_bearer = True


def overfull(realm: Realm) -> None:
    realm.use_scope()
    realm.user.nats.publish.allow = ["a"]


@pytest.mark.parametrize(
    ("bend", "failure"),
    [
        (expired, AuthFailure.USER_JWT_EXPIRED),
        (revoked, AuthFailure.USER_REVOKED),
        (account_expired, AuthFailure.ACCOUNT_EXPIRED),
        (bearer, AuthFailure.BEARER_NOT_ALLOWED),
        (overfull, AuthFailure.SCOPED_USER_NOT_EMPTY),
    ],
)
def test_what_every_server_refuses(bend: Callable[[Realm], None], failure: AuthFailure) -> None:
    realm = Realm()
    bend(realm)
    with pytest.raises(AuthError) as caught:
        appraised(realm)
    assert caught.value.failure is failure
