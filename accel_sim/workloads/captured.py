"""Tensors captured from a real model: a tensor file with a manifest beside it that says where they come from.

The manifest is a JSON file with the tensor file's name (``minilm-l6-v2.json`` beside ``minilm-l6-v2.npz``).
It names the model and the text with their licences, and the tensor file with its SHA-256, which is checked on
loading: results can only claim a captured workload if its bits are the ones that were published.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_sim.workloads.errors import BadInput
from accel_sim.workloads.files import Stored, read_tensors


@dataclass(frozen=True)
class Manifest:
    """What a report says of a captured workload.

    Attributes:
        name: name of the capture.
        model: the model's name.
        model_licence: licence of the model.
        text_source: where the text is from.
        text_licence: licence of the text.
        sha256: digest of the tensor file, in hexadecimal.
    """

    name: str
    model: str
    model_licence: str
    text_source: str
    text_licence: str
    sha256: str


def read_captured(path: Path, key: str = "path") -> tuple[Stored, Manifest]:
    """Read a captured workload: `path` is its tensor file or its manifest.

    Raises:
        BadInput: a file is missing or malformed, or the tensors are not those that the manifest describes.
    """
    tensor_path, manifest_path = path.with_suffix(".npz"), path.with_suffix(".json")
    manifest = _read_manifest(manifest_path, key)
    try:
        digest = hashlib.sha256(tensor_path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(key, f"cannot read {tensor_path}: {error.strerror or error}") from error
    if digest != manifest.sha256:
        raise BadInput(key, f"{tensor_path} has SHA-256 {digest}, but its manifest says {manifest.sha256}")
    return read_tensors(tensor_path, key), manifest


def _read_manifest(path: Path, key: str) -> Manifest:
    try:
        entries: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(
            key,
            f"cannot read the manifest {path}: {error.strerror or error}; without one, use kind file",
        ) from error
    except ValueError as error:
        raise BadInput(key, f"the manifest {path} is not JSON: {error}") from error
    try:
        return Manifest(
            name=str(entries["name"]),
            model=str(entries["model"]["name"]),
            model_licence=str(entries["model"]["licence"]),
            text_source=str(entries["text"]["source"]),
            text_licence=str(entries["text"]["licence"]),
            sha256=str(entries["sha256"]),
        )
    except KeyError as error:
        raise BadInput(key, f"the manifest {path} has no entry {error.args[0]!r}") from error
    except TypeError as error:
        raise BadInput(key, f"the manifest {path} is not an object of objects") from error
