"""Contributions as areas: from groups to leads to beats, adding up at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.leads import GROUPS, LEADS
from clear_hug.plots.explanation import SHOWN, check, label_of
from clear_hug.plots.theme import colours_at, figure, ink_on, largest, layout, signed, signed_places, theme

if TYPE_CHECKING:
    from clear_hug.explain import Attribution

MANY = 200  # nodes from which on the lines between them are thin
WORDY = 4.5  # % of the area from which on a number has room beside the name
ROUNDING = 1e-6  # of a logit, by which a lead may differ from the sum of its beats


@dataclass(frozen=True, eq=False)
class Areas:
    """A tree, a row a node, parents first.

    ids, names, parents : the root's parent is "";  depth : 0 root, 1 group, 2 lead, 3 beat
    values : signed, of a parent the sum of its children's
    areas : |values| of leaves, of a parent the sum of its children's
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    parents: tuple[str, ...]
    depth: NDArray[np.int64]
    values: NDArray[np.float64]
    areas: NDArray[np.float64]

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """(node,) True where a node has no children."""
        return ~np.isin(self.ids, self.parents)


def _areas_data(attribution: Attribution, beat_values: NDArray[np.floating] | None) -> Areas:
    check(attribution, "lead", adds_up=True)
    leads = np.asarray(attribution.values, dtype=np.float64)
    if beat_values is not None:
        beats = np.asarray(beat_values, dtype=np.float64)
        if beats.ndim != 2 or len(beats) != len(LEADS):
            raise ValueError(f"beat_values has shape {beats.shape}; expected (12, beat).")
        off = np.abs(np.nansum(beats, axis=1) - np.nan_to_num(leads))
        worst = int(off.argmax())
        if off[worst] > ROUNDING:
            raise ValueError(
                f"the beats of {LEADS[worst]} are off its own value by {off[worst]:.2g}; give leads and "
                "beats of one method whose beats add up to the lead."
            )
    rows: list[tuple[str, str, str, int, float]] = []  # of the leaves' ancestors too; sums come after
    for group, members in GROUPS.items():
        known = [row for row in members if np.isfinite(leads[row])]
        if not known:
            continue
        rows.append((group, group, "all", 1, 0.0))
        for row in known:
            name = LEADS[row]
            rows.append((f"{group}/{name}", name, group, 2, float(leads[row])))
            if beat_values is not None:
                rows += [
                    (f"{group}/{name}/{beat}", f"{beat + 1}", f"{group}/{name}", 3, float(beats[row, beat]))
                    for beat in np.flatnonzero(np.isfinite(beats[row]))
                ]
    if abs(attribution.residual) > SHOWN:
        rows.append(("residual", "residual", "all", 1, float(attribution.residual)))
    rows.insert(0, ("all", label_of(attribution), "", 0, 0.0))
    ids, names, parents, depth, own = (list(column) for column in zip(*rows, strict=True))
    inner = set(parents)
    values = {i: 0.0 if i in inner else v for i, v in zip(ids, own, strict=True)}
    areas = {i: abs(v) for i, v in values.items()}
    for i, parent in zip(reversed(ids), reversed(parents), strict=True):
        if parent:
            values[parent] += values[i]
            areas[parent] += areas[i]
    return Areas(
        tuple(ids),
        tuple(names),
        tuple(parents),
        np.array(depth),
        np.array([values[i] for i in ids]),
        np.array([areas[i] for i in ids]),
    )


def plot_icicle(
    attribution: Attribution, beat_values: NDArray[np.floating] | None = None, dark: bool = False
) -> go.Figure:
    """From the logit down to groups, leads and beats: areas and signed numbers add up at every step.

    Parameters
    ----------
    attribution : from `explain(..., level="lead")`, by a method that adds up
    beat_values : (12, beat), which sum to the lead's value in each lead; NaN where there is no token
    dark : theme

    An area cannot be negative: it is the size of the contribution, its colour and its number are signed.
    """
    look = theme(dark)
    data = _areas_data(attribution, beat_values)
    # each row has its own strongest colour, for a beat is small beside a lead
    colours = np.empty(len(data.ids), dtype=object)
    for depth in np.unique(data.depth):
        row = data.depth == depth
        places = signed_places(data.values[row], largest(data.values[row]))
        colours[row] = colours_at(look.two_sided, places)
    end = largest(data.values[data.depth == 2])
    words = [signed(v, end if d > 1 else None) for v, d in zip(data.values, data.depth, strict=True)]
    names = ["beat " + n if d == 3 else n for n, d in zip(data.names, data.depth, strict=True)]
    share = 100 * data.areas / (data.areas[0] or 1.0)
    start = "that of flat beats" if "gradients" in attribution.method else "its bias"
    text = [
        f"<b>logit of {name} less {start}: {word}</b>"
        if d == 0
        else name
        if d == 3
        else f"<b>{name}</b><br>{word}"
        if s >= WORDY
        else f"<b>{name}</b>"
        for name, word, d, s in zip(data.names, words, data.depth, share, strict=True)
    ]
    trace = go.Icicle(
        ids=data.ids,
        labels=names,
        parents=data.parents,
        values=data.areas,
        branchvalues="total",
        sort=False,
        tiling={"orientation": "v", "pad": 0},
        leaf={"opacity": 1},
        pathbar={"visible": False},
        marker={
            "colors": colours.tolist(),
            "line": {"color": look.page, "width": 1.5 if len(data.ids) < MANY else 0.5},
        },
        text=text,
        textinfo="text",
        textposition="middle center",
        textfont={"size": 14, "color": ink_on(colours.tolist())},
        customdata=np.column_stack([words, [f"{s:.1f}" for s in share]]),
        hovertemplate="<b>%{label}</b>: %{customdata[0]} on the logit<br>%{customdata[1]} % of the area"
        "<extra></extra>",
        name="",
    )
    parts = "groups, leads and beats" if beat_values is not None else "groups and leads"
    shape = layout(
        look,
        f"{label_of(attribution)} by {parts}",
        "width: size of the contribution · colour and signed number: orange supports, blue opposes; the "
        "strongest is the largest of its row" + (" · last row: beats" if beat_values is not None else ""),
        height=420 if beat_values is not None else 340,
        margin={"l": 14, "r": 14, "t": 72, "b": 14},
        uniformtext={"minsize": 11, "mode": "hide"},
    )
    return figure([trace], shape)
