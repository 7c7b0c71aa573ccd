"""How far a map may be believed: exact maps pass, reversed ones are contradicted, random ones stay in."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from clear_hug.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import diagnose
from clear_hug.explain import METHODS, Attribution, explain
from clear_hug.faithfulness import (
    STEPS,
    WORDS,
    agreement,
    curves,
    infidelity,
    prove,
    rank_correlation,
    sensitivity,
)
from clear_hug.removal import LEVELS, Game, parts_of
from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.evaluate import evaluate
from clear_hug.train.faithfulness import QUICK, SLOW, _drawn_anew, _planted, faithfulness, measure

PROVED = [(name, level) for name, how in METHODS.items() for level in how.levels if level in LEVELS]
PROVED.remove(("exact_shapley", "lead"))  # 4,096 subsets, and nothing new


class Sum(Game):
    """v is the sum of what the parts that are there are worth."""

    def __init__(self, checkpoint, tokens, worth, level="lead"):
        super().__init__(checkpoint, tokens, parts_of(tokens, level))
        self.worth, self.asked = np.asarray(worth, dtype=float), 0

    def _ask(self, sets):
        self.asked += len(sets)
        return (0.5 + sets @ self.worth)[:, None].repeat(len(self.checkpoint.targets), axis=1)


def exact(game, values=None, method="hug", level="lead"):
    """The map of a `Sum`, or other values under its name."""
    values = game.worth if values is None else np.asarray(values, dtype=float)
    return Attribution(
        values, game.parts.names, level, "superdiagnostic/MI", method, bias=0.5,
        logit=float(game.whole[1]), residual=0.0, seconds=0.0, model="tiny", device="cpu",
    )  # fmt: skip


WORTH = np.random.default_rng(5).normal(size=12)
OF = np.eye(5)[1]


@pytest.fixture
def game(checkpoint, tokens):
    return Sum(checkpoint, tokens, WORTH)


def test_no_order_beats_that_of_an_exact_map(game):
    best = curves(game, WORTH, OF)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = curves(game, rng.permutation(WORTH), OF)
        assert other.deletion.gap.value <= best.deletion.gap.value
        assert other.insertion.gap.value <= best.insertion.gap.value
    assert best.deletion.gap.low > 0 and best.insertion.gap.low > 0
    assert (best.deletion.values <= best.deletion.random.min(axis=0) + 1e-12).all()
    assert (best.insertion.values >= best.insertion.random.max(axis=0) - 1e-12).all()


def test_curves_run_from_all_to_nothing_and_back(game):
    drawn = curves(game, WORTH, OF)
    whole, empty = game.whole[1], game.empty[1]
    for rows in (drawn.deletion.values[None], drawn.deletion.random):
        np.testing.assert_allclose(rows[:, [0, -1]], [[whole, empty]] * len(rows))
    for rows in (drawn.insertion.values[None], drawn.insertion.random):
        np.testing.assert_allclose(rows[:, [0, -1]], [[empty, whole]] * len(rows))
    order = np.argsort(-WORTH)
    np.testing.assert_array_equal(drawn.order, order)
    np.testing.assert_allclose(drawn.deletion.values, whole - np.r_[0, np.cumsum(WORTH[order])])
    assert drawn.deletion.area == pytest.approx(drawn.deletion.values.mean())
    assert drawn.deletion.gap.value == pytest.approx(drawn.deletion.random.mean() - drawn.deletion.area)
    assert drawn.insertion.gap.value == pytest.approx(drawn.insertion.area - drawn.insertion.random.mean())


def test_an_exact_map_is_supported_and_foretells_every_change(game):
    proof = prove(game.checkpoint, game.tokens, exact(game), game, others=[])
    assert proof.word == "supported" and proof.residual == 0 and proof.sensitivity is None
    assert proof.infidelity.missed < 1e-12 < 1e-3 < proof.infidelity.change
    wrong = infidelity(game, 2 * WORTH, OF)
    assert wrong.missed == pytest.approx(wrong.change)  # twice the fall is as far off as no map at all
    assert infidelity(game, 2 * WORTH, OF, scaled=True).missed < 1e-12
    nothing = infidelity(game, np.zeros(12), OF)
    assert nothing.missed == pytest.approx(nothing.change)


def test_a_reversed_map_is_contradicted(game):
    true, reversed_ = exact(game), exact(game, -WORTH, "integrated_gradients")
    proof = prove(game.checkpoint, game.tokens, reversed_, game, others=[])
    assert proof.word == "contradicted"
    assert proof.curves.deletion.gap.high < 0 and proof.curves.insertion.gap.high < 0
    assert any("less than in random order" in reason for reason in proof.reasons)
    assert agreement(true, replace(reversed_, values=-WORTH)) == pytest.approx(-1)


def test_a_method_that_leaves_parts_out_contradicts_one_that_adds_up_doubts(game):
    true = exact(game)
    for method, word in (("shapley", "contradicted"), ("ablation", "contradicted"), ("hug", "weak")):
        mine = replace(true, method="integrated_gradients")
        other = exact(game, -WORTH, method)
        proof = prove(game.checkpoint, game.tokens, mine, game, others=[other])
        assert proof.word == word and proof.agreement == {method: pytest.approx(-1)}
        assert any("contradicts it" in reason for reason in proof.reasons)


def test_a_method_marked_unusable_is_contradicted(game):
    marked = replace(game.checkpoint, faithfulness={"unusable": ["hug"]})
    proof = prove(marked, game.tokens, exact(game), game, others=[])
    assert proof.word == "contradicted" and "unusable" in proof.reasons[0]
    assert prove(marked, game.tokens, exact(game, method="shapley"), game, others=[]).word == "supported"


@pytest.mark.parametrize("level", ["lead", "beat"])
def test_a_random_map_stands_out_as_often_as_it_should(checkpoint, tokens, level):
    parts = len(parts_of(tokens, level).tokens)
    rng = np.random.default_rng(1)
    outside = 0
    for seed in range(200):
        game = Sum(checkpoint, tokens, rng.normal(size=parts), level)
        drawn = curves(game, rng.normal(size=parts), OF, seed=seed)
        outside += not (drawn.deletion.gap.low <= 0 <= drawn.deletion.gap.high)
    assert 1 <= outside <= 20


def test_what_random_orders_ask_is_asked_once(game):
    curves(game, WORTH, OF)
    asked = game.asked
    assert asked <= 2 + 22 + 20 * 11  # nothing and all, the map's own two ways, twenty orders for both
    infidelity(game, WORTH, OF)
    curves(game, -WORTH, OF)
    assert game.asked <= asked + 22


def test_many_parts_are_taken_several_at_a_time(checkpoint, tokens):
    n = int(tokens.valid.sum())
    assert n > STEPS
    drawn = curves(Sum(checkpoint, tokens, np.arange(n), "token"), np.arange(n).reshape(12, -1), OF)
    assert drawn.taken[0] == 0 and drawn.taken[-1] == n and len(drawn.taken) == STEPS + 1
    np.testing.assert_array_equal(drawn.taken, n - drawn.taken[::-1])
    assert np.ptp(np.diff(drawn.taken)) <= 1


@pytest.mark.parametrize(("method", "level"), PROVED)
def test_every_map_of_parts_can_be_proved(checkpoint, tokens_of, method, level, monkeypatch):
    monkeypatch.setattr("clear_hug.shapley.LOOKS", 16)  # few subsets
    tokens = tokens_of("lead_off")
    why = explain(checkpoint, tokens, "MI", method, level)
    proof = prove(checkpoint, tokens, why)
    assert proof.word in WORDS and proof.reasons and proof.seconds > 0
    assert set(proof.agreement) == {
        name for name in ("hug", "ablation") if name != method and level in METHODS[name].levels
    }
    n = int(np.isfinite(why.values).sum())
    assert len(proof.curves.order) == n
    assert proof.curves.deletion.values[0] == pytest.approx(diagnose(checkpoint, tokens).logits[1], abs=1e-4)
    assert (proof.residual is None) == (not METHODS[method].adds_up)
    assert "nan" not in " ".join(proof.reasons).split()


def test_a_proof_follows_what_was_left_out_and_a_contrast(checkpoint, tokens):
    hidden = np.zeros_like(tokens.valid)
    hidden[6], hidden[:, 2] = True, True
    for level in ("lead", "beat"):
        game = Game(checkpoint, tokens, parts_of(tokens, level, hidden))
        why = explain(checkpoint, tokens, "MI", "ablation", level, seen=game, against="NORM")
        proof = prove(checkpoint, tokens, why, game)
        logits = diagnose(checkpoint, tokens, hidden).logits
        assert proof.curves.deletion.values[0] == pytest.approx(logits[1] - logits[0], abs=1e-4)
        assert len(proof.curves.order) == np.isfinite(why.values).sum()
        with pytest.raises(ValueError, match="same tokens left out"):
            prove(checkpoint, tokens, why)


@pytest.mark.parametrize("left", ["lead", "beat", "token"])
def test_a_record_of_one_part_says_so(checkpoint, tokens, left):
    hidden = np.ones_like(tokens.valid)
    rows = {"lead": (1, slice(None)), "beat": (slice(None), 2), "token": (1, 2)}[left]
    hidden[rows] = False
    for level in {"lead": ("lead", "group"), "beat": ("beat",), "token": ("lead", "beat", "token")}[left]:
        game = Game(checkpoint, tokens, parts_of(tokens, level, hidden))
        for method in ("ablation", "shapley", "hug", "attention"):
            if level in METHODS[method].levels:
                seen = game if METHODS[method].play else None
                why = explain(checkpoint, tokens, "MI", method, level, hidden, seen=seen)
                proof = prove(checkpoint, tokens, why, game, disturbances=1)
                assert proof.word == "weak" and "1 part at this level" in proof.reasons[0]
                assert numbers(proof) and all(map(math.isfinite, numbers(proof)))
                assert proof.agreement == {}


def test_a_record_of_no_part_says_so(checkpoint, tokens):
    hidden = np.ones_like(tokens.valid)
    game = Game(checkpoint, tokens, parts_of(tokens, "lead", hidden))
    proof = prove(checkpoint, tokens, explain(checkpoint, tokens, "MI", hidden=hidden), game, disturbances=1)
    assert proof.word == "weak" and "no part at this level" in proof.reasons[0]
    assert all(map(math.isfinite, numbers(proof)))


def numbers(proof):
    return [
        *proof.curves.deletion.gap,
        *proof.curves.insertion.gap,
        proof.infidelity.missed,
        proof.infidelity.change,
        proof.sensitivity or 0.0,
        *proof.agreement.values(),
    ]


def test_three_parts_are_too_few_to_stand_out(checkpoint, tokens):
    for seed in range(10):
        game = Sum(checkpoint, tokens, [3, 0, -1], "group")
        proof = prove(checkpoint, tokens, exact(game, level="group"), game, others=[], seed=seed)
        assert proof.word == "weak" and any("only 6 orders" in reason for reason in proof.reasons)


def test_the_same_question_has_the_same_proof(checkpoint, tokens):
    why = explain(checkpoint, tokens, "MI", "ablation", "beat")
    a, b = (prove(checkpoint, tokens, why, disturbances=2) for _ in range(2))
    assert numbers(a) == numbers(b) and (a.word, a.reasons) == (b.word, b.reasons)
    np.testing.assert_array_equal(a.curves.deletion.random, b.curves.deletion.random)
    other = prove(checkpoint, tokens, why, seed=1)
    assert other.curves.deletion.gap != a.curves.deletion.gap
    np.testing.assert_allclose(other.curves.deletion.values, a.curves.deletion.values, atol=1e-5)


@pytest.mark.parametrize("method", ["hug", "ablation", "integrated_gradients"])
def test_sensitivity_grows_with_the_noise_and_leaves_the_record_alone(
    checkpoint, tokens, method, monkeypatch
):
    why = explain(checkpoint, tokens, "MI", method, "lead")
    before = tokens.values.copy()
    small = sensitivity(checkpoint, tokens, why)
    monkeypatch.setattr("clear_hug.faithfulness.NOISE", 0.5)
    assert 0 < 3 * small < sensitivity(checkpoint, tokens, why)
    monkeypatch.setattr("clear_hug.faithfulness.NOISE", 0.0)
    assert sensitivity(checkpoint, tokens, why) < 1e-5
    np.testing.assert_array_equal(tokens.values, before)


def test_rank_correlation_is_that_of_the_parts_both_have():
    a, b = np.array([1, 2, np.nan, 4.0]), np.array([10, 20, 5, np.nan])
    assert rank_correlation(a, b) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 3.0]), np.array([9, 4, 1.0])) == pytest.approx(-1)
    for alone in (np.array([1.0]), np.array([2.0, 2, 2])):
        assert np.isnan(rank_correlation(alone, alone))


def test_bad_questions_are_refused_in_words(game):
    true, checkpoint, tokens = exact(game), game.checkpoint, game.tokens
    with pytest.raises(ValueError, match="different level"):
        agreement(true, replace(true, level="beat"))
    with pytest.raises(ValueError, match="level = 'pair' has no parts.*beat, lead, group, token"):
        prove(checkpoint, tokens, explain(checkpoint, tokens, "MI", "hug", "pair"))
    with pytest.raises(ValueError, match="shape .3,.; the game's parts have .12,."):
        curves(game, WORTH[:3], OF)
    with pytest.raises(ValueError, match="no value for 1 of 12 parts"):
        curves(game, np.where(np.arange(12) == 3, np.nan, WORTH), OF)
    for n in (0, 7):
        with pytest.raises(ValueError, match="an even number"):
            curves(game, WORTH, OF, n_random=n)


# The command


def saved(random_model, folder, seed=0):
    """A checkpoint of random weights for two tasks, said to have learned from folds 1-7."""
    tasks = (TASKS["superdiagnostic"], TASKS["form"])
    n = sum(len(task.labels) for task in tasks)
    recipe = {"tasks": ["superdiagnostic"], "train_folds": [1, 2, 3, 4, 5, 6, 7], "watch_folds": [8]}
    training = {"config": recipe}
    return save_checkpoint(folder, random_model("tiny", n, seed=seed), tasks, training=training)


@pytest.fixture(scope="module")
def folder(random_model, tmp_path_factory):
    return saved(random_model, tmp_path_factory.mktemp("faithful") / "mine")


@pytest.fixture
def few_orders(monkeypatch):
    monkeypatch.setattr("clear_hug.shapley.LOOKS", 16)


def without_weights(value):
    """A map that no weight has a say in: `value` of the tokens."""
    return lambda seen, of, tokens, level: (
        np.where(tokens.valid, value(tokens), np.nan),
        METHODS["attention"].read(seen, of, tokens, level)[1],
    )


@pytest.mark.long
def test_the_command_measures_prints_and_keeps(
    random_model, folder, corpus, tmp_path, capsys, few_orders, monkeypatch
):
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)
    evaluate(str(folder), corpus, (9,), write=True)
    card = (folder / "README.md").read_text()
    assert load_checkpoint(folder).faithfulness == {} and "may be believed" not in card
    weights = (folder / "model.safetensors").read_bytes()
    runs = [saved(random_model, tmp_path / f"run-{k}" / "checkpoint", k).parent for k in range(2)]
    capsys.readouterr()
    faithfulness(str(folder), corpus, (9,), 3, runs)
    printed = capsys.readouterr().out.rstrip("\n")
    assert not (folder / "faithfulness.json").exists()
    faithfulness(str(folder), corpus, (9,), 3, runs, write=True)
    assert capsys.readouterr().out.rstrip("\n") == printed
    assert (folder / "model.safetensors").read_bytes() == weights
    kept = load_checkpoint(folder)
    figures = kept.faithfulness
    json.dumps(figures, allow_nan=False)
    assert figures["checkpoint"] == kept.digest and figures["records"] == 3
    assert (figures["folds"], figures["learned_from_them"]) == ([9], False)
    assert set(figures["maps"]) == {*QUICK, *SLOW}
    for name, row in figures["maps"].items():
        assert sum(row["words"].values()) == row["records"] == (3 if name in QUICK else 1)
        assert list(row["words"]) == list(WORDS)
    assert -1 <= figures["seeds"]["maps"]["hug/lead"]["correlation"] < 0.99
    assert figures["planted"]["target"] == "form/PVC" and 0.05 < figures["planted"]["chance"] < 0.2
    new = (folder / "README.md").read_text()
    assert printed in new and f"{figures['maps']['hug/lead']['deletion_gap']:+.3f}" in printed
    assert new.replace(printed + "\n\n", "") == card and "nan" not in new.lower().split()
    evaluate(str(folder), corpus, (9,), write=True)  # the same weights: what was measured stays
    assert load_checkpoint(folder).faithfulness == figures
    assert (folder / "README.md").read_text() == new


@pytest.mark.long
def test_measuring_leaves_the_model_as_it_was_and_repeats(folder, corpus, few_orders):
    opened = load_checkpoint(folder)
    before = copy.deepcopy(opened.model.state_dict())
    first, second = (measure(opened, Corpus(corpus), (8,), 2) for _ in range(2))
    assert first == second and first["learned_from_them"] and first["seeds"] == {}
    for name, tensor in opened.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(p.requires_grad for p in opened.model.parameters())


def test_weights_are_drawn_anew_from_the_head_down(checkpoint, tokens):
    steps = list(_drawn_anew(checkpoint.model))
    depth = checkpoint.model.clear.config.depth
    layers = [f"layer {k}" for k in range(depth, 0, -1)]
    assert [name for name, _ in steps] == ["HUG", "facts", *layers, "embedding"]
    before, new = dict(checkpoint.model.named_parameters()), []
    for _, model in steps:
        changed = {k for k, p in model.named_parameters() if not torch.equal(p, before[k])}
        new.append({k.split(".")[0] if "blocks" not in k else k[:14] for k in changed})
    assert checkpoint.model.hug.straight.any() and not steps[0][1].hug.straight.any()
    assert new[0] == {"hug"} and new[1] == {"hug", "facts"}
    assert new[2] == {"hug", "facts", f"clear.blocks.{depth - 1}"}
    assert {k for k, p in steps[-1][1].named_parameters() if torch.equal(p, before[k])} == set()
    for (_, a), (_, b) in zip(steps, _drawn_anew(checkpoint.model), strict=True):
        assert all(map(torch.equal, a.parameters(), b.parameters()))
    logits = [diagnose(replace(checkpoint, model=model), tokens).logits for _, model in steps]
    assert np.ptp(logits, axis=0).min() > 0


def test_a_map_that_does_not_follow_the_weights_is_marked(folder, corpus, few_orders, monkeypatch):
    fixed = without_weights(lambda tokens: np.arange(1.0, tokens.n_beats + 1))
    monkeypatch.setitem(METHODS, "rollout", replace(METHODS["rollout"], read=fixed))
    figures = measure(load_checkpoint(folder), Corpus(corpus), (8,), 2)
    assert figures["unusable"] == ["rollout"]
    marked = figures["maps"]["rollout/beat"]
    assert not marked["usable"] and marked["words"]["contradicted"] == 2
    assert [step["correlation"] for step in marked["random_weights"]["steps"]] == [1.0] * 5
    assert figures["maps"]["hug/lead"]["usable"]


def test_a_map_of_early_beats_points_at_the_planted_one(folder, few_orders, monkeypatch):
    early = without_weights(lambda tokens: -np.nan_to_num(tokens.rr[0], nan=9.0))
    monkeypatch.setitem(METHODS, "rollout", replace(METHODS["rollout"], read=early))
    found = _planted(load_checkpoint(folder), 12)
    low, high = found["maps"]["rollout/beat"]["top_95"]
    assert found["records"] >= 11 and found["maps"]["rollout/beat"]["top"] == 1 and low > found["chance"]
    assert found["maps"]["shapley/beat"]["records"] == 2 and high == 1


def test_a_checkpoint_without_pvc_has_nothing_planted(checkpoint):
    assert _planted(checkpoint, 2) == {}


def test_the_same_training_agrees_with_itself(folder, corpus, few_orders):
    figures = measure(load_checkpoint(folder), Corpus(corpus), (8,), 1, [folder, folder])
    assert figures["seeds"]["maps"]["hug/lead"]["correlation"] == 1


def test_the_command_refuses_in_words(folder, corpus, checkpoint_folder):
    with pytest.raises(CorpusError, match="no record of folds .10. .*Labelled there"):
        faithfulness(str(folder), corpus, (10,))
    with pytest.raises(CorpusError, match="n = 0; at least one"):
        faithfulness(str(folder), corpus, (8,), 0)
    with pytest.raises(CheckpointError, match="does not answer the labels of mine"):
        faithfulness(str(folder), corpus, (8,), 1, [checkpoint_folder])
    with pytest.raises(CheckpointError, match="at least two"):
        faithfulness(str(folder), corpus, (8,), 1, [folder])
