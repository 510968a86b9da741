"""What a command raises when its input is bad, apart from the config's own `ConfigError`."""

from __future__ import annotations


class UsageError(ValueError):
    """Input that a command cannot use: exit code 2, and the text is the message."""


class Interrupted(Exception):
    """Ctrl-C, with what the user can do about it: exit code 130."""
