"""Probabilities: one bar a label, what other thresholds would miss, one step a window of a long record."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.theme import axis, figure, layout, theme

if TYPE_CHECKING:
    from clear_hug.checkpoint import Checkpoint
    from clear_hug.diagnosis import Diagnosis
    from clear_hug.operating import Curve, Point, Rare

ROW = 30  # px a label
LETTER, MOST_NAME, MOST_SAID = 6.5, 300, 260  # px: of a letter, of the space for names, of that for words
TOO_RARE = "too rare in training to call"
PROBABILITY_ONLY = f"{TOO_RARE}: probability only"


@dataclass(frozen=True, eq=False)
class Bars:
    """Labels from the top: tasks in the checkpoint's order, within each the most probable first.

    Labels too rare to be called stand below the others of their task, under a heading of their own.

    bands : (label, 2) probabilities that the model is unsure between, 0 to 1; NaN where that is not known
    unsure : (label,) bool, the probability lies in its band
    known : (label,) True or False where the record's labels are known, else None
    rare : (label,) bool, too rare to be called
    shares : (label,) of the records in training that have the label; NaN where that is not known
    at : (label,) rows, with one left free for the name of each task where there are several
    tasks : (name, row) of each heading that names a task
    rare_at : row of each heading over labels too rare to be called
    """

    targets: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[str, ...]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    called: NDArray[np.bool_]
    bands: NDArray[np.float64]
    unsure: NDArray[np.bool_]
    known: tuple[bool | None, ...]
    rare: NDArray[np.bool_]
    shares: NDArray[np.float64]
    at: NDArray[np.float64]
    tasks: tuple[tuple[str, float], ...]
    rare_at: tuple[float, ...]


def _bars_data(
    diagnosis: Diagnosis,
    descriptions: Mapping[str, str],
    task: str | None,
    bands: NDArray[np.float64] | None = None,
    known: Mapping[str, bool] | None = None,
    rare: Sequence[Rare] = (),
) -> Bars:
    names = list(dict.fromkeys(diagnosis.tasks))
    if task is not None and task not in names:
        raise ValueError(f"task = {task!r}; this diagnosis answers {', '.join(names)}.")
    chosen = [task] if task is not None else names
    every = [f"{name}/{label}" for name, label in zip(diagnosis.tasks, diagnosis.labels, strict=True)]
    order = {one.target: place for place, one in enumerate(rare)}
    rows: list[int] = []
    at: list[float] = []
    headings: list[tuple[str, float]] = []
    rare_at: list[float] = []
    place = 0.0
    for name in chosen:
        mine = [i for i, t in enumerate(diagnosis.tasks) if t == name]
        mine.sort(key=lambda i: -diagnosis.probabilities[i])
        common = [i for i in mine if not diagnosis.rare[i]]
        below = [i for i in mine if diagnosis.rare[i]]
        below.sort(key=lambda i: order.get(every[i], len(order)))
        if len(chosen) > 1:
            headings.append((name, place))
            place += 1
        at += [place + k for k in range(len(common))]
        place += len(common)
        if below:
            rare_at.append(place)
            place += 1
        at += [place + k for k in range(len(below))]
        place += len(below)
        rows += common + below
    targets = tuple(every[i] for i in rows)
    shares = {one.target: one.prevalence for one in rare}
    spans = np.full((len(rows), 2), np.nan) if bands is None else bands[rows]
    p = diagnosis.probabilities[rows]
    return Bars(
        targets=targets,
        labels=tuple(diagnosis.labels[i] for i in rows),
        words=tuple(descriptions.get(target, "") for target in targets),
        probabilities=p,
        thresholds=diagnosis.thresholds[rows],
        called=diagnosis.called[rows],
        bands=np.clip(spans, 0, 1),
        unsure=(p >= spans[:, 0]) & (p < spans[:, 1]),
        known=tuple((known or {}).get(target) for target in targets),
        rare=diagnosis.rare[rows],
        shares=np.array([shares.get(target, np.nan) for target in targets]),
        at=np.array(at),
        tasks=tuple(headings),
        rare_at=tuple(rare_at),
    )


def plot_probabilities(
    diagnosis: Diagnosis,
    descriptions: Mapping[str, str],
    task: str | None = None,
    dark: bool = False,
    bands: NDArray[np.float64] | None = None,
    known: Mapping[str, bool] | None = None,
    rare: Sequence[Rare] = (),
) -> go.Figure:
    """Calibrated probability of each label, with the threshold at and above which it is called.

    Labels too rare to be called have none, and stand below the others of their task.

    Parameters
    ----------
    diagnosis : Diagnosis
    descriptions : task/label -> plain words (`checkpoint.description`)
    task : its name; None = every task
    dark : theme
    bands : (label,  2) probabilities that the model is unsure between, NaN where that is not known
    known : task/label -> whether the record has it, for the labels that is known of
    rare : from `clear_hug.operating.rare_labels`: the order of labels too rare to be called, and their shares
    """
    look = theme(dark)
    data = _bars_data(diagnosis, descriptions, task, bands, known, rare)
    colour = np.where(data.called, look.called, look.quiet)
    names = [
        f"{wrapped(words)}  <b>{label}</b>" if words else f"<b>{label}</b>"
        for label, words in zip(data.labels, data.words, strict=True)
    ]
    said = _values(data)
    traces: list[Any] = [
        go.Bar(
            x=data.bands[:, 1] - data.bands[:, 0],
            base=data.bands[:, 0],
            y=data.at,
            orientation="h",
            name="unsure",
            width=0.94,
            marker={
                "color": look.band[0],
                "line": {"width": 0},
                "pattern": {
                    "shape": "/",
                    "size": 7,
                    "solidity": 0.12,
                    "fgcolor": look.hatch,
                    "fillmode": "overlay",
                },
            },
            hoverinfo="skip",
        ),
        go.Bar(
            x=data.probabilities,
            y=data.at,
            orientation="h",
            name="probability",
            width=0.5,
            marker={"color": colour, "line": {"width": 0}},
            customdata=np.array(
                [
                    [t, w, PROBABILITY_ONLY if few else f"called from {h:.1%}", _span(band)]
                    for t, w, h, few, band in zip(
                        data.targets, data.words, data.thresholds, data.rare, data.bands, strict=True
                    )
                ]
            ),
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>probability %{x:.1%}"
            "<br>%{customdata[2]}<br>%{customdata[3]}<extra></extra>",
        ),
        go.Scatter(
            x=data.thresholds,
            y=data.at,
            mode="markers",
            name="threshold",
            marker={"symbol": "line-ns", "size": 22, "line": {"color": look.ink, "width": 2.5}},
            hoverinfo="skip",
        ),
        # beyond 100 %, so that no number ever meets a bar or a threshold
        go.Scatter(
            x=np.full(data.at.size, 1.012),
            y=data.at,
            mode="text",
            name="value",
            text=said,
            cliponaxis=False,  # it stands in the margin, which is as wide as it on any screen
            textposition="middle right",
            textfont={"size": 14, "color": np.where(data.called, look.called, look.ink).tolist()},
            hoverinfo="skip",
        ),
    ]
    headings = [f'<b><i><span style="font-size:15px">{name}</span></i></b>' for name, _ in data.tasks]
    headings += [f"<i>{PROBABILITY_ONLY}</i>"] * len(data.rare_at)
    n = data.at.size + len(data.tasks) + len(data.rare_at)
    shape = layout(
        look,
        "Probability of each label" + (f": {task}" if task else ""),
        f"calibrated · upright tick: threshold, called from there on · {int(data.called.sum())} called"
        + (" · hatched: refer, the model is unsure" if np.isfinite(data.bands).any() else ""),
        height=66 + 52 + ROW * n + 12,
        margin={"l": _room([*names, *headings], MOST_NAME), "r": _room(said, MOST_SAID), "t": 66, "b": 52},
        xaxis=axis(
            look,
            "probability",
            range=[0, 1.02],
            tickmode="array",
            tickvals=[0, 0.25, 0.5, 0.75, 1],
            tickformat=".0%",
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            range=[n - 0.4, -0.6],
            tickmode="array",
            tickvals=[*data.at.tolist(), *(row for _, row in data.tasks), *data.rare_at],
            ticktext=[*names, *headings],
            showgrid=False,
            fixedrange=True,
        ),
        bargap=0.3,
        barmode="overlay",
    )
    return figure(traces, shape)


def _room(texts: Sequence[str], most: int) -> int:
    """How many px the widest line of some texts takes."""
    lines = [re.sub("<.*?>", "", line) for text in texts for line in text.split("<br>")]
    return min(most, 12 + round(LETTER * max(map(len, lines), default=0)))


def _values(data: Bars) -> list[str]:
    """What stands beside each bar: the probability, called, unsure, and what is known of the record."""
    out = []
    for p, called, unsure, known, rare, share in zip(
        data.probabilities, data.called, data.unsure, data.known, data.rare, data.shares, strict=True
    ):
        said = [word for word, so in (("called", called), ("refer", unsure)) if so]
        if rare and np.isfinite(share):
            said.append(f"in training {share_words(share)}")
        if known or (called and known is not None):
            said.append("data set: yes" if known else "data set: no")
        number = f"<b>{p:.0%}</b>" if called else share_words(p) if rare else f"{p:.0%}"
        out.append("  ".join([number, " · ".join(said)]).rstrip())
    return out


def share_words(share: float) -> str:
    """A small share or probability: never 0.0 % of what there is."""
    return "0%" if share == 0 else "<0.1%" if share < 0.0005 else f"{share:.1%}"


def _span(band: NDArray[np.float64]) -> str:
    low, high = band
    if not np.isfinite(low):
        return "too few records to say where it is unsure"
    return f"unsure from {low:.1%} to {high:.0%}" if high > low else "nowhere unsure"


def wrapped(words: str) -> str:
    """What a label stands for, in lines that fit beside the bars."""
    return "<br>".join(textwrap.wrap(words, 44))


@dataclass(frozen=True, eq=False)
class Trade:
    """What each threshold would call, from the highest down.

    false : (point,) share of the records without the label that are called;  found : of those with it
    here : row of the highest threshold that this record reaches
    chosen : (false, found) of the operating point, or None
    bars : ((false low, high), (found low, high)), its 95 % intervals
    """

    thresholds: NDArray[np.float64]
    false: NDArray[np.float64]
    found: NDArray[np.float64]
    here: int
    chosen: tuple[float, float] | None
    bars: tuple[tuple[float, float], tuple[float, float]] | None


def _trade_data(curve: Curve, point: Point | None, probability: float) -> Trade:
    order = np.argsort(-curve.thresholds)
    thresholds = curve.thresholds[order]
    chosen = bars = None
    if point:
        chosen = (1 - point.specificity, point.sensitivity)
        low, high = point.specificity_95
        bars = ((1 - high, 1 - low), point.sensitivity_95)
    return Trade(
        thresholds=thresholds,
        false=1 - curve.specificity[order],
        found=curve.sensitivity[order],
        here=int(np.flatnonzero(probability >= thresholds)[0]),
        chosen=chosen,
        bars=bars,
    )


def plot_trade(
    curve: Curve, point: Point | None, probability: float, target: str, dark: bool = False
) -> go.Figure:
    """A label's ROC curve, with the operating point and where this record stands on it.

    Parameters
    ----------
    curve, point : from `clear_hug.operating`
    probability : of this record, calibrated and not weighted anew
    target : "task/label"
    dark : theme
    """
    look = theme(dark)
    data = _trade_data(curve, point, probability)
    traces: list[Any] = [
        go.Scatter(
            x=data.false,
            y=data.found,
            mode="lines",
            name="ROC",
            line={"color": look.quiet, "width": 2},
            customdata=data.thresholds,
            hovertemplate="called from %{customdata:.1%}<br>finds %{y:.1%}, calls falsely %{x:.1%}"
            "<extra></extra>",
        ),
        go.Scatter(
            x=[data.false[data.here]],
            y=[data.found[data.here]],
            mode="markers",
            name="this record",
            marker={"symbol": "diamond", "size": 12, "color": look.accent},
            hovertemplate=f"this record, {probability:.1%}: a threshold here calls it, a higher one does not"
            "<extra></extra>",
        ),
    ]
    if data.chosen and data.bars:
        (left, right), (low, high) = data.bars
        traces.append(
            go.Scatter(
                x=[data.chosen[0]],
                y=[data.chosen[1]],
                mode="markers",
                name="operating point\u2003",  # Plotly cuts the last name of a legend short
                error_x=_whiskers(data.chosen[0], left, right, look.ink),
                error_y=_whiskers(data.chosen[1], low, high, look.ink),
                marker={"symbol": "circle", "size": 10, "color": look.called},
                hovertemplate="operating point: finds %{y:.1%}, calls falsely %{x:.1%}<extra></extra>",
            )
        )
    shape = layout(
        look,
        f"ROC: {target}",
        f"what other thresholds call of {curve.positives} records with it and {curve.negatives} without",
        height=360,
        margin={"l": 64, "r": 16, "t": 96, "b": 48},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom"},
        xaxis=axis(
            look, "called among those without it (1 − specificity)", range=[-0.01, 1.01], tickformat=".0%"
        ),
        yaxis=axis(look, "called among those with it", range=[-0.01, 1.03], tickformat=".0%"),
    )
    return figure(traces, shape)


def _whiskers(value: float, low: float, high: float, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value],
        "arrayminus": [value - low],
        "color": colour,
        "thickness": 1.5,
        "width": 4,
    }


@dataclass(frozen=True, eq=False)
class WindowSteps:
    """spans : (window, 2) s;  probabilities : (window,);  record, threshold : of the whole record.

    The threshold is NaN where the label is too rare to be called.
    """

    spans: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    record: float
    threshold: float


def _windows_data(diagnosis: Diagnosis, checkpoint: Checkpoint, target: str) -> WindowSteps:
    row = checkpoint.row(target)
    slope, intercept = checkpoint.platt[row]
    z = slope * diagnosis.window_logits[:, row].astype(np.float64) + intercept
    return WindowSteps(
        spans=diagnosis.window_spans,
        probabilities=1 / (1 + np.exp(-z)),
        record=float(diagnosis.probabilities[row]),
        threshold=float(diagnosis.thresholds[row]),
    )


def plot_window_probabilities(
    diagnosis: Diagnosis, checkpoint: Checkpoint, target: str, dark: bool = False
) -> go.Figure:
    """A long record: the probability of one label in each window, beside the record's own.

    Parameters
    ----------
    diagnosis, checkpoint : an answer and the checkpoint that gave it
    target : "task/label"
    dark : theme

    The markers' customdata is the window's row.
    """
    look = theme(dark)
    data = _windows_data(diagnosis, checkpoint, target)
    target = checkpoint.targets[checkpoint.row(target)]
    n = data.probabilities.size
    x, y = [], []
    for (a, b), p in zip(data.spans.tolist(), data.probabilities.tolist(), strict=True):
        x += [a, b, None]
        y += [p, p, None]
    above = data.probabilities >= data.threshold
    colour = np.where(above, look.called, look.quiet)
    traces = [
        go.Scatter(
            x=x, y=y, mode="lines", name="window", line={"color": look.quiet, "width": 4}, hoverinfo="skip"
        ),
        go.Scatter(
            x=data.spans.mean(axis=1),
            y=data.probabilities,
            customdata=np.column_stack([np.arange(n), data.spans]),
            mode="markers+text" if n <= 24 else "markers",
            name="windows",
            text=[f"{p:.0%}" for p in data.probabilities],
            textposition="top center",
            textfont={"color": look.ink, "size": 12},
            cliponaxis=False,
            marker={"size": 10 if n <= 60 else 6, "color": colour},
            hovertemplate="%{customdata[1]:.1f} to %{customdata[2]:.1f} s: %{y:.1%}<extra></extra>",
        ),
    ]
    lines = [_level(data.record, f"record {data.record:.0%}", look.accent, "solid")]
    if np.isfinite(data.threshold):
        lines.insert(0, _level(data.threshold, f"threshold {data.threshold:.0%}", look.ink, "dash"))
    if abs(data.threshold - data.record) < 0.09:  # keep the two names apart
        upper = 0 if data.threshold >= data.record else 1
        lines[upper]["label"]["yanchor"] = "bottom"
        lines[1 - upper]["label"]["yanchor"] = "top"
    words = checkpoint.description.get(target, "")
    shape = layout(
        look,
        f"Probability of {target} over the record",
        f"{words} · {n} windows; the record's answer is that of the mean logit".lstrip(" ·"),
        height=340,
        margin={"l": 60, "r": 120, "t": 72, "b": 48},
        shapes=lines,
        xaxis=axis(look, "time (s)", range=[float(data.spans[0, 0]), float(data.spans[-1, 1])]),
        yaxis=axis(look, "probability", range=[0, 1.02], tickformat=".0%", dtick=0.25),
    )
    return figure(traces, shape)


def _level(value: float, text: str, colour: str, dash: str) -> dict[str, Any]:
    label: dict[str, Any] = {
        "text": f" {text}",
        "textposition": "end",
        "xanchor": "left",
        "yanchor": "middle",
        "font": {"size": 12, "color": colour},
    }
    line = {"color": colour, "width": 1.5, "dash": dash}
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": value, "y1": value,
        "line": line, "label": label,
    }  # fmt: skip
