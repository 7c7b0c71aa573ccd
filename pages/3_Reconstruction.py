"""Hide beats, and let the model rebuild them from the others."""

import numpy as np
import pandas as pd
import streamlit as st

from clear_hug import ui
from clear_hug.leads import LEADS
from clear_hug.plots import plot_reconstruction
from clear_hug.reconstruct import HIDE
from clear_hug.ui import guard, open_page
from clear_hug.words import scale_words

page = open_page("Reconstruction")
with guard():
    tokens = page.tokens
    controls = st.columns([2.2, 1.2, 1.2, 4])
    with controls[0]:
        only = tokens.present.sum() == 1  # such a record cannot spare its lead
        preset = ui.menu("Hide", [name for name in HIDE if not (only and name == "One lead")], "hide")
    asks, hide = HIDE[preset]
    lead, beat, seed = LEADS.index("V3"), 0, 0
    if not tokens.present[lead]:
        lead = int(np.argmax(tokens.present))
    with controls[1]:
        if "lead" in asks:
            lead = LEADS.index(ui.menu("Lead", [LEADS[lead]] if only else LEADS, "lead", LEADS[lead]))
        if "seed" in asks:
            seed = ui.number("Seed", "seed", 0, 999, 0)
    with controls[2]:
        if "beat" in asks:
            beat = ui.number("Beat", "beat", 1, tokens.n_beats, min(3, tokens.n_beats)) - 1
    with controls[3]:
        start, seconds = page.stretch()

    hidden = hide(tokens, lead, beat, seed)
    if not hidden.any():
        st.info("There is no such beat in this record: its lead is absent or flat. Hide something else.")
        st.stop()
    rebuilt = page.reconstruct(hidden)
    n, every = int(rebuilt.hidden.sum()), int(tokens.valid.sum())
    st.markdown(
        f"**{n} of {every} beat tokens hidden, rebuilt from the others: R² {rebuilt.r2:.2f}**, median error "
        f"{np.nanmedian(rebuilt.rmse):.3f} {page.unit} (RMSE). " + ui.say(" ".join(scale_words(rebuilt)))
    )

    shown = [LEADS[row] for row in np.flatnonzero(rebuilt.hidden.any(axis=1))]
    figure = plot_reconstruction(tokens, rebuilt, start, seconds, shown, dark=page.dark)
    ui.show(figure, "rebuilt", f"The hidden beats of {', '.join(shown)}: recorded, and rebuilt by the model")

    with st.expander("Error of each hidden token"):
        rows, beats = np.nonzero(rebuilt.hidden)
        predicted = rebuilt.scale_predicted[rows, beats]
        errors = {
            "Lead": [LEADS[row] for row in rows],
            "Beat": beats + 1,
            "R peak, s": tokens.r_peaks[beats].round(3),
            f"RMSE, {page.unit}": rebuilt.rmse[rows, beats].round(4),
            "r": rebuilt.r[rows, beats].round(3),
            "Scale": np.where(predicted, "predicted", "from the lead's visible beats"),
        }
        st.dataframe(pd.DataFrame(errors), hide_index=True)
    ui.model_line(rebuilt)
