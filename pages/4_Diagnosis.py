"""Every label with its probability, at an operating point, and what the answer rests on."""

import streamlit as st

from clear_hug import ui
from clear_hug.operating import DEFAULT, operate, rare_labels
from clear_hug.plots import plot_probabilities, plot_window_probabilities
from clear_hug.ui import guard, open_page
from clear_hug.ui.answer import (
    POINT_WORDS,
    REFER_WORDS,
    operating_menu,
    show_called,
    show_gate,
    show_one,
    show_table,
)
from clear_hug.ui.reading import answer_hidden, commit_form, compare, read_first_switch
from clear_hug.words import rests_on

page = open_page("Diagnosis")
EVERY = "all"
with guard():
    answer, checkpoint = page.diagnosis, page.checkpoint
    unusual, switch = st.columns([6, 1.3], vertical_alignment="center")
    with unusual:
        show_gate(page)
    with switch:
        reading_first = read_first_switch()
    if answer_hidden(page):
        commit_form(page)
        ui.show_overview(page)
        st.stop()

    called = st.container()  # the first to be read; what it shows is chosen below it
    sets, points = st.columns([6, 5], gap="medium")
    with points:
        kind, level = operating_menu(page)
    names = [task.name for task in checkpoint.tasks]
    with sets:
        task = ui.choices("Label set", [*names, EVERY], "task") if len(names) > 1 else names[0]
    operated = operate(answer, checkpoint, kind, level)
    with called:
        show_called(page, operated)
        if reading_first:
            compare(page, operated, {"kind": kind, "level": level if kind != DEFAULT else None})

    figure = plot_probabilities(
        operated.diagnosis,
        checkpoint.description,
        None if task == EVERY else task,
        dark=page.dark,
        bands=operated.bands,
        known=page.known,
        rare=rare_labels(operated.diagnosis, checkpoint),
    )
    alt = "Probability and threshold of each label, and where the model is unsure; the table has all of it"
    ui.show(figure, "probabilities", alt)
    st.caption(
        "How to read this: a bar that reaches its upright tick is called; one that ends in the hatched part "
        f"is to be referred. {POINT_WORDS[kind]}"
    )
    if checkpoint.operating:
        st.caption(REFER_WORDS)

    st.markdown("#### One label")
    with st.columns([3, 4])[0]:
        target = ui.target_menu(page)
    show_one(page, operated, target)
    if len(answer.window_spans) > 1:
        figure = plot_window_probabilities(operated.diagnosis, checkpoint, target, dark=page.dark)
        ui.show(figure, "windows", f"Probability of {checkpoint.description[target]} in each window")
        st.caption("How to read this: a dot a window of the record; the record's own answer is the line.")

    with st.expander("All labels as a table"):
        show_table(page, operated)
    with st.expander("What the answer rests on"):
        st.markdown(ui.bullets(rests_on(page.ecg, page.tokens, answer)))
    if st.toggle(f"Model card of {ui.say(answer.model)}", key="card"):  # long: sent when it is asked for
        st.markdown(page.model_card)
    ui.model_line(answer)
