"""Facts of a client certificate become a user name."""

from __future__ import annotations

import pytest

from auth.certificate import find_local_user, find_user, parse_dn, parse_local
from auth.evidence import CertificateFacts, LocalPeer

SUBJECT = ((("C", "US"),), (("O", "Acme, Inc."),), (("OU", "a"),), (("OU", "b"),), (("CN", "cli"),))
FACTS = CertificateFacts(
    emails=("m@nats.test",), dns_names=("m.nats.test",), uris=("spiffe://nats.test/app",), subject=SUBJECT
)


def found(*names: str, facts: CertificateFacts = FACTS, refused: tuple[str, ...] = ()) -> str | None:
    return find_user(facts, names, lambda name: name not in refused)


def test_the_order_of_names() -> None:
    dn = r"CN=cli,OU=b,OU=a,O=Acme\, Inc.,C=US"
    names = ("m@nats.test", "m.nats.test", "spiffe://nats.test/app", dn)
    for position, expected in enumerate(names):
        assert found(*reversed(names[position:])) == expected
    assert found(*names, refused=names[:2]) == names[2]
    assert found(*names, refused=names) is None


@pytest.mark.parametrize(
    "name",
    [
        r"CN=cli,OU=b,OU=a,O=Acme\, Inc.,C=US",
        r"cn=cli, ou=b, ou=a, o=Acme\2C Inc., c=US",
        r"C=US,O=Acme\, Inc.,OU=a,OU=b,CN=cli",
        r"OU=a,CN=cli,C=US,OU=b,O=Acme\, Inc.",
        r"CN=cli,OU=a+OU=b,O=Acme\, Inc.,C=US",
    ],
)
def test_the_subject_in_any_order(name: str) -> None:
    assert found("other", name) == name


@pytest.mark.parametrize(
    "name", ["CN=cli", r"CN=cli,OU=a,O=Acme\, Inc.,C=US", r"CN=CLI,OU=b,OU=a,O=Acme\, Inc.,C=US", "cli", ""]
)
def test_parts_of_a_subject_prove_nothing(name: str) -> None:
    assert found(name) is None


def test_the_written_order_wins_over_any_order() -> None:
    facts = CertificateFacts(subject=((("O", "a"),), (("CN", "b"),)))
    assert found("O=a,CN=b", "CN=b,O=a", facts=facts) == "CN=b,O=a"


def test_no_facts_no_user() -> None:
    assert found("", "a", facts=CertificateFacts()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CN=a", ((("CN", "a"),),)),
        ("CN=a+O=b,C=c", ((("CN", "a"), ("O", "b")), (("C", "c"),))),
        (r"CN=a\,b\20", ((("CN", "a,b "),),)),
        (r"CN=\C3\A9", ((("CN", "é"),),)),
        ("CN=a  ", ((("CN", "a"),),)),
        ("CN=", ((("CN", ""),),)),
        ("1.2.3=x", ((("1.2.3", "x"),),)),
        ("", None),
        ("a", None),
        ("CN=a,", None),
        ("CN=a,,O=b", None),
        ("CN=a\\", None),
        ("CN=<a>", None),
        (r"CN=\FF", None),
    ],
)
def test_distinguished_names(text: str, expected: object) -> None:
    assert parse_dn(text) == expected


PEER = LocalPeer(uid=1000, gid=100, pid=7)
SYSTEM_USERS = {1000: ("alice", "al"), 0: ("root",)}


def local(*names: str, refused: tuple[str, ...] = ()) -> str | None:
    return find_local_user(PEER, SYSTEM_USERS, names, lambda name: name not in refused)


def test_a_local_process_is_known_by_its_number_and_then_by_its_names() -> None:
    names = ("unix:user=al", "unix:user=alice", "unix:uid=1000", "unix:user=root", "unix:uid=0", "alice", "1000")
    assert local(*names) == "unix:uid=1000"
    assert local(*names, refused=("unix:uid=1000",)) == "unix:user=alice"
    assert local("unix:user=al") == "unix:user=al"
    assert local("unix:user=root", "unix:uid=0", "unix:uid=10000", "unix:uid=100", "alice", "1000") is None


def test_no_certificate_is_a_local_process() -> None:
    """Whatever an authority signs: a URI can look like one."""
    facts = CertificateFacts(emails=("unix:uid=0",), dns_names=("unix:uid=0",), uris=("unix:uid=0",))
    assert found("unix:uid=0", facts=facts) is None
    subject = CertificateFacts(subject=((("unix:uid", "0"),),))
    assert found("unix:uid=0", facts=subject) is None


@pytest.mark.parametrize(("name", "meant"), [("unix:uid=0", 0), ("unix:uid=1000", 1000), ("unix:user=a.b-c", "a.b-c")])
def test_names_of_local_processes(name: str, meant: int | str) -> None:
    assert parse_local(name) == meant


@pytest.mark.parametrize(
    "words",
    [
        *("", "uid=", "uid=-1", "uid=01", "uid=4294967295", "uid=99999999999", "uid=1 ", "uid=x"),
        *("user=", "user=a b", "gid=1"),
    ],
)
def test_what_is_no_name_of_one(words: str) -> None:
    with pytest.raises(ValueError, match="is neither"):
        parse_local(f"unix:{words}")
