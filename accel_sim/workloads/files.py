"""Tensors from a NumPy file.

What a file may hold:

- ``.npz``: entries ``q``, ``k`` and ``v``; and ``format``, the name of a number format, if they are bit
  patterns;
- ``.npy``: one array whose first axis is q, k, v.

Each of q, k, v has shape (n, d), (heads, n, d) or (layers, heads, n, d). q may have its own n, and a multiple
of the heads of k and v (grouped-query attention: neighbouring query heads share a key and value head).
Elements are float16, float32 or float64; or unsigned integers, read as bit patterns of the named format (bf16
in uint16, fp8_e4m3 in uint8).

Nothing in a file is ever executed: pickled objects are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.formats import FORMATS, Format
from accel_sim.workloads.errors import BadInput
from accel_sim.workloads.workload import HeadId

F64 = NDArray[np.float64]

_ENTRIES = ("q", "k", "v")
_ALLOWED = "allowed: an .npz archive with entries q, k, v, or an .npy array of shape (3, n, d)"
_SHAPES = "(n, d), (heads, n, d) or (layers, heads, n, d)"


@dataclass(frozen=True, eq=False)
class Stored:
    """Tensors read from a file, held in the file's own element type until a head is asked for.

    Attributes:
        q: (layers, heads, n_queries, head_dim).
        k: (layers, kv_heads, n_keys, head_dim), kv_heads a divisor of heads.
        v: the shape of k.
        format: number format of the bit patterns, or None where the elements are floating point.
    """

    q: NDArray[Any] = field(repr=False)
    k: NDArray[Any] = field(repr=False)
    v: NDArray[Any] = field(repr=False)
    format: Format | None

    @property
    def layers(self) -> int:
        return int(self.q.shape[0])

    @property
    def heads(self) -> int:
        return int(self.q.shape[1])

    @property
    def largest(self) -> float:
        """The largest magnitude of any element."""
        return max(
            float(np.max(np.abs(self._decoded(tensor[place]))))
            for tensor in (self.q, self.k, self.v)
            for place in np.ndindex(tensor.shape[:2])
        )

    def values(self, head: HeadId) -> tuple[F64, F64, F64]:
        shared = self.kv_head(head)
        return (
            self._decoded(self.q[head.layer, head.head]),
            self._decoded(self.k[shared]),
            self._decoded(self.v[shared]),
        )

    def kv_head(self, head: HeadId) -> HeadId:
        """Neighbouring heads share the file's keys and values."""
        return HeadId(head.layer, head.head * int(self.k.shape[1]) // self.heads)

    def _decoded(self, stored: NDArray[Any]) -> F64:
        if self.format is None:
            with np.errstate(invalid="ignore"):  # a signalling NaN: refused in its turn, with its place
                return stored.astype(np.float64)
        return self.format.decode(stored)


def read_tensors(path: Path, key: str = "path") -> Stored:
    """Read and check a tensor file.

    Args:
        path: the file.
        key: the setting that names it, for the error.

    Raises:
        BadInput: the file is missing, unreadable or of another kind, or its tensors do not fit together or
            are not finite.
    """
    entries = _read_entries(path, key)
    fmt = _element_format(entries, path, key)
    q, k, v = (_four_axes(entries[name], f"{path.name}: {name}", key) for name in _ENTRIES)
    _check_shapes(q, k, v, path, key)
    stored = Stored(q, k, v, fmt)
    for name, tensor in zip(_ENTRIES, (q, k, v), strict=True):
        _check_finite(tensor, stored, f"{path.name}: {name}", key)
    return stored


def _read_arrays(path: Path, key: str) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of an .npy file, or the arrays of an .npz file by name; never a pickled object."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            # NumPy takes whatever is neither of the two for a pickle, and its message would mislead.
            if magic[:4] not in (b"PK\x03\x04", b"PK\x05\x06") and magic != b"\x93NUMPY":
                raise BadInput(key, f"{path} is not a NumPy file; {_ALLOWED}")
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded as archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except BadInput:
        raise
    except OSError as error:
        raise BadInput(key, f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # on damaged files NumPy, zipfile and zlib let out errors of every kind
        if "allow_pickle" in str(error):
            raise BadInput(
                key, f"{path} holds pickled objects, which are never loaded; {_ALLOWED}"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(key, f"cannot read {path}: {reason}") from error


def _read_entries(path: Path, key: str) -> dict[str, NDArray[Any]]:
    arrays = _read_arrays(path, key)
    if isinstance(arrays, np.ndarray):
        if arrays.ndim < 3 or arrays.shape[0] != 3:
            raise BadInput(key, f"{path.name} has shape {arrays.shape}; {_ALLOWED}")
        return dict(zip(_ENTRIES, arrays, strict=True))
    missing = [name for name in _ENTRIES if name not in arrays]
    if missing:
        raise BadInput(
            key, f"{path.name} has no entry {', '.join(missing)} (it has {', '.join(arrays)}); {_ALLOWED}"
        )
    # An entry that we would pass over (a mask, a scale) could change what the user believes is computed.
    unknown = sorted(set(arrays) - {*_ENTRIES, "format"})
    if unknown:
        raise BadInput(
            key, f"{path.name} has unknown entries: {', '.join(unknown)}; allowed: q, k, v, format"
        )
    return arrays


def _element_format(entries: dict[str, NDArray[Any]], path: Path, key: str) -> Format | None:
    kinds = {entries[name].dtype for name in _ENTRIES}
    if all(dtype.kind == "f" and dtype.itemsize in (2, 4, 8) for dtype in kinds):
        if "format" in entries:
            raise BadInput(
                key, f"{path.name}: `format` is for bit patterns, but the elements are floating point"
            )
        return None
    if not all(dtype.kind == "u" for dtype in kinds):
        names = ", ".join(sorted(map(str, kinds)))
        raise BadInput(
            key,
            f"{path.name} has elements of type {names}; allowed: float16, float32, float64, "
            "or unsigned integers with a `format` entry",
        )
    if "format" not in entries:
        raise BadInput(
            key,
            f"{path.name} holds bit patterns but no `format` entry; allowed: {', '.join(sorted(FORMATS))}",
        )
    stated = entries["format"]
    name = str(stated.item()) if stated.size == 1 and stated.dtype.kind == "U" else str(stated.tolist())
    if name not in FORMATS:
        raise BadInput(key, f"{path.name}: format {name!r}; allowed: {', '.join(sorted(FORMATS))}")
    fmt = FORMATS[name]
    if any(dtype.itemsize * 8 != fmt.width_bits for dtype in kinds):
        names = ", ".join(sorted(map(str, kinds)))
        raise BadInput(key, f"{path.name}: {name} has {fmt.width_bits} bits, but the elements are {names}")
    return fmt


def _four_axes(array: NDArray[Any], what: str, key: str) -> NDArray[Any]:
    if not 2 <= array.ndim <= 4:
        raise BadInput(key, f"{what} has shape {array.shape}; allowed: {_SHAPES}")
    if array.size == 0:
        raise BadInput(key, f"{what} has shape {array.shape}: every axis must be at least 1")
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def _check_shapes(q: NDArray[Any], k: NDArray[Any], v: NDArray[Any], path: Path, key: str) -> None:
    def fail(problem: str) -> None:
        shapes = f"q {q.shape}, k {k.shape}, v {v.shape} as (layers, heads, n, d)"
        raise BadInput(key, f"{path.name}: {problem}: {shapes}")

    if k.shape != v.shape:
        fail("k and v must have one shape")
    if q.shape[3] != k.shape[3]:
        fail("q, k and v must have one head dimension")
    if q.shape[0] != k.shape[0]:
        fail("q, k and v must have one number of layers")
    if q.shape[1] % k.shape[1]:
        fail("the heads of q must be a multiple of the heads of k and v")


def _check_finite(tensor: NDArray[Any], stored: Stored, what: str, key: str) -> None:
    # One head at a time: decoded, a large file is larger still.
    for layer, head in np.ndindex(tensor.shape[:2]):
        bad = np.argwhere(~np.isfinite(stored._decoded(tensor[layer, head])))
        if bad.size:
            place = ", ".join(map(str, (layer, head, *bad[0].tolist())))
            raise BadInput(key, f"{what}[{place}] is not finite (axes: layer, head, row, dim)")
