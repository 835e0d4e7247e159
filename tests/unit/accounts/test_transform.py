"""Subject transforms: every function, every mistake, and what becomes of subjects."""

from __future__ import annotations

import pytest

from accounts.transform import InvalidTransformError, SubjectTransform


def highest(count: int) -> int:
    return count - 1


def applied(source: str, destination: str, subject: str) -> str | None:
    return SubjectTransform.parse(source, destination).apply(subject, highest)


@pytest.mark.parametrize(
    ("source", "destination", "subject", "expected"),
    [
        # Text and wildcards.
        ("a", "b", "a", "b"),
        ("a", "b", "c", None),
        ("a", "b", "a.b", None),
        ("z.*.*", "zz.$0.{{wildcard(2)}}", "z.a.b", "zz.z.b"),
        ("w.*.*", "r.$2.{{wildcard(1)}}", "w.a.b", "r.b.a"),
        ("w.*", "r.$01", "w.a", "r.a"),
        ("w.*", "r.$+1", "w.a", "r.a"),
        ("w.*", "r.$1x", "w.a", "r.$1x"),
        ("w.*", "r.$", "w.a", "r.$"),
        ("w.*", "r.$-1", "w.a", "r.$-1"),
        ("w.*", "r.$99999999999999999999", "w.a", "r.$99999999999999999999"),
        ("w.*", "r", "w.a", "r"),
        ("fan.>", "nf.>", "fan.a.b", "nf.a.b"),
        ("fan.>", "nf.>", "fan", None),
        (">", "x.>", "a.b", "x.a.b"),
        ("m.*.*.>", "mm.$2.$1.>", "m.a.b.c.d", "mm.b.a.c.d"),
        # Wildcards that were published are tokens; only > matches >.
        ("first.*", "A.$1", "first.*", "A.*"),
        ("first.*", "A.$1", "first.>", None),
        ("fan.>", "nf.>", "fan.>", "nf.>"),
        ("fan.>", "nf.>", "fan..a", None),
        # Partitions.
        ("part.*", "part.$1.{{partition(10,1)}}", "part.foo", "part.foo.3"),
        ("part.*.*", "pt.{{Partition(5,1,2)}}.$1.$2", "part.foo.bar", "pt.0.foo.bar"),
        ("part.*.*", "pt.{{Partition(5,1,2)}}.$1.$2", "part.a.b", "pt.1.a.b"),
        ("partall.*.*", "pa.{{partition(5)}}", "partall.a.b", "pa.3"),
        ("p0.*", "pp.{{partition(0,1)}}", "p0.q", "pp.0"),
        ("a8.*.*", "b8.{{partition(5,0,2)}}", "a8.x.y", "b8.0"),
        ("a9", "b9.{{partition(5)}}", "a9", "b9.3"),
        ("a11.*", "b11.{{partition(7)}}.{{partition(7,1,1)}}", "a11.x", "b11.5.2"),
        ("a19.*.>", "b19.{{partition(3)}}.>", "a19.x.y.z", "b19.0.y.z"),
        ("a21.*", "b21.{{Split(1,-)}}.{{ partition ( 3 , 1 ) }}", "a21.x-y", "b21.x.y.1"),
        # Chance.
        ("r0", "rr.{{random(1)}}", "r0", "rr.0"),
        ("r0", "rr.{{Random(7)}}", "r0", "rr.6"),
        ("r0", "rr.{{random(0)}}", "r0", "rr.0"),
        # Split and slice.
        ("s.*", "t.{{SplitFromLeft(1,2)}}", "s.abcd", "t.ab.cd"),
        ("s.*", "t.{{splitFromleft(1,2)}}", "s.ab", "t.ab"),
        ("s.*", "t.{{SplitFromLeft(1,9)}}", "s.abc", "t.abc"),
        ("s.*", "t.{{splitfromright(1,1)}}", "s.abc", "t.ab.c"),
        ("s.*", "t.{{splitfromleft(0,1)}}", "st.abc", None),
        ("st.*", "t.{{splitfromleft(0,1)}}", "st.abc", "t.s.t"),
        ("s.*", "t.{{splitfromleft(1,-1)}}", "s.abc", "t.abc"),
        ("s.*", "t.{{splitfromleft(1,0)}}", "s.abc", "t.abc"),
        ("s.*", "t.{{SliceFromLeft(1,2)}}", "s.abcde", "t.ab.cd.e"),
        ("s.*", "t.{{SliceFromRight(1,2)}}", "s.abcde", "t.a.bc.de"),
        ("s.*", "t.{{SliceFromRight(1,2)}}", "s.abcd", "t.ab.cd"),
        ("s.*", "t.{{SliceFromLeft(1,-2)}}", "s.abc", "t.abc"),
        ("s.*", "t.{{slicefromleft(1,3)}}", "s.abc", "t.abc"),
        ("s.*", "t.{{splitfromleft(1,1)}}", "s.\u00e9", "t.\udcc3.\udca9"),
        ("d.*", "d.{{split(1,-)}}", "d.-a--b-", "d.a.b"),
        ("d.*", "d.{{split(1,-)}}", "d.a", "d.a"),
        ("d.*", "d.{{split(1,-)}}", "d.--", "d."),
        ("d.*", "d.{{split(1,ab)}}", "d.xabyabz", "d.x.y.z"),
        ("d.*", "d.{{split(1,)}}", "d.xyz", "d.x.y.z"),
        # What only looks like a function is text.
        ("d.*", "d.{{split(1,.)}}", "d.a", "d.{{split(1,.)}}"),
        ("d.*", "d.{{wildcard(1)}}x", "d.a", "d.{{wildcard(1)}}x"),
        ("d.*", "d.{{partition(3,1", "d.a", "d.{{partition(3,1"),
        ("d.*", "d.{{}}", "d.a", "d.{{}}"),
        ("a.$.*", "b.$1", "a.$.x", "b.x"),
    ],
)
def test_a_subject_becomes(source: str, destination: str, subject: str, expected: str | None) -> None:
    assert applied(source, destination, subject) == expected


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("a..b", "c", "invalid subject"),
        ("a b", "c", "invalid subject"),
        ("a.*", "b.*", "invalid subject"),
        ("a.>", "b", "invalid subject"),
        ("a", "b.>", "invalid subject"),
        ("a.b>", "x.>", "invalid subject"),
        ("a", "", "invalid mapping destination: invalid transform"),
        ("a", "b..c", "invalid mapping destination: invalid transform"),
        ("a", "b c", "invalid mapping destination: invalid transform"),
        ("a", "b\tc", "invalid mapping destination: invalid transform"),
        ("a.>", "x.>.y", "invalid mapping destination: invalid transform in y"),
        ("a.*", "b.$2", "invalid mapping destination: wildcard index out of range in $2: [2]"),
        ("a", "b.$1", "invalid mapping destination: wildcard index out of range in $1"),
        ("a", "b.$0", "invalid mapping destination: wildcard index out of range in $0"),
        ("a", "b.{{split(1,-)}}", "invalid mapping destination: wildcard index out of range in {{split(1,-)}}"),
        ("a", "b.{{partition(3,1)}}", "invalid mapping destination: wildcard index out of range in {{partition(3,1)}}"),
        (
            "a.*",
            "b.{{partition(3,2)}}",
            "invalid mapping destination: wildcard index out of range in {{partition(3,2)}}: [2]",
        ),
        ("a.*", "b.{{foo(1)}}", "invalid mapping destination: unknown function in {{foo(1)}}"),
        ("a.*", "b.{{left(1,2)}}", "invalid mapping destination: unknown function in {{left(1,2)}}"),
        ("a.*", "b.{{wildcard}}", "invalid mapping destination: unknown function in {{wildcard}}"),
        ("a.*", "b.{{SPLIT(1,-)}}", "invalid mapping destination: unknown function in {{SPLIT(1,-)}}"),
        *(
            ("a.*", f"b.{call}", f"invalid mapping destination: not enough arguments passed to the function in {call}")
            for call in ("{{wildcard()}}", "{{split(1)}}", "{{splitfromleft(1)}}", "{{slicefromright()}}")
        ),
        *(
            ("a.*", f"b.{call}", f"invalid mapping destination: too many arguments passed to the function in {call}")
            for call in ("{{wildcard(1,2)}}", "{{split(1,a,b)}}", "{{splitfromleft(1,2,3)}}", "{{random(1,2)}}")
        ),
        *(
            (
                "a.*",
                f"b.{call}",
                "invalid mapping destination: function argument is invalid or in the wrong format in " + call,
            )
            for call in (
                "{{wildcard(x)}}",
                "{{wildcard(-1)}}",
                "{{wildcard(99999999999999999999)}}",
                "{{partition()}}",
                "{{partition(x)}}",
                "{{partition(-3,1)}}",
                "{{partition(3,-1)}}",
                "{{partition(3,1,x)}}",
                "{{partition(2147483648,1)}}",
                "{{random()}}",
                "{{random(-2)}}",
                "{{split(x,a)}}",
                "{{slicefromleft(1,x)}}",
            )
        ),
    ],
)
def test_a_mistake_is_named(source: str, destination: str, message: str) -> None:
    with pytest.raises(InvalidTransformError) as caught:
        SubjectTransform.parse(source, destination)
    assert str(caught.value) == message


class TestOfImports:
    @pytest.mark.parametrize(
        ("source", "destination", "pattern", "back"),
        [
            ("a", "b", "b", "a"),
            ("w.*.*", "p.$2.$1", "p.*.*", "w.$2.$1"),
            ("w.*.*.*", "$3.p.{{wildcard(1)}}.$2", "*.p.*.*", "w.$2.$3.$1"),
            ("w.*.*", "p.*.*", "p.*.*", "w.$1.$2"),
            ("e.*.>", "x.y.*.>", "x.y.*.>", "e.$1.>"),
        ],
    )
    def test_it_can_be_turned_round(self, source: str, destination: str, pattern: str, back: str) -> None:
        transform = SubjectTransform.for_import(source, destination)
        inverse = transform.inverse()
        assert (transform.pattern, inverse.source, inverse.destination) == (pattern, pattern, back)
        subject = source.replace(">", "s.t").replace("*", "1", 1).replace("*", "2", 1).replace("*", "3", 1)
        there = transform.apply(subject, highest)
        assert there is not None
        assert inverse.apply(there, highest) == subject

    def test_text_that_looks_like_a_function_stays_text(self) -> None:
        inverse = SubjectTransform.for_import("a.$1.*", "b.*").inverse()
        assert inverse.apply("b.x", highest) == "a.$1.x"

    @pytest.mark.parametrize(
        ("source", "destination", "message"),
        [
            ("w.*.*", "p.$1", "invalid mapping destination: not using all of the token wildcard(s) in p.$1"),
            ("w.*.*", "p.*", "invalid mapping destination: not using all of the token wildcard(s) in p.$1"),
            ("w.*", "p.$1.$2", "invalid mapping destination: wildcard index out of range in $2: [2]"),
            (
                "w.*",
                "p.{{partition(3,1)}}.$1",
                "invalid mapping destination: the only mapping function allowed for import transforms is "
                "{{Wildcard()}} in {{partition(3,1)}}",
            ),
            ("e.>", "x", "invalid subject"),
            ("e", "x.>", "invalid subject"),
        ],
    )
    def test_a_mistake_is_named(self, source: str, destination: str, message: str) -> None:
        with pytest.raises(InvalidTransformError) as caught:
            SubjectTransform.for_import(source, destination)
        assert str(caught.value) == message

    def test_a_wildcard_that_stands_twice_has_no_way_back(self) -> None:
        with pytest.raises(InvalidTransformError, match="a wildcard stands twice in"):
            SubjectTransform.for_import("w.*", "$1.$1").inverse()


def test_transforms_of_the_same_texts_are_equal() -> None:
    assert SubjectTransform.parse("a.*", "b.$1") == SubjectTransform.parse("a.*", "b.$1")
    assert "render" not in repr(SubjectTransform.parse("a.*", "b.$1"))
