"""Private folders for files that are read or written, removed afterwards: after a kill, at the next start.

Each is locked while it is in use. A process that was killed holds no lock any more, so that what it left can
be told from the folder of another server that is still reading.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on Windows: there what a kill leaves stays until the system clears it
    fcntl = None  # type: ignore[assignment]

PREFIX = "clear_hug_private_"
TRIES = 100  # then the file system gives no locks, and nobody clears anything there


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """An empty folder that only this user may enter, gone when the block is left."""
    remove_left_folders(tempfile.gettempdir())
    for left in reversed(range(TRIES)):
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
            lock = _lock(folder)
            if fcntl is not None and lock is None and left:
                continue  # another process, at its start, took it for a left one before it was locked
            try:
                yield Path(folder)
            finally:
                if lock is not None:
                    os.close(lock)
            return


@cache
def remove_left_folders(where: str) -> None:
    """Remove the private folders of this user under `where` that no running process holds; once a process."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(where) as entries:
        for entry in entries:
            if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            lock = _lock(entry.path)
            if lock is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(lock)


def _lock(folder: str) -> int | None:
    """An open, locked handle of a folder of this user; None where another holds it, or it is gone."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, there = os.fstat(handle), os.stat(folder)
        if opened.st_uid == os.getuid() and opened.st_ino == there.st_ino:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None
