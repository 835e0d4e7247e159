"""The names that are not public: here it is found out when a release of the library no longer has one."""

from __future__ import annotations

from OpenSSL import SSL

from tls import native


def test_every_function_of_records_is_there() -> None:
    found = native.functions()
    assert len(set(found.values())) == len(found) == 12
    assert all(found.values())


def test_connections_and_contexts_have_handles() -> None:
    assert native.handle(SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None))
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    assert native.set_groups(context, "X25519:prime256v1")
    assert not native.set_groups(context, "no such group")
    # What was refused leaves no error behind for the next to stumble over.
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256")


def test_the_numbers_are_those_of_the_library() -> None:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    assert context.set_mode(native.MODE_NO_AUTO_CHAIN) & native.MODE_NO_AUTO_CHAIN
    assert context.set_options(native.OP_PRIORITIZE_CHACHA) & native.OP_PRIORITIZE_CHACHA
