"""Watches the files of a listener for another certificate, however they come to change.

Looking is asking for their state, every second or so, of whatever lies behind the links at the end. That finds a file
moved over another, a link turned to another directory (as Kubernetes does), and a write in place, on every file system;
notifications of the system miss the first two unless each directory on the way is watched, and everything on a network
mount. It costs a handful of calls, in a thread.

Certificate and key seldom change in one step. So what was found is tried only when a second look finds the same, and
reported as unusable only when it still is after some more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tls.policy import TLSSettingsError
from tls.served import Served, UnsettledFilesError, digests_of, read_files, serve

PATIENCE: Final = 3
"""Looks for which files that cannot be served must stay as they are before that is reported."""

RETRY_SECONDS: Final = 10.0
"""After which they are tried again: a certificate may have become valid meanwhile, or the clock may be right now."""

RECENT_SECONDS: Final = 2.0
"""Two changes of a file within one tick of its file system's clock look like one; so younger files are read again."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The files hold something else, which can be served."""

    served: Served


@dataclass(frozen=True, slots=True)
class Refused:
    """The files hold something that cannot be served, and why."""

    problem: str


@dataclass(frozen=True, slots=True)
class Restored:
    """The files hold again what is served, after something that could not be."""


News = Renewed | Refused | Restored
_State = tuple[tuple[int, ...], ...]


class FileWatch:
    """What became of the files of one listener. Each change is told once."""

    def __init__(
        self,
        served: Served,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.served = served
        """What the files are compared with; the last thing that was told to be renewed."""
        self._clock = clock
        self._monotonic = monotonic
        self._state: _State = ()
        self._digests = dict(served.digests)
        self._unchanged = 0
        """Looks for which the files have held the same."""
        self._refused: Refused | None = None
        self._retry_at = 0.0

    def look(self) -> News | None:
        """Looks once."""
        digests = self._found()
        if digests == self.served.digests:
            self._digests, self._unchanged = digests, 0
            restored = self._refused is not None
            self._refused = None
            return Restored() if restored else None
        if digests != self._digests:
            self._digests, self._unchanged, self._retry_at = digests, 0, 0.0
            return None
        self._unchanged += 1
        if self._monotonic() < self._retry_at:
            return None
        try:
            served = serve(self.served.settings, self.served, self._clock())
        except UnsettledFilesError:
            self._unchanged = 0
            return None
        except TLSSettingsError as error:
            return self._refuse(Refused(str(error)))
        self.served, self._refused = served, None
        return Renewed(served)

    def _refuse(self, refused: Refused) -> Refused | None:
        if self._unchanged < PATIENCE:
            return None
        self._retry_at = self._monotonic() + RETRY_SECONDS
        if refused == self._refused:
            return None
        self._refused = refused
        return refused

    def _found(self) -> dict[str, str]:
        """The digests of the files, read again only where something may have happened to them."""
        state = tuple(_state(path) for path in self.served.settings.files)
        if state != self._state or self._is_recent(state):
            self._state = state
            return digests_of(read_files(self.served.settings))
        return self._digests

    def _is_recent(self, state: _State) -> bool:
        now = self._clock()
        return any(len(one) > 1 and abs(now - max(one[-2:]) / 1e9) < RECENT_SECONDS for one in state)


def _state(path: str) -> tuple[int, ...]:
    """What of a file changes with its contents, the times last; the error's number where there is no file."""
    try:
        found = os.stat(path)
    except OSError as error:
        return (error.errno or 0,)
    except ValueError:
        return (0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
