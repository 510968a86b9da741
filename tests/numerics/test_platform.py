"""The same bits on any CPU: no fused or reordered operations, no library exponential; and no stale compiled kernels."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from accel_sim.numerics import (
    FORMATS,
    add,
    dot_fused,
    dot_serial,
    exp_exact,
    exp_pwl,
    exp_pwl_table,
    fused_digits,
    reciprocal_pwl,
    reciprocal_table,
    scale_add,
)

R = FORMATS["bf16"].rounding()
VECTOR = np.ones(8)
CALLS = [
    (add, (1.0, 2.0, R)),
    (scale_add, (VECTOR, 1.0, VECTOR.copy(), R, 0.0, 0.0)),
    (dot_serial, (VECTOR, VECTOR, R, 0.0)),
    (dot_fused, (VECTOR, VECTOR, np.zeros(fused_digits(), dtype=np.int64), R, 0.0)),
    (exp_exact, (0.5, R)),
    (exp_pwl, (0.5, exp_pwl_table(8), R)),
    (reciprocal_pwl, (3.0, reciprocal_table(8), R)),
]


@pytest.mark.parametrize(("kernel", "arguments"), CALLS, ids=lambda value: getattr(value, "__name__", ""))
def test_compiled_code_has_only_the_operations_written(kernel, arguments) -> None:
    fresh = njit(error_model="numpy", nogil=True)(kernel.py_func)  # a cached kernel cannot be inspected
    fresh(*arguments)
    (ir,) = fresh.inspect_llvm().values()
    (assembly,) = fresh.inspect_asm().values()
    assert "fadd double" in ir or "fmul double" in ir  # the code is there, callees inlined
    assert not re.search(r"\bf(add|sub|mul|div) (fast|contract|reassoc|nnan|ninf|nsz|arcp)", ir)
    assert not re.search(r"llvm\.(fma|fmuladd|exp|log|pow)|@(exp|exp2|ldexp|pow|log)\b", ir)
    assert not re.search(r"\bv?fn?m(add|sub)\d*[ps]d|\bfn?m(add|sub)\b|\bfml[as]\b", assembly)


def test_compiled_kernels_are_the_python_they_come_from() -> None:
    """Run as plain Python, an operation at a time, the exponential gives the same bits."""
    python = exp_exact.py_func
    for name in ("fp64", "fp32", "bf16"):
        r = FORMATS[name].rounding()
        for x in np.random.default_rng(127).uniform(-20, 20, 200):
            assert python(np.float64(x), r) == exp_exact(float(x), r)


def test_an_edited_callee_is_compiled_into_its_callers_again(tmp_path: Path) -> None:
    """Numba's own cache looks at the caller's file only, and would go on running the old callee inside it."""

    def run(version: int) -> str:
        head = "from accel_sim.numerics.jit import kernel\n"
        (tmp_path / "callee.py").write_text(f"{head}@kernel\ndef f(x):\n    return x + {version}.0\n")
        if not (tmp_path / "caller.py").exists():
            body = "@kernel\ndef g(x):\n    return f(x) * 10.0\nprint(g(0.0))\n"
            (tmp_path / "caller.py").write_text(f"{head}from callee import f\n{body}")
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-B", "caller.py"]
        environment = {"PYTHONPATH": str(root), "PATH": "", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert [run(1), run(1), run(2)] == ["10.0", "10.0", "20.0"]
    assert list((tmp_path / "cache").rglob("*.nbi"))  # it was a cache that had to notice


def test_constants_are_the_decimal_ones() -> None:
    assert math.isclose(193635251 / 2**27, math.log2(math.e), rel_tol=2**-28)
    assert exp_pwl_table(4)[0].tolist() == [round(2 ** (24 + i / 4)) for i in range(4)]
    assert reciprocal_table(4)[0].tolist() == [round(2**24 / (1 + i / 4)) for i in range(4)]
