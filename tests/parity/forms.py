"""CONNECT as client libraries send it: the fields that tell who wrote it, in their order, without credentials."""

from __future__ import annotations

from typing import Any

FORMS: dict[str, dict[str, Any]] = {
    "go": {
        "verbose": False, "pedantic": False, "tls_required": False, "name": "orders", "lang": "go", "version": "1.52.0",
        "protocol": 1, "echo": True, "headers": True, "no_responders": True,
    },
    "python": {
        "verbose": False, "pedantic": False, "lang": "python3", "version": "2.11.0", "protocol": 1, "echo": True,
        "headers": True, "no_responders": True,
    },
    "rust": {
        "verbose": False, "pedantic": False, "jwt": None, "nkey": None, "sig": None, "name": None, "echo": True,
        "lang": "rust", "version": "0.42.0", "protocol": 1, "tls_required": False, "headers": True,
        "no_responders": True,
    },
    "c": {
        "verbose": False, "pedantic": False, "tls_required": False, "name": "", "lang": "C", "version": "3.10.1",
        "protocol": 1, "echo": True, "headers": True, "no_responders": True,
    },
    "java": {
        "lang": "java", "version": "2.21.0", "protocol": 1, "verbose": False, "pedantic": False, "tls_required": False,
        "echo": True, "headers": True, "no_responders": True,
    },
    "javascript": {
        "protocol": 1, "version": "3.1.0", "lang": "nats.js", "verbose": False, "pedantic": False, "headers": True,
        "no_responders": True,
    },
    "dotnet": {
        "echo": True, "verbose": False, "pedantic": False, "tls_required": False, "name": "NATS .NET Client",
        "lang": ".NET", "version": "2.6.8", "protocol": 1, "headers": True, "no_responders": True,
    },
    "ruby": {
        "verbose": False, "pedantic": False, "lang": "ruby", "version": "2.4.0", "protocol": 1, "echo": True,
        "headers": True, "no_responders": True,
    },
    "old": {"verbose": False, "pedantic": False, "lang": "node", "version": "1.4.12", "protocol": 0},
    "bare": {},
}
