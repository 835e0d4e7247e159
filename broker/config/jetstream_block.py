"""The ``jetstream`` block: streams that keep messages, where, and how much of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from broker.config.absent import checked
from broker.config.options import JetStreamCeilings, JetStreamOptions
from broker.config.tree import Entry, Table
from broker.config.values import (
    NOWHERE,
    Keys,
    Problems,
    boolean,
    duration,
    duration_text,
    fail,
    integer,
    keys,
    one_or_more,
    read_block,
    string,
)

_SIZE: Final = re.compile(r"([0-9]{1,18})([KMGT])", re.ASCII)
_SHIFTS: Final = {"K": 10, "M": 20, "G": 30, "T": 40}
_CIPHERS: Final = frozenset({"chacha", "chachapoly", "aes"})
_SWITCHES: Final = {"enabled": True, "enable": True, "disabled": False, "disable": False}
_NANOSECONDS: Final = 1_000_000_000
_LONGEST_KEY: Final = 4096
"""Bytes of a file with a key."""


def jetstream(entry: Entry, problems: Problems) -> JetStreamOptions | None:
    """The block; None where it says that there are no streams. Raises ConfigError."""
    content = entry.value.content
    if isinstance(content, bool):
        return JetStreamOptions() if content else None
    if isinstance(content, str):
        return JetStreamOptions() if switch(entry, content) else None
    if not isinstance(content, Table):
        raise fail(entry, f"Expected map, bool or string to define JetStream, got {entry.value.kind}")
    fields = read_block(content, KEYS, problems)
    fields.pop(NOWHERE, None)
    enabled = fields.pop("enabled", True)
    _check_sources(entry, content)
    return JetStreamOptions(**fields) if enabled else None


_SOURCES: Final = (
    ({"key", "ek", "encryption_key"}, {"key_file"}, {"key_command"}),
    ({"prev_key", "prev_ek", "prev_encryption_key"}, {"prev_key_file"}),
)
"""Where a key may come from: one of these, and one of those."""


def _check_sources(entry: Entry, block: Table) -> None:
    given = [one.key for one in block]
    for sources in _SOURCES:
        found = [next(key for key in given if key.lower() in names) for names in sources
                 if any(key.lower() in names for key in given)]
        if len(found) > 1:
            raise fail(entry, f'"{found[0]}" and "{found[1]}" both say where the key is; keep one of them')


def switch(entry: Entry, text: str) -> bool:
    """``enabled`` or ``disabled``."""
    if text.lower() not in _SWITCHES:
        raise fail(entry, f"Expected 'enabled' or 'disabled' for string value, got '{text}'")
    return _SWITCHES[text.lower()]


def _strict(entry: Entry, _: Problems) -> bool:
    if not isinstance(entry.value.content, bool):
        raise fail(entry, f"Expected 'true' or 'false' for bool value, got {entry.value.kind}")
    return entry.value.content


def _sync_interval(entry: Entry, problems: Problems) -> None:
    if not (isinstance(entry.value.content, str) and entry.value.content.lower() == "always"):
        duration(entry, problems)


def _named_size(entry: Entry, name: str) -> int:
    content = entry.value.content
    if isinstance(content, str):
        found = _SIZE.fullmatch(content)
        if found is not None:
            return int(found[1]) << _SHIFTS[found[2]]
        if content and content[-1] in _SHIFTS:
            raise fail(entry, f'{name} "{content}" is no size; write it like 64M')
        if content:
            raise fail(entry, f"{name} sizes defined as strings must end in K, M, G, T")
        return 0
    if isinstance(content, bool) or not isinstance(content, int):
        raise fail(entry, f"{name} must be int64 or string")
    return content


def _max_memory(entry: Entry, _: Problems) -> int:
    return _named_size(entry, "max_mem_store")


def _max_file(entry: Entry, _: Problems) -> int:
    return _named_size(entry, "max_file_store")


def _size(entry: Entry, _: Problems) -> None:
    _named_size(entry, entry.key.lower())


def _number(entry: Entry, _: Problems) -> None:
    if isinstance(entry.value.content, bool) or not isinstance(entry.value.content, int):
        raise fail(entry, f'Expected a parseable size for "{entry.key}", got {entry.value.kind}')


def _count(entry: Entry, _: Problems) -> None:
    content = entry.value.content
    if isinstance(content, bool) or not isinstance(content, int) or content < 0:
        raise fail(entry, f'Expected an absolute size for "{entry.key}", got {_shown(entry)}')


def _concurrency(entry: Entry, _: Problems) -> None:
    content = entry.value.content
    if isinstance(content, bool) or not isinstance(content, int) or not 4 <= content <= 8192:
        raise fail(entry, f'Expected an absolute size for "{entry.key}" between 4 and 8192, got {_shown(entry)}')


def _shown(entry: Entry) -> str:
    content = entry.value.content
    return str(content) if isinstance(content, int) and not isinstance(content, bool) else entry.value.kind


def _cipher(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if text.lower() not in _CIPHERS:
        raise fail(entry, f'Unknown cipher type: "{text}"; use chacha or aes')
    return "aes" if text.lower() == "aes" else "chacha"


def _key_file(entry: Entry, problems: Problems) -> str:
    """The key in a file that nobody else may read."""
    path = Path(string(entry, problems)).expanduser()
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(_LONGEST_KEY + 1)
    except OSError as error:
        raise fail(entry, f"cannot read {entry.key} {path}: {error.strerror}") from None
    if found.st_mode & 0o077 or found.st_uid not in {0, os.geteuid()}:
        raise fail(
            entry, f"{entry.key} {path} may be read or changed by others: make it the server's own, and chmod 600 it"
        )
    try:
        key = content.decode("ascii").strip()
    except UnicodeDecodeError:
        key = ""
    if not key or len(content) > _LONGEST_KEY:
        remedy = "write 32 random bytes in base64, as `openssl rand -base64 32` does"
        raise fail(entry, f"{entry.key} {path} holds no key: {remedy}")
    return key


def _key_command(entry: Entry, problems: Problems) -> tuple[str, ...]:
    words = one_or_more(entry, problems)
    if not words or not words[0]:
        raise fail(entry, f'"{entry.key}" names no program')
    return words


def _key_timeout(entry: Entry, problems: Problems) -> float:
    seconds = duration_text(entry, problems)
    if seconds <= 0:
        raise fail(entry, f'"{entry.key}" must be more than 0')
    return seconds


def _extension_hint(entry: Entry, problems: Problems) -> None:
    text = string(entry, problems)
    if text.lower() not in {"will_extend", "no_extend"}:
        raise fail(entry, f"expected 'no_extend' for string value, got '{text}'")


def _domain(entry: Entry, problems: Problems) -> str:
    text = string(entry, problems)
    if any(character in text for character in ".*> \t"):
        raise fail(entry, "invalid domain name: may not contain ., * or >")
    return text


def _nanoseconds(entry: Entry, problems: Problems) -> int:
    return round(duration_text(entry, problems) * _NANOSECONDS)


def _limits(entry: Entry, problems: Problems) -> JetStreamCeilings:
    fields = _inner(entry, "JetStreamLimits", LIMITS, problems)
    batch = fields.pop("batch", {})
    return JetStreamCeilings(**fields, **batch)


def _batch(entry: Entry, problems: Problems) -> dict[str, Any]:
    return _inner(entry, "batch limits", BATCH, problems)


def _tpm(entry: Entry, problems: Problems) -> None:
    _inner(entry, "the TPM", TPM, problems)


def _inner(entry: Entry, what: str, known: Keys, problems: Problems) -> dict[str, Any]:
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"Expected a map to define {what}, got {entry.value.kind}")
    fields = read_block(entry.value.content, known, problems)
    fields.pop(NOWHERE, None)
    return fields


_SEALED: Final = "a TPM"
"""What keeping the key in one needs."""

BATCH: Final[Keys] = {
    **keys(
        "max_inflight_per_stream",
        field="batch_inflight_per_stream",
        read=integer,
        default="50",
        doc="Batches of one stream at a time.",
    ),
    **keys("max_inflight_total", field="batch_inflight_total", read=integer, default="1000", doc="Batches at a time."),
    **keys("max_msgs", field="batch_messages", read=integer, default="1000", doc="Messages of one batch."),
    **keys(
        "timeout",
        field="batch_timeout",
        read=_nanoseconds,
        kind="duration in quotes",
        default="10 s",
        doc="How long a batch may pause.",
    ),
}
LIMITS: Final[Keys] = {
    **keys(
        "max_ack_pending",
        field="max_ack_pending",
        read=integer,
        default="unlimited",
        doc="Unacknowledged messages of a consumer.",
    ),
    **keys("max_ha_assets", read=integer, default="unlimited", doc="Replicated streams and consumers. Without effect."),
    **keys(
        "max_request_batch",
        field="max_request_batch",
        read=integer,
        default="unlimited",
        doc="Messages that one pull may ask for.",
    ),
    **keys(
        "duplicate_window",
        field="duplicate_window",
        read=_nanoseconds,
        kind="duration in quotes",
        default="unlimited",
        doc="Longest window for finding duplicates.",
    ),
    **keys("batch", field="batch", read=_batch, kind="map", doc="Ceilings of batches."),
}
TPM: Final[Keys] = {
    **keys("keys_file", read=string, kind="path", doc="File of the sealed keys."),
    **keys("encryption_password", read=string, doc="Password of the encryption key."),
    **keys("srk_password", read=string, doc="Password of the storage root key."),
    **keys("pcr", read=integer, default="22", doc="Platform configuration register."),
    **keys("cipher", read=_cipher, kind="`chacha` or `aes`", default="`chacha`", doc="Cipher."),
}
KEYS: Final[Keys] = {
    **keys("enabled", "enable", field="enabled", read=boolean, default="`true`", doc="`false` switches the part off."),
    **keys(
        "strict", field="strict", read=_strict, kind="boolean", doc="Refuse requests with fields that there are not."
    ),
    **keys(
        *("store_dir", "store", "storedir"),
        field="store_dir",
        read=string,
        kind="path",
        default="`nats` among temporary files",
        doc="Where streams are kept, in `jetstream` below it.",
    ),
    **keys(
        *("sync_interval", "sync"),
        read=_sync_interval,
        kind="duration, or `always`",
        default="`always`",
        doc="Without effect: what is acknowledged is on disk.",
    ),
    **keys(
        *("max_memory_store", "max_mem_store", "max_mem"),
        field="max_memory",
        read=_max_memory,
        kind="bytes, or a number with `K`, `M`, `G` or `T` in quotes",
        default="75 % of the memory",
        doc="What all streams in memory may take.",
    ),
    **keys(
        *("max_file_store", "max_file"),
        field="max_store",
        read=_max_file,
        kind="bytes, or a number with `K`, `M`, `G` or `T` in quotes",
        default="75 % of what is free at the start",
        doc="What all streams on disk may take.",
    ),
    **keys(
        "domain",
        field="domain",
        read=_domain,
        kind="string",
        doc="JetStream domain: requests to `$JS.<domain>.API` come to this server.",
    ),
    **keys("limits", field="ceilings", read=_limits, kind="map", doc="Ceilings of streams and consumers."),
    **keys(
        "extension_hint",
        read=_extension_hint,
        kind="`will_extend` or `no_extend`",
        doc="Whether a leafnode's JetStream joins that of its hub. Without effect.",
    ),
    **keys("unique_tag", read=string, doc="Tag that no two replicas may share. Without effect."),
    **keys(
        "max_outstanding_catchup",
        read=_size,
        kind="size",
        default="64 MB",
        doc="Data under way to a replica. Without effect.",
    ),
    **keys(
        "max_buffered_size",
        read=_size,
        kind="size",
        default="128 MB",
        doc="Data that waits for a stream. Without effect: who publishes too fast is slowed.",
    ),
    **keys(
        "max_buffered_msgs", read=_number, kind="number", default="10000", doc="The same in messages. Without effect."
    ),
    **keys(
        "request_queue_limit",
        read=_number,
        kind="number",
        default="10000",
        doc="Requests that may wait. Without effect: none waits longer than its turn.",
    ),
    **keys(
        "info_queue_limit",
        read=_number,
        kind="number",
        default="that of requests",
        doc="The same for requests that change nothing. Without effect.",
    ),
    **keys(
        "meta_compact",
        read=_count,
        kind="number",
        default="0",
        doc="Entries after which the meta data of a cluster is compacted. Without effect.",
    ),
    **keys("meta_compact_size", read=_size, kind="size", default="0", doc="Size after which it is. Without effect."),
    **keys("meta_compact_sync", read=boolean, default="`false`", doc="Do so at once. Without effect."),
    **keys(
        "max_concurrent_io",
        read=_concurrency,
        kind="4 to 8192",
        default="4096",
        doc="Disk operations at a time. Without effect.",
    ),
    **keys(
        *("key", "ek", "encryption_key"),
        field="key",
        read=string,
        kind="string",
        doc="Encrypts all that accounts have on disk: it seals a data key for each. Best 32 random bytes in base64, "
        "from the environment (`$NAME`).",
    ),
    **keys(
        *("prev_key", "prev_ek", "prev_encryption_key"),
        field="previous_key",
        read=string,
        kind="string",
        doc="The key before it: what it sealed is sealed anew with `key`, at the start or by a reload.",
    ),
    **keys(
        "key_file",
        field="key",
        read=_key_file,
        kind="path",
        doc="File with the key, in place of `key`; nobody else may read it. natskeep's own.",
    ),
    **keys(
        "prev_key_file",
        field="previous_key",
        read=_key_file,
        kind="path",
        doc="File with the key before it, in place of `prev_key`. natskeep's own.",
    ),
    **keys(
        "key_command",
        field="key_command",
        read=_key_command,
        kind="string, or a list: program and arguments",
        doc="Command that asks whoever keeps the key, such as a KMS, in place of `key` "
        "([jetstream.md](jetstream.md#a-command-for-the-key)). natskeep's own.",
    ),
    **keys(
        "key_timeout",
        field="key_timeout",
        read=_key_timeout,
        kind="duration in quotes",
        default="10 s",
        doc="How long the command may take. natskeep's own.",
    ),
    **keys(
        "key_dir",
        field="key_dir",
        read=string,
        kind="path",
        default="`keys` in `store_dir`",
        doc="Where the key file of each account is kept, best apart from the data and its backups. natskeep's own.",
    ),
    **keys(
        "cipher",
        field="cipher",
        read=_cipher,
        kind="`chacha` or `aes`",
        default="`chacha`",
        doc="How data is encrypted: XChaCha20-Poly1305, or AES-256-GCM-SIV.",
    ),
    **keys(
        "tpm",
        read=checked(_tpm, _SEALED),
        kind="map",
        doc="Keeps the key in a TPM; not available in this version: refused.",
    ),
}
