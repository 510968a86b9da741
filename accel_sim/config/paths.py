"""Where configurations and the files that they name are found.

- `shipped_configs_dir()`: the configs that come with accel-sim, installed or in a checkout.
- `resolve_config("paper-d64")`: a path, or the name of a shipped config, to a file.
- `resolve_data_file(...)`: a file named inside a config.
"""

from __future__ import annotations

import os
from pathlib import Path

from accel_sim.config.errors import ConfigError, Mark, Problem, did_you_mean

SUFFIXES = (".yaml", ".yml")


def shipped_configs_dir() -> Path:
    """The folder of the shipped configs: the copy in the installed package, else the checkout's `configs`.

    Raises ConfigError when neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data" / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    raise ConfigError("this installation of accel-sim has no shipped configs")


def shipped_configs() -> dict[str, Path]:
    """The shipped configs by name (`paper-d64`), in alphabetical order."""
    return {path.stem: path for path in sorted(shipped_configs_dir().glob("*.yaml"))}


def shipped_config(name: str) -> Path | None:
    """The shipped config of a name, with or without its suffix, or None."""
    folder = shipped_configs_dir()
    for candidate in (folder / name, *(folder / (name + suffix) for suffix in SUFFIXES)):
        if candidate.suffix in SUFFIXES and candidate.is_file() and not Path(name).is_absolute():
            return candidate
    return None


def resolve_config(name_or_path: str | os.PathLike[str]) -> Path:
    """The config file that a command means: a path if there is one, else the shipped config of that name.

    The suffix may be left off a shipped name. Raises ConfigError when there is neither.
    """
    text = os.fspath(name_or_path)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if not text:
        raise ConfigError("the name of a config must not be empty")
    path = Path(text)
    try:
        if path.exists() and not path.is_dir():
            return path
        shipped = shipped_config(text) or (path if path.is_dir() else None)
    except (OSError, ValueError) as error:  # names too long, or holding a NUL
        raise ConfigError(Problem(f"is no usable file name: {_reason(error)}", "", Mark(text))) from None
    if shipped is not None:
        return shipped
    names = list(shipped_configs())
    hint = did_you_mean(path.stem, names) or f" (shipped: {', '.join(names)})"
    raise ConfigError(Problem(f"no such file, and no shipped config of that name{hint}", "", Mark(text)))


def resolve_data_file(stated: str, folder: Path | None) -> Path:
    """The file that a config names: in `folder`, where that config lies, else among the shipped ones.

    `folder` is None for a default, which always means a shipped file. The result need not exist: when nothing
    does, it is the first place that was looked at.
    """
    if folder is not None and _exists(folder / stated):
        return folder / stated
    shipped = shipped_configs_dir() / stated
    return shipped if folder is None or _exists(shipped) else folder / stated


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no file can have such a name
        return False


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
