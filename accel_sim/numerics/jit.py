"""The one way this package compiles a kernel: `kernel`, Numba's `njit` with the options that the numbers need.

* no fast-math and no contraction: every operation is the IEEE one that is written;
* ``error_model="numpy"``: a division by zero is an infinity, not an exception;
* ``nogil``: kernels run in threads;
* no reference counts: a kernel allocates nothing, it works on arrays that its caller owns. (Numba otherwise counts,
  with an atomic operation each time, every array that is taken out of a tuple and every view; that was half the time
  of the replay engine);
* cached on disk, where that can be written; the cache is stale as soon as *any* file that the kernel may have inlined
  changes.

Numba alone compares only the file of the kernel itself, so after an edit of a callee in another file it would keep
running the old arithmetic. Here the stamp covers every file that has kernels, or constants that they compile in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

Word: TypeAlias = int | np.integer[Any]
"""An integer in a kernel: Python's or NumPy's. Kernels never mix signed and unsigned (Numba makes that a float)."""

_PACKAGE = Path(__file__).resolve().parents[1]
_WHOLE = ("numerics", "machines", "engines")  # folders of which kernels compile in constants and tuples, too


@cache
def _source_stamp(folder: Path) -> str:
    """Digest of the Python sources that a kernel in `folder` can have inlined anything of."""
    digest = hashlib.sha256()
    for source in sorted({*_PACKAGE.rglob("*.py"), *folder.glob("*.py")}):
        text = source.read_bytes()
        inside = source.parent != folder and source.is_relative_to(_PACKAGE)
        if inside and source.relative_to(_PACKAGE).parts[0] not in _WHOLE and b"numerics.jit import" not in text:
            continue
        digest.update(f"{source.parent.name}/{source.name}".encode())
        digest.update(text)
    return digest.hexdigest()


_OPTIONS: Any = {"error_model": "numpy", "nogil": True, "_nrt": False}


def kernel(function: F) -> F:
    """Compile `function` for the numeric kernels; use as a decorator.

    The compiled function has the signature of the Python one and runs the same IEEE operations on every CPU.
    """
    compiled: Any
    try:
        compiled = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # nowhere to keep it: a read-only installation, and a user without a cache folder
        compiled = njit(**_OPTIONS)(function)
    index = getattr(getattr(compiled, "_cache", None), "_cache_file", None)  # absent when compilation is disabled
    if index is not None and hasattr(index, "_source_stamp"):
        index._source_stamp = _source_stamp(Path(function.__code__.co_filename).resolve().parent)
    return compiled  # type: ignore[no-any-return]


def inner(function: F) -> F:
    """Like `kernel`, for a function that only other kernels call: it has no entry from Python and no cache file of
    its own (it is part of its callers' cached code), and compiles faster for that."""
    options: Any = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = njit(**options)(function)
    return compiled  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Like `inner`, for a function that becomes part of its callers' code whatever the compiler makes of its size. For
    a short one of many arrays: to pass them (seven words each) would take as long as the work."""
    options: Any = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    compiled: Any = njit(**options)(function)
    return compiled  # type: ignore[no-any-return]
