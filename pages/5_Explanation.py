"""Why: the exact contribution of each lead to a label, and where the model looked."""

import streamlit as st

from clear_hug import ui
from clear_hug.explain import METHODS
from clear_hug.plots import plot_attention, plot_contributions, plot_painted_ecg, plot_waterfall
from clear_hug.ui import guard, open_page
from clear_hug.words import LEAD_TOKEN_WORDS, LEFT_OUT_WORDS, missing, sum_words

page = open_page("Explanation")
with guard():
    controls = st.columns([3, 4])
    with controls[0]:
        target = ui.target_menu(page)
    with controls[1]:
        start, seconds = page.stretch()
    lead = page.explain(target)
    words = page.checkpoint.description[target]
    for sentence in missing(page.tokens):
        st.warning(ui.say(sentence))
    st.markdown(sum_words(lead))

    # only the tab that is open is computed and sent
    names = ["On the trace", "Bars", "Waterfall", "Left out", "Attention"]
    trace, bars, fall, removed, attention = st.tabs(names, key="view", on_change="rerun")
    if trace.open:
        with trace:
            figure = plot_painted_ecg(page.ecg, lead, start, seconds, dark=page.dark)
            alt = f"The ECG, each lead in the colour of its contribution to {words}"
            ui.show_paper(figure, "painted", alt)
            st.caption(LEAD_TOKEN_WORDS)
    if bars.open:
        with bars:
            level = ui.choices("Contributions by", list(METHODS["hug"].levels), "level")
            figure = plot_contributions(page.explain(target, level=level), dark=page.dark)
            ui.show(figure, "bars", f"What each {level} adds to the logit of {words}, or takes from it")
            st.caption(LEAD_TOKEN_WORDS)
    if fall.open:
        with fall:
            alt = f"From the bias by leads to the logit of {words}"
            ui.show(plot_waterfall(lead, dark=page.dark), "waterfall", alt)
    if removed.open:
        with removed:
            parts = ui.choices("Parts left out", ["beat", "lead", "group"], "parts")
            figure = plot_contributions(page.worth(target, parts), dark=page.dark)
            ui.show(figure, "removed", f"What each {parts} is worth to the logit of {words}")
            st.caption(LEFT_OUT_WORDS)
    if attention.open:
        with attention:
            looked = page.explain(target, "attention", "token")
            figure = plot_attention(looked, page.tokens, dark=page.dark)
            alt = "The share of each lead token's attention that each of its beats gets"
            ui.show(figure, "attention", alt)
            st.caption(
                "Attention shows where each lead token looked, the same for every label. It adds up to "
                "nothing, and is no measure of importance."
            )
    ui.model_line(lead)
