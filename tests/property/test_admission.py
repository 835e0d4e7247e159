"""Who has to go and who is turned away: the bounds of guests against their plain twins, step by step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.config.options import AdmissionOptions
from broker.net.admission import Admission, Guest
from broker.net.backoff import BURST, Backoff, Handshakes, Remembered
from broker.net.crowd import Crowd
from tests.oracle.admission import PlainAdmission, PlainBackoff, PlainCrowd

ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"])
MEMBERS = st.integers(0, 9)


@given(st.lists(st.tuples(st.booleans(), MEMBERS, ADDRESSES), max_size=60))
def test_the_first_to_go(steps: list[tuple[bool, int, str]]) -> None:
    crowd, plain = Crowd(), PlainCrowd()
    for is_new, member, address in steps:
        if is_new and member not in crowd:
            crowd.add(member, address)
            plain.add(member, address)
        elif not is_new:
            crowd.remove(member)
            plain.remove(member)
        assert len(crowd) == len(plain.members)
        assert crowd.first() == plain.first()
        assert crowd.count(address) == plain.count(address)
        assert crowd.first_of(address) == plain.first_of(address)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), ADDRESSES, st.just(0)),
        st.tuples(st.just("hold"), MEMBERS, st.integers(0, 60)),
        st.tuples(st.just("leave"), MEMBERS, st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 6), st.integers(0, 3), st.sampled_from([(), ("10.0.0.1/32",), ("::/0",)]))
def test_guests_stay_within_their_bounds(
    steps: list[tuple[str, str | int, int]], most: int, per_address: int, exempt: tuple[str, ...]
) -> None:
    memory = 100
    options = AdmissionOptions(
        max_unauthenticated=most, max_unauthenticated_per_address=per_address, max_unauthenticated_memory=memory,
        exempt=exempt,
    )  # fmt: skip
    admission = Admission(options, 1000)
    plain = PlainAdmission(most, per_address, memory, exempt)
    guests: dict[int, Guest] = {}
    cid = 0
    for what, whom, size in steps:
        expected: list[int] = []
        newcomer: Guest | None = None
        if what == "enter":
            cid += 1
            newcomer = guests[cid] = admission.enter(cid, str(whom))
            expected = plain.enter(cid, str(whom))
            assert cid not in expected
        else:
            living = sorted(guests)
            if not living:
                continue
            chosen = guests[living[int(whom) % len(living)]]
            if what == "hold":
                newcomer = chosen
                admission.hold(chosen, size)
                expected = plain.hold(chosen.cid, size)
            else:
                admission.leave(guests.pop(chosen.cid))
                plain.leave(chosen.cid)
        gone = []
        while newcomer is not None and (found := admission.surplus(newcomer)) is not None:
            gone.append(found[0])
            admission.leave(guests.pop(found[0]))
        assert gone == expected
        assert admission.guests == len(guests) == len(plain.guests) <= most
        assert admission.held == sum(plain.holding.values()) <= memory


@given(
    st.lists(st.tuples(ADDRESSES, st.floats(0, 30)), max_size=80),
    st.integers(1, 5),
    st.floats(1, 40),
    st.integers(1, 3),
)
def test_addresses_back_off(steps: list[tuple[str, float]], allowance: int, longest: float, maximum: int) -> None:
    backoff, plain = Backoff(Remembered(maximum)), PlainBackoff(maximum=maximum)
    now = 1000.0
    for address, passed in steps:
        now += passed
        assert backoff.turns_away(address, now) == plain.turns_away(address, now)
        seconds = backoff.failed(address, now, allowance=allowance, longest=longest)
        assert seconds == plain.failed(address, now, allowance, longest)
        assert seconds <= longest
        assert backoff.count(now) == sum(plain.turns_away(each, now) for each in plain.known) <= maximum


@given(st.lists(st.floats(0, 3), max_size=100), st.integers(1, 4))
def test_handshakes_never_exceed_their_rate(pauses: list[float], limit: int) -> None:
    """In no stretch of time do more begin than those of a few seconds and those of that time."""
    handshakes = Handshakes()
    now, begun = 0.0, []
    for pause in pauses:
        now += pause
        if handshakes.admits("a", limit, now):
            begun.append(now)
    for first, start in enumerate(begun):
        for last in range(first, len(begun)):
            assert last - first + 1 <= limit * BURST + (begun[last] - start) * limit + 1e-6
    assert len(begun) >= min(len(pauses), limit * BURST)
