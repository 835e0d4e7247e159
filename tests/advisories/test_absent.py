"""Published advisories about parts that this version does not have: whoever asks for one is refused by its name.

So nobody runs such a part without knowing it, and none of its listeners, verbs or subjects is there to be attacked.
"""

from __future__ import annotations

import pytest

from broker.config.errors import ConfigError
from broker.config.language import parse_bytes
from broker.config.load import read_options
from tests.support.brokers import Broker

MQTT = ("mqtt { port: 1883 }", "needs MQTT")
LEAFNODES = ("leafnodes { port: 7422 }", "needs leafnodes")
CLUSTER = ("cluster { port: 6222 }", "needs clustering")

ADVISORIES = {
    "CVE-2026-33215": (MQTT, "A session could be taken over by its client id."),
    "CVE-2026-33216": (MQTT, "Passwords were shown to who may see monitoring."),
    "CVE-2026-33217": (MQTT, "Permissions did not hold for subjects of MQTT."),
    "GHSA-4g68-3pwx-5vfj": (MQTT, "Nor did they after that was mended."),
    "GHSA-qrcv-3558-gj4f": (MQTT, "A filter could carry commands to other servers."),
    "GHSA-r72h-j7qq-v6qg": (MQTT, "Half a CONNECT took memory before anybody had logged in."),
    "GHSA-7qmq-8cc4-hxwg": (MQTT, "Retained messages were delivered in spite of denies."),
    "CVE-2026-29785": (LEAFNODES, "A handshake ended the server before anybody had logged in."),
    "CVE-2026-33218": (LEAFNODES, "Another one did too."),
    "GHSA-3g5q-cfh2-cq67": (LEAFNODES, "And a third one, after that was mended."),
    "CVE-2026-33246": (LEAFNODES, "A leafnode could say who its clients were, and was believed."),
    "GHSA-p3j5-5hrq-p75h": (LEAFNODES, "A leafnode could have traces sent wherever it liked."),
    "GHSA-38x3-76xf-cq45": (CLUSTER, "With a no_auth_user, a peer was taken for a server of the cluster unasked."),
}


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_what_the_advisory_is_about_is_refused_by_name(advisory: str) -> None:
    (text, reason), _ = ADVISORIES[advisory]
    with pytest.raises(ConfigError, match=reason):
        read_options(parse_bytes(text.encode()))


@pytest.mark.parametrize("verb", [b"RS+ A a\r\n", b"RMSG A a 0\r\n\r\n", b"LS+ a\r\n", b"LMSG a 0\r\n\r\n"])
def test_ghsa_38x3_76xf_cq45_verbs_between_servers_are_unknown(verb: bytes) -> None:
    """With a ``no_auth_user`` an unauthenticated peer could speak as another server of the cluster.

    No client can: the verbs between servers are none here.
    """
    broker = Broker("accounts { A { users = [{user: a, password: p}] } }\nno_auth_user: a")
    listener = broker.connect("a")
    listener.feed(b"SUB > 1\r\n")
    peer = broker.open()
    assert b"-ERR 'Unknown Protocol Operation'" in peer.feed(verb)
    assert peer.close_reason is not None
    assert listener.said() == b""
