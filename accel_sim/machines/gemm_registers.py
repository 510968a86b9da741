"""The registers of the `gemm` machine: sequencer, array, vector unit, and those of its check units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from accel_sim.machines.counting import counting_registers
from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes import bits_for
from accel_sim.numerics.formats import uint_format

if TYPE_CHECKING:
    from accel_sim.machines.gemm import GemmCheck, GemmMachine, SoftmaxCheck

SEQUENCER = ("phase", "part", "step")
"""What drives every unit: no other unit has a counter of its own."""


def gemm_registers(machine: GemmMachine) -> tuple[Register, ...]:
    """Every register array, in the order of the inventory."""
    found = [*_sequencer(machine), *machine.array.inventory]
    if not machine.plain:
        found += _vector(machine)
    if machine.fused is not None:
        found += _fused(machine)
    for check in machine.array_checks:
        found += _checksums(machine, check)
    if machine.softmax is not None:
        found += _invariants(machine, machine.softmax)
    return tuple(found)


def _sequencer(machine: GemmMachine) -> Iterator[Register]:
    about = ("number of the phase that runs; past the last: done", "fold, block or unit of work of the phase",
             "cycle of that part")
    for name, width, what in zip(SEQUENCER, machine.counter_bits, about, strict=True):
        yield Register(name, (), uint_format(width), "control", "control", what)


def _vector(machine: GemmMachine) -> Iterator[Register]:
    formats, lanes = machine.formats, (machine.lanes,)
    yield Register("scale", (), formats["score"], "control", "vector", "configuration: 1/√d, rounded once")
    rows: list[tuple[str, str | int, str, str]] = [
        ("bound", machine.key_bits, "control", "how many keys the lane's query may attend to"),
        *([("first", machine.key_bits, "control", "first key that the lane's query may attend to")]
          if machine.window else []),
        ("seen", 1, "control", "the lane has met an allowed key: m is valid"),
        ("allow", 1, "control", "the key in ds is not masked"),
        ("x_in", "score", "score", "score, or undivided output, read from SRAM"),
        ("scaled", "score", "score", "scaled score"),
        ("m", "state", "state", "largest scaled score so far"),
        ("ds", "score", "score", "scaled score minus maximum"),
        ("p", "exp", "score", "weight e^ds"),
        ("l", "state", "state", "sum of the weights so far; the divisor in the divide pass"),
        ("p_out", "operand", "operand", "weight on its way to SRAM"),
    ]
    if machine.reciprocal:
        rows.append(("recip", "state", "state", "1/l"))
    rows.append(("out", "output", "output", "finished output on its way to SRAM"))
    for name, kind, role, about in rows:
        fmt = uint_format(kind) if isinstance(kind, int) else formats[kind]
        yield Register(name, lanes, fmt, role, "vector", about)


def _check(machine: GemmMachine, unit: str, name: str, shape: tuple[int, ...], kind: str | int,
           about: str) -> Register:
    fmt = uint_format(kind) if isinstance(kind, int) else machine.formats[kind]
    return Register(name, shape, fmt, "checker", f"checker.{unit}", about)


def _encoder(machine: GemmMachine, unit: str, prefix: str) -> Iterator[Register]:
    lanes = (machine.lanes,)
    yield _check(machine, unit, f"{prefix}_in", lanes, "operand", "encoder: operand that is to be summed")
    yield _check(machine, unit, f"{prefix}_acc", lanes, "checker", "encoder: sum, then what its words leave of it")
    yield _check(machine, unit, f"{prefix}_word", lanes, "operand", "encoder: word of a checksum on its way to SRAM")


def _judge(machine: GemmMachine, unit: str, prefix: str) -> Iterator[Register]:
    yield _check(machine, unit, f"{prefix}_threshold", (), "checker", "configuration: the threshold")
    yield _check(machine, unit, f"{prefix}_enable", (), 1, "configuration: the unit is on")
    yield _check(machine, unit, f"{prefix}_alarm", (), 1, "sticky alarm")
    for name, kind, about in counting_registers(machine.frequent(unit)):
        yield _check(machine, unit, f"{prefix}_{name}", (), kind, about)


def _fused(machine: GemmMachine) -> Iterator[Register]:
    unit, lanes = "fused_output", (machine.lanes,)
    yield from _encoder(machine, unit, "fused")
    for name, shape, about in (
        ("fused_c", lanes, "checksum of the lane's undivided row"),
        ("fused_sum", lanes, "sum of the lane's finished row so far"),
        ("fused_term", lanes, "predicted sum of the lane's row: its checksum over l"),
        ("fused_pred", (), "sum of the predicted row sums"),
        ("fused_act", (), "sum of the finished rows"),
        ("fused_residual", (), "pred − act"),
        ("fused_limit", (), "what the residual's magnitude may not exceed"),
    ):
        yield _check(machine, unit, name, shape, "checker", about)
    yield from _judge(machine, unit, "fused")


def _invariants(machine: GemmMachine, softmax: SoftmaxCheck) -> Iterator[Register]:
    unit, lanes = "softmax_invariants", (machine.lanes,)
    yield _check(machine, unit, "softmax_excess", lanes, "checker", "largest violation of the lane's query so far")
    if "max" in softmax.which:
        yield _check(machine, unit, "softmax_m", lanes, "state", "what m was last written with")
    if "score" in softmax.which:
        yield _check(machine, unit, "softmax_bound", (), "checker", "configuration: the largest score that can be")
    yield _check(machine, unit, "softmax_residual", (), "checker", "the excess of one lane")
    yield _check(machine, unit, "softmax_limit", (), "checker", "what it may not exceed")
    yield from _judge(machine, unit, "softmax")


def _checksums(machine: GemmMachine, gemm: GemmCheck) -> Iterator[Register]:
    unit, cols, words = gemm.unit, machine.cols, gemm.words
    yield from _encoder(machine, unit, gemm.prefix)
    if gemm.rows:
        for name, shape, kind, about in (
            ("act", (cols,), "checker", "sum of a row's outputs up to this column, moving right"),
            ("pred", (words,), "checker", "sum of the words of the row's checksum so far, moving right"),
            ("hold", (words,), "checker", f"sum of the row's outputs, in step with {gemm.edge_name('row', 'pred')}"),
            ("residual", (), "checker", "predicted minus actual sum of a row"),
            ("limit", (), "checker", "what its magnitude may not exceed"),
            ("valid", (cols + words + 1,), 1, "stage i of this pipeline holds a row that is checked"),
        ):
            yield _check(machine, unit, gemm.edge_name("row", name), shape, kind, about)
    if gemm.columns:
        for name, shape, kind, about in (
            ("act", (cols,), "checker", "sum of the column's outputs so far"),
            ("pred", (cols,), "checker", "sum of the words of the column's checksum so far"),
            ("residual", (), "checker", "predicted minus actual sum of a column"),
            ("limit", (), "checker", "what its magnitude may not exceed"),
            ("valid", (), 1, "the residual is that of a column that is checked"),
        ):
            yield _check(machine, unit, gemm.edge_name("col", name), shape, kind, about)
    if gemm.correct:
        row_bits, col_bits = _place_bits(machine)
        for name, kind, about in (
            ("fix_rows", 2, "rows of the fold that have raised an alarm: none, one, two or more"),
            ("fix_row", row_bits, "the last of them: its line on the array"),
            ("fix_value", "checker", "its residual"),
            ("fix_cols", 2, "columns of the fold that have raised an alarm: none, one, two or more"),
            ("fix_col", col_bits, "the last of them: its place on the array"),
        ):
            yield _check(machine, unit, name, (), kind, about)
    yield from _judge(machine, unit, gemm.prefix)


def _place_bits(machine: GemmMachine) -> tuple[int, int]:
    """Bits of a line and of a column number on the array, over both products of the largest head."""
    products = [machine.product(name, machine.max_queries, machine.max_keys) for name in machine.product_names]
    return (bits_for(max(product.p_total for product in products)),
            bits_for(max(product.q_total for product in products)))
