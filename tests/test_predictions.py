"""predict: a table and arrays of what a checkpoint says of every record, the same as the app says."""

import csv
import json

import numpy as np
import pytest

import clear_hug as ch
from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.cohort import embed
from clear_hug.tasks import TASKS
from clear_hug.train import predictions
from clear_hug.train.answers import answers
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.predictions import predict
from clear_hug.train.prepare import prepare


@pytest.fixture(scope="module")
def corpus(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    prepare([source], out, workers=1)
    return out


@pytest.fixture(scope="module")
def folder(random_model, tmp_path_factory):
    task = TASKS["superdiagnostic"]
    return save_checkpoint(
        tmp_path_factory.mktemp("checkpoint") / "c", random_model("tiny", len(task.labels)), (task,)
    )


def test_a_row_a_record_in_one_order(folder, corpus, tmp_path):
    opened, data = load_checkpoint(folder), Corpus(corpus)
    predict(tmp_path / "out", str(folder), corpus, lead_tokens=True)
    with (tmp_path / "out" / "probabilities.csv").open(newline="") as f:
        table = list(csv.DictReader(f))
    arrays = {p.stem: np.load(p) for p in (tmp_path / "out").glob("*.npy")}
    assert [row["record"] for row in table] == data.records.column("record").tolist()
    assert {name: len(rows) for name, rows in arrays.items()} == dict.fromkeys(
        ("logits", "embeddings", "lead_tokens"), len(data)
    )
    for k in (0, len(data) // 2, len(data) - 1):
        tokens = data.tokens(k)
        said = ch.diagnose(opened, tokens)
        np.testing.assert_allclose(arrays["logits"][k], said.logits, atol=1e-4)
        mine = [float(table[k][target]) for target in opened.targets]
        np.testing.assert_allclose(mine, said.probabilities, atol=1e-5)
        np.testing.assert_allclose(arrays["embeddings"][k], embed(opened, tokens)[1], atol=1e-4)
        reference = opened.model.hug.reference.numpy()[:, : arrays["embeddings"].shape[1]]
        mean = np.nanmean(arrays["lead_tokens"][k] - reference, axis=0)
        np.testing.assert_allclose(mean, arrays["embeddings"][k], atol=1e-4)
        assert table[k]["fold"] == str(data.fold[k]) and json.loads(table[k]["statements"])
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert tuple(about["targets"]) == opened.targets and about["digest"] == opened.digest
    back = answers(tmp_path / "out" / "probabilities.csv", data, np.arange(len(data)), opened.targets)
    assert back.train_folds is None and back.logits.shape == arrays["logits"].shape


def test_some_folds_alone_and_nothing_overwritten(folder, corpus, tmp_path):
    predict(tmp_path / "out", str(folder), corpus, folds=(9,), data_sets=("ptbxl",))
    assert len(np.load(tmp_path / "out" / "logits.npy")) == int((Corpus(corpus).fold == 9).sum())
    assert not (tmp_path / "out" / "lead_tokens.npy").exists()
    with pytest.raises(CorpusError, match="is there already"):
        predict(tmp_path / "out", str(folder), corpus)
    with pytest.raises(CorpusError, match=r"no record of folds \[10\]"):
        predict(tmp_path / "other", str(folder), corpus, folds=(10,))
    with pytest.raises(CorpusError, match="no data set csn; expected some of ptbxl"):
        predict(tmp_path / "other", str(folder), corpus, data_sets=("csn",))


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, OSError])
def test_the_same_command_may_be_given_again_after_it_was_stopped(
    folder, corpus, tmp_path, monkeypatch, stopped_by
):
    def stop(*_):
        raise stopped_by

    with monkeypatch.context() as stopped, pytest.raises(stopped_by):
        stopped.setattr(predictions, "probabilities", stop)
        predict(tmp_path / "new" / "out", str(folder), corpus, folds=(9,))
    assert not list((tmp_path / "new").iterdir())
    predict(tmp_path / "new" / "out", str(folder), corpus, folds=(9,))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_a_checkpoint_that_answers_nothing_still_embeds(random_model, corpus, tmp_path):
    bare = save_checkpoint(tmp_path / "bare", random_model("tiny", 0), ())
    predict(tmp_path / "out", str(bare), corpus, folds=(9,))
    assert np.isfinite(np.load(tmp_path / "out" / "embeddings.npy")).all()
    assert np.load(tmp_path / "out" / "logits.npy").shape[1] == 0
