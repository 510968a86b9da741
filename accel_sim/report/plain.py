"""Results as JSON text.

JSON has no NaN and no infinities; they are written as the strings "NaN", "Infinity" and "-Infinity", which Python's
`float()` and JavaScript's `Number()` read back. Null means that there is no such number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: object) -> Any:
    """`value` as dicts with text keys, lists, text, numbers, booleans and None.

    Takes mappings, sequences, NumPy arrays and scalars, named tuples (as lists) and paths. Raises TypeError for
    anything else: documents say what they contain.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def dumps(document: object) -> str:
    """One JSON document, in plain ASCII, with a final newline."""
    return json.dumps(plain(document), indent=2, allow_nan=False) + "\n"
