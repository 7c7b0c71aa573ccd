"""What a page need not wait for: computed in the background, one by one, while somebody asks for it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

RETRY = 30.0  # s after which what went wrong is tried again
FORGOTTEN = 5.0  # s without being asked for, after which a result is no longer worth computing
PRIORITY = 5  # of the thread, in Linux's steps below the pages' own


class Later:
    """One thread of low priority for the work of all sessions, in the order of coming.

    What nobody has asked for in `FORGOTTEN` seconds when its turn comes (the page was left, the browser
    closed) is dropped, and begun anew when somebody asks again.
    """

    def __init__(self) -> None:
        self._line: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._now: _Job | None = None
        self._working = False

    def ask(self, kept: dict[str, Any], work: Callable[[], Any], wait: float = 0.0) -> Any:
        """The result, which then stands in `kept` under "result"; None where it is not there after `wait` s.

        Raises
        ------
        what `work` raised, again and again; after `RETRY` s it is tried anew
        """
        with self._lock:
            if "result" in kept:
                return kept["result"]
            job: _Job | None = kept.get("later")
            if job is None or (job.error and time.monotonic() - job.asked > RETRY):
                job = self._join(kept, work)
            job.waiting += 1
        job.done.wait(wait)
        with self._lock:
            job.waiting -= 1
            if job.error is not None:
                raise job.error.with_traceback(None)
            job.asked = time.monotonic()
            return kept.get("result")

    def _join(self, kept: dict[str, Any], work: Callable[[], Any]) -> _Job:
        job = kept["later"] = _Job(kept, work)
        self._line.append(job)
        if not self._working:
            self._working = True
            threading.Thread(target=self._work, daemon=True).start()
        return job

    @property
    def busy(self) -> bool:
        """Whether what is asked for now would wait for others first."""
        with self._lock:
            return self._now is not None or bool(self._line)

    def place(self, kept: dict[str, Any]) -> int:
        """How many stand before it in line; 0 for what is being computed, or is not in line."""
        with self._lock:
            job: _Job | None = kept.get("later")
            return self._line.index(job) + 1 if job and job in self._line else 0

    def _work(self) -> None:
        step_back()
        while True:
            with self._lock:
                if not self._line:
                    self._working = False
                    return
                job = self._line.popleft()
                if not job.waiting and time.monotonic() - job.asked > FORGOTTEN:
                    del job.kept["later"]
                    continue
                self._now = job
            result, error = None, None
            try:
                result = job.work()
            except BaseException as raised:  # whatever it is, the others in line are not to blame
                error = raised
            with self._lock:
                self._now, job.error, job.asked = None, error, time.monotonic()
                if error is None:
                    job.kept["result"] = result
                    del job.kept["later"]
            job.done.set()


def step_back() -> None:
    """Let this thread come after those of the pages, where the system can (Linux)."""
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)


class _Job:
    """A result in the making."""

    def __init__(self, kept: dict[str, Any], work: Callable[[], Any]) -> None:
        self.kept, self.work = kept, work
        self.asked, self.waiting = time.monotonic(), 0  # when last, and by how many now
        self.done = threading.Event()
        self.error: BaseException | None = None
