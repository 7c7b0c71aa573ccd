"""Probabilities: one bar a label, and one step a window of a long record."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.theme import axis, figure, layout, theme

if TYPE_CHECKING:
    from clear_hug.checkpoint import Checkpoint
    from clear_hug.diagnosis import Diagnosis

ROW = 30  # px a label


@dataclass(frozen=True, eq=False)
class Bars:
    """Labels from the top: tasks in the checkpoint's order, within each the most probable first.

    at : (label,) rows, with one left free for the name of each task where there are several
    tasks : (task name, row) of those headings
    """

    targets: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[str, ...]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    called: NDArray[np.bool_]
    at: NDArray[np.float64]
    tasks: tuple[tuple[str, float], ...]


def _bars_data(diagnosis: Diagnosis, descriptions: Mapping[str, str], task: str | None) -> Bars:
    known = list(dict.fromkeys(diagnosis.tasks))
    if task is not None and task not in known:
        raise ValueError(f"task = {task!r}; this diagnosis answers {', '.join(known)}.")
    chosen = [task] if task is not None else known
    rows: list[int] = []
    at: list[float] = []
    headings = []
    place = 0.0
    for name in chosen:
        mine = [i for i, t in enumerate(diagnosis.tasks) if t == name]
        mine.sort(key=lambda i: -diagnosis.probabilities[i])
        if len(chosen) > 1:
            headings.append((name, place))
            place += 1
        rows += mine
        at += [place + k for k in range(len(mine))]
        place += len(mine)
    targets = tuple(f"{diagnosis.tasks[i]}/{diagnosis.labels[i]}" for i in rows)
    return Bars(
        targets=targets,
        labels=tuple(diagnosis.labels[i] for i in rows),
        words=tuple(descriptions.get(target, "") for target in targets),
        probabilities=diagnosis.probabilities[rows],
        thresholds=diagnosis.thresholds[rows],
        called=diagnosis.called[rows],
        at=np.array(at),
        tasks=tuple(headings),
    )


def plot_probabilities(
    diagnosis: Diagnosis, descriptions: Mapping[str, str], task: str | None = None, dark: bool = False
) -> go.Figure:
    """Calibrated probability of each label, with the threshold at and above which it is called.

    Parameters
    ----------
    diagnosis : Diagnosis
    descriptions : task/label -> plain words (`checkpoint.description`)
    task : its name; None = every task
    dark : theme
    """
    look = theme(dark)
    data = _bars_data(diagnosis, descriptions, task)
    colour = np.where(data.called, look.called, look.quiet)
    words = [
        f"<b>{p:.0%}</b>  called" if called else f"{p:.0%}"
        for p, called in zip(data.probabilities, data.called, strict=True)
    ]
    names = [
        f"{_wrap(words)}  <b>{label}</b>" if words else f"<b>{label}</b>"
        for label, words in zip(data.labels, data.words, strict=True)
    ]
    traces: list[Any] = [
        go.Bar(
            x=data.probabilities,
            y=data.at,
            orientation="h",
            name="probability",
            width=0.62,
            marker={"color": colour, "line": {"width": 0}},
            customdata=np.array(
                [
                    [t, w, f"{h:.0%}"]
                    for t, w, h in zip(data.targets, data.words, data.thresholds, strict=True)
                ]
            ),
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>probability %{x:.1%}"
            "<br>called from %{customdata[2]}<extra></extra>",
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
            text=words,
            textposition="middle right",
            textfont={"size": 14, "color": np.where(data.called, look.called, look.ink).tolist()},
            hoverinfo="skip",
        ),
    ]
    headings = [f'<b><i><span style="font-size:15px">{name}</span></i></b>' for name, _ in data.tasks]
    n = int(data.at.size + len(data.tasks))
    shape = layout(
        look,
        "Probability of each label" + (f": {task}" if task else ""),
        f"calibrated · upright tick: threshold, called from there on · {int(data.called.sum())} called",
        height=66 + 52 + ROW * n + 12,
        margin={"l": 330, "r": 12, "t": 66, "b": 52},
        xaxis=axis(
            look,
            "probability",
            range=[0, 1.2],
            tickmode="array",
            tickvals=[0, 0.25, 0.5, 0.75, 1],
            tickformat=".0%",
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            range=[n - 0.4, -0.6],
            tickmode="array",
            tickvals=[*data.at.tolist(), *(row for _, row in data.tasks)],
            ticktext=[*names, *headings],
            showgrid=False,
            fixedrange=True,
        ),
        bargap=0.3,
    )
    return figure(traces, shape)


def _wrap(words: str) -> str:
    return "<br>".join(textwrap.wrap(words, 44))


@dataclass(frozen=True, eq=False)
class WindowSteps:
    """spans : (window, 2) s;  probabilities : (window,);  record, threshold : of the whole record."""

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
    lines = [
        _level(data.threshold, f"threshold {data.threshold:.0%}", look.ink, "dash"),
        _level(data.record, f"record {data.record:.0%}", look.accent, "solid"),
    ]
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
