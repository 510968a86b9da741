"""From a config to a workload: what each kind gives, and where an error says it lies."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from accel_sim.config import Config, ConfigError, config_from_dict, load_config
from accel_sim.workloads import HeadId, Tensors, Workload, load_workload

SMALL = {"kind": "gaussian", "queries": 6, "keys": 9}


def config_of(
    workload: dict[str, Any], head_dim: int = 8, operand: str = "bf16", **architecture: Any
) -> Config:
    wide = "fp64" if operand == "fp64" else "fp32"
    formats = {"operand": operand, **dict.fromkeys(("score", "exp", "state", "output", "checker"), wide)}
    return config_from_dict(
        {
            "architecture": {"kind": "lanes", "head_dim": head_dim, "formats": formats, **architecture},
            "workload": workload,
        }
    )


def loaded(workload: dict[str, Any], **rest: Any) -> Workload:
    return load_workload(config_of(workload, **rest))


def captured(**settings: Any) -> dict[str, Any]:
    return {"kind": "captured", "path": "workloads/minilm-l6-v2.npz", **settings}


def tensor_file(folder: Path, name: str = "t.npz", *, heads: int = 2, factor: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = {"q": 5, "k": 7, "v": 7}
    tensors: dict[str, Any] = {t: factor * rng.standard_normal((heads, n, 8)) for t, n in rows.items()}
    np.savez(folder / name, **tensors)
    return {"kind": "file", "path": str(folder / name)}


def every_tensor(workload: Workload) -> list[Tensors]:
    return [workload.tensors(head) for head in workload.heads]


def test_gaussian_gives_the_heads_it_names() -> None:
    workload = loaded({**SMALL, "heads": 3, "seed": 5})
    assert workload.heads == (HeadId(0, 0), HeadId(0, 1), HeadId(0, 2))
    assert (workload.n_queries, workload.n_keys, workload.head_dim) == (6, 9, 8)
    for tensors in every_tensor(workload):
        assert [tensor.shape for tensor in tensors] == [(6, 8), (9, 8), (9, 8)]
        assert all(tensor.dtype == np.float64 and tensor.flags.c_contiguous for tensor in tensors)


def test_a_head_does_not_depend_on_its_neighbours() -> None:
    alone, among = loaded({**SMALL, "seed": 5}), loaded({**SMALL, "seed": 5, "heads": 40})
    for a, b in zip(alone.tensors(HeadId(0, 0)), among.tensors(HeadId(0, 0)), strict=True):
        assert np.array_equal(a, b)


def test_the_synthetic_numbers_are_pinned() -> None:
    section = {"kind": "outliers", "queries": 2, "keys": 2, "channels": 1, "factor": 8.0, "seed": 2026}
    tensors = loaded(section, head_dim=3).tensors(HeadId(0, 0))
    assert tensors.q.tolist() == [[0.86328125, 15.5, 0.98828125], [-1.8671875, -1.078125, -0.0625]]
    assert tensors.v.tolist() == [[0.98828125, -1.828125, -0.2392578125], [-0.0693359375, -0.6875, -1.3125]]


@pytest.mark.parametrize(
    ("operand", "dtype"),
    [
        ("fp64", np.float64),
        ("fp32", np.float32),
        ("fp16", np.float16),
        ("bf16", ml_dtypes.bfloat16),
        ("fp8_e4m3", ml_dtypes.float8_e4m3fn),
        ("fp8_e5m2", ml_dtypes.float8_e5m2),
    ],
)
def test_tensors_are_rounded_once_to_the_operand_format(operand: str, dtype: Any) -> None:
    # Tiny elements, so that most of the 8-bit ones are subnormal or zero. No element here lies within a
    # float32 rounding of a tie, so ml_dtypes' step through float32 does no harm.
    workload = loaded({**SMALL, "queries": 200, "keys": 1, "scale": 0.002}, operand=operand)
    exact = workload.source.values(HeadId(0, 0))[0]
    rounded = workload.tensors(HeadId(0, 0)).q
    assert np.array_equal(rounded, exact.astype(dtype).astype(np.float64))
    assert np.array_equal(np.signbit(rounded), np.signbit(exact))


def test_captured_selects_layers_and_heads() -> None:
    one = loaded(captured(layer=4, head=7), head_dim=32)
    assert one.heads == (HeadId(4, 7),)
    assert (one.n_queries, one.n_keys, one.head_dim) == (128, 128, 32)
    column = loaded(captured(layer="all", head=7), head_dim=32)
    assert column.heads == tuple(HeadId(layer, 7) for layer in range(6))
    everything = loaded(captured(layer="all", head="all"), head_dim=32)
    assert len(everything.heads) == 72
    for a, b in zip(one.tensors(HeadId(4, 7)), everything.tensors(HeadId(4, 7)), strict=True):
        assert np.array_equal(a, b)


def test_captured_bf16_values_pass_through_wider_operands_unchanged() -> None:
    for operand in ("fp32", "fp64"):
        wide = loaded(captured(), head_dim=32, operand=operand).tensors(HeadId(0, 0))
        for a, b in zip(wide, loaded(captured(), head_dim=32).tensors(HeadId(0, 0)), strict=True):
            assert np.array_equal(a, b)


def test_a_file_gives_all_its_heads(tmp_path: Path) -> None:
    workload = loaded(tensor_file(tmp_path, heads=3))
    assert workload.name == "t"
    assert workload.heads == (HeadId(0, 0), HeadId(0, 1), HeadId(0, 2))
    assert (workload.n_queries, workload.n_keys) == (5, 7)


def test_a_file_is_found_beside_the_config_that_names_it(tmp_path: Path) -> None:
    tensor_file(tmp_path)
    (tmp_path / "c.yaml").write_text(
        "architecture: {kind: lanes, head_dim: 8}\nworkload: {kind: file, path: t.npz}\n"
    )
    assert load_workload(load_config(tmp_path / "c.yaml")).n_keys == 7


def test_the_mask_bounds_every_query() -> None:
    workload = loaded({**SMALL, "mask": {"causal": True, "valid_keys": 7}})
    assert workload.bounds().tolist() == [3, 4, 5, 6, 6, 6]
    assert workload.bounds(2).tolist() == [3, 4]
    assert workload.score_count == 4 + 5 + 6 + 7 + 7 + 7
    assert loaded(SMALL).bounds().tolist() == [8] * 6
    for n in (-1, 7):
        with pytest.raises(ValueError, match="the workload has 6 queries"):
            workload.bounds(n)


def test_a_head_that_is_not_in_the_workload_is_refused() -> None:
    with pytest.raises(KeyError, match="layer 0 head 1 is not in workload gaussian"):
        loaded(SMALL).tensors(HeadId(0, 1))


@pytest.mark.parametrize("kind", ["gaussian", "captured", "file"])
def test_a_workload_survives_the_way_to_a_worker(kind: str, tmp_path: Path) -> None:
    section = {"gaussian": SMALL, "captured": captured(), "file": tensor_file(tmp_path)}[kind]
    workload = loaded(section, head_dim=32 if kind == "captured" else 8)
    again = pickle.loads(pickle.dumps(workload))
    for a, b in zip(workload.tensors(HeadId(0, 0)), again.tensors(HeadId(0, 0)), strict=True):
        assert np.array_equal(a, b)


def test_a_description_says_what_a_reader_must_know() -> None:
    text = loaded(captured(layer="all", head=2, mask={"causal": True}), head_dim=32).describe()
    for part in (
        "minilm-l6-v2 (captured)",
        "6, from layer 0 head 2 to layer 5 head 2",
        "128 queries, 128 keys, head dim 32",
        "causal; 8256 of 16384 scores a head",
        "bf16",
        "all-MiniLM-L6-v2 (Apache-2.0)",
        "Lincoln",
        "public domain",
        "SHA-256",
    ):
        assert part in text
    text = loaded(
        {**SMALL, "kind": "outliers", "channels": 2, "factor": 10, "scale": 0.5, "seed": 3}
    ).describe()
    assert "normal with standard deviation 0.5, seed 3; 2 channels of q and k times 10" in text
    assert "layer 0 head 0" in text


def test_importing_the_package_stays_light() -> None:
    heavy = ("numba", "pydantic", "yaml")
    check = f"import sys, accel_sim.workloads; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=root, check=True)
    assert run.stdout.strip() == "[]"


ERRORS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    (
        "layer out of range",
        captured(layer=6),
        {"head_dim": 32},
        "layer",
        "6 is out of range: the file has 6 layers",
    ),
    ("head out of range", captured(head=12), {"head_dim": 32}, "head", "allowed: 0 to 11, or all"),
    ("other head dim", captured(), {"head_dim": 64}, "path", "is 32, but architecture.head_dim is 64"),
    (
        "too many keys",
        captured(),
        {"head_dim": 32, "max_keys": 100},
        "path",
        "128 keys, but architecture.max_keys",
    ),
    (
        "queries",
        captured(),
        {"head_dim": 32, "max_queries": 9},
        "path",
        "128 queries, but architecture.max_queries",
    ),
    ("padding", captured(mask={"valid_keys": 129}), {"head_dim": 32}, "mask.valid_keys", "allowed: 1 to 128"),
    ("no such capture", captured(path="none.npz"), {}, "path", "cannot read the manifest"),
    ("no such file", {"kind": "file", "path": "none.npz"}, {}, "path", "No such file"),
    (
        "scale",
        {**SMALL, "scale": 1e4},
        {"operand": "fp8_e4m3"},
        "scale",
        "beyond 448, the largest value of the",
    ),
    (
        "factor",
        {**SMALL, "kind": "outliers", "factor": 1e6},
        {"operand": "fp16"},
        "factor",
        "operand format fp16",
    ),
]


@pytest.mark.parametrize(
    ("section", "rest", "key", "message"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS]
)
def test_what_does_not_fit_is_refused_at_its_key(
    section: dict[str, Any], rest: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(section, **rest)
    assert caught.value.key == f"workload.{key}"
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_causal_mask_over_more_queries_than_keys_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", q=np.ones((5, 8)), k=np.ones((4, 8)), v=np.ones((4, 8)))
    with pytest.raises(ConfigError, match=r"workload\.mask\.causal: .*got 5 queries, 4 keys") as caught:
        loaded({"kind": "file", "path": str(tmp_path / "t.npz"), "mask": {"causal": True}})
    assert caught.value.key == "workload.mask.causal"


def test_values_beyond_the_operand_format_are_refused_with_their_place(tmp_path: Path) -> None:
    section = tensor_file(tmp_path, factor=1e4)
    loaded(section)
    with pytest.raises(ConfigError, match=r"[qkv]\[\d+, \d+\] of layer 0 head \d is .*, beyond 448"):
        loaded(section, operand="fp8_e4m3")


def test_a_bound_that_is_not_reached_refuses_nothing() -> None:
    # 8.21 * 60 is beyond 448, but no element of this head is.
    workload = loaded({**SMALL, "scale": 60.0}, operand="fp8_e4m3")
    assert workload.source.largest > 448
    assert all(np.all(np.isfinite(tensor)) for tensor in workload.tensors(HeadId(0, 0)))


def test_a_message_stays_on_one_line_whatever_the_file_is_called(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded({"kind": "file", "path": str(tmp_path / "a\nb\x1b[2J.npz")})
    assert str(caught.value).isprintable()


def test_an_error_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "t.npy").write_bytes(b"nonsense")
    path = tmp_path / "c.yaml"
    path.write_text("architecture: {kind: lanes, head_dim: 8}\nworkload:\n  kind: file\n  path: t.npy\n")
    with pytest.raises(ConfigError) as caught:
        load_workload(load_config(path))
    assert (caught.value.file, caught.value.line) == (str(path), 4)
    assert "t.npy is not a NumPy file; allowed: an .npz archive" in str(caught.value)
