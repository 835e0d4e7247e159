"""What a trace tells of a message, and what it must not tell; whom a trace alone reaches: nobody."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import broker.core.plan
from auth.gojson import dumps
from broker.control.observer import Observer
from broker.control.tracing import FATES, MOST_STEPS, fields
from broker.system.encoding import encoded
from broker.wire.events import Event
from tests.support.brokers import Broker
from tests.support.sessions import Conversation

ACCOUNTS = """
accounts {
  T {
    users = [
      {user: t, password: p}, {user: u, password: p}
      {user: deaf, password: p, permissions {subscribe {deny: "foo.x"}}}
      {user: bound, password: p, permissions {publish {allow: [ok, tr]}}}
      {user: mute, password: p, permissions {publish {allow: ok}, allow_responses: {max: 9, expires: "9m"}}}
    ]
    msg_trace: {dest: auto.trace}
    mappings { mm: mm2, lost: [{dest: lost, weight: 0}] }
    exports [{stream: "st.>"}]
  }
  E {
    users = [{user: e, password: p}, {user: deaf-e, password: p, permissions {subscribe {deny: "in.x"}}}]
    mappings { svc.m: svc.inside, svc.n: svc.hidden }
    exports [{service: svc.a, allow_trace: true}, {service: svc.m, allow_trace: true}, {service: svc.n}]
    imports [
      {stream: {account: T, subject: "st.open.*"}, to: "in.$1", allow_trace: true}
      {stream: {account: T, subject: "st.shut.*"}, to: "closed.$1"}
    ]
  }
  I {
    users = [{user: i, password: p}]
    imports [
      {service: {account: E, subject: svc.a}, to: ask.a}, {service: {account: E, subject: svc.m}, to: ask.m}
      {service: {account: E, subject: svc.n}, to: ask.n}
    ]
    exports [{service: ask.a, allow_trace: true}, {service: ask.n, allow_trace: true}]
  }
  J {
    users = [{user: j, password: p}]
    imports [
      {service: {account: I, subject: ask.a}, to: beg.a}, {service: {account: I, subject: ask.n}, to: beg.n}
    ]
  }
}
"""

DESTINATION = "Nats-Trace-Dest: tr"
ONLY = "Nats-Trace-Only: true"


class Told(Observer):
    """Keeps the events of traces as they would go out."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, bytes | None, dict[str, Any]]] = []

    def traced(self, account: str, destination: str, build: Callable[[object], object], accepts: str) -> None:
        header, body = encoded(dumps(build({"name": "here"})), accepts.lower())
        plain = gzip.decompress(body) if header is not None and b"gzip" in header else body
        self.events.append((account, destination, header, json.loads(plain)))

    def steps(self) -> list[str]:
        """The steps of the one event that was told since the last call, each in short."""
        [(_, _, _, event)] = self.events
        self.events.clear()
        return [_short(step) for step in event["events"]]


def _short(step: dict[str, Any]) -> str:
    shown = {name: value for name, value in step.items() if name not in {"type", "ts", "kind", "cid"}}
    assert step["ts"].endswith("Z")
    assert ("cid" in step) == (step["type"] in {"in", "eg"})
    return " ".join([step["type"], *(f"{name}={value}" for name, value in shown.items())])


class Scene:
    """A broker, and what it tells of traces."""

    def __init__(self, text: str = ACCOUNTS) -> None:
        self.broker = Broker(text)
        self.told = self.broker.control.observer = Told()

    def connect(self, user: str, *subscriptions: str, **options: Any) -> Conversation:
        client = self.broker.connect(user, **{"headers": True, "no_responders": True, "name": f"n-{user}", **options})
        for number, subscription in enumerate(subscriptions, 1):
            client.feed(f"SUB {subscription} {number}\r\n".encode())
        client.said()
        return client


def message(subject: str, *headers: str, reply: str = "", payload: bytes = b"hi") -> bytes:
    block = "".join(f"{line}\r\n" for line in ("NATS/1.0", *headers, "")).encode()
    words = f"HPUB {subject} {reply and reply + ' '}{len(block)} {len(block) + len(payload)}\r\n"
    return words.encode() + block + payload + b"\r\n"


class TestInsideAnAccount:
    def test_receivers_and_one_of_each_queue_group(self) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo", "foo q", "*"), scene.connect("t")
        sender.feed(message("foo", DESTINATION))
        assert len(hearer.said().split(b"HMSG")) == 4
        account, destination, header, event = scene.told.events[0]
        assert (account, destination, header) == ("T", "tr", None)
        assert event["request"] == {"header": {"Nats-Trace-Dest": ["tr"]}, "msgsize": 35}
        assert event["server"] == {"name": "here"}
        came, *plain, group = scene.told.steps()
        assert came == "in name=n-t acc=T subj=foo"
        assert sorted(plain) == ["eg name=n-u sub=*", "eg name=n-u sub=foo"]
        assert group == "eg name=n-u sub=foo queue=q"

    def test_a_trace_alone_reaches_nobody_and_counts_nothing(self) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        hearer.feed(b"UNSUB 1 1\r\n")
        for _ in range(3):
            assert sender.feed(message("foo", DESTINATION, ONLY, reply="r")) == b""
            assert scene.told.steps() == ["in name=n-t acc=T subj=foo", "eg name=n-u sub=foo"]
        assert hearer.said() == b""
        sender.feed(message("foo", DESTINATION))
        assert hearer.said().startswith(b"HMSG foo 1 ")
        assert scene.told.steps() == ["in name=n-t acc=T subj=foo", "eg name=n-u sub=foo"]
        # The subscription has had its last message, and is gone for who publishes next in the same turn.
        sender.feed(message("foo", DESTINATION))
        assert scene.told.steps() == ["in name=n-t acc=T subj=foo"]

    def test_without_a_destination_a_trace_alone_is_a_message(self) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        sender.feed(message("foo", ONLY))
        assert hearer.said() != b""
        assert scene.told.events == []

    @pytest.mark.parametrize("value", ["1", "TRUE", "on", "yes", "0"])
    def test_what_means_a_trace_alone(self, value: str) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        sender.feed(message("foo", DESTINATION, f"Nats-Trace-Only: {value}"))
        assert bool(hearer.said()) == (value in {"yes", "0"})
        assert len(scene.told.steps()) == 2

    def test_nobody_is_there(self) -> None:
        scene = Scene()
        sender = scene.connect("t", "r")
        assert b"503" in sender.feed(message("foo", DESTINATION, ONLY, reply="r"))
        assert scene.told.steps() == ["in name=n-t acc=T subj=foo"]

    def test_mappings(self) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "mm2", "lost"), scene.connect("t")
        sender.feed(message("mm", DESTINATION))
        assert hearer.said().startswith(b"HMSG mm2 ")
        assert scene.told.steps() == ["in name=n-t acc=T subj=mm", "sm to=mm2", "eg name=n-u sub=mm2"]
        sender.feed(message("lost", DESTINATION))
        assert hearer.said() == b""
        assert scene.told.steps() == ["in name=n-t acc=T subj=lost", "sm to="]

    def test_no_echo(self) -> None:
        scene = Scene()
        sender = scene.connect("t", "foo", echo=False)
        assert sender.feed(message("foo", DESTINATION)) == b""
        assert scene.told.steps()[1] == "eg name=n-t sub=foo error=Not delivered because of no echo"

    @pytest.mark.parametrize("queue", ["", " q"])
    def test_what_a_subscription_denies_inside_itself(self, queue: str) -> None:
        scene = Scene()
        deaf, hearer = scene.connect("deaf", f"foo.*{queue}"), scene.connect("u", f"foo.*{queue}")
        sender = scene.connect("t")
        sender.feed(message("foo.x", DESTINATION))
        assert deaf.said() == b""
        assert hearer.said() != b""
        group = " queue=q" if queue else ""
        denied = "error=Not delivered because subscription denies this subject"
        assert scene.told.steps()[1:] == [f"eg name=n-deaf sub=foo.*{group} {denied}", f"eg name=n-u sub=foo.*{group}"]

    def test_a_receiver_that_is_closed(self) -> None:
        scene = Scene()
        slow, sender = scene.connect("u", "foo"), scene.connect("t")
        slow.client.ceiling = 16
        sender.feed(message("foo", DESTINATION, payload=b"x" * 64))
        assert scene.told.steps()[1] == "eg name=n-u sub=foo error=Not delivered because client is closed"

    @pytest.mark.parametrize(
        ("subject", "reply", "problem"),
        [
            ("nope", "", 'Permissions Violation for Publish to "nope"'),
            ("ok", "_R_.x", 'Permissions Violation for Publish with Reply of "_R_.x"'),
        ],
    )
    @pytest.mark.parametrize("only", [(), (ONLY,)])
    def test_a_message_that_is_refused(self, subject: str, reply: str, problem: str, only: tuple[str, ...]) -> None:
        scene = Scene()
        sender = scene.connect("bound")
        assert sender.feed(message(subject, DESTINATION, *only, reply=reply)) == f"-ERR '{problem}'\r\n".encode()
        assert scene.told.steps() == [f"in name=n-bound acc=T subj={subject} error={problem}"]

    def test_a_message_that_is_too_large(self) -> None:
        scene = Scene()
        sender = scene.connect("t")
        block = message("foo", DESTINATION).split(b"\r\n", 1)[1].removesuffix(b"hi\r\n")
        said = sender.feed(b"HPUB foo %d 9999999\r\n%b" % (len(block), block))
        assert said == b"-ERR 'Maximum Payload Violation'\r\n"
        assert scene.told.steps() == ["in name=n-t acc=T subj=foo error=maximum payload exceeded"]

    def test_a_client_that_is_told_of_everything(self) -> None:
        scene = Scene()
        scene.connect("u", "foo")
        sender = scene.connect("t", verbose=True)
        assert sender.feed(message("foo", DESTINATION)) == b"+OK\r\n"
        assert len(scene.told.steps()) == 2

    @pytest.mark.parametrize("blanks", [b" ", b" \t "])
    def test_bytes_may_come_one_by_one_and_blanks_in_any_number(self, blanks: bytes) -> None:
        scene = Scene()
        data = message("foo", DESTINATION).replace(b" ", blanks, 2)
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        for chunks in ([data], [data[place : place + 1] for place in range(len(data))]):
            assert sender.feed(*chunks) == b""
            assert hearer.said() == b"HMSG foo 1 33 35\r\nNATS/1.0\r\nNats-Trace-Dest: tr\r\n\r\nhi\r\n"
            assert scene.told.steps() == ["in name=n-t acc=T subj=foo", "eg name=n-u sub=foo"]

    def test_no_message_is_held_but_the_one_that_asks(self) -> None:
        lane = Scene().connect("t").lane
        lane.feed(message("foo", DESTINATION))
        assert lane.advance() == Event.TRACE_ASKED
        assert lane.held_message == (b"foo", b"NATS/1.0\r\nNats-Trace-Dest: tr\r\n\r\n", 35)
        assert lane.publish_held(None) == Event.MORE
        with pytest.raises(RuntimeError, match="no message is held"):
            lane.publish_held(None)
        lane.feed(message("foo", DESTINATION))
        lane.advance()
        lane.feed(b"PING\r\n")
        with pytest.raises(RuntimeError, match="no message is held"):
            assert lane.held_message

    def test_one_event_tells_of_so_many_steps_and_the_message_reaches_all(self) -> None:
        scene = Scene()
        hearers = [scene.connect("u", "foo") for _ in range(MOST_STEPS + 10)]
        scene.connect("t").feed(message("foo", DESTINATION))
        assert len(scene.told.steps()) == MOST_STEPS
        assert all(hearer.said() for hearer in hearers)


class TestWhatAsksForATrace:
    @pytest.mark.parametrize(
        "header",
        [
            "nats-trace-dest: tr",
            "Nats-Trace-Dest : tr",
            "X-Nats-Trace-Dest: tr",
            "Nats-Trace-Dest: trace disabled",
            "Nats-Trace-Dest:",
            "traceparent: 00-a-b-00",
            "traceparent: 00-a-b-1",
            "traceparent: 01",
            "traceparent: 00-a-b-01-x",
            "traceparent: 00-a-b-0g",
        ],
    )
    def test_what_does_not(self, header: str) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        sender.feed(message("foo", header))
        assert hearer.said().startswith(b"HMSG foo 1 ")
        assert scene.told.events == []

    @pytest.mark.parametrize("header", ["traceparent: 00-a-b-01", "TraceParent:00-a-b-03", "TRACEPARENT: 00-a-b-7f"])
    def test_a_sampled_parent_where_the_account_has_a_destination(self, header: str) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        sender.feed(message("foo", header, ONLY))
        assert hearer.said() != b""
        [(account, destination, _, event)] = scene.told.events
        assert (account, destination) == ("T", "auto.trace")
        assert list(event["request"]["header"]) == sorted([header.partition(":")[0], "Nats-Trace-Only"])
        elsewhere = scene.connect("i")
        scene.told.events.clear()
        elsewhere.feed(message("foo", header))
        assert scene.told.events == []

    def test_a_destination_of_its_own_counts_first(self) -> None:
        scene = Scene()
        scene.connect("t").feed(message("foo", "traceparent: 00-a-b-01", DESTINATION))
        assert scene.told.events[0][1] == "tr"

    def test_a_share_of_the_messages(self) -> None:
        scene = Scene(ACCOUNTS.replace("{dest: auto.trace}", "{dest: auto.trace, sampling: 50}"))
        sender = scene.connect("t")
        for _ in range(400):
            sender.feed(message("foo", "traceparent: 00-a-b-01"))
        assert 100 < len(scene.told.events) < 300

    def test_the_destination_changes_with_the_account(self) -> None:
        scene = Scene()
        sender = scene.connect("t")
        for text, told in (
            (ACCOUNTS.replace("msg_trace: {dest: auto.trace}", ""), None),
            (ACCOUNTS.replace("msg_trace: {dest: auto.trace}", "trace_dest: other"), "other"),
        ):
            scene.broker.replace(text)
            sender.feed(message("foo", "traceparent: 00-a-b-01"))
            assert [event[1] for event in scene.told.events] == ([] if told is None else [told])

    @pytest.mark.parametrize("header", ["Nats-Trace-Dest: tr.*", "Nats-Trace-Dest: a b", "Nats-Trace-Dest: a..b"])
    @pytest.mark.parametrize("only", [False, True])
    def test_a_destination_that_is_none(self, header: str, only: bool, caplog: pytest.LogCaptureFixture) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        with caplog.at_level(logging.ERROR):
            assert sender.feed(message("foo", header, *([ONLY] if only else []))) == b""
        assert (hearer.said() == b"") is only
        assert scene.told.events == []
        assert f'Destination "{header.partition(": ")[2]}" is not valid, won\'t be able to trace events' in caplog.text

    @pytest.mark.parametrize("only", [False, True])
    def test_a_message_that_says_it_comes_from_another_server(self, only: bool) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "foo"), scene.connect("t")
        sender.feed(message("foo", DESTINATION, "Nats-Trace-Origin-Account: X", *([ONLY] if only else [])))
        assert (hearer.said() == b"") is only
        assert scene.told.events == []

    def test_how_a_header_block_is_read(self) -> None:
        block = b"NATS/1.0\r\nA:  1 \t\r\nb:2\r\nA: 3\r\n: no name\r\nC:\r\nno colon\r\nD: \xff\r\nE: cut"
        assert fields(block) == {"A": ["1", "3"], "b": ["2"], "no colon\r\nD": ["\udcff"]}
        assert fields(b"NATS/1.1\r\nA: 1\r\n\r\n") == {}

    @pytest.mark.parametrize(
        ("accepts", "encoding"),
        [("gzip", b"gzip"), ("br, GZIP", b"gzip"), ("br", b"identity"), ("snappy", b"identity")],
    )
    def test_an_event_is_encoded_as_the_sender_accepts(self, accepts: str, encoding: bytes) -> None:
        scene = Scene()
        scene.connect("t").feed(message("foo", DESTINATION, f"Accept-Encoding: {accepts}"))
        [(_, _, header, _)] = scene.told.events
        assert header == b"NATS/1.0\r\nContent-Encoding: %b\r\n\r\n" % encoding


class TestPermission:
    @pytest.mark.parametrize("header", [DESTINATION, "traceparent: 00-a-b-01"])
    def test_a_trace_goes_only_where_its_sender_may_publish(self, header: str) -> None:
        scene = Scene()
        hearer, sender = scene.connect("u", "ok"), scene.connect("mute", verbose=True)
        destination = "tr" if header == DESTINATION else "auto.trace"
        said = sender.feed(message("ok", header))
        assert said == f"-ERR 'Permissions Violation for Publish to \"{destination}\"'\r\n".encode()
        assert hearer.said() == b""
        assert scene.told.events == []

    def test_a_response_permission_opens_no_destination(self) -> None:
        scene = Scene()
        sender, asker = scene.connect("mute", "req"), scene.connect("t")
        asker.feed(b"PUB req tr 1\r\nx\r\n")
        assert sender.said() != b""
        assert b"Permissions Violation" in sender.feed(message("ok", DESTINATION))
        assert sender.feed(b"PUB tr 1\r\nx\r\n") == b""


class TestWalls:
    def test_a_stream_import_that_lets_traces_on(self) -> None:
        scene = Scene()
        hearer, sender = scene.connect("e", "in.*", "in.x q"), scene.connect("t")
        deaf = scene.connect("deaf-e", "in.*")
        sender.feed(message("st.open.x", DESTINATION))
        assert hearer.said().count(b"HMSG in.x ") == 2
        assert deaf.said() == b""
        denied = "error=Not delivered because subscription denies this subject"
        assert scene.told.steps() == [
            "in name=n-t acc=T subj=st.open.x",
            "se acc=E to=in.x",
            f"eg name=n-deaf-e acc=E sub=st.open.* {denied}",
            "se acc=E to=in.x",
            "eg name=n-e acc=E sub=st.open.*",
            "se acc=E to=in.x",
            "eg name=n-e acc=E sub=st.open.x queue=q",
        ]

    @pytest.mark.parametrize("only", [False, True])
    def test_a_stream_import_that_does_not(self, only: bool) -> None:
        scene = Scene()
        hearer, sender = scene.connect("e", "closed.*"), scene.connect("t", "r")
        said = sender.feed(message("st.shut.x", DESTINATION, *([ONLY] if only else []), reply="r"))
        assert said == b""
        assert (hearer.said() == b"") is only
        assert scene.told.steps() == ["in name=n-t acc=T subj=st.shut.x", "se acc=E to=closed.x"]

    def test_a_service_export_that_lets_traces_on(self) -> None:
        scene = Scene()
        server, sender = scene.connect("e", "svc.*"), scene.connect("i", "r")
        sender.feed(message("ask.m", DESTINATION, reply="r"))
        assert server.said().startswith(b"HMSG svc.inside 1 _R_.")
        assert scene.told.steps() == [
            "in name=n-i acc=I subj=ask.m", "si acc=E from=ask.m to=svc.inside", "eg name=n-e acc=E sub=svc.*"
        ]

    def test_a_service_export_that_does_not_tells_nothing_of_its_account(self) -> None:
        scene = Scene()
        server, sender = scene.connect("e", "svc.*"), scene.connect("i", "r")
        sender.feed(message("ask.n", DESTINATION, reply="r"))
        assert server.said().startswith(b"HMSG svc.hidden 1 _R_.")
        assert scene.told.steps() == ["in name=n-i acc=I subj=ask.n", "si acc=E from=ask.n to=svc.n"]

    @pytest.mark.parametrize(("subject", "heard"), [("ask.a", True), ("ask.n", False)])
    def test_a_trace_alone_leaves_no_request_behind(self, subject: str, heard: bool) -> None:
        scene = Scene()
        server, sender = scene.connect("e", "svc.>"), scene.connect("i", "r")
        said = sender.feed(message(subject, DESTINATION, ONLY, reply="r"))
        assert (said == b"") is heard
        assert (b"NATS/1.0 503" in said) is not heard
        assert server.said() == b""
        assert scene.broker.control.tenants["E"].namespace.pending_answers == 0
        assert len(scene.told.steps()) == (3 if heard else 2)

    def test_a_chain_is_followed_to_the_first_wall_that_is_not_open(self) -> None:
        scene = Scene()
        scene.connect("e", "svc.>")
        scene.connect("i", "ask.>")
        sender = scene.connect("j", "r")
        sender.feed(message("beg.a", DESTINATION, reply="r"))
        assert scene.told.steps() == [
            "in name=n-j acc=J subj=beg.a",
            "si acc=I from=beg.a to=ask.a",
            "eg name=n-i acc=I sub=ask.>",
            "si acc=E from=ask.a to=svc.a",
            "eg name=n-e acc=E sub=svc.>",
        ]
        sender.feed(message("beg.n", DESTINATION, reply="r"))
        assert scene.told.steps()[2:] == ["eg name=n-i acc=I sub=ask.>", "si acc=E from=ask.n to=svc.n"]

    def test_an_answer_tells_who_answers_nothing_of_who_asked(self) -> None:
        scene = Scene()
        server, asker = scene.connect("e", "svc.a"), scene.connect("i", "my.secret.inbox")
        asker.feed(b"PUB ask.a my.secret.inbox 2\r\nhi\r\n")
        reply = server.said().split(b" ")[3].decode()
        for only in ([ONLY], []):
            server.feed(message(reply, DESTINATION, *only))
            assert scene.told.steps() == [f"in name=n-e acc=E subj={reply}", f"si acc=I from={reply} to="]
            # A trace alone uses nothing up: the answer still finds its way.
            assert bool(asker.said()) is not bool(only)

    def test_what_the_server_answers_itself(self) -> None:
        scene = Scene()
        sender = scene.connect("t", "r")
        scene.broker.control.internal("$SYS").subscribe("$SYS.REQ.USER.*.INFO", lambda received: None)
        sender.feed(message("$SYS.REQ.USER.INFO", DESTINATION, reply="r"))
        assert scene.told.steps() == [
            "in name=n-t acc=T subj=$SYS.REQ.USER.INFO",
            "si acc=$SYS from=$SYS.REQ.USER.INFO to=$SYS.REQ.USER.T.INFO",
        ]

    def test_a_wall_opens_and_closes_while_requests_wait(self) -> None:
        scene = Scene()
        server, sender = scene.connect("e", "svc.>"), scene.connect("i", "r")
        sender.feed(b"PUB ask.a r 2\r\nhi\r\n")
        reply = server.said().split(b" ")[3]
        shut = ACCOUNTS.replace("{service: svc.a, allow_trace: true}", "{service: svc.a}")
        scene.broker.replace(shut)
        sender.feed(message("ask.a", DESTINATION))
        assert scene.told.steps() == ["in name=n-i acc=I subj=ask.a", "si acc=E from=ask.a to=svc.a"]
        server.feed(b"PUB %b 2\r\nok\r\n" % reply)
        assert sender.said() == b"MSG r 1 2\r\nok\r\n"
        scene.broker.replace(ACCOUNTS)
        sender.feed(message("ask.a", DESTINATION))
        assert len(scene.told.steps()) == 3


def test_the_fates_are_those_of_the_core() -> None:
    source = Path(broker.core.plan.__file__).with_name("plan.pxd").read_text()
    block = source.split("cdef enum Fate:\n")[1].split("\n\n")[0]
    assert [int(line.split("=")[1].split("#")[0]) for line in block.splitlines()] == list(range(len(FATES)))
