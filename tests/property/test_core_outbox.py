"""The compiled outbox against its twin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.core.outbox import Hub, Outbox
from tests.oracle import outbox as twin

appends = st.tuples(st.just("append"), st.integers(0, 1500))
consumes = st.tuples(st.just("consume"), st.integers(0, 2000))
others = st.tuples(st.sampled_from(["take", "settle", "view"]), st.just(0))
ends = st.tuples(st.sampled_from(["close", "discard"]), st.just(0))


@given(
    st.lists(st.tuples(st.integers(0, 1), appends | consumes | others | appends | consumes | ends)),
    st.sampled_from([10, 1024, 5000, 1 << 20]),
)
def test_any_sequence_of_calls(steps: list[tuple[int, tuple[str, int]]], ceiling: int) -> None:
    hub, model_hub = Hub(), twin.Hub()
    cores = [Outbox(hub), Outbox(hub)]
    models = [twin.Outbox(model_hub, ceiling), twin.Outbox(model_hub, ceiling)]
    for core in cores:
        core.ceiling = ceiling
    letter = 0
    for which, (name, number) in steps:
        core, model = cores[which], models[which]
        if name == "append":
            letter += 1
            data = bytes([65 + letter % 26]) * number
            assert core.append(data) == model.append(data)
        elif name == "consume":
            count = min(number, model.pending)
            assert core.consume(count) == model.consume(count)
        elif name == "take":
            taken = [cores.index(item) for item in hub.take_dirty()]
            assert taken == [models.index(item) for item in model_hub.take_dirty()]
        elif name == "view":
            assert bytes(core.view()) == model.view()
        else:
            getattr(core, name)()
            getattr(model, name)()
        assert (core.pending, core.closed, core.overflowed) == (model.pending, model.closed, model.overflowed)
    for core, model in zip(cores, models, strict=True):
        assert bytes(core.view()) == model.view()
