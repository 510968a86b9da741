"""What the compiler made of the kernels: the operations that are written, four or more at a time, and no others."""

from __future__ import annotations

import re

import numpy as np
from numba import njit

from accel_sim.arrays.golden import chains


def test_float32_sums_are_neither_contracted_nor_reordered() -> None:
    fresh = njit(error_model="numpy", nogil=True, _nrt=False)(chains.py_func)  # type: ignore[attr-defined]
    single = np.ones((2, 2), np.float32)
    fresh(single.copy(), single, single, np.array([0, np.nan], np.float32), None)
    (ir,) = fresh.inspect_llvm().values()
    (assembly,) = fresh.inspect_asm().values()
    assert re.search(r"fadd <\d+ x float>", ir) and re.search(r"fmul <\d+ x float>", ir)  # vectors, callees inlined
    assert not re.search(r"\bf(add|sub|mul|div) (fast|contract|reassoc|nnan|ninf|nsz|arcp)", ir)
    assert not re.search(r"llvm\.(fma|fmuladd)", ir)
    assert not re.search(r"\bv?fn?m(add|sub)\d*[ps][sd]|\bfn?m(add|sub)\b|\bfml[as]\b", assembly)
    assert "double" not in re.sub(r"declare.*|!.*", "", ir)  # nothing goes through binary64
