"""The forest over measured waves: what it reads, and that it never tells of what it learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clear_hug.leads import LEADS, N_LEADS
from clear_hug.train import forest as room
from clear_hug.train.baselines import BaselineConfig, baseline
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.forest import described, forest
from clear_hug.train.settings import RunError

WAVES = ("q", "r", "s", "j", "st", "t_max", "t_min", "t_mean")


def wave(x: np.ndarray, name: str, lead: str) -> np.ndarray:
    return x[:, N_LEADS * WAVES.index(name) + LEADS.index(lead)]


def test_waves_are_read_where_they_stand(corpus: Path) -> None:
    data = Corpus(corpus)
    x = described(data, np.arange(len(data)))
    assert x.shape[0] == len(data) and np.isfinite(x).all()
    assert (wave(x, "r", "II") > 0).all() and (wave(x, "t_max", "II") > 0).all()
    assert (wave(x, "s", "V1") < -abs(wave(x, "r", "V1"))).all()
    assert (wave(x, "t_min", "aVR") < 0).all()
    one = data.beats(np.arange(1))
    gain = replace(one, values=3 * one.values.float())
    data.beats = lambda *_: gain  # type: ignore[method-assign]
    np.testing.assert_allclose(described(data, np.arange(1)), x[:1], atol=1e-4)  # voltage is not read


def test_no_tree_that_calibrates_had_learned_from_the_record(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = Corpus(corpus), []

    def votes(x: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
        seen.append((x, asked))
        return np.zeros((len(asked), labels.shape[1]))

    monkeypatch.setattr(room, "_votes", votes)
    rows = np.flatnonzero(np.isin(data.fold, [1, 2, 3, 4]))
    asked = np.flatnonzero(data.fold == 5)
    labels = np.random.default_rng(0).integers(0, 2, (len(rows), 2)).astype(np.float32)
    forest(data, rows, labels, asked)
    *inner, last = seen
    assert len(inner) == room.PARTS and sum(len(part) for _, part in inner) == len(rows)
    for learned, part in seen:
        assert not {row.tobytes() for row in learned} & {row.tobytes() for row in part}
    assert len(last[0]) == len(rows) and len(last[1]) == len(asked)


@pytest.mark.long
def test_a_forest_tells_what_is_measured_and_the_same_each_time(corpus: Path, tmp_path: Path) -> None:
    recipe = BaselineConfig(
        kind="forest", tasks=("superdiagnostic", "form"), train_folds=(1, 2, 3, 4, 5), test_folds=(6, 7, 8)
    )
    said = []
    for name in ("a", "b"):
        baseline(tmp_path / name, corpus, recipe)
        with np.load(tmp_path / name / "predictions.npz") as saved:
            said.append(saved["logits"])
            premature = saved["logits"][:, saved["targets"].tolist().index("form/PVC")]
    np.testing.assert_array_equal(*said)
    data = Corpus(corpus)
    rows = np.flatnonzero(np.isin(data.fold, [6, 7, 8]))
    truth = np.array(["PVC" in data.statements[i] for i in rows])
    assert premature[truth].min() > premature[~truth].max()
    with pytest.raises(RunError, match="kind = 'tree'; expected one of resnet, forest, random"):
        replace(recipe, kind="tree")


@pytest.mark.parametrize(
    ("train", "test", "said"), [((11,), (8,), r"\[11\].*train"), ((1,), (11,), r"\[11\].*test")]
)
def test_a_baseline_without_records_says_so(corpus: Path, tmp_path: Path, train, test, said: str) -> None:
    recipe = BaselineConfig(kind="forest", tasks=("superdiagnostic",), train_folds=train, test_folds=test)
    with pytest.raises(CorpusError, match=said):
        baseline(tmp_path / "run", corpus, recipe)
    assert not (tmp_path / "run").exists()
