"""Hide beats, and let the model rebuild them from the others; one by one they make a map of novelty."""

import numpy as np
import streamlit as st

from clear_hug import ui
from clear_hug.leads import LEADS
from clear_hug.plots import plot_error_map, plot_novelty, plot_reconstruction
from clear_hug.reconstruct import hide_beats, lead_errors
from clear_hug.ui import guard, hide, open_page
from clear_hug.words import beat_marks, scale_words

page = open_page("Reconstruction")
HIDE, IN_TURN, SYNTHESIS = STUDIES = ["Hide and rebuild", "Each token in turn", "Lead synthesis"]
MOST_LEADS = 4  # of a surprising beat, on paper
LISTED = 3  # beats, at least
PAPER_WORDS = (
    "How to read this: shaded is what the model could not see. Red is what it rebuilt, dashed blue what the "
    "linear regression that its decoder starts from would have drawn; both saw the same beats. The trace is "
    "the one that the model reads, 0.67 to 40 Hz. R² is 1 where the two lie on one another, and 0 where a "
    "flat line would have done as well."
)
MAP_WORDS = (
    "How to read this: a row a lead, a column a beat. Click a square to hide or show that beat in that lead, "
    "a dot for a whole lead or beat; the stronger its colour, the further off (RMS)."
)
SYNTHESIS_WORDS = (
    "How to read this: a row a lead, a column a beat; hollow is known, strong colours are far off."
)
NOVELTY_WORDS = (
    "How to read this: each token was hidden alone and rebuilt from all others. A square says by how many "
    "robust SDs of its lead the error lies above the lead's median, so that a lead that is noisy throughout "
    "stays pale. A bar is the beat's score over its leads; above the dotted line it stands out. Click a "
    "square to see that beat on paper. Surprising is not abnormal: what every beat does is foretold. The "
    "decoder's correction counts in full here, where you hide tokens yourself by half or more: unusual beats "
    "stand out more."
)
TABLE_WORDS = (
    "R² and r over all hidden samples of the lead, MAE the mean absolute error; “lin.” is the linear baseline"
)


def errors_table(ours, linear, name, surprise=None):
    """Errors by lead, and a file of the errors by token."""
    hide.show_errors(tokens, ours, linear)
    st.caption(f"{TABLE_WORDS} (MAE in {page.unit}).")
    ui.download(
        "Errors of each token (CSV)",
        lambda: hide.errors_csv(checkpoint, tokens, ours, linear, surprise),
        f"errors-{name}.csv",
        "text/csv",
    )


def summary(ours, linear):
    n, every = int(ours.hidden.sum()), int(tokens.valid.sum())
    st.markdown(
        f"**{n} of {every} beat tokens hidden, rebuilt from the others: R² {ours.r2:.2f}** "
        f"(linear baseline {linear.r2:.2f}), median error {np.nanmedian(ours.rmse):.3f} {page.unit} (RMS). "
        + ui.say(" ".join(scale_words(ours)))
    )


def on_paper(ours, linear, leads, title):
    figures = dict(zip(LEADS, lead_errors(tokens, ours).r2.tolist(), strict=True))
    figure = plot_reconstruction(
        hide.trace_of(page), tokens, ours, linear if baseline else None, start, seconds, leads, figures,
        page.dark, title,
    )  # fmt: skip
    alt = f"The hidden beats of {', '.join(leads)} on ECG paper: as recorded, and as rebuilt by the model"
    ui.show_paper(figure, "rebuilt", alt + (" and by a linear regression" if baseline else ""))
    st.caption(PAPER_WORDS)


def rebuilt_from_others(hidden, clickable):
    said = st.empty()
    left, right = st.columns([1.1, 1])
    ours = linear = None
    with right, guard():  # with nothing left to see it says so, and the map stays to be clicked
        if not hidden.any():
            st.info("Nothing is hidden. Click a square, or press a lead or a beat.")
        else:
            ours, linear = page.reconstruct(hidden)
    with left:
        figure = plot_error_map(tokens, hidden, ours, start, seconds, clickable=clickable, dark=page.dark)
        alt = "Leads by beats: which tokens are hidden, and the error of each"
        if clickable:
            hide.pick_on_map(figure, "hide_map", alt, tokens, hidden)
        else:
            ui.show(figure, "error_map", alt)
        st.caption(MAP_WORDS if clickable else SYNTHESIS_WORDS)
    if ours is None:
        return
    with said:
        summary(ours, linear)
    with right:
        errors_table(ours, linear, "hidden" if clickable else "synthesis")
    leads = [LEADS[row] for row in np.flatnonzero(ours.hidden.any(axis=1))]
    title = "Hidden beats, rebuilt from the others" if clickable else "Leads rebuilt from the known ones"
    on_paper(ours, linear, leads, title)
    ui.model_line(ours)


def hide_whole(beat):
    st.session_state["study"] = HIDE
    hide.hide_whole(page.tokens, beat)


def each_in_turn():
    found = hide.novelty_of(page, start, seconds)
    if found is None:
        return
    if not np.isfinite(found.score).any():
        st.info(found.why)
        errors_table(found.rebuilt, found.linear, "in-turn")
        return
    marks = beat_marks(page.beat_facts)
    said = found.most_surprising
    names = ", ".join(f"{beat + 1}" + (f" ({marks[beat]})" if beat in marks else "") for beat in said)
    st.markdown(
        f"**Most surprising: beat{'' if len(said) == 1 else 's'} {ui.say(names)}.**"
        if said
        else "**No beat stands out: each was foretold about as well as the others.**"
    )
    row, beat = hide.token_of(tokens, found.surprise, found.order[0])
    left, right = st.columns([1.1, 1])
    with left:
        figure = plot_novelty(found, tokens, (row, beat), start, seconds, marks=marks, dark=page.dark)
        hide.pick_token_on_map(
            figure, "novelty", "Leads by beats: how surprising each token and each beat is"
        )
    with right:
        for k in found.order[: max(LISTED, len(said))]:
            words = marks.get(k, "of the usual shape and time")
            leads = [LEADS[i] for i in found.leads_of(k)]
            st.markdown(
                f"**Beat {k + 1}** at {tokens.r_peaks[k]:.2f} s, score {found.score[k]:.1f}: {ui.say(words)}"
                + (f"; most in {', '.join(leads)}" if leads else "")
            )
            look, whole, _ = st.columns([1.2, 1, 0.6], vertical_alignment="center")
            with look:
                ui.link("2_Beats", "On the Beats page", beat=str(k + 1))
            whole.button("Hide it whole", key=f"whole_{k}", on_click=hide_whole, args=(k,), type="tertiary")
    st.caption(NOVELTY_WORDS)
    only = hide_beats(tokens, [beat]) & found.rebuilt.hidden
    leads = [
        LEADS[i] for i in sorted({row, *np.argsort(-np.nan_to_num(found.surprise[:, beat]))[:MOST_LEADS]})
    ]
    leads = [lead for lead in leads if only[LEADS.index(lead)].any()]
    on_paper(found.rebuilt.only(tokens, only), found.linear.only(tokens, only), leads,
             f"Beat {beat + 1}, in each lead from all the other leads and beats")  # fmt: skip
    with st.expander("Errors of each token in turn, by lead"):
        errors_table(found.rebuilt, found.linear, "in-turn", found.surprise)
    ui.model_line(found.rebuilt)


with guard():
    controls = st.columns([4.4, 2, 3.6], vertical_alignment="bottom")
    with controls[0]:
        study = ui.choices("Study", STUDIES, "study")
    with controls[1]:
        baseline = st.toggle("Linear baseline", True, key="baseline", bind="query-params")
    with controls[2]:
        start, seconds = page.stretch()
    checkpoint, tokens = page.checkpoint, page.tokens
    ui.show_missing(page)
    if study == IN_TURN:
        each_in_turn()
    elif study == SYNTHESIS:
        rebuilt_from_others(hide.pick_known(page), clickable=False)
    else:
        rebuilt_from_others(hide.pick_hidden(page), clickable=True)
