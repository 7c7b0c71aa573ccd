"""Records of hours: which stretch is looked at, and rate and quality along the whole, in the background."""

from __future__ import annotations

import threading
import time

import numpy as np
import streamlit as st

from clear_hug.ecg import WINDOW_SECONDS, clock
from clear_hug.io import LongRecord
from clear_hug.plots import plot_trend
from clear_hug.trend import LISTS, Trend, nothing_read, places, read_on
from clear_hug.turns import Turns
from clear_hug.ui.later import step_back
from clear_hug.ui.menus import keep_in
from clear_hug.ui.records import MOST_UPLOADS, STEP, STRETCH, Record, last_minute, long_record
from clear_hug.ui.results import START
from clear_hug.ui.show import clicked, say

MINUTE = "minute"  # session_state and address: where the stretch begins
WHOLE = "whole"  # session_state and address: whether the whole is shown
CLICKED = "trend_clicked"  # session_state: what was clicked on in the trend
GO = "trend_go"  # session_state: (minute, start) to go to; a fragment may not set widgets of the page
ALONG = "trends_of_uploads"  # session_state: key -> Along
EVERY = 2.0  # s between two looks at a trend that grows
FORGOTTEN = 120.0  # s without a look, after which nothing more is read
LEAD_IN = STEP / 2  # s of the stretch before the place that one goes to

_TURNS = Turns()  # of all long records of all users: a piece at a time


class Along:
    """A trend that grows in the background while somebody looks at it."""

    def __init__(self, record: LongRecord) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked = 0.0
        self.trend = nothing_read(record.seconds)
        self.failed = False

    def look(self) -> Trend:
        """As far as it is; what is not known yet is read in the background."""
        with self._lock:
            self._looked = time.monotonic()
            if self.grows and not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._read, daemon=True)
                self._thread.start()
        return self.trend

    @property
    def grows(self) -> bool:
        return not (self.trend.done or self.failed)

    def _read(self) -> None:
        step_back()
        try:
            while not self.trend.done and time.monotonic() - self._looked < FORGOTTEN:
                with _TURNS.take():
                    self.trend = read_on(self._record, self.trend)
        except BaseException:
            self.failed = True
            raise


@st.cache_resource(max_entries=16, show_spinner=False)
def _along(key: str, _record: LongRecord) -> Along:
    return Along(_record)


def _along_of(record: Record, key: str, whole: LongRecord) -> Along:
    """The trend of a record in the folder, for all; that of an upload goes with the session that holds it."""
    if record.kind != "upload":
        return _along(key, whole)
    own: dict[str, Along] = st.session_state.get(ALONG, {})
    along = own.get(key) or Along(whole)
    others = {k: v for k, v in own.items() if k != key}  # no more than the uploads that are kept
    st.session_state[ALONG] = dict([*others.items(), (key, along)][-MOST_UPLOADS:])
    return along


def places_in_links() -> dict[str, str]:
    """Where in the record one is now, for links that are drawn before the sliders have told the address."""
    if GO in st.session_state:
        _begin(*st.session_state.pop(GO))
    return {key: str(st.session_state[key]) for key in (MINUTE, START) if key in st.session_state}


def where_in_record(record: Record, dark: bool, open_whole: bool) -> int:
    """Minute at which the stretch of a long record begins, by a slider; 0 for any other record.

    open_whole : whether the whole is shown before somebody asks for it
    """
    found = long_record(record)
    if found is None:
        return 0
    whole, key = found
    last = last_minute(whole)
    keep_in(MINUTE, 0, last)
    back, slide, on = st.columns([1, 8, 1], vertical_alignment="bottom")
    said = slide.empty()  # what the slider below says, in hours
    label = "Minute at which the stretch begins"
    minute = int(slide.slider(label, 0, last, key=MINUTE, bind="query-params", label_visibility="collapsed"))
    begin, stop = minute * STEP, min(minute * STEP + STRETCH, whole.seconds)
    said.markdown(f"**From {clock(begin)} to {clock(stop)}** of {clock(whole.seconds)}, from minute")
    step = int(STRETCH / STEP)
    back.button("Before", on_click=_begin, args=(max(0, minute - step),), disabled=minute <= 0,
                width="stretch", key="stretch_before")  # fmt: skip
    on.button("After", on_click=_begin, args=(min(last, minute + step),), disabled=minute >= last,
              width="stretch", key="stretch_after")  # fmt: skip
    title = f"The whole, {clock(whole.seconds)}: rate, quality, and where to look first"
    with st.expander(title, expanded=open_whole, key=WHOLE, on_change="rerun") as opened:
        if opened.open:
            along = _along_of(record, key, whole)
            along.look()
            place = st.fragment(_show_along, run_every=EVERY if along.grows else None)
            place(along, whole, minute * STEP, dark, along.grows)
    return minute


def _begin(minute: int, start: int = 0) -> None:
    st.session_state[MINUTE], st.session_state[START] = minute, start


def _go_to(second: float, whole: LongRecord) -> None:
    minute = min(max(0, int((second - LEAD_IN) // STEP)), last_minute(whole))
    length = min(STRETCH, whole.seconds - minute * STEP)
    st.session_state[GO] = minute, int(min(second - minute * STEP, max(0, length - WINDOW_SECONDS)))


def _show_along(along: Along, whole: LongRecord, start: float, dark: bool, grew: bool) -> None:
    """The trend, as far as it is, and lists of places to go to; a fragment, drawn anew while it grows."""
    trend = along.look()
    if GO in st.session_state or (grew and not along.grows):  # the page drawn anew looks no more
        st.rerun()
    if along.failed:
        st.warning("The whole could not be read to its end. The log of the app has the details.")
    elif trend.done and not trend.known.all():
        st.warning("A part of the file could not be read; it is left out here.")
    elif not trend.done:
        st.progress(trend.share, text=f"Reading along the record: {trend.share:.0%}")
    name = say(whole.record_id) or "Your file"

    def moved() -> None:
        for click in clicked(CLICKED)[:1]:
            _go_to(float(click.held[0]), whole)

    st.plotly_chart(
        plot_trend(trend, whole.record_id or "your file", start, STRETCH, dark),
        width="stretch", theme=None, key=CLICKED, config={"displayModeBar": False},
        alt=f"{name} along {clock(whole.seconds)}: heart rate, and signal quality of each 10 s. "
        + _summary(trend),
        on_select=moved, selection_mode="points",
    )  # fmt: skip
    for by, column in zip(LISTS, st.columns(len(LISTS)), strict=True):
        found = places(trend, by)
        listed = column.container(gap="xxsmall")
        listed.markdown(f"**{by}**" if found else f"**{by}:** none yet")
        for row, place in enumerate(found):
            unit = LISTS[by].unit
            value = f"{place.value:.2f}" if unit in ("", "s") else f"{place.value:.0f}"
            listed.button(
                f"{clock(place.start)} · {value} {unit}".rstrip(), key=f"place_{by}_{row}", width="stretch",
                on_click=_go_to, args=(place.start, whole),
            )  # fmt: skip
    st.caption(
        f"{_summary(trend)} How to read this: the line is the heart rate, the wash around it the slowest and "
        "fastest 10 s; below, how likely a reader would accept the signal, striped where that is doubtful. "
        "Rates and RR intervals are listed where the signal is sound. Click anywhere to look there."
    )


def _summary(trend: Trend) -> str:
    """What the whole is like, in a line."""
    if not trend.known.any():
        return ""
    said = [f"{trend.doubtful:.1%} doubtful", f"{trend.without_beats:.1%} without a beat"]
    rates = trend.rate[np.isfinite(trend.rate)]
    if rates.size:
        said.insert(0, f"median rate {np.median(rates):.0f} beats/min")
    return f"{trend.known.mean():.0%} of {clock(trend.seconds)} read: {', '.join(said)}."
