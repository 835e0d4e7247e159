"""A Unix socket as a listener: its file, who is at the other end, and the connections that come by it.

The socket gets its permissions and begins to listen in a directory that nobody else can enter, and is moved to where
clients look for it then: at no moment can anybody connect who may not. A file that a killed server left is replaced,
one that somebody listens at never is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import logging
import os
import socket
import stat
import struct
import sys
import tempfile
from typing import TYPE_CHECKING, Final, Self

from auth.evidence import LocalPeer
from broker.net.connection import Connection
from broker.net.listener import BACKLOG, Listener, ListenError
from broker.session.arrival import Arrival

if TYPE_CHECKING:
    from broker.config.options import Options, ProxyOptions, TLSOptions, UnixOptions
    from broker.net.service import Service

LOGGER: Final = logging.getLogger("natskeep.net")

LONGEST_PATH: Final = 107 if sys.platform == "linux" else 103
"""Bytes of a path that a socket can be bound to (unix(7))."""

_INSIDE: Final = "s"
_CREDENTIALS: Final = struct.Struct("iII")
_LOCK_SUFFIX: Final = ".lock"


def tells_peers() -> bool:
    """Whether this system says whose process is at the other end of a Unix socket."""
    return hasattr(socket, "SO_PEERCRED")


def peer_of(sock: socket.socket) -> LocalPeer | None:
    """The process at the other end when it connected; None where the system does not tell."""
    if not tells_peers():
        return None
    try:
        pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except OSError:
        return None
    return LocalPeer(uid, gid, pid)


class PathLock:
    """What keeps other servers from a path: a lock on a file beside it, which goes with it."""

    def __init__(self, path: str) -> None:
        """Raises ListenError where somebody holds it."""
        self._path = f"{path}{_LOCK_SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            try:
                self._descriptor = os.open(self._path, flags, 0o600)
            except OSError as error:
                raise _failed(path, error) from error
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(self._descriptor)
                if not isinstance(error, BlockingIOError):
                    raise _failed(self._path, error) from error
                why = f"another server has it, as {self._path} says"
                raise ListenError(f"listen unix {path}: {why}; stop that, or choose another path") from None
            if self._is_in_place():
                return
            # Whoever had it removed the file meanwhile, and a lock on that keeps nobody away.
            os.close(self._descriptor)

    def _is_in_place(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path))
        return False

    def release(self) -> None:
        """Lets others have the path."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._descriptor)


class UnixSocket:
    """A listening socket, its file, and the lock on the path."""

    def __init__(self, path: str, sock: socket.socket, bound: str, lock: PathLock) -> None:
        self.path = path
        self.sock = sock
        self.lock: PathLock | None = lock
        self._bound: str | None = bound
        """Where its file is as long as nobody can find it."""
        self._status = os.lstat(bound)
        self._is_open = True

    @classmethod
    def open(cls, options: UnixOptions, replaced: UnixSocket | None = None) -> Self:
        """A socket with its permissions, listening where nobody can find it. Raises ListenError.

        It may take the place of one of this process at the same path, whose lock it has from then on.
        """
        path = options.path
        own = replaced.lock if replaced is not None and replaced.path == path else None
        lock = own or PathLock(path)
        try:
            if own is None:
                _refuse_taken(path)
            return cls(path, *_listening(options), lock)
        except OSError as error:
            if own is None:
                lock.release()
            raise error if isinstance(error, ListenError) else _failed(path, error) from error

    def place(self, replaced: UnixSocket | None = None) -> None:
        """Moves the file to where clients look for it, over one that nobody listens at or that it takes the place of.

        Raises OSError.
        """
        if self._bound is not None:
            os.rename(self._bound, self.path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(self._bound))
            self._bound = None
        if replaced is not None and replaced.lock is self.lock:
            replaced.lock = None

    def discard(self, replaced: UnixSocket | None = None) -> None:
        """Takes back a socket that is not to be used, and leaves what it was to take the place of as it is."""
        if replaced is not None and replaced.lock is self.lock:
            self.lock = None
        self.close()

    def close(self) -> None:
        """Ends it, removes its file unless that is another one by now, and lets others have the path."""
        if not self._is_open:
            # What is there may be somebody else's by now, whatever it looks like.
            return
        self._is_open = False
        self.sock.close()
        with contextlib.suppress(OSError):
            if self._bound is not None:
                os.unlink(self._bound)
                os.rmdir(os.path.dirname(self._bound))
            elif os.path.samestat(os.lstat(self.path), self._status):
                os.unlink(self.path)
        lock, self.lock, self._bound = self.lock, None, None
        if lock is not None:
            lock.release()


def _failed(path: str, error: OSError) -> ListenError:
    why = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        why = f"{os.path.dirname(path) or '.'} is no directory; make it, and give it to whoever runs the server"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = f"{why}; see to who may write in {os.path.dirname(path) or '.'}"
    return ListenError(f"listen unix {path}: {why}")


def _refuse_taken(path: str) -> None:
    """Refuses a path that is no socket, or that somebody listens at. Raises ListenError and OSError."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ListenError(f"listen unix {path}: it is there and no socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:
            # So many wait there that there is no room for one more.
            pass
    raise ListenError(f"listen unix {path}: another process listens there; stop it, or choose another path")


def _listening(options: UnixOptions) -> tuple[socket.socket, str]:
    """The socket, and where its file is. Raises ListenError and OSError."""
    path = options.path
    group = -1 if not options.group else _group_number(path, options.group)
    private = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(path) or ".")
    bound = os.path.join(private, _INSIDE)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        longest = max(map(len, map(os.fsencode, (bound, path))))
        if longest > LONGEST_PATH:
            least = longest - LONGEST_PATH
            raise ListenError(f"listen unix {path}: the path is {least} bytes too long for a socket; choose another")
        sock.bind(bound)
        if group >= 0:
            _give(path, bound, group, options.group)
        os.chmod(bound, options.mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        with contextlib.suppress(OSError):
            os.unlink(bound)
        with contextlib.suppress(OSError):
            os.rmdir(private)
        raise
    return sock, bound


def _give(path: str, bound: str, group: int, name: str) -> None:
    try:
        os.chown(bound, -1, group)
    except PermissionError:
        raise ListenError(
            f"listen unix {path}: it cannot be given to the group {name}; make the server's user a member of it"
        ) from None


def _group_number(path: str, name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ListenError(f"listen unix {path}: this machine has no group {name}; make it, or name another") from None


class UnixConnection(Connection):
    """The transport of one session over a Unix socket."""

    __slots__ = ()

    def __init__(self, service: Service, sock: socket.socket, host: str, port: int, cid: int) -> None:
        super().__init__(service, sock, host, port, cid)
        self.session.arrival = Arrival(socket_path=service.options.unix.path, peer=peer_of(sock))

    # What its socket has of its own

    def tls_of(self, options: Options) -> TLSOptions | None:
        """TLS of the clients' port where the socket demands it, else none."""
        return options.tls if options.unix.tls else None

    @staticmethod
    def proxy_of(_: Options) -> ProxyOptions | None:
        """No proxy stands before it."""
        return None

    @property
    def allows_clear(self) -> bool:
        """Where TLS is demanded it is, whatever holds for the port."""
        return False


class UnixListener(Listener):
    """A Unix socket in the loop."""

    def __init__(self, service: Service, unix: UnixSocket) -> None:
        super().__init__(service, unix.sock, UnixConnection)
        self.unix = unix

    def source_of(self, _: object) -> tuple[str, int]:
        """It comes from nowhere in a network."""
        return "", 0

    def close(self) -> None:
        """Accepts nothing more, and removes the file; open connections stay."""
        super().close()
        self.unix.close()

    def give_way(self) -> None:
        """Takes those who wait already, and ends, because another socket has its place."""
        while self.accept_one():
            pass
        self.close()
