"""Where the registers of the inventory stand in the RTL: module, instance and name of each.

`HOMES` says which module declares a register; `placements` gives, for one machine, every place where elements of a
register stand, in the order of the inventory. A register of a lane stands in each lane; its elements are consecutive.
"""

from __future__ import annotations

from dataclasses import dataclass

from accel_sim.machines.lanes import LanesMachine


@dataclass(frozen=True)
class Home:
    """A module that declares registers. `path`: its instance below the top, `{lane}` where there is one for each
    lane."""

    module: str
    path: str
    registers: tuple[str, ...]


def _home(module: str, path: str, registers: str) -> Home:
    return Home(module, path, tuple(registers.split()))


_LANE = "g_lane[{lane}].lane"
_CHECK_LANE = f"{_LANE}.g_check.check"

HOMES = (
    _home("lanes_controller", "controller",
          "phase row query key last_query last_key kv_bank valid key_tag"),
    _home("lanes_broadcast", "broadcast", "scale k v v_delay"),
    _home("lanes_broadcast", "broadcast.g_serial", "k_skew"),
    _home("lanes_row_sum", "g_row_sum.row_sum", "r_tree r_delay"),
    _home("lanes_lane", _LANE, "q bound active"),
    _home("lanes_score", f"{_LANE}.scores", "prod score"),
    _home("lanes_score", f"{_LANE}.scores.g_tree", "tree"),
    _home("lanes_score", f"{_LANE}.scores.g_serial", "chain"),
    _home("lanes_score", f"{_LANE}.scores.g_fused", "dot"),
    _home("lanes_softmax", f"{_LANE}.softmax", "seen m allow ds da p a p_acc a_acc l"),
    _home("lanes_output", f"{_LANE}.outputs", "pv o"),
    _home("lanes_check_score", f"{_CHECK_LANE}.g_own_score.scores", "chk_prod chk_score"),
    _home("lanes_check_score", f"{_CHECK_LANE}.g_own_score.scores.g_tree", "chk_tree"),
    _home("lanes_check_score", f"{_CHECK_LANE}.g_own_score.scores.g_serial", "chk_chain"),
    _home("lanes_check_score", f"{_CHECK_LANE}.g_own_score.scores.g_fused", "chk_dot"),
    _home("lanes_check_max", f"{_CHECK_LANE}.g_own_max.maximum", "chk_seen chk_m chk_allow chk_ds chk_da"),
    _home("lanes_check_exp", f"{_CHECK_LANE}.g_own_exp.exponentials", "chk_p chk_a chk_p_acc chk_a_acc"),
    _home("lanes_check_sum", f"{_CHECK_LANE}.g_own_sum.sum", "chk_l"),
    _home("lanes_check_lane", _CHECK_LANE, "chk_pr c"),
    _home("lanes_normaliser", "normaliser",
          "norm_valid norm_addr norm_last norm_o norm_l out_valid out_addr out_last out recip recip_valid"),
    _home("lanes_normaliser", "normaliser.g_reciprocal", "recip_last recip_addr recip_o"),
    _home("lanes_check_normaliser", "g_check.normaliser", "norm_c pred_term"),
    _home("lanes_check_normaliser", "g_check.normaliser.g_own_sum", "norm_chk_l"),
    _home("lanes_check_normaliser", "g_check.normaliser.g_reciprocal", "recip_c"),
    _home("lanes_check_normaliser", "g_check.normaliser.g_reciprocal.g_own_sum", "chk_recip"),
    _home("lanes_check", "g_check.check",
          "out_tree pred_delay sum_valid sum_last pred act compare residual limit judge threshold enable alarm"),
    _home("lanes_check", "g_check.check.g_scans", "sum_scan compare_scan scan_threshold"),
    _home("lanes_scan", "g_scan.scan", "tile_last scanning scan_row norm_scan"),
)
"""Every register of the table in docs/machines/lanes.md that a machine in RTL has (see `rtl.limits`), once."""

_HOME_OF = {name: home for home in HOMES for name in home.registers}


@dataclass(frozen=True)
class Placement:
    """Some elements of a register array in the RTL: `count` elements of `width` bits, packed, element 0 lowest.

    slot: of the first one in the machine's flat state. module, path: what declares them, `path` ending in the name.
    """

    register: str
    module: str
    path: str
    slot: int
    count: int
    width: int


def placements(machine: LanesMachine) -> tuple[Placement, ...]:
    """Every place of every register, in the order of the inventory's slots."""
    found: list[Placement] = []
    for register in machine.inventory:
        home = _HOME_OF[register.name]
        copies = machine.lanes if "{lane}" in home.path else 1
        count = register.size // copies
        for lane in range(copies):
            slot = machine.inventory.offsets[register.name] + lane * count
            path = f"{home.path.format(lane=lane)}.{register.name}"
            found.append(Placement(register.name, home.module, path, slot, count, register.width_bits))
    return tuple(found)
