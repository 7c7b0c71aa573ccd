"""Why, in numbers: contributions as bars, as a sum, as areas, and two explanations beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.theme import Theme, axis, figure, largest, layout, signed, theme

if TYPE_CHECKING:
    from clear_hug.explain import Attribution

SHOWN = 1e-5  # of a logit; a residual below it is rounding
OF_RECORD = 0.1  # of a logit; what the rhythm or the QTc adds beyond it has a bar of its own
WEIGHTS = {"attention": "last layer", "rollout": "through all layers"}  # methods whose values are shares
LONGEST_TITLE = 80  # characters that fit over the figure
ROOMY = 16  # rows up to which they stand far apart


def label_of(attribution: Attribution) -> str:
    """The label that is explained, as titles name it."""
    label = attribution.target.split("/", 1)[-1]
    against = attribution.against.split("/", 1)[-1]
    return f"{label} rather than {against}" if against else label


def check(attribution: Attribution, *levels: str, adds_up: bool = False) -> None:
    """Refuse what is of another level, shares of attention, and where asked what does not add up."""
    if levels and attribution.level not in levels:
        known = " or ".join(levels)
        raise ValueError(f"this figure shows an attribution by {known}; this one is by {attribution.level}.")
    if attribution.method in WEIGHTS:
        raise ValueError(f"{attribution.method} is a share, not a contribution; it adds up to no logit.")
    if adds_up and not np.isfinite(attribution.bias):
        raise ValueError(
            f"method {attribution.method!r} gives no contributions that add up; use one that does, as 'hug'."
        )


@dataclass(frozen=True, eq=False)
class Contributions:
    """names, values, error, words : (part,) in order, a value NaN where absent;  largest : of |values|.

    error : standard error, 0 where there is none
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    error: NDArray[np.float64]
    largest: float
    words: tuple[str, ...]


def _contribution_data(attribution: Attribution) -> Contributions:
    check(attribution)
    if attribution.values.ndim != 1:
        raise ValueError(f"bars show one value a part; this attribution is by {attribution.level}.")
    values = np.asarray(attribution.values, dtype=np.float64)
    end = largest(values)
    words = tuple(signed(v, end) if np.isfinite(v) else "absent" for v in values.tolist())
    error = np.zeros_like(values) if attribution.error is None else np.nan_to_num(attribution.error)
    return Contributions(attribution.names, values, error, end, words)


def plot_contributions(attribution: Attribution, dark: bool = False) -> go.Figure:
    """What each part (lead, group, beat ...) adds to the logit, or takes from it.

    Parameters
    ----------
    attribution : from `explain`, by a method other than attention, at any level with one value a part
    dark : theme
    """
    look = theme(dark)
    data = _contribution_data(attribution)
    label = label_of(attribution)
    n = len(data.names)
    row = 32 if n <= ROOMY else 22
    values = np.nan_to_num(data.values)
    room = 1.28 * data.largest + float(data.error.max(initial=0.0))
    colour = np.where(values >= 0, look.supports, look.opposes)
    absent = ~np.isfinite(data.values)
    where = np.where(values >= 0, "middle right", "middle left")
    pad = 0.012 * room
    traces: list[Any] = [
        go.Bar(
            x=values,
            y=list(range(n)),
            orientation="h",
            name="contribution",
            width=0.66,
            marker={"color": colour, "line": {"width": 0}},
            text=data.names,
            textposition="none",
            hovertemplate="<b>%{text}</b>: %{x:+.4f} on the logit<extra></extra>",
            error_x={
                "array": data.error,
                "visible": bool(data.error.any()),
                "color": look.ink,
                "thickness": 1.2,
                "width": 3,
            },
        ),
        go.Scatter(
            x=values + np.where(values >= 0, pad + data.error, -pad - data.error),
            y=list(range(n)),
            mode="text",
            name="value",
            text=data.words,
            textposition=where.tolist(),
            textfont={"size": 13, "color": np.where(absent, look.muted, look.ink).tolist()},
            hoverinfo="skip",
        ),
    ]
    what = {"lead": "lead", "group": "group of leads", "pair": "path of HUG", "level": "level of HUG"}
    part = what.get(attribution.level, attribution.level)
    adds_up = np.isfinite(attribution.bias)
    does = "adds to" if attribution.method == "hug" else "is worth to"
    total = signed(float(np.nansum(data.values)))
    logit = signed(attribution.logit)
    words = (
        f"bias {signed(attribution.bias)}  and parts {total}  make the logit {logit}"
        if adds_up
        else f"each left out by itself; together {total}, which need not make the logit {logit}"
    )
    if adds_up and abs(attribution.residual) > SHOWN:
        words += f"; left over {attribution.residual:.0e}"
    shape = layout(
        look,
        f"What each {part} {does} the logit of {label}",
        words,
        height=66 + 22 + 48 + row * n,
        margin={"l": 40 + 9 * max(len(name) for name in data.names), "r": 24, "t": 88, "b": 48},
        annotations=_sides(attribution, look),
        xaxis=axis(
            look,
            "contribution (logit)" if attribution.method == "hug" else "worth (logit)",
            range=[-room, room],
            zeroline=True,
            zerolinecolor=look.ink,
            zerolinewidth=1.5,
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            range=[n - 0.5, -0.5],
            tickmode="array",
            tickvals=list(range(n)),
            ticktext=[f"<b>{name}</b>" for name in data.names],
            showgrid=False,
            fixedrange=True,
        ),
    )
    return figure(traces, shape)


def _sides(attribution: Attribution, look: Theme) -> list[dict[str, Any]]:
    """What left and right of 0 mean, above the two ends."""
    label = attribution.target.split("/", 1)[-1]
    against = attribution.against.split("/", 1)[-1]
    left = f"for {against}" if against else f"opposes {label}"
    right = f"for {label}" if against else f"supports {label}"
    common = {"xref": "paper", "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False}
    return [
        {
            "text": f"<b>← {left}</b>",
            "x": 0,
            "xanchor": "left",
            "font": {"size": 13, "color": look.opposes},
            **common,
        },
        {
            "text": f"<b>{right} →</b>",
            "x": 1,
            "xanchor": "right",
            "font": {"size": 13, "color": look.supports},
            **common,
        },
    ]


@dataclass(frozen=True, eq=False)
class Fall:
    """Steps of a sum: names, (step,) values, and the level (step,) before and after each."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def _fall_data(attribution: Attribution) -> Fall:
    """Bias, what is the record's, each lead in order without its part of that, a residual where it shows.

    `after` ends at the logit.
    """
    check(attribution, "lead", adds_up=True)
    of_record = {"rhythm": attribution.rhythm, "QTc": attribution.qtc}
    of_record = {name: value for name, value in of_record.items() if abs(value) >= OF_RECORD}
    leads = attribution.values - sum(of_record.values()) / max(1, int(np.isfinite(attribution.values).sum()))
    names = ["bias", *of_record, *attribution.names]
    values = [attribution.bias, *of_record.values(), *leads.tolist()]
    if abs(attribution.residual) > SHOWN:
        names.append("residual")
        values.append(attribution.residual)
    steps = np.nan_to_num(np.array(values))
    after = np.cumsum(steps)
    return Fall(tuple(names), np.array(values), after - steps, after)


def plot_waterfall(attribution: Attribution, dark: bool = False) -> go.Figure:
    """From the bias, by rhythm and QTc where they count, lead by lead, to the logit.

    Parameters
    ----------
    attribution : from `explain(..., method="hug", level="lead")`
    dark : theme
    """
    look = theme(dark)
    data = _fall_data(attribution)
    label = label_of(attribution)
    names = [*data.names, "logit"]
    total = float(data.after[-1])
    measures = ["absolute", *["relative"] * (len(data.names) - 1), "total"]
    end = largest(data.values[1:])
    words = [signed(v, end) if np.isfinite(v) else "absent" for v in data.values.tolist()]
    levels = np.concatenate([[0.0], data.before[1:], data.after])
    low, high = float(levels.min()), float(levels.max())
    pad = 0.12 * ((high - low) or 1.0)
    trace = go.Waterfall(
        x=list(range(len(names))),
        y=[*np.nan_to_num(data.values).tolist(), total],
        measure=measures,
        text=[*words, signed(total, end)],
        textposition="outside",
        textfont={"size": 12, "color": look.ink, "shadow": ", ".join([f"0 0 2px {look.page}"] * 4)},
        cliponaxis=False,
        width=0.72,
        connector={"line": {"color": look.muted, "width": 1}},
        increasing={"marker": {"color": look.supports}},
        decreasing={"marker": {"color": look.opposes}},
        totals={"marker": {"color": look.quiet}},
        customdata=names,
        hovertemplate="<b>%{customdata}</b>: %{text}<extra></extra>",
        name="",
    )
    shape = layout(
        look,
        f"From bias to logit: {label}",
        f"orange supports {label}, blue opposes it · left over: {abs(attribution.residual):.0e}",
        height=400,
        xaxis=axis(
            look,
            "from the bias to the logit",
            tickmode="array",
            tickvals=list(range(len(names))),
            ticktext=[f"<b>{name}</b>" for name in names],
            showgrid=False,
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            "logit",
            range=[low - pad, high + pad],
            zeroline=True,
            zerolinelayer="below traces",  # under the numbers
            zerolinecolor=look.ink,
            zerolinewidth=1.2,
            fixedrange=True,
        ),
    )
    return figure([trace], shape)


@dataclass(frozen=True, eq=False)
class Compared:
    """Two attributions, part by part.

    names : (part,) of both, in order;  first, second : (part,), NaN where that one has no such part
    end : largest of all |values|;  shared, agree : parts that both have, and those of the same sign
    """

    names: tuple[str, ...]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    end: float
    shared: int
    agree: int


def _compare_data(a: Attribution, b: Attribution) -> Compared:
    for one in (a, b):
        check(one)
        if one.values.ndim != 1:
            raise ValueError(f"one value a part can be compared; an attribution is by {one.level}.")
    if a.level != b.level:
        raise ValueError(f"the same parts are compared; one attribution is by {a.level}, one by {b.level}.")
    names = tuple(dict.fromkeys((*a.names, *b.names)))
    first, second = (
        np.array([dict(zip(one.names, one.values.tolist(), strict=True)).get(n, np.nan) for n in names])
        for one in (a, b)
    )
    both = np.isfinite(first) & np.isfinite(second)
    agree = int((np.sign(first[both]) == np.sign(second[both])).sum())
    return Compared(names, first, second, largest(np.concatenate([first, second])), int(both.sum()), agree)


def plot_compare(
    a: Attribution, b: Attribution, names: tuple[str, str] | None = None, dark: bool = False
) -> go.Figure:
    """Two explanations by the same parts, a pair of bars a part, on one scale.

    Parameters
    ----------
    a, b : from `explain`, at one level with one value a part: two labels, two methods, or two records
    names : what each is called; None = by label and method
    dark : theme
    """
    look = theme(dark)
    data = _compare_data(a, b)
    labels = (label_of(a), label_of(b))
    same = labels[0] == labels[1]
    names = names or (
        (a.method.replace("_", " "), b.method.replace("_", " ")) if same and a.method != b.method else labels
    )
    called = [escape(name) for name in names]
    n = len(data.names)
    at = np.arange(n)
    row = 40 if n <= ROOMY else 36
    colours = (look.called, look.quiet)
    traces: list[Any] = []
    for k, values in enumerate((data.first, data.second)):
        y = at + (-0.21 if k == 0 else 0.21)
        known = np.nan_to_num(values)
        traces.append(
            go.Bar(
                x=known,
                y=y,
                orientation="h",
                name=called[k],
                width=0.34,
                # told apart by pattern as well as by colour
                marker={
                    "color": colours[k],
                    "line": {"width": 1, "color": colours[k]},
                    "pattern": {
                        "shape": "" if k == 0 else "/",
                        "fgcolor": look.page,
                        "fillmode": "overlay",
                        "size": 5,
                    },
                },
                text=data.names,
                textposition="none",
                hovertemplate=f"<b>%{{text}}</b>, {called[k]}: %{{x:+.4f}} on the logit<extra></extra>",
            )
        )
        pad = np.where(known >= 0, 0.015, -0.015) * data.end
        traces.append(
            go.Scatter(
                x=known + pad,
                y=y,
                mode="text",
                name=f"value, {called[k]}",
                text=[signed(v, data.end) if np.isfinite(v) else "absent" for v in values.tolist()],
                textposition=np.where(known >= 0, "middle right", "middle left").tolist(),
                textfont={
                    "size": 12,
                    "color": np.where(np.isfinite(values), colours[k], look.muted).tolist(),
                },
                hoverinfo="skip",
            )
        )
    key = "   ".join(
        f"<span style='color:{colour}'><b>{mark} {name}</b></span>"
        for colour, mark, name in zip(colours, ("■", "▨"), called, strict=True)
    )
    title = f"What each {a.level} is worth{f' to the logit of {labels[0]}' if same else ''}"
    both = f"{title}: {called[0]} beside {called[1]}"
    shape = layout(
        look,
        both if len(both) <= LONGEST_TITLE else f"{title}, side by side",  # the line below has the names
        f"{key}   one scale · the same sign in {data.agree} of {data.shared}",
        height=66 + 22 + 48 + row * n,
        margin={"l": 40 + 9 * max(len(name) for name in data.names), "r": 24, "t": 88, "b": 48},
        annotations=_sides(a, look) if same else [],
        xaxis=axis(
            look,
            "worth (logit)" if same else "← opposes its label     worth (logit)     supports its label →",
            range=[-1.28 * data.end, 1.28 * data.end],
            zeroline=True,
            zerolinecolor=look.ink,
            zerolinewidth=1.5,
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            range=[n - 0.5, -0.5],
            tickmode="array",
            tickvals=at.tolist(),
            ticktext=[f"<b>{name}</b>" for name in data.names],
            showgrid=False,
            fixedrange=True,
        ),
    )
    return figure(traces, shape)
