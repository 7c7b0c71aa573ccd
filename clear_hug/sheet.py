"""What is on screen as a page of A4, for people: the ECG in true millimetres and the sum below it (PDF, PNG).

It is for research only, names its model and method, and no record unless asked (`export`). The same input
gives the same bytes. All lengths are mm from the top left corner of the sheet.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import Diagnosis
from clear_hug.ecg import ECG, WINDOW_SECONDS
from clear_hug.explain import Attribution
from clear_hug.export import APP, Bools, adds_up, are_shares, check, left_out, version
from clear_hug.leads import GROUP_OF, GROUPS, LEADS
from clear_hug.plots.diagnosis import TOO_RARE
from clear_hug.plots.painted import LOUD, SMOOTH
from clear_hug.plots.paper import (
    LARGE,
    MARGIN,
    PULSE_EDGE,
    PULSE_MV,
    PULSE_SECONDS,
    SMALL,
    STATES,
    Paper,
    Strip,
    ecg_data,
    rhythm_lead,
    roomy_layout,
)
from clear_hug.plots.theme import LIGHT, colours_at, ink_on, largest, signed, signed_places
from clear_hug.removal import SEGMENTS, segments_of
from clear_hug.words import NOTICE, missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.text import Text

SHOWN = 1e-5  # of a logit; a residual below it is rounding
WIDE, TALL = 297.0, 210.0  # A4, landscape
SPEED = 25.0  # mm/s
GAINS = (10.0, 5.0)  # mm/mV: the second where the first does not fit
HEAD, FOOT, ROOM = 20.0, 13.0, 125.0  # above the paper; below all; for the paper
NEAREST, CROSSED = 15.0, 0.7  # between two base lines: mm, and as a share of what keeps traces apart
SIDE = 90.0  # of the column of words
MOST_BARS = 40  # more beats than that: those of the stretch, and the others as one
WRITTEN = 24  # bars, or columns of squares, up to which each number is written
FONT = "DejaVu Sans"  # comes with matplotlib, so that a page is the same on every machine
SHADES = 24  # on either side of 0, of a trace painted by sample
TRUST = {"supported": LIGHT.called, "weak": LIGHT.muted, "contradicted": LIGHT.accent}
POINT = 25.4 / 72  # mm

Floats = NDArray[np.float64]


def pdf_of(page: Figure) -> bytes:
    """The page of `explanation_page` as PDF."""
    about = {"Title": "ECG explanation", "Subject": NOTICE, "Creator": f"{APP} {version()}"}
    return _printed(page, "pdf", metadata={**about, "CreationDate": None})


def png_of(page: Figure, dpi: int = 150) -> bytes:
    """The page of `explanation_page` as a picture of `dpi` pixels an inch."""
    about = {"Title": "ECG explanation", "Description": NOTICE, "Software": None}
    return _printed(page, "png", metadata=about, dpi=dpi)


def _printed(page: Figure, form: str, **how: Any) -> bytes:
    out = io.BytesIO()
    page.savefig(out, format=form, facecolor=LIGHT.page, **how)
    return out.getvalue()


def explanation_page(
    checkpoint: Checkpoint,
    ecg: ECG,
    tokens: BeatTokens,
    diagnosis: Diagnosis,
    why: Attribution,
    hidden: Bools | None = None,
    proof: Mapping[str, Any] | None = None,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    date: str = "",
    detector: str = "",
    with_record_id: bool = False,
    care: Sequence[str] = (),
) -> Figure:
    """A page of A4: the ECG in true millimetres, painted by what each part adds, and the sum below it.

    Parameters
    ----------
    checkpoint, ecg, tokens, diagnosis, why : of one record and one model
    hidden : (12, beat) bool, the tokens that were left out
    proof : "word" (supported, weak, contradicted) and "reasons" (sentences) of how far to believe it
    start, seconds : stretch shown, s; None = up to the 10 s that fill a page
    date : to be printed, as it is
    detector : that found the beats
    with_record_id : print the record's name, which may be a patient's
    care : sentences on what is unusual about the record, to be read before a number

    """
    from matplotlib.figure import Figure

    hidden = check(checkpoint, tokens, [why], hidden, ecg, diagnosis)
    if not 0 <= start < ecg.duration:
        raise ValueError(f"start = {start:g} s; the record has 0 to {ecg.duration:g} s.")
    seconds = min(WINDOW_SECONDS, ecg.duration - start) if seconds is None else seconds
    if not 0 < seconds <= WINDOW_SECONDS:
        raise ValueError(f"seconds = {seconds:g}; a page shows up to {WINDOW_SECONDS:g} s at {SPEED:g} mm/s.")
    if proof is not None and not proof.get("word"):
        raise ValueError("the proof holds no 'word'; expected supported, weak or contradicted.")

    page = Figure(figsize=(WIDE / 25.4, TALL / 25.4))
    paper = _paper(ecg, start, seconds)
    full = (-paper.left + paper.start + WINDOW_SECONDS) * SPEED + MARGIN + PULSE_EDGE
    left = (WIDE - full) / 2
    _head(page, left, full, checkpoint, diagnosis, why, ecg)
    height = paper.top - paper.bottom
    colours = _Colours(why, tokens, hidden)
    _draw_paper(page, left, HEAD, paper, ecg, colours)
    _draw_under(page, left, full, HEAD + height, paper, ecg, tokens, colours)
    top = HEAD + height + 13
    _draw_worth(page, left, top, full - SIDE - 10, TALL - FOOT - top, why, tokens, paper)
    _words(page, left + full - SIDE, top, TALL - FOOT - top, proof, why, tokens, hidden, care)
    about = [
        f"model {checkpoint.name}, {checkpoint.digest[:12]}",
        f"method {_method(why)}",
        f"record {ecg.record_id or 'without a name' if with_record_id else ecg.digest[:12]}",
        f"beats by {detector}" if detector else "",
        f"{APP} {version()}",
        date,
    ]
    _say(page, left, TALL - 9.2, NOTICE, 8, weight="bold")
    line = _say(page, left, TALL - 5.2, " · ".join(part for part in about if part), 7, color=LIGHT.muted)
    _shrink(line, full)
    return page


def _label(target: str) -> str:
    return target.split("/", 1)[-1]


def _method(why: Attribution) -> str:
    return f"{why.method.replace('_', ' ')}, by {why.level}"


def _head(
    page: Figure,
    left: float,
    wide: float,
    checkpoint: Checkpoint,
    diagnosis: Diagnosis,
    why: Attribution,
    ecg: ECG,
) -> None:
    words = [checkpoint.description[target] for target in (why.target, why.against) if target]
    rows = [checkpoint.row(target) for target in (why.target, why.against) if target]
    title = " rather than ".join(words)
    chances = " and ".join(_percent(diagnosis.probabilities[row]) for row in rows)
    kind = "difference of logits" if why.against else "logit"
    heading = _say(page, left, 10.5, title[:1].upper() + title[1:], 16, weight="bold")
    _shrink(heading, wide)
    right = _say(page, left + wide, 16.2, f"probability {chances} · {kind} {signed(why.logit)}", 10,
                 weight="bold", ha="right")  # fmt: skip
    calls = [
        f"{_label(checkpoint.targets[row])} "
        + (
            TOO_RARE
            if diagnosis.rare[row]
            else f"{'called' if diagnosis.called[row] else 'not called'} "
            f"(from {_percent(diagnosis.thresholds[row])})"
        )
        for row in rows
    ]
    parts = [" against ".join(target for target in (why.target, why.against) if target), *calls]
    if ecg.simulated:
        parts.append("a simulated ECG")
    below = _say(page, left, 16.2, " · ".join(parts), 8, color=LIGHT.muted)
    _shrink(below, wide - _width(right) - 6)


def _percent(share: float) -> str:
    return "below 0.1%" if share < 0.001 else "above 99.9%" if share > 0.999 else f"{share:.1%}"


# The trace


def _paper(ecg: ECG, start: float, seconds: float) -> Paper:
    """The print at the largest gain at which it fits the page."""
    stretch = slice(round(start * ecg.fs), round((start + seconds) * ecg.fs) + 1)
    there: Bools = np.any(np.isfinite(ecg.signal[:, stretch]), axis=1)
    rhythm = rhythm_lead(there)
    layout = roomy_layout(ecg, seconds) if ecg.duration < seconds else "3x4"
    for gain in GAINS:
        paper = ecg_data(ecg, start, seconds, layout, rhythm, SPEED, gain, letters=8)
        fitted = _nearer(paper)
        apart = float((np.diff(fitted.rows) / np.diff(paper.rows)).min())
        if not ecg.units_known:
            return _nearer(paper, apart)  # no height means anything here
        if apart >= CROSSED:
            break
    return fitted


def _nearer(paper: Paper, size: float = 1.0) -> Paper:
    """The rows set nearer to one another until the paper fits; traces may cross, as on a printer's.

    size : of the traces, as a share of what it was
    """
    pitch = -np.diff(paper.rows)
    edges = [min(paper.top, 3 * LARGE * 2), min(paper.rows[-1] - paper.bottom, 2 * LARGE * 2)]
    nearest = min(NEAREST, (ROOM - sum(edges)) / max(1, len(pitch)))  # twelve rows stand nearer
    while sum(edges) + pitch.sum() > ROOM and pitch.max() > nearest:
        pitch[pitch.argmax()] -= min(LARGE, pitch.max() - nearest)
    rows = np.concatenate([[0.0], -np.cumsum(pitch)])
    moved = dict(zip(paper.rows.tolist(), (rows - paper.rows).tolist(), strict=True))
    strips = []
    for strip in paper.strips:
        base = strip.base + moved[strip.base]
        mm = (strip.mm - np.float32(strip.base)) * np.float32(size) + np.float32(base)
        above = min((strip.label_at - strip.base) * size, edges[0] - 4)
        strips.append(replace(strip, base=base, mm=mm, label_at=base + max(above, 3.0)))
    return replace(paper, strips=tuple(strips), rows=rows, top=edges[0], bottom=float(rows[-1]) - edges[1])


class _Colours:
    """What each sample, lead and beat is worth, and the colour of that."""

    def __init__(self, why: Attribution, tokens: BeatTokens, hidden: Bools) -> None:
        self.why, self.tokens, self.hidden = why, tokens, hidden & tokens.valid
        self.gone = tokens.present & (self.hidden == tokens.valid).all(axis=1)  # leads left out by choice
        self.painted = why.level not in ("pair", "level") and not are_shares(why)
        self.clipped = why.level == "sample"  # a few loud samples do not dim the rest, as on screen
        self.values = why.values
        self.end = largest(why.values)
        if self.clipped:
            self.values = gaussian_filter1d(np.nan_to_num(why.values), SMOOTH, axis=1)
            heard = np.abs(self.values[np.isfinite(why.values)])
            self.end = (float(np.percentile(heard, LOUD)) if heard.size else 0.0) or largest(self.values)
            self.values = np.rint(self.values / self.end * SHADES) * self.end / SHADES
        self.segments = segments_of(tokens) if why.level == "segment" else None
        self.scale = _scale()
        sums = np.abs([self.lead(row) for row in range(len(LEADS))])
        self.lead_end = largest(sums)

    def of(self, value: float, end: float | None = None) -> Any:
        """The colour of a value on the scale that ends at `end`; grey where there is none."""
        if not self.painted or not np.isfinite(value):
            return LIGHT.muted
        return self.scale(np.clip(0.5 + 0.5 * value / (end or self.end), 0, 1))

    def along(self, lead: int, time: NDArray[np.float32]) -> Floats:
        """(sample,) of a lead at times (s); NaN where nothing is told of it."""
        values, level, nothing = self.values, self.why.level, np.full(time.shape, np.nan)
        windows = self.tokens.windows
        beat = np.clip(np.searchsorted(windows[:, 0], time, side="right") - 1, 0, len(windows) - 1)
        within = (time >= windows[beat, 0]) & (time < windows[beat, 1])
        if not self.painted:
            return nothing
        if level == "sample":
            worth = values[lead, np.clip(np.rint(time * TOKEN_FS).astype(int), 0, values.shape[1] - 1)]
        elif level in ("beat", "token"):
            row = values if level == "beat" else values[lead]
            worth = np.where(within, row[beat], np.nan)
        elif self.segments is not None:
            at = np.rint((time - self.tokens.r_peaks[beat]) * TOKEN_FS).astype(int) + TOKEN_SAMPLES // 2
            here = self.segments[:, beat, np.clip(at, 0, TOKEN_SAMPLES - 1)]
            worth = np.where(within & here.any(axis=0), values[lead, here.argmax(axis=0)], np.nan)
        else:
            worth = np.full(time.shape, values[lead] if level == "lead" else values[GROUP_OF[lead]])
        return np.where(within & self.hidden[lead, beat], np.nan, worth)

    def lead(self, lead: int) -> float:
        """What a lead adds; NaN where that is not told."""
        if not self.painted or self.why.level not in ("lead", "token", "sample"):
            return float("nan")
        row = self.why.values[lead]
        if self.why.level == "lead":
            return float(row)
        return float(np.nansum(row)) if adds_up(self.why) and np.isfinite(row).any() else float("nan")


def _scale() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", list(LIGHT.diverging))


def _draw_paper(page: Figure, left: float, top: float, paper: Paper, ecg: ECG, colours: _Colours) -> None:
    from matplotlib.collections import LineCollection

    x0, x1 = paper.left * SPEED - MARGIN, paper.stop * SPEED + PULSE_EDGE
    axes = _axes(page, left, top, x1 - x0, paper.top - paper.bottom)
    axes.set(xlim=(x0, x1), ylim=(paper.bottom, paper.top), facecolor=LIGHT.paper)
    for step, colour, width in ((SMALL, LIGHT.minor, 0.35), (LARGE, LIGHT.major, 0.55)):
        upright = np.arange(np.ceil(x0 / step), x1 / step) * step
        lines = [[(x, paper.bottom), (x, paper.top)] for x in upright]
        if ecg.units_known:  # no squares to count where they would mean no voltage
            lines += [[(x0, y), (x1, y)] for y in np.arange(paper.bottom, paper.top + step / 2, step)]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=0), autolim=False)

    if ecg.units_known:
        edge, wide, high = PULSE_EDGE, PULSE_SECONDS * SPEED, PULSE_MV * paper.gain
        x = paper.left * SPEED + np.cumsum([0, edge, 0, wide, 0, edge])
        for base in paper.rows:
            axes.plot(x, base + np.array([0, 0, high, high, 0, 0]), color=LIGHT.ink, linewidth=0.9)
    for strip in paper.strips:
        row = LEADS.index(strip.lead)
        if strip.start > paper.start:
            cut = strip.start * SPEED
            axes.plot([cut, cut], [strip.base - 2, strip.base + 2], color=LIGHT.muted, linewidth=0.8)
        _draw_trace(axes, strip, colours.along(row, strip.time), colours)
        worth = colours.lead(row)
        state = STATES[strip.state]
        if not state and colours.gone[row]:
            state = " left out"
        number = (
            f"  {signed(worth, colours.lead_end)}" if np.isfinite(worth) and "absent" not in state else ""
        )
        known = LIGHT.muted if colours.gone[row] or "absent" in state else LIGHT.ink
        axes.text(
            strip.start * SPEED + 1,
            strip.label_at,
            f"{strip.lead}{state}{number}",
            fontsize=8,
            weight="bold",
            family=FONT,
            color=colours.of(worth, colours.lead_end) if number else known,
            parse_math=False,
            zorder=4,
        )


def _draw_trace(axes: Axes, strip: Strip, worth: Floats, colours: _Colours) -> None:
    """The trace in pieces of one colour each; a piece ends where a sample is absent."""
    from matplotlib.collections import LineCollection

    there = np.isfinite(strip.mm)
    points = np.column_stack([strip.time * np.float32(SPEED), strip.mm]).astype(np.float64)
    same = (worth[1:] == worth[:-1]) | (np.isnan(worth[1:]) & np.isnan(worth[:-1]))
    ends = np.flatnonzero(~same | (there[1:] != there[:-1])) + 1
    plain = LIGHT.ink if not colours.painted else LIGHT.hatch
    pieces, paint, width = [], [], []
    for a, b in zip([0, *ends.tolist()], [*ends.tolist(), there.size], strict=True):
        if b > a and there[a]:
            told = np.isfinite(worth[a])
            last = b + 1 if b < there.size and there[b] else b  # pieces meet
            pieces.append(points[a:last])
            paint.append(colours.of(worth[a]) if told else plain)
            width.append(1.1 if told or not colours.painted else 0.8)
    axes.add_collection(
        LineCollection(pieces, colors=paint, linewidths=width, capstyle="round", joinstyle="round", zorder=3),
        autolim=False,
    )


def _draw_under(
    page: Figure,
    left: float,
    full: float,
    y: float,
    paper: Paper,
    ecg: ECG,
    tokens: BeatTokens,
    colours: _Colours,
) -> None:
    """Beats and seconds below the paper, its scale, and the colours'."""

    def x(time: float) -> float:
        return left + (time - paper.left) * SPEED + MARGIN

    _say(page, left, y + 3.1, "beat", 6, color=LIGHT.muted)
    _say(page, left, y + 6.1, "second", 6, color=LIGHT.muted)
    for k in np.flatnonzero((tokens.r_peaks >= paper.start) & (tokens.r_peaks <= paper.stop)).tolist():
        by_beat = colours.painted and colours.why.level == "beat"
        colour = colours.of(float(colours.why.values[k])) if by_beat else LIGHT.ink
        _say(page, x(tokens.r_peaks[k]), y + 3.1, str(k + 1), 6.5, weight="bold", ha="center", color=colour)
    for second in range(int(np.ceil(paper.start)), int(paper.stop + 1e-6) + 1):
        _say(page, x(second), y + 6.1, str(second), 6, ha="center", color=LIGHT.muted)

    scale = [f"{SPEED:g} mm/s", f"{paper.start:.1f} to {paper.until:.1f} s"]
    if ecg.units_known:
        scale.insert(1, f"{paper.gain:g} mm/mV" + (", half the usual" if paper.gain < GAINS[0] else ""))
    if ecg.duration > paper.stop - paper.start + 0.5:
        scale[-1] += f" of {ecg.duration:.1f} s, and the figures are of the whole record"
    at = y + 10.3
    said = _say(page, left, at, " · ".join(scale), 7.5)
    if not ecg.units_known:
        _say(page, left + _width(said) + 3, at, "arbitrary units: no voltage can be read", 7.5,
             weight="bold", color=LIGHT.accent)  # fmt: skip
    if not colours.painted:
        what = (
            "attention is no contribution" if are_shares(colours.why) else "these parts have no place on it"
        )
        _say(page, left + full, at, f"the trace is not painted: {what}", 7.5, ha="right", color=LIGHT.muted)
        return
    label, end = _label(colours.why.target), colours.end
    over, under = ("≥ ", "≤ ") if colours.clipped else ("", "")
    right = _say(page, left + full, at, f"{over}{signed(end)} supports {label}", 7.5, ha="right",
                 color=LIGHT.supports)  # fmt: skip
    bar = left + full - _width(right) - 35
    strip = _axes(page, bar, at - 2.3, 32, 2.6)
    strip.imshow(np.linspace(0, 1, 256)[None], cmap=colours.scale, aspect="auto", interpolation="nearest")
    _say(page, bar - 2, at, f"opposes {label} {under}{signed(-end)}", 7.5, ha="right", color=LIGHT.opposes)


# The sum


@dataclass(frozen=True, eq=False)
class _Worth:
    """Bars, (bar,) each: name, value (NaN: nothing there), words for it, error (0: none), where it begins."""

    names: tuple[str, ...]
    values: Floats
    words: tuple[str, ...]
    error: Floats
    before: Floats


def _worth_data(why: Attribution, tokens: BeatTokens, start: float, stop: float) -> _Worth:
    """One bar a part; where they add up, each begins where the last ended, and all lead to the logit."""
    values, names = why.values, [name.removeprefix("beat ") for name in why.names]
    error = np.zeros(len(names)) if why.error is None or values.ndim == 2 else np.nan_to_num(why.error)
    if values.ndim == 2:  # what a lead's parts add together
        values = np.where(np.isfinite(values).any(axis=1), np.nansum(values, axis=1), np.nan)
    has = _has(why, tokens)
    words = [
        signed(value, largest(values)) if np.isfinite(value) else "left out" if there else "absent"
        for value, there in zip(values.tolist(), has, strict=True)
    ]
    shown, rest = np.ones(len(values), dtype=bool), []
    if why.level == "beat" and len(values) > MOST_BARS:
        shown = (tokens.r_peaks >= start) & (tokens.r_peaks <= stop)
        rest.append((f"{int((~shown).sum())} others", float(np.nansum(values[~shown]))))
    if abs(why.residual) > SHOWN:
        rest.append(("left over", why.residual))
    names, words = (
        [text for text, here in zip(texts, shown, strict=True) if here] for texts in (names, words)
    )
    values, error = values[shown], error[shown]
    if not adds_up(why):
        return _Worth(tuple(names), values, tuple(words), error, np.zeros(len(values)))
    names += [name for name, _ in rest]
    words += [signed(value, largest(values)) for _, value in rest]
    values = np.append(values, [value for _, value in rest])
    steps = np.nan_to_num(values)
    before = why.bias + np.cumsum(steps) - steps
    return _Worth(tuple(names), values, tuple(words), np.append(error, np.zeros(len(rest))), before)


def _has(why: Attribution, tokens: BeatTokens) -> Bools:
    """(part,) the record has the part; without a value it was left out by choice."""
    if why.level == "beat":
        beats: Bools = np.any(tokens.valid, axis=0)
        return beats
    if why.level == "group":
        return np.array([tokens.present[list(rows)].any() for rows in GROUPS.values()])
    return tokens.present if len(why.names) == len(LEADS) else np.ones(len(why.names), dtype=bool)


def _draw_worth(
    page: Figure,
    left: float,
    top: float,
    wide: float,
    tall: float,
    why: Attribution,
    tokens: BeatTokens,
    paper: Paper,
) -> None:
    if are_shares(why):
        title = "Where each lead looked, of its own beats (no measure of what mattered, and no sum)"
    elif adds_up(why):
        total = float(np.nansum(why.values))
        title = f"bias {signed(why.bias)}  and parts {signed(total)}  make the logit {signed(why.logit)}"
    else:
        gone = "blanked" if why.level == "segment" else "left out"
        title = f"How far the logit falls when a {why.level} alone is {gone} (need not add up)"
    _shrink(_say(page, left, top + 3.2, title, 8.5, weight="bold"), wide)
    axes = _axes(page, left + 9, top + 5.5, wide - 9, tall - 5.5 - 7)
    if why.values.ndim == 2 and (why.level == "segment" or not adds_up(why)):
        _draw_map(axes, why, tokens, paper)
    else:
        _draw_bars(axes, _worth_data(why, tokens, paper.start, paper.stop), why)


def _draw_bars(axes: Axes, data: _Worth, why: Attribution) -> None:
    from matplotlib.ticker import MaxNLocator

    n, sum_up = len(data.values), adds_up(why)
    values, at = np.nan_to_num(data.values), np.arange(len(data.values)) + sum_up
    after = data.before + values
    low, high = np.minimum(data.before, after) - data.error, np.maximum(data.before, after) + data.error
    ends = [why.bias, why.logit] if sum_up else [0.0]
    bottom, top = min([*ends, *low]), max([*ends, *high])
    pad = 0.16 * ((top - bottom) or 1.0)
    axes.set(xlim=(-0.6, n + 2 * sum_up - 0.4), ylim=(bottom - pad, top + pad))
    colours = [LIGHT.supports if value >= 0 else LIGHT.opposes for value in values]
    axes.bar(at, values, bottom=data.before, width=0.72, color=colours, linewidth=0, zorder=2)
    drawn = data.error > 0
    if drawn.any():
        axes.errorbar(
            at[drawn],
            after[drawn],
            data.error[drawn],
            fmt="none",
            ecolor=LIGHT.ink,
            elinewidth=0.7,
            capsize=1.5,
            capthick=0.7,
            zorder=3,
        )
    if bottom - pad < 0 < top + pad:
        axes.axhline(0, color=LIGHT.muted, linewidth=0.6, zorder=1)
    names, size = list(data.names), 6.5 if n <= 16 else 5.5
    if sum_up:  # the ends are levels, no bars: the axis need not begin at 0
        for x, level, name in ((0, why.bias, "bias"), (n + 1, why.logit, "logit")):
            axes.plot([x - 0.36, x + 0.36], [level, level], color=LIGHT.ink, linewidth=2, zorder=2)
            _beside(axes, x, level, signed(level), size, up=True, weight="bold")
            names.insert(x, name)
        for x, level in enumerate([why.bias, *after.tolist()]):
            axes.plot([x + 0.36, x + 0.64], [level, level], color=LIGHT.muted, linewidth=0.6, zorder=1)
    if n <= WRITTEN:
        edges = np.where(values >= 0, high, low).tolist()
        for place, edge, value, text in zip(at.tolist(), edges, values.tolist(), data.words, strict=True):
            _beside(axes, place, edge, text, size, up=value >= 0)
    _ticks(axes, names, "beat" if why.level == "beat" else "")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0, labelsize=6, labelcolor=LIGHT.muted, labelfontfamily=FONT)
    axes.grid(axis="y", color=LIGHT.line, linewidth=0.4, zorder=0)
    axes.set_axisbelow(True)


def _beside(axes: Axes, x: float, y: float, text: str, size: float, up: bool, weight: str = "normal") -> None:
    """A number above or below a bar, on white where a line would strike it through."""
    axes.annotate(
        text,
        (x, y),
        (0, 2 if up else -2),
        textcoords="offset points",
        ha="center",
        va="bottom" if up else "top",
        fontsize=size,
        family=FONT,
        weight=weight,
        color=LIGHT.ink if text[:1] in "+−" else LIGHT.muted,
        bbox={"facecolor": LIGHT.page, "edgecolor": "none", "pad": 0.3},
        zorder=1.5,
    )


def _ticks(axes: Axes, names: Sequence[str], what: str) -> None:
    """Names below the axes: smaller, or every second, third ... of numbers, where they are many."""
    room = axes.get_position().width * WIDE / max(len(names), 1)
    names = [name.replace(" + ", " +\n") for name in names]
    longest = max((len(line) for name in names for line in name.split("\n")), default=1)
    step = max(1, int(np.ceil(1.6 * longest / room))) if what else 1
    at = [k for k, name in enumerate(names) if k % step == 0 or not name.isdigit()]
    size = 6.5 if what else min(7.0, 7.0 * room / (1.9 * longest))
    axes.set_xticks(at, [names[k] for k in at], fontsize=size, family=FONT, weight="bold", color=LIGHT.ink)
    axes.tick_params(axis="x", length=0, pad=2)
    if what:
        axes.set_xlabel(what, fontsize=6, family=FONT, color=LIGHT.muted, labelpad=1)


def _draw_map(axes: Axes, why: Attribution, tokens: BeatTokens, paper: Paper) -> None:
    """Lead by beat, or segment by lead: a square a value, its colour the stronger the larger it is."""
    from matplotlib.colors import LinearSegmentedColormap

    if why.level == "segment":
        values, rows, columns, size = why.values.T, list(SEGMENTS), list(why.names), 6.5
    else:
        shown = np.flatnonzero((tokens.r_peaks >= paper.start) & (tokens.r_peaks <= paper.stop))
        values, rows, columns, size = why.values[:, shown], list(why.names), [str(k + 1) for k in shown], 5
    shares, end = are_shares(why), largest(values)
    stops = LIGHT.sequential if shares else LIGHT.two_sided
    x, y = np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    axes.pcolormesh(
        x,
        y,
        np.ma.masked_invalid(values),
        cmap=LinearSegmentedColormap.from_list("cells", list(stops)),
        vmin=0 if shares else -end,
        vmax=end,
        edgecolors=LIGHT.page,
        linewidth=0.6,
    )
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    at = np.argwhere(np.isfinite(values)) if len(columns) <= WRITTEN else np.empty((0, 2), dtype=int)
    told = values[at[:, 0], at[:, 1]]
    ink = ink_on(colours_at(stops, told / end if shares else signed_places(told, end)))
    for (k, j), value, colour in zip(at.tolist(), told.tolist(), ink, strict=True):
        text = f"{value * 100:.0f} %" if shares else signed(value, end)
        axes.text(j, k, text, fontsize=size, family=FONT, ha="center", va="center_baseline", color=colour)
    _ticks(axes, columns, "" if why.level == "segment" else "beat")
    axes.set_yticks(range(len(rows)), rows, fontsize=size + 0.5, family=FONT, weight="bold")
    axes.tick_params(axis="y", length=0, pad=2, labelcolor=LIGHT.ink)


# Words


def _words(
    page: Figure,
    left: float,
    top: float,
    tall: float,
    proof: Mapping[str, Any] | None,
    why: Attribution,
    tokens: BeatTokens,
    hidden: Bools,
    care: Sequence[str],
) -> None:
    """How far the map may be believed, and what to know of it; no more than there is room for."""
    word = str(proof["word"]) if proof is not None else ""
    title = f"This map is {word}" if word else "Not tested: no proof was made for this map"
    _shrink(_say(page, left, top + 3.2, title, 9 if word else 8.5, weight="bold",
                       color=TRUST.get(word, LIGHT.ink)), SIDE)  # fmt: skip
    sentences = list(dict.fromkeys([*care, *left_out(tokens, hidden), *missing(tokens)]))
    sentences += map(str, proof.get("reasons") or ()) if proof is not None else ()
    if why.error is not None:
        sentences.append("The thin lines on the bars are standard errors: orders of the parts were drawn.")
    if why.note:
        sentences.append(why.note)
    size, pitch = 7.0, 3.5
    lines = [
        ("•  " if k == 0 else "   ") + line
        for sentence in sentences
        for k, line in enumerate(textwrap.wrap(_plain(sentence), int(SIDE / (0.56 * size * POINT))))
    ]
    room = max(1, int((tall - 6) / pitch))
    if len(lines) > room:
        lines[room - 1 :] = ["   … more stands in the JSON export"]
    for k, line in enumerate(lines):
        _say(page, left + (0 if line.startswith("•") else 2.6), top + 8.2 + k * pitch, line.strip(), size)


# Drawing on the sheet


def _axes(page: Figure, left: float, top: float, wide: float, tall: float) -> Axes:
    """Axes of a size in mm, without ticks or a frame."""
    axes = page.add_axes((left / WIDE, 1 - (top + tall) / TALL, wide / WIDE, tall / TALL))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _say(page: Figure, x: float, y: float, text: str, size: float, **look: Any) -> Text:
    """Text on the sheet, its base line at y."""
    look = {"color": LIGHT.ink, "family": FONT, "va": "baseline", "ha": "left", **look}
    return page.text(x / WIDE, 1 - y / TALL, _plain(text), fontsize=size, parse_math=False, **look)


def _plain(text: str) -> str:
    """One line, of letters that the font has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(FONT))).get_charmap()
    return "".join(c if ord(c) in known else "?" for c in " ".join(text.split()))


def _width(text: Text) -> float:
    """In mm, as the font has it."""
    from matplotlib.textpath import text_to_path

    size: Any = text_to_path.get_text_width_height_descent(text.get_text(), text.get_fontproperties(), False)
    return float(size[0]) * POINT


def _shrink(text: Text, most: float) -> None:
    """Letters so small that the text is no wider than `most`, in print as on a screen."""
    while (wide := max(_width(text), _on_screen(text))) > most:
        text.set_fontsize(float(text.get_fontsize()) * min(most / wide, 0.99))


def _on_screen(text: Text) -> float:
    """In mm, as a picture of the page has it, letter by letter on its pixels."""
    figure = text.get_figure(root=True)
    dots = figure.dpi if figure else 72.0
    return float(text.get_window_extent().width) / dots * 25.4
