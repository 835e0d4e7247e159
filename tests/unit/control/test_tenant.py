"""A live account: plan caches last as long as somebody of their role is bound, and subscriptions leave nothing."""

from __future__ import annotations

import pytest

from accounts.account import Account
from accounts.compile import compile_policy
from accounts.permissions import Grant, Permissions, ResponsePermission, SubjectRules
from accounts.policy import PolicyTable
from broker.control.tenant import Tenant, compile_core_policy
from broker.core.outbox import Hub
from broker.core.plan import Client, Namespace, PlanCache, Policy, Subscription

ACCOUNT = Account("A")


def grants(*subjects: str) -> tuple[Grant, ...]:
    return tuple(Grant(subject) for subject in subjects)


def table(publish: SubjectRules | None = None, responses: ResponsePermission | None = None) -> PolicyTable:
    return compile_policy(Permissions(publish=publish or SubjectRules(), responses=responses), ACCOUNT)


def test_roles_that_decide_alike_share_a_cache() -> None:
    tenant = Tenant(ACCOUNT)
    one, same = table(SubjectRules(allow=grants("a", "b"))), table(SubjectRules(allow=grants("a", "b")))
    other = table(SubjectRules(allow=grants("a")))
    cache = tenant.acquire(one)
    assert tenant.acquire(same) is cache
    assert tenant.acquire(other) is not cache
    tenant.release(one)
    assert tenant.acquire(same) is cache
    tenant.release(same)
    tenant.release(same)
    assert tenant.acquire(one) is not cache


@pytest.mark.parametrize(
    ("publish", "responses", "allowed", "refused"),
    [
        (SubjectRules(), None, ["a", "x.y"], ["_GR_.x", "$NRG.x"]),
        (SubjectRules(allow=grants("a", "b.*")), None, ["a", "b.x"], ["b", "b.x.y", "c"]),
        (SubjectRules(deny=grants("a.>")), None, ["a", "b"], ["a.x", "a.*"]),
        (SubjectRules(allow=grants(">"), deny=grants("no")), None, ["yes"], ["no"]),
        (SubjectRules(), ResponsePermission(1, 1.0), [], ["a", "anything"]),
    ],
)
def test_the_core_decides_as_the_table(
    publish: SubjectRules, responses: ResponsePermission | None, allowed: list[str], refused: list[str]
) -> None:
    decided = table(publish, responses)
    policy = compile_core_policy(decided)
    for subject in allowed:
        assert decided.decide_publish(subject).allowed
        assert policy.allows_publish(subject.encode())
    for subject in refused:
        assert not decided.decide_publish(subject).allowed
        assert not policy.allows_publish(subject.encode())
    for reply in ("_R_.x", "$JS.ACK.x", "_GR_.x", "r"):
        assert decided.decide_reply(reply).allowed is policy.allows_reply(reply.encode())


def test_a_namespace_forgets_what_is_gone() -> None:
    namespace, client = Namespace("A"), Client(Hub())
    made = [
        Subscription(client, subject, queue, b"%d" % number)
        for number, (subject, queue) in enumerate(
            (subject, queue) for subject in (b"a", b"a.*", b"a.>", b"*.b") for queue in (None, b"q", b"r")
        )
    ]
    for subscription in made:
        namespace.insert(subscription)
    assert (len(namespace), namespace.queues) == (12, 2)
    assert [namespace.remove(subscription) for subscription in made] == [True] * 12
    assert [namespace.remove(subscription) for subscription in made] == [False] * 12
    assert (len(namespace), namespace.queues) == (0, 0)


def test_queue_names_in_use_stay_the_same_group() -> None:
    hub, namespace = Hub(), Namespace("A")
    sender, receiver = Client(hub), Client(hub)
    sender.bind(PlanCache(namespace, Policy(None, (), ())))
    first, second, third = (Subscription(receiver, b"a", bytes(bytearray(b"q")), b"%d" % number) for number in range(3))
    namespace.insert(first)
    namespace.insert(second)
    namespace.remove(first)
    namespace.insert(third)
    for _ in range(10):
        sender.send(b"a", None, None, b"")
    assert second.delivered + third.delivered == 10


def test_a_client_in_no_account_publishes_nothing() -> None:
    client = Client(Hub())
    assert client.send(b"a", None, None, b"x") == 1
    assert client.in_messages == 0


def test_what_finding_receivers_has_come_to_stays_counted() -> None:
    tenant, hub = Tenant(ACCOUNT), Hub()
    role = table()
    client = Client(hub)
    client.bind(tenant.acquire(role))
    for number in range(3):
        tenant.namespace.insert(Subscription(client, b"a", None, b"%d" % number))
    for subject in (b"a", b"a", b"a", b"b", b"b"):
        client.send(subject, None, None, b"")
    # The first message on a subject makes a plan that is not kept, the second one makes it and keeps it.
    assert tenant.matching == (2, 5, 4, 3, 3)
    client.bind(None)
    tenant.release(role)
    assert tenant.matching == (0, 5, 4, 0, 0)
