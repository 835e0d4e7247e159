"""What crosses the walls between live accounts: streams, services and their answers, mappings, and changes of them."""

from __future__ import annotations

import gc
import re
import weakref

import pytest

from broker.wire.errors import CloseReason
from tests.support.brokers import Broker

BUS = """
accounts {
  E { users: [{user: e, password: p}], exports: [
        {stream: "st.>"}, {service: "svc.>"}, {service: "many", response: stream},
        {service: "slow", threshold: "250ms"}] }
  M { users: [{user: m, password: p}], imports: [{stream: {account: E, subject: "st.>"}, prefix: "mid"}],
      exports: [{stream: "mid.st.*"}] }
  I { users: [{user: i, password: p},
              {user: j, password: p, permissions: {subscribe: {allow: "got.>", deny: "got.no"}}}],
      imports: [
        {stream: {account: E, subject: "st.*"}, to: "got.$1"}
        {stream: {account: M, subject: "mid.st.*"}, to: "far.$1"}
        {service: {account: E, subject: "svc.>"}, to: "ask.>"}
        {service: {account: E, subject: "many"}}
        {service: {account: E, subject: "slow"}}] }
}
"""
INFO_LINE = rb'Nats-Request-Info: \{"acc":"I"\}\r\n'


def pub(subject: str, payload: str = "x", reply: str = "") -> bytes:
    return f"PUB {subject} {reply + ' ' if reply else ''}{len(payload)}\r\n{payload}\r\n".encode()


def msg(subject: str, sid: str, payload: str = "x", reply: str = "") -> bytes:
    return f"MSG {subject} {sid} {reply + ' ' if reply else ''}{len(payload)}\r\n{payload}\r\n".encode()


def request(received: bytes) -> str:
    """The reply subject of the one request that was received."""
    found = re.match(rb"HMSG \S+ \S+ (_R_\.\S+) ", received)
    assert found is not None, received
    return found[1].decode()


@pytest.fixture
def broker() -> Broker:
    return Broker(BUS)


def test_a_stream_import_hears_what_the_exporter_publishes_and_not_the_other_way(broker: Broker) -> None:
    exporter, importer = broker.connect("e"), broker.connect("i")
    exporter.feed(b"SUB > 1\r\n")
    importer.feed(b"SUB got.* 2\r\n")
    assert exporter.feed(pub("st.a") + pub("other.a") + pub("st.a.b")).count(b"MSG") == 3
    assert importer.said() == msg("got.a", "2")
    assert importer.feed(pub("got.b") + pub("st.b")) == msg("got.b", "2")
    assert exporter.said() == b""


def test_what_came_through_a_wall_goes_no_further(broker: Broker) -> None:
    exporter, middle, importer = broker.connect("e"), broker.connect("m"), broker.connect("i")
    importer.feed(b"SUB far.> 1\r\n")
    middle.feed(b"SUB mid.> 1\r\n")
    exporter.feed(pub("st.a") + pub("st.a.b"))
    assert importer.said() == b""
    assert middle.said() == msg("mid.st.a", "1") + msg("mid.st.a.b", "1")
    # What the middle account publishes itself on the subject is its own to export.
    middle.feed(pub("mid.st.z"))
    assert importer.said() == msg("far.z", "1")


def test_denies_hold_for_the_subject_that_the_importer_sees(broker: Broker) -> None:
    exporter, importer = broker.connect("e"), broker.connect("j")
    importer.feed(b"SUB got.* 1\r\n")
    exporter.feed(pub("st.no") + pub("st.yes"))
    assert importer.said() == msg("got.yes", "1")


def test_a_queue_group_is_one_across_the_wall(broker: Broker) -> None:
    exporter, importer = broker.connect("e"), broker.connect("i")
    importer.feed(b"SUB got.* q 1\r\n")
    exporter.feed(b"SUB st.* q 1\r\n")
    own = exporter.feed(pub("st.a") * 60).count(b"MSG")
    theirs = importer.said().count(b"MSG")
    assert own + theirs == 60
    assert own
    assert theirs


def test_auto_unsubscribe_counts_what_comes_through_the_wall(broker: Broker) -> None:
    exporter, importer = broker.connect("e"), broker.connect("i")
    importer.feed(b"SUB got.* 1\r\nUNSUB 1 2\r\n")
    exporter.feed(pub("st.a") * 3)
    broker.settle()
    assert importer.said() == msg("got.a", "1") * 2
    assert broker.control.tenants["E"].namespace.shadows == 0


def test_a_subscription_that_goes_takes_its_shadows_along(broker: Broker) -> None:
    exporter, importer = broker.connect("e"), broker.connect("i")
    importer.feed(b"SUB got.* 1\r\nSUB > 2\r\nUNSUB 1\r\n")
    exporter.feed(pub("st.a"))
    assert importer.said() == msg("got.a", "2")
    for conversation in (exporter, importer):
        conversation.session.close(CloseReason.KICKED)
    broker.settle()
    broker.assert_idle()


def test_a_request_is_answered_once_and_tells_who_asks(broker: Broker) -> None:
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB svc.* 1\r\n")
    asker.feed(b"SUB inbox 9\r\n" + pub("ask.a", "how", "inbox"))
    received = responder.said()
    assert re.fullmatch(
        rb"HMSG svc\.a 1 _R_\.\w{6}\.\w{6} \d+ \d+\r\nNATS/1\.0\r\n" + INFO_LINE + rb"\r\nhow\r\n", received
    )
    reply = request(received)
    assert responder.feed(pub(reply, "so") + pub(reply, "again")) == b""
    assert asker.said() == msg("inbox", "9", "so")
    assert broker.control.tenants["E"].namespace.pending_answers == 0


def test_many_answers_come_until_an_empty_one(broker: Broker) -> None:
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB many 1\r\n")
    asker.feed(b"SUB inbox 9\r\n" + pub("many", "", "inbox"))
    reply = request(responder.said())
    responder.feed(pub(reply, "a") + pub(reply, "b") + pub(reply, "") + pub(reply, "c"))
    assert asker.said() == msg("inbox", "9", "a") + msg("inbox", "9", "b") + msg("inbox", "9", "")
    assert broker.control.tenants["E"].namespace.pending_answers == 0


def test_nobody_there_is_told_on_the_askers_subject(broker: Broker) -> None:
    asker = broker.connect("i", headers=True, no_responders=True)
    answer = asker.feed(b"SUB inbox 9\r\n" + pub("ask.a", "how", "inbox"))
    assert answer.startswith(b"HMSG inbox 9 ")
    assert b"503\r\nNats-Subject: ask.a\r\n" in answer
    assert broker.control.tenants["E"].namespace.pending_answers == 0


@pytest.mark.parametrize("leave", [b"UNSUB 9\r\n", b""])
@pytest.mark.parametrize("inbox", ["inbox", "inbox.*"])
def test_answers_that_nobody_waits_for_are_given_up(broker: Broker, leave: bytes, inbox: str) -> None:
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB svc.* 1\r\n")
    asker.feed(f"SUB {inbox} 9\r\n".encode() + pub("ask.a", "how", inbox.replace("*", "1")))
    reply = request(responder.said())
    assert broker.control.tenants["E"].namespace.pending_answers == 1
    if leave:
        asker.feed(leave)
    else:
        asker.session.close(CloseReason.KICKED)
    broker.settle()
    assert broker.control.tenants["E"].namespace.pending_answers == 0
    assert responder.feed(pub(reply)) == b""


def test_answers_that_come_too_late_are_dropped(broker: Broker) -> None:
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB slow 1\r\n")
    crossing = next(one for one in broker.control.tenants["I"].crossings.values() if one.threshold == 0.25)
    asker.feed(b"SUB inbox 9\r\n" + pub("slow", "1", "inbox"))
    assert crossing.expire(1000.2) == pytest.approx(1000.25)
    reply = request(responder.said())
    assert crossing.expire(1000.26) is None
    assert responder.feed(pub(reply)) == b""
    assert asker.said() == b""
    asker.feed(pub("slow", "2", "inbox"))
    reply = request(responder.said())
    responder.feed(pub(reply, "in time"))
    assert asker.said() == msg("inbox", "9", "in time")


def test_a_deadline_is_watched_as_long_as_something_waits(broker: Broker) -> None:
    responder, asker = broker.connect("e"), broker.connect("i")
    responder.feed(b"SUB slow 1\r\n")
    asker.feed(b"SUB inbox 9\r\n" + pub("slow", "1", "inbox") + pub("slow", "2", "inbox"))
    broker.settle()
    assert len(broker.clock.waiting) == 1
    broker.pass_by(0.3)
    assert broker.control.tenants["E"].namespace.pending_answers == 0
    assert broker.clock.waiting == []


def test_requests_and_their_answers_are_no_part_of_streams() -> None:
    broker = Broker(
        """accounts {
        E { users: [{user: e, password: p}], exports: [{service: "s"}, {stream: ">"}] }
        I { users: [{user: i, password: p}], exports: [{stream: ">"}],
            imports: [{service: {account: E, subject: "s"}}] }
        L { users: [{user: l, password: p}], imports: [
            {stream: {account: E, subject: ">"}, prefix: "e"}, {stream: {account: I, subject: ">"}, prefix: "i"}] }
        }"""
    )
    responder, asker, listener = (broker.connect(user) for user in ("e", "i", "l"))
    responder.feed(b"SUB s 1\r\n")
    listener.feed(b"SUB > 1\r\n")
    asker.feed(b"SUB inbox 2\r\n" + pub("s", "how", "inbox"))
    reply = responder.said().split()[3].decode()
    # What a client publishes in its own account is in that account's stream; it goes no further from where it arrives.
    assert listener.said() == msg("i.s", "1", "how", "inbox")
    responder.feed(pub(reply, "so"))
    assert asker.said() == msg("inbox", "2", "so")
    assert listener.said() == msg(f"e.{reply}", "1", "so")


def test_an_answer_may_be_answered_in_turn(broker: Broker) -> None:
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB svc.* 1\r\nSUB back 2\r\n")
    asker.feed(b"SUB inbox 9\r\n" + pub("ask.a", "how", "inbox"))
    responder.feed(pub(request(responder.said()), "more?", "back"))
    received = asker.said()
    found = re.match(rb"MSG inbox 9 (_R_\.\S+) 5\r\nmore\?", received)
    assert found is not None, received
    asker.feed(pub(found[1].decode(), "yes"))
    assert responder.said() == msg("back", "2", "yes")


def test_acknowledgements_keep_their_subject(broker: Broker) -> None:
    responder, asker = broker.connect("e"), broker.connect("i")
    responder.feed(b"SUB svc.* 1\r\n")
    # A client may not send such a reply subject; the broker itself may.
    assert asker.feed(pub("ask.a", "1", "$JS.ACK.x")).startswith(b"-ERR 'Permissions Violation for Publish with Reply")
    broker.control.internal("I").publish("ask.a", b"1", reply="$JS.ACK.x")
    assert responder.said() == msg("svc.a", "1", "1", "$JS.ACK.x")


def test_a_request_goes_through_each_export_once() -> None:
    broker = Broker(
        """accounts {
        A { users: [{user: a, password: p}], exports: [{service: "q"}, {service: "r"}],
            imports: [{service: {account: A, subject: "q"}, to: "r"}, {service: {account: A, subject: "r"}, to: "t"}] }
        }"""
    )
    asker = broker.connect("a", headers=True)
    asker.feed(b"SUB q 1\r\nSUB r 2\r\nSUB t 3\r\n")
    answer = asker.feed(pub("t"))
    assert sorted(re.findall(rb"H?MSG (\S+) (\d)", answer)) == [(b"q", b"1"), (b"r", b"2"), (b"t", b"3")]


def test_mappings_rewrite_what_is_published_and_once_only() -> None:
    broker = Broker(
        """accounts { A { users: [{user: a, password: p, permissions: {publish: ["two", "x.*"], subscribe: ">"}}],
        mappings: { one: two, two: three, "x.*": [{dest: "y.$1", weight: 0}, {dest: "x.$1", weight: 100}] } } }"""
    )
    client = broker.connect("a")
    client.feed(b"SUB > 1\r\n")
    assert client.feed(pub("one")) == msg("two", "1")
    assert client.feed(pub("two")) == b"-ERR 'Permissions Violation for Publish to \"three\"'\r\n"
    assert client.feed(pub("x.a")) == msg("x.a", "1")
    assert client.feed(pub("z")) == b"-ERR 'Permissions Violation for Publish to \"z\"'\r\n"


def test_the_most_specific_mapping_decides_whatever_the_order() -> None:
    entries = ['first.*: "A.$1"', '"*.x": "D.$1"', '"first.x": "B.x"']
    for order in (entries, entries[::-1]):
        broker = Broker(f"mappings {{ {', '.join(order)} }}")
        client = broker.connect()
        client.feed(b"SUB > 1\r\n")
        assert client.feed(pub("first.x") + pub("first.y") + pub("other.x")) == (
            msg("B.x", "1") + msg("A.y", "1") + msg("D.other", "1")
        )


def test_weights_split_and_the_rest_keeps_its_subject() -> None:
    broker = Broker('mappings { w: [{dest: "a", weight: 40}, {dest: "b.{{random(2)}}", weight: 40}] }')
    client = broker.connect()
    client.feed(b"SUB > 1\r\n")
    answer = client.feed(pub("w") * 2000)
    counts = [answer.count(subject) for subject in (b"MSG a ", b"MSG b.0 ", b"MSG b.1 ", b"MSG w ")]
    assert sum(counts) == 2000
    for count, share in zip(counts, (0.4, 0.2, 0.2, 0.2), strict=True):
        assert abs(count - 2000 * share) < 200, counts


# Changes


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_an_import_that_goes_is_heard_no_more_and_one_that_comes_is(broker: Broker) -> None:
    exporter, importer = broker.connect("e"), broker.connect("i")
    importer.feed(b"SUB > 1\r\n")
    broker.replace(changed(BUS, '{stream: {account: E, subject: "st.*"}, to: "got.$1"}', ""))
    exporter.feed(pub("st.a"))
    assert importer.said() == b""
    broker.replace(BUS)
    exporter.feed(pub("st.a"))
    assert importer.said() == msg("got.a", "1")


def test_a_change_of_the_exporter_reaches_its_importers(broker: Broker) -> None:
    middle, importer = broker.connect("m"), broker.connect("i")
    importer.feed(b"SUB far.* 1\r\n")
    broker.replace(changed(BUS, '{stream: "mid.st.*"}', '{stream: "mid.st.*", accounts: [E]}').replace(
        '{stream: {account: M, subject: "mid.st.*"}, to: "far.$1"}', ""))
    middle.feed(pub("mid.st.a"))
    assert importer.said() == b""
    broker.replace(BUS)
    middle.feed(pub("mid.st.a"))
    assert importer.said() == msg("far.a", "1")


def test_a_service_import_that_stays_goes_on_waiting_for_its_answers(broker: Broker) -> None:
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB svc.* 1\r\nSUB many 2\r\n")
    asker.feed(b"SUB inbox 9\r\n" + pub("ask.a", "how", "inbox"))
    first = request(responder.said())
    asker.feed(pub("many", "1", "inbox"))
    second = request(responder.said())
    broker.replace(changed(BUS, '{service: {account: E, subject: "many"}}', ""))
    responder.feed(pub(first, "kept") + pub(second, "gone"))
    assert asker.said() == msg("inbox", "9", "kept")
    assert responder.feed(pub(second)) == b""
    assert asker.feed(pub("many", "2", "inbox")) == b""
    assert responder.said() == b""


def test_mappings_change_at_once() -> None:
    broker = Broker("mappings { a: b }")
    client = broker.connect()
    client.feed(b"SUB > 1\r\n")
    assert client.feed(pub("a") * 2) == msg("b", "1") * 2
    broker.replace("mappings { a: c }")
    assert client.feed(pub("a") * 2) == msg("c", "1") * 2
    broker.replace("debug: false")
    assert client.feed(pub("a") * 2) == msg("a", "1") * 2


def test_nothing_is_left_of_a_broker_that_ended() -> None:
    broker = Broker(BUS.replace("I {", 'I { mappings: {"m.*": [{dest: "n.$1", weight: 50}]},'))
    responder, asker = broker.connect("e", headers=True), broker.connect("i", headers=True)
    responder.feed(b"SUB svc.* 1\r\nSUB > 2\r\n")
    asker.feed(b"SUB > 1\r\nSUB inbox.* 2\r\n" + pub("ask.a", "how", "inbox.1") * 3 + pub("m.1") * 3)
    responder.feed(pub("st.a") * 3)
    assert broker.control.tenants["E"].namespace.pending_answers == 3
    left = [weakref.ref(one) for one in (broker.control, *broker.control.tenants.values())]
    broker.close()
    del broker, responder, asker
    gc.collect()
    assert [one() for one in left] == [None] * len(left)


# Rates


def test_who_sends_more_than_its_rate_is_slowed_and_loses_nothing() -> None:
    broker = Broker("accounts { A { users: [{user: a, password: p, message_rate: 10}] } }")
    sender, receiver = broker.connect("a"), broker.connect("a")
    receiver.feed(b"SUB > 1\r\n")
    sender.feed(pub("x") * 15)
    assert receiver.said() == msg("x", "1") * 15
    # Ten are a second's worth; each of the other five costs a tenth of a second, and what is owed adds up.
    assert sender.transport.pauses == 5
    assert sender.transport.paused_for == pytest.approx(0.1 + 0.2 + 0.3 + 0.4 + 0.5)
    broker.pass_by(0.5)
    assert sender.client.owed == 0
    sender.feed(pub("x"))
    assert sender.client.owed == pytest.approx(0.1)


def test_all_connections_of_a_user_and_all_users_of_an_account_share_a_rate() -> None:
    broker = Broker(
        """accounts { A { limits: {byte_rate: 1000},
                          users: [{user: a, password: p, byte_rate: 400}, {user: b, password: p}] }
        B { users: [{user: c, password: p}] } }"""
    )
    one, two, other, stranger = (broker.connect(user) for user in ("a", "a", "b", "c"))
    one.feed(pub("x", "y" * 300))
    assert one.client.owed == 0
    two.feed(pub("x", "y" * 300))
    assert two.client.owed == one.client.owed == pytest.approx(0.5)
    assert other.client.owed == 0
    other.feed(pub("x", "y" * 500))
    assert other.client.owed == pytest.approx(0.1)
    assert stranger.client.owed == 0
    two.session.close(CloseReason.KICKED)
    again = broker.connect("a")
    assert again.client.owed == pytest.approx(0.5)


def test_a_rate_changes_with_the_configuration() -> None:
    text = "accounts { A { limits: {message_rate: %d}, users: [{user: a, password: p}] } }"
    broker = Broker(text % 2)
    client = broker.connect("a")
    client.feed(pub("x") * 4)
    assert client.client.owed == pytest.approx(1.0)


# Who sends


SIGNED = """accounts {
  A { sender_identity: true, users: [{user: a, password: p}], exports: [{stream: "out.>"}, {service: "svc"}] }
  B { users: [{user: b, password: p}],
      imports: [{stream: {account: A, subject: "out.>"}}, {service: {account: A, subject: "svc"}}],
      exports: [{stream: "b.>"}] }
  C { sender_identity: true, users: [{user: c, password: p}], imports: [{stream: {account: B, subject: "b.>"}}] }
}"""


def hpub(subject: str, header: str, payload: str = "x") -> bytes:
    return f"HPUB {subject} {len(header)} {len(header) + len(payload)}\r\n{header}{payload}\r\n".encode()


@pytest.mark.parametrize(
    "forged",
    [
        "NATS/1.0\r\nNatskeep-Sender: {}\r\n\r\n",
        "NATS/1.0\r\nnatskeep-sender : {}\r\n\r\n",
        "NATS/1.0\r\nA: b\nNATSKEEP-SENDER:x\n\n",
        "NATS/1.0\r\nA: 1\rNatskeep-Sender:x\r\r",
        "NATS/1.0\nA: 1\n\n Natskeep-Sender:x\r\n\r\n",
        "NATS/1.0\r\n\r\nNatskeep-Sender:x\r\n\r\n",
        "Natskeep-Sender: x\r\n\r\n",
        "NATS/1.0\r\nNatskeep-Sender: 1\r\nNatskeep-Sender: 2\r\n\r\n",
    ],
)
def test_a_message_tells_who_sent_it_and_nobody_else_can(forged: str) -> None:
    broker = Broker(SIGNED)
    sender, receiver = broker.connect("a", headers=True), broker.connect("a", headers=True)
    receiver.feed(b"SUB x 1\r\n")
    sender.feed(hpub("x", forged))
    received = receiver.said()
    assert received.lower().count(b"natskeep-sender") == 1
    assert b'\r\nNATS/1.0\r\nNatskeep-Sender: {"acc":"A","user":"a"}\r\n' in received
    assert received.endswith(b"\r\n\r\nx\r\n")


def test_other_headers_stay_as_they_are() -> None:
    broker = Broker(SIGNED)
    sender, receiver = broker.connect("a", headers=True), broker.connect("a", headers=True)
    receiver.feed(b"SUB x 1\r\n")
    sender.feed(hpub("x", "NATS/1.0 100 Idle\r\nA: 1\r\nNatskeep-Senders: 2\r\nA: 3\r\n\r\n"))
    assert (
        b'NATS/1.0 100 Idle\r\nNatskeep-Sender: {"acc":"A","user":"a"}\r\nA: 1\r\nNatskeep-Senders: 2\r\nA: 3\r\n\r\nx'
        in receiver.said()
    )


def test_the_sender_is_told_across_walls() -> None:
    broker = Broker(SIGNED)
    a, b, c = (broker.connect(user, headers=True) for user in ("a", "b", "c"))
    b.feed(b"SUB out.> 1\r\nSUB b.> 2\r\n")
    c.feed(b"SUB b.> 1\r\n")
    a.feed(b"SUB svc 1\r\n" + pub("out.1"))
    # The exporter signs, so its importers see it.
    assert b'Natskeep-Sender: {"acc":"A","user":"a"}' in b.said()
    # An account that does not sign is told to those who want to know, and its own see what was sent.
    assert b"Natskeep-Sender: forged" in b.feed(hpub("b.1", "NATS/1.0\r\nNatskeep-Sender: forged\r\n\r\n"))
    assert b'Natskeep-Sender: {"acc":"B","user":"b"}' in (received := c.said())
    assert b"forged" not in received
    b.feed(pub("svc", "ask"))
    received = a.said()
    assert received.count(b"Natskeep-Sender") == 1
    assert b'Natskeep-Sender: {"acc":"B","user":"b"}' in received


def test_no_header_is_added_where_no_account_asks_for_it() -> None:
    broker = Broker(BUS)
    one, two = broker.connect("e", headers=True), broker.connect("e", headers=True)
    two.feed(b"SUB x 1\r\n")
    one.feed(pub("x"))
    assert two.said() == msg("x", "1")




def test_an_answer_that_goes_on_through_a_service_tells_who_answers() -> None:
    broker = Broker(
        """accounts {
        B { users: [{user: b, password: p}], exports: [{service: ">"}] }
        C { users: [{user: c, password: p}], imports: [{service: {account: B, subject: "*.*"}}] }
        }"""
    )
    responder, asker = broker.connect("b", headers=True), broker.connect("c", headers=True)
    responder.feed(b"SUB q.q 1\r\nSUB a.a 2\r\n")
    asker.feed(pub("q.q", "how", "a.a"))
    # The asker's reply subject is one that it imports, so the answer is a request for the responder's own account.
    answer = responder.feed(pub(request(responder.said()), "so"))
    assert re.fullmatch(
        rb'HMSG a\.a 2 \d+ \d+\r\nNATS/1\.0\r\nNats-Request-Info: \{"acc":"B"[^}]*\}\r\n\r\nso\r\n', answer
    ), answer
