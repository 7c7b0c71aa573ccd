"""The ECG on paper with calipers, what is measured in it, and another ECG beside it."""

import numpy as np
import streamlit as st

from clear_hug import ui
from clear_hug.display import SIGNALS
from clear_hug.leads import LEADS
from clear_hug.plots import (
    LAYOUTS,
    plot_ecg,
    plot_laid_over,
    plot_medians,
    plot_side_by_side,
    rhythm_lead,
    roomy_layout,
)
from clear_hug.ui import ecg as view
from clear_hug.ui import guard, open_page
from clear_hug.ui.menus import VIEWS
from clear_hug.ui.printed import ON_SCREEN
from clear_hug.ui.reading import answer_hidden

page = open_page("ECG")
ONE, BESIDE, OVER = VIEWS
PULSE = "the pulse on the left is 1 mV high and 0.2 s long"
READ_PAPER = (
    "How to read this: a small square is 1 mm, a large one 5 mm; {pulse}. Drag to move, zoom with the "
    "buttons at the upper right, double-click to go back."
)
READ_CALIPERS = (
    "How to read this: drag along the trace for time, or a box for time and height; zoom in first, or go to "
    "50 mm/s, to set them more finely. “Calipers” sets them by numbers, and lets them march."
)
HEIGHTS = {"SD": "multiples of each lead's SD"}
READ_BESIDE = "How to read this: both on true paper, at one speed and gain; a large square is 5 mm."
READ_OVER = (
    "How to read this: where the two colours part, the ECGs differ. Each lead lies on its own base line, so "
    "a difference in the level before P does not show."
)
READ_MEDIANS = (
    f"{READ_OVER} Median beats are of the signal as recorded, and always stand in three rows at 50 mm/s."
)


def no_pulse(unit: str) -> str:
    """What is said in place of the pulse, where heights are no voltage."""
    return f"no pulse is drawn, since heights are no voltage but {HEIGHTS.get(unit, unit)}"


def show_one() -> None:
    start = view.stretch(page, seconds)
    if page.is_long:
        view.overview(page, rhythm, start, seconds)
    shown = view.shown_of(page, signal, how, start, seconds)
    where = (shown.ecg, start, seconds, layout, rhythm, speed, gain)
    more = {"cabrera": order == "Cabrera", "at": shown.at, "unit": shown.unit}
    with place_calipers:
        calipers = view.caliper()
        march = view.caliper_menu(ecg.duration, calipers)
    figure = plot_ecg(
        *where,
        marks=page.r_peaks if marks else None,
        dark=page.dark,
        **more,
        name=shown.name,
        foot=shown.words,
        caliper=calipers,
        march=march,
    )
    figure.update_layout(dragmode="select" if measuring else "pan")
    alt = f"{page.record.title} on ECG paper, {layout}, {start:g} to {start + seconds:g} s, {shown.words}"
    on_it = f"{ecg.digest} {signal} {how} {where[1:]} {more}"
    boxed = view.on_box("paper", on_it, *where, **more) if measuring else None
    ui.show_paper(figure, "paper", alt, boxed, of=on_it)
    if calipers:
        lead = f", lead {calipers.lead}" if calipers.lead else ""
        said = f"{calipers.start:.3f} to {calipers.stop:.3f} s: {calipers.words(shown.unit)}"
        st.markdown(f"**Calipers{lead}, {ui.say(said)}**")
    pulse = PULSE if shown.ecg.units_known else no_pulse(shown.unit)
    st.caption(READ_CALIPERS if measuring else READ_PAPER.format(pulse=pulse))
    if marks and page.r_peaks is None:
        st.caption("No R peak is marked: no beat was found.")
    ui.show_facts(page)


def show_beside(other: ui.Page) -> None:
    starts = [view.stretch(page, seconds), 0.0]
    if (last := int(np.ceil(other.ecg.duration - seconds))) > 0:
        with place_other:
            starts[1] = float(ui.number("2nd from second", "with_start", 0, last, 0))
    both = (page, other)
    a, b = (view.shown_of(one, signal, how, start, seconds) for one, start in zip(both, starts, strict=True))
    figures = plot_side_by_side(
        (a.ecg, b.ecg), (starts[0], starts[1]), seconds, layout, rhythm, speed, gain, order == "Cabrera",
        (a.at, b.at), a.unit if signal == SIGNALS[2] else None,
        (page.r_peaks, other.r_peaks) if marks else (None, None), a.name, (a.words, b.words), page.dark,
    )  # fmt: skip
    for column, one, shown, figure, key in zip(st.columns(2), both, (a, b), figures, "ab", strict=True):
        with column, view.half(f"half_{key}"):
            ui.show_paper(figure, key, f"{one.record.title} on ECG paper, {shown.words}")
    without = [one for one in (a, b) if not one.ecg.units_known]
    which = "both" if len(without) == 2 else "the one without a unit"
    st.caption(READ_BESIDE + (f" Beside {which} {no_pulse(without[0].unit)}." if without else ""))


def show_over(other: ui.Page) -> None:
    names = (f"1st: {page.record.title}", f"2nd: {other.record.title}")
    alt = f"{names[0]}, and {names[1]}, laid over one another"
    if align == "median beats":
        medians = [one.measurements.median for one in (page, other)]
        if medians[0] is None or medians[1] is None:
            which = [name for name, median in zip(names, medians, strict=True) if median is None]
            st.info(
                ui.say(f"No median beat could be made of {' and '.join(which)}. Align by R peaks instead.")
            )
            return
        figure = plot_medians(
            (medians[0].values, medians[1].values), (medians[0].times, medians[1].times), names,
            (ecg.units_known, other.ecg.units_known), gain, order == "Cabrera", page.dark,
        )  # fmt: skip
    else:
        start = view.stretch(page, seconds)
        shift = view.beats_to_align(page, other, start, seconds)
        if shift is None:
            st.info("There is no beat in one of the two to align them by.")
            return
        a = view.shown_of(page, signal, how, start, seconds)
        b = view.shown_of(other, signal, how, start - shift, seconds)
        figure = plot_laid_over(
            a.ecg, b.ecg, names, shift, start, seconds, layout, rhythm, speed, gain, order == "Cabrera",
            (a.at, b.at), a.unit if signal == SIGNALS[2] else None, a.words, page.dark,
        )  # fmt: skip
    ui.show_paper(figure, "over", alt)
    st.caption(READ_MEDIANS if align == "median beats" else READ_OVER)


with guard(stop=True):
    ecg = page.ecg
    controls = st.container(key=f"{ON_SCREEN}_controls")
    first = controls.columns([1.7, 2, 1.4, 1.1, 1.4, 1.8])
    with first[0]:
        seen = ui.menu("View", VIEWS, "view")
    with first[1]:
        pair = seen == BESIDE
        usual = "6x2" if pair else roomy_layout(ecg)
        key = "layout_pair" if pair else "layout" if usual == "3x4" else f"layout_{usual}"
        layout = ui.choices("Layout", list(LAYOUTS), key, usual)
    with first[2]:
        order = ui.menu("Limb leads", ["standard", "Cabrera"], "order")
    with first[3]:
        strips = [*LEADS, *(ecg.extra if seen == ONE else ())]
        usual = rhythm_lead(ecg.present)
        key = "rhythm" if usual == "II" else f"rhythm_{usual}"
        if st.session_state.get(key, usual) not in strips:
            st.session_state[key] = usual
        rhythm = ui.menu("Rhythm strip", strips, key, usual)
    with first[4]:
        speed = ui.choices("Speed, mm/s", [25, 50], "speed")
    with first[5]:
        gain = ui.choices("Gain, mm/mV", [5, 10, 20], "gain", default=10)
    seconds = (10.0 if speed == 25 else 5.0) / (2 if pair else 1)

    second = controls.columns([3.6, 1.3, 1.3, 2.2, 1.4], vertical_alignment="bottom")
    with second[0]:
        signal = ui.choices("Signal", list(SIGNALS), "signal")
    how = None
    if signal == SIGNALS[1]:
        with second[1]:
            how = view.filter_menu()
    with second[2]:
        marks = st.toggle("R peaks", key="marks", bind="query-params")
    if seen == ONE:
        with second[3]:
            measuring = ui.choices("Mouse", ["move", "calipers"], "mouse") == "calipers"
        place_calipers = second[4]
    else:
        with second[3]:
            other = ui.other_record(page)
        place_other = second[4]
        if seen == OVER:
            with second[4]:
                align = ui.menu("Align", ["median beats", "R peaks"], "align")

with guard():
    if seen == ONE:
        show_one()
    elif seen == BESIDE:
        show_beside(other)
    else:
        show_over(other)

with guard():
    if seen == ONE:
        view.show_measurements(page)
        with st.expander("Signal quality of each lead"):
            ui.show_lead_quality(page)
    else:
        measured, labels = st.columns(2, gap="large")
        with measured:
            view.show_differences(page, other)
        with labels:
            if answer_hidden(page) or answer_hidden(other):
                st.caption("Read first: what the model says of them is hidden until you commit your reading.")
            else:
                view.show_changed_labels(page, other)
                ui.model_line(page.diagnosis)
