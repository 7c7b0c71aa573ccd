"""Where the beats are, what each lead saw of them, and R peaks set right by hand."""

import numpy as np
import pandas as pd
import streamlit as st

from clear_hug import ui
from clear_hug.ecg import gaps_between, mean_rate
from clear_hug.leads import LEADS
from clear_hug.plots import plot_beat_overlay, plot_beat_strip
from clear_hug.ui import guard, open_page
from clear_hug.words import beat_reasons, coverage

page = open_page("Beats")
READ_STRIP = (
    "How to read this: ▼ is an R peak, on the window that its tokens hold; the boxes above are RR intervals "
    "in ms, orange where short, blue where long. Orange windows differ from the usual beat, for the reason "
    "below them: early (E), wide (W), or odd (O), of another shape; the mark, pointed at, has the figures."
)
READ_EDIT = "Hollow marks were set by hand, × were removed. Click on the trace to choose where to add one."
READ_TABLE = (
    "How to read this: a row is a beat of the stretch shown; choose one to see it in the figures. RR is the "
    "interval before it, r how alike its QRS and the usual one are; a beat that differs is early by its RR, "
    "wide by its QRS, or odd by its r."
)
READ_OVERLAY = (
    "How to read this: each beat as the model gets it, its R peak at 0; where thin lines leave the thick "
    "median, beats differ. Lines end where the beat's window ends."
)
with guard():
    ecg = page.ecg
    controls = st.columns([2.2, 1.1, 1.9, 3.6], vertical_alignment="bottom")
    with controls[0]:
        ui.detector_menu(page)
    with controls[1]:
        lead = ui.menu("Lead", ["all", *LEADS], "strip", "II")
    with controls[3]:
        start, seconds = page.stretch()
    tokens, chosen, near, differing = None, None, None, {}
    with guard():  # a record whose beats are not found: they can be set by hand
        tokens = page.tokens
        near = page.beats_near(start, seconds)
        reasons = beat_reasons(near.facts, near.tokens.rr[0])
        differing = {near.first + row: words for row, words in reasons.items()}
        chosen = ui.chosen_beat(tokens.n_beats)
    with controls[2]:
        editing = st.toggle("Edit R peaks by hand", key="edit", bind="query-params") or tokens is None

    names = None if lead == "all" else [lead]
    edits = page.edits
    hand = edits.seconds[edits.added | edits.moved] if edits else np.empty(0)
    by_hand = np.flatnonzero(np.isin(tokens.r_peaks if tokens else [], hand))
    beats = "no beat"
    if tokens:
        mean = mean_rate(tokens.r_peaks, gaps_between(ecg, tokens.r_peaks))
        rate = f"about {mean:.0f}/min" if np.isfinite(mean) else "rate unknown"
        beats = f"{tokens.n_beats} beat{'' if tokens.n_beats == 1 else 's'}"
        odd = f", {len(differing)} unlike the usual one" if differing else ""
        where = " near this stretch" if near and near.tokens.n_beats < tokens.n_beats and odd else ""
        st.markdown(f"**{beats}, {rate}{odd}{where}.** {ui.say(' '.join(coverage(tokens)))}")
    figure = plot_beat_strip(
        ecg,
        tokens,
        None if lead == "all" else lead,
        start,
        seconds,
        chosen,
        page.dark,
        differing,
        by_hand.tolist(),
        edits.removed / ecg.fs if edits else None,
        editing,
        ui.time_to_add(ecg) if editing else None,
    )
    ui.pick_in_strip(figure, f"Lead {lead} with the window and the R peak of each of {beats}")
    st.caption(f"{READ_STRIP} {READ_EDIT if editing else ''}")
    if editing:
        ui.edit_tools(page, tokens, chosen)

    if tokens and near:
        rows = np.flatnonzero((tokens.r_peaks >= start) & (tokens.r_peaks <= start + seconds))
        local, before = rows - near.first, tokens.rr[0]
        table = {
            "Beat": rows + 1,
            "R peak, s": tokens.r_peaks[rows].round(3),
            "RR, ms": (1000 * before[rows]).round(),
            "QRS, ms": (1000 * near.facts.duration[local]).round(),
            "r": near.facts.resemblance[local].round(2),
            "Differs": [differing.get(row, ("", ""))[0] for row in rows.tolist()],
            "Set by": np.where(np.isin(rows, by_hand), "hand", page.detector),
            "Leads": tokens.valid[:, rows].sum(axis=0),
            "Window, s": [f"{a:.2f} to {b:.2f}" for a, b in tokens.windows[rows]],
        }
        here = None if chosen is None else chosen - near.first
        look = {"dark": page.dark, "selected": here, "differing": list(reasons)}
        of = "Beat tokens" if near.tokens.n_beats == tokens.n_beats else (
            f"Beat tokens, {near.tokens.r_peaks[0]:.0f} to {near.tokens.r_peaks[-1]:.0f} s")  # fmt: skip
        left, right = st.columns([3, 2]) if names else (st.container(), None)
        with left:
            if chosen is not None and chosen not in rows:
                st.caption(f"Beat {chosen + 1} lies at {tokens.r_peaks[chosen]:.1f} s, outside this stretch.")
            ui.pick_in_table(pd.DataFrame(table), rows.tolist(), chosen)
            st.caption(READ_TABLE)
        if right:
            with right:
                figure = plot_beat_overlay(near.tokens, names, title=of, **look)
                ui.show(figure, "overlay_lead", f"Lead {lead}: {beats} aligned on the R peak")
        figure = plot_beat_overlay(near.tokens, title=f"{of}, all leads, aligned on the R peak", **look)
        ui.show(figure, "overlay", f"{beats} aligned on the R peak, by lead")
        st.caption(READ_OVERLAY)
    with st.expander("Export, import and keep R peaks"):
        ui.edit_files(page, editing)
