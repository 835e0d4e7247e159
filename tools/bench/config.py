"""The configuration file that both servers get: the same but for the port."""

from __future__ import annotations

from pathlib import Path

from tools.bench.forge import Trust

HOST = "127.0.0.1"


def server_config(port: int, trust: Trust, certificates: Path | None, websocket_port: int = 0) -> str:
    """The text of the file; with `certificates`, clients must use TLS, and with a port for it they may use WebSocket.

    Only keys that every nats-server since 2.2 knows are used. The generous TLS timeout keeps a burst of handshakes
    on a small machine from failing.
    """
    lines = [
        "server_name: bench",
        f"listen: {HOST}:{port}",
        f"operator: {trust.operator_jwt}",
        f"system_account: {trust.system_account}",
        "resolver: MEMORY",
        "resolver_preload: {",
        *(f"  {account}: {token}" for account, token in trust.account_jwts.items()),
        "}",
    ]
    if certificates is not None:
        tls = [
            "tls: {",
            f'  cert_file: "{certificates / "server.pem"}"',
            f'  key_file: "{certificates / "server-key.pem"}"',
            "  timeout: 10",
            "}",
        ]
        lines += ["websocket {", f'listen: "{HOST}:{websocket_port}"', *tls, "}"] if websocket_port else tls
    return "\n".join(lines) + "\n"
