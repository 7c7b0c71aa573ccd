"""What if a beat, a lead or a group were not there: every probability at once."""

import streamlit as st

from clear_hug import ui
from clear_hug.plots import plot_what_if, plot_what_is_left, roomy_layout
from clear_hug.ui import guard, open_page
from clear_hug.ui.reading import wait_for_reading
from clear_hug.words import WHAT_IF_WORDS, removed_words

page = open_page("What if")
MOST = 8  # labels shown
with guard():
    wait_for_reading(page)
    hidden = ui.switches(page)
    start, seconds = page.stretch()
    ui.show_missing(page)
    before, after = page.diagnosis, page.without(hidden)
    st.markdown(f"**{ui.say(removed_words(page.tokens, hidden))}**")
    if hidden[page.tokens.valid].all():
        st.warning(
            "Nothing is left to be read. What follows is the answer to an average record, not to this one."
        )
    figure = plot_what_if(
        before.probabilities,
        after.probabilities,
        before.thresholds,
        page.checkpoint.targets,
        page.checkpoint.description,
        by="move" if hidden.any() else "before",
        most=MOST,
        dark=page.dark,
    )
    ui.show(figure, "probabilities", "The probability of each label with everything there, and without")
    figure = plot_what_is_left(
        page.ecg, page.tokens, hidden, start, seconds, roomy_layout(page.ecg), page.dark
    )
    ui.show_paper(figure, "left", "The ECG; what is switched off is faint")
    st.caption(WHAT_IF_WORDS)
    ui.model_line(after)
