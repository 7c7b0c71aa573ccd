"""Many records at once: a table, a map of what looks alike, and the neighbours of one."""

import streamlit as st

from clear_hug import ui
from clear_hug.plots import plot_cohort_map
from clear_hug.ui import cohort as many
from clear_hug.ui import guard, open_page
from clear_hug.ui.reading import wait_while_reading_first

page = open_page("Cohort")
MAP_WORDS = (
    "How to read this: each point is a record, and points that lie side by side look alike to the model. "
    "Click one for its neighbours: the records whose embedding points the same way (cosine, 1 is the same)."
)
TABLE_WORDS = (
    "How to read this: the menus above sort and filter all records, the head of a column sorts this page "
    "alone. p is the calibrated probability of the label; novelty is 1 - R² of a random half of the beat "
    "tokens, hidden: 0 is foretold wholly; each trace is lead II (or the first there is), drawn to its own "
    "height."
)
with guard():
    wait_while_reading_first()
    cohort = many.cohort_of(page)
    if len(cohort):
        chosen = many.select(page, cohort)
        picture, one = st.columns([1.35, 1], gap="medium")
        with one:
            many.steps(chosen)
            many.chosen_line(chosen)
            if chosen.chosen is not None:
                to_ecg, to_diagnosis, to_why = st.columns(3)
                with to_ecg:
                    ui.link("1_ECG", "ECG")
                with to_diagnosis:
                    ui.link("4_Diagnosis", "Diagnosis")
                with to_why:
                    ui.link("5_Explanation", "Why")
            near = many.show_neighbours(page, chosen)
        with picture:
            places, shares = cohort.map
            values, name, by_kind = many.colour_of(chosen)
            figure = plot_cohort_map(
                places,
                shares,
                chosen.rows,
                values,
                name,
                cohort.titles,
                by_kind=by_kind,
                chosen=chosen.chosen,
                near=near,
                dark=page.dark,
            )
            many.pick_from_map(figure, chosen, f"Map of {len(chosen.rows)} records; colour: {name}")
        st.caption(MAP_WORDS)
        many.show_records(page, chosen)
        st.caption(TABLE_WORDS)
        many.show_unread(cohort)
