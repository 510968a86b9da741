"""A plain systolic array: R × C PEs, each one multiplier, one adder and the registers between neighbours.

`SystolicArray` says what the hardware is: its formats and every register of it (`inventory`). Which element stands
where is `systolic_schedule`; `folds` has the dataflows and the time; `accel_sim.arrays` clocks it.

One PE, whatever the dataflow. `x` comes from the left and goes on to the right, `y` comes from the top and goes on
down, `s` stays:

```text
        y in ▼                     fire  = x valid and y valid
           ┌───────┐               sum   = what stays or comes down, whichever is the sum
    x in ─▶│ s     ├─▶ x           sum'  = sum + a · b if it fires, product and sum each rounded once; else as it is
           └───┬───┘
             y ▼
```

A PE works on what stands at its inputs, the registers of its neighbours, and there are none at the far edges: x is
R × (C − 1), y is (R − 1) × C. Data registers move in every cycle; an idle port delivers zeros that are not valid.

* **Skew**: the element for row r passes r more registers at the left edge, that for column c passes c more at the top.
* **The sum stays** (`os`): `first` and `last` travel with x. Where a PE fires with `first`, the sum starts from zero;
  with `last`, it leaves on the column's bus in that cycle, with the number of its row (of two rows in the same cycle
  the upper one has the bus). It is written if it belongs to the fold.
* **The sum moves** (`ws`, `is`): it comes in at the top, zero or what earlier folds left in the output memory, and
  passes PEs that do not fire unchanged. Where it is valid below the last row, it is written to the output memory.
  So the order of additions is that of k, in every dataflow, and all three give the same bits.
* **The operand that stays** shifts down from the top, one row a cycle for R cycles, the last row first; `load` of a
  row says that its registers take what stands above them. Rows and columns that a ragged fold does not have hold
  zeros.
* **Outputs** are zero in the output memory until they are written.

Outside the array, and outside its inventory: the sequencer that counts cycles and folds, the memories and their
addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from accel_sim.config.errors import ConfigError, any_of, shown
from accel_sim.machines.folds import Dataflow, Folding, check_size, dataflow
from accel_sim.machines.integers import INTEGERS
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.numerics.formats import FORMATS, Format, Subnormals, uint_format

_ABOUT = {"a": "element of A", "b": "element of B", "sum": "running sum"}


@dataclass(frozen=True)
class SystolicArray:
    """An R × C array. `operand` and `sum` name formats of `numerics.FORMATS`, or are int8 and int32.

    Products are rounded into the format of the sum, like the sums; int32 wraps around. ConfigError for sizes below 1
    and for what is not a dataflow, a format, or a pair of formats that one rounding can serve (an fp64 operand needs
    fp64 sums; int8 and int32 come together, and have no subnormals to flush).
    """

    rows: int
    cols: int
    flow: str = "os"
    operand: str = "bf16"
    sum: str = "fp32"
    subnormals: Subnormals = "keep"

    def __post_init__(self) -> None:
        dataflow(self.flow)
        check_size("rows", self.rows)
        check_size("cols", self.cols)
        operands, sums = [*FORMATS, "int8"], [*FORMATS, "int32"]
        for name, value, allowed in (("operand", self.operand, operands), ("sum", self.sum, sums),
                                     ("subnormals", self.subnormals, ["keep", "flush"])):
            if value not in allowed:
                raise ConfigError(f"{name} must be {any_of(allowed)}, not {shown(value)}")
        if (self.operand == "int8") != (self.sum == "int32"):
            raise ConfigError(f"int8 operands go with int32 sums, not {self.operand} with {self.sum}")
        if self.operand == "fp64" and self.sum != "fp64":
            raise ConfigError(f"fp64 operands need fp64 sums, not {self.sum}: their products do not fit binary64")
        if self.operand == "int8" and self.subnormals == "flush":
            raise ConfigError("subnormals: integers have none to flush; leave it at keep")

    @property
    def dataflow(self) -> Dataflow:
        """Who runs along what."""
        return dataflow(self.flow)

    @property
    def operand_format(self) -> Format:
        """Format of the elements of A and B."""
        return INTEGERS.get(self.operand) or FORMATS[self.operand]

    @property
    def sum_format(self) -> Format:
        """Format of products, sums and outputs."""
        return INTEGERS.get(self.sum) or FORMATS[self.sum]

    def folding(self, m: int, n: int, k: int) -> Folding:
        """The folds of an M × K by K × N product on this array."""
        return Folding(m, n, k, self.rows, self.cols, self.flow)

    @cached_property
    def inventory(self) -> Inventory:
        """Every register of the array; arrays that a row or column of PEs does not have are left out.

        Skew registers are flattened row by row: `x_skew` has r for row r = 1 … R − 1, `y_skew` c for column
        c = 1 … C − 1, the one behind the port first.
        """
        flow, bit = self.dataflow, uint_format(1)
        of = {"a": self.operand_format, "b": self.operand_format, "sum": self.sum_format}
        right, down, stays = flow.right, flow.down, flow.stays
        moves_right, moves_down = (self.rows, self.cols - 1), (self.rows - 1, self.cols)
        left, top = (self.rows * (self.rows - 1) // 2,), (self.cols * (self.cols - 1) // 2,)

        def role(what: str) -> str:
            return "output" if what == "sum" else "operand"

        found = [
            Register("x", moves_right, of[right], role(right), role(right), f"{_ABOUT[right]}, moving right"),
            Register("y", moves_down, of[down], role(down), role(down), f"{_ABOUT[down]}, moving down"),
            Register("s", (self.rows, self.cols), of[stays], role(stays), role(stays), f"{_ABOUT[stays]}, staying"),
            Register("x_skew", left, of[right], "pipeline", "skew", f"delay of row r by r cycles: {_ABOUT[right]}"),
            Register("y_skew", top, of[down], "pipeline", "skew", f"delay of column c by c cycles: {_ABOUT[down]}"),
            Register("x_valid", moves_right, bit, "control", "control", "x beside it is an element"),
            Register("y_valid", moves_down, bit, "control", "control", "y beside it is an element"),
            Register("x_skew_valid", left, bit, "control", "control", "x_skew beside it is an element"),
            Register("y_skew_valid", top, bit, "control", "control", "y_skew beside it is an element"),
        ]
        if flow.loads:
            found.append(Register("load", (self.rows,), bit, "control", "control",
                                  "the row takes the stationary operands of the row above"))
        else:
            for name, about in (("first", "starts the sum"), ("last", "completes the sum")):
                found.append(Register(f"x_{name}", moves_right, bit, "control", "control", f"x beside it {about}"))
                found.append(Register(f"x_skew_{name}", left, bit, "control", "control", f"x_skew beside it {about}"))
        return Inventory(tuple(register for register in found if register.size))
