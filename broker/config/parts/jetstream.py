"""The ``jetstream`` block: streams, and what they may take."""

from __future__ import annotations

import re
from typing import Final

from broker.config.tree import Entry, Table
from broker.config.values import (
    Keys,
    Problems,
    boolean,
    duration,
    duration_text,
    fail,
    integer,
    keys,
    read_block,
    string,
)

_SIZE: Final = re.compile(r"([0-9]{1,18})[KMGT]", re.ASCII)
_CIPHERS: Final = frozenset({"chacha", "chachapoly", "aes"})
_SWITCHES: Final = {"enabled": True, "enable": True, "disabled": False, "disable": False}


def read(entry: Entry, problems: Problems) -> bool:
    """Whether JetStream is asked for."""
    content = entry.value.content
    if isinstance(content, bool):
        return content
    if isinstance(content, str):
        return switch(entry, content)
    if not isinstance(content, Table):
        raise fail(entry, f"Expected map, bool or string to define JetStream, got {entry.value.kind}")
    fields = read_block(content, KEYS, problems)
    return fields.get("enabled", True) is not False


def switch(entry: Entry, text: str) -> bool:
    """``enabled`` or ``disabled``."""
    if text.lower() not in _SWITCHES:
        raise fail(entry, f"Expected 'enabled' or 'disabled' for string value, got '{text}'")
    return _SWITCHES[text.lower()]


def _strict(entry: Entry, _: Problems) -> None:
    if not isinstance(entry.value.content, bool):
        raise fail(entry, f"Expected 'true' or 'false' for bool value, got {entry.value.kind}")


def _sync_interval(entry: Entry, problems: Problems) -> None:
    if not (isinstance(entry.value.content, str) and entry.value.content.lower() == "always"):
        duration(entry, problems)


def _named_size(entry: Entry, name: str) -> None:
    content = entry.value.content
    if isinstance(content, str):
        if content and not _SIZE.fullmatch(content):
            if content[-1] in "KMGT":
                raise fail(entry, f'{name} "{content}" is no size; write it like 64M')
            raise fail(entry, f"{name} sizes defined as strings must end in K, M, G, T")
    elif isinstance(content, bool) or not isinstance(content, int):
        raise fail(entry, f"{name} must be int64 or string")


def _max_memory(entry: Entry, _: Problems) -> None:
    _named_size(entry, "max_mem_store")


def _max_file(entry: Entry, _: Problems) -> None:
    _named_size(entry, "max_file_store")


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


def _cipher(entry: Entry, problems: Problems) -> None:
    text = string(entry, problems)
    if text.lower() not in _CIPHERS:
        raise fail(entry, f'Unknown cipher type: "{text}"; use chacha or aes')


def _extension_hint(entry: Entry, problems: Problems) -> None:
    text = string(entry, problems)
    if text.lower() not in {"will_extend", "no_extend"}:
        raise fail(entry, f"expected 'no_extend' for string value, got '{text}'")


def _domain(entry: Entry, problems: Problems) -> None:
    text = string(entry, problems)
    if any(character in text for character in ".*> \t"):
        raise fail(entry, "invalid domain name: may not contain ., * or >")


def _limits(entry: Entry, problems: Problems) -> None:
    _inner(entry, "JetStreamLimits", LIMITS, problems)


def _batch(entry: Entry, problems: Problems) -> None:
    _inner(entry, "batch limits", BATCH, problems)


def _tpm(entry: Entry, problems: Problems) -> None:
    _inner(entry, "the TPM", TPM, problems)


def _inner(entry: Entry, what: str, known: Keys, problems: Problems) -> None:
    if not isinstance(entry.value.content, Table):
        raise fail(entry, f"Expected a map to define {what}, got {entry.value.kind}")
    read_block(entry.value.content, known, problems)


BATCH: Final[Keys] = {
    **keys("max_inflight_per_stream", read=integer, default="50", doc="Batches of one stream at a time."),
    **keys("max_inflight_total", read=integer, default="1000", doc="Batches at a time."),
    **keys("max_msgs", read=integer, default="1000", doc="Messages of one batch."),
    **keys("timeout", read=duration_text, kind="duration in quotes", default="10 s", doc="How long a batch may take."),
}
LIMITS: Final[Keys] = {
    **keys("max_ack_pending", read=integer, default="unlimited", doc="Unacknowledged messages of a consumer."),
    **keys("max_ha_assets", read=integer, default="unlimited", doc="Replicated streams and consumers."),
    **keys("max_request_batch", read=integer, default="unlimited", doc="Messages that one pull may ask for."),
    **keys(
        "duplicate_window",
        read=duration_text,
        kind="duration in quotes",
        default="unlimited",
        doc="Longest window for finding duplicates.",
    ),
    **keys("batch", read=_batch, kind="map", doc="Ceilings of batches."),
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
    **keys("strict", read=_strict, kind="boolean", default="`true`", doc="Refuse unknown fields in requests."),
    **keys("store_dir", "store", "storedir", read=string, kind="path", doc="Where data is kept."),
    **keys(
        *("sync_interval", "sync"),
        read=_sync_interval,
        kind="duration, or `always`",
        default="2 min",
        doc="When to fsync.",
    ),
    **keys(
        *("max_memory_store", "max_mem_store", "max_mem"),
        read=_max_memory,
        kind="size",
        default="75 % of the memory",
        doc="Memory for streams.",
    ),
    **keys(
        "max_file_store", "max_file", read=_max_file, kind="size", default="what is free", doc="Disk for streams."
    ),
    **keys("domain", read=_domain, kind="string", doc="JetStream domain."),
    **keys("key", "ek", "encryption_key", read=string, doc="Key that data is encrypted with."),
    **keys("prev_key", "prev_ek", "prev_encryption_key", read=string, doc="The key before it."),
    **keys("cipher", read=_cipher, kind="`chacha` or `aes`", default="`chacha`", doc="Cipher."),
    **keys(
        "extension_hint",
        read=_extension_hint,
        kind="`will_extend` or `no_extend`",
        doc="Whether a leafnode's JetStream joins that of its hub.",
    ),
    **keys("limits", read=_limits, kind="map", doc="Ceilings of streams and consumers."),
    **keys("tpm", read=_tpm, kind="map", doc="Keeps the key in a TPM."),
    **keys("unique_tag", read=string, doc="Tag that no two replicas may share."),
    **keys("max_outstanding_catchup", read=_size, kind="size", default="64 MB", doc="Data under way to a replica."),
    **keys("max_buffered_size", read=_size, kind="size", default="128 MB", doc="Data that waits for a stream."),
    **keys("max_buffered_msgs", read=_number, kind="number", default="10000", doc="Messages that wait for a stream."),
    **keys("request_queue_limit", read=_number, kind="number", default="10000", doc="Requests that may wait."),
    **keys(
        "info_queue_limit",
        read=_number,
        kind="number",
        default="that of requests",
        doc="Requests for information that may wait.",
    ),
    **keys("meta_compact", read=_count, kind="number", default="0", doc="Entries after which meta data is compacted."),
    **keys("meta_compact_size", read=_size, kind="size", default="0", doc="Size after which it is."),
    **keys("meta_compact_sync", read=boolean, default="`false`", doc="Do so at once."),
    **keys("max_concurrent_io", read=_concurrency, kind="4 to 8192", default="4096", doc="Disk operations at a time."),
}
