"""netcode's replay window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygase_gevent.protocol.netcode.replay import ReplayWindow

SIZE = 256
TOP = 2**64 - 1


def test_a_rising_sequence_passes_once() -> None:
    window = ReplayWindow(SIZE)
    for sequence in range(4 * SIZE):
        assert not window.is_received(sequence)
        window.advance(sequence)
        assert window.is_received(sequence)
    assert all(window.is_received(sequence) for sequence in range(4 * SIZE))
    assert not window.is_received(4 * SIZE)
    assert not window.is_received(10**9)


def test_the_window_is_as_wide_as_its_size() -> None:
    window = ReplayWindow(SIZE)
    window.advance(1000)
    assert not window.is_received(1000 - SIZE + 1)
    assert window.is_received(1000 - SIZE)
    window.advance(1000 - SIZE + 1)
    assert window.is_received(1000 - SIZE + 1)
    assert not window.is_received(1001)


@pytest.mark.parametrize("first", [TOP - SIZE, TOP - 10, TOP - 1, 2**63])
def test_the_top_of_the_sequence_space_is_no_replay(first: int) -> None:
    window = ReplayWindow(SIZE)
    assert not window.is_received(first)
    window.advance(first)
    assert not window.is_received(TOP)
    window.advance(TOP)
    assert window.is_received(TOP)
    assert window.is_received(first)
    assert window.is_received(TOP - SIZE)


@given(st.lists(st.integers(0, 100), max_size=200), st.sampled_from([1, 2, 7, 32]))
def test_it_agrees_with_a_set_and_a_maximum(sequences: list[int], size: int) -> None:
    window = ReplayWindow(size)
    accepted: set[int] = set()
    for sequence in sequences:
        too_old = bool(accepted) and sequence <= max(accepted) - size
        assert window.is_received(sequence) == (too_old or sequence in accepted)
        if not window.is_received(sequence):
            window.advance(sequence)
            accepted.add(sequence)
