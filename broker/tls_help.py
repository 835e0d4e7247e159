"""What ``--help_tls`` prints: how TLS is configured, and what there is to choose from."""

from __future__ import annotations

from typing import Final

from tls.policy import CURVES, SECURE_SUITES, TLS13_SUITES

_EXAMPLE: Final = """
TLS configuration is specified in the tls section of a configuration file:

e.g.

    tls {
        cert_file:      "./certs/server-cert.pem"
        key_file:       "./certs/server-key.pem"
        ca_file:        "./certs/ca.pem"
        verify:         true
        verify_and_map: true

        cipher_suites: [
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        ]
        curve_preferences: [
            "X25519",
            "CurveP256"
        ]
    }

Available cipher suites include:
"""


def text() -> str:
    """The help. Suites that ``allow_insecure_cipher_suites`` would have to permit are not advertised."""
    lines = [_EXAMPLE.rstrip("\n")]
    lines += [f"    {name}" for name in sorted({*TLS13_SUITES, *SECURE_SUITES})]
    lines += ["", "Available curve preferences include:", *(f"    {name}" for name in CURVES)]
    return "\n".join(lines)
