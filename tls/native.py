"""The OpenSSL that comes with the cryptography library, where pyOpenSSL does not reach.

pyOpenSSL has no list of groups, and its reading and writing copy each record twice more than need be. Both are had from
the same library by its own functions. The names that this takes are not public ones: they stand here alone, and the
range of pyOpenSSL, which itself holds to one range of cryptography, is narrow for that reason (ADR 10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.bindings._rust import _openssl
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL.crypto import X509

if TYPE_CHECKING:
    from OpenSSL import SSL

_LIBRARY: Final = _openssl.lib
_FOREIGN: Final = _openssl.ffi

OP_PRIORITIZE_CHACHA: Final = 1 << 21
"""A client that prefers ChaCha20 has no hardware for AES, and gets what it prefers (SSL_CTX_set_options(3))."""

MODE_NO_AUTO_CHAIN: Final = 8
"""A certificate is sent with what stands in its file, and nothing out of the authorities (SSL_CTX_set_mode(3))."""

_OF_RECORDS: Final = (
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_new_mem_buf",
    "BIO_read",
    "BIO_s_mem",
    "BIO_set_mem_eof_return",
    "BIO_write",
    "ERR_clear_error",
    "SSL_get_error",
    "SSL_read",
    "SSL_set_bio",
    "SSL_write",
)


def functions() -> dict[str, int]:
    """The addresses of the functions that move records."""
    return {name: _address(_FOREIGN.addressof(_LIBRARY, name)) for name in _OF_RECORDS}


def handle(connection: SSL.Connection) -> int:
    """The address of what OpenSSL keeps of a connection: good as long as the connection lives."""
    return _address(connection._ssl)


def set_groups(context: SSL.Context, names: str) -> bool:
    """Takes these groups for the exchange of keys, in this order; False where the library lacks one."""
    done: int = _LIBRARY.SSL_CTX_set1_curves_list(context._context, names.encode())
    _LIBRARY.ERR_clear_error()
    return done == 1


def is_resumed(connection: SSL.Connection) -> bool:
    """Whether the handshake went on with an earlier session."""
    return bool(_LIBRARY.SSL_session_reused(connection._ssl))


def verification_failure(connection: SSL.Connection) -> str:
    """What was wrong with the peer's certificate; "" where nothing was."""
    result = _LIBRARY.SSL_get_verify_result(connection._ssl)
    if result == _LIBRARY.X509_V_OK:
        return ""
    text: str = _FOREIGN.string(_LIBRARY.X509_verify_cert_error_string(result)).decode()
    return text


def judge_peer(
    connection: SSL.Connection, accepts: Callable[[tuple[bytes, ...]], bool], failed: Callable[[X509], None]
) -> object:
    """Asks whether the peer is accepted, once its chain is verified and before it is told so.

    ``accepts`` is given the certificates in DER, the peer's own first; ``failed`` is told where the library finds that
    a certificate is not valid. Neither must raise. A peer that is not accepted is told "bad certificate". What is
    returned must be kept until the handshake is over, and :func:`judge_no_more` be called then.
    """

    def decide(verified: int, store: object) -> int:
        if not verified:
            certificate = _LIBRARY.X509_STORE_CTX_get_current_cert(store)
            _LIBRARY.X509_up_ref(certificate)
            failed(X509._from_raw_x509_ptr(certificate))
            return verified
        if _LIBRARY.X509_STORE_CTX_get_error_depth(store) != 0:
            return verified
        stack = _LIBRARY.X509_STORE_CTX_get1_chain(store)
        chain = [
            X509._from_raw_x509_ptr(_LIBRARY.sk_X509_value(stack, number))
            for number in range(_LIBRARY.sk_X509_num(stack))
        ]
        # Its members belong to the objects that were made of them.
        _LIBRARY.sk_X509_free(stack)
        if accepts(tuple(one.to_cryptography().public_bytes(Encoding.DER) for one in chain)):
            return verified
        _LIBRARY.X509_STORE_CTX_set_error(store, _LIBRARY.X509_V_ERR_CERT_REJECTED)
        return 0

    callback = _FOREIGN.callback("int (int, X509_STORE_CTX *)", decide, error=0)
    _LIBRARY.SSL_set_verify(connection._ssl, _LIBRARY.SSL_get_verify_mode(connection._ssl), callback)
    return callback


def judge_no_more(connection: SSL.Connection) -> None:
    """Lets go of what :func:`judge_peer` has returned."""
    _LIBRARY.SSL_set_verify(connection._ssl, _LIBRARY.SSL_get_verify_mode(connection._ssl), _FOREIGN.NULL)


def _address(pointer: object) -> int:
    return int(_FOREIGN.cast("uintptr_t", pointer))
