"""Why: what speaks for a label, on the trace and in numbers, and how far that may be believed."""

from functools import partial

import numpy as np
import streamlit as st

from clear_hug import ui
from clear_hug.because import (
    ATTENTION_WORDS,
    EXPORT_WORDS,
    GRADIENT_WORDS,
    LEAD_TOKEN_WORDS,
    LEAST_RHYTHM,
    LEFT_OUT_WORDS,
    PROOF_WORDS,
    SEGMENT_WORDS,
    SHAPLEY_WORDS,
    beat_words,
    evidence_words,
    most_beats_words,
    opposing_beat,
    proof_figures,
    sum_words,
    telling_beats,
)
from clear_hug.explain import METHODS
from clear_hug.export import explanation_csv, explanation_json
from clear_hug.leads import LEADS
from clear_hug.plots import (
    plot_attention,
    plot_contributions,
    plot_curves_of_proof,
    plot_icicle,
    plot_painted_ecg,
    plot_painted_samples,
    plot_segments,
    plot_token,
    plot_token_map,
    plot_waterfall,
    roomy_layout,
)
from clear_hug.plots.diagnosis import TOO_RARE
from clear_hug.sheet import explanation_page, pdf_of, png_of
from clear_hug.ui import guard, open_page
from clear_hug.ui.answer import care_of, show_gate
from clear_hug.ui.menus import GROUPED, TABS
from clear_hug.ui.reading import wait_for_reading
from clear_hug.words import beat_marks, qtc_words

page = open_page("Explanation")
LEFT_OUT = {"one by one": "ablation", "Shapley values": "shapley", "exact Shapley values": "exact_shapley"}
with guard():
    wait_for_reading(page)
    controls = st.columns([3, 3, 3])
    with controls[0]:
        target = ui.target_menu(page)
    with controls[1]:
        against = ui.against_menu(page, target)
    with controls[2]:
        start, seconds = page.stretch()
    lead = page.explain(target, against=against)
    words = page.checkpoint.description[target]
    if against:
        words += f" rather than {page.checkpoint.description[against]}"
    if page.diagnosis.rare[page.checkpoint.row(target)]:
        st.caption(f"This label is {TOO_RARE}: it has a probability alone.")
    show_gate(page, brief=True)
    ablated = None
    with guard():  # a record of an hour has too many beats to leave out one by one
        ablated = page.explain(target, "ablation", "beat", against)
    painted, ending, rows = lead, "", []
    if ablated:
        rows = telling_beats(lead, ablated)
        hidden = np.isin(np.arange(page.tokens.n_beats), rows) & page.tokens.valid
        without = page.logit_without(hidden, target, against)
        ending = beat_words(lead, ablated, rows, without, page.beat_facts, opposing_beat(lead, ablated))
    st.markdown(f"#### {ui.say(evidence_words(lead, words, ending))}")
    trust = st.empty()  # filled at the end: the proof takes a second, and the picture need not wait for it
    if abs(lead.qtc) >= LEAST_RHYTHM:
        st.caption(qtc_words(page.read_qtc, page.measured_qtc))
    known = page.diagnosis.probabilities[page.checkpoint.row(target)]
    st.markdown(sum_words(lead) + ("" if against else f" · probability {known:.0%}"))

    # only the tab that is open is computed and sent
    tabs = ui.tabs(TABS, "view")
    if tabs["On the trace"].open:
        with tabs["On the trace"], guard():
            ways = ["lead", "beat"] if ablated else ["lead"]
            by = ui.choices("Painted by", ways, "paint", "beat" if rows else "lead")
            beats = {}
            if ablated and by == "beat":
                painted, beats = ablated, {"beats": ablated.values, "tokens": page.tokens}
            layout = roomy_layout(page.ecg)
            figure = plot_painted_ecg(page.ecg, lead, start, seconds, layout=layout, dark=page.dark, **beats)
            alt = f"The ECG, each {by} in the colour of its contribution to {words}"
            ui.show_paper(figure, "painted", alt)
            st.caption(LEFT_OUT_WORDS if by == "beat" else LEAD_TOKEN_WORDS)
    if tabs["Leads × beats"].open:
        with tabs["Leads × beats"], guard():
            each = page.worth(target, "ablation", "token", against)
            if each is not None:
                looked = page.explain(target, "attention", "token", against)
                chosen = ui.chosen_token(page, each.values)
                figure = plot_token_map(
                    each, page.tokens, chosen, page.dark, start, seconds, marks=beat_marks(page.beat_facts)
                )
                alt = f"What each beat of each lead is worth to the logit of {words}"
                ui.pick_token(figure, "tokens", alt)
                ui.show(
                    plot_token(page.tokens, chosen, each, looked, dark=page.dark),
                    "token",
                    f"Beat {chosen[1] + 1} in {LEADS[chosen[0]]}, over the lead's other beats",
                )
            st.caption(LEFT_OUT_WORDS)
    if tabs["Groups"].open:
        with tabs["Groups"], guard():
            level = ui.choices("Contributions by", GROUPED, "level")
            alt = f"What each {level} adds to the logit of {words}, or takes from it"
            if level == "beat":
                by_lead, by_beat = (
                    page.worth(target, "integrated_gradients", part, against) for part in ("lead", "token")
                )
                if by_lead and by_beat:
                    ui.show(plot_icicle(by_lead, by_beat.values, dark=page.dark), "icicle", alt)
                    st.markdown(sum_words(by_lead))
                    if by_lead.note:
                        st.info(ui.say(by_lead.note))
                st.caption(GRADIENT_WORDS)
            else:
                why = page.explain(target, level=level, against=against)
                if level == "lead":
                    ui.show(plot_icicle(lead, dark=page.dark), "icicle", alt)
                ui.show(plot_contributions(why, dark=page.dark), "bars", alt)
                st.caption(LEAD_TOKEN_WORDS)
    if tabs["Waterfall"].open:
        with tabs["Waterfall"], guard():
            alt = f"From the bias by leads to the logit of {words}"
            ui.show(plot_waterfall(lead, dark=page.dark), "waterfall", alt)
            if max(abs(lead.rhythm), abs(lead.qtc)) >= LEAST_RHYTHM:
                st.caption(
                    "Here what belongs to the whole record has a bar of its own; on the trace and in the "
                    "bars of the Groups tab it is part of each lead's number."
                )
    if tabs["Left out"].open:
        with tabs["Left out"], guard():
            parts, how = st.columns(2)
            with parts:
                level = ui.choices("Parts left out", ["beat", "lead", "group", "segment"], "parts")
            with how:
                ways = [way for way in LEFT_OUT if level in METHODS[LEFT_OUT[way]].levels]
                way = ui.choices("How", ways, "how", "Shapley values")
            why = page.worth(target, LEFT_OUT[way], level, against)
            if why is not None:
                draw = plot_segments if level == "segment" else plot_contributions
                if level == "beat":
                    st.markdown(ui.say(most_beats_words(lead, why, words, page.beat_facts)))
                ui.show(draw(why, dark=page.dark), "removed", f"What each {level} is worth to {words}")
                st.markdown(sum_words(why))
            by_way = LEFT_OUT_WORDS if way == "one by one" else SHAPLEY_WORDS
            st.caption(SEGMENT_WORDS if level == "segment" else by_way)
    if tabs["Samples"].open:
        with tabs["Samples"], guard():
            smooth = st.toggle("Averaged over noisy copies", key="smooth", bind="query-params")
            method = "smooth_integrated_gradients" if smooth else "integrated_gradients"
            why = page.worth(target, method, "sample", against)
            if why is not None:
                figure = plot_painted_samples(
                    page.ecg, why, start, seconds, dark=page.dark, layout=roomy_layout(page.ecg)
                )
                ui.show_paper(
                    figure, "samples", f"The ECG, each sample in the colour of what it adds to {words}"
                )
                st.markdown(sum_words(why))
                if why.note:
                    st.info(ui.say(why.note))
            st.caption(GRADIENT_WORDS)
    if tabs["Attention"].open:
        with tabs["Attention"], guard():
            method = ui.choices("Layers", ["attention", "rollout"], "layers")
            looked = page.explain(target, method, "token")
            figure = plot_attention(looked, page.tokens, dark=page.dark, start=start, seconds=seconds)
            alt = "The share of each lead token's attention that each of its beats gets"
            ui.show(figure, "attention", alt)
            st.caption(ATTENTION_WORDS)
    maps = {"leads, exact contributions": lead}
    if ablated:
        maps["beats, left out one by one"] = ablated
    if tabs["Trust"].open:
        with tabs["Trust"], guard():
            shown = ui.choices("Map", list(maps), "map")
            if proof := page.proof(maps[shown]):
                curves = proof.curves
                figure = plot_curves_of_proof(
                    curves.deletion.values,
                    curves.insertion.values,
                    curves.deletion.random,
                    curves.insertion.random,
                    parts=maps[shown].level,
                    dark=page.dark,
                )
                ui.show(figure, "curves", "The logit as parts are taken away, and as they are put back")
                st.markdown(ui.bullets(proof.reasons))
                st.dataframe(proof_figures(proof), hide_index=True)
                st.caption(PROOF_WORDS)
    if tabs["Export"].open:
        with tabs["Export"], guard():
            said = [lead, page.explain(target, "hug", "group", against=against), *list(maps.values())[1:]]
            proof = page.proof(lead)
            found = {"word": proof.word, "reasons": list(proof.reasons)}
            who = st.toggle("With the record's name, which may be a patient's", key="named")
            what = (page.checkpoint, page.ecg, page.tokens, page.diagnosis)
            care = care_of(page)
            named = {"detector": page.beats_by, "with_record_id": who, "care": care}
            shown = {**named, "start": start, "seconds": seconds}
            printed = partial(explanation_page, *what, lead, proof=found, **shown)
            name = f"explanation-{target.split('/')[1]}"
            files = {
                "JSON": (lambda: explanation_json(*what, said, proof=found, **named), "application/json"),
                "CSV": (
                    lambda: explanation_csv(page.checkpoint, page.tokens, said, proof=found, care=care),
                    "text/csv",
                ),
                "PDF": (lambda: pdf_of(printed()), "application/pdf"),
                "PNG": (lambda: png_of(printed()), "image/png"),
            }
            for column, (form, (make, mime)) in zip(st.columns(4), files.items(), strict=True):
                with column:
                    ui.download(form, make, f"{name}.{form.lower()}", mime)
            st.caption(EXPORT_WORDS)
    with trust.container():
        ui.trust_line(page, painted)
    ui.model_line(lead)
