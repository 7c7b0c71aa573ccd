"""Intervals that a model learns to read: those of `measure`, measured once a record."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.train import intervals
from clear_hug.train.corpus import Corpus
from clear_hug.train.intervals import KEPT, N_INTERVALS, measured
from clear_hug.train.prepare import prepare
from tests.simulated_ptbxl import write_folder

EVERY = np.array([5, 0, 3, 0])


@pytest.fixture
def data(tmp_path):
    prepare([write_folder(tmp_path / "ptbxl", n=6)], tmp_path / "corpus", workers=1)
    return Corpus(tmp_path / "corpus")


@pytest.fixture
def none_measured(monkeypatch):
    def fail(*_):
        raise AssertionError("measured again")

    return lambda: monkeypatch.setattr(intervals, "measure", fail)


def test_measured_intervals_are_those_of_measure(data):
    for row, values in zip(EVERY, measured(data, EVERY), strict=True):
        found = ch.measure(ch.ECG(data.trace(int(row)), 100.0, "one"))
        assert values[2] == pytest.approx((found.qrs - 95) / 15, abs=1e-4)
        assert values[-2] == pytest.approx(4 * np.log(found.heart_rate / 70), abs=1e-4)
    assert measured(data, EVERY[:0]).shape == (0, N_INTERVALS)


def test_each_record_is_measured_once(data, none_measured):
    first = measured(data, EVERY)
    both = measured(data, np.arange(6))  # those that lack, beside those that are kept
    np.testing.assert_array_equal(both[EVERY], first)
    none_measured()
    np.testing.assert_array_equal(measured(Corpus(data.shards[0].parent), EVERY), first)


@pytest.mark.parametrize("torn", [b"", b"PK\x03\x04 cut", None])
def test_what_is_torn_or_of_other_code_is_measured_anew(data, torn, monkeypatch):
    first = measured(data, EVERY)
    path = data.shards[0].parent / KEPT
    if torn is None:
        monkeypatch.setattr(intervals, "_code", lambda: "another")
    else:
        path.write_bytes(torn)
    monkeypatch.setattr(intervals, "FARTHEST", 0.0)  # what is measured now is seen to be
    assert not np.nan_to_num(measured(data, EVERY)).any() and np.nan_to_num(first).any()


def test_a_folder_that_may_not_be_written_keeps_nothing(data, monkeypatch):
    def refuse(*_):
        raise PermissionError("read only")

    monkeypatch.setattr(os, "replace", refuse)
    first = measured(data, EVERY)
    assert [path.name for path in data.shards[0].parent.iterdir()] == ["ptbxl"]
    np.testing.assert_array_equal(measured(data, EVERY), first)


def test_a_folder_in_which_nothing_can_be_laid_down_keeps_nothing(data, tmp_path, monkeypatch):
    """As a read-only share, or a full disk, before anything is moved into place."""
    lay = Path.write_bytes

    def refuse(path, content):
        raise PermissionError("read only") if KEPT in path.name else lay(path, content)

    first = measured(data, EVERY)
    (tmp_path / "corpus" / KEPT).unlink()
    with monkeypatch.context() as shut:
        shut.setattr(Path, "write_bytes", refuse)
        np.testing.assert_array_equal(measured(data, EVERY), first)
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["ptbxl"]
    intervals._keep(tmp_path / "gone" / KEPT, data.digests[:1], first[:1])


def test_whoever_may_read_the_folder_may_read_what_is_kept(data, tmp_path):
    measured(data, EVERY)
    plan = (tmp_path / "corpus" / "ptbxl" / "plan.json").stat()
    assert (tmp_path / "corpus" / KEPT).stat().st_mode == plan.st_mode


def test_processes_share_the_work(data):
    """Each measures its own, and all have what the sum over them gives."""
    alone, path = measured(data, np.arange(6)), data.shards[0].parent / KEPT
    shares = []
    for process in (0, 1):
        path.unlink(missing_ok=True)
        told = SimpleNamespace(
            process_index=process,
            num_processes=2,
            device=torch.device("cpu"),
            reduce=lambda x, _: shares.append(x.clone()) or x,
        )
        measured(data, np.arange(6), told)
        assert path.exists() == (process == 0)
    assert all((share.nan_to_num() != 0).any(1).sum() == 3 for share in shares)
    np.testing.assert_array_equal(np.sort(sum(shares).numpy(), axis=0), np.sort(alone, axis=0))


@pytest.mark.slow
def test_processes_that_see_other_files_agree_on_what_lacks(data, tmp_path):
    """Another run may write the file between their readings; a machine may have a corpus of its own."""
    alone = measured(data, np.arange(6))
    shutil.copytree(tmp_path / "corpus", tmp_path / "1")
    (tmp_path / "corpus" / KEPT).unlink()
    (tmp_path / "corpus").rename(tmp_path / "0")
    script = tmp_path / "script.py"
    script.write_text(f"""
import numpy as np
from accelerate import Accelerator
from clear_hug.train.corpus import Corpus
from clear_hug.train.intervals import measured
told, folder = Accelerator(cpu=True), {str(tmp_path)!r}
which = str(told.process_index)
np.save(folder + "/values" + which, measured(Corpus(folder + "/" + which), np.arange(6), told))
told.wait_for_everyone()
told.end_training()
""")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, str(script)], env=environment, check=True, capture_output=True, timeout=100)
    for which in (0, 1):
        np.testing.assert_array_equal(np.load(tmp_path / f"values{which}.npy"), alone)
