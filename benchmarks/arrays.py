"""How fast systolic arrays are: stepped engine, fault-free values, cycles and replay, beside NumPy's product.

    python benchmarks/arrays.py [--repeat 3] [--faults 100000]

bf16 operands and fp32 sums unless a row says otherwise; CPU seconds of one core (NumPy may use more: wall-clock
seconds there), the best of a few runs after a warm-up. A PE-cycle is one PE in one cycle, busy or not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from accel_sim.arrays.golden import golden
from accel_sim.arrays.replay import ArrayReplay
from accel_sim.arrays.stepped import SteppedArray
from accel_sim.faults.fault import Fault
from accel_sim.faults.universe import Universe
from accel_sim.machines.folds import DATAFLOWS, Folding
from accel_sim.machines.systolic import SystolicArray

ARRAYS = (16, 32, 64, 128)
PAIRS = (("bf16", "fp32"), ("fp8_e4m3", "fp32"), ("fp32", "fp32"), ("int8", "int32"), ("bf16", "bf16"))
LONG = 512
"""Elements streamed in a fold; the other two sizes are those of the array, twice."""


def best(call: Callable[[], object], repeat: int, clock: Callable[[], float] = time.process_time) -> float:
    """Least seconds of a call, after a warm-up."""
    call()
    seconds = []
    for _ in range(repeat):
        start = clock()
        call()
        seconds.append(clock() - start)
    return min(seconds)


def product(size: int, flow: str) -> tuple[int, int, int]:
    """(m, n, k) of a product of four folds on a size × size array."""
    sizes = dict.fromkeys("mnk", 2 * size) | {DATAFLOWS[flow].stream: LONG}
    return sizes["m"], sizes["n"], sizes["k"]


def matrices(m: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers from −8 to 8: values of every format."""
    rng = np.random.default_rng(1)
    return rng.integers(-8, 9, (m, k)).astype(float), rng.integers(-8, 9, (k, n)).astype(float)


def stepped_row(size: int, flow: str, operand: str, total: str, repeat: int) -> str:
    machine = SystolicArray(size, size, flow, operand, total)
    a, b = matrices(*product(size, flow))
    engine = SteppedArray(machine, a, b)
    cycles = engine.folding.cycles
    # A bit of a register that stays, and one of the control: neither changes how much work there is.
    faults = [Fault(cycles // 2, "s", (0, 0), 1), Fault(cycles // 3, "x_valid", (1, 1))]
    clean = best(engine.run, repeat)
    faulty = best(lambda: engine.run(faults), repeat)
    numpy_seconds = best(lambda: engine.a @ engine.b, repeat, time.perf_counter)
    rates = [cycles * size * size / seconds for seconds in (clean, faulty)]
    return (f"{flow:4} {size:4} {operand:>9}/{total:5} {cycles:8} {clean * 1e3:10.2f} {cycles / clean:12.3g} "
            f"{rates[0]:14.3g} {rates[1]:14.3g} {numpy_seconds * 1e3:10.3f}")


def replay_row(flow: str, operand: str, total: str, sizes: tuple[int, int, int], faults: int, repeat: int) -> str:
    machine = SystolicArray(32, 32, flow, operand, total)
    replay = ArrayReplay(machine, *matrices(*sizes))
    universe = Universe.of(machine.inventory, replay.folding.cycles)
    points = universe.points(universe.draw(1, 0, faults))
    seconds = best(lambda: replay.points(points), repeat)
    changes = replay.points(points)
    live = np.count_nonzero(changes.counts) / faults
    stepped = best(replay.stepped.run, repeat)
    shape = " × ".join(str(size) for size in sizes)
    return (f"{flow:4} {operand:>9}/{total:5} {shape:>16} {faults / seconds:14.3g} {1 / stepped:14.3g} "
            f"{100 * live:9.1f} % {changes.place.size / max(1, np.count_nonzero(changes.counts)):10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--faults", type=int, default=100_000)
    options = parser.parse_args()
    repeat = options.repeat

    print("stepped engine, values and rounding, four folds of 512 streamed elements")
    print(f"{'':4} {'R=C':>4} {'formats':>15} {'cycles':>8} {'ms':>10} {'cycles/s':>12} {'PE-cycles/s':>14} "
          f"{'with 2 faults':>14} {'NumPy ms':>10}")
    for size in ARRAYS:
        for flow in DATAFLOWS:
            print(stepped_row(size, flow, "bf16", "fp32", repeat), flush=True)
    for operand, total in PAIRS[1:]:
        for flow in ("os", "ws"):
            print(stepped_row(32, flow, operand, total, repeat), flush=True)

    print("\n1024 × 1024 × 64: cycles, and fault-free values")
    a, b = matrices(1024, 1024, 64)
    counted = best(lambda: [Folding(1024, 1024, 64, size, size, flow).cycles for size in ARRAYS for flow in DATAFLOWS],
                   repeat)
    print(f"cycles of {len(ARRAYS) * len(DATAFLOWS)} arrays and dataflows: {counted * 1e6:.0f} µs")
    for operand, total in PAIRS:
        machine = SystolicArray(32, 32, "ws", operand, total)
        seconds = best(lambda machine=machine: golden(machine, a, b), repeat)  # type: ignore[misc]
        print(f"values {operand:>9}/{total:5}: {seconds * 1e3:8.1f} ms, {a.shape[0] * b.size / seconds:.3g} MACs/s")
    single = np.float32(a), np.float32(b)
    numpy_seconds = best(lambda: single[0] @ single[1], repeat, time.perf_counter)
    print(f"NumPy's float32 product (in another order): {numpy_seconds * 1e3:.1f} ms")

    print("\nreplay: injections/s of single flips, uniform over the universe, on a 32 × 32 array (m × n × k)")
    print(f"{'':4} {'formats':>15} {'':>16} {'replayed/s':>14} {'stepped/s':>14} {'change it':>11} {'outputs':>10}")
    for sizes in ((256, 256, 32), (256, 32, 256)):
        for flow in DATAFLOWS:
            print(replay_row(flow, "bf16", "fp32", sizes, options.faults, repeat), flush=True)
    for operand, total in (("int8", "int32"), ("bf16", "bf16")):
        print(replay_row("ws", operand, total, (256, 256, 32), options.faults, repeat), flush=True)


if __name__ == "__main__":
    main()
