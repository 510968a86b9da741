"""Area and energy of whole machines: sums, what makes them grow, overheads and their intervals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accel_sim.api import simulate
from accel_sim.config import ConfigError, load_config
from accel_sim.cost import CATEGORIES, SCOPES, Technology, area, energy, load_technology
from accel_sim.cost.document import updated
from accel_sim.machines.lanes import LanesMachine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cost.md"
ROLES = ("operand", "score", "exp", "state", "output", "checker")


@pytest.fixture(scope="module")
def table() -> Technology:
    return load_technology("28nm")


def reports(machine: LanesMachine, table: Technology, n_queries: int = 9, n_keys: int = 40) -> tuple[Any, Any]:
    return area(machine, table), energy(machine, table, machine.timing(n_queries, n_keys))


def core(report: Any) -> float:
    return report.estimate(i for i in report.items if i.component not in ("sram", "off_chip")).value


# -- sums -----------------------------------------------------------------------------------------------------


def test_totals_are_the_sums_of_their_parts(machine: Any, table: Technology) -> None:
    for report in reports(machine({"granularity": "key_tile"}), table):
        for end in ("value", "low", "high"):
            total = getattr(report.total, end)
            for parts in (report.by_component, report.by_category):
                assert sum(getattr(e, end) for e in parts.values()) == pytest.approx(total, rel=1e-12)
        assert set(report.by_category) <= set(CATEGORIES)
        for component, row in report.table.items():
            assert sum(e.value for e in row.values()) == pytest.approx(report.by_component[component].value)
        assert report.total.low < report.total.value < report.total.high


def test_registers_are_those_of_the_inventory(machine: Any, table: Technology) -> None:
    design = machine()
    report = area(design, table)
    bits = sum(i.count for i in report.items if i.category == "registers")
    assert bits == design.inventory.bits
    assert report.by_category["registers"].value == pytest.approx(bits * table.number("flip_flop.area_um2"))


def test_energy_of_a_longer_head(machine: Any, table: Technology) -> None:
    design = machine()
    short, long = (energy(design, table, design.timing(8, n)) for n in (64, 128))
    for component in ("score", "softmax", "output"):
        ratio = long.table[component]["operators"].value / short.table[component]["operators"].value
        assert ratio == pytest.approx(2.0)
    assert long.by_component["normalise"].value < 1.2 * short.by_component["normalise"].value


def test_stalls_cost_leakage_and_nothing_else(machine: Any, table: Technology) -> None:
    design = machine()
    timing = design.timing(9, 40)
    busy = energy(design, table, timing)
    held = energy(design, table, timing, cycles=3 * timing.head_cycles)
    for category in CATEGORIES:
        factor = 3 if category == "leakage" else 1
        assert held.by_category[category].value == pytest.approx(factor * busy.by_category[category].value)
    assert held.seconds == pytest.approx(3 * timing.head_cycles / 500e6)
    assert held.power_mw.value == pytest.approx(held.total.value * 1e-9 / held.seconds)


def test_off_chip_bytes_also_cross_the_sram(machine: Any, table: Technology) -> None:
    design = machine()
    timing = design.timing(9, 40)
    once = design.streamed_bytes(timing)
    assert once == {"q": 9 * 16, "k": 3 * 40 * 16, "v": 3 * 40 * 16, "o": 9 * 32}
    default = energy(design, table, timing)
    same = energy(design, table, timing, bytes_moved=once)
    twice = energy(design, table, timing, bytes_moved={tensor: 2 * n for tensor, n in once.items()})
    assert same.as_dict() == default.as_dict()
    assert twice.by_component["off_chip"].value == pytest.approx(2 * default.by_component["off_chip"].value)
    counts = {item.name: item.count for item in twice.items if item.category == "sram"}
    assert counts == {"q read": 144, "q write": 288, "k read": 1920, "k write": 3840, "v read": 1920,
                      "v write": 3840, "o read": 576, "o write": 288}


def test_a_bill_beside_that_of_the_unprotected_design_is_the_overhead(machine: Any, table: Technology) -> None:
    """On a lanes machine, whose check unit is a component of its own and changes nothing else but the time."""
    checked, plain = machine(), machine(unit=None)
    found, own = area(checked, table).beside(area(plain, table)), area(checked, table).overhead("core")
    assert (found.value, found.low, found.high) == pytest.approx((own.value, own.low, own.high))
    assert area(plain, table).beside(area(plain, table)).value == 0.0


def test_memory_options(machine: Any, table: Technology) -> None:
    plain = machine()
    resident = machine(memory={"kv_resident": True})
    secded = machine(memory={"ecc": "secded"})
    sram = {m: area(m, table).by_component["sram"].value for m in (plain, resident, secded)}
    assert sram[resident] > 10 * sram[plain]
    assert sram[secded] == pytest.approx(72 / 64 * sram[plain])
    assert resident.streamed_bytes(resident.timing(9, 40))["k"] == 40 * 16


# -- what makes it grow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "sizes"), [("lanes", (2, 4, 8)), ("head_dim", (4, 8, 16))])
def test_more_hardware_is_more_area(machine: Any, table: Technology, key: str, sizes: tuple[int, ...]) -> None:
    areas = [area(machine(**{key: size}), table).by_component for size in sizes]
    for component in areas[0]:
        values = [a[component].value for a in areas]
        assert values == sorted(values), component
        if component not in ("control", "softmax", "operand"):
            assert values[0] < values[-1], component


def test_an_unprotected_design_has_no_overhead(machine: Any, table: Technology) -> None:
    for with_check, without in zip(reports(machine(), table), reports(machine(None), table), strict=True):
        for scope in SCOPES:
            over = without.overhead(scope)
            assert (over.value, over.median, over.low, over.high) == (0, 0, 0, 0)
        check = with_check.by_component["checker.fused_output"].value
        # Its longer tail adds a few cycles of control and leakage to the rest.
        assert core(with_check) - check == pytest.approx(core(without), rel=2e-3)


def test_each_unshared_signal_costs(machine: Any, table: Technology) -> None:
    own: dict[str, bool] = {}
    before = reports(machine({"shares": {}}), table)
    for signal in ("sum", "exp", "max", "score"):
        own[signal] = False
        now = reports(machine({"shares": dict(own)}), table)
        for old, new in zip(before, now, strict=True):
            old_check, new_check = (r.by_component["checker.fused_output"].value for r in (old, new))
            assert new_check > old_check, signal
            rest = old.total.value - old_check
            assert new.total.value - new_check == pytest.approx(rest, rel=1e-9)
        before = now


def test_nothing_shared_duplicates_the_score_path(machine: Any, table: Technology) -> None:
    shares = dict.fromkeys(("score", "max", "exp", "sum"), False)
    report = area(machine({"shares": shares}), table)
    cost = {item.name: report.estimate([item]).value for item in report.items if item.category == "operators"}
    for name in ("product", "dot", "scale", "mask", "maximum", "exp", "l_rescale", "l_add"):
        assert cost[f"chk_{name}"] == cost[name]


def test_scopes_take_in_more_and_more(machine: Any, table: Technology) -> None:
    spent = energy(machine(), table, machine().timing(9, 40))
    core_over, sram_over, system_over = (spent.overhead(scope).value for scope in SCOPES)
    assert core_over > sram_over > system_over > 0
    with pytest.raises(ValueError, match="scope 'chip' is not one of core, with_sram, system"):
        spent.overhead("chip")


# -- formats --------------------------------------------------------------------------------------------------


def test_a_campaign_with_narrow_registers_is_priced_as_the_narrow_machine(machine: Any, table: Technology) -> None:
    narrow = dict.fromkeys(ROLES, "bf16")
    wide = {**dict.fromkeys(ROLES, "fp64"), "operand": "bf16"}
    imitation = machine(faults={"register_format": narrow}, formats=wide)
    real = machine(formats=narrow)
    for a, b in zip(reports(imitation, table), reports(real, table), strict=True):
        assert a.as_dict() == b.as_dict()
    timing = imitation.timing(9, 40)
    moved = {"q": 144, "k": 1920, "v": 1920, "o": 9 * 8 * 8}  # the system model counts fp64 outputs
    spent = energy(imitation, table, timing, bytes_moved=moved)
    assert {i.name: i.count for i in spent.items if i.category == "off_chip"} == {
        "q": 144, "k": 1920, "v": 1920, "o": 9 * 8 * 2,
    }


@pytest.mark.parametrize("fmt", ["fp64", "fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("dot", ["tree", "serial", "fused"])
def test_every_format_has_a_price(machine: Any, table: Technology, fmt: str, dot: str) -> None:
    approximate = fmt != "fp64"
    if fmt == "fp64" and dot == "fused":
        pytest.skip("no such machine")
    for pwl in {False, approximate}:
        design = machine(
            dot=dot, formats=dict.fromkeys(ROLES, fmt), exp={"kind": "pwl" if pwl else "exact"},
            divide={"kind": "reciprocal_pwl" if pwl else "exact"},
        )
        for report in reports(design, table):
            assert all(report.estimate([item]).value > 0 for item in report.items if item.count)


def test_a_machine_that_the_table_cannot_price(machine: Any, table: Technology) -> None:
    entries = {key: entry for key, entry in table.entries.items() if not key.startswith("div.")}
    poor = replace(table, name="poor", entries=entries)
    with pytest.raises(ConfigError, match=r'technology table poor has no price for div of format "fp32"'):
        area(machine(), poor)


# -- intervals ------------------------------------------------------------------------------------------------


def test_an_interval_holds_the_value_and_is_always_the_same(machine: Any, table: Technology) -> None:
    first, again = (area(machine(), load_technology("28nm")).overhead() for _ in range(2))
    assert first == again
    assert first.low < first.median < first.high
    assert first.low < first.value < first.high


def test_an_interval_does_not_see_what_is_not_used(machine: Any, table: Technology) -> None:
    more = {f"other_{key}": entry for key, entry in table.entries.items() if entry.of is None}
    longer = replace(table, entries={**more, **table.entries})
    assert area(machine(), longer).overhead() == area(machine(), table).overhead()


def test_what_both_sides_share_cancels(machine: Any, table: Technology) -> None:
    """The yardstick's own uncertainty, a factor of 3, does not show in the overhead of the core."""
    key = "fp_add.fp32.area_um2"
    entry = table.entries[key]
    sure = replace(table, entries={**table.entries, key: replace(entry, low=entry.value, high=entry.value)})
    large = replace(table, entries={**table.entries, key: replace(entry, value=2 * entry.value, high=1e6)})
    base = area(machine(), table).overhead()
    for other in (sure, large):
        over = area(machine(), other).overhead()
        assert (over.value, over.low, over.high) == pytest.approx((base.value, base.low, base.high), rel=1e-9)
    assert area(machine(), large).total.value > 1.9 * area(machine(), table).total.value


def test_a_table_without_doubt_gives_no_interval(machine: Any, table: Technology) -> None:
    exact = {k: replace(e, low=e.value, high=e.value) for k, e in table.entries.items()}
    over = area(machine(), replace(table, entries=exact)).overhead()
    assert (over.low, over.median, over.high) == pytest.approx((over.value,) * 3)


def test_a_report_is_plain_data(machine: Any, table: Technology) -> None:
    for report in reports(machine(), table):
        data = json.loads(json.dumps(report.as_dict()))
        assert data["unit"] == report.unit
        assert set(data["overhead"]) == set(SCOPES)
        assert data["total"]["value"] == report.total.value


# -- against the world ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_the_published_area_lies_between_a_bf16_and_an_fp32_checker(table: Technology, head_dim: int) -> None:
    """arXiv 2507.16676, abstract: 5.3 % area, below 1.9 % energy."""
    found = {}
    for fmt in ("bf16", "fp32"):
        design = LanesMachine(load_config(
            "bf16-d64", {"architecture.head_dim": head_dim, "architecture.formats.checker": fmt}))
        found[fmt] = [report.overhead().value for report in reports(design, table, 256, 256)]
    assert found["bf16"][0] < 0.053 < found["fp32"][0]
    assert 0.01 < found["bf16"][1] < found["fp32"][1] < 0.05


def test_the_page_has_todays_numbers(table: Technology) -> None:
    """If not: python -m accel_sim.cost.document docs/cost.md"""
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page, table) == page


def test_heads_that_share_keys_and_values_load_them_once() -> None:
    shape = {"kind": "gaussian", "heads": 4, "queries": 5, "keys": 6}
    alone = simulate(load_config("tiny", {"workload": shape}), measure=False)
    shared = simulate(load_config("tiny", {"workload": {**shape, "kv_heads": 2}, "memory.kv_resident": True}), measure=False)
    assert alone.next_energy is None and alone.all_heads_pj == 4 * alone.energy.total.value
    first, found = shared.energy.by_component["off_chip"].value, shared.next_energy.by_component["off_chip"].value
    moved = shared.system.bytes_moved
    assert found / first == pytest.approx((moved["q"] + moved["o"]) / sum(moved.values()))
    assert shared.all_heads_pj == pytest.approx(2 * shared.energy.total.value + 2 * shared.next_energy.total.value)
