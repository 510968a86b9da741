"""The config that a command line means: a file or a shipped name, with the changes of --set laid over it."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from accel_sim.cli.errors import UsageError

if TYPE_CHECKING:
    from accel_sim.config import Config


def config_of(options: Namespace) -> Config:
    """Raises ConfigError or UsageError."""
    from accel_sim.config import load_config

    return load_config(options.config, {key: _value(key, text) for key, text in options.changes})


def _value(key: str, text: str) -> object:
    """The value of one --set, read as the YAML that it would be in a file. Raises UsageError."""
    from accel_sim.config import ConfigError
    from accel_sim.config.yaml_reader import read_yaml

    try:
        read = read_yaml(b"value: " + text.encode("utf-8", "surrogateescape"), "--set").plain()
    except ConfigError as error:
        raise UsageError(f"--set {key}={text}: {error.problems[0].message}") from None
    if not isinstance(read, dict) or list(read) != ["value"]:
        raise UsageError(f"--set {key}={text}: is no single YAML value")
    return read["value"]
