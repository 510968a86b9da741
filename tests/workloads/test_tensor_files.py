"""Tensor files: what is read, and that whatever is wrong with one is said in one clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from accel_sim.workloads.errors import BadInput
from accel_sim.workloads.files import read_tensors
from accel_sim.workloads.workload import HeadId


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_floating_point_elements_are_read_exactly(tmp_path: Path, dtype: str, lead: tuple[int, ...]) -> None:
    q, k, v = (normal(*lead, n, 4, seed=n).astype(dtype) for n in (5, 6, 6))
    stored = read_tensors(saved(tmp_path / "t.npz", q=q, k=k, v=v))
    assert (stored.layers, stored.heads) == {0: (1, 1), 1: (1, 3), 2: (2, 3)}[len(lead)]
    last = HeadId(stored.layers - 1, stored.heads - 1)
    for got, given in zip(stored.values(last), (q, k, v), strict=True):
        assert got.dtype == np.float64
        assert np.array_equal(got, given[tuple(n - 1 for n in lead)].astype(np.float64))


@pytest.mark.parametrize(
    ("name", "bits", "dtype"),
    [
        ("bf16", np.uint16, ml_dtypes.bfloat16),
        ("fp16", np.uint16, np.float16),
        ("fp8_e4m3", np.uint8, ml_dtypes.float8_e4m3fn),
        ("fp8_e5m2", np.uint8, ml_dtypes.float8_e5m2),
        ("fp32", np.uint32, np.float32),
    ],
)
def test_bit_patterns_are_read_in_their_format(tmp_path: Path, name: str, bits: Any, dtype: Any) -> None:
    given = normal(5, 4).astype(dtype)
    stored = read_tensors(saved(tmp_path / "t.npz", **dict.fromkeys("qkv", given.view(bits)), format=name))
    for got in stored.values(HeadId(0, 0)):
        assert np.array_equal(got, given.astype(np.float64))
    assert stored.largest == np.max(np.abs(given.astype(np.float64)))


@pytest.mark.parametrize("lead", [(), (2,)])
def test_an_npy_array_holds_q_k_v_along_its_first_axis(tmp_path: Path, lead: tuple[int, ...]) -> None:
    given = normal(3, *lead, 5, 4)
    np.save(tmp_path / "t.npy", given)
    values = read_tensors(tmp_path / "t.npy").values(HeadId(0, len(lead)))
    for got, tensor in zip(values, given, strict=True):
        assert np.array_equal(got, tensor[-1] if lead else tensor)


def test_grouped_queries_share_the_keys_of_their_group(tmp_path: Path) -> None:
    q, k, v = normal(6, 5, 4), normal(2, 7, 4, seed=1), normal(2, 7, 4, seed=2)
    stored = read_tensors(saved(tmp_path / "t.npz", q=q, k=k, v=v))
    assert stored.heads == 6
    for head in range(6):
        got_q, got_k, got_v = stored.values(HeadId(0, head))
        assert np.array_equal(got_q, q[head])
        assert np.array_equal(got_k, k[head // 3])
        assert np.array_equal(got_v, v[head // 3])


def broken(q: Any = None, k: Any = None, v: Any = None, **more: Any) -> dict[str, Any]:
    tensors = {name: normal(5, 4) if t is None else t for name, t in zip("qkv", (q, k, v), strict=True)}
    return {**tensors, **more}


BITS = np.zeros((5, 4), np.uint16)
WITH_NAN = np.full((5, 4), 1.0)
WITH_NAN[2, 3] = np.nan
WITH_INF_BITS = BITS.copy()
WITH_INF_BITS[1, 0] = 0x7F80
OBJECTS = np.array([[{}]], dtype=object)

BAD_ARCHIVES: list[tuple[str, dict[str, Any], str]] = [
    ("no v", {"q": normal(5, 4), "k": normal(5, 4)}, "has no entry v (it has q, k); allowed:"),
    ("another name", {"array": normal(3, 5, 4)}, "has no entry q, k, v (it has array)"),
    ("extra entry", broken(mask=np.ones(5)), "unknown entries: mask; allowed: q, k, v, format"),
    ("rank 1", broken(q=normal(5)), "q has shape (5,); allowed: (n, d), (heads, n, d)"),
    ("rank 5", broken(k=normal(1, 1, 1, 5, 4)), "k has shape (1, 1, 1, 5, 4); allowed:"),
    ("empty", broken(k=normal(0, 4), v=normal(0, 4)), "k has shape (0, 4): every axis must be at least 1"),
    ("k and v differ in n", broken(v=normal(6, 4)), "k and v must have one shape"),
    ("q has another d", broken(q=normal(5, 8)), "q, k and v must have one head dimension"),
    (
        "other layers",
        broken(normal(2, 1, 5, 4), normal(3, 1, 5, 4), normal(3, 1, 5, 4)),
        "one number of layers",
    ),
    (
        "odd groups",
        broken(normal(5, 5, 4), normal(2, 5, 4), normal(2, 5, 4)),
        "must be a multiple of the heads",
    ),
    ("NaN", broken(k=WITH_NAN), "k[0, 0, 2, 3] is not finite (axes: layer, head, row, dim)"),
    ("infinite bits", broken(BITS, BITS, WITH_INF_BITS, format="bf16"), "v[0, 0, 1, 0] is not finite"),
    (
        "signed integers",
        broken(q=np.zeros((5, 4), np.int8)),
        "elements of type float64, int8; allowed: float16",
    ),
    ("complex", broken(*[normal(5, 4) * 1j] * 3), "elements of type complex128; allowed: float16"),
    ("text", broken(*[np.array([["a"]])] * 3), "elements of type <U1; allowed: float16"),
    ("bits without format", broken(BITS, BITS, BITS), "no `format` entry; allowed: bf16, fp16"),
    ("bits of no format", broken(BITS, BITS, BITS, format="int4"), "format 'int4'; allowed: bf16, fp16"),
    ("format is a number", broken(BITS, BITS, BITS, format=3), "format '3'; allowed: bf16"),
    (
        "bits of another width",
        broken(BITS, BITS, BITS, format="fp32"),
        "fp32 has 32 bits, but the elements are uint16",
    ),
    ("floats with format", broken(format="bf16"), "`format` is for bit patterns"),
    ("objects", broken(OBJECTS, OBJECTS, OBJECTS), "holds pickled objects, which are never loaded"),
]


@pytest.mark.parametrize(
    ("arrays", "message"), [case[1:] for case in BAD_ARCHIVES], ids=[c[0] for c in BAD_ARCHIVES]
)
def test_an_unusable_archive_is_refused_with_its_reason(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read_tensors(saved(tmp_path / "t.npz", **arrays))
    assert message in caught.value.message
    assert "t.npz" in caught.value.message
    assert caught.value.key == "path"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot read .*none\.npz: No such file"):
        read_tensors(tmp_path / "none.npz")
    with pytest.raises(BadInput, match="cannot read"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("content", [b"", b"q,k,v\n1,2,3\n", b"\x80\x04N."], ids=["empty", "csv", "pickle"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(BadInput, match=r"is not a NumPy file; allowed: an \.npz archive"):
        read_tensors(tmp_path / "t.npz")


@pytest.mark.parametrize("keep", [30, 200, 600])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path / "t.npz", **broken())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="cannot read"):
        read_tensors(path)
    np.save(tmp_path / "t.npy", normal(3, 5, 4))
    whole = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "t.npy").write_bytes(whole[:keep])
    with pytest.raises(BadInput, match="cannot read"):
        read_tensors(tmp_path / "t.npy")


def test_a_corrupted_archive_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "t.npz", **broken())
    data = bytearray((tmp_path / "t.npz").read_bytes())
    data[120:180] = bytes(60)
    (tmp_path / "t.npz").write_bytes(data)
    with pytest.raises(BadInput, match="cannot read"):
        read_tensors(tmp_path / "t.npz")


@pytest.mark.parametrize("shape", [(5, 4), (2, 5, 4), (4, 5, 4)])
def test_an_npy_array_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "t.npy", normal(*shape))
    with pytest.raises(
        BadInput, match=r"allowed: an \.npz archive .* or an \.npy array of shape \(3, n, d\)"
    ):
        read_tensors(tmp_path / "t.npy")
