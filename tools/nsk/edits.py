"""What the edit commands have in common: times, tags, keys, and the check of what is about to be signed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from auth.claims import Claims, add_tags, blocking
from auth.claims.base import Issue
from auth.gojson import quote
from auth.nkey import KeyKind, KeyPair, is_public_key
from tools.nsk.errors import NskError
from tools.nsk.flags import Flags, strings, text
from tools.nsk.report import Report
from tools.nsk.session import Session
from tools.nsk.values import format_date, format_distance, parse_when

_WHEN = "yyyy-mm-dd, #m(inutes), #h(ours), #d(ays), #w(eeks), #M(onths), #y(ears)"
TIME_FLAGS = (
    text("start", "", f"valid from ('0' is always, '3d' is three days) - {_WHEN}"),
    text("expiry", "", f"valid until ('0' is always, '2M' is two months) - {_WHEN}"),
)
TAG_FLAGS = (strings("tag", "", "add tags for user"), strings("rm-tag", "", "remove tag"))
GENERATE = "generate"


def times(flags: Flags) -> tuple[int, int]:
    """Start and expiry as unix seconds, 0 where there is none. Raises NskError."""
    now = datetime.now(UTC)
    moments = []
    for name in ("start", "expiry"):
        try:
            moments.append(parse_when(flags.text(name), now))
        except ValueError as error:
            raise NskError(f'{name} "{flags.text(name)}" is invalid: {error}') from None
    return moments[0], moments[1]


def edit_times(flags: Flags, claims: Claims, report: Report) -> None:
    """Apply ``--start`` and ``--expiry``. An empty value changes nothing, and what is so already is not reported."""
    start, expiry = times(flags)
    now = datetime.now(UTC).timestamp()
    if flags.text("start") and claims.not_before != start:
        claims.not_before = start
        moment = f"valid start to {format_date(start)} - {format_distance(start, now)}"
        report.ok(f"changed jwt {moment if start else 'start to not have a start date'}")
    if flags.text("expiry") and claims.expires_at != expiry:
        claims.expires_at = expiry
        moment = f"to {format_date(expiry)} - {format_distance(expiry, now)}"
        report.ok(f"changed jwt expiry {moment if expiry else 'to never expire'}")


def edit_tags(flags: Flags, tags: list[str], report: Report) -> None:
    """Apply ``--tag`` and ``--rm-tag``. Tags are lower case and sorted."""
    for tag in flags.strings("tag"):
        add_tags(tags, [tag])
        report.ok(f"added tag {quote(tag.lower())}")
    for tag in flags.strings("rm-tag"):
        tags[:] = [other for other in tags if other.lower() != tag.lower()]
        report.ok(f"removed tag {quote(tag.lower())}")
    tags.sort()


class SigningKeys:
    """The keys of ``--sk``, read before anything is changed; generated ones are stored when the edit succeeds."""

    def __init__(self, session: Session, given: Iterable[str], kind: KeyKind) -> None:
        """Raises NskError for a text that stands for no key of the kind."""
        self._session = session
        self._generated: list[KeyPair] = []
        self.public: list[str] = [self._resolve(text_, kind) for text_ in given]

    def _resolve(self, given: str, kind: KeyKind) -> str:
        if given.lower() == GENERATE:
            pair = KeyPair.generate(kind)
            self._generated.append(pair)
            return pair.public
        public = given if is_public_key(given, kind) else self._session.public_key(given)
        if public is None:
            raise NskError("a signing key is required")
        if not is_public_key(public, kind):
            shown = given if public == given else public
            raise NskError(f"invalid {kind.label} signing key {quote(shown)}")
        return public

    def store(self) -> None:
        """Put the generated keys into the keystore."""
        for pair in self._generated:
            self._session.keystore.store_key(pair)


def refuse_new_issues(claims: Claims, before: list[Issue]) -> None:
    """Refuse an edit that would make servers reject the claims. Raises NskError.

    Findings that were there before do not stop an edit of something else.
    """
    known = {issue.description for issue in before}
    for issue in blocking(claims.validate()):
        if issue.description not in known:
            raise NskError(f"{issue.description}: servers would refuse the JWT, so it was not changed")
