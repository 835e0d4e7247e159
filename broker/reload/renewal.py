"""Certificates that are renewed while the server runs: watched, swapped for new handshakes, and told of.

A thread looks at the files and builds what is to be served; the loop only puts it in the place of the one before, so
that no connection notices. A reload builds and checks by the same function, and ends here too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.log.text import printable
from broker.net.certificates import WHOSE, Finding, Outcome, Told, refusal, shown
from broker.net.failures import Contained
from broker.net.staples import wants_staples
from broker.reload.aside import aside
from broker.reload.revoked import close_revoked
from tls.policy import TLSSettingsError
from tls.revocation.settings import StapleError
from tls.served import Served, UnsettledFilesError, digests_of, read_files, serve
from tls.watch import FileWatch, Refused, Renewed

if TYPE_CHECKING:
    from broker.net.certificates import Certificates
    from broker.net.service import Service
    from tls.watch import News

LOGGER: Final = logging.getLogger("natskeep.tls")

REMINDER_SECONDS: Final = 24 * 3600.0
"""After which something that is still wrong is said again."""

CHECK_SECONDS: Final = 3600.0
"""How often it is looked whether a certificate ends soon: a day may pass unnoticed while a machine sleeps."""

END_SECONDS: Final = 1.0
"""How long the end of a server waits for a look at the files."""

FIRST_STAPLE_RETRY: Final = 5.0
"""Seconds after which an OCSP answer about a renewed certificate is asked for again; each time it is twice as long."""

LONGEST_STAPLE_RETRY: Final = 120.0


class Renewal:
    """The certificates of one server as time passes."""

    def __init__(self, service: Service, tell: Callable[[Told], None]) -> None:
        self._service = service
        self._tell = tell
        self._watcher: _Watcher | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._taking: dict[str, tuple[Served, asyncio.Task[None]]] = {}
        """By listener: what is to be served once there are OCSP answers about it."""
        self._holding: set[asyncio.Task[None]] = set()
        """What is being done about connections with certificates that are revoked now."""
        self._said: dict[str, float] = {}
        """By text: when it was said last, in monotonic seconds."""

    @property
    def _certificates(self) -> Certificates:
        return self._service.certificates

    def start(self) -> None:
        """Begins to watch."""
        self._follow()
        self._look_at_ends()

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in (*(task for _, task in self._taking.values()), *self._holding):
            task.cancel()
        watcher = self._watcher
        self._end_watcher()
        if watcher is not None:
            watcher.join()

    # What the files say

    def _follow(self) -> None:
        """Watches the files of what is served now, as its settings say."""
        self._end_watcher()
        watched = {name: one.served for name, one in self._certificates.standing.items() if one.served.settings.watch}
        if watched:
            self._watcher = _Watcher(self._service.loop, watched, self._hear)
            self._watcher.start()

    def _end_watcher(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.end()

    def _hear(self, listener: str, before: Served, news: News) -> None:
        """In the loop: what the thread has found out about files, unless a reload came between."""
        standing = self._certificates.standing.get(listener)
        if self._watcher is None or standing is None:
            return
        taking = self._taking.get(listener)
        if standing.served is not before and (taking is None or taking[0] is not before):
            return
        if isinstance(news, Renewed):
            self._take(listener, news.served)
        elif isinstance(news, Refused):
            self._refused(listener, news.problem, "watch")
        else:
            standing.problem = ""
            LOGGER.info("The files of the certificate of %s hold again what is served", WHOSE[listener])
        self._service.flush_dirty()

    def _take(self, listener: str, served: Served) -> None:
        """Serves it, as soon as what is to be shown with it is at hand."""
        taking = self._taking.pop(listener, None)
        if taking is not None:
            taking[1].cancel()
        service = self._service
        if service.staples.are_empty and not wants_staples([served], service.options):
            self._put(listener, served)
            return
        task = service.loop.create_task(self._take_stapled(listener, served))
        self._taking[listener] = served, task

    async def _take_stapled(self, listener: str, served: Served) -> None:
        """The one before is served as long as no OCSP answer about this one is to be had."""
        service, wait = self._service, FIRST_STAPLE_RETRY
        with Contained():
            while True:
                try:
                    shown = {**self._certificates.all_served(), listener: served}
                    stock = await service.staples.prepare(shown, service.options)
                    break
                except StapleError as error:
                    self._refused(listener, str(error), "watch")
                    service.flush_dirty()
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_STAPLE_RETRY)
            self._taking.pop(listener, None)
            service.staples.put(stock)
            self._put(listener, served)
            service.flush_dirty()

    def _put(self, listener: str, served: Served) -> None:
        standing = self._certificates.standing[listener]
        before, standing.served = standing.served, served
        self._renewed(listener, before, "watch")

    def _hold_to_lists(self, listener: str) -> None:
        """Closes whom other lists revoke."""
        task = self._service.loop.create_task(close_revoked(self._service, listener))
        self._holding.add(task)
        task.add_done_callback(self._holding.discard)

    # Reloads

    def reloaded(self, before: Mapping[str, Served]) -> None:
        """Another configuration is in place; ``before`` is what listeners showed until then."""
        for _, task in self._taking.values():
            task.cancel()
        self._taking.clear()
        for listener, standing in self._certificates.standing.items():
            earlier = before.get(listener)
            if earlier is not None and standing.served.changed_files(earlier):
                self._renewed(listener, earlier, "reload")
        self._follow()
        self._look_at_ends()

    async def examine(self) -> None:
        """A reload was refused: says of each listener whether its files are a reason, as if they were watched."""
        problems = await aside(partial(_problems, self._certificates.all_served()))
        for listener, problem in problems.items():
            if listener in self._certificates.standing:
                self._refused(listener, problem, "reload")
        self._service.flush_dirty()

    # What is said

    def _renewed(self, listener: str, before: Served, cause: str) -> None:
        standing = self._certificates.standing[listener]
        served = standing.served
        standing.renewals += 1
        standing.problem = ""
        files = served.changed_files(before)
        if served.chains == before.chains:
            LOGGER.info("Took up %s for %s", printable(", ".join(files)), WHOSE[listener])
        else:
            for chain in served.chains:
                LOGGER.info("Renewed the certificate of %s: %s in %s, until %s",
                            WHOSE[listener], printable(chain.name), printable(chain.file), shown(chain.ends_at))
        if served.lists is not None and served.lists is not before.lists:
            self._hold_to_lists(listener)
        lost = served.lost_names(before)
        if lost:
            names = printable(", ".join(lost))
            LOGGER.warning("The certificate of %s is not good any more for %s", WHOSE[listener], names)
        self._service.control.trail.server(
            "certificate_renewed", listener=listener, cause=cause, files=list(files),
            certificates=[chain.fingerprints[0] for chain in served.chains],
        )
        self._tell(Told(listener, Outcome.RENEWED, served.chains, files))
        if cause == "watch":
            self._look_at_ends()

    def _refused(self, listener: str, problem: str, cause: str) -> None:
        standing = self._certificates.standing[listener]
        if standing.problem == problem:
            return
        standing.problem = problem
        standing.refusals += 1
        self._say(refusal(listener, standing))
        self._service.control.trail.server("certificate_refused", listener=listener, cause=cause, problem=problem)
        self._tell(Told(listener, Outcome.REFUSED, standing.served.chains, problem=problem))

    def _look_at_ends(self) -> None:
        """Says what ends soon or has ended, and what is still wrong; once a day."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._service.loop.call_later(CHECK_SECONDS, self._look_at_ends)
        findings = list(self._certificates.findings(time.time()))
        texts = {finding.text for finding in findings}
        self._said = {text: at for text, at in self._said.items() if text in texts}
        for finding in findings:
            said = self._said.get(finding.text)
            if said is not None and time.monotonic() - said < REMINDER_SECONDS:
                continue
            self._say(finding)
            if finding.chain is not None:
                self._tell(Told(finding.listener, finding.outcome, (finding.chain,)))
        self._service.flush_dirty()

    def _say(self, finding: Finding) -> None:
        self._said[finding.text] = time.monotonic()
        level = logging.WARNING if finding.outcome is Outcome.EXPIRING else logging.ERROR
        text = printable(finding.text)
        LOGGER.log(level, "%s", text[:1].upper() + text[1:])


def _problems(serving: Mapping[str, Served]) -> dict[str, str]:
    """Why files that changed cannot be served, by listener."""
    found = {}
    for listener, served in serving.items():
        if digests_of(read_files(served.settings)) == served.digests:
            continue
        try:
            serve(served.settings, served)
        except UnsettledFilesError:
            continue
        except TLSSettingsError as error:
            found[listener] = str(error)
    return found


class _Watcher:
    """The thread that looks. Whatever a disk does, the loop and the end of the process do not wait for it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watched: Mapping[str, Served],
        hear: Callable[[str, Served, News], None],
    ) -> None:
        self._loop = loop
        self._watches = {listener: FileWatch(served) for listener, served in watched.items()}
        self._interval = min(served.settings.watch for served in watched.values())
        self._hear = hear
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="natskeep-certificates", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def end(self) -> None:
        """Ends it, after the look that it may be taking."""
        self._end.set()

    def join(self) -> None:
        """Waits for that, but not for a disk that does not answer."""
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while not self._end.wait(self._interval):
            for listener, watch in self._watches.items():
                self._look(listener, watch)

    def _look(self, listener: str, watch: FileWatch) -> None:
        before = watch.served
        news = None
        with Contained():
            news = watch.look()
        if news is not None and not self._end.is_set():
            # The loop may have ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(partial(self._hear, listener, before, news))
