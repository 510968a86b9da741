"""How the parts of this package say that an input is wrong; they know no config file or line."""

from __future__ import annotations


class BadInput(Exception):
    """An input that cannot be used.

    `key` names the setting in the workload section at fault; `load_workload` turns this into a `ConfigError`
    that names file and line.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message
