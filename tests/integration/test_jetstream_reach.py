"""Payloads of requests to JetStream reach nothing that the permissions of who asks deny."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from accounts.subject import is_valid, matches
from broker import Options, Server
from broker.config.language import parse_bytes
from broker.config.load import read_options
from broker.log.formats import LineFormatter
from tests.support.archives import restored, taken
from tests.support.streams import SECONDS, ask, connected, made, reached, said
from tools.nsk.__main__ import main

VIOLATION = 19001
TEXT = """
listen: "127.0.0.1:-1"
jetstream { store_dir: %s }
accounts { SHOP { jetstream: enabled, users: [
  {user: admin, password: p}
  %s
] } }
"""
SUBJECTS = ["a.1", "a.2", "a.3.x", "b.1", "b.2"]
CAPTURED = ["a.>", "b.*"]


def options(path: Path, users: dict[str, dict[str, Any]]) -> Options:
    listed = "\n".join(
        f"{{user: {name}, password: p, permissions: {json.dumps(permissions)}}}" for name, permissions in users.items()
    )
    return read_options(parse_bytes((TEXT % (path, listed)).encode(), "t.conf", {})).options


async def pulled(client: Client, consumer: str, stream: str = "S") -> list[bytes] | str:
    """What a consumer has, or the status with which it is refused."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    request = json.dumps({"batch": 100, "no_wait": True}).encode()
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", request, reply=inbox)
    return await _until_status(subscription)


async def fetched(client: Client, subject: str, body: dict[str, Any]) -> list[bytes] | str:
    """What a direct get finds, or the status with which it is refused."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(f"$JS.API.DIRECT.GET.S{subject}", json.dumps(body).encode() if body else b"", reply=inbox)
    return await _until_status(subscription, single="batch" not in body and "multi_last" not in body)


async def _until_status(subscription: Any, *, single: bool = False) -> list[bytes] | str:
    found: list[bytes] = []
    while True:
        message = await asyncio.wait_for(subscription.next_msg(SECONDS), SECONDS)
        status = (message.headers or {}).get("Status")
        if status == "403":
            return "403"
        if status is not None:
            break
        found.append(message.data)
        if single:
            break
    await subscription.unsubscribe()
    return found


def code(answer: Any) -> int:
    found = answer.get("error", {}).get("err_code", 0)
    assert found in (0, VIOLATION, 10037), answer
    return int(found)


# Random permissions and payloads, against a twin that looks at every subject by itself.


def pattern(chance: random.Random, first: str = "ab*") -> str:
    while True:
        parts = [chance.choice(first), *(chance.choice("123x*>") for _ in range(chance.choice([0, 1, 1, 2])))]
        if is_valid(".".join(parts)):
            return ".".join(parts)


def of(patterns: list[str], subject: str) -> bool:
    return any(matches(one, subject) for one in patterns)


WORLD = [
    *SUBJECTS,
    *(f"{one}.{two}" for one in "ab" for two in ("1", "2", "3", "x", "y")),
    *(f"a.{two}.{three}" for two in ("1", "2", "3", "x", "y") for three in ("1", "2", "3", "x", "y")),
    *(f"a.{two}.{three}.z" for two in ("1", "2", "3", "x", "y") for three in ("1", "2", "3", "x", "y")),
]
"""What the stream can come to hold, as far as patterns of three tokens tell it apart."""


def must_be_refused(denies: list[str], wanted: list[str]) -> bool:
    return any(of(denies, one) and of(wanted or [">"], one) for one in WORLD)


async def every_way(client: Client, name: str, denies: list[str], wanted: list[str]) -> None:
    """Reads a pattern in every way that there is; nothing that is denied comes by any of them."""
    refused = must_be_refused(denies, wanted)
    expected = "403" if refused else [one.encode() for one in SUBJECTS if of(wanted or [">"], one)]
    config: dict[str, Any] = {"filter_subjects": wanted, "ack_policy": "none"}
    body = {"stream_name": "S", "config": {**config, "name": f"{name}_pull"}}
    answer = await ask(client, f"CONSUMER.CREATE.S.{name}_pull", body)
    assert (code(answer) == VIOLATION) is refused, (denies, wanted, answer)
    if not refused:
        assert sorted(await pulled(client, f"{name}_pull")) == sorted(expected)
        await ask(client, f"CONSUMER.DELETE.S.{name}_pull")
    if len(wanted) == 1:
        assert (await fetched(client, "", {"next_by_subj": wanted[0], "batch": 100})) == expected
        answer = await ask(client, "STREAM.MSG.GET.S", {"next_by_subj": wanted[0]})
        assert (code(answer) == VIOLATION) is refused
        answer = await ask(client, "STREAM.INFO.S", {"subjects_filter": wanted[0]})
        assert (code(answer) == VIOLATION) is refused
    if wanted:
        assert (await fetched(client, "", {"multi_last": wanted})) == expected
    inbox = client.new_inbox()
    heard = await client.subscribe(inbox)
    body = {"stream_name": "S", "config": {**config, "deliver_subject": inbox}}
    answer = await ask(client, "CONSUMER.CREATE.S", body)
    assert (code(answer) == VIOLATION) is refused
    if not refused:
        got = [(await heard.next_msg(SECONDS)).data for _ in expected]
        assert sorted(got) == sorted(expected)
    await heard.unsubscribe()


async def test_random_payloads_reach_what_random_permissions_leave(tmp_path: Path) -> None:
    chance = random.Random(20)
    users = {f"u{one}": [pattern(chance, "ab") for _ in range(chance.choice([1, 1, 2]))] for one in range(6)}
    permissions: dict[str, dict[str, Any]] = {name: {"subscribe": {"deny": denies}} for name, denies in users.items()}
    async with (
        Server(options(tmp_path, permissions)) as server,
        connected(server, user="admin", password="p") as admin,
    ):
        await made(admin, "S", subjects=CAPTURED, allow_direct=True)
        for subject in SUBJECTS:
            await said(admin, subject, subject.encode())
        everything = {"stream_name": "S", "config": {"durable_name": "all", "ack_policy": "none"}}
        assert code(await ask(admin, "CONSUMER.CREATE.S.all", everything)) == 0
        for number, (name, denies) in enumerate(users.items()):
            async with connected(server, user=name, password="p") as client:
                await every_way(client, name, denies, [])
                wanted = [pattern(chance) for _ in range(4)]
                for one in wanted:
                    await every_way(client, name, denies, [one])
                if must_be_refused(denies, []):
                    assert await pulled(client, "all") == "403"
                for sequence, subject in enumerate(SUBJECTS, 1):
                    found = await fetched(client, "", {"seq": sequence})
                    assert found == ("403" if of(denies, subject) else [subject.encode()])
                    answer = await ask(client, "STREAM.MSG.GET.S", {"seq": sequence})
                    assert (code(answer) == VIOLATION) is of(denies, subject)
                    found = await fetched(client, f".{subject}", {})
                    assert found == ("403" if of(denies, subject) else [subject.encode()])
                for one in wanted:
                    source: dict[str, Any] = {"name": "S", "filter_subject": one}
                    if one.endswith(">"):
                        source = {"name": "S", "subject_transforms": [{"src": one, "dest": f"c{number}.>"}]}
                    answer = await ask(client, "STREAM.CREATE.COPY", {"name": "COPY", "sources": [source]})
                    is_refused = answer.get("error", {}).get("err_code") == VIOLATION
                    assert is_refused is must_be_refused(denies, [one]), answer
                    await ask(admin, "STREAM.DELETE.COPY")


# What else a payload can say.

NARROW = {"subscribe": {"allow": ["_INBOX.>", "told"]}, "publish": {"allow": ["$JS.API.>", "mine.>", "say"]}}
DENIED = {"subscribe": {"deny": "a.secret"}, "publish": {"deny": ["a.secret", "alarm"]}}
FAR = {"name": "E", "external": {"api": "JS.x", "deliver": "d"}}
MAKE = "STREAM.CREATE.T"


Case = tuple[str, str, Any, str]
CONSUME = "CONSUMER.CREATE.S"
CASES: list[Case] = [
    ("denied", MAKE, {"subjects": ["a.secret"]}, "a.secret"),
    ("denied", MAKE, {"subjects": ["t"], "republish": {"src": "t", "dest": "alarm"}}, "alarm"),
    ("denied", MAKE, {"subjects": ["t"], "republish": {"src": ">", "dest": "fine.>"}}, ""),
    ("denied", MAKE, {"subjects": ["t.*"], "subject_transform": {"src": "t.*", "dest": "a.$1"}}, "a.secret"),
    ("denied", MAKE, {"mirror": {"name": "S"}}, "a.secret"),
    ("denied", MAKE, {"mirror": {"name": "S", "filter_subject": "b.*"}}, ""),
    ("denied", MAKE, {"mirror": {"name": "LATER"}}, "a.secret"),
    ("denied", MAKE, {"sources": [{"name": "S", "subject_transforms": [{"src": "b.*", "dest": "a.$1"}]}]}, "a.secret"),
    ("denied", MAKE, {"sources": [FAR]}, "a.secret"),
    ("denied", MAKE, {"sources": [{**FAR, "filter_subject": "e"}]}, ""),
    ("denied", "STREAM.UPDATE.S", {"name": "S", "subjects": ["a.>", "b.*"], "allow_direct": True}, "a.secret"),
    ("denied", "STREAM.PURGE.S", b"", "a.secret"),
    ("denied", "STREAM.PURGE.S", {"filter": "a.*"}, "a.secret"),
    ("denied", "STREAM.MSG.DELETE.S", {"seq": 1}, "a.secret"),
    ("denied", "STREAM.DELETE.S", b"", "a.secret"),
    ("denied", CONSUME, {"filter_subject": "b.*", "deliver_subject": "alarm"}, "alarm"),
    ("narrow", CONSUME, {"deliver_subject": "alarm"}, "alarm"),
    ("narrow", CONSUME, {"deliver_subject": "told"}, ""),
    ("narrow", CONSUME, {"deliver_subject": "say"}, ""),
    ("narrow", MAKE, {"subjects": ["t"], "republish": {"src": ">", "dest": "yours.>"}}, "yours.>"),
    ("narrow", MAKE, {"subjects": ["t"], "republish": {"src": ">", "dest": "mine.>"}}, ""),
    ("narrow", MAKE, {"mirror": {"name": "S"}}, ""),
    ("narrow", MAKE, {"sources": [FAR]}, "JS.x.CONSUMER.CREATE.E"),
    ("maker", MAKE, {"mirror": {"name": "S"}}, "$JS.API.CONSUMER.CREATE.S"),
    ("maker", MAKE, {"sources": [{"name": "S", "filter_subject": "b.*"}]}, ""),
    ("maker", MAKE, {"sources": [{"name": "S", "filter_subject": ">"}]}, "$JS.API.CONSUMER.CREATE.S"),
    ("reader", CONSUME, {}, "$JS.API.CONSUMER.CREATE.S.*.>"),
    ("reader", CONSUME, {"filter_subject": "b.*"}, ""),
    ("reader", "STREAM.MSG.GET.S", {"last_by_subj": "a.1"}, "$JS.API.DIRECT.GET.S.a.1"),
    ("reader", "STREAM.MSG.GET.S", {"seq": 1}, "$JS.API.DIRECT.GET.S.a.secret"),
    ("reader", "STREAM.MSG.GET.S", {"seq": 2}, ""),
    ("denied", "STREAM.MSG.DELETE.S", {"seq": 2}, ""),
    ("denied", "STREAM.PURGE.S", {"filter": "b.*"}, ""),
]
"""Who asks for what, and the subject in the refusal; empty where it is done. What changes the stream comes last."""


async def test_what_payloads_may_not_say(tmp_path: Path) -> None:
    maker = {"publish": {"allow": ["$JS.API.STREAM.CREATE.T", f"$JS.API.{CONSUME}.*.b.*"]}}
    reads = [f"$JS.API.{one}" for one in (CONSUME, f"{CONSUME}.*.b.*", "STREAM.MSG.GET.S", "DIRECT.GET.S.b.*")]
    users = {"denied": DENIED, "narrow": NARROW, "maker": maker, "reader": {"publish": {"allow": reads}}}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(options(tmp_path, users)))
        names = ["admin", *users]
        clients = {
            name: await stack.enter_async_context(connected(server, user=name, password="p")) for name in names
        }
        admin = clients["admin"]
        await made(admin, "S", subjects=CAPTURED, allow_direct=True)
        await said(admin, "a.secret", b"!")
        await said(admin, "b.1", b".")
        await said(admin, "b.1", b".")
        for user, request_, body, refused in CASES:
            given = {"name": "T", **body} if request_ == MAKE else body
            if request_ == CONSUME:
                given = {"stream_name": "S", "config": body}
            before = await ask(admin, "STREAM.INFO.S")
            answer = await ask(clients[user], request_, given)
            if not refused:
                assert "error" not in answer, (request_, body, answer)
                await ask(admin, "STREAM.DELETE.T")
                continue
            assert answer["error"]["err_code"] == VIOLATION, (request_, body, answer)
            assert f'"{refused}"' in answer["error"]["description"], (request_, body, answer)
            after = await ask(admin, "STREAM.INFO.S")
            assert (after["state"], after["config"]) == (before["state"], before["config"])
            assert (await ask(admin, "STREAM.NAMES"))["streams"] == ["S"]


async def test_nobody_has_the_broker_ask_in_his_place(tmp_path: Path) -> None:
    async with (
        Server(options(tmp_path, {"denied": DENIED})) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="denied", password="p") as client,
    ):
        await made(admin, "S", subjects=CAPTURED, allow_direct=True)
        await made(admin, "OWN", subjects=["own"], allow_direct=True)
        await said(admin, "a.secret", b"!")
        wish = {"stream_name": "S", "config": {"name": "c", "durable_name": "c"}}
        await said(client, "own", json.dumps(wish).encode())
        pull = {"stream_name": "OWN", "config": {"name": "w", "ack_policy": "explicit"}}
        assert "error" not in await ask(client, "CONSUMER.CREATE.OWN.w", pull)
        # A stored message that is a request, and answers that go where requests go.
        wanted = "$JS.API.CONSUMER.CREATE.S.c"
        await client.publish("$JS.API.CONSUMER.MSG.NEXT.OWN.w", b"1", reply=wanted)
        await client.publish("$JS.API.DIRECT.GET.OWN", b'{"seq": 1}', reply=wanted)
        for request_ in ("STREAM.NAMES", "STREAM.INFO.OWN", "CONSUMER.RESET.OWN.w"):
            await client.publish(f"$JS.API.{request_}", b"", reply="$JS.API.STREAM.PURGE.S")
        await client.publish("$JS.API.CONSUMER.MSG.NEXT.OWN.w", b"1", reply="$JS.API.STREAM.PURGE.S")
        await client.flush()
        # Behind all of these, which were handled in their order.
        assert (await ask(client, "STREAM.INFO.OWN"))["state"]["messages"] == 1
        assert (await ask(admin, "CONSUMER.NAMES.S"))["consumers"] == []
        assert (await ask(admin, "STREAM.INFO.S"))["state"]["messages"] == 1


async def test_answers_do_not_go_where_the_client_may_not_publish(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def refused(error: Exception) -> None:
        await told.put(str(error).lower())

    async with (
        Server(options(tmp_path, {"denied": DENIED})) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="denied", password="p", error_cb=refused) as client,
    ):
        await made(admin, "OWN", subjects=["own"], allow_direct=True)
        await said(client, "own", b"!")
        wanted = {"stream_name": "OWN", "config": {"name": "w", "ack_policy": "explicit"}}
        assert "error" not in await ask(client, "CONSUMER.CREATE.OWN.w", wanted)
        (first,) = await pulled_with_acks(client)
        alarm = await admin.subscribe("alarm")
        await admin.flush()
        for subject, body in (
            ("$JS.API.CONSUMER.MSG.NEXT.OWN.w", b"1"),
            ("$JS.API.DIRECT.GET.OWN", b'{"seq": 1}'),
            ("$JS.API.DIRECT.GET.OWN.own", b""),
            ("$JS.API.STREAM.MSG.GET.OWN", b'{"seq": 1}'),
            (first, b"+NXT"),
        ):
            await client.publish(subject, body, reply="alarm")
            assert 'permissions violation for publish to "alarm"' in await asyncio.wait_for(told.get(), SECONDS)
        await admin.publish("alarm", b"real")
        assert (await alarm.next_msg(SECONDS)).data == b"real"


async def pulled_with_acks(client: Client) -> list[str]:
    """The subjects on which what a consumer has is acknowledged."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.OWN.w", b"1", reply=inbox)
    return [(await subscription.next_msg(SECONDS)).reply]


async def test_more_of_a_consumer_than_is_permitted_is_not_had_by_acknowledging(tmp_path: Path) -> None:
    async with (
        Server(options(tmp_path, {"denied": DENIED})) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="denied", password="p") as client,
    ):
        await made(admin, "S", subjects=CAPTURED)
        everything = {"stream_name": "S", "config": {"durable_name": "all", "ack_policy": "explicit"}}
        await ask(admin, "CONSUMER.CREATE.S.all", everything)
        await said(admin, "a.secret", b"!")
        answer = await client.request("$JS.ACK.S.all.1.1.1.1.0", b"+NXT", timeout=SECONDS)
        assert answer.headers is not None
        assert answer.headers["Status"] == "403"
        assert await pulled(client, "all", "S") == "403"
        assert await pulled(admin, "all", "S") == [b"!"]


async def test_what_a_consumer_gave_before_is_not_had_by_changing_it(tmp_path: Path) -> None:
    async with (
        Server(options(tmp_path, {"denied": DENIED})) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="denied", password="p") as client,
    ):
        await made(admin, "S", subjects=CAPTURED)
        config = {"durable_name": "w", "ack_policy": "explicit", "ack_wait": 10**8}
        await ask(admin, "CONSUMER.CREATE.S.w", {"stream_name": "S", "config": config})
        await said(admin, "a.secret", b"!")
        await said(admin, "b.1", b".")
        assert await pulled(admin, "w") == [b"!", b"."]
        narrow = {"stream_name": "S", "config": {**config, "filter_subject": "b.*"}}
        assert code(await ask(client, "CONSUMER.CREATE.S.w.b.*", narrow)) == VIOLATION
        # Whoever may do so narrows it; what it gave before is there still, and comes again.
        assert code(await ask(admin, "CONSUMER.CREATE.S.w.b.*", narrow)) == 0
        assert await pulled(client, "w") == "403"
        await ask(admin, "STREAM.MSG.DELETE.S", {"seq": 1})
        async with asyncio.timeout(SECONDS):
            while not (found := await pulled(client, "w")):
                pass
        assert found == [b"."]


async def test_requests_by_way_of_another_account_are_judged_too(tmp_path: Path) -> None:
    text = f"""
    listen: "127.0.0.1:-1"
    jetstream {{ store_dir: {tmp_path} }}
    accounts {{
      A {{ jetstream: enabled, users: [{{user: a, password: p}}], exports: [{{service: "$JS.API.>"}}] }}
      B {{ users: [{{user: b, password: p, permissions: {{subscribe: {{deny: "a.secret"}}}}}}]
           imports: [{{service: {{account: A, subject: "$JS.API.>"}}}}] }}
    }}"""
    async with (
        Server(read_options(parse_bytes(text.encode(), "t.conf", {})).options) as server,
        connected(server, user="a", password="p") as owner,
        connected(server, user="b", password="p") as guest,
    ):
        await made(owner, "S", subjects=CAPTURED, allow_direct=True)
        await said(owner, "a.secret", b"!")
        await said(owner, "b.1", b".")
        assert code(await ask(guest, "STREAM.MSG.GET.S", {"seq": 1})) == VIOLATION
        assert code(await ask(guest, "STREAM.MSG.GET.S", {"seq": 2})) == 0
        assert await fetched(guest, "", {"seq": 1}) == "403"
        answer = await ask(guest, CONSUME, {})
        assert code(answer) == VIOLATION


async def test_filters_hold_by_way_of_another_account(tmp_path: Path) -> None:
    text = f"""
    listen: "127.0.0.1:-1"
    jetstream {{ store_dir: {tmp_path} }}
    accounts {{
      A {{ jetstream: enabled, users: [{{user: a, password: p}}], exports: [{{service: "$JS.API.>"}}] }}
      B {{ users: [{{user: b, password: p, permissions: {{grants: ["stream:read S b.* prefix=JS.a.API"]}}}}]
           imports: [{{service: {{account: A, subject: "$JS.API.>"}}, to: "JS.a.API.>"}}] }}
    }}"""
    async with (
        Server(read_options(parse_bytes(text.encode(), "t.conf", {})).options) as server,
        connected(server, user="a", password="p") as owner,
        connected(server, user="b", password="p") as guest,
    ):
        await made(owner, "S", subjects=["a.>", "b.>"], allow_direct=True)
        for wanted, expected in (("b.*", 0), ("b.1", 0), ("b.>", VIOLATION)):
            body = {"stream_name": "S", "config": {"name": "c", "filter_subject": wanted}}
            request = f"JS.a.API.CONSUMER.CREATE.S.c.{wanted}"
            answer = json.loads((await guest.request(request, json.dumps(body).encode(), timeout=SECONDS)).data)
            assert code(answer) == expected, (wanted, answer)
            await ask(owner, "CONSUMER.DELETE.S.c")


async def test_a_mirror_of_another_account_is_filled_by_the_broker_itself(tmp_path: Path) -> None:
    text = f"""
    listen: "127.0.0.1:-1"
    jetstream {{ store_dir: {tmp_path} }}
    accounts {{
      A {{ jetstream: enabled, users: [{{user: a, password: p}}]
           exports: [{{service: "$JS.API.>"}}, {{stream: "deliver.>"}}] }}
      B {{ jetstream: enabled, users: [{{user: b, password: p, permissions: {{subscribe: {{deny: "x.>"}}}}}}]
           imports: [{{service: {{account: A, subject: "$JS.API.>"}}, to: "JS.a.API.>"}}
                     {{stream: {{account: A, subject: "deliver.>"}}}}] }}
    }}"""
    async with (
        Server(read_options(parse_bytes(text.encode(), "t.conf", {})).options) as server,
        connected(server, user="a", password="p") as owner,
        connected(server, user="b", password="p") as other,
    ):
        await made(owner, "S", subjects=CAPTURED)
        await said(owner, "b.1", b".")
        external = {"api": "JS.a.API", "deliver": "deliver"}
        await made(other, "M", mirror={"name": "S", "filter_subject": "b.*", "external": external})
        await reached(other, "M", "messages", 1)


async def test_a_refusal_is_on_the_trail_and_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration, log = tmp_path / "server.conf", tmp_path / "log"
    listed = f"{{user: denied, password: p, permissions: {json.dumps(DENIED)}}}"
    configuration.write_text(TEXT % (tmp_path / "streams", listed))
    caplog.set_level(logging.ERROR, "natskeep.audit")
    async with (
        Server(options(tmp_path / "streams", {"denied": DENIED})) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="denied", password="p") as client,
    ):
        await made(admin, "S", subjects=CAPTURED)
        answer = await ask(client, CONSUME, {})
    description = answer["error"]["description"]
    found = re.fullmatch(
        r'permissions violation for Subscription to "a.secret": leave it out of what is asked for '
        r"\(denial ([0-9a-f]{8})\)", description,
    )  # fmt: skip
    assert found is not None, description
    log.write_text("".join(f"{LineFormatter().format(record)}\n" for record in caplog.records))
    assert (
        f'Subscription Violation - Subject "a.secret", as asked on "$JS.API.CONSUMER.CREATE.S" - denial {found[1]}: '
        'refused by subscribe deny "a.secret" (t.conf:' in log.read_text()
    )
    assert main(["explain", "--denial", found[1], "--log", str(log), "-c", str(configuration)]) == 1
    out = capsys.readouterr().out
    assert out.startswith('subscribe "a.secret": denied\n')
    assert 'subscribe deny "a.secret"' in out


async def test_archives_reach_what_permissions_leave(tmp_path: Path) -> None:
    """All of a stream is read, delivered to a subject, and stored under subjects that its archive has."""
    users = {
        "reads": {"subscribe": {"deny": "a.2"}},
        "speaks": {"publish": {"deny": ["alarm", "a.2"]}},
    }
    async with (
        Server(options(tmp_path, users)) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="reads", password="p") as reads,
        connected(server, user="speaks", password="p") as speaks,
    ):
        await made(admin, "S", subjects=CAPTURED)
        for subject in SUBJECTS:
            await said(admin, subject)
        push = {"durable_name": "P", "ack_policy": "none", "deliver_subject": "alarm"}
        archive = await taken(admin, "S")
        await ask(admin, "CONSUMER.CREATE.S.P", {"stream_name": "S", "config": push})
        pushing = await taken(admin, "S")
        assert code(await ask(reads, "STREAM.SNAPSHOT.S", {"deliver_subject": "d"})) == VIOLATION
        assert code(await ask(speaks, "STREAM.SNAPSHOT.S", {"deliver_subject": "alarm"})) == VIOLATION
        await ask(admin, "STREAM.DELETE.S")
        assert code(await restored(reads, archive)) == VIOLATION
        assert code(await restored(speaks, archive)) == VIOLATION
        assert (await ask(admin, "STREAM.NAMES"))["total"] == 0
        # A schedule stores and reads for whoever restores it.
        for target, source in (("a.2", "b.1"), ("b.2", "a.2")):
            await made(admin, "S", subjects=CAPTURED, allow_msg_schedules=True)
            asked = {"Nats-Schedule": "@every 1h", "Nats-Schedule-Target": target, "Nats-Schedule-Source": source}
            assert (await said(admin, "a.1", b"", asked))["seq"] == 1
            scheduled = await taken(admin, "S")
            await ask(admin, "STREAM.DELETE.S")
            for client, is_denied in ((speaks, target == "a.2"), (reads, source == "a.2")):
                if is_denied:
                    assert code(await restored(client, scheduled, subjects=["b.*"])) == VIOLATION
        await made(admin, "S", subjects=CAPTURED)
        await ask(admin, "CONSUMER.CREATE.S.P", {"stream_name": "S", "config": push})
        empty = await taken(admin, "S")
        await ask(admin, "STREAM.DELETE.S")
        refused = await restored(speaks, empty)
        assert "permissions violation" in refused["error"]["description"]
        assert (await restored(admin, pushing))["state"]["consumer_count"] == 1


async def test_headers_of_messages_reach_no_more_than_payloads(tmp_path: Path) -> None:
    narrow = {"publish": {"allow": ["s.own", "s.schedule"]}, "subscribe": {"allow": ["_INBOX.>"]}}
    denied = {"publish": {"deny": "s.secret"}, "subscribe": {"deny": "s.hidden"}}
    async with (
        Server(options(tmp_path, {"narrow": narrow, "denied": denied})) as server,
        connected(server, user="admin", password="p") as admin,
        connected(server, user="denied", password="p") as client,
        connected(server, user="narrow", password="p") as other,
    ):
        switches = {"allow_msg_schedules": True, "allow_rollup_hdrs": True, "allow_atomic": True}
        await made(admin, "S", subjects=["s.*"], **switches)
        for subject in ("s.secret", "s.hidden"):
            await said(admin, subject, b"!")
        later = {"Nats-Schedule": "@at 2100-01-01T00:00:00Z"}
        refused: list[tuple[Client, str, dict[str, str]]] = [
            (client, "s.schedule", {**later, "Nats-Schedule-Target": "s.secret"}),
            (client, "s.schedule", {**later, "Nats-Schedule-Target": "s.t", "Nats-Schedule-Source": "s.hidden"}),
            (client, "s.x", {"Nats-Schedule-Next": "purge", "Nats-Scheduler": "s.secret"}),
            (client, "s.x", {"Nats-Rollup": "all"}),
            (client, "s.x", {"Nats-Rollup": "all", "Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"}),
            (other, "s.schedule", {**later, "Nats-Schedule-Target": "s.else"}),
        ]
        for who, subject, header in refused:
            answer = await said(who, subject, b"x", header)
            assert answer["error"]["err_code"] == VIOLATION, (subject, header, answer)
        assert (await ask(admin, "STREAM.INFO.S"))["state"]["messages"] == 2
        taken: list[tuple[Client, str, dict[str, str]]] = [
            (client, "s.x", {"Nats-Rollup": "sub"}),
            (client, "s.x", {"Nats-Msg-Id": "1"}),
            (client, "s.schedule", {**later, "Nats-Schedule-Target": "s.t"}),
            (other, "s.schedule", {**later, "Nats-Schedule-Target": "s.own"}),
            (admin, "s.x", {"Nats-Rollup": "all"}),
        ]
        for who, subject, header in taken:
            assert "error" not in await said(who, subject, b"x", header), (subject, header)
