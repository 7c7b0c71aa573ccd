"""Settings that cannot be are refused in a sentence, before a run has taken its hours."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from clear_hug.train import __main__ as command
from clear_hug.train.augment import Augmentation
from clear_hug.train.baselines import BaselineConfig
from clear_hug.train.decoder import DecoderConfig
from clear_hug.train.pretrain import PretrainConfig
from clear_hug.train.settings import RunError, apart
from clear_hug.train.tuning import FinetuneConfig

LOOP: list[dict[str, Any]] = [
    {"epochs": 0}, {"batch_size": 0}, {"lr": -1e-3}, {"lr": math.nan}, {"warm_up": -1}, {"seed": -1},
    {"weight_decay": -1}, {"clip": 0}, {"precision": "fp8"},
]  # fmt: skip
WRONG: dict[type, list[dict[str, Any]]] = {
    PretrainConfig: [*LOOP, {"mask_ratio": 1.5}, {"mask_ratio": 0}, {"mask_ratio": 1}, {"whole_lead": -0.1},
                     {"pattern": "foo"}, {"preset": "huge"}],
    DecoderConfig: [*LOOP, {"dropout": 1.5}, {"centres": -1}],
    FinetuneConfig: [
        *LOOP, {"dropout": 1.5}, {"average": -3}, {"ridge": 2}, {"label_fraction": 0},
        {"label_fraction": 1.1},
        {"tasks": ()}, {"tasks": ("form", "form")}, {"taught": ("nonsense",)}, {"ship": ("nonsense",)},
        {"train_folds": (1, 2, 8)}, {"rebuild": -1},
    ],
    BaselineConfig: [
        {"kind": "foo"}, {"epochs": 0}, {"tasks": ("form", "form")}, {"tasks": ()}, {"drop_lead": 2},
        {"train_folds": (1, 8)}, {"test_folds": (1, 9)}, {"batch_size": 0},
    ],
    Augmentation: [
        {"stretch": 0}, {"drop_lead": 2}, {"amplitude": -1}, {"premature_wide": 0.6, "st_elevation": 0.6},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "recipe, wrong", [(recipe, wrong) for recipe, several in WRONG.items() for wrong in several], ids=str
)
def test_what_cannot_be_is_refused_by_name(recipe: type, wrong: dict[str, Any]) -> None:
    recipe()  # as it comes it is right
    with pytest.raises(RunError, match=next(iter(wrong))):
        recipe(**wrong)


def test_folds_are_for_one_thing() -> None:
    apart(train_folds=(1, 2), watch_folds=(), test_folds=(3,))
    with pytest.raises(RunError, match="train_folds and test_folds share 2, 3"):
        apart(train_folds=(1, 2, 3), test_folds=(3, 2))


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "--sources", "/data/csn", "--out", "corpus"],
        ["finetune", "--run", "runs/a", "--recipe.tasks", "csn"],
        ["evaluate", "--folds", "9"],
    ],
    ids=lambda words: words[0],
)
def test_one_value_in_the_place_of_a_list_is_told_how_a_list_is_written(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["clear_hug.train", *words])
    with pytest.raises(SystemExit):
        command.main()
    assert """'["/data/csn"]'""" in capsys.readouterr().err
