"""Each target on its seeds, and on what is made of them: cut, doubled, joined, with pieces put in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS, seeds

ALL = [pytest.param(name, text, id=f"{name}-{file}") for name in TARGETS for file, text in seeds(name).items()]


@pytest.mark.parametrize(("name", "text"), ALL)
def test_seed(name: str, text: bytes) -> None:
    TARGETS[name].fuzz(text)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    TARGETS[name].fuzz(data.draw(inputs(list(seeds(name).values()), target.pieces)))


@st.composite
def inputs(draw: st.DrawFn, known: list[bytes], pieces: tuple[bytes, ...]) -> bytes:
    piece = st.sampled_from(pieces) | st.binary(max_size=4)
    if draw(st.booleans()):
        return b"".join(draw(st.lists(piece, max_size=12)))
    text = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        until = min(len(text), at + draw(st.integers(0, 8)))
        text = draw(st.sampled_from([
            text[:at] + draw(piece) + text[until:], text[:at] + text[until:], text[:until] + text[at:],
            text[:at] + draw(st.sampled_from(known)),
        ]))
    return text


def test_seeds_belong_to_targets() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)
