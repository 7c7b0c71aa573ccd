"""The Diagnosis page: what is unusual, what is called, at which operating point, and what that is worth."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from clear_hug.diagnosis import probabilities
from clear_hug.gate import NORMAL_WORDS, SIMULATED_WORDS, of_a_child, rhythm_doubts
from clear_hug.leads import GROUPS
from clear_hug.operating import (
    DEFAULT,
    FEWEST,
    KINDS,
    LEVELS,
    MISSED,
    REFER,
    RULED_IN,
    RULED_OUT,
    WRONG,
    Curve,
    Operated,
    curve_of,
    positives_of,
    rare_labels,
    reweighted,
)
from clear_hug.plots import plot_trade
from clear_hug.plots.diagnosis import PROBABILITY_ONLY, TOO_RARE, share_words
from clear_hug.ui.menus import AT_LEAST, choices
from clear_hug.ui.reading import answer_hidden
from clear_hug.ui.show import bullets, link, say, show
from clear_hug.words import exclusion_words

if TYPE_CHECKING:
    from clear_hug.measure import Measurements
    from clear_hug.ui.results import Page

POINT_WORDS = {
    DEFAULT: "Each default threshold is half of the label's highest F1: of calibrated probabilities the one "
    "that F1 is highest at.",
    "sensitivity": "Each label is called from the highest threshold that still reaches the sensitivity "
    "chosen.",
    "specificity": "Each label is called from the lowest threshold that reaches the specificity chosen.",
}
REFER_WORDS = (
    "**Refer**: too probable to be ruled out, and not probable enough to be ruled in. *Ruled out*: below a "
    f"threshold that misses at most {MISSED:.0%} of the records with the label, and of the records below it "
    f"at most {WRONG:.0%} have it. *Ruled in*: from a threshold that flags at most {MISSED:.0%} of the "
    f"records without the label, and of the records flagged at most {WRONG:.0%} are without it. Told by "
    "models that had not learned from the records they judged."
)


AS_USUAL = ":green-badge[input: nothing unusual]"


def show_gate(page: Page, brief: bool = False) -> None:
    """What is unusual, before any number.

    brief : in one paragraph, without what stands at the head of the page already; nothing where nothing is
    """
    gate, said = page.gate, care_of(page)
    if brief:
        above = (*page.quality.reasons, SIMULATED_WORDS)
        said = [sentence for sentence in said if sentence not in above]
        if said:
            st.warning(f"**Before you read a number:** {say(' '.join(said))}")
    elif said:
        st.warning(f"**Before you read a number:**\n\n{bullets(said)}")
    elif gate.compared:
        st.markdown(f"{AS_USUAL} Quality, leads, rate, length, scale and shape are as in training.")
    else:
        st.markdown(f"{AS_USUAL} The checkpoint does not tell what inputs it learned from.")


def care_of(page: Page) -> list[str]:
    """What is unusual about the record, and where its rhythm and the answer part, in sentences."""
    doubts = rhythm_doubts(_measured(page), page.tokens.n_beats, *_answered(page))
    return [*page.gate.sentences, *of_a_child(page.person.age), *doubts]


def show_normal(page: Page, called: Sequence[str]) -> None:
    """What a normal ECG excludes and what it does not mean, where that contradicts what is called with it.

    called : task/label
    """
    if excluded := exclusion_words({target: page.words_of(target) for target in called}):
        st.markdown(f":orange-badge[contradiction] {say(excluded)}")
    measured = _measured(page)
    other = any(target.startswith("rhythm/") and target != "rhythm/SR" for target in called)
    doubt = rhythm_doubts(measured, page.tokens.n_beats, page.checkpoint.targets, called)
    if any(target.endswith("/NORM") for target in called) and (other or doubt):
        st.caption(NORMAL_WORDS)


def _measured(page: Page) -> Measurements | None:
    with suppress(ValueError):  # of a record that nothing can be measured of the gate has said so
        return page.measurements
    return None


def _answered(page: Page) -> tuple[Sequence[str], Sequence[str] | None]:
    """The labels that the model answers, and those that it calls; None while that is hidden."""
    return page.checkpoint.targets, None if answer_hidden(page) else page.called_targets


def show_called(page: Page, operated: Operated) -> None:
    """The called labels, the first thing to read of the answer."""
    answer, checkpoint, states = operated.diagnosis, page.checkpoint, operated.states
    order = [row for row in page.ranking if answer.called[row]]

    def words(row: int) -> str:
        unsure = ", refer" if states[row] in (REFER, RULED_OUT) else ""  # what is called is not ruled out
        known = page.known.get(checkpoint.targets[row])
        told = "" if known is None else f", data set: {'yes' if known else 'no'}"
        return f"{page.words(row)} ({answer.probabilities[row]:.0%}{unsure}{told})"

    lines = [
        f"{task.name}: " + "; ".join(words(row) for row in order if answer.tasks[row] == task.name)
        for task in checkpoint.tasks
        if any(answer.tasks[row] == task.name for row in order)
    ]
    top = page.ranking[0]
    sure = [row for row in page.ranking if states[row] == RULED_IN and not answer.called[row]]
    if lines:
        st.markdown(f"#### Called\n{bullets(lines)}")
    else:
        said = f"The most probable is {page.words(top)} ({answer.probabilities[top]:.0%})."
        st.markdown(f"#### No label is called. {say(said)}")
    show_normal(page, [checkpoint.targets[row] for row in order])
    if sure:
        named = "; ".join(f"{page.words(row)} ({answer.probabilities[row]:.0%})" for row in sure)
        st.markdown(
            f"**Probable enough to rule in, but below the threshold from which it is called:** {say(named)}"
        )
    missed = dict.fromkeys(  # a label may stand in two tasks
        page.words_of(target) + (f" ({TOO_RARE})" if answer.rare[row] else "")
        for target, there in page.known.items()
        if there and not answer.called[row := checkpoint.row(target)]
    )
    if page.known:
        st.markdown(
            "**Labels the data set gives this record that are not called:** "
            + (say("; ".join(missed)) or "nothing.")
        )
    elif page.told.labels:
        said = say("; ".join(page.told.words)) or "no label"
        st.markdown(
            f"**{say(page.told.source)} says of this record:** {said}. This model answers other labels, so "
            "its answer is not held against that."
        )
    if page.ecg.simulated and (planted := page.ecg.truth.get("change")):
        st.markdown(f"**Planted in this simulated ECG:** {say(str(planted))}")
    first = order[0] if order else top
    link("5_Explanation", f"Why {page.words(first)} →", target=checkpoint.targets[first])
    show_rare(page, operated)


def show_rare(page: Page, operated: Operated) -> None:
    """Labels that are never called, apart from those that may be."""
    found = rare_labels(operated.diagnosis, page.checkpoint)
    if not found:
        return
    with st.expander(f"{PROBABILITY_ONLY.capitalize()} ({len(found)} labels)"):
        st.caption(
            f"A threshold is judged on {FEWEST} records with the label or more; these have fewer, and are "
            "never called. The ratio is that of the probability to the label's share of the records in "
            "training, the highest first; a high one is a reason to look at the trace, not a finding."
        )
        rows = {
            "Label": [page.words_of(one.target) for one in found],
            "Task": [one.target.split("/")[0] for one in found],
            "Probability": [share_words(one.probability) for one in found],
            "In training": [
                f"{share_words(one.prevalence)} ({one.positives} of {one.records:,})" for one in found
            ],
            "Ratio": [f"{one.ratio:.1f}" if np.isfinite(one.ratio) else "–" for one in found],
        }
        if any(page.known.get(one.target) is not None for one in found):
            told = {None: "", True: "yes", False: "no"}
            rows["Data set"] = [told[page.known.get(one.target)] for one in found]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


def operating_menu(page: Page) -> tuple[str, float]:
    """The operating point, kept in the address."""
    if not page.checkpoint.operating:
        st.caption(
            "This checkpoint has default thresholds only: it does not tell what others would call, nor of "
            "how many records each was judged on, so that rare labels are called like any other. "
            "`python -m clear_hug.train operating` measures both."
        )
        return DEFAULT, LEVELS[2]
    kind = choices("Operating point", KINDS, "point")
    if kind == DEFAULT:
        return kind, LEVELS[2]
    return kind, LEVELS[AT_LEAST.index(choices("At least", AT_LEAST, "level", AT_LEAST[2]))]


def operating_point(page: Page) -> tuple[str, float]:
    """The operating point that was chosen on the Diagnosis page, or that the address names."""
    chosen = [st.session_state.get(key, st.query_params.get(key)) for key in ("point", "level")]
    kind = chosen[0] if chosen[0] in KINDS and page.checkpoint.operating else DEFAULT
    return kind, LEVELS[AT_LEAST.index(chosen[1]) if chosen[1] in AT_LEAST else 2]


def point_words(kind: str, level: float) -> str:
    """An operating point in words; "" for the default."""
    return "" if kind == DEFAULT else f"{kind} of at least {level:.0%}"


def prevalence_input(page: Page, target: str, learned: float) -> float:
    """The share of the reader's own patients that have the label, in the address; a new label resets it."""
    of = f"{page.checkpoint.digest} {target}"
    if st.session_state.get("prevalence_of", of) != of:
        st.session_state["prevalence"] = _percent(learned)
    st.session_state["prevalence_of"] = of
    shown = st.number_input(
        "Prevalence in your patients, %",
        0.01,
        99.0,
        _percent(learned),
        step=1.0,
        format="%.2f",
        key="prevalence",
        bind="query-params",
        help="Of 100 patients like those you see, how many have it. It changes what a call is worth and the "
        "probability, not who is called.",
    )
    share = float(shown) / 100
    return learned if abs(share - learned) < 5e-5 else share


def _percent(share: float) -> float:
    return round(min(max(100 * share, 0.01), 99.0), 2)


def show_point(page: Page, operated: Operated, target: str, curve: Curve) -> None:
    """What the chosen label's operating point is worth, at the reader's prevalence."""
    row = page.checkpoint.row(target)
    point, p = operated.points[row], float(operated.diagnosis.probabilities[row])
    figures, picture = st.columns([5, 6], gap="medium")
    with picture:
        figure = plot_trade(curve, point, p, target, dark=page.dark)
        show(figure, "trade", f"ROC curve of {target} with the operating point and this record on it")
        st.caption(
            "How to read this: up, more of those with the label are called; to the right, more of those "
            "without it. The diamond is where this record stands: thresholds up to it call the record."
        )
    with figures:
        prevalence = prevalence_input(page, target, curve.prevalence)
        low, high = curve.band(prevalence)
        rows = {
            f"Probability at {prevalence:.1%}": f"{reweighted(p, curve.prevalence, prevalence):.1%}",
            f"Probability at {curve.prevalence:.1%}, as in training": f"{p:.1%}",
        }
        if point:
            positive, negative = point.predictive(prevalence)
            rows |= {
                "Called from": f"{point.threshold:.1%}",
                "Sensitivity": _share(point.sensitivity, point.sensitivity_95, point.found, point.positives),
                "Specificity": _share(point.specificity, point.specificity_95,
                                      point.negatives - point.false, point.negatives),
                f"PPV at {prevalence:.1%} (of those called, have it)": _or_none(positive),
                f"NPV at {prevalence:.1%} (of those not called, have it not)": _or_none(negative),
            }  # fmt: skip
            if point.held:
                right, of = point.held
                rows["Reached on folds it was not chosen on"] = f"{right / of:.1%} ({right} of {of})"
        rows |= {
            f"Ruled out below, at {prevalence:.1%}": f"{low:.1%}" if low > 0 else "at no probability",
            f"Ruled in from, at {prevalence:.1%}": f"{high:.1%}"
            if np.isfinite(high)
            else "at no probability",
        }
        st.table(pd.DataFrame({"": list(rows), "Value": list(rows.values())}).set_index(""))
        if not point:
            st.info("Too few records with the label for this operating point; the default threshold stands.")
        st.caption("Thresholds are probabilities as in training; in brackets 95 % intervals and counts.")


def _share(value: float, interval: tuple[float, float], right: int, of: int) -> str:
    return f"{value:.1%} ({interval[0]:.0%} to {interval[1]:.0%}; {right} of {of})"


def _or_none(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "nobody is"


def show_groups(page: Page, operated: Operated, target: str) -> None:
    """HUG's levels: what groups of leads, alone and in pairs, would say."""
    row = page.checkpoint.row(target)
    names = list(GROUPS)
    sets = [some for n in (1, 2, 3) for some in itertools.combinations(range(len(names)), n)]
    asked = np.array([[k in some for k in range(len(names))] for some in sets])
    there = page.game("group").parts.there
    st.markdown(f"**What groups of leads alone would say: {say(page.words(row))}**")
    logits = page.read_by_groups(asked)
    if logits is None:
        return
    p = probabilities(page.checkpoint, logits)[:, row]
    threshold = operated.diagnosis.thresholds[row]
    table = {
        "Leads read": [" + ".join(names[k] for k in some) if len(some) < 3 else "all" for some in sets],
        "Probability": [
            (share_words(x) if np.isnan(threshold) else f"{x:.0%}") if there[list(s)].any() else "–"
            for x, s in zip(p, sets, strict=True)
        ],
    }
    if np.isfinite(threshold):
        table["Called"] = [
            ("yes" if x >= threshold else "no") if there[list(s)].any() else "no lead there"
            for x, s in zip(p, sets, strict=True)
        ]
    left, right = st.columns([5, 6], gap="medium")
    left.table(pd.DataFrame(table).set_index("Leads read"))
    right.caption(
        "How to read this: the model answers anew with the other groups left out; it was trained with leads "
        "missing. Where a group alone says what all say, the answer does not need the others."
    )


def show_one(page: Page, operated: Operated, target: str) -> None:
    """The chosen label's operating point, or why it has none, and what groups of leads say of it."""
    curve = curve_of(page.checkpoint, target)
    if curve:
        show_point(page, operated, target, curve)
    elif page.checkpoint.operating:
        st.info(
            f"Of the records in training {positives_of(page.checkpoint, target)} had "
            f"{say(page.words_of(target))}: too few to judge a threshold, for which {FEWEST} are needed. The "
            "label is never called: it has a probability alone."
        )
    show_groups(page, operated, target)


def show_table(page: Page, operated: Operated) -> None:
    """All labels, tasks in the checkpoint's order and in each the most probable first."""
    said, targets = operated.diagnosis, page.checkpoint.targets
    words = {None: "", True: "yes", False: "no"}
    rows = {
        "Task": said.tasks,
        "Label": said.labels,
        "In words": [page.words(row) for row in range(len(targets))],
        "Probability": said.probabilities.round(3),
        "Threshold": said.thresholds.round(3),
        "Called": np.where(said.rare, "too rare", np.where(said.called, "yes", "no")),
        "Band": operated.states,
        "Records with it": [positives_of(page.checkpoint, target) for target in targets],
        "Data set": [words[page.known.get(target)] for target in targets],
    }
    st.dataframe(pd.DataFrame(rows).iloc[page.ranking], hide_index=True, placeholder="–")
