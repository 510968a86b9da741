"""`main`: from arguments to an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from accel_sim.cli.errors import Interrupted, UsageError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code and raises nothing (a traceback is printed only with --debug)."""
    from accel_sim.cli.parser import build_parser

    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        options = build_parser().parse_args(arguments)
        from accel_sim.cli.commands import run_command

        run_command(options)
        sys.stdout.flush()
        return DONE
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else DONE
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may be flushed to it again when Python ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (KeyboardInterrupt, Interrupted) as stop:
        return _say(str(stop) or "interrupted", INTERRUPTED)
    except UsageError as error:
        return _failed(error, str(error), BAD_INPUT, debug)
    except Exception as error:
        return _other(error, debug)


def _other(error: Exception, debug: bool) -> int:
    """Bad configs, and everything that nobody expected."""
    from accel_sim.config.errors import ConfigError, printable

    if isinstance(error, ConfigError):
        return _failed(error, str(error), BAD_INPUT, debug)
    what = printable(str(error), 500)
    if isinstance(error, OSError):
        message = what
    elif isinstance(error, MemoryError):
        message = "out of memory"
    else:
        message = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return _failed(error, f"{message} (run again with --debug for the traceback)", FAILED, debug)


def _failed(error: Exception, message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    return _say(f"error: {message}", code)


def _say(message: str, code: int) -> int:
    """One message on standard error, whatever its encoding."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    text = f"accel-sim: {message}\n".encode(encoding, "backslashreplace").decode(encoding)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody is listening
        pass
    return code
