"""Imports that are not in force, or will not be before long."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.exchange import Exchange, ServiceLink, StreamLink
from accounts.graph import ImportProblem
from accounts.subject import contains
from auth.claims import Export, Import
from auth.gojson import quote
from tools.nsk.doctor.findings import Examined, Finding, Severity
from tools.nsk.values import format_date, format_distance


def import_findings(examined: Examined) -> Iterator[Finding]:
    """What is wrong with imports, by the code with which servers decide."""
    for key, exchange in examined.scene.world.exchanges.items():
        importer = examined.account_called(key)
        if importer is None:
            continue
        for problem in exchange.refused:
            yield from _refused(examined, importer, problem)
        for link in _links(exchange):
            end = link.ends_at
            if end is None or not examined.now < end <= examined.now + examined.within:
                continue
            found = _claimed(examined, importer, link.imported.account, link.imported.subject)
            if found is not None:
                yield Finding(
                    "activation-expiring",
                    Severity.WARNING,
                    _place(importer, found),
                    f"is in force until {format_date(int(end))}, {format_distance(int(end), examined.now)}",
                    _activate(examined, importer, found) or _delete(examined, importer, found),
                )


def _links(exchange: Exchange) -> Iterator[StreamLink | ServiceLink]:
    yield from exchange.streams
    yield from exchange.services


def _refused(examined: Examined, importer: str, problem: ImportProblem) -> Iterator[Finding]:
    found = _claimed(examined, importer, problem.found.account, problem.found.subject)
    if found is None:
        return
    exporter = examined.account_called(found.account)
    export = None if exporter is None else _export(examined, exporter, found)
    activate = _activate(examined, importer, found) if export is not None and export.token_required else ""
    why = problem.detail or problem.reason
    if exporter is None and examined.lacks_accounts:
        return
    if exporter is None:
        yield Finding(
            "import-unknown-account",
            Severity.INFO,
            _place(importer, found),
            f"takes from {found.account}, which this store does not have: only servers can tell whether it is in force",
            _delete(examined, importer, found),
        )
    else:
        yield Finding(
            "import-not-activated" if activate else "import-dangling",
            Severity.WARNING,
            _place(importer, found),
            f"is not in force: {why}",
            activate or _delete(examined, importer, found),
        )


def _claimed(examined: Examined, importer: str, account: str, subject: str) -> Import | None:
    """The import in the claims that became one in the tables."""
    for item in examined.accounts[importer].nats.imports:
        if item is not None and (item.account, item.exported_subject) == (account, subject):
            return item
    return None


def _export(examined: Examined, exporter: str, found: Import) -> Export | None:
    for export in examined.accounts[exporter].nats.exports:
        if export is not None and export.type == found.type and contains(export.subject, found.exported_subject):
            return export
    return None


def _place(importer: str, found: Import) -> str:
    return f"{found.type} import {quote(found.subject)} of account {quote(importer)}"


def _delete(examined: Examined, importer: str, found: Import) -> str:
    return examined.run(
        "delete", "import", "--account", importer, "--subject", found.subject, "--src-account", found.account
    )


def _activate(examined: Examined, importer: str, found: Import) -> str:
    """Have the exporter activate the import anew; empty where no key that can do so is stored."""
    exporter = examined.account_called(found.account)
    if exporter is None:
        return ""
    claims = examined.accounts[exporter]
    keys = [claims.subject, *(key for key in claims.nats.signing_keys if isinstance(key, str))]
    if not any(map(examined.store.keystore.has_key, keys)):
        return ""
    target, file = examined.accounts[importer].subject, f"{importer}-from-{exporter}.activation.jwt"
    renamed = ("--local-subject", found.local_subject) if found.local_subject else ()
    return " && ".join(
        (
            examined.run(
                *("generate", "activation", "--account", exporter, "--subject", found.exported_subject),
                *("--target-account", target, "--output-file", file),
            ),
            _delete(examined, importer, found),
            examined.run(
                *("add", "import", "--account", importer, "--token", file, "--name", found.name or found.subject),
                *renamed,
                *(("--share",) if found.share else ()),
            ),
        )
    )
