"""What the ECG page alone needs: which signal is shown, where in the record, calipers, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import streamlit as st

from clear_hug.beats import BeatTokens
from clear_hug.checkpoint import CheckpointError
from clear_hug.display import (
    HIGH_PASS,
    LOW_PASS,
    MAINS,
    SIGNALS,
    DisplayFilter,
    Shown,
    as_recorded,
    as_the_model_sees,
    for_display,
)
from clear_hug.ecg import ECG, ECGError
from clear_hug.gate import of_fibrillation
from clear_hug.leads import LEADS
from clear_hug.norms import Row, assess, digits_of
from clear_hug.plots import Caliper, caliper_from_box, plot_overview
from clear_hug.plots.paper import ecg_data
from clear_hug.plots.theme import theme
from clear_hug.ui.menus import number
from clear_hug.ui.reading import answer_hidden
from clear_hug.ui.records import choose
from clear_hug.ui.results import START, Page
from clear_hug.ui.show import clicked, html, say
from clear_hug.ui.zoom import zoom_of
from clear_hug.words import rhythm_words

OVERVIEW = "overview_strip"  # session_state: what was clicked on in the overview
CALIPER = "caliper"  # in the address
ABSENT = "–"
MOST_LABELS = 10
MOST_NAMES = 4  # of values that one note names


# Which signal


def filter_menu() -> DisplayFilter:
    """Menus for the filters of what is shown for display."""
    with st.popover("Filters", width="stretch"):
        high = _hertz("Baseline: high-pass", "high_pass", HIGH_PASS, 0.5)
        mains = _hertz("Mains: notch", "mains", MAINS, None)
        low = _hertz("Muscle: low-pass", "low_pass", LOW_PASS, 40.0)
    return DisplayFilter(high, mains, low)


def _hertz(label: str, key: str, options: Sequence[float], default: float | None) -> float | None:
    names = {"off": None, **{f"{freq:g} Hz": freq for freq in options}}
    first = next(name for name, freq in names.items() if freq == default)
    chosen = st.segmented_control(
        label, list(names), default=first, required=True, key=key, bind="query-params"
    )
    return names[chosen or first]


def shown_of(page: Page, signal: str, how: DisplayFilter | None, start: float, seconds: float) -> Shown:
    """What is drawn of a record; raises NoBeats where the model would see nothing."""
    if signal == SIGNALS[2]:
        return _as_seen(page.ecg.digest, page.beats_by, page.ecg, page.tokens)
    if how is not None:
        return for_display(page.ecg, how, start, start + seconds)
    return as_recorded(page.ecg)


@st.cache_resource(max_entries=8, show_spinner=False)
def _as_seen(digest: str, beats_by: str, _ecg: ECG, _tokens: BeatTokens) -> Shown:
    return as_the_model_sees(_ecg, _tokens)


# Where in the record


def stretch(page: Page, seconds: float) -> float:
    """Second from which on the record is shown; the slider of a longer one has a step to either side."""
    last, step = page.last_start(seconds), int(seconds)
    if not last:
        return 0.0
    back, slide, on = st.columns([1, 8, 1], vertical_alignment="bottom", wrap=False)
    with slide:
        here = int(page.stretch(seconds)[0])
    back.button("Earlier", on_click=_go, args=(max(0, here - step),), disabled=here <= 0, width="stretch")
    on.button("Later", on_click=_go, args=(min(last, here + step),), disabled=here >= last, width="stretch")
    return float(here)


def _go(start: int) -> None:
    st.session_state[START] = start


def overview(page: Page, lead: str, start: float, seconds: float) -> None:
    """The whole record in one strip; a click moves the stretch there."""
    figure = plot_overview(page.ecg, lead, page.r_peaks, start, seconds, dark=page.dark)

    def moved() -> None:
        for click in clicked(OVERVIEW)[:1]:
            _go(min(page.last_start(seconds), int(click.held[0])))

    st.plotly_chart(
        figure,
        width="stretch",
        theme=None,
        key=OVERVIEW,
        config={"displayModeBar": False},
        alt=f"Overview of {page.ecg.duration:.0f} s: reach of lead {lead}, and heart rate",
        on_select=moved,
        selection_mode="points",
    )
    st.caption(
        f"How to read this: grey is how far lead {say(lead)} reaches, red the heart rate; the blue box is "
        "what the paper shows. Click anywhere to look there."
    )


# Calipers


def caliper() -> Caliper | None:
    """The calipers that the address holds."""
    text = st.query_params.get(CALIPER, "")
    if not text:
        return None
    try:
        return Caliper.from_link(text)
    except ValueError:
        st.warning("This link names calipers that cannot be read; none are shown.")
        return None


def on_box(key: str, of: str, *where: Any, **more: Any) -> Callable[[], None]:
    """Sets the calipers where a box was drawn on the figure `key`; the rest is what it was laid out by.

    of : names what lies on the paper, as in `show_paper`
    """

    def boxed() -> None:
        event: Any = st.session_state.get(key)
        boxes = event["selection"]["box"] if event else []
        if boxes:
            zoom = zoom_of(key, of)
            seen = zoom[2:] if zoom else None
            found = caliper_from_box(ecg_data(*where, **more), boxes[-1]["x"], boxes[-1]["y"], seen)
            choose(caliper=found.link if found else None)

    return boxed


def caliper_menu(duration: float, set_now: Caliper | None) -> bool:
    """Calipers by numbers, for the keyboard; whether they march along the strip."""
    with st.popover("Calipers", width="stretch"):
        march = st.toggle("March along the strip", key="march", bind="query-params")
        with st.form("caliper_form", border=False):
            link = set_now.link if set_now else ""  # other calipers, other fields
            ends = (set_now.start, set_now.stop) if set_now else (0.0, 1.0)
            keys = [f"caliper_from_{link}", f"caliper_to_{link}"]
            for place, name, key, value in zip(st.columns(2), ("From, s", "To, s"), keys, ends, strict=True):
                held = min(value, duration)
                place.number_input(name, 0.0, duration, held, 0.01, "%.3f", key=key)
            st.form_submit_button("Set", on_click=_set_by_numbers, args=keys, width="stretch")
        st.button("Take off", on_click=choose, kwargs={"caliper": None}, disabled=set_now is None,
                  width="stretch")  # fmt: skip
    return bool(march)


def _set_by_numbers(start: str, stop: str) -> None:
    a, b = sorted((float(st.session_state[start]), float(st.session_state[stop])))
    choose(caliper=Caliper(a, b).link if b > a else None)


# Two ECGs


def half(key: str) -> Any:
    """A container as wide as its column, so that paper in it is as high as that makes it."""
    st.html(f"<style>.st-key-{key} {{container-type: inline-size; width: 100%}}</style>")
    return st.container(key=key)


def beats_to_align(page: Page, other: Page, start: float, seconds: float) -> float | None:
    """Seconds by which the other ECG is moved so that a chosen beat of each coincide; None without beats."""
    ours, theirs = page.r_peaks, other.r_peaks
    if ours is None or theirs is None:
        return None
    inside = np.flatnonzero((ours >= start) & (ours <= start + seconds))
    if not inside.size:
        return None
    first, second, _ = st.columns([1, 1, 3])
    low, high = int(inside[0]) + 1, int(inside[-1]) + 1
    with first:
        a = number("Beat of the 1st", "beat_first", low, high, low + (high - low) // 2)
    with second:
        b = number("with beat of the 2nd", "beat_second", 1, theirs.size, min(a - low + 1, theirs.size))
    return float(ours[a - 1] - theirs[b - 1])


# Tables


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> None:
    """A plain table of text that a screen reader can walk; cells are HTML already."""
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    names = "".join(f'<th scope="col">{html(name)}</th>' for name in head)
    st.html(
        f"{_TABLE}<table class='plain{' wide' if len(head) > 6 else ''}'><caption>{html(caption)}</caption>"
        f"<thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>"
    )


_TABLE = """<style>
table.plain {border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums}
table.plain caption {text-align: left; font-weight: 600; padding: .3rem 0; caption-side: top}
table.plain th, table.plain td {text-align: left; padding: .18rem .6rem .18rem 0;
  border-bottom: 1px solid rgba(128, 128, 128, .3)}
table.plain th {font-weight: 600; font-size: .85rem}
table.plain td:first-child {min-width: 9em}
</style>"""


def number_words(value: float, unit: str) -> str:
    """A measured value with the digits that it deserves."""
    if not np.isfinite(value):
        return ABSENT
    text = f"{value:.{digits_of(unit)}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def limits_words(row: Row) -> str:
    low, high = number_words(row.low, row.unit), number_words(row.high, row.unit)
    if low == ABSENT and high == ABSENT:
        return ABSENT
    return f"≥ {low}" if high == ABSENT else f"≤ {high}" if low == ABSENT else f"{low} to {high}"


def flag_words(row: Row, dark: bool) -> str:
    """The flag as a word and a sign; the colour only stresses it."""
    look = theme(dark)
    signs = {
        "high": ("▲ high", look.accent),
        "low": ("▼ low", look.accent),
        "normal": ("normal", look.called),
        "doubtful": ("not judged", look.muted),
    }
    if not np.isfinite(row.value):
        return "not measured"
    word, colour = signs.get(row.flag, ("no limit", look.muted))
    weight = 600 if row.flag in ("high", "low") else 400
    return f'<span style="color:{colour};font-weight:{weight}">{word}</span>'


def lead_of(row: Row) -> str:
    """The lead that a row is of; "" where it is of the whole ECG."""
    lead = row.key.rpartition(" ")[2]
    return lead if lead in LEADS and " " in row.key else ""


def by_lead(rows: Iterable[Row]) -> tuple[list[Row], dict[str, dict[str, Row]]]:
    """Rows of the whole ECG, and those of leads: name without the lead -> lead -> row."""
    whole, leads = [], {}  # type: ignore[var-annotated]
    for row in rows:
        if lead := lead_of(row):
            name = row.name.removesuffix(lead).rstrip(" ,in").rstrip()
            leads.setdefault(name, {})[lead] = row
        else:
            whole.append(row)
    return whole, leads


def show_measurements(page: Page) -> None:
    """All that was measured, beside its normal limits and what the device had stored."""
    m, ecg = page.measurements, page.ecg
    show_first(page)
    rows = assess(m, page.person.age, page.person.sex, ecg.stored)
    whole, leads = by_lead(rows)
    stored = any(np.isfinite(row.stored) for row in rows)
    head = ["Measurement", "Value", "Normal", "Flag", *(["Device", "Difference"] if stored else [])]
    half = (len(whole) + 1) // 2
    parts = [whole] if stored else [whole[:half], whole[half:]]
    places = st.columns(len(parts), gap="large")
    for place, part, caption in zip(places, parts, ("Measurements", "Measurements, continued"), strict=False):
        with place:
            table(head, [_cells(row, page.dark, stored) for row in part], caption)
    if leads:
        lines = []
        for name, of in leads.items():
            unit = next(iter(of.values())).unit
            lines.append([html(f"{name}, {unit}"), *(_lead_cell(of.get(lead)) for lead in LEADS)])
            if any(np.isfinite([row.low, row.high]).any() for row in of.values()):
                lines.append(
                    [
                        html(f"{name}: flag"),
                        *(
                            flag_words(of[lead], page.dark)
                            if lead in of and np.isfinite(of[lead].value)
                            else ABSENT
                            for lead in LEADS
                        ),
                    ]
                )
        table(["", *LEADS], lines, "By lead")
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.name)
    for name, why in m.reasons.items():
        if name in LEADS:
            notes.setdefault(why, []).append(name)
    if notes:
        with st.expander(f"What could not be measured, and what to doubt ({len(notes)})"):
            st.markdown(
                "\n".join(f"- {say(f'{_of(names, len(rows))}: {note}')}" for note, names in notes.items())
            )
    span = f"{m.span[0]:.1f} to {m.span[1]:.1f} s" if m.span[1] > m.span[0] else ""
    st.caption(
        "How to read this: each value is measured on the median beat of all leads"
        + (f", {span}" if span else "")
        + ", from the signal as recorded, never from a filtered one; the heart rate is that of the mean RR "
        "interval, and QTc is corrected for it. A QTc that is not to be relied upon is not judged. "
        "A dash is a value that could not be measured."
    )


def _of(names: Sequence[str], n: int) -> str:
    """What a note is about: the values by name, unless it is of most of them."""
    return f"{len(names)} of {n} values" if len(names) > MOST_NAMES else ", ".join(names)


def show_first(page: Page) -> None:
    """What is said before any value: pacing, and what makes values doubtful."""
    m = page.measurements
    if m.paced:
        n = m.pacing_spikes.size
        spikes = f"{n} pacing spike{'' if n == 1 else 's'} found, the first at {m.pacing_spikes[0]:.2f} s"
        st.warning(say(f"Paced: {spikes}. Intervals and axes are those of paced beats."))
    if m.irregular_without_p:
        st.warning(
            "The RR intervals are irregular and no P wave was found. This fits atrial fibrillation; flutter "
            "with variable block, frequent atrial ectopy, or P waves lost in noise can look the same."
            + _called_too(page)
        )
    st.markdown(f"**{say(rhythm_words(m))}**" + (f" · {say(m.qtc_doubt)}" if m.qtc_doubt else ""))


def _called_too(page: Page) -> str:
    """Whether the model calls the fibrillation that is measured; "" where that is not to be told."""
    with suppress(CheckpointError, ECGError):  # this page needs no model
        if not answer_hidden(page) and of_fibrillation(page.checkpoint.targets):
            calls = "calls" if of_fibrillation(page.called_targets) else "does not call"
            return f" At its default threshold the model {calls} it."
    return ""


def _cells(row: Row, dark: bool, stored: bool) -> list[str]:
    unit = "°" if row.unit == "°" else f" {row.unit}"
    value = number_words(row.value, row.unit)
    cells = [
        html(row.name),
        f"<b>{value}</b>{html(unit) if value != ABSENT else ''}",
        limits_words(row),
        flag_words(row, dark),
    ]
    if stored:
        difference = number_words(row.difference, row.unit)
        cells += [
            number_words(row.stored, row.unit),
            f"+{difference}" if row.difference > 0 else difference,
        ]
    return cells


def _lead_cell(row: Row | None) -> str:
    return f"<b>{number_words(row.value, row.unit)}</b>" if row else ABSENT


def show_differences(page: Page, other: Page) -> None:
    """Measurements of two ECGs, and how far they lie apart; those of each lead on demand."""
    whole: list[list[str]] = []
    leads: list[list[str]] = []
    ours, theirs = (
        {row.key: row for row in assess(one.measurements, one.person.age, one.person.sex, one.ecg.stored)}
        for one in (page, other)
    )
    for key, a in ours.items():
        b = theirs.get(key)
        if b is None or not (np.isfinite(a.value) or np.isfinite(b.value)):
            continue
        apart = b.value - a.value
        if a.unit == "°" and np.isfinite(apart):
            apart = (apart + 180) % 360 - 180  # the shorter way round
        words = number_words(apart, a.unit)
        rows = leads if lead_of(a) else whole
        rows.append([f"{html(a.name)}, {html(a.unit)}", number_words(a.value, a.unit),
                     number_words(b.value, b.unit), f"+{words}" if apart > 0 else words])  # fmt: skip
    if not (whole or leads):
        st.markdown("Nothing could be measured in either ECG.")
        return
    head = ["Measurement", "1st", "2nd", "2nd − 1st"]
    table(head, whole, "Measurements of both")
    if leads:
        with st.expander("R, S and ST of each lead"):
            table(head, leads, "By lead")


def show_changed_labels(page: Page, other: Page) -> None:
    """The labels whose probability differs most between two ECGs."""
    a, b = page.diagnosis, other.diagnosis
    apart = b.probabilities - a.probabilities
    rows = []
    for row in np.argsort(-np.abs(apart))[:MOST_LABELS].tolist():
        called = [f"{d.probabilities[row]:.0%}" + (" (called)" if d.called[row] else "") for d in (a, b)]
        label = f"{page.words(row)} ({a.tasks[row]})"  # one name may stand in two tasks
        rows.append([html(label), *called, f"{100 * apart[row]:+.0f}".replace("-", "−")])
    table(["Label", "1st", "2nd", "2nd − 1st, % points"], rows, "Labels that changed most")
