"""Where the beats are, and what each lead saw of them."""

import numpy as np
import pandas as pd
import streamlit as st

from clear_hug import ui
from clear_hug.leads import LEADS
from clear_hug.plots import plot_beat_overlay, plot_beat_strip
from clear_hug.ui import guard, open_page
from clear_hug.words import coverage

page = open_page("Beats")
with guard():
    ecg = page.ecg
    controls = st.columns([2.4, 1.2, 4.4])
    with controls[0]:
        ui.detector_menu(page)
    with controls[1]:
        lead = ui.menu("Lead", ["all", *LEADS], "strip", "II")
    with controls[2]:
        start, seconds = page.stretch()

    tokens = page.tokens
    rate = f"about {tokens.heart_rate:.0f}/min" if tokens.n_beats > 1 else "rate unknown"
    beats = f"{tokens.n_beats} beat{'' if tokens.n_beats == 1 else 's'}"
    st.markdown(f"**{beats}, {rate}.** {ui.say(' '.join(coverage(tokens)))}")
    figure = plot_beat_strip(ecg, tokens, None if lead == "all" else lead, start, seconds, dark=page.dark)
    ui.show(figure, "strip_figure", f"Lead {lead} with the window and the R peak of each of {beats}")

    overlay, table = st.tabs(["All beats on one another", "Table"])
    with overlay:
        ui.show(
            plot_beat_overlay(tokens, dark=page.dark), "overlay", f"{beats} aligned on the R peak, by lead"
        )
    with table:
        before, after = tokens.rr
        rows = {
            "Beat": np.arange(1, tokens.n_beats + 1),
            "R peak, s": tokens.r_peaks.round(3),
            "RR before, ms": (1000 * before).round(),
            "RR after, ms": (1000 * after).round(),
            "Window from, s": tokens.windows[:, 0],
            "Window to, s": tokens.windows[:, 1],
            "Leads with a token": tokens.valid.sum(axis=0),
        }
        st.dataframe(pd.DataFrame(rows), hide_index=True)
