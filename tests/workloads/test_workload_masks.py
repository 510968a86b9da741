"""Masks say which keys a query may see."""

from __future__ import annotations

from accel_sim.workloads.workload import Mask


def test_without_a_mask_every_query_sees_every_key() -> None:
    assert Mask().bounds(3, 5).tolist() == [4, 4, 4]


def test_padding_ends_the_keys_early() -> None:
    assert Mask(valid_keys=2).bounds(3, 5).tolist() == [1, 1, 1]
    assert Mask(valid_keys=9).bounds(2, 5).tolist() == [4, 4]


def test_causal_queries_are_the_last_of_the_sequence() -> None:
    assert Mask(causal=True).bounds(4, 4).tolist() == [0, 1, 2, 3]
    assert Mask(causal=True).bounds(2, 5).tolist() == [3, 4]
    assert Mask(causal=True).bounds(1, 5).tolist() == [4]


def test_causal_and_padding_bind_together() -> None:
    assert Mask(causal=True, valid_keys=3).bounds(5, 5).tolist() == [0, 1, 2, 2, 2]


def test_a_mask_names_itself() -> None:
    assert str(Mask()) == "none"
    assert str(Mask(causal=True, valid_keys=3)) == "causal, 3 valid keys"
