"""The ECG on paper."""

import streamlit as st

from clear_hug import ui
from clear_hug.leads import LEADS
from clear_hug.plots import LAYOUTS, plot_ecg
from clear_hug.ui import guard, open_page

page = open_page("ECG")
with guard():
    ecg = page.ecg
    controls = st.columns([2, 1.2, 1.4, 1.6, 4])
    with controls[0]:
        layout = ui.choices("Layout", list(LAYOUTS), "layout")
    with controls[1]:
        rhythm = ui.menu("Rhythm strip", LEADS, "rhythm", "II")
    with controls[2]:
        speed = ui.choices("Speed, mm/s", [25, 50], "speed")
    with controls[3]:
        gain = ui.choices("Gain, mm/mV", [5, 10, 20], "gain", default=10)
    with controls[4]:
        start, seconds = page.stretch()

    figure = plot_ecg(ecg, start, seconds, layout, rhythm, speed, gain, dark=page.dark)
    ui.show_paper(figure, "paper", f"{page.record.title} on ECG paper, {start:g} to {start + seconds:g} s")
    ui.show_facts(ecg)
