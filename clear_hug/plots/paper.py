"""An ECG as it is printed: true millimetres, 1 mm and 5 mm squares, a calibration pulse, lead names."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.ecg import ECG
from clear_hug.leads import LEADS, PAPER_3X4
from clear_hug.plots.calipers import Caliper, draw_caliper
from clear_hug.plots.theme import Theme, along, axis, figure, layout, reach, record_name, stack, theme, thin

SMALL, LARGE = 1, 5  # mm, the squares of ECG paper
PULSE_MV, PULSE_SECONDS = 1.0, 0.2
PULSE_EDGE = 2.0  # mm of base line on either side of the pulse
MARGIN = 4.0  # mm, left of the pulse
PAGE = 1180  # px, the width a wide page gives a print; sets the height alone, the aspect is locked
NAME = 5.0  # mm, the height of a lead's name
LETTER = 2.5  # mm, the width of a letter of a lead's name on a narrow page
HALF = 150.0  # mm; a shorter print stands beside another
NARROW, WIDE = 62, 130  # letters of a line under such a print, and under others
SD_A_MV = 4.0  # SD of a lead are drawn as high as 1 mV
NOMINAL = 15.0  # mm from trough to peak for the median lead of a record in arbitrary units

LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "3x4": PAPER_3X4,
    "6x2": tuple(zip(LEADS[:6], LEADS[6:], strict=True)),
    "12x1": tuple((lead,) for lead in LEADS),
}
"""name -> rows of lead names; the stretch shown is shared equally among the columns."""
NEGATED = "-aVR"
_FRONTAL = ("aVL", "I", NEGATED, "II", "aVF", "III")  # around the frontal plane, 30 degrees apart
CABRERA: dict[str, tuple[tuple[str, ...], ...]] = {
    "3x4": tuple(zip(_FRONTAL[:3], _FRONTAL[3:], LEADS[6:9], LEADS[9:], strict=True)),
    "6x2": tuple(zip(_FRONTAL, LEADS[6:], strict=True)),
    "12x1": tuple((lead,) for lead in (*_FRONTAL, *LEADS[6:])),
}
"""As `LAYOUTS`, the limb leads in Cabrera's order."""
STATES = {"recorded": "", "derived": " derived", "flat": " flat", "absent": " absent",
          "gap": " no signal"}  # beside the name  # fmt: skip
LEAST_SHOWN = 1.0  # s of each lead that a layout is to show
DISTANCE = {"3x4": 25.0, "6x2": 20.0, "12x1": 15.0}  # mm between base lines, at least


@dataclass(frozen=True, eq=False)
class Strip:
    """One lead's stretch of paper.

    lead, state : its name; "recorded", "derived", "flat" (it never moves), "absent", or "gap" (absent here)
    start, stop : s;  base : mm, its base line
    time : (sample,) s;  mm : (sample,) height on the paper;  mv : (sample,) in the record's own unit
    label_at : mm, where its name stands clear of the trace
    """

    lead: str
    state: str
    start: float
    stop: float
    base: float
    time: NDArray[np.float32]
    mm: NDArray[np.float32]
    mv: NDArray[np.float32]
    label_at: float


@dataclass(frozen=True, eq=False)
class Paper:
    """All strips of a print.

    rows : (row,) mm, base lines from the top;  top, bottom : mm, edges of the paper
    start, stop : s, of the traces;  left : s, where the calibration pulse begins
    gain : mm a mV (or a unit);  speed : mm/s;  unit : "mV", "arbitrary units" or "SD"
    """

    strips: tuple[Strip, ...]
    rows: NDArray[np.float64]
    top: float
    bottom: float
    start: float
    stop: float
    left: float
    gain: float
    speed: float
    unit: str = "mV"

    @property
    def until(self) -> float:
        """s, up to where there is a trace: a record may end before the paper."""
        last = max((float(strip.time[-1]) for strip in self.strips if strip.time.size), default=self.stop)
        return min(self.stop, last)


def ecg_data(
    ecg: ECG,
    start: float,
    seconds: float,
    layout: str,
    rhythm: str | None,
    speed: float,
    gain: float,
    letters: int = 0,
    cabrera: bool = False,
    at: float = 0.0,
    unit: str | None = None,
) -> Paper:
    """Lay the leads out on paper; nothing is drawn here.

    `letters` more are to stand beside the name of each lead; the rest as in `plot_ecg`.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout = {layout!r}; expected one of {', '.join(LAYOUTS)}.")
    named = dict(zip(LEADS, ecg.signal, strict=True)) | dict(ecg.extra)
    if rhythm is not None and rhythm not in named:
        raise ValueError(f"rhythm = {rhythm!r}; expected one of {', '.join(named)}, or None.")
    named[NEGATED] = -ecg.signal[LEADS.index(NEGATED[1:])]
    start = float(np.clip(start, min(at, 0.0), at + max(ecg.duration - 1 / ecg.fs, 0.0)))
    rows: list[tuple[str, ...]] = list((CABRERA if cabrera else LAYOUTS)[layout])
    if layout == "12x1":
        rows += [(lead,) for lead in ecg.extra]
    elif rhythm is not None:
        rows.append((rhythm,))

    if unit == "SD":
        scale = gain / SD_A_MV
    else:
        scale = gain if ecg.units_known else _nominal_gain(ecg.signal)
    pieces: list[list[tuple[str, float, float, Any, Any]]] = []
    low, high = [], []
    for row in rows:
        width = seconds / len(row)
        cells = []
        bounds = []
        for column, lead in enumerate(row):
            a, b = start + column * width, start + (column + 1) * width
            first = max(0, round((a - at) * ecg.fs))
            last = max(first, min(round((b - at) * ecg.fs) + 1, ecg.n_samples))
            values = named[lead][first:last]
            time, mv = thin(at + np.arange(first, last) / ecg.fs, values)
            base = np.nanmedian(mv) if np.isfinite(mv).any() else 0.0
            mm = ((mv - base) * scale).astype(np.float32)
            cells.append((lead, a, b, (time, mv), mm))
            bounds.append(reach(mm))
        pieces.append(cells)
        low.append(min(b[0] for b in bounds))
        high.append(max(b[1] for b in bounds))
    below, above = np.array(low), np.array(high)
    distance = max(DISTANCE[layout], PULSE_MV * gain + LARGE)
    # base lines lie on thick lines, where the eye can measure from
    bases = stack(below, above, gap=4, least=distance, most=3 * distance, step=LARGE)
    strips = []
    for cells, base_mm in zip(pieces, bases.tolist(), strict=True):
        for lead, a, b, (time, mv), mm in cells:
            state = _state(ecg, lead, named)
            own = mv[: max(1, mv.size - 1)]  # the last one begins the next lead
            if state != "absent" and not np.isfinite(own).any():
                state = "gap"
            width = 4 + LETTER * (len(lead + STATES[state]) + letters)
            near = mm[time <= a + width / speed]
            strips.append(
                Strip(
                    lead=lead,
                    state=state,
                    start=a,
                    stop=b,
                    base=base_mm,
                    time=time,
                    mm=mm + np.float32(base_mm),
                    mv=mv,
                    label_at=base_mm + max(3.0, min(reach(near)[1] + 1.0, 1.5 * distance)),
                )
            )
    room = 3 * distance / 2
    strips = [
        replace(
            strip, label_at=_clear(strip, strips, 4 + LETTER * (len(strip.lead) + letters), distance, speed)
        )
        for strip in strips
    ]
    return Paper(
        strips=tuple(strips),
        rows=bases,
        top=LARGE * math.ceil((min(max(float(above[0]), 10.0), room) + 7) / LARGE),
        bottom=float(bases[-1]) + LARGE * math.floor((max(min(float(below[-1]), -5.0), -room) - 2) / LARGE),
        start=start,
        stop=start + seconds,
        left=start - (PULSE_SECONDS * speed + 2 * PULSE_EDGE + SMALL) / speed,
        gain=scale,
        speed=speed,
        unit=unit or ("mV" if ecg.units_known else "arbitrary units"),
    )


def _clear(strip: Strip, strips: Sequence[Strip], wide: float, distance: float, speed: float) -> float:
    """mm, where the name of a lead is crossed by no trace, nearest to where its own leaves it; else there.

    wide : mm, of the name;  distance : mm between base lines
    """
    near = [s.mm[(s.time >= strip.start) & (s.time <= strip.start + wide / speed)] for s in strips]
    traces = np.concatenate(near)
    highest = max(strip.label_at, strip.base + 0.6 * distance)
    places = [strip.label_at, *np.arange(strip.base + 3, highest + 0.5)]
    free = [y for y in places if not ((traces > y - 0.5) & (traces < y + NAME)).any()]
    return float(min(free, key=lambda y: abs(y - strip.label_at), default=strip.label_at))


def _state(ecg: ECG, lead: str, named: Mapping[str, Any]) -> str:
    lead = lead.removeprefix("-")
    if not np.isfinite(named[lead]).any():
        return "absent"
    if lead in LEADS and ecg.flat[LEADS.index(lead)]:
        return "flat"
    return "derived" if lead in ecg.derived else "recorded"


def _nominal_gain(signal: NDArray[np.float32]) -> float:
    """Gain, in mm a unit, that makes the median lead `NOMINAL` mm tall: legible shape, no voltage."""
    some = signal[:, :: max(1, signal.shape[1] // 20_000)]  # enough to know how tall the beats are
    rows = [row[np.isfinite(row)] for row in some]
    tall = [float(np.ptp(np.percentile(row, [0.2, 99.8]))) for row in rows if row.size]
    tall = [t for t in tall if t > 0]
    return NOMINAL / float(np.median(tall)) if tall else 1.0


def roomy_layout(ecg: ECG, seconds: float = 10.0) -> str:
    """The first of `LAYOUTS` in which a record, though shorter than the stretch, shows every lead."""
    return next(
        (
            name
            for name, rows in LAYOUTS.items()
            if seconds * (1 - 1 / len(rows[0])) + LEAST_SHOWN <= ecg.duration
        ),
        list(LAYOUTS)[-1],
    )


def rhythm_lead(there: NDArray[np.bool_]) -> str:
    """The lead of the strip below: II, else V1, else the first of the leads (12,) that are there."""
    return next((lead for lead in ("II", "V1", *LEADS) if there[LEADS.index(lead)]), "II")


def plot_ecg(
    ecg: ECG,
    start: float = 0.0,
    seconds: float = 10.0,
    layout: str = "3x4",
    rhythm: str | None = "II",
    speed: float = 25,
    gain: float = 10,
    marks: Sequence[float] | NDArray[np.floating] | None = None,
    dark: bool = False,
    cabrera: bool = False,
    at: float = 0.0,
    unit: str | None = None,
    name: str = "",
    foot: str = "",
    caliper: Caliper | None = None,
    march: bool = False,
) -> go.Figure:
    """The ECG on paper.

    Parameters
    ----------
    ecg : ECG
    start, seconds : stretch shown, s
    layout : a key of `LAYOUTS`; "12x1" also shows the leads beyond the twelve
    rhythm : lead of the strip below ("3x4", "6x2"), or None
    speed : mm/s;  gain : mm/mV (a record in arbitrary units is scaled to be legible instead)
    marks : R peaks, s
    dark : theme
    cabrera : the limb leads in Cabrera's order, from aVL to III by 30 degrees
    at : s at which the first sample of `ecg` lies
    unit : of the signal, where it is neither mV nor unknown: "SD"
    name, foot : what of the record is shown: beside its name, and in the line under the trace
    caliper : to draw, if any;  march : along the whole strip, at its interval
    """
    look = theme(dark)
    paper = ecg_data(ecg, start, seconds, layout, rhythm, speed, gain, cabrera=cabrera, at=at, unit=unit)
    return draw_paper(paper, ecg, look, marks, name, foot, caliper, march)


def draw_paper(
    paper: Paper,
    ecg: ECG,
    look: Theme,
    marks: Sequence[float] | NDArray[np.floating] | None = None,
    name: str = "",
    foot: str = "",
    caliper: Caliper | None = None,
    march: bool = False,
) -> go.Figure:
    """A print that is laid out already; the rest as in `plot_ecg`."""
    title = record_name(ecg) + (f" · {name}" if name else "")
    drawn = figure(
        paper_traces(paper, look, marks, ecg.units_known),
        paper_layout(paper, ecg, look, title, foot=foot),
    )
    if caliper is not None:
        draw_caliper(drawn, paper, caliper, march, look)
    return drawn


def paper_traces(
    paper: Paper,
    look: Theme,
    marks: Sequence[float] | NDArray[np.floating] | None,
    units_known: bool,
    colours: Mapping[str, str] | None = None,
    suffix: Mapping[str, str] | None = None,
    faint: bool = False,
) -> list[Any]:
    """The traces of a print; where they are `faint`, `colours` are of the leads' names alone."""
    width = 1.0 if faint else 1.8 if colours else 1.3
    unit = {"arbitrary units": "(arbitrary unit)"}.get(paper.unit, paper.unit)
    traces: list[Any] = []
    for strip in paper.strips:
        if strip.state == "absent":
            continue
        state = STATES[strip.state]
        colour = look.muted if faint else (colours or {}).get(strip.lead, look.ink)
        traces.append(
            go.Scatter(
                **along(strip.time),
                y=strip.mm,
                customdata=strip.mv,
                mode="lines",
                name=strip.lead,
                line={"color": colour, "width": width},
                hovertemplate=f"<b>{strip.lead}</b>{state}  %{{x:.3f}} s  "
                f"%{{customdata:.3f}} {unit}<extra></extra>",
            )
        )
    traces += paper_frame(paper, look, units_known)
    traces.append(paper_labels(paper, look, colours or {}, suffix or {}))
    if marks is not None:
        traces.append(_marks(paper, look, np.asarray(marks, dtype=np.float64)))
    return traces


def paper_frame(paper: Paper, look: Theme, units_known: bool) -> list[Any]:
    """Calibration pulses, and the ticks that part two leads of a row."""
    x: list[float | None] = []
    y: list[float | None] = []
    if units_known:
        left, edge, wide = paper.left, PULSE_EDGE / paper.speed, PULSE_SECONDS
        for base in paper.rows.tolist():
            up = base + PULSE_MV * paper.gain
            x += [left, left + edge, left + edge, left + edge + wide, left + edge + wide,
                  left + 2 * edge + wide, None]  # fmt: skip
            y += [base, base, up, up, base, base, None]
    cut_x: list[float | None] = []
    cut_y: list[float | None] = []
    for strip in paper.strips:
        if strip.start > paper.start:
            cut_x += [strip.start, strip.start, None]
            cut_y += [strip.base - 2, strip.base + 2, None]
    ink, faint = {"color": look.ink, "width": 1.3}, {"color": look.muted, "width": 1}
    return [
        go.Scatter(x=x, y=y, mode="lines", name="calibration", line=ink, hoverinfo="skip"),
        go.Scatter(x=cut_x, y=cut_y, mode="lines", name="next lead", line=faint, hoverinfo="skip"),
    ]


def paper_labels(paper: Paper, look: Theme, colours: Mapping[str, str], suffix: Mapping[str, str]) -> Any:
    """The names of the leads, each with its state and its `suffix`."""
    text, colour = [], []
    for strip in paper.strips:
        extra = STATES[strip.state]
        extra += f" {suffix[strip.lead]}" if strip.lead in suffix and strip.state != "absent" else ""
        text.append(f"<b>{strip.lead}</b>{extra}")
        absent = strip.state == "absent"
        colour.append(look.muted if absent else colours.get(strip.lead, look.ink))
    return go.Scatter(
        x=[strip.start + 1 / paper.speed for strip in paper.strips],
        y=[strip.label_at for strip in paper.strips],
        mode="text",
        name="leads",
        text=text,
        textposition="top right",
        textfont={"size": 14, "color": colour},
        hoverinfo="skip",
        cliponaxis=False,
    )


def _marks(paper: Paper, look: Theme, marks: NDArray[np.float64]) -> Any:
    """R peaks above the last row that runs the whole width, else above the first."""
    whole = [s for s in paper.strips if s.start == paper.start and s.stop == paper.stop]
    seen = marks[(marks >= paper.start) & (marks <= paper.stop)]
    if whole and len(whole) < len(paper.strips):
        strip = whole[-1]
        height = [_above(strip, t) for t in seen]
    else:
        height = [paper.top - 2.0] * seen.size
    return go.Scatter(
        x=seen,
        y=height,
        mode="markers",
        name="R peaks",
        marker={"symbol": "triangle-down", "size": 9, "color": look.accent},
        hovertemplate="R peak %{x:.3f} s<extra></extra>",
    )


def _above(strip: Strip, time: float) -> float:
    near = strip.mm[np.abs(strip.time - time) < 0.1]
    top = float(np.nanmax(near)) if np.isfinite(near).any() else strip.base
    return min(top, strip.base + 40) + 2.5


def paper_layout(
    paper: Paper, ecg: ECG, look: Theme, title: str = "", words: str = "", foot: str = ""
) -> dict[str, Any]:
    """The paper; where there is a `foot`, it stands under the trace behind speed and gain."""
    scale = [f"{paper.speed:g} mm/s"]
    if paper.unit != "arbitrary units":
        scale.append(f"{paper.gain:.3g} mm/{paper.unit}")
    parts = [*([] if foot else scale), f"{paper.start:.1f} to {paper.until:.1f} s"]
    if not ecg.units_known:
        unit = "arbitrary units" if paper.unit == "arbitrary units" else f"in {paper.unit} of each lead"
        parts.append(f"<b><span style='color:{look.accent}'>{unit}: voltage cannot be read</span></b>")
    left, right = paper.left - MARGIN / paper.speed, paper.stop + PULSE_EDGE / paper.speed
    tall = paper.top - paper.bottom
    # as large as the page is wide, but a short stretch not so large that it leaves the screen
    px = min(PAGE / (paper.speed * (right - left)), max(4.5, 700 / tall))
    # a print that is long or fast shrinks; then the 1 mm lines would only be a haze
    fine = {"showgrid": px > 2.8, "gridcolor": look.minor, "gridwidth": 1}
    x = axis(
        look,
        "time (s)",
        range=[left, right],
        tick0=0,
        dtick=LARGE / paper.speed,
        ticklabelstep=max(1, round(paper.speed / LARGE)),
        gridcolor=look.major,
        gridwidth=1,
        minor={"tick0": 0, "dtick": SMALL / paper.speed, **fine},
        constrain="domain",
        ticks="",
        tickformat=".6~g",
    )
    y = axis(
        look,
        paper.unit if paper.unit == "arbitrary units" else f"{paper.gain:.3g} mm = 1 {paper.unit}",
        range=[paper.bottom, paper.top],
        tick0=0,
        dtick=LARGE,
        showticklabels=False,
        gridcolor=look.major,
        gridwidth=1,
        minor={"tick0": 0, "dtick": SMALL, **fine},
        scaleanchor="x",
        scaleratio=1 / paper.speed,  # 1 mm up is as long as 1 mm along
        constrain="domain",
        constraintoward="top",
    )
    title = title or record_name(ecg)
    subtitle = " · ".join([*parts, words] if words else parts)
    letters = NARROW if (paper.stop - paper.start) * paper.speed < HALF else WIDE
    under = textwrap.wrap(" · ".join([*scale, foot]), letters) if foot else []
    below = 48 + 18 * len(under)  # px
    x["title"]["text"] = "<br>".join(["time (s)", *under])
    return layout(
        look,
        title,
        subtitle,
        height=round(tall * px) + 66 + below,
        margin={"l": 40, "r": 12, "t": 66, "b": below},
        plot_bgcolor=look.paper,
        xaxis=x,
        yaxis=y,
    )
