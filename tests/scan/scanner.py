"""Scans a natskeep of all three listeners with TLS by sslyze: ``python -m tests.scan.scanner`` prints the report.

The listener of clients (with `handshake_first`, since no scanner speaks NATS) and the monitoring port have an ECDSA
certificate, that of WebSocket clients an RSA one, so that the suites of both kinds are tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.certificates import LOCAL, make_certificates
from tests.support.outside import at_hand
from tests.support.ports import reserve_port
from tests.support.servers import NATSKEEP, ServerProcess
from tools.nsk.pki.issue import Role

SCANNERS: Final = at_hand([f"{sys.prefix}/scanner/bin/sslyze"], "no sslyze is installed for tests/scan: make scanner")

_CHECKS: Final = (
    "certinfo", "compression", "early_data", "elliptic_curves", "ems", "fallback", "heartbleed", "openssl_ccs",
    "reneg", "resum", "robot", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3",
)  # fmt: skip
_VERSIONS: Final = {
    "SSL 2.0": "ssl_2_0", "SSL 3.0": "ssl_3_0", "TLS 1.0": "tls_1_0", "TLS 1.1": "tls_1_1", "TLS 1.2": "tls_1_2",
    "TLS 1.3": "tls_1_3",
}  # fmt: skip
_OUR_AUTHORITY: Final = "Supplied CA file"
_CONFIGURATION: Final = """
host: "127.0.0.1"
port: {client}
https_port: {monitoring}
tls {{ cert_file: "server.pem", key_file: "server-key.pem", handshake_first: true }}
websocket {{ port: {websocket}, tls {{ cert_file: "rsa.pem", key_file: "rsa-key.pem" }} }}
"""

Findings = dict[str, Any]


def scan(scanner: str, directory: Path) -> dict[str, Findings]:
    """What the scanner finds, by listener. Raises AssertionError where a check did not come to its end."""
    certificates = make_certificates(directory)
    certificates.make("rsa", "CN=localhost", Role.SERVER, LOCAL, key=rsa.generate_private_key(65537, 2048))
    ports = {listener: reserve_port() for listener in ("client", "websocket", "monitoring")}
    (directory / "server.conf").write_text(_CONFIGURATION.format(**ports))
    with ServerProcess(NATSKEEP, ["-c", "server.conf"], directory) as server:
        assert server.wait_until_ready(), server.output
        results = _scanned(scanner, directory, ports.values())
    return {listener: _findings(results[port]) for listener, port in ports.items()}


def _scanned(scanner: str, directory: Path, ports: Iterable[int]) -> dict[int, Any]:
    output = directory / "scan.json"
    words = [
        scanner, *(f"--{check}" for check in _CHECKS), "--certinfo_ca_file", directory / "ca.pem",
        "--mozilla_config", "disable", "--json_out", output, *(f"localhost:{port}" for port in ports),
    ]  # fmt: skip
    done = subprocess.run(words, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return {one["server_location"]["port"]: one for one in json.loads(output.read_text())["server_scan_results"]}


def _findings(one: Any) -> Findings:
    """What does not change from one scan to the next."""
    assert one["scan_status"] == "COMPLETED", one["connectivity_error_trace"]
    found = one["scan_result"]
    results = {name: one["result"] for name, one in found.items() if one and one["status"] == "COMPLETED"}
    assert not [name for name, one in found.items() if one and one["status"] not in {"COMPLETED", "NOT_SCHEDULED"}]
    (deployment,) = results["certificate_info"]["certificate_deployments"]
    (trust,) = [
        one for one in deployment["path_validation_results"] if one["trust_store"]["name"] == _OUR_AUTHORITY
    ]
    renegotiation = results["session_renegotiation"]
    return {
        "certificate": {
            "trusted": trust["was_validation_successful"],
            "chain_in_order": deployment["received_chain_has_valid_order"],
            "sha1_in_chain": deployment["verified_chain_has_sha1_signature"],
            "key": deployment["received_certificate_chain"][0]["public_key"]["algorithm"],
        },
        "suites": {
            version: sorted(
                suite["cipher_suite"]["name"]
                for suite in results[f"{name}_cipher_suites"]["accepted_cipher_suites"]
            )
            for version, name in _VERSIONS.items()
        },
        "curves": sorted(curve["name"] for curve in results["elliptic_curves"]["supported_curves"]),
        "compression": results["tls_compression"]["supports_compression"],
        "early_data": results["tls_1_3_early_data"]["supports_early_data"],
        "extended_master_secret": results["tls_extended_master_secret"]["supports_ems_extension"],
        "fallback_scsv": results["tls_fallback_scsv"]["supports_fallback_scsv"],
        "renegotiation": {
            "secure": renegotiation["supports_secure_renegotiation"],
            "by_client": renegotiation["client_renegotiations_success_count"],
        },
        "tickets": results["session_resumption"]["tls_ticket_resumption_result"],
        "ccs_injection": results["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
        "heartbleed": results["heartbleed"]["is_vulnerable_to_heartbleed"],
        "robot": results["robot"]["robot_result"],
    }


def report(findings: dict[str, Findings]) -> str:
    """The report as it is stored."""
    return json.dumps(findings, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for scanner in SCANNERS:
        with tempfile.TemporaryDirectory() as name:
            print(report(scan(scanner, Path(name))), end="")
