"""Calipers on ECG paper: an interval, a rate and a voltage, read between two points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import plotly.graph_objects as go

from clear_hug.plots.theme import Theme

if TYPE_CHECKING:
    from clear_hug.plots.paper import Paper, Strip

LEAST = 1.0  # mm; a box lower than that is meant for the time alone
MOST_STEPS = 400  # lines of calipers that march


@dataclass(frozen=True)
class Caliper:
    """Two points on the paper.

    start, stop : s
    lead : of the strip it was set on, with its number from the top; "" for a caliper over all of them
    low, high : above that strip's base line, in the unit of the paper; None where time alone is meant
    """

    start: float
    stop: float
    lead: str = ""
    row: int = 0
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        ends = [self.start, self.stop, *(v for v in (self.low, self.high) if v is not None)]
        if not all(math.isfinite(v) for v in ends) or self.stop <= self.start:
            raise ValueError(f"a caliper from {self.start} to {self.stop} s; its end lies after its start.")

    @property
    def seconds(self) -> float:
        return self.stop - self.start

    @property
    def height(self) -> float | None:
        return None if self.low is None or self.high is None else abs(self.high - self.low)

    def words(self, unit: str) -> str:
        """What it reads; `unit` is the paper's, and in arbitrary ones no height is told."""
        said = [f"{1000 * self.seconds:.0f} ms", f"{60 / self.seconds:.0f} beats/min"]
        if self.height is not None and unit != "arbitrary units":
            said.append(f"{self.height:.2f} {unit}")
        return " · ".join(said)

    @property
    def link(self) -> str:
        """How it stands in an address; see `from_link`."""
        time = f"{self.start:.3f}_{self.stop:.3f}"
        if self.low is None or self.high is None:
            return time
        return f"{time}_{self.lead}_{self.row}_{self.low:.3f}_{self.high:.3f}"

    @classmethod
    def from_link(cls, text: str) -> Self:
        """Raises ValueError for what `link` never writes."""
        parts = text.split("_")
        if len(parts) not in (2, 6):
            raise ValueError(f"{text!r} is no caliper.")
        start, stop = float(parts[0]), float(parts[1])
        if len(parts) == 2:
            return cls(start, stop)
        return cls(start, stop, parts[2], int(parts[3]), float(parts[4]), float(parts[5]))


def caliper_from_box(
    paper: Paper, x: list[float], y: list[float], seen: tuple[float, float] | None = None
) -> Caliper | None:
    """The caliper that a box drawn with the mouse stands for; None where it has no width.

    Parameters
    ----------
    x : two times, s;  y : two heights, mm; a box over all the height that is seen is meant for the time alone
    seen : mm, between which heights the paper is seen; None where all of it is
    """
    start, stop = (round(min(max(t, paper.start), paper.stop), 3) for t in sorted(x))
    if stop <= start:
        return None
    low, high = sorted(y)
    bottom, top = seen or (paper.bottom, paper.top)
    if high - low < LEAST or high - low > 0.98 * (top - bottom):
        return Caliper(start, stop)
    rows = paper.rows.tolist()
    # the strip whose base line is nearest; a box over R waves lies above its own
    row = min(range(len(rows)), key=lambda k: _away(rows[k], low, high))
    strip = _strip(paper, row, start, stop)
    lead = strip.lead if strip else ""
    return Caliper(start, stop, lead, row, (low - rows[row]) / paper.gain, (high - rows[row]) / paper.gain)


def _away(base: float, low: float, high: float) -> float:
    """Distance (mm) from a base line to the middle of a box; one that holds the base line is nearest."""
    return 0.0 if low <= base <= high else abs((low + high) / 2 - base)


def _strip(paper: Paper, row: int, start: float, stop: float) -> Strip | None:
    """The strip of a row that holds most of a stretch."""
    base = float(paper.rows[row])
    there = [s for s in paper.strips if s.base == base]
    return max(there, key=lambda s: min(stop, s.stop) - max(start, s.start), default=None)


def _heights(paper: Paper, caliper: Caliper) -> tuple[float, float] | None:
    """Heights (mm) of a caliper's lower and upper edge; None where its lead is not shown there."""
    if caliper.low is None or caliper.high is None:
        return None
    rows = paper.rows.tolist()
    there = [
        s.base
        for s in paper.strips
        if s.lead == caliper.lead and s.start < caliper.stop and s.stop > caliper.start
    ]
    if not there:
        return None
    base = min(there, key=lambda b: abs(rows.index(b) - caliper.row))
    return base + caliper.low * paper.gain, base + caliper.high * paper.gain


def _marches(paper: Paper, caliper: Caliper) -> list[float]:
    """Times at which calipers stand that march from one end of the paper to the other."""
    step = caliper.seconds
    if (paper.stop - paper.start) / step > MOST_STEPS:
        return []
    first = math.ceil((paper.start - caliper.start) / step - 1e-9)
    last = math.floor((paper.stop - caliper.start) / step + 1e-9)
    return [caliper.start + k * step for k in range(first, last + 1)]


def draw_caliper(figure: go.Figure, paper: Paper, caliper: Caliper, march: bool, look: Theme) -> None:
    """Draw a caliper, and what it reads, over a print."""
    if march:
        x: list[float | None] = []
        y: list[float | None] = []
        for time in _marches(paper, caliper):
            x += [time, time, None]
            y += [paper.bottom, paper.top, None]
        line = {"color": look.accent, "width": 1, "dash": "dot"}
        figure.add_trace(
            go.Scatter(x=x, y=y, mode="lines", name="march", line=line, opacity=0.6, hoverinfo="skip")
        )
    if caliper.stop < paper.start or caliper.start > paper.stop:
        return
    edges = _heights(paper, caliper)
    low, high = edges or (paper.bottom, paper.top)
    figure.add_shape(
        type="rect", x0=caliper.start, x1=caliper.stop, y0=low, y1=high,
        line={"color": look.accent, "width": 1.5}, fillcolor=_wash(look.accent),
    )  # fmt: skip
    note: dict[str, Any] = {
        "text": f"<b>{caliper.words(paper.unit)}</b>",
        "x": (max(caliper.start, paper.start) + min(caliper.stop, paper.stop)) / 2,
        "y": high if edges else 1,
        "yref": "y" if edges else "paper",  # of time alone, it stays in sight when zoomed in
        "yanchor": "bottom" if edges else "top",
        "showarrow": False,
        "font": {"size": 13, "color": look.accent},
        "bgcolor": look.paper,
    }
    figure.add_annotation(note)


def _wash(colour: str) -> str:
    """A "#rrggbb" that lets what lies behind it be seen."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"
