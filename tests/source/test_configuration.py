"""docs/configuration.md says what the schema reads."""

from __future__ import annotations

import pytest

from broker.config.reference import Section, absent_sections, document, grouped, kind, reload, sections
from tests.source.sources import ROOT

SECTIONS = [*sections(), *absent_sections()]


def test_the_document_is_that_of_the_schema() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert text == document(), "python -m broker.config.reference > docs/configuration.md"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_every_key_says_what_it_is(section: Section) -> None:
    for names, key in grouped(section.keys):
        assert key.doc.endswith("."), names
        assert kind(key), names
        assert reload(section, key), names
        assert names == [name.lower() for name in names]
