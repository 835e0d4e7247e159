"""What a scanner from outside finds on every listener with TLS: nothing weak, and nothing that is not on record."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.scan.scanner import SCANNERS, Findings, report, scan
from tls.policy import SECURE_SUITES, TLS13_SUITES

RECORD: Final = Path(__file__).parent / "report.json"
LISTENERS: Final = ("client", "websocket", "monitoring")
GOOD_CURVES: Final = frozenset({"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"})


@pytest.fixture(scope="module", params=SCANNERS, ids=["sslyze" for _ in SCANNERS])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    return scan(request.param, tmp_path_factory.mktemp("scan"))


@pytest.fixture(params=LISTENERS)
def found(request: pytest.FixtureRequest, findings: dict[str, Findings]) -> Findings:
    return findings[request.param]


def test_only_versions_1_2_and_1_3_are_spoken(found: Findings) -> None:
    assert {version for version, suites in found["suites"].items() if suites} == {"TLS 1.2", "TLS 1.3"}


def test_every_suite_has_forward_secrecy_and_authenticated_encryption(found: Findings) -> None:
    assert set(found["suites"]["TLS 1.3"]) <= set(TLS13_SUITES)
    assert set(found["suites"]["TLS 1.2"]) <= {suite for suite in SECURE_SUITES if "_CBC_" not in suite}


def test_no_curve_is_weak(found: Findings) -> None:
    assert set(found["curves"]) <= GOOD_CURVES
    assert {"X25519", "secp256r1"} <= set(found["curves"])


def test_no_client_can_renegotiate(found: Findings) -> None:
    assert found["renegotiation"] == {"secure": True, "by_client": 0}


def test_nothing_is_compressed_and_nothing_comes_before_the_handshake(found: Findings) -> None:
    assert (found["compression"], found["early_data"]) == (False, False)


def test_no_known_attack_works(found: Findings) -> None:
    assert found["robot"] == "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
    assert (found["heartbleed"], found["ccs_injection"]) == (False, False)
    assert (found["fallback_scsv"], found["extended_master_secret"]) == (True, True)


def test_the_chain_leads_to_the_authority(found: Findings) -> None:
    assert found["certificate"].items() >= {"trusted": True, "chain_in_order": True, "sha1_in_chain": False}.items()


def test_the_report_is_the_one_on_record(findings: dict[str, Findings]) -> None:
    assert report(findings) == RECORD.read_text(), "look at what changed, then record it (README.md)"
