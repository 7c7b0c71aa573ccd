"""Every label with its probability, and what the answer rests on."""

import numpy as np
import pandas as pd
import streamlit as st

from clear_hug import ui
from clear_hug.plots import plot_probabilities, plot_window_probabilities
from clear_hug.ui import guard, open_page
from clear_hug.words import rests_on

page = open_page("Diagnosis")
with guard():
    answer, checkpoint = page.diagnosis, page.checkpoint
    called = page.called()
    top = page.ranking[0]
    head, why = st.columns([6, 1], vertical_alignment="center")
    if called:
        lines = {
            task: "; ".join(f"{page.words(row)} ({answer.probabilities[row]:.0%})" for row in rows)
            for task, rows in called.items()
        }
        if len(checkpoint.tasks) == 1:
            head.markdown(f"#### Called: {ui.say(next(iter(lines.values())))}")
        else:
            head.markdown("#### Called")
            head.markdown(ui.bullets(f"{task}: {words}" for task, words in lines.items()))
    else:
        words = f"The most probable is {page.words(top)} ({answer.probabilities[top]:.0%})."
        head.markdown(f"#### No label is called. {ui.say(words)}")
    with why:
        ui.link("5_Explanation", "Why", target=checkpoint.targets[top])
    st.markdown(f"**It rests on:** {ui.say(' '.join(rests_on(page.ecg, page.tokens, answer)))}")

    names = [task.name for task in checkpoint.tasks]
    task = ui.choices("Label set", names, "task") if len(names) > 1 else names[0]
    figure = plot_probabilities(answer, checkpoint.description, task, dark=page.dark)
    ui.show(figure, "probabilities", "Probability and threshold of each label; the table below has both")

    if len(answer.window_spans) > 1:
        with st.columns([3, 4])[0]:
            target = ui.target_menu(page)
        figure = plot_window_probabilities(answer, checkpoint, target, dark=page.dark)
        ui.show(figure, "windows", f"Probability of {checkpoint.description[target]} in each window")

    with st.expander("All labels as a table"):
        rows = {
            "Task": answer.tasks,
            "Label": answer.labels,
            "In words": [page.words(row) for row in range(len(answer.labels))],
            "Probability": answer.probabilities.round(3),
            "Threshold": answer.thresholds.round(3),
            "Called": np.where(answer.called, "yes", "no"),
        }
        st.dataframe(pd.DataFrame(rows).iloc[page.ranking], hide_index=True)
    if st.toggle(f"Model card of {ui.say(answer.model)}", key="card"):  # long: sent when it is asked for
        st.markdown(page.model_card)
    ui.model_line(answer)
