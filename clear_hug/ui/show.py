"""What a page shows: text, figures, links, and what takes its time."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st
import torch

from clear_hug.diagnosis import Diagnosis, Tick
from clear_hug.explain import Attribution
from clear_hug.faithfulness import CONTRADICTED, SUPPORTED, Proof
from clear_hug.io import without_calls
from clear_hug.leads import LEADS
from clear_hug.plots import plot_ecg, rhythm_lead, roomy_layout
from clear_hug.reconstruct import Reconstruction
from clear_hug.turns import Turns
from clear_hug.ui.zoom import watch_zoom, zoom_of
from clear_hug.words import facts, missing

if TYPE_CHECKING:
    from clear_hug.ui.results import Page

SET_RIGHT = "leads_set_right"  # session_state: digest of a record as read -> a key of REVERSALS
TURNS = Turns(max(1, (os.cpu_count() or 1) // torch.get_num_threads()))  # of all sessions, at the model
LOOK_AGAIN = 1.0  # s between two looks at a proof in the making
CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


def say(text: str) -> str:
    """Text as it is, with nothing in it read as Markdown (file names hold `_` and `*`)."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|$:~<>])", r"\\\1", text)


def html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a Markdown list."""
    return "\n".join(f"- {say(without_calls(sentence))}" for sentence in sentences)


def download(label: str, data: Callable[[], bytes], name: str, mime: str) -> None:
    """A button that makes a file when it is pressed."""
    st.download_button(label, data, name, mime, on_click="ignore", width="stretch")


def link(page: str, label: str, **choices: str) -> None:
    """A link to another page that carries the choices made on this one."""
    st.page_link(f"pages/{page}.py", label=label, query_params={**st.query_params.to_dict(), **choices})


def show(figure: Any, key: str, alt: str, on_box: Callable[[], None] | None = None) -> None:
    """Draw a figure over the whole width; `alt` says in words what it shows."""
    how: dict[str, Any] = {"width": "stretch", "theme": None, "key": key, "config": CHART, "alt": alt}
    if on_box is not None:
        how |= {"on_select": on_box, "selection_mode": "box"}
    st.plotly_chart(figure, **how)


def show_paper(
    figure: Any, key: str, alt: str, on_box: Callable[[], None] | None = None, of: str = ""
) -> None:
    """Draw ECG paper as high as the width of the page makes it: a millimetre is as long as it is high.

    `on_box` is called when a box has been drawn on it; the box then stands in the session under `key`.
    `of` names what lies on the paper: a zoom is kept as long as that stays.
    """
    x, y = figure.layout.xaxis, figure.layout.yaxis
    margin = figure.layout.margin
    shape = (y.range[1] - y.range[0]) * y.scaleratio / (x.range[1] - x.range[0])
    sides, ends = margin.l + margin.r, margin.t + margin.b
    st.html(
        f"<style>.st-key-paper_{key} "
        ':is(.stElementContainer, [data-testid="stFullScreenFrame"], .stPlotlyChart) '
        f"{{height: calc((100cqw - {sides}px) * {shape:.5f} + {ends}px) !important; flex: none !important}}"
        # a name that a trace must cross, of a tall lead, is read all the same
        f".st-key-paper_{key} .textpoint text {{paint-order: stroke; stroke: {figure.layout.plot_bgcolor}; "
        "stroke-width: 3px; stroke-linejoin: round}</style>"
    )
    figure.update_layout(height=None, autosize=True)
    zoom = zoom_of(key, of) if of else None
    if zoom:
        figure.update_layout(xaxis_range=zoom[:2], yaxis_range=zoom[2:])
    with st.container(key=f"paper_{key}"):
        show(figure, key, alt, on_box)
    if of:
        watch_zoom(key, of, zoom)


def show_overview(page: Page) -> None:
    """The twelve leads on ECG paper; of a longer record a stretch, and a slider for it."""
    ecg = page.ecg
    start, seconds = page.stretch()
    figure = plot_ecg(ecg, start, seconds, roomy_layout(ecg), rhythm_lead(ecg.present), dark=page.dark)
    show_paper(figure, "overview", f"{page.record.title}: the twelve leads on ECG paper")


class Click(NamedTuple):
    """held : the customdata of a point that was clicked on, () where it has none;  x : where it lies."""

    held: tuple[Any, ...]
    x: Any


def clicked(key: str) -> list[Click]:
    """What was clicked on in the figure `key`, which is drawn with `on_select`."""
    event: Any = st.session_state.get(key)
    found = []
    for point in event["selection"]["points"] if event else []:
        held = point.get("customdata")
        if isinstance(held, Mapping):  # what is sent as a row comes back as {"0": first, "1": second}
            held = list(held.values())
        row = held if isinstance(held, list) else [] if held is None else [held]
        found.append(Click(tuple(row), point.get("x")))
    return found


# What takes its time


def in_time(kept: dict[str, Any], name: str, label: str, work: Callable[[Tick], Any]) -> Any:
    """The result of `work`, made once: with a bar and a button that stops it; None where it was stopped.

    Streamlit ends a run of the page when something on it is pressed, at the next word to the browser: so
    each tick is where a computation can be left. What the model was asked until then stays remembered.
    """
    if "result" in kept:
        return kept["result"]
    stopped = f"stopped-{name}"
    if st.session_state.get(stopped):
        st.info("Stopped. What was computed so far is kept.")
        st.button("Go on", key=f"go-on-{name}", on_click=_set, args=(stopped, False))
        return None
    place = st.empty()
    with place.container():
        bar, button = st.columns([6, 1], vertical_alignment="center")
        with bar:
            shown = st.progress(0.0, text=label)
        button.button("Stop", key=f"stop-{name}", on_click=_set, args=(stopped, True))
    try:
        with in_turn():
            kept["result"] = work(lambda share: _tick(shown, share, label))
    finally:
        place.empty()
    return kept["result"]


@contextmanager
def in_turn() -> Iterator[None]:
    """Wait until the model may be asked; the page says at which place in line."""
    place = st.empty()

    def tell(ahead: int) -> None:
        place.info(f"The model is busy: place {ahead} in line.")

    with TURNS.take(tell):
        place.empty()
        yield


def _tick(shown: Any, share: float, label: str) -> None:
    shown.progress(share, text=f"{label} {share:.0%}")


def _set(key: str, value: Any) -> None:
    st.session_state[key] = value


def show_facts(page: Page) -> None:
    """What is known of a record, and what was found odd in it."""
    for sentence in page.ecg.warnings:
        st.warning(say(without_calls(sentence)))
    st.markdown(
        " · ".join(f"**{say(name)}:** {say(value)}" for name, value in facts(page.ecg, page.person).items())
    )


def show_missing(page: Page) -> None:
    """What the model could not see of the record: it belongs beside every answer."""
    for sentence in missing(page.tokens):
        st.warning(say(sentence))


def show_quality(page: Page) -> None:
    """What is doubtful in the signal, in a line that stands on every page; nothing where nothing is."""
    quality, words = page.quality, []
    button = ""
    if page.set_right:
        words.append(f":orange-badge[electrode exchange corrected] {say(page.ecg.warnings[-1])}")
        button = "As recorded"
    if quality.reasons:
        colour = "red" if quality.doubtful else "orange"
        value = "" if math.isnan(quality.acceptable) else f" {quality.acceptable:.2f}"
        words.append(f":{colour}-badge[signal quality{value}] {say(' '.join(quality.reasons))}")
    if quality.reversal and not button:
        button = "Correct the leads"
    if not button:
        if words:
            st.markdown(words[0])
        return
    line, place = st.columns([6, 1], vertical_alignment="center")
    line.markdown("  \n".join(words))
    place.button(button, key=f"set_right_{page.recorded.digest[:8]}", width="stretch", on_click=_set_right,
                 args=(page.recorded.digest, None if page.set_right else quality.reversal))  # fmt: skip


def show_lead_quality(page: Page) -> None:
    """The quality of each lead and what is wrong with it, as a table."""
    quality = page.quality
    rows = {
        "Lead": LEADS,
        "Quality, 0 to 1": quality.leads.round(2),
        "What is wrong": ["; ".join(said) for said in quality.lead_reasons],
    }
    st.dataframe(rows, hide_index=True, placeholder="–")
    st.caption(
        "How to read this: 1 is a clean lead, below 0.5 read it with care; an absent lead has no value. The "
        f"record as a whole: {quality.acceptable:.2f}, the chance that readers would accept it, told from "
        "records that readers judged."
    )


def _set_right(digest: str, reversal: str | None) -> None:
    chosen = {k: v for k, v in st.session_state.get(SET_RIGHT, {}).items() if k != digest}
    st.session_state[SET_RIGHT] = {**chosen, digest: reversal} if reversal else chosen


def trust_line(page: Page, why: Attribution) -> None:
    """The one word on a map, as soon as it is known: the page does not wait for it."""
    proof = page.proof_soon(why)
    if proof is None:
        st.fragment(_until_proven, run_every=LOOK_AGAIN)(page, why)
    else:
        _trust(proof, why.level)


def _until_proven(page: Page, why: Attribution) -> None:
    try:
        waiting = page.proof_soon(why, 0) is None
    except Exception:  # the page says it, as it says all that goes wrong
        waiting = False
    if not waiting:
        st.rerun()
    st.markdown(f":gray-badge[map of {why.level}s] is being tested; the verdict will appear here.")


def _trust(proof: Proof, level: str) -> None:
    """The word, and the first reason for it; all of them where the map is contradicted."""
    if proof.word == CONTRADICTED:
        st.error(f"**Contradicted: do not rely on the map of {level}s.** {say(' '.join(proof.reasons))}")
        return
    colour = {SUPPORTED: "green"}.get(proof.word, "orange")
    st.markdown(f":{colour}-badge[map of {level}s: {proof.word}] {say(proof.reasons[0])}")


def model_line(result: Diagnosis | Reconstruction | Attribution) -> None:
    """Which model answered, where, and how fast; and whether it went another way than asked."""
    st.caption(f"Model {say(result.model)} on {say(result.device)}, {1000 * result.seconds:.0f} ms.")
    if result.note:
        st.warning(say(result.note))
