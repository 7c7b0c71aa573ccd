"""Training: one line a run over its epochs, and AUROC of each label with its interval, run beside run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.theme import Theme, axis, figure, layout, theme

if TYPE_CHECKING:
    from clear_hug.runs import TrainingRun

MOST_RUNS = 5  # in one figure: as many colours as can be told apart
ROW = 26  # px a label
SUBSETS = {"field": "records with a label of the task", "all_records": "all records"}

_GROUPS = {"train": "in training", "probe": "on the probe records", "watch": "on the watched folds"}
_NAMES = {
    "r2": "R² of the hidden samples",
    "mse": "squared error of the hidden samples, in lead scales",
    "scale": "squared error of the log lead scale",
    "loss": "loss",
    "diagnosis": "cross-entropy of the labels",
    "intervals": "squared error of the intervals, in their usual spread",
    "steady": "squared change of the logits by what leads left out do to the others' tokens",
    "additive": "squared change of the logits that contributions do not foretell, leads left out",
    "lr": "learning rate",
}


def curve_words(column: str) -> str:
    """A column of the log in plain words: "watch/form" -> "macro AUROC of form, on the watched folds"."""
    group, _, name = column.rpartition("/")
    words = f"macro AUROC of {name}" if group == "watch" else _NAMES.get(name, name)
    return f"{words}, {_GROUPS.get(group, group)}" if group else words


@dataclass(frozen=True, eq=False)
class Curve:
    """One run's line: values (row,) at epochs (row,), NaN where the log has none."""

    run: str
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def last(self) -> tuple[float, float]:
        """Epoch and value of the last point."""
        row = np.flatnonzero(np.isfinite(self.values))[-1]
        return float(self.epochs[row]), float(self.values[row])


def _curves_data(runs: Sequence[TrainingRun], column: str) -> list[Curve | None]:
    """A curve for each run; None for one whose log has no such column."""
    if len(runs) > MOST_RUNS:
        raise ValueError(f"{len(runs)} runs; a figure shows {MOST_RUNS} at most.")
    curves = [
        Curve(run.name, run.log["epoch"], run.log[column]) if column in run.log else None for run in runs
    ]
    if not any(curves):
        known = sorted({name for run in runs for name in run.columns})
        raise ValueError(f"column = {column!r} is in no log; there are {', '.join(known) or 'none'}.")
    return curves


def plot_curves(runs: Sequence[TrainingRun], column: str, dark: bool = False) -> go.Figure:
    """A column of the log over the epochs, one line a run.

    Parameters
    ----------
    runs : at most `MOST_RUNS`; one without that column keeps its colour and has no line
    column : of the log, such as "probe/r2"
    dark : theme
    """
    look = theme(dark)
    traces = []
    for curve, colour, symbol in zip(_curves_data(runs, column), _colours(look), _SYMBOLS, strict=False):
        if curve is None:
            continue
        epoch, value = curve.last
        few = np.isfinite(curve.values).sum() <= 30
        traces.append(
            go.Scatter(
                x=curve.epochs,
                y=curve.values,
                name=f"{escape(curve.run)}: {value:.4g} at {epoch:.0f}",
                mode="lines+markers" if few else "lines",
                line={"color": colour, "width": 2.2},
                marker={"symbol": symbol, "size": 7, "color": colour},
                hovertemplate=f"<b>{escape(curve.run)}</b><br>epoch %{{x}}: %{{y:.5g}}<extra></extra>",
            )
        )
    last = max(trace.x[-1] for trace in traces)
    words = curve_words(column)
    shape = layout(
        look,
        escape(words[0].upper() + words[1:]),
        "one line a run; beside its name, the last value and its epoch",
        height=370,
        margin={"l": 64, "r": 24, "t": 96, "b": 46},
        xaxis=axis(look, "epoch", range=[0, max(last, 2) * 1.02], rangemode="tozero", tickformat="d"),
        yaxis=axis(look, escape(words.split(",")[0])),
        showlegend=True,
        legend=_legend([trace.name for trace in traces]),
        uirevision=column,
    )
    return figure(traces, shape)


@dataclass(frozen=True, eq=False)
class LabelRows:
    """What runs reached on a task, label beside label.

    labels : (label,) those of the task, as the runs tell them; the macro figure is the first row
    runs : (run,) names of the runs that have figures
    auroc : (run, label);  interval : (run, label, 2), 95 %; NaN where not known
    positives : (run, label), NaN where not known
    counted : (label,) whether a run's macro figure counts it; the macro figure itself does
    subset : key of `SUBSETS`
    """

    labels: tuple[str, ...]
    runs: tuple[str, ...]
    auroc: NDArray[np.float64]
    interval: NDArray[np.float64]
    positives: NDArray[np.float64]
    counted: NDArray[np.bool_]
    subset: str


MACRO = "macro"


def labelled_tasks(runs: Sequence[TrainingRun]) -> list[str]:
    """The tasks that a run's checkpoint was evaluated on, per label."""
    tasks = [_part(run.metrics, "tasks") for run in runs]
    names = dict.fromkeys(name for each in tasks for name in each)
    return [name for name in names if any(_part(each, name, s, "labels") for each in tasks for s in SUBSETS)]


def _labels_data(runs: Sequence[TrainingRun], task: str) -> LabelRows:
    if len(runs) > MOST_RUNS:
        raise ValueError(f"{len(runs)} runs; a figure shows {MOST_RUNS} at most.")
    parts = [_part(run.metrics, "tasks", task) for run in runs]
    subset = next((s for s in SUBSETS if any(_part(part, s, "labels") for part in parts)), None)
    if subset is None:
        raise ValueError(f"task = {task!r}: no run here was evaluated on it.")
    judged = [(run.name, _part(part, subset)) for run, part in zip(runs, parts, strict=True)]
    judged = [(name, part) for name, part in judged if _part(part, "labels")]
    labels = list(dict.fromkeys(label for _, part in judged for label in part["labels"]))
    rows = [
        [(_value(part, "macro_auroc"), *_bounds(part, "macro_auroc_95"), np.nan)]
        + [
            (_value(one, "auroc"), *_bounds(one, "auroc_95"), _value(one, "positives"))
            for label in labels
            for one in [_part(part, "labels", label)]
        ]
        for _, part in judged
    ]
    told = [part["counted"] for _, part in judged if isinstance(part.get("counted"), list)]
    counted = [not told or any(label in each for each in told) for label in labels]
    values = np.array(rows, dtype=np.float64)
    return LabelRows(
        labels=(MACRO, *labels),
        runs=tuple(name for name, _ in judged),
        auroc=values[..., 0],
        interval=values[..., 1:3],
        positives=values[..., 3],
        counted=np.array([True, *counted]),
        subset=subset,
    )


def plot_labels(runs: Sequence[TrainingRun], task: str, dark: bool = False) -> go.Figure:
    """AUROC of each label with its 95 % interval, one dot a run.

    Parameters
    ----------
    runs : at most `MOST_RUNS`; one that was not evaluated keeps its colour and has no dot
    task : name of the label set
    dark : theme
    """
    look = theme(dark)
    data = _labels_data(runs, task)
    style = dict(zip((run.name for run in runs), zip(_colours(look), _SYMBOLS, strict=True), strict=False))
    n, n_runs = len(data.labels), len(data.runs)
    at = np.arange(n, dtype=np.float64) + 0.5 * (np.arange(n) > 0)  # the macro figure stands apart
    spread = np.linspace(-0.26, 0.26, n_runs) if n_runs > 1 else np.zeros(1)
    traces = []
    for i, name in enumerate(data.runs):
        colour, symbol = style[name]
        low, high = data.interval[i].T
        traces.append(
            go.Scatter(
                x=data.auroc[i],
                y=at + spread[i],
                mode="markers",
                name=escape(name),
                marker={"symbol": symbol, "size": 9, "color": colour},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": np.nan_to_num(high - data.auroc[i]),
                    "arrayminus": np.nan_to_num(data.auroc[i] - low),
                    "color": colour,
                    "thickness": 1.6,
                    "width": 3,
                },
                customdata=[
                    [escape(label), _interval_words(*bounds), _positives_words(positives)]
                    for label, bounds, positives in zip(
                        data.labels, data.interval[i].tolist(), data.positives[i].tolist(), strict=True
                    )
                ],
                hovertemplate=f"<b>%{{customdata[0]}}</b> · {escape(name)}<br>AUROC %{{x:.3f}}"
                "%{customdata[1]}%{customdata[2]}<extra></extra>",
            )
        )
    least = np.nanmin([data.auroc.min(initial=1, where=np.isfinite(data.auroc)),
                       data.interval.min(initial=1, where=np.isfinite(data.interval))])  # fmt: skip
    names = [
        f"<b>{escape(label)}</b>" if counted else f'<span style="color:{look.muted}">{escape(label)} *</span>'
        for label, counted in zip(data.labels, data.counted, strict=True)
    ]
    rare = "; * too rare in training to count in the macro" if not data.counted.all() else ""
    row = max(ROW, 12 * n_runs + 10)
    shape = layout(
        look,
        f"AUROC of each label: {escape(task)}",
        f"dot and 95 % interval · {SUBSETS[data.subset]}{rare}",
        height=100 + 48 + row * (n + 1),
        margin={"l": 110, "r": 24, "t": 96, "b": 48},
        xaxis=axis(
            look,
            "AUROC",
            range=[max(0.0, np.floor(least * 20) / 20 - 0.01), 1.005],
            dtick=0.05,
            tickformat=".2f",
            fixedrange=True,
        ),  # fmt: skip
        yaxis=axis(
            look,
            range=[float(at[-1]) + 0.6, -0.6],
            tickmode="array",
            tickvals=at,
            ticktext=names,
            showgrid=False,
            fixedrange=True,
        ),
        showlegend=True,
        legend=_legend(data.runs),
    )
    return figure(traces, shape)


def _colours(look: Theme) -> tuple[str, ...]:
    return look.opposes, look.supports, look.called, look.accent, look.quiet


_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")  # told apart without colour


def _legend(names: Sequence[str]) -> dict[str, Any]:
    """A row of names above the plot, each with the room that it needs: plotly measures another font."""
    place = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom"}
    return {**place, "entrywidthmode": "pixels", "entrywidth": 8 * max(map(len, names)) + 8}


def _interval_words(low: float, high: float) -> str:
    return f" ({low:.3f} to {high:.3f})" if np.isfinite([low, high]).all() else ", no interval"


def _positives_words(positives: float) -> str:
    return f"<br>{positives:.0f} positives" if np.isfinite(positives) else ""


def _part(whole: Any, *names: str) -> dict[str, Any]:
    """A dict within dicts; {} where it is not there: figures are of whatever version wrote them."""
    for name in names:
        whole = whole.get(name) if isinstance(whole, dict) else None
    return whole if isinstance(whole, dict) else {}


def _value(part: dict[str, Any], name: str) -> float:
    value = part.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _bounds(part: dict[str, Any], name: str) -> tuple[float, float]:
    pair = part.get(name)
    if not isinstance(pair, list) or len(pair) != 2:
        return np.nan, np.nan
    low, high = ({"bound": bound} for bound in pair)
    return _value(low, "bound"), _value(high, "bound")
