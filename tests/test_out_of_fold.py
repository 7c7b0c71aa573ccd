"""Every record by the models that left it out: the table of the runs is that of the answers kept of them."""

import re

import numpy as np
import pytest
import torch

from benchmarks.out_of_fold import BESIDE, OURS, PAIRS, out_of_fold
from clear_hug.checkpoint import OUT_OF_FOLD, load_checkpoint, save_checkpoint, save_measured
from clear_hug.hug import HUG
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.tasks import TASKS, targets_of
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc
from clear_hug.train.prepare import prepare
from tests.simulated_ptbxl import write_folder

TASK = TASKS["superdiagnostic"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    prepare([write_folder(tmp_path_factory.mktemp("data") / "ptbxl")], out, workers=1)
    return out


@pytest.fixture
def small(tmp_path):
    torch.manual_seed(0)
    model = CLEARHUG(CLEAR(PRESETS["mini"]), HUG(PRESETS["mini"].width, len(TASK.labels))).eval()
    return save_checkpoint(tmp_path / "small", model, (TASK,))


@pytest.fixture
def runs(corpus, tmp_path):
    """Ours tells every label, the others draw lots; each speaks of all records, of its own folds and not."""
    data, rng = Corpus(corpus), np.random.default_rng(0)
    every = np.flatnonzero(data.labelled_for([TASK]))
    truth = data.labels([TASK], every)
    for name, ends in BESIDE.items():
        for end in ends:
            for run, folds in PAIRS.items():
                (tmp_path / "runs" / (run + end)).mkdir(parents=True)
                logits = truth if name == OURS else rng.normal(size=truth.shape).astype(np.float32)
                np.savez(
                    tmp_path / "runs" / (run + end) / "predictions.npz",
                    records=[data.records[int(i)]["record"] for i in every],
                    targets=list(targets_of([TASK])),
                    logits=np.where(np.isin(data.fold[every], folds)[:, None], logits, -truth),
                    train_folds=[fold for fold in range(1, 9) if fold not in folds],
                    watch_folds=[],
                )
    return tmp_path / "runs"


def test_what_is_kept_gives_the_table_of_the_runs(corpus, small, runs, capsys):
    with pytest.raises(SystemExit, match="small keeps no answers"):
        out_of_fold(str(small), corpus)
    out_of_fold(str(small), corpus, runs, write=True)
    table = capsys.readouterr().out
    out_of_fold(str(small), corpus)
    assert capsys.readouterr().out == table
    save_measured(str(small), load_checkpoint(small))  # as `operating` and `faithfulness` do
    assert (small / OUT_OF_FOLD).exists()
    n = int(np.isin(Corpus(corpus).fold, range(1, 9)).sum())
    assert table.startswith(f"{n} records")
    assert (
        "| superdiagnostic | 1.000 |" in table
    )  # what a run says of folds that it learned from is not heard


def test_a_figure_is_the_mean_over_pairs_of_folds_and_seeds(corpus, small, runs, capsys):
    data = Corpus(corpus)
    expected = []
    for run, folds in PAIRS.items():
        for end in BESIDE["plain ResNet"]:
            with np.load(runs / (run + end) / "predictions.npz") as saved:
                said = dict(zip(saved["records"].tolist(), saved["logits"], strict=True))
            rows = np.flatnonzero(data.labelled_for([TASK]) & np.isin(data.fold, folds))
            logits = np.array([said[data.records[int(i)]["record"]] for i in rows])
            expected.append(np.nanmean(auroc(logits, data.labels([TASK], rows))))
    out_of_fold(str(small), corpus, runs)
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    assert float(cells[3]) == pytest.approx(np.mean(expected), abs=6e-4)
    gain, low, high = map(float, re.findall(r"[+-]\d\.\d+", cells[4]))
    assert low <= gain <= high and gain == pytest.approx(1 - np.mean(expected), abs=1.1e-3)


def test_a_label_that_is_left_out_is_in_no_mean(corpus, small, runs, capsys):
    """What the runs beside ours say of one label is turned over: no figure without it may change."""
    label = f"{TASK.name}/{TASK.labels[0]}"
    out_of_fold(str(small), corpus, runs, without=(label,))
    table = capsys.readouterr().out
    for path in runs.glob("*/predictions.npz"):
        with np.load(path) as saved:
            told = dict(saved)
        np.savez(path, **{**told, "logits": told["logits"] * np.where(np.arange(5) == 0, -1, 1)})
    out_of_fold(str(small), corpus, runs, without=(label,))
    assert capsys.readouterr().out == table
    out_of_fold(str(small), corpus, runs)
    assert capsys.readouterr().out != table
    with pytest.raises(SystemExit, match="without = form/XYZ: no label of small"):
        out_of_fold(str(small), corpus, runs, without=("form/XYZ",))


@pytest.mark.parametrize(
    "theirs", [[1, 2, 3], [1, 2, 5]]
)  # one that it is asked of; not all that ours learned
def test_a_run_that_learned_from_other_folds_is_refused(corpus, small, runs, theirs):
    path = runs / "cv34-resnet-1" / "predictions.npz"
    with np.load(path) as saved:
        told = dict(saved)
    np.savez(path, **{**told, "train_folds": theirs})
    words = (
        rf"cv34-resnet-1 learned from folds \[{', '.join(map(str, theirs))}\]; expected none of \[3, 4\], and"
    )
    with pytest.raises(SystemExit, match=words):
        out_of_fold(str(small), corpus, runs)


def test_a_run_that_lacks_is_named(corpus, small, runs):
    path = runs / "cv34-resnet-1" / "predictions.npz"
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(SystemExit, match="cv34-resnet-1 and 0 more runs lack"):
        out_of_fold(str(small), corpus, runs)
