"""An inventory lays every register out once, and finds it again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from engines.draw import SHARES, machine_with, random_machine

from accel_sim.engines.lanes_build import slots
from accel_sim.machines.inventory import ROLES, Inventory, Register
from accel_sim.machines.lanes import bits_for, tree_sizes
from accel_sim.numerics.formats import FORMATS, uint_format


def test_every_slot_belongs_to_one_register_and_back():
    rng = np.random.default_rng(0)
    for _ in range(10):
        inventory = random_machine(rng).inventory
        at = 0
        for register in inventory:
            for index in np.ndindex(register.shape):
                assert inventory.slot(register.name, index) == at
                assert inventory.locate(at) == (register, index)
                at += 1
        assert at == inventory.slots
        with pytest.raises(IndexError):
            inventory.locate(at)


def test_bits_add_up_by_component_and_by_role():
    inventory = machine_with(granularity="key_tile", divide="reciprocal_pwl", shares=SHARES[-1]).inventory
    total = sum(math.prod(r.shape) * r.stored.width_bits for r in inventory)
    assert inventory.bits == total
    assert sum(inventory.bits_by("component").values()) == sum(inventory.bits_by("role").values()) == total
    assert set(inventory.bits_by("role")) <= set(ROLES)


def test_a_name_stands_for_one_array_and_a_role_is_a_known_word():
    register = Register("x", (2,), FORMATS["fp32"], "score", "c", "")
    with pytest.raises(ValueError, match="named twice: x"):
        Inventory((register, register))
    with pytest.raises(ValueError, match="'scores' is not one of operand, score"):
        Register("x", (2,), FORMATS["fp32"], "scores", "c", "")


def test_an_index_must_fit():
    inventory = Inventory((Register("x", (2, 3), uint_format(4), "control", "c", ""),))
    assert inventory.slot("x", (1, 2)) == 5
    for index in ((2, 0), (0, 3), (-1, 0), (0,), (), (0, 0, 0)):
        with pytest.raises(IndexError, match=r"x has shape \(2, 3\)"):
            inventory.slot("x", index)
    with pytest.raises(KeyError):
        inventory["y"]
    assert "x" in inventory and "y" not in inventory


def test_every_register_is_clocked_whatever_the_options():
    """`slots` refuses a register that no kernel knows."""
    for dot in ("tree", "serial", "fused"):
        for divide in ("exact", "reciprocal_pwl"):
            for granularity in ("head", "key_tile"):
                for shares in SHARES:
                    machine = machine_with(dot=dot, divide=divide, granularity=granularity, shares=shares)
                    assert slots(machine).alarm == machine.inventory.offsets["alarm"]
    assert slots(machine_with(check=False)).alarm == 0


def test_an_unprotected_machine_has_none_of_the_checkers_registers():
    inventory = machine_with(check=False).inventory
    assert "checker" not in inventory.bits_by("role")
    assert {r.name for r in inventory} < {r.name for r in machine_with().inventory}


def test_what_is_not_shared_costs_registers_of_its_own():
    sizes = [machine_with(shares=shares).inventory.bits_by("role")["checker"] for shares in SHARES]
    assert sizes[0] == min(sizes) and sizes[-1] == max(sizes) and len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("n", range(1, 40))
def test_an_adder_tree_halves_rounding_up_until_one_is_left(n):
    sizes = tree_sizes(n)
    assert sizes[-1] == 1 and len(sizes) == max(1, math.ceil(math.log2(n)))
    assert all(size == (above + 1) // 2 for above, size in zip((n, *sizes), sizes, strict=False))


def test_counters_are_as_wide_as_they_must_be():
    assert [bits_for(n) for n in (1, 2, 3, 4, 5, 256, 257, 2**20)] == [1, 1, 2, 2, 3, 8, 9, 20]
