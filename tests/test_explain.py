"""Why this logit: contributions that add up exactly, attention that is a distribution, errors in words."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from clear_hug.diagnosis import diagnose
from clear_hug.explain import METHODS, PATHS, explain, look
from clear_hug.hug import N_OF_RECORD
from clear_hug.leads import GROUPS, LEADS
from clear_hug.removal import Game, parts_of

WEIGHTS = ("attention", "rollout")
SHAPES = {"lead": (12,), "group": (3,), "pair": (7,), "level": (3,)}


def _marks(name, level):
    if "shapley" not in name or level == "group":
        return ()
    return pytest.mark.long if (name, level) == ("shapley", "beat") else pytest.mark.slow


def pairs(*names):
    """(method, level) of these methods; Shapley values take long of all but the three groups."""
    return [
        pytest.param(name, level, marks=_marks(name, level))
        for name in names
        for level in METHODS[name].levels
    ]


def masks(tokens):
    """Nothing left out; V1 and a beat; a whole group; everything."""
    shape = tokens.valid.shape
    out = {name: np.zeros(shape, bool) for name in ("nothing", "V1 and a beat", "augmented", "everything")}
    out["V1 and a beat"][6], out["V1 and a beat"][:, 3] = True, True
    out["augmented"][3:6], out["everything"][:] = True, True
    return out


@pytest.mark.parametrize(("method", "level"), pairs(*METHODS))
@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
def test_an_attribution_has_the_shape_of_what_it_explains(checkpoint, tokens_of, kind, method, level):
    tokens = tokens_of(kind)
    why = explain(checkpoint, tokens, "MI", method, level)
    of_the_record = {
        "beat": (tokens.n_beats,),
        "token": tokens.valid.shape,
        "segment": (12, 3),
        "sample": (12, round(100 * tokens.duration)),
    }
    shape = {**SHAPES, **of_the_record}[level]
    assert why.values.shape == shape and (why.error is None or why.error.shape == shape)
    assert len(why.names) == len(why.values)
    assert (why.target, why.method, why.level) == ("superdiagnostic/MI", method, level)
    assert why.model == "tiny" and why.device and why.seconds > 0
    with pytest.raises(ValueError, match="read-only"):
        why.values[0] = 0


@pytest.mark.parametrize("level", METHODS["hug"].levels)
@pytest.mark.parametrize("kind", ["normal", "lead_off", "long", "tachycardia"])
def test_contributions_add_up_to_the_logit_of_the_diagnosis(checkpoint, tokens_of, kind, level):
    tokens = tokens_of(kind)
    for name, hidden in masks(tokens).items():
        d = diagnose(checkpoint, tokens, hidden)
        for row, label in enumerate(d.labels):
            why = explain(checkpoint, tokens, label, "hug", level, hidden)
            assert why.logit == pytest.approx(d.logits[row], abs=1e-5), name
            assert abs(why.bias + np.nansum(why.values) - why.logit) < 1e-5, name
            assert why.residual == pytest.approx(why.logit - why.bias - np.nansum(why.values), abs=1e-12)
            assert why.bias == pytest.approx(float(checkpoint.model.hug.bias()[row]), abs=1e-6)
            if name == "everything":
                assert why.logit == pytest.approx(why.bias, abs=1e-5)
            else:
                assert np.nanmax(np.abs(why.values)) > 1e-3


def test_what_rhythm_and_qtc_add_is_what_is_missing_without_it(checkpoint, tokens):
    with torch.no_grad():
        one = copy.deepcopy(checkpoint.model)
        one.hug.reference[:, -N_OF_RECORD:] = 0.2  # one for all leads, as `HUG.centre` leaves it
        mute = copy.deepcopy(one)
        mute.hug.rhythm.zero_()
        mute.hug.qtc.zero_()
    both = replace(checkpoint, model=one), replace(checkpoint, model=mute)
    for level in METHODS["hug"].levels:
        for against in (None, "NORM"):
            why, less = (explain(each, tokens, "MI", "hug", level, against=against) for each in both)
            both_add = why.rhythm + why.qtc
            assert both_add == pytest.approx(why.logit - less.logit, abs=1e-5)
            assert less.rhythm == less.qtc == 0
            assert abs(why.rhythm) > 1e-3 and abs(why.qtc) > 1e-3
            if level == "lead":
                np.testing.assert_allclose(why.values - less.values, both_add / 12, atol=1e-5)
    other = explain(checkpoint, tokens, "MI", "ablation", "lead")
    assert np.isnan(other.rhythm) and np.isnan(other.qtc)


def test_a_map_of_samples_says_that_the_qtc_is_not_in_it(checkpoint, tokens):
    muted = copy.deepcopy(checkpoint.model)
    muted.hug.qtc.zero_()
    for opened, said in ((checkpoint, True), (replace(checkpoint, model=muted), False)):
        why = explain(opened, tokens, "MI", "integrated_gradients", "lead")
        assert ("QT interval" in why.note) is said
        assert abs(why.residual) < 1e-3 * max(1.0, np.abs(why.values).max())


@pytest.mark.parametrize(
    ("method", "level"),
    pairs(*(name for name, method in METHODS.items() if method.adds_up and name != "hug")),
)
@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
def test_all_that_says_so_adds_up(checkpoint, tokens_of, kind, method, level):
    tokens = tokens_of(kind)
    hidden = masks(tokens)["V1 and a beat"]
    why = explain(checkpoint, tokens, "MI", method, level, hidden)
    assert why.logit == pytest.approx(diagnose(checkpoint, tokens, hidden).logits[1], abs=1e-5)
    exact = method != "smooth_integrated_gradients"  # the others' gap is rounding; its own is the noise's
    assert abs(why.residual) < (1e-5 if exact else 0.1)
    assert np.nanmax(np.abs(why.values)) > 1e-4


@pytest.mark.parametrize(("method", "level"), pairs(*(name for name in METHODS if name not in WEIGHTS)))
def test_a_contrast_is_the_difference_of_two_explanations(checkpoint, tokens, method, level):
    why, one, two = (
        explain(checkpoint, tokens, target, method, level, against=other)
        for target, other in (("MI", "NORM"), ("MI", None), ("NORM", None))
    )
    assert (why.target, why.against) == ("superdiagnostic/MI", "superdiagnostic/NORM") and one.against == ""
    assert why.logit == pytest.approx(one.logit - two.logit, abs=1e-9)
    if why.error is None:
        np.testing.assert_allclose(why.values, one.values - two.values, atol=1e-6)
    if METHODS[method].adds_up:
        exact = method != "smooth_integrated_gradients"  # its residual is the noise's
        assert why.bias == pytest.approx(one.bias - two.bias) and abs(why.residual) < (1e-5 if exact else 0.1)


def test_levels_are_sums_of_one_another(checkpoint, tokens):
    by = {level: explain(checkpoint, tokens, "CD", "hug", level) for level in METHODS["hug"].levels}
    lead, group, pair, level = (by[name].values for name in ("lead", "group", "pair", "level"))
    np.testing.assert_allclose(group, [lead[list(rows)].sum() for rows in GROUPS.values()], atol=1e-6)
    np.testing.assert_allclose(level, [pair[:3].sum(), pair[3:6].sum(), pair[6]], atol=1e-6)
    assert by["lead"].names == LEADS and by["group"].names == tuple(GROUPS) and by["pair"].names == PATHS


def test_what_is_absent_has_no_contribution(checkpoint, tokens, tokens_of):
    hidden = masks(tokens)
    lead = explain(checkpoint, tokens, "MI", hidden=hidden["V1 and a beat"]).values
    assert np.flatnonzero(np.isnan(lead)).tolist() == [6]
    lead = explain(checkpoint, tokens, "MI", hidden=hidden["augmented"]).values
    assert np.flatnonzero(np.isnan(lead)).tolist() == [3, 4, 5]
    group = explain(checkpoint, tokens, "MI", "hug", "group", hidden["augmented"]).values
    assert np.isnan(group).tolist() == [False, True, False]
    off = explain(checkpoint, tokens_of("lead_off"), "MI").values
    assert np.flatnonzero(np.isnan(off)).tolist() == [LEADS.index("V3")]


@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
@pytest.mark.parametrize("method", WEIGHTS)
def test_attention_is_a_distribution_over_the_beats_that_are_there(checkpoint, tokens_of, kind, method):
    tokens = tokens_of(kind)
    for name, hidden in masks(tokens).items():
        weights = explain(checkpoint, tokens, "MI", method, hidden=hidden)
        there = tokens.valid & ~hidden
        np.testing.assert_array_equal(np.isnan(weights.values), ~there)
        assert (weights.values[there] > 0).all(), name
        np.testing.assert_allclose(np.nansum(weights.values, axis=1)[there.any(axis=1)], 1)
        assert np.isnan(weights.bias) and np.isnan(weights.residual)
        assert weights.logit == pytest.approx(
            explain(checkpoint, tokens, "MI", hidden=hidden).logit, abs=1e-4
        )


def test_attention_is_that_of_the_last_layer_on_the_leads_own_beats(checkpoint, tokens):
    """The scatter back to (lead, beat), against the weights themselves on a record that is whole."""
    from clear_hug.beats import split_windows
    from clear_hug.diagnosis import collate

    encoded = checkpoint.model.clear.encode(collate(split_windows(tokens)), attention=1)
    weights = encoded.attention[-1][0].mean(0)
    shown = explain(checkpoint, tokens, "MI", "attention").values
    for lead in range(12):
        slots = 12 + lead * tokens.n_beats + np.arange(tokens.n_beats)
        own = weights[lead, slots].numpy()
        np.testing.assert_allclose(shown[lead], own / own.sum(), atol=1e-5)
    assert np.ptp(shown, axis=1).max() > 1e-3


def test_rollout_is_the_product_of_the_layers_half_of_each_passing_by(checkpoint, tokens):
    from clear_hug.beats import split_windows
    from clear_hug.diagnosis import collate

    encoded = checkpoint.model.clear.encode(collate(split_windows(tokens)), attention=99)
    through = np.eye(12 * (1 + tokens.n_beats))
    for weights in encoded.attention:
        through = (weights[0].double().mean(0).numpy() + np.eye(len(through))) / 2 @ through
    np.testing.assert_allclose(through.sum(axis=1), 1, atol=1e-5)
    shown = explain(checkpoint, tokens, "MI", "rollout").values
    for lead in range(12):
        own = through[lead, 12 + lead * tokens.n_beats + np.arange(tokens.n_beats)]
        np.testing.assert_allclose(shown[lead], own / own.sum(), atol=1e-5)
    assert np.abs(shown - explain(checkpoint, tokens, "MI", "attention").values).max() > 1e-4


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=pytest.mark.slow if "shapley" in m else ()) for m in METHODS]
)
def test_the_same_question_has_the_same_answer(checkpoint, tokens, method):
    first, second = (explain(checkpoint, tokens, "MI", method).values for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_targets_have_different_explanations(checkpoint, tokens):
    values = [explain(checkpoint, tokens, label).values for label in ("NORM", "MI")]
    assert np.abs(values[0] - values[1]).max() > 1e-3


@pytest.mark.long
def test_other_weights_give_another_map(checkpoint, random_model, tokens):
    from dataclasses import replace

    other = replace(checkpoint, model=random_model(seed=1))
    for method in METHODS:
        a, b = (explain(c, tokens, "MI", method).values for c in (checkpoint, other))
        assert np.abs(a - b).max() > 1e-3


def test_without_a_target_the_most_probable_label_is_explained(checkpoint, tokens):
    d = diagnose(checkpoint, tokens)
    why = explain(checkpoint, tokens)
    assert why.target == f"superdiagnostic/{d.labels[int(np.argmax(d.probabilities))]}"
    assert why.level == "lead" and why.method == "hug"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"target": "AFIB"}, "AFIB.*superdiagnostic/NORM, superdiagnostic/MI"),
        ({"method": "magic"}, "magic.*hug, attention"),
        ({"level": "atom"}, "atom.*lead, group, pair, level"),
        ({"method": "attention", "level": "lead"}, "lead.*attention explains token"),
        ({"hidden": np.zeros((12, 2), bool)}, "expected .12, beat."),
    ],
)
def test_an_unknown_choice_names_the_choices(checkpoint, tokens, question, words):
    with pytest.raises(ValueError, match=words):
        explain(checkpoint, tokens, **question)


@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
def test_one_look_answers_every_question(checkpoint, tokens_of, kind):
    tokens = tokens_of(kind)
    hidden = np.zeros_like(tokens.valid)
    hidden[7], hidden[:, 2] = True, True
    seen = look(checkpoint, tokens, hidden, rollout=True)
    for target in checkpoint.targets:
        for method, level in [
            (name, level) for name in METHODS if METHODS[name].read for level in METHODS[name].levels
        ]:
            a = explain(checkpoint, tokens, target, method, level, seen=seen)
            b = explain(checkpoint, tokens, target, method, level, hidden)
            np.testing.assert_allclose(a.values, b.values, atol=1e-5)
            assert a.logit == pytest.approx(b.logit, abs=1e-5)
    with pytest.raises(ValueError, match="read-only"):
        seen.paths[0] = 0
    with pytest.raises(ValueError, match="holds no attention"):
        explain(checkpoint, tokens, "MI", "attention", seen=look(checkpoint, tokens, attention=False))
    with pytest.raises(ValueError, match="shapley reads a Game, not a Look"):
        explain(checkpoint, tokens, "MI", "shapley", seen=seen)
    game = Game(checkpoint, tokens, parts_of(tokens, "lead", hidden))
    for method in ("shapley", "ablation"):
        a = explain(checkpoint, tokens, "MI", method, "lead", seen=game)
        b = explain(checkpoint, tokens, "MI", method, "lead", hidden)
        np.testing.assert_allclose(a.values, b.values, atol=1e-5)
