"""Figures of explanations, tested as data: each value where it belongs, sums that hold, words that say it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from plotly.colors import unlabel_rgb

from clear_hug.beats import tokenize_beats
from clear_hug.explain import Attribution
from clear_hug.leads import GROUPS, LEADS
from clear_hug.plots import (
    plot_attention,
    plot_compare,
    plot_contributions,
    plot_curves_of_proof,
    plot_icicle,
    plot_painted_ecg,
    plot_painted_samples,
    plot_token,
    plot_token_map,
    plot_waterfall,
    plot_what_if,
)
from clear_hug.plots.explanation import _compare_data
from clear_hug.plots.icicle import _areas_data
from clear_hug.plots.painted import POINTS, QUIET, STEP, _paint_data
from clear_hug.plots.paper import ecg_data
from clear_hug.plots.proof import DELETION, INSERTION, _proof_data
from clear_hug.plots.theme import DARK, LIGHT, colours_at, signed, signed_places
from clear_hug.plots.tokens import LEAST, _token_data
from clear_hug.plots.what_if import _moves_data
from clear_hug.simulate import simulate_ecg

BIAS = -1.7
CONTRIBUTIONS = np.array([0.9, 0.42, -0.13, -0.5, 0.7, 0.05, 1.1, -0.8, -0.02, 0.3, 0.2, -0.1])


@pytest.fixture(scope="module")
def ecg():
    return simulate_ecg("premature", seed=3)


@pytest.fixture(scope="module")
def tokens(ecg):
    return tokenize_beats(ecg)


def why(values, level="lead", method="ablation", names=LEADS, residual=0.0, bias=BIAS, **more):
    values = np.asarray(values, dtype=float)
    logit = np.nan_to_num(bias) + np.nansum(values) + residual
    target = "superdiagnostic/MI"
    return Attribution(
        values, tuple(names), level, target, method, bias, logit, residual, 0.0, "made", "cpu", **more
    )


def by_token(tokens, seed=0):
    values = np.random.default_rng(seed).normal(size=tokens.valid.shape)
    return why(np.where(tokens.valid, values, np.nan), "token", bias=np.nan)


def by_beat(tokens, seed=0):
    values = np.random.default_rng(seed).normal(size=tokens.n_beats)
    return why(values, "beat", names=[f"beat {k + 1}" for k in range(tokens.n_beats)])


def shares(tokens, method="attention"):
    weight = np.where(tokens.valid, np.random.default_rng(0).random(tokens.valid.shape), np.nan)
    total = np.nansum(weight, axis=1, keepdims=True)
    return why(weight / np.where(total > 0, total, np.nan), "token", method, bias=np.nan)


def by_sample(ecg, seed=0):
    shape = (12, round(ecg.duration * 100))
    return why(np.random.default_rng(seed).normal(size=shape) / 100, "sample", "integrated_gradients")


def curves(steps=13, orders=20, seed=0):
    rng = np.random.default_rng(seed)
    down = np.linspace(2, -2, steps)
    many = down + rng.normal(size=(orders, steps)) * 0.3
    return down - 0.5, down[::-1] + 0.5, many, many[:, ::-1]


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def every_figure(ecg, dark):
    tokens = tokenize_beats(ecg)
    present = np.where(tokens.present, CONTRIBUTIONS, np.nan)
    leads, token, beat = why(present), by_token(tokens), by_beat(tokens)
    there = np.argwhere(tokens.valid)[0]
    split = np.where(tokens.valid, (present / np.maximum(tokens.valid.sum(axis=1), 1))[:, None], np.nan)
    rng = np.random.default_rng(0)
    before, after, thresholds = rng.random((3, 30))
    names = [f"form/L{k}" for k in range(30)]
    return {
        "map": lambda: plot_token_map(token, tokens, chosen=tuple(there), dark=dark, marks={1: "wide"}),
        "attention": lambda: plot_attention(shares(tokens), tokens, dark=dark),
        "rollout": lambda: plot_attention(shares(tokens, "rollout"), tokens, dark=dark),
        "token": lambda: plot_token(tokens, there, token, shares(tokens), rng.normal(size=96), dark),
        "icicle": lambda: plot_icicle(leads, split, dark),
        "proof": lambda: plot_curves_of_proof(*curves(), dark=dark),
        "leads": lambda: plot_compare(leads, why(present * 0.5, method="hug"), dark=dark),
        "beats": lambda: plot_compare(beat, by_beat(tokens, 1), ("one", "two"), dark=dark),
        "what if": lambda: plot_what_if(before, after, thresholds, names, dark=dark),
        "painted beats": lambda: plot_painted_ecg(ecg, leads, dark=dark, beats=token.values, tokens=tokens),
        "painted samples": lambda: plot_painted_samples(ecg, by_sample(ecg), dark=dark),
    }


# every figure


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["premature", "lead_off", "tachycardia", "long"])
def test_every_figure_has_a_title_named_axes_and_survives_the_wire(kind, dark):
    for name, draw in every_figure(simulate_ecg(kind), dark).items():
        figure = draw()
        assert figure.layout.title.text, name
        assert figure.layout.height > 150, name
        assert name == "icicle" or any(axis.title.text for axis in figure.select_xaxes()), name
        assert figure.layout.paper_bgcolor == (DARK if dark else LIGHT).page
        assert len(json.loads(figure.to_json())["data"]) == len(figure.data)


def test_a_figure_is_built_within_150_ms(ecg):
    for name, draw in every_figure(ecg, dark=False).items():
        took = []
        for _ in range(5):
            began = time.thread_time()
            draw()
            took.append(time.thread_time() - began)
        assert min(took) < 0.15, name


# the map of tokens


def test_a_square_is_a_token_with_its_rows_and_its_own_colour(tokens):
    token = by_token(tokens)
    squares = plot_token_map(token, tokens).data[0]
    assert squares.mode == "markers" and squares.marker.cmin == -squares.marker.cmax
    assert squares.marker.cmax == np.nanmax(np.abs(token.values))
    assert {tuple(row) for row in squares.customdata} == {tuple(row) for row in np.argwhere(tokens.valid)}
    for (lead, beat), x, y, colour in zip(
        squares.customdata, squares.x, squares.y, squares.marker.color, strict=True
    ):
        assert (x, y, colour) == (beat + 1, lead, token.values[lead, beat])


@pytest.mark.parametrize("factor", [1.0, 0.01, 37.0])
def test_the_numbers_in_the_squares_are_the_values_in_the_unit_that_is_named(tokens, factor):
    token = by_token(tokens)
    token = replace(token, values=token.values * factor)
    figure = plot_token_map(token, tokens)
    unit = float(figure.layout.title.text.split("numbers in ")[1].split(" of the logit")[0])
    written = np.array([float(t.replace("−", "-")) for t in trace(figure, "values").text]) * unit
    np.testing.assert_allclose(written, token.values[tokens.valid], atol=0.51 * unit)
    assert 10 <= np.nanmax(np.abs(token.values)) / unit < 100.5


def test_attention_runs_from_zero_and_says_that_it_is_no_importance(tokens):
    for method in ("attention", "rollout"):
        figure = plot_attention(shares(tokens, method), tokens)
        assert figure.data[0].marker.cmin == 0
        assert method.capitalize() in figure.layout.title.text
        assert "not what mattered" in figure.layout.title.text
    assert "not what mattered" not in plot_token_map(by_token(tokens), tokens).layout.title.text
    with pytest.raises(ValueError, match="no attention"):
        plot_attention(by_token(tokens), tokens)


def test_the_chosen_square_is_outlined_and_a_click_dims_nothing(tokens):
    figure = plot_token_map(by_token(tokens), tokens, chosen=(7, 3), marks={4: "premature"})
    outline = trace(figure, "chosen")
    assert (outline.x[0], outline.y[0]) == (4, 7)
    for drawn in figure.data:
        if "markers" in drawn.mode:
            assert drawn.unselected.marker.opacity == 1
        else:
            assert drawn.selected.textfont.color
    with pytest.raises(ValueError, match=r"token \(12, 0\) is not in the record"):
        plot_token_map(by_token(tokens), tokens, chosen=(12, 0))


def test_marked_beats_are_named_in_words(tokens):
    marks = {4: "premature, wide", 6: "premature, wide", 2: "wide"}
    figure = plot_token_map(by_token(tokens), tokens, marks=marks)
    assert sorted(trace(figure, "marks").x) == [3, 5, 7]
    words = figure.layout.title.text
    assert "premature, wide: 5, 7" in words and "wide: 3" in words


def test_only_as_many_beats_are_shown_as_can_be_clicked():
    long = tokenize_beats(simulate_ecg("long", seconds=60, heart_rate=150))
    for width in (400, 1120):
        figure = plot_token_map(by_token(long), long, width=width)
        shown = {row[1] for row in figure.data[0].customdata}
        assert shown == set(range(len(shown)))  # the first of them
        assert figure.data[0].marker.size >= LEAST
        assert figure.data[0].marker.size * len(shown) < width
        if len(shown) < long.n_beats:
            assert f"{len(shown)} of {long.n_beats} beats shown" in figure.layout.title.text
    assert len(shown) < long.n_beats


def test_marks_and_choice_out_of_view_are_not_drawn():
    long = tokenize_beats(simulate_ecg("long"))
    figure = plot_token_map(by_token(long), long, start=10, seconds=5, chosen=(0, 0), marks={0: "wide"})
    assert {t.name for t in figure.data}.isdisjoint({"marks", "chosen"})


# one token


def test_a_token_is_drawn_in_its_own_voltage_over_the_others(tokens):
    data = _token_data(tokens, (6, 4), np.arange(96.0))
    inside = tokens.inside[4]
    np.testing.assert_array_equal(data.trace[inside], tokens.values[6, 4, inside])
    assert np.isnan(data.trace[~inside]).all() and np.isnan(data.paint[~inside]).all()
    np.testing.assert_array_equal(data.paint[inside], np.arange(96.0)[inside])
    assert data.time[48] == 0 and len(data.others) == tokens.valid[6].sum() - 1
    peak = data.others[:, 48]
    np.testing.assert_array_equal(np.sort(peak), np.sort(np.delete(tokens.values[6, tokens.valid[6], 48], 4)))


def test_value_and_attention_of_a_token_stand_in_words(tokens):
    token, looked = by_token(tokens), shares(tokens)
    figure = plot_token(tokens, (6, 4), token, looked)
    words = figure.layout.title.text
    value = token.values[6, 4]
    assert f"V1, beat 5 of {tokens.n_beats}" in words
    assert ("supports" if value > 0 else "opposes") + " MI" in words
    assert signed(value, np.nanmax(np.abs(token.values))) in words
    assert f"{looked.values[6, 4]:.1%}" in words
    assert "paint" not in {t.name for t in figure.data}
    unknown = plot_token(replace(tokens, units_known=False), (6, 4))
    assert "arbitrary" in unknown.layout.yaxis.title.text


def test_a_missing_token_says_so_and_wrong_ones_are_refused():
    tokens = tokenize_beats(simulate_ecg("lead_off"))
    lead, beat = np.argwhere(~tokens.valid)[0]
    assert "no token here" in plot_token(tokens, (lead, beat), by_token(tokens)).layout.title.text
    with pytest.raises(ValueError, match="beats 0 to"):
        plot_token(tokens, (0, 99))
    with pytest.raises(ValueError, match=r"samples has shape \(95,\)"):
        plot_token(tokens, (0, 1), samples=np.zeros(95))


# areas


def split_by_beat(leads, tokens, seed=0):
    """(12, beat) of both signs that sum to each lead's value."""
    beats = np.where(tokens.valid, np.random.default_rng(seed).normal(size=tokens.valid.shape), np.nan)
    off = np.nan_to_num(leads) - np.nansum(beats, axis=1)
    return beats + (off / np.maximum(tokens.valid.sum(axis=1), 1))[:, None]


@pytest.mark.parametrize("beats", [False, True])
@pytest.mark.parametrize("residual", [0.0, 0.03])
@pytest.mark.parametrize("kind", ["premature", "lead_off"])
def test_the_icicle_adds_up(kind, residual, beats):
    tokens = tokenize_beats(simulate_ecg(kind))
    leads = why(np.where(tokens.present, CONTRIBUTIONS, np.nan), method="hug", residual=residual)
    data = _areas_data(leads, split_by_beat(leads.values, tokens) if beats else None)
    assert data.values[data.leaves].sum() == pytest.approx(leads.logit - leads.bias, abs=1e-5)
    np.testing.assert_allclose(data.areas[data.leaves], np.abs(data.values[data.leaves]))
    for k, node in enumerate(data.ids):
        children = [i for i, parent in enumerate(data.parents) if parent == node]
        if children:
            assert data.areas[k] == pytest.approx(data.areas[children].sum(), abs=1e-9)
            assert data.values[k] == pytest.approx(data.values[children].sum(), abs=1e-9)
    for lead, value in zip(LEADS, leads.values, strict=True):
        found = [data.values[k] for k, d in enumerate(data.depth) if d == 2 and data.names[k] == lead]
        assert found == ([pytest.approx(value)] if np.isfinite(value) else [])
    assert ("residual" in data.ids) == bool(residual)
    assert data.leaves.sum() == (tokens.valid.sum() if beats else tokens.present.sum()) + bool(residual)


def test_the_icicle_is_drawn_as_it_was_added_up(tokens):
    leads = why(CONTRIBUTIONS, method="hug")
    data = _areas_data(leads, None)
    drawn = plot_icicle(leads).data[0]
    assert drawn.branchvalues == "total" and list(drawn.ids) == list(data.ids)
    np.testing.assert_array_equal(drawn.values, data.areas)
    for name, text, value in zip(data.names, drawn.text, data.values, strict=True):
        if name in GROUPS:
            assert signed(value) in text
    assert signed(leads.logit - leads.bias) in drawn.text[0]


def test_the_icicle_refuses_what_does_not_add_up(tokens):
    with pytest.raises(ValueError, match="adds? up"):
        plot_icicle(why(CONTRIBUTIONS, bias=np.nan))
    wrong = split_by_beat(CONTRIBUTIONS, tokens)
    wrong[7, 2] += 0.01
    with pytest.raises(ValueError, match="beats of V2 are off its own value by 0.01"):
        plot_icicle(why(CONTRIBUTIONS), wrong)
    with pytest.raises(ValueError, match=r"shape \(12,\); expected \(12, beat\)"):
        plot_icicle(why(CONTRIBUTIONS), CONTRIBUTIONS)


# proof


def test_the_gap_is_the_area_between_the_map_and_the_random_orders():
    deletion, insertion, down, up = curves(steps=101, orders=400)
    one, two = _proof_data(DELETION, deletion, down), _proof_data(INSERTION, insertion, up)
    assert one.gap == pytest.approx(0.5, abs=0.05) and two.gap == pytest.approx(0.5, abs=0.05)
    assert one.beaten == one.orders == 400
    turned = _proof_data(DELETION, deletion + 1, down)
    assert turned.gap == pytest.approx(-0.5, abs=0.05) and turned.beaten == 0
    inside = (down >= one.low) & (down <= one.high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(one.mean, down.mean(axis=0))


def test_proof_says_its_gap_and_draws_every_step():
    deletion, insertion, down, up = curves()
    figure = plot_curves_of_proof(deletion, insertion, down, up, "logit of MI", "lead")
    one, two = _proof_data(DELETION, deletion, down), _proof_data(INSERTION, insertion, up)
    assert f"deletion {one.gap:.2f} below random" in figure.layout.title.text
    assert f"insertion {two.gap:.2f} above random" in figure.layout.title.text
    np.testing.assert_array_equal(trace(figure, "deletion").y, deletion)
    np.testing.assert_array_equal(trace(figure, "insertion").y, insertion)
    assert "leads removed, of 12" in figure.layout.xaxis.title.text
    assert "leads there, of 12" in figure.layout.xaxis2.title.text
    against = plot_curves_of_proof(deletion + 1, insertion - 1, down, up).layout.title.text
    assert "above random, insertion" in against and "below random, on average" in against


def test_curves_that_do_not_fit_are_refused():
    deletion, insertion, down, up = curves()
    with pytest.raises(ValueError, match=r"\(13,\) and \(20, 12\)"):
        plot_curves_of_proof(deletion, insertion, down[:, 1:], up)
    with pytest.raises(ValueError, match="no numbers"):
        plot_curves_of_proof(deletion * np.nan, insertion, down, up)


# beside each other


def test_two_explanations_stand_on_one_scale_part_by_part():
    a, b = why(CONTRIBUTIONS, method="hug"), why(-2 * CONTRIBUTIONS)
    data = _compare_data(a, b)
    np.testing.assert_array_equal(data.first, CONTRIBUTIONS)
    np.testing.assert_array_equal(data.second, -2 * CONTRIBUTIONS)
    assert data.end == 2.2 and (data.shared, data.agree) == (12, 0)
    figure = plot_compare(a, b)
    assert "hug beside ablation" in figure.layout.title.text
    bars = [t for t in figure.data if t.type == "bar"]
    hatch = bars[1].marker.pattern
    assert bars[0].marker.pattern.shape != hatch.shape  # not by colour alone
    assert hatch.fillmode == "overlay"  # over the bar's colour: alone, a hatch of the page's colour is unseen
    for k, bar in enumerate(bars):
        np.testing.assert_array_equal(bar.x, (data.first, data.second)[k])
    assert figure.layout.xaxis.range[0] == -figure.layout.xaxis.range[1] < -2.2


def test_names_too_long_for_a_title_stand_below_it_alone():
    names = ("folder/of/records/00380_hr", "another folder/of/records/of/a/year/00381_hr")
    title, below = plot_compare(why(CONTRIBUTIONS), why(CONTRIBUTIONS), names).layout.title.text.split("<br>")
    assert not any(name in title for name in names) and all(name in below for name in names)


def test_parts_of_two_records_meet_by_name():
    a = why([1, 2, 3], "beat", names=["beat 1", "beat 2", "beat 3"])
    b = why([4, 5], "beat", names=["beat 1", "beat 2"])
    data = _compare_data(a, b)
    assert data.names == a.names and data.shared == data.agree == 2
    np.testing.assert_array_equal(data.second, [4, 5, np.nan])
    texts = [t for drawn in plot_compare(a, b).data if drawn.type == "scatter" for t in drawn.text]
    assert texts.count("absent") == 1


def test_what_cannot_be_compared_is_refused(tokens):
    with pytest.raises(ValueError, match="one attribution is by lead, one by group"):
        plot_compare(why(CONTRIBUTIONS), why([1, 2, 3], "group", names=tuple(GROUPS)))
    with pytest.raises(ValueError, match="attention is a share"):
        plot_compare(shares(tokens), shares(tokens))
    with pytest.raises(ValueError, match="by token"):
        plot_compare(by_token(tokens), by_token(tokens))


def test_names_of_what_is_compared_are_text():
    title = plot_compare(why(CONTRIBUTIONS), why(CONTRIBUTIONS), ("<b>a", "b")).layout.title.text
    assert "<b>a" not in title.replace("<b>What", "") and "&lt;b&gt;a" in title


def test_bars_of_parts_left_out_one_by_one_claim_no_sum():
    ablated, exact = why(CONTRIBUTIONS, bias=np.nan), why(CONTRIBUTIONS, method="hug")
    assert "need not make the logit" in plot_contributions(ablated).layout.title.text
    assert "make the logit" in plot_contributions(exact).layout.title.text
    with pytest.raises(ValueError, match="adds? up"):
        plot_waterfall(ablated)


def test_a_contrast_names_both_labels():
    contrast = why(CONTRIBUTIONS, method="hug", against="superdiagnostic/STTC")
    figure = plot_contributions(contrast)
    assert "MI rather than STTC" in figure.layout.title.text
    sides = " ".join(a.text for a in figure.layout.annotations)
    assert "for STTC" in sides and "for MI" in sides


# what if

BEFORE = np.array([0.9, 0.2, 0.5, 0.04])
AFTER = np.array([0.85, 0.6, 0.39, 0.05])
THRESHOLDS = np.array([0.5, 0.5, 0.4, 0.3])
NAMES = ["form/A", "form/B", "form/C", "rhythm/A"]


def test_labels_are_sorted_by_move_or_by_before():
    data = _moves_data(BEFORE, AFTER, THRESHOLDS, NAMES, "move", 3)
    assert data.names == ("form/B", "form/C", "form/A") and data.far.tolist() == [True, True, False]
    assert (data.left, data.left_far) == (1, 0)
    data = _moves_data(BEFORE, AFTER, THRESHOLDS, NAMES, "before", 2)
    assert data.names == ("form/A", "form/C") and (data.left, data.left_far) == (2, 1)
    np.testing.assert_array_equal(data.thresholds, [0.5, 0.4])


def test_before_is_hollow_after_is_filled_and_a_far_move_stands_out():
    figure = plot_what_if(BEFORE, AFTER, THRESHOLDS, NAMES)
    before, after = trace(figure, "before"), trace(figure, "after")
    assert before.marker.color == LIGHT.page and LIGHT.page not in after.marker.color
    np.testing.assert_array_equal(before.x, [0.2, 0.5, 0.9, 0.04])
    np.testing.assert_array_equal(after.x, [0.6, 0.39, 0.85, 0.05])
    assert sorted(trace(figure, "threshold").x) == sorted(THRESHOLDS)
    words = trace(figure, "value").text
    assert "now called" in words[0] and "no longer called" in words[1] and "called" not in words[2]
    assert ["<b>" in w for w in words] == [True, True, False, False]
    assert trace(figure, "far move").line.width > trace(figure, "move").line.width
    assert "2 moved by 0.1 or more" in figure.layout.title.text


def test_a_label_too_rare_to_call_moves_and_is_never_called():
    rare = np.array([0.5, np.nan, 0.4, 0.3])
    figure = plot_what_if(BEFORE, AFTER, rare, NAMES)
    words = trace(figure, "value").text
    assert "called" not in words[0] and "no longer called" in words[1]
    hover = trace(figure, "after").hovertemplate
    assert "too rare" in hover[0] and not any("nan" in text for text in hover)


def test_labels_of_one_name_are_told_apart_by_task():
    rows = plot_what_if(BEFORE, AFTER, THRESHOLDS, NAMES).layout.yaxis.ticktext
    assert list(rows) == ["<b>B</b>", "<b>C</b>", "<b>form/A</b>", "<b>rhythm/A</b>"]


def test_probabilities_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"expected one value a name, \(4,\)"):
        plot_what_if(BEFORE[1:], AFTER, THRESHOLDS, NAMES)
    with pytest.raises(ValueError, match="expected one of move, before"):
        plot_what_if(BEFORE, AFTER, THRESHOLDS, NAMES, by="name")


# painted


def painted(figure):
    """(point,) x, y and value of all paint."""
    drawn = [t for t in figure.data if t.name == "paint"]
    points = np.array([np.concatenate([t[key] for t in drawn]) for key in ("x", "y", "customdata")], float)
    return points[:, np.isfinite(points[0])]


@pytest.mark.parametrize("end", [0.0, -1.0, np.nan])
def test_a_scale_that_has_no_end_is_refused(ecg, end):
    with pytest.raises(ValueError, match="a colour scale ends above 0"):
        plot_painted_ecg(ecg, why(CONTRIBUTIONS), end=end)
    with pytest.raises(ValueError, match="a colour scale ends above 0"):
        plot_painted_samples(ecg, by_sample(ecg), end=end)


def test_a_shared_end_gives_one_value_one_colour(ecg):
    small, large = why(CONTRIBUTIONS, method="hug"), why(3 * CONTRIBUTIONS, method="hug")
    figures = [plot_painted_ecg(ecg, one, end=3.3) for one in (small, large)]
    assert [trace(f, "scale").marker.cmax for f in figures] == [3.3, 3.3]
    expected = colours_at(LIGHT.diverging, signed_places(CONTRIBUTIONS, 3.3))
    assert [trace(figures[0], lead).line.color for lead in LEADS] == expected


def test_each_beat_is_painted_over_its_window_in_its_own_colour(ecg, tokens):
    token = by_token(tokens)
    figure = plot_painted_ecg(
        ecg, why(CONTRIBUTIONS), beats=token.values, tokens=tokens, layout="12x1", end=4.0
    )
    paper = ecg_data(ecg, 0, 10, "12x1", None, 25, 10, letters=6)
    paint = [t for t in figure.data if t.name == "paint"]
    places = signed_places(token.values, 4.0)
    for strip in paper.strips:
        row = LEADS.index(strip.lead)
        for beat in (0, 4, 7):
            at = int(np.argmin(np.abs(strip.time - tokens.r_peaks[beat])))
            mine = [
                t
                for t in paint
                if np.any((np.asarray(t.x) == strip.time[at]) & (np.asarray(t.y) == strip.mm[at]))
            ]
            assert len(mine) == 1
            shade = colours_at(LIGHT.diverging, np.rint(places[row, beat : beat + 1] * 20) / 20)
            assert mine[0].line.color == shade[0]
    held = np.concatenate([np.asarray(t.x, dtype=float) for t in paint])
    outside = np.all([(held < a - 1e-3) | (held > b + 1e-3) for a, b in tokens.windows], axis=0)
    assert not outside.any()


def test_painted_beats_can_be_pointed_at_and_chosen(ecg, tokens):
    beats = by_beat(tokens).values
    figure = plot_painted_ecg(ecg, why(CONTRIBUTIONS), beats=beats, tokens=tokens)
    points = trace(figure, "beats")
    assert points.mode == "markers" and len(points.customdata) == len(points.x) > 20
    for (lead, beat), x, said in zip(points.customdata, points.x, points.text, strict=True):
        assert x == tokens.r_peaks[beat] and LEADS[lead] in said
        assert signed(beats[beat], np.abs(beats).max()) in said  # all leads alike
    names = trace(figure, "leads").text
    assert f"<b>V1</b> {signed(1.1)}" in names  # the number is still the lead's


def test_a_missing_token_is_not_painted():
    ecg = simulate_ecg("lead_off")
    tokens = tokenize_beats(ecg)
    leads = why(np.where(tokens.present, CONTRIBUTIONS, np.nan))
    figure = plot_painted_ecg(ecg, leads, beats=by_beat(tokens).values, tokens=tokens)
    off = set(np.flatnonzero(~tokens.present))
    assert off and off.isdisjoint(row[0] for row in trace(figure, "beats").customdata)


def test_beats_that_do_not_fit_are_refused(ecg, tokens):
    with pytest.raises(ValueError, match="give the record's tokens too"):
        plot_painted_ecg(ecg, why(CONTRIBUTIONS), beats=np.zeros(3))
    with pytest.raises(ValueError, match=r"beats has shape \(3,\)"):
        plot_painted_ecg(ecg, why(CONTRIBUTIONS), beats=np.zeros(3), tokens=tokens)
    with pytest.raises(ValueError, match="by sample; this one is by lead"):
        plot_painted_samples(ecg, why(CONTRIBUTIONS))


@pytest.mark.parametrize("layout", ["3x4", "12x1"])
def test_paint_lies_on_the_trace_in_its_own_value(ecg, layout):
    paper = ecg_data(ecg, 0, 10, layout, None, 25, 10)
    values = np.tile(np.linspace(-1, 1, 1000), (12, 1)) * np.arange(1, 13)[:, None]
    paint, end = _paint_data(paper, values, 12.0)
    assert end == 12.0 and sum(p.time.size for p in paint) <= POINTS + len(paint)
    strips = {s.lead: s for s in paper.strips}
    for strip in paint:
        on = strips[strip.lead]
        far = np.abs(np.interp(strip.time, on.time, on.mm) - strip.mm)
        assert far.max() < 0.05  # mm
        truth = (2 * strip.time / 9.99 - 1) * (LEADS.index(strip.lead) + 1)
        inside = (strip.time > 0.1) & (strip.time < 9.9)
        assert np.isnan(strip.value[inside & (np.abs(truth) < 0.9 * QUIET * end)]).all()
        inside &= np.abs(truth) > 1.1 * QUIET * end
        np.testing.assert_allclose(strip.value[inside], truth[inside], atol=0.01)


def test_steep_parts_are_painted_as_closely_as_flat_ones(ecg):
    paint, _ = _paint_data(ecg_data(ecg, 0, 10, "3x4", None, 25, 10), np.ones((12, 1000)), 1.0)
    for strip in paint:
        step = np.hypot(np.diff(strip.time) * 25, np.diff(strip.mm))
        assert step.size > 200 and 0 < step.min() and step.max() < 1.01 * STEP


def test_samples_that_say_nothing_are_not_painted_and_a_planted_one_is(ecg):
    values = np.zeros((12, 1000))
    values[1, 300] = 1.0
    figure = plot_painted_samples(ecg, why(values, "sample"), layout="12x1")
    x, y, value = painted(figure)
    assert x.size and abs(x.mean() - 3.0) < 0.02 and np.ptp(x) < 0.12 and (value > 0).all()
    lead = trace(figure, "II")
    at = lead.x0 + lead.dx * np.arange(len(lead.y)) if lead.x is None else lead.x
    np.testing.assert_allclose(np.interp(x, at, lead.y), y, atol=0.05)
    assert f"<b>II</b> {signed(1.0)}" in trace(figure, "leads").text  # the number is the sum


def test_paint_has_the_colour_of_its_value_wider_where_it_is_stronger(ecg):
    values = by_sample(ecg)
    figure = plot_painted_samples(ecg, values, end=0.005)
    drawn = [t for t in figure.data if t.name == "paint"]
    assert sum(np.isfinite(np.asarray(t.x, dtype=float)).sum() for t in drawn) < 15_000
    strength = []
    for one in drawn:
        value = np.asarray(one.customdata, dtype=float)
        middle = np.nanmean(np.clip(value, -0.005, 0.005)) / 0.005
        red, _, blue = unlabel_rgb(one.line.color)
        assert abs(middle) < 0.15 or (red > blue) == (middle > 0)
        strength.append((abs(middle), one.line.width))
    assert len(drawn) > 10 and np.corrcoef(np.array(strength).T)[0, 1] > 0.95


def test_gaps_are_not_painted(ecg):
    signal = ecg.signal.copy()
    signal[:, 1000:1500] = np.nan
    gap = replace(ecg, signal=signal)
    figure = plot_painted_samples(gap, why(np.ones((12, 1000)), "sample"), layout="12x1")
    x = painted(figure)[0]
    assert x.size and not ((x > 2.003) & (x < 2.995)).any()


def test_the_real_ecg_that_pydicom_carries_draws():
    from pydicom.data import get_testdata_file

    from clear_hug.io import read_ecg

    ecg = read_ecg(get_testdata_file("waveform_ecg.dcm"))
    for name, draw in every_figure(ecg, dark=True).items():
        assert json.loads(draw().to_json())["data"], name
