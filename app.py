"""Home: pick or open a record, and see it at a glance."""

import numpy as np
import streamlit as st

from clear_hug import ui
from clear_hug.operating import operate
from clear_hug.ui import guard, open_page
from clear_hug.ui.answer import operating_point, point_words, show_gate, show_normal
from clear_hug.ui.printed import ON_SCREEN
from clear_hug.ui.reading import answer_hidden

page = open_page("Home")

pickers = st.container(key=f"{ON_SCREEN}_pickers")
built_in, folder, upload, online = pickers.columns([3, 3, 3, 2], gap="medium")
with built_in:
    ui.pick_built_in(page)
with folder, guard():
    ui.pick_from_folder(page)
with upload, guard():
    ui.pick_upload()
with online:
    ui.pick_physionet()
ui.show_upload_error()

with guard(stop=True):  # the pickers above stay, for a record that can be read
    _ = page.ecg
answer = None
with guard():
    answer = page.diagnosis
    kind, level = operating_point(page)
    called = operate(answer, page.checkpoint, kind, level).diagnosis.called
    targets = np.array(page.checkpoint.targets)
    show_gate(page, brief=True)
    words, to_labels, to_why = st.columns([6, 1, 1])
    if answer_hidden(page):
        words.markdown("**Read first:** the answer is hidden until you commit yours on the Diagnosis page.")
    else:
        words.markdown(
            f"**Most probable ({page.checkpoint.tasks[0].name}):** "
            + " · ".join(
                ui.say(f"{page.words(row)} {answer.probabilities[row]:.0%}")
                + (" (called)" if called[row] else "")
                for row in page.ranking[:3]
            )
        )
        said = {page.words(row) for row in page.ranking[:3] if called[row]}
        others: dict[str, float] = {}  # words -> probability; a label that two tasks have stands once
        for row in page.ranking:
            if called[row] and page.words(row) not in said:
                others.setdefault(page.words(row), answer.probabilities[row])
        if others:
            words.markdown(
                "**Called beside them:** "
                + " · ".join(ui.say(f"{name} {p:.0%}") for name, p in others.items())
            )
        with words:
            show_normal(page, targets[called].tolist())
            if at := point_words(kind, level):
                st.caption(f"Called at a {at}, as chosen on the Diagnosis page.")
    with to_labels:
        ui.link("4_Diagnosis", "All labels")
    with to_why:
        ui.link("5_Explanation", "Why")

with guard():
    ui.show_overview(page)
    ui.show_facts(page)
if answer:
    ui.model_line(answer)
