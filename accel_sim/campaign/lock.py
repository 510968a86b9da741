"""One writer to a run directory.

The lock is the operating system's (`flock`) on a file that names its holder, so it vanishes with the process
that held it, however that ended: a lock file that was left behind is no lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK_NAME = "lock"


class Locked(Exception):
    """Another process holds the lock; `holder` is what its file says ({} if that cannot be read)."""

    def __init__(self, path: Path, holder: dict[str, Any]) -> None:
        self.path = path
        self.holder = holder
        super().__init__(f"{path} is held by {describe(holder)}")


def describe(holder: dict[str, Any]) -> str:
    """A lock's holder in words."""
    if "pid" not in holder:
        return "another process"
    here = holder.get("host") == platform.node()
    return f"process {holder['pid']}" + ("" if here else f" on {holder.get('host', 'another host')}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. Raises Locked if another process does, OSError if the folder cannot be
    written. On a platform or file system without locks it does nothing: two writers of one campaign write the
    same shards, so that they waste time but harm nothing."""
    path = folder / LOCK_NAME
    descriptor = _acquire(path)
    try:
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        yield
    finally:
        if descriptor is not None:
            # First the name, then the lock: whoever opens the file in between sees that it is gone.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _acquire(path: Path) -> int | None:
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(descriptor)
            os.close(descriptor)
            raise Locked(path, holder) from None
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # its holder removed it just now: there is a new one, or none


def _read(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
