"""``tool stream backup|restore``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tools.nsk.commands.streams import counted, told
from tools.nsk.commands.tool_shared import PROGRESS_BYTES, tool_command, with_streams
from tools.nsk.flags import Flags, boolean
from tools.nsk.progress import progress
from tools.nsk.session import Session
from tools.nsk.streams.api import Document, JetStream, check_name
from tools.nsk.streams.archive import (
    ARCHIVE,
    Archive,
    Progress,
    new_directory,
    new_file,
    read_archive,
    restore,
    snapshot,
    write_note,
)
from tools.nsk.streams.results import Backup


def _backup(session: Session, flags: Flags) -> Backup:
    name = check_name(flags.arguments[0], "stream")
    directory = session.environment.absolute(flags.arguments[1])
    with new_directory(directory) as temporary, new_file(temporary / ARCHIVE) as sink, ExitStack() as stack:

        def started(size: int) -> Progress | None:
            # What comes may be compressed: the size of the stream is the best that can be told beforehand.
            return stack.enter_context(progress(size, f"backing up {name}", least=PROGRESS_BYTES))

        async def work(streams: JetStream) -> Archive:
            consumers, check = not flags.boolean("no-consumers"), flags.boolean("check")
            return await snapshot(streams, name, sink, consumers=consumers, check=check, started=started)

        found = with_streams(session, flags, "stream", work)
        write_note(found, temporary)
    session.output.message(f"wrote stream {name} with {counted(found.state['messages'])} to {flags.arguments[1]}")
    return _result(found, directory)


def _restore(session: Session, flags: Flags) -> Backup:
    directory = session.environment.absolute(flags.arguments[0])
    found = read_archive(directory)
    with (directory / ARCHIVE).open("rb") as source:

        async def work(streams: JetStream) -> Document:
            with progress(found.bytes, f"restoring {found.stream}", least=PROGRESS_BYTES) as advance:
                return await restore(streams, found, source, advance)

        info = with_streams(session, flags, "stream", work)
    session.output.message(f"restored stream {found.stream}")
    told(session, info)
    return _result(found, directory)


def _result(found: Archive, directory: Path) -> Backup:
    state = found.state
    sequences = state["messages"], state["first_seq"], state["last_seq"]
    return Backup(found.stream, str(directory), found.bytes, found.sha256, *sequences)


BACKUP = tool_command(
    "backup", "Write a stream to a directory", _backup,
    (
        boolean("no-consumers", "", "leave its consumers out"),
        boolean("check", "", "let the server look at every message first"),
    ),
    (2, 2), result=Backup, usage="<stream> <directory>",
    examples="nsk tool stream backup ORDERS /backup/orders-2027-01-31",
)
RESTORE = tool_command(
    "restore", "Make a stream of a backup", _restore, (), (1, 1), result=Backup, usage="<directory>",
    examples="nsk tool stream restore /backup/orders-2027-01-31",
)  # fmt: skip
