"""What is hidden from the model on the Reconstruction page: by menus or by clicks, kept in the link."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens
from clear_hug.checkpoint import Checkpoint
from clear_hug.ecg import ECG, ECGError
from clear_hug.leads import LEADS
from clear_hug.novelty import Novelty, novelty
from clear_hug.reconstruct import (
    KNOWN,
    Reconstruction,
    as_the_model_sees_it,
    hidden_of,
    hidden_words,
    hide_at_random,
    hide_beats,
    hide_leads,
    lead_errors,
)
from clear_hug.ui.menus import choices, number
from clear_hug.ui.records import choose
from clear_hug.ui.results import Page, results_of
from clear_hug.ui.show import CHART, clicked, in_time, say
from clear_hug.words import NOTICE

Bools = NDArray[np.bool_]

CHOSEN, RANDOM = "what you choose", "a share at random"
HIDDEN, GIVEN, TOKEN = "hidden", "given", "token"  # in the address: "V3,:5,II:4"; "I,II,V2"; "V3:5"
NOTHING = "none"  # of `HIDDEN`, where everything is shown
LEADS_KEY, BEATS_KEY, GIVEN_KEY = "hidden_leads", "hidden_beats", "given_leads"  # widgets
FIRST_LEAD = "V3"  # hidden at first
OWN = "own choice"
MOST_PILLS = 24
ROW = 28  # px, of the table of errors
WIDTHS = {"Lead": 48, "n": 40, "R² lin.": 62, "r lin.": 56, "MAE lin.": 72}  # px
MOST_IN_TURN = 2000  # tokens; of a longer record those of the stretch shown are hidden in turn


@st.cache_resource(max_entries=16, show_spinner=False)
def _trace(digest: str, _ecg: ECG) -> ECG:
    return as_the_model_sees_it(_ecg)


def trace_of(page: Page) -> ECG:
    """The record as the model sees it."""
    return _trace(page.ecg.digest, page.ecg)


def novelty_of(page: Page, start: float, seconds: float) -> Novelty | None:
    """Each token hidden in turn; None where that was stopped."""
    tokens, beats = page.tokens, None
    if tokens.valid.sum() > MOST_IN_TURN:
        beats = (tokens.windows[:, 1] > start) & (tokens.windows[:, 0] < start + seconds)
    question = ("each token in turn", "" if beats is None else f"{start:g}")

    def work(tick: Any) -> Novelty:
        return novelty(page.checkpoint, tokens, beats, tick=tick)

    kept = results_of(*page.key, *question)
    found: Novelty | None = in_time(
        kept, "-".join((*page.key, *question)), "Hiding each token in turn ...", work
    )
    return found


# What is hidden


def pick_hidden(page: Page) -> Bools:
    """Menus for what is hidden; (12, beat) bool."""
    tokens = page.tokens
    kind, left, right = st.columns([3.1, 3.9, 3.4])
    with kind:
        how = choices("Hide", [CHOSEN, RANDOM], "hide")
    if how == RANDOM:
        with left:
            share = number("Share of the tokens, %", "share", 1, 99, 80)
        with right:
            seed = number("Seed", "seed", 0, 999, 0)
        return hide_at_random(tokens, share / 100, seed)
    asked = st.query_params.get(HIDDEN)
    hidden, left_out = hidden_of(tokens, asked or "")
    if not asked or (asked != NOTHING and not hidden.any()):
        hidden = first_hidden(tokens)
    if asked and asked != NOTHING and left_out:
        some = ", ".join(left_out[:8]) + (" ..." if len(left_out) > 8 else "")
        said = f"Absent or flat in this record, or beyond its beats, so not hidden: {some}."
        if not hidden_of(tokens, asked)[0].any():
            said += f" Hidden instead: {hidden_words(tokens, hidden)}."
        st.info(say(said))
    shown = tokens.valid & ~hidden
    leads = [lead for lead, here in zip(LEADS, tokens.present, strict=True) if here]
    beats = [str(beat + 1) for beat in np.flatnonzero(tokens.valid.any(axis=0))]
    whole = {
        LEADS_KEY: [lead for lead in leads if not shown[LEADS.index(lead)].any()],
        BEATS_KEY: [beat for beat in beats if not shown[:, int(beat) - 1].any()],
    }
    menus = {LEADS_KEY: ("Whole leads", leads, left), BEATS_KEY: ("Whole beats", beats, right)}
    for key, (label, options, place) in menus.items():
        st.session_state[key] = whole[key]
        call: dict[str, Any] = {"key": key, "on_change": _whole, "args": (tokens, hidden, key, whole[key])}
        if len(options) > MOST_PILLS:
            place.multiselect(label, options, **call)
        else:
            place.pills(label, options, selection_mode="multi", wrap=True, **call)
    return hidden


def first_hidden(tokens: BeatTokens) -> Bools:
    """What is hidden until something is chosen: a whole lead; one beat of a record that can spare none."""
    present = np.flatnonzero(tokens.present)
    lead = LEADS.index(FIRST_LEAD) if tokens.present[LEADS.index(FIRST_LEAD)] else int(present[-1])
    if present.size > 1:
        return hide_leads(tokens, [LEADS[lead]])
    beats = np.flatnonzero(tokens.valid[lead])
    return hide_beats(tokens, [int(beats[min(2, beats.size - 1)])])


def _whole(tokens: BeatTokens, hidden: Bools, key: str, before: list[str]) -> None:
    """A lead or a beat was pressed: all of it is hidden, or shown."""
    changed = set(st.session_state[key] or []) ^ set(before)
    for name in changed:
        where = (LEADS.index(name), -1) if key == LEADS_KEY else (-1, int(name) - 1)
        hidden = toggled(tokens, hidden, *where)
    _write(tokens, hidden)


def toggled(tokens: BeatTokens, hidden: Bools, lead: int, beat: int) -> Bools:
    """The hidden set with a token turned over, or all tokens of a lead (beat -1) or of a beat (lead -1).

    What is hidden in part is hidden whole first.
    """
    one = np.zeros_like(hidden)
    one[lead if lead >= 0 else slice(None), beat if beat >= 0 else slice(None)] = True
    one &= tokens.valid
    return hidden & ~one if (hidden | ~one).all() else hidden | one


def _write(tokens: BeatTokens, hidden: Bools) -> None:
    choose(**{HIDDEN: hidden_words(tokens, hidden) or NOTHING})


def pick_on_map(figure: Any, key: str, alt: str, tokens: BeatTokens, hidden: Bools) -> None:
    """Draw a map whose squares, when clicked, are hidden or shown."""
    _clickable(figure, key, alt, partial(_clicked, key, tokens, hidden))


def _clickable(figure: Any, key: str, alt: str, called: Any) -> None:
    st.plotly_chart(figure, width="stretch", theme=None, key=key, config=CHART, alt=alt,
                    on_select=called, selection_mode="points")  # fmt: skip


def _points(key: str) -> list[tuple[int, int]]:
    """(row of the lead, row of the beat) of what was clicked."""
    return [(int(click.held[0]), int(click.held[1])) for click in clicked(key) if click.held]


def _clicked(key: str, tokens: BeatTokens, hidden: Bools) -> None:
    points = _points(key)
    for lead, beat in points:
        hidden = toggled(tokens, hidden, lead, beat)
    if points:
        _write(tokens, hidden)
        st.session_state["hide"] = CHOSEN


def pick_token_on_map(figure: Any, key: str, alt: str) -> None:
    """Draw a map whose squares, when clicked, are looked at."""
    _clickable(figure, key, alt, partial(_looked_at, key))


def _looked_at(key: str) -> None:
    for lead, beat in _points(key)[-1:]:
        choose(**{TOKEN: f"{LEADS[lead]}:{beat + 1}"})


def token_of(tokens: BeatTokens, values: NDArray[np.float64], first: int) -> tuple[int, int]:
    """(row of the lead, row of the beat) that the address names; else the largest value of beat `first`."""
    asked, _ = hidden_of(tokens, st.query_params.get(TOKEN, ""))
    named = np.argwhere(asked & np.isfinite(values))
    if len(named) == 1:
        return int(named[0][0]), int(named[0][1])
    return int(np.nanargmax(values[:, first])), first


def pick_known(page: Page) -> Bools:
    """Menus for the leads that are known; (12, beat) bool, all others hidden."""
    tokens = page.tokens
    kind, own = st.columns([4, 6])
    with kind:
        preset = choices("Known leads", [*KNOWN, OWN], "known")
    present = [lead for lead, here in zip(LEADS, tokens.present, strict=True) if here]
    if preset == OWN:
        asked = [lead for lead in st.query_params.get(GIVEN, "").split(",") if lead in present]
        given = asked or [lead for lead in next(iter(KNOWN.values())) if lead in present] or present[:1]
        st.session_state[GIVEN_KEY] = given
        own.pills("The leads that are known", present, selection_mode="multi", wrap=True, key=GIVEN_KEY,
                  on_change=_given)  # fmt: skip
    else:
        given = [lead for lead in KNOWN[preset] if lead in present]
        gone = [lead for lead in KNOWN[preset] if lead not in present]
        if gone and given:
            st.info(f"Absent or flat in this record, so not among the known: {', '.join(gone)}.")
    hidden = hide_leads(tokens, [lead for lead in present if lead not in given])
    if not given:
        raise ECGError(
            f"none of the leads that are to be known ({', '.join(KNOWN[preset])}) is in this record; "
            f"choose another set, or {OWN}."
        )
    if not hidden.any():
        raise ECGError(
            f"all leads of this record ({', '.join(present)}) are known, and none is left to be rebuilt; "
            "take one out of the known ones."
        )
    return hidden


def _given() -> None:
    chosen: Sequence[str] = st.session_state[GIVEN_KEY] or []
    choose(**{GIVEN: ",".join(lead for lead in LEADS if lead in chosen) or None})


# Errors


def errors_by_lead(tokens: BeatTokens, ours: Reconstruction, linear: Reconstruction) -> dict[str, Any]:
    """The errors of each lead that has a hidden token, ours beside the linear baseline's, as columns."""
    mine, theirs = lead_errors(tokens, ours), lead_errors(tokens, linear)
    rows = np.flatnonzero(mine.tokens > 0)
    table: dict[str, Any] = {"Lead": [LEADS[row] for row in rows], "n": mine.tokens[rows]}
    for name, what in (("R²", "r2"), ("r", "r"), ("MAE", "mae")):
        table |= {name: getattr(mine, what)[rows], f"{name} lin.": getattr(theirs, what)[rows]}
    return table


def show_errors(tokens: BeatTokens, ours: Reconstruction, linear: Reconstruction) -> None:
    """Errors by lead, as a table that fits half of the page."""
    table = errors_by_lead(tokens, ours, linear)
    mae = table["MAE"][np.isfinite(table["MAE"])]
    digits = 3 if tokens.units_known or not mae.size else max(0, 2 - int(np.floor(np.log10(mae.max() or 1))))
    columns: dict[str, Any] = {
        name: st.column_config.NumberColumn(
            width=WIDTHS.get(name, 54), format=f"%.{digits if 'MAE' in name else 3}f"
        )
        for name in table
        if name not in ("Lead", "n")
    }
    columns |= {name: st.column_config.Column(width=WIDTHS[name]) for name in ("Lead", "n")}
    st.dataframe(
        table,
        hide_index=True,
        row_height=ROW,
        placeholder="–",
        height=ROW * (len(table["Lead"]) + 1) + 12,
        column_config=columns,
    )


def hide_whole(tokens: BeatTokens, beat: int) -> None:
    """Hide all of a beat, and nothing else."""
    st.session_state["hide"] = CHOSEN
    _write(tokens, hide_beats(tokens, [beat]))


def errors_csv(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    ours: Reconstruction,
    linear: Reconstruction,
    surprise: NDArray[np.float64] | None = None,
) -> bytes:
    """The errors of each hidden token, one a row, below lines that begin with "#"; of no patient's name.

    surprise : (12, beat) where each token was hidden in turn
    """
    unit = "mV" if tokens.units_known else "arbitrary units"
    out = io.StringIO()
    table = csv.writer(out)
    out.write(f"# {NOTICE}\r\n# model: {checkpoint.name} {checkpoint.digest}\r\n# errors in {unit}\r\n")
    table.writerow(["lead", "beat", "r_peak_s", "rmse", "r", "rmse_linear", "r_linear", "scale_predicted",
                    *(["surprise"] if surprise is not None else [])])  # fmt: skip
    for lead, beat in np.argwhere(ours.hidden):
        numbers = [ours.rmse, ours.r, linear.rmse, linear.r]
        told = [f"{x[lead, beat]:.6g}" if np.isfinite(x[lead, beat]) else "" for x in numbers]
        more = []
        if surprise is not None:
            more = [f"{surprise[lead, beat]:.4g}" if np.isfinite(surprise[lead, beat]) else ""]
        table.writerow([LEADS[lead], beat + 1, f"{tokens.r_peaks[beat]:.3f}", *told,
                        int(ours.scale_predicted[lead, beat]), *more])  # fmt: skip
    return out.getvalue().encode()
