"""Turns: who may compute now, in the order of coming, and at which place in line the others stand.

Two computations that share the cores take twice as long each; one after the other, the first is done in
half that time and the second no later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 0.25  # s between two looks at the line


class Turns:
    """So many at a time; the others stand in line, first come, first served.

    at_once : how many may work
    """

    def __init__(self, at_once: int = 1) -> None:
        if at_once < 1:
            raise ValueError(f"at_once = {at_once}; one at least must be let in.")
        self.at_once = at_once
        self._line: list[object] = []  # those who work first, then those who wait
        self._moved = threading.Condition()
        self._mine = threading.local()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        with self._moved:
            return max(0, len(self._line) - self.at_once)

    @contextmanager
    def take(self, tell: Callable[[int], None] | None = None) -> Iterator[None]:
        """Wait for the turn, work, and let the next one in; also when the work ends by an exception.

        A turn within a turn of the same thread is the same turn.

        Parameters
        ----------
        tell : told the place in line, from 1, whenever a look at it was taken; what it raises gives the
            place up

        """
        if getattr(self._mine, "held", False):
            yield
            return
        ticket = object()
        with self._moved:
            self._line.append(ticket)
        try:
            while (place := self._place(ticket)) > 0:
                if tell:
                    tell(place)
                with self._moved:
                    self._moved.wait(PATIENCE)
            self._mine.held = True
            yield
        finally:
            self._mine.held = False
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    def _place(self, ticket: object) -> int:
        with self._moved:
            return self._line.index(ticket) - self.at_once + 1
