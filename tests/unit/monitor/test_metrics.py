"""/metrics is what Prometheus reads, with each account's usage beside its limits."""

from __future__ import annotations

import re
import time

from accounts.limits import AccountLimits
from broker.config.options import AccountOptions, AuditOptions, Options, UserOptions
from broker.monitor.endpoints import answer
from broker.monitor.metrics import CONTENT_TYPE, SLICE
from broker.monitor.prometheus import sample
from broker.net.admission import Eviction, Refusal
from tests.unit.monitor.scene import watched

_SAMPLE = re.compile(r'(natskeep_[a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[0-9.e+]+)')


def read(text: str) -> dict[tuple[str, str], float]:
    """The samples by name and labels. Every line must be of the format, and each family stand together."""
    found: dict[tuple[str, str], float] = {}
    family = ""
    families = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            families.append(family)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            assert line.split()[3] in ("counter", "gauge")
            assert (line.split()[3] == "counter") == family.endswith("_total")
        else:
            matched = _SAMPLE.fullmatch(line)
            assert matched is not None, line
            assert matched[1] == family
            assert (matched[1], matched[2] or "") not in found
            found[matched[1], matched[2] or ""] = float(matched[3])
    assert len(set(families)) == len(families)
    return found


def options(count: int = 1) -> Options:
    named = [f"T{number}" for number in range(count)]
    limits = AccountLimits(connections=7, message_rate=1000)
    users = (UserOptions(user="u", password="p"),)
    return Options(
        host="127.0.0.1",
        accounts=tuple(
            AccountOptions(name=name, users=users if name == "T0" else (), limits=limits) for name in named
        ),
    )


def page(scene_options: Options) -> dict[tuple[str, str], float]:
    with watched(scene_options) as scene:
        for account in scene_options.accounts:
            assert scene.service.control.wiring.tenant(account.name) is not None
        scene.service.control.trail.counts = {("T0", "publish"): 3, ("", "connect"): 1}
        found = answer(scene, "GET", "/metrics", {})
    assert found.content_type == CONTENT_TYPE
    return read(found.whole().decode())


def test_an_account_beside_its_limits() -> None:
    found = page(options())
    labels = 'account="T0",name="T0"'
    assert found["natskeep_account_connections", labels] == 0
    assert found["natskeep_account_connections_limit", labels] == 7
    assert found["natskeep_account_message_rate_limit", labels] == 1000
    assert ("natskeep_account_byte_rate_limit", labels) not in found
    assert ("natskeep_account_expiry_timestamp_seconds", labels) not in found


def test_the_server_and_what_it_refused() -> None:
    found = page(options())
    assert found["natskeep_healthy", ""] == 1
    assert found["natskeep_denials_total", 'account="T0",action="publish"'] == 3
    assert found["natskeep_denials_total", 'account="",action="connect"'] == 1
    assert ("natskeep_audit_ledger_written", "") not in found


def test_guests_and_who_was_not_let_in() -> None:
    with watched(options()) as scene:
        admission = scene.service.admission
        admission.hold(admission.enter(1, "192.0.2.1"), 500)
        for cid in range(2, 100):
            guest = admission.enter(cid, "192.0.2.2")
            admission.leave(guest)
            admission.failed(guest, time.monotonic())
        admission.refused[Refusal.BACKED_OFF] += 7
        admission.evicted[Eviction.MEMORY] += 5
        found = read(answer(scene, "GET", "/metrics", {}).whole().decode())
    assert found["natskeep_unauthenticated_connections", ""] == 1
    assert found["natskeep_unauthenticated_connections_limit", ""] == admission.most_guests
    assert found["natskeep_unauthenticated_bytes", ""] == 500
    assert found["natskeep_admission_backed_off_addresses", ""] == 1
    assert found["natskeep_admission_refused_total", 'reason="backed_off"'] == 7
    assert found["natskeep_admission_refused_total", 'reason="handshakes"'] == 0
    assert found["natskeep_admission_dropped_total", 'reason="max_unauthenticated_memory"'] == 5


def test_a_server_with_a_ledger() -> None:
    with watched(Options(audit=AuditOptions(directory="x"))) as scene:
        scene.audit_problem = lambda: "full"
        found = read(answer(scene, "GET", "/metrics", {}).whole().decode())
    assert found["natskeep_audit_ledger_written", ""] == 0


def test_many_accounts_come_in_pieces() -> None:
    many = options(3 * SLICE)
    with watched(many) as scene:
        for account in many.accounts:
            scene.service.control.wiring.tenant(account.name)
        found = answer(scene, "GET", "/metrics", {})
        assert not isinstance(found.body, bytes)
        pieces = list(found.body)
    assert max(piece.count(b"\n") for piece in pieces) <= SLICE
    connections = [key for key in read(b"".join(pieces).decode()) if key[0] == "natskeep_account_connections"]
    assert len(connections) >= 3 * SLICE


def test_labels_are_escaped() -> None:
    line = sample("x", 1, {"name": 'a"b\\c\nd<script>'})
    assert line == 'natskeep_x{name="a\\"b\\\\c\\nd<script>"} 1\n'
    assert read(f"# HELP natskeep_x y\n# TYPE natskeep_x gauge\n{line}")
