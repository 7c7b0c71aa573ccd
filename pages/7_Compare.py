"""Two labels, two methods or two records, side by side on one scale."""

import numpy as np
import streamlit as st

from clear_hug import ui
from clear_hug.plots import plot_compare, plot_painted_ecg, roomy_layout
from clear_hug.ui import guard, open_page
from clear_hug.ui.reading import wait_for_reading
from clear_hug.words import COMPARE_WORDS, apart_words

page = open_page("Compare")
METHODS = {
    "exact contributions": "hug",
    "left out one by one": "ablation",
    "Shapley values": "shapley",
    "integrated gradients": "integrated_gradients",
}
with guard():
    wait_for_reading(page)
    what, first, second = st.columns([2, 3, 3])
    with what:
        kind = ui.choices("Compare two", ["labels", "methods", "records"], "compare")
    with first:
        target = ui.target_menu(page)
    other, other_page, methods, titles = target, page, ["hug", "hug"], ["", ""]
    with second:
        if kind == "labels":
            rest = [page.checkpoint.targets[row] for row in page.ranking]
            rest = [label for label in rest if label != target] or [target]
            other = ui.other_menu("With", rest, "with_label", page.words_of)
            titles = [page.words_of(target), page.words_of(other)]
        elif kind == "methods":
            names = list(METHODS)
            chosen = ui.menu("With", names[1:], "with_method")
            methods, titles = ["hug", METHODS[chosen]], [names[0], chosen]
        else:
            other_page = ui.other_record(page)
            titles = [page.record.title, other_page.record.title]
    wait_for_reading(page, other_page)
    for one in {page.record.id: page, other_page.record.id: other_page}.values():
        ui.show_missing(one)
    if other_page is not page:
        ui.show_quality(other_page)
        if other_page.ecg.digest != page.ecg.digest:
            st.markdown(ui.say(apart_words(page.measurements, other_page.measurements)))
    a = page.explain(target, methods[0], "lead")
    b = other_page.worth(other, methods[1], "lead")
    if b is not None:
        ui.show(plot_compare(a, b, (titles[0], titles[1]), dark=page.dark), "pairs", " and ".join(titles))
        end = float(np.nanmax(np.abs(np.concatenate([a.values, b.values]))))
        trust = []  # filled at the end: the proofs take seconds, and the pictures need not wait for them
        for side, why, one in (("a", a, page), ("b", b, other_page)):
            figure = plot_painted_ecg(one.ecg, why, layout=roomy_layout(one.ecg), dark=page.dark, end=end)
            title = titles[side == "b"]
            st.markdown(f"**{ui.say(title)}**")
            trust.append((st.empty(), one, why))
            ui.show_paper(figure, side, f"The ECG painted by {title}")
        st.caption(COMPARE_WORDS[kind])
        ui.model_line(b)
        for place, one, why in trust:
            with place.container():
                ui.trust_line(one, why)
