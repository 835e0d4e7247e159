"""Plans: equal sides make none, and whatever a plan says is lost or gained, explanations of both sides confirm."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.explain import Explanation, explain_publish, explain_subscribe
from auth import jwt
from auth.claims import AccountClaims, OperatorClaims, Permission, Permissions, ResponsePermission, UserClaims
from auth.nkey import KeyKind, KeyPair
from tests.oracle.patterns import PATTERNS
from tools.nsk.plan import make_plan
from tools.nsk.plan_model import Connection, GrantChange, Holdings, StoredUser, Subscription, Wanted
from tools.nsk.scene import RefusedError, scene_of_tokens

NOW = 2_000_000_000.0
ISSUED = int(NOW) - 1000
OPERATOR, ACCOUNT, USER = (KeyPair.generate(kind) for kind in (KeyKind.OPERATOR, KeyKind.ACCOUNT, KeyKind.USER))

patterns = st.sampled_from(PATTERNS)
plain = st.lists(patterns, max_size=3)
queued = st.lists(
    st.builds(lambda subject, queue: f"{subject}{queue}", patterns, st.sampled_from(("", "", " q", " q.*"))), max_size=3
)
permissions = st.builds(
    Permissions,
    publish=st.builds(Permission, plain, plain),
    subscribe=st.builds(Permission, queued, queued),
    responses=st.none() | st.just(ResponsePermission(1, 10**9)),
)
subscriptions = st.lists(st.builds(Subscription, patterns, st.sampled_from((None, "q"))), max_size=3).map(tuple)


def account(granted: Permissions, connections: int = -1, revoked: int = 0) -> str:
    claims = AccountClaims.new(ACCOUNT.public)
    claims.name = "A"
    claims.nats.default_permissions = granted
    claims.nats.limits.connections = connections
    if revoked:
        claims.revoke(USER.public, revoked)
    return jwt.encode(claims, OPERATOR, issued_at=ISSUED)


accounts = st.builds(account, permissions, st.sampled_from((-1, -1, 0, 5)), st.sampled_from((0, 0, int(NOW))))
OPERATOR_TOKEN = jwt.encode(OperatorClaims.new(OPERATOR.public), OPERATOR, issued_at=ISSUED)
USER_TOKEN = jwt.encode(UserClaims.new(USER.public), ACCOUNT, issued_at=ISSUED)
USERS = (StoredUser(ACCOUNT.public, "u", USER_TOKEN),)


def held(token: str, live: tuple[Subscription, ...] = ()) -> Holdings:
    connection = Connection("S", 1, ACCOUNT.public, USER.public, USER_TOKEN, "", live)
    return Holdings({ACCOUNT.public: token}, (OPERATOR_TOKEN,), "", (connection,))


def explain(token: str, grant: GrantChange) -> Explanation:
    operator = OperatorClaims.from_token(OPERATOR_TOKEN)
    scene = scene_of_tokens([operator], {ACCOUNT.public: token}, NOW, system_account="")
    who = scene.user_of_token(USER_TOKEN)
    if grant.action == "publish":
        return explain_publish(scene.world, who, grant.example)
    return explain_subscribe(scene.world, who, grant.example, grant.queue)


def admits(token: str) -> bool:
    operator = OperatorClaims.from_token(OPERATOR_TOKEN)
    scene = scene_of_tokens([operator], {ACCOUNT.public: token}, NOW, system_account="")
    try:
        return not scene.user_of_token(USER_TOKEN).closed_by
    except RefusedError:
        return False


@settings(deadline=None)
@given(accounts, subscriptions)
def test_equal_sides_make_an_empty_plan(token: str, live: tuple[Subscription, ...]) -> None:
    plan = make_plan(held(token, live), Wanted({ACCOUNT.public: token}, users=USERS), NOW)
    assert plan.accounts == []
    assert not plan.breaks


@settings(deadline=None)
@given(accounts, accounts)
def test_what_is_lost_and_gained_is_confirmed(before: str, after: str) -> None:
    plan = make_plan(held(before), Wanted({ACCOUNT.public: after}, users=USERS), NOW)
    for user in (user for change in plan.accounts for user in change.users):
        assert bool(user.refused_before) is (admits(after) and not admits(before))
        assert bool(user.refused_after) is (admits(before) and not admits(after))
        for grant in user.lost:
            assert explain(before, grant).allowed
            assert not explain(after, grant).allowed
        for grant in user.gained:
            assert not explain(before, grant).allowed
            assert explain(after, grant).allowed
        if user.lost or user.refused_after:
            assert plan.breaks


@settings(deadline=None)
@given(accounts, accounts, subscriptions)
def test_live_subscriptions_that_go_are_refused_afterwards(
    before: str, after: str, live: tuple[Subscription, ...]
) -> None:
    plan = make_plan(held(before, live), Wanted({ACCOUNT.public: after}, users=USERS), NOW)
    changes = [one for change in plan.accounts for one in change.live]
    if before == after or not admits(after):
        assert [bool(one.closed) for one in changes] == ([] if before == after else [True])
        return
    gone = {(one.subject, one.queue) for change in changes for one in change.subscriptions}
    for one in live:
        grant = GrantChange("subscribe", one.subject, one.queue, one.subject, "")
        had = not admits(before) or explain(before, grant).allowed
        assert ((one.subject, one.queue) in gone) == (had and not explain(after, grant).allowed)
