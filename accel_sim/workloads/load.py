"""From the workload section of a config to a `Workload`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel_sim.workloads.errors import BadInput
from accel_sim.workloads.workload import HeadId, Mask, TensorSource, Workload, rounded

if TYPE_CHECKING:
    from accel_sim.config import CapturedWorkload, Config, FileWorkload, GaussianWorkload, GemmWorkload
    from accel_sim.numerics.formats import Format
    from accel_sim.workloads.files import Stored


def load_workload(config: Config) -> Workload:
    """The workload that a config describes, its files read and everything about it checked.

    A workload that is returned can be used: its tensors fit together, fit the architecture (head dimension,
    largest number of queries and keys), and are finite in the operand format; every query may see a key.

    Raises:
        ConfigError: a file cannot be used or does not fit the rest of the config; names file, line and key.
    """
    try:
        workload = _loaded(config)
        _check_architecture(workload, config)
        _check_mask(workload, config)
        _check_range(workload)
    except BadInput as error:
        from accel_sim.config.errors import ConfigError, printable

        raise ConfigError.at(config, f"workload.{error.key}", printable(error.message)) from error
    return workload


def _loaded(config: Config) -> Workload:
    section: Any = config.workload
    from accel_sim.machines.integers import format_named

    operand = format_named(config.architecture.formats.operand)
    if section.kind == "gemm":
        return _products(section, operand)
    mask = Mask(section.mask.causal, section.mask.valid_keys, section.mask.window)
    if section.kind in ("gaussian", "outliers"):
        return _synthetic(section, config.architecture.head_dim, mask, operand)
    path = config.workload_path()
    assert path is not None
    if section.kind == "captured":
        return _captured(section, path, mask, operand)
    if section.kind == "file":
        return _file(section, path, mask, operand)
    raise BadInput(
        "kind", f"no workload of kind {section.kind!r}; allowed: captured, gaussian, outliers, file, gemm"
    )


def _synthetic(section: GaussianWorkload, head_dim: int, mask: Mask, operand: Format) -> Workload:
    from accel_sim.config import OutliersWorkload
    from accel_sim.workloads.synthetic import Gaussian, Outliers

    group = section.heads // (section.kv_heads or section.heads)
    gaussian = Gaussian(section.queries, section.keys, head_dim, section.scale, section.seed, group)
    source: TensorSource = gaussian
    elements = f"normal with standard deviation {section.scale:g}, seed {section.seed}"
    if isinstance(section, OutliersWorkload):
        source = Outliers(gaussian, section.channels, section.factor)
        elements += f"; {section.channels} channels of q and k times {section.factor:g}"
    return Workload(
        name=section.kind,
        kind=section.kind,
        heads=tuple(HeadId(layer, head) for layer in range(section.layers) for head in range(section.heads)),
        n_queries=section.queries,
        n_keys=section.keys,
        head_dim=head_dim,
        mask=mask,
        operand=operand,
        source=source,
        details=(("elements", elements),),
    )


def _products(section: GemmWorkload, operand: Format) -> Workload:
    from accel_sim.workloads.synthetic import PlainProduct

    return Workload(
        name=section.kind,
        kind=section.kind,
        heads=tuple(HeadId(0, product) for product in range(section.products)),
        n_queries=section.m,
        n_keys=section.n,
        head_dim=section.k,
        mask=Mask(),
        operand=operand,
        source=PlainProduct(section.m, section.n, section.k, section.scale, section.seed),
        details=(("elements", f"normal with standard deviation {section.scale:g}, seed {section.seed}"),),
    )


def _captured(section: CapturedWorkload, path: Path, mask: Mask, operand: Format) -> Workload:
    from accel_sim.workloads.captured import read_captured

    stored, manifest = read_captured(path)
    layers = _selection("layer", section.layer, stored.layers)
    heads = _selection("head", section.head, stored.heads)
    details = (
        ("model", f"{manifest.model} ({manifest.model_licence})"),
        ("text", f"{manifest.text_source} ({manifest.text_licence})"),
        ("file", f"{path.name}, SHA-256 {manifest.sha256}"),
    )
    chosen = tuple(HeadId(layer, head) for layer in layers for head in heads)
    return _from_stored(manifest.name, "captured", stored, chosen, mask, operand, details)


def _file(section: FileWorkload, path: Path, mask: Mask, operand: Format) -> Workload:
    from accel_sim.workloads.files import read_tensors

    stored = read_tensors(path)
    every = tuple(HeadId(layer, head) for layer in range(stored.layers) for head in range(stored.heads))
    return _from_stored(path.stem, section.kind, stored, every, mask, operand, (("file", path.name),))


def _from_stored(
    name: str,
    kind: str,
    stored: Stored,
    heads: tuple[HeadId, ...],
    mask: Mask,
    operand: Format,
    details: tuple[tuple[str, str], ...],
) -> Workload:
    return Workload(
        name=name,
        kind=kind,
        heads=heads,
        n_queries=int(stored.q.shape[2]),
        n_keys=int(stored.k.shape[2]),
        head_dim=int(stored.q.shape[3]),
        mask=mask,
        operand=operand,
        source=stored,
        details=details,
    )


def _selection(key: str, chosen: int | str, count: int) -> range:
    """The indices that a `layer` or `head` setting selects out of `count`."""
    if isinstance(chosen, str):  # "all"; the config allows no other text
        return range(count)
    if not 0 <= chosen < count:
        raise BadInput(
            key, f"{chosen} is out of range: the file has {count} {key}s; allowed: 0 to {count - 1}, or all"
        )
    return range(chosen, chosen + 1)


def _check_architecture(workload: Workload, config: Config) -> None:
    arch = config.architecture
    if workload.plain:  # K is the workload's own, and the config has compared the rest
        return
    if workload.head_dim != arch.head_dim:
        raise BadInput(
            "path", f"head dimension is {workload.head_dim}, but architecture.head_dim is {arch.head_dim}"
        )
    for what, count, most in (
        ("queries", workload.n_queries, arch.max_queries),
        ("keys", workload.n_keys, arch.max_keys),
    ):
        if count > most:
            key = what if workload.kind in ("gaussian", "outliers") else "path"
            raise BadInput(key, f"{count} {what}, but architecture.max_{what} is {most}")


def _check_mask(workload: Workload, config: Config) -> None:
    mask, queries, keys = workload.mask, workload.n_queries, workload.n_keys
    if mask.valid_keys is not None and not 1 <= mask.valid_keys <= keys:
        raise BadInput(
            "mask.valid_keys",
            f"{mask.valid_keys} is out of range: a head has {keys} keys; allowed: 1 to {keys}",
        )
    if mask.causal and queries > keys:
        # Query 0 would see no key at all, and softmax over nothing is undefined.
        raise BadInput(
            "mask.causal", f"a causal mask needs queries <= keys (got {queries} queries, {keys} keys)"
        )
    if mask.window is not None and not getattr(config.architecture, "sliding_window", False):
        raise BadInput("mask.window", "this machine bounds a query's keys at the end only: a sliding window needs "
                                      "architecture.sliding_window: true")


def _check_range(workload: Workload) -> None:
    """Refuse values that become infinite or NaN in the operand format."""
    fmt = workload.operand
    if _fits(workload.source.largest, fmt):
        return
    # Generators give only a bound, so look at the values themselves before refusing.
    key = {"gaussian": "scale", "gemm": "scale", "outliers": "factor"}.get(workload.kind, "path")
    for head in workload.heads:
        for name, values in zip("abv" if workload.plain else "qkv", workload.source.values(head), strict=True):
            if not values.size:
                continue
            place = np.unravel_index(np.argmax(np.abs(values)), values.shape)
            if not _fits(float(values[place]), fmt):
                index = ", ".join(str(int(i)) for i in place)
                raise BadInput(
                    key,
                    f"{name}[{index}] of {head} is {values[place]:g}, beyond {fmt.max_finite:g}, the largest "
                    f"value of the operand format {fmt.name}",
                )


def _fits(value: float, fmt: Format) -> bool:
    return math.isfinite(float(rounded(np.array([value]), fmt)[0]))
