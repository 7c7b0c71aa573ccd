"""Data sets in their published layouts, made of simulated ECGs, into shards and back."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from scipy.io import savemat

import clear_hug as ch
from clear_hug.batch import Beats
from clear_hug.beats import split_windows
from clear_hug.datasets import Item, fold_of, read_record
from clear_hug.diagnosis import collate
from clear_hug.io import physionet
from clear_hug.tasks import TASKS
from clear_hug.train import prepare as prepare_module
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.prepare import prepare
from tests.written_sets import Simulated, failures_of, write_csv, write_wfdb

KINDS = {"normal": ["NORM", "SR"], "premature": ["IVCD", "PVC"], "high_voltage": ["LVH", "SR"]}


def number(record: str) -> int:
    return int(record.rsplit("/", 1)[1])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, simulated: Simulated) -> Path:
    """20 records in PTB-XL's layout, two a patient; record 7 is flat, record 8 lacks its file."""
    folder = tmp_path_factory.mktemp("data") / "ptbxl"
    rows = []
    for i in range(20):
        kind = list(KINDS)[i % 3]
        ecg = simulated(kind, i, fs=100.0)
        if i == 7:
            ecg = ch.ECG(np.zeros((12, 1000), np.float32), 100.0)
        if i != 8:
            write_wfdb(ecg, folder / "records100" / f"{i:05d}_lr")
        rows.append({
            "ecg_id": i, "patient_id": float(i // 2), "age": 300 if i == 0 else 50, "sex": i % 2,
            "scp_codes": str(dict.fromkeys(KINDS[kind], 100.0)), "strat_fold": 1 + i // 2,
            "filename_lr": f"records100/{i:05d}_lr", "filename_hr": f"records500/{i:05d}_hr",
        })  # fmt: skip
    write_csv(folder / "ptbxl_database.csv", rows)
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "PART_RECORDS", 6)


@pytest.fixture(scope="module")
def shard(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "PART_RECORDS", 6)
        prepare([source], out, workers=1)
    return out


def same(a: Corpus, b: Corpus) -> None:
    """Two corpora hold the same records, bit for bit."""
    assert a.digest == b.digest and a.statements == b.statements
    assert list(a.patients) == list(b.patients) and list(a.fold) == list(b.fold)
    for i in range(len(a)):
        one, other = a.tokens(i), b.tokens(i)
        for name in ("values", "r_peaks", "windows", "valid", "lead_scale"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_nothing_is_skipped_in_silence_and_labels_do_not_shift(shard: Path) -> None:
    data = Corpus(shard)
    assert set(failures_of(shard / "ptbxl")) == {"ptbxl/7", "ptbxl/8"}
    assert len(data) == 18 and len({path.name for path in (shard / "ptbxl").glob("*-*")}) == 4
    for i, record in enumerate(data.records):
        n = number(record["record"])
        assert data.statements[i] == tuple(KINDS[list(KINDS)[n % 3]])
        assert data.fold[i] == 1 + n // 2
        assert data.patients[i] == f"ptbxl-{n // 2}"
        assert record["sex"] == "MF"[n % 2]
    assert data.records[0]["age"] == 90 and data.records[1]["age"] == 50
    assert set(data.vocabulary) == {"SCP"} and data.labelled.all()


def test_shards_hold_the_same_tokens_as_the_files(source: Path, shard: Path) -> None:
    data = Corpus(shard)
    for i in (0, 5, 15):  # of three parts
        name = number(data.records[i]["record"])
        direct = ch.tokenize_beats(ch.read_ecg(source / "records100" / f"{name:05d}_lr.hea"))
        kept = data.tokens(i)
        np.testing.assert_array_equal(kept.r_peaks, direct.r_peaks)
        np.testing.assert_array_equal(kept.windows, direct.windows)
        np.testing.assert_array_equal(kept.valid, direct.valid)
        np.testing.assert_allclose(kept.values, direct.values, atol=2e-3)  # float16 in the shard
        np.testing.assert_allclose(kept.lead_scale, direct.lead_scale, rtol=1e-3)
        np.testing.assert_array_equal(data.lead_scale[i], direct.lead_scale)
        assert data.n_beats[i] == direct.n_beats and kept.duration == direct.duration


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_batch_is_what_the_windows_of_its_records_are(
    tmp_path: Path, shard: Path, simulated: Simulated, epoch: int
) -> None:
    """Long records too, of which each epoch reads another window, and leads that are not there."""
    folder = tmp_path / "long"
    for i, seconds in enumerate((35, 8, 21)):
        ecg = simulated("premature", i, fs=100.0, seconds=float(seconds))
        signal = ecg.signal.copy()
        signal[3:5, 700:] = 0.0  # flat from there on
        write_wfdb(ch.ECG(signal, 100.0), folder / f"{i}")
    prepare([folder], tmp_path / "corpus", workers=1)
    for data in (Corpus(tmp_path / "corpus"), Corpus(shard)):
        rows = np.arange(len(data))[::-1]
        windows = [split_windows(data.tokens(int(i))) for i in rows]
        assert (max(map(len, windows)) > 1) == (len(data) == 3)
        one = collate([some[epoch % len(some)] for some in windows])
        other = data.beats(rows, epoch)
        assert other.values.dtype == torch.float16
        for name in Beats.__dataclass_fields__:
            torch.testing.assert_close(
                getattr(other, name), getattr(one, name), rtol=0, atol=0, check_dtype=False
            )


def test_a_run_that_was_stopped_goes_on_where_it_was(
    source: Path, shard: Path, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def stops(folder: Path, item: Item) -> tuple[ch.ECG, Item]:
        read.append(item.record)
        if len(read) == 15:
            raise KeyboardInterrupt  # in the third part
        return read_record(folder, item)

    monkeypatch.setattr(prepare_module, "read_record", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare([source], tmp_path, workers=1)
    with pytest.raises(CorpusError, match=r"lacks 2 of its 4 parts.*prepare.* again"):
        Corpus(tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "ptbxl").glob("*-00[01]/*")}
    assert kept
    prepare([source], tmp_path, workers=1)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert read[15:] == [f"ptbxl/{i}" for i in range(12, 20)]
    same(Corpus(tmp_path), Corpus(shard))
    assert failures_of(tmp_path / "ptbxl") == failures_of(shard / "ptbxl")
    assert not list((tmp_path / "ptbxl").glob("*aside*"))


def test_ranks_share_the_work_and_make_the_same_shard(
    source: Path, shard: Path, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        prepare([source], tmp_path)
    same(Corpus(tmp_path), Corpus(shard))
    assert failures_of(tmp_path / "ptbxl") == failures_of(shard / "ptbxl")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torchrun_shares_the_work(source: Path, shard: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
from pathlib import Path
from clear_hug.train import prepare
prepare.PART_RECORDS = 6
prepare.prepare([Path({str(source)!r})], Path({str(tmp_path / "out")!r}))
""")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    subprocess.run([*torchrun, str(script)], env=environment, check=True, capture_output=True)
    same(Corpus(tmp_path / "out"), Corpus(shard))
    assert failures_of(tmp_path / "out" / "ptbxl") == failures_of(shard / "ptbxl")


def test_another_list_of_records_is_prepared_anew(
    source: Path, tmp_path: Path, small_parts: None, simulated: Simulated
) -> None:
    folder, out = tmp_path / "some", tmp_path / "out"
    for i in range(8):
        write_wfdb(simulated("normal", i, fs=100.0), folder / f"r{i}")
    prepare([folder], out, workers=1)
    for path in folder.glob("r3*"):
        path.unlink()
    prepare([folder], out, workers=1)
    assert [r["record"] for r in Corpus(out).records] == [f"some/r{i}" for i in (0, 1, 2, 4, 5, 6, 7)]
    assert len(list((out / "some").glob("*-*"))) == 2


def test_a_record_that_fails_in_any_way_is_named_with_its_reason(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(folder: Path, item: Item) -> tuple[ch.ECG, Item]:
        if item.record == "ptbxl/3":
            raise ZeroDivisionError("a bug of some reader")
        return read_record(folder, item)

    monkeypatch.setattr(prepare_module, "read_record", odd)
    prepare([source], tmp_path, workers=1)
    assert failures_of(tmp_path / "ptbxl")["ptbxl/3"] == "a bug of some reader"
    assert "ptbxl/3" not in {r["record"] for r in Corpus(tmp_path).records}


def test_a_full_temporary_folder_is_no_fault_of_the_records(
    tmp_path: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    """Else each record from there on would stand among the failures, and stay there."""
    for i in range(12):
        write_wfdb(simulated("normal", i, fs=100.0), tmp_path / "ward" / f"r{i:02d}", data="mat")
        header = tmp_path / "ward" / f"r{i:02d}.hea"
        header.write_text(header.read_text().replace(f"r{i:02d} 12", f"r{i:02d}.mat 12", 1))  # as of old
    with monkeypatch.context() as full:
        lay = physionet._lay_beside

        def on_a_full_disk(file: Path, there: Path) -> None:
            if file.stem >= "r08":
                raise OSError(errno.ENOSPC, "No space left on device", str(there))
            lay(file, there)

        full.setattr(physionet, "_lay_beside", on_a_full_disk)
        with pytest.raises(CorpusError, match="No space left on device.*kept"):
            prepare([tmp_path / "ward"], tmp_path / "out", workers=1)
    prepare([tmp_path / "ward"], tmp_path / "out", workers=1)
    assert len(Corpus(tmp_path / "out")) == 12 and not failures_of(tmp_path / "out" / "ward")


def test_a_torn_missing_or_old_shard_is_named(shard: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(CorpusError, match="prepare"):
        Corpus(tmp_path)
    with pytest.raises(CorpusError, match="nowhere"):
        Corpus(shard, ["nowhere"])
    torn = tmp_path / "torn" / "ptbxl"
    shutil.copytree(shard / "ptbxl", torn)
    trace = next(torn.glob("*-002")) / "trace.npy"
    trace.write_bytes(trace.read_bytes()[:500])
    with pytest.raises(CorpusError, match=r"ptbxl is torn: \w+-002.*prepare.* again"):
        Corpus(tmp_path / "torn")
    old = tmp_path / "old" / "ptbxl"
    old.mkdir(parents=True)
    for name in ("trace.npy", "records.csv"):
        (old / name).write_bytes(b"")
    with pytest.raises(CorpusError, match=r"ptbxl is of an older version.*prepare.* again"):
        Corpus(tmp_path / "old")


def test_sources_that_cannot_be_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no folder"):
        prepare([tmp_path / "nowhere"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no ECG"):
        prepare([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(CorpusError, match="two sources"):
        prepare([source, tmp_path / "x" / "ptbxl"], tmp_path / "out")
    with pytest.raises(CorpusError, match="own source"):
        prepare([source], source.parent)


def test_the_same_recording_with_labels_of_ones_own_has_one_fold(
    tmp_path: Path, simulated: Simulated
) -> None:
    ecg = simulated("normal", 1, fs=500.0)
    for name, fold in (("a", "3"), ("b", "9")):
        write_wfdb(ecg, tmp_path / name / "one", [])
        write_csv(tmp_path / name / "labels.csv", [{"record": "one", "statements": "NORM", "fold": fold}])
    prepare([tmp_path / "a", tmp_path / "b"], tmp_path / "out", workers=1)
    assert Corpus(tmp_path / "out").fold.tolist() == [3, 3]


def test_a_patient_whom_headers_name_has_one_fold(tmp_path: Path, simulated: Simulated) -> None:
    for i, name in enumerate(("one", "two")):
        write_wfdb(simulated("normal", i, fs=500.0), tmp_path / "in" / name, ["Patient ID: X1"])
    rows = [
        {"record": name, "statements": "NORM", "fold": fold} for name, fold in (("one", "3"), ("two", "9"))
    ]
    write_csv(tmp_path / "in" / "labels.csv", rows)
    with pytest.raises(CorpusError, match="patient in-X1 stands in folds 3 and 9"):
        prepare([tmp_path / "in"], tmp_path / "out", workers=1)


def test_a_record_of_which_nothing_is_told_has_no_label(tmp_path: Path, simulated: Simulated) -> None:
    write_wfdb(simulated("normal", 1, fs=500.0), tmp_path / "in" / "one", ["Dx: 59118001"])
    write_csv(tmp_path / "in" / "labels.csv", [{"record": "one", "statements": ""}])
    prepare([tmp_path / "in"], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    assert not data.labelled.any() and data.statements == [None]


def test_labels_that_are_not_read_are_named(
    tmp_path: Path, simulated: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wfdb(simulated("normal", 1, fs=500.0), tmp_path / "in" / "a" / "one", [])
    write_csv(tmp_path / "in" / "a" / "labels.csv", [{"record": "one", "statements": "NORM"}])
    prepare([tmp_path / "in"], tmp_path / "out", workers=1)
    assert "a/labels.csv is not read" in capsys.readouterr().out


def test_a_task_is_asked_only_in_the_words_of_its_data_set(
    source: Path, tmp_path: Path, simulated: Simulated
) -> None:
    folder = tmp_path / "georgia"
    for i, codes in enumerate(("164873001", "426177001", "55827005")):
        write_wfdb(simulated("normal", i, fs=100.0), folder / f"E{i}", [f"Dx: {codes}"])
    write_wfdb(simulated("normal", 9, fs=100.0), folder / "E9")
    prepare([source, folder], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    scp, there = TASKS["superdiagnostic"], data.source == "georgia"
    assert list(data.labelled_for([scp])) == list(~there)
    for strange, said in ((np.flatnonzero(there)[:1], "SNOMED"), (np.flatnonzero(there)[-1:], "no labels")):
        with pytest.raises(CorpusError, match=said):
            data.labels([scp], strange)
    judged = np.flatnonzero(data.labelled_for([TASKS["csn"]]))
    assert [data.records[i]["record"] for i in judged] == ["georgia/E0", "georgia/E1", "georgia/E2"]
    hypertrophy = data.labels([TASKS["csn"]], judged)[:, TASKS["csn"].labels.index("LVH")]
    assert list(hypertrophy) == [1, 0, 0]


def test_what_files_do_not_say_may_be_told(source: Path, tmp_path: Path, simulated: Simulated) -> None:
    """Counts of 1 uV at 250 Hz, turned over in aVR, without a word beside them: told, they are the ECG."""
    folder, out = tmp_path / "arrays", tmp_path / "out"
    folder.mkdir()
    ecg = simulated("normal", 3, fs=250.0, seconds=7.3)  # no length that tells a rate
    counts = np.round(ecg.signal * 1000).astype(np.int16)
    counts[3] *= -1
    np.save(folder / "a.npy", counts.T)
    with pytest.raises(CorpusError, match=r"none of the 1 records .*; arrays/a: .*rate"):
        prepare([folder], out, workers=1)
    leads = ["I", "II", "III", "-aVR", *ch.LEADS[4:]]
    told = {"fs": 250.0, "unit": "uV", "leads": leads, "orientation": "columns"}
    prepare([folder], out, workers=1, **told)
    data, direct = Corpus(out), ch.tokenize_beats(ecg)
    assert data.units_known.tolist() == [True]
    np.testing.assert_allclose(data.lead_scale[0], direct.lead_scale, rtol=0.02)
    np.testing.assert_allclose(data.tokens(0).r_peaks, direct.r_peaks, atol=0.011)
    prepare([folder], out, workers=1, **{**told, "fs": 200.0})  # told otherwise, read anew
    assert Corpus(out).tokens(0).duration == pytest.approx(1.25 * direct.duration)
    for wrong, said in (
        ({"unit": "kg"}, "unit 'kg' is not a voltage"),
        ({"orientation": "diagonal"}, "orientation 'diagonal'"),
        ({"fs": 0.0}, "fs = 0.0; expected Hz, above 0"),
    ):
        with pytest.raises(CorpusError, match=said):
            prepare([folder], out, workers=1, **wrong)
    with pytest.raises(CorpusError, match="fs is for folders of ECG files; ptbxl is a published data set"):
        prepare([folder, source], out, workers=1, fs=250.0)


def own_set(folder: Path, simulated: Simulated, tasks: str, *said: str) -> Path:
    """ECG files with labels of a label set of one's own."""
    for i in range(len(said)):
        write_wfdb(simulated("normal", 60 + i, fs=100.0), folder / f"r{i}")
    rows = [{"record": f"r{i}", "statements": one, "vocabulary": "lvef"} for i, one in enumerate(said)]
    write_csv(folder / "labels.csv", rows)
    (folder / "tasks.json").write_text(tasks)
    return folder


LVEF = '{"lvef": {"labels": {"LOW": "below 35 %", "MID": "35 to 49 %"}}}'


def test_a_label_set_of_ones_own_goes_with_its_shard(
    source: Path, tmp_path: Path, simulated: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_set(tmp_path / "echo", simulated, LVEF, "LOW", "none", "MID LOW", "")
    prepare([source, folder], tmp_path / "out", workers=1)
    assert "echo: 4 records, 3 labelled in lvef" in capsys.readouterr().out
    data = Corpus(tmp_path / "out")
    (task,) = data.tasks_of(["lvef"])
    rows = np.flatnonzero(data.labelled_for([task]))
    assert [data.records[i]["record"] for i in rows] == ["echo/r0", "echo/r1", "echo/r2"]
    assert data.labels([task], rows).tolist() == [[1, 0], [0, 0], [1, 1]] and (data.fold[rows] > 0).all()
    assert data.labelled[rows].all() and not data.labelled[data.data_set == "echo"].all()
    with pytest.raises(CorpusError, match="r0 has statements in lvef; task form is told in SCP"):
        data.labels([TASKS["form"]], rows[:1])
    with pytest.raises(CorpusError, match=r"tasks = .*'superdiagnostik' is not known.*, lvef"):
        data.tasks_of(["superdiagnostik"])
    other = replace(task, descriptions={**task.descriptions, "LOW": "below 40 %"})
    with pytest.raises(CorpusError, match=r"lvef is another label set .* LOW \(below 35 %\)"):
        data.labels([other], rows)


def test_two_label_sets_of_one_name_are_refused(tmp_path: Path, simulated: Simulated) -> None:
    one = own_set(tmp_path / "one", simulated, LVEF, "LOW", "none")
    two = own_set(tmp_path / "two", simulated, LVEF.replace("35", "40"), "LOW", "none")
    prepare([one], tmp_path / "out", workers=1)
    before = Corpus(tmp_path / "out").labels_digest
    prepare([two], tmp_path / "out", workers=1)
    with pytest.raises(CorpusError, match="lvef is another label set in two than in other sources"):
        Corpus(tmp_path / "out")
    (one / "tasks.json").write_text((two / "tasks.json").read_text())
    prepare([one], tmp_path / "out", workers=1)  # its records stand; what their labels mean is told anew
    assert Corpus(tmp_path / "out").tasks["lvef"].descriptions["LOW"] == "below 40 %"
    assert Corpus(tmp_path / "out", ["one"]).labels_digest != before


def test_labels_in_another_order_are_the_same_set_and_another_order_of_logits(
    tmp_path: Path, simulated: Simulated
) -> None:
    turned = '{"lvef": {"labels": {"MID": "35 to 49 %", "LOW": "below 35 %"}}}'
    one = own_set(tmp_path / "one", simulated, LVEF, "LOW", "none")
    two = own_set(tmp_path / "two", simulated, turned, "MID", "LOW")
    prepare([one, two], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    assert data.labels(data.tasks_of(["lvef"]), np.arange(4)).tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    there = Corpus(tmp_path / "out", ["two"])
    assert there.labels(data.tasks_of(["lvef"]), np.arange(2)).tolist() == [[0, 1], [1, 0]]
    (two / "tasks.json").write_text(LVEF)
    prepare([two], tmp_path / "anew", workers=1)  # a run on the one must not go on upon the other
    assert there.labels_digest != Corpus(tmp_path / "anew", ["two"]).labels_digest


def test_a_corpus_goes_to_another_process_without_its_data(shard: Path) -> None:
    import pickle

    data = Corpus(shard)
    data.tokens(0)
    again = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(again.tokens(17).values, data.tokens(17).values)


# What the wild holds


def test_a_recording_has_one_fold_wherever_it_stands(
    source: Path, tmp_path: Path, simulated: Simulated
) -> None:
    """PTB-XL in the challenges: what is kept to judge is not learned from under another name."""
    challenge = tmp_path / "challenge"
    for i in (3, 11, 16):  # 3 at another rate: known by its name; 11 under no name of PTB-XL: by its trace
        fs = 500.0 if i == 3 else 100.0
        name = "other" if i == 11 else f"HR{i:05d}"
        write_wfdb(simulated(list(KINDS)[i % 3], i, fs=fs), challenge / name, ["Dx: 426783006"], data="mat")
    for i in (5, 6):  # twice there, and not in PTB-XL
        write_wfdb(simulated("normal", 50), challenge / f"E{i:05d}", ["Dx: 426783006"], data="mat")
    prepare([challenge, source], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    fold = {record["record"]: int(data.fold[i]) for i, record in enumerate(data.records)}
    assert fold["challenge/HR00003"] == fold["ptbxl/3"] == 2
    assert fold["challenge/other"] == fold["ptbxl/11"] == 6
    assert fold["challenge/HR00016"] == fold["ptbxl/16"] == 9
    assert fold["challenge/E00005"] == fold["challenge/E00006"] == fold_of("challenge/E00005")
    assert [record["fold"] for record in data.records] == data.fold.tolist()
    assert data.twice == 3 and [fold[f"ptbxl/{i}"] for i in (0, 9, 19)] == [1, 5, 10]


def test_a_challenge_has_the_fold_of_ptbxl_beside_files_of_the_same_name(
    source: Path, tmp_path: Path, simulated: Simulated
) -> None:
    (tmp_path / "z").symlink_to(source)  # PTB-XL, whose records are called ptbxl/3 wherever it lies
    for name in ("ptbxl/3", "challenge/HR00003"):
        write_wfdb(simulated("normal", 70, fs=100.0, seconds=len(name)), tmp_path / name)
    prepare([tmp_path / name for name in ("challenge", "ptbxl", "z")], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    names, at = data.records.column("record").tolist(), data.in_challenges
    assert names.count("ptbxl/3") == 2 and list(at.values()) == ["ptbxl/3"]
    assert [int(data.fold[i]) for i, name in enumerate(names) if name == "ptbxl/3" or i in at] == [2, 0, 2]


def test_cpsc2018_has_one_fold_in_its_own_form_and_in_the_challenges(
    tmp_path: Path, simulated: Simulated
) -> None:
    """The challenges hold its voltages in whole counts: where traces differ for it, names tell."""
    first = tmp_path / "cpsc"
    rows = []
    for i in range(1, 9):
        ecg, name = simulated("normal", i, fs=500.0), f"A{i:04d}"
        write_wfdb(ecg, tmp_path / "WFDB_CPSC2018" / name, ["Dx: 426783006"], data="mat")
        first.mkdir(exist_ok=True)
        told = {"sex": "Male", "age": 50, "data": ecg.signal.astype(float) + 4e-4}
        savemat(first / f"{name}.mat", {"ECG": told})
        rows.append({"Recording": name, "First_label": 1, "Second_label": "", "Third_label": ""})
    write_csv(first / "REFERENCE.csv", rows)
    write_csv(tmp_path / "ward" / "labels.csv", [{"record": "A0001", "statements": "SR", "patient": "p"}])
    write_wfdb(simulated("normal", 20), tmp_path / "ward" / "A0001")  # a patient is told: no challenge
    prepare([tmp_path / name for name in ("WFDB_CPSC2018", "cpsc", "ward")], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    fold = dict(zip(data.records.column("record"), data.fold.tolist(), strict=True))
    assert data.twice == 0
    for i in range(1, 9):
        assert fold[f"WFDB_CPSC2018/A{i:04d}"] == fold[f"cpsc2018/A{i:04d}"] == fold_of(f"cpsc2018/A{i:04d}")
    assert fold["ward/A0001"] == fold_of("ward-p")


@pytest.mark.parametrize("with_ptbxl", [False, True])
def test_a_patient_has_one_fold_when_a_recording_stands_twice(
    source: Path, tmp_path: Path, simulated: Simulated, with_ptbxl: bool
) -> None:
    """Exports that overlap, by other names of the same patients: nobody is both learned from and judged."""
    exports = {
        "a": [(1, 0), (1, 1), (2, 2), (3, 3)],
        "b": [(5, 1), (5, 10), (6, 3), (6, 2), (7, 12), (8, 13)],
    }
    for name, records in exports.items():
        rows = []
        for patient, seed in records:
            seed += 30 * (not with_ptbxl or seed > 3)
            record = f"p{patient}s{seed}"
            write_wfdb(simulated(list(KINDS)[seed % 3], seed, fs=100.0), tmp_path / name / record)
            rows.append({"record": record, "statements": "SR", "patient": f"{patient}"})
        write_csv(tmp_path / name / "labels.csv", rows)
    sources = [tmp_path / "b", tmp_path / "a", *([source] if with_ptbxl else [])]
    prepare(sources, tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    folds: dict[str, set[int]] = {}
    for row, fold in zip(data.records, data.fold.tolist(), strict=True):
        if not row["record"].startswith("ptbxl/") and (not with_ptbxl or row["patient"] in ("a-1", "b-5")):
            folds.setdefault(row["patient"], set()).add(fold)
    assert all(len(of) == 1 for of in folds.values()), folds
    assert folds["a-1"] == folds["b-5"]
    same: dict[int, set[int]] = {}
    for trace, fold in zip(data.recording.tolist(), data.fold.tolist(), strict=True):
        same.setdefault(trace, set()).add(fold)
    assert all(len(of) == 1 for of in same.values())
    if with_ptbxl:
        official = {row["record"]: row["fold"] for row in data.records if row["record"].startswith("ptbxl/")}
        assert all(fold == 1 + number(name) // 2 for name, fold in official.items())
        assert folds["a-1"] == {1}
    else:
        assert folds["a-2"] == folds["a-3"] == folds["b-6"]


def test_what_has_no_labels_has_the_fold_of_its_patient(tmp_path: Path, simulated: Simulated) -> None:
    """Else pre-training and teachers would read records of patients who are judged."""
    for name in ("a", "b"):
        rows = []
        for i in range(6):
            # the third of a's and the first of b's are one recording; nobody labelled b's
            seed = 2 if (name, i) == ("b", 0) else i + 9 * (name == "b")
            write_wfdb(simulated("normal", seed), tmp_path / name / f"r{i}")
            said = "SR" if (name, i) == ("a", 0) else ""
            rows.append({"record": f"r{i}", "statements": said, "patient": "pq"[i > 3]})
        write_csv(tmp_path / name / "labels.csv", rows)
    prepare([tmp_path / "a", tmp_path / "b"], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    of = {name: set(data.fold[data.patients == name].tolist()) for name in set(data.patients.tolist())}
    assert of == {"a-p": {fold_of("a-p")}, "b-p": {fold_of("a-p")}, "a-q": {0}, "b-q": {0}}


def test_another_set_of_the_same_name_does_not_take_its_place(tmp_path: Path, simulated: Simulated) -> None:
    for where in ("a", "b"):
        write_wfdb(simulated("normal", len(where)), tmp_path / where / "ward" / f"{where}1")
    out = tmp_path / "out"
    prepare([tmp_path / "a" / "ward"], out, workers=1)
    with pytest.raises(CorpusError, match="was prepared from"):
        prepare([tmp_path / "b" / "ward"], out, workers=1)
    assert [record["record"] for record in Corpus(out).records] == ["ward/a1"]
    (tmp_path / "a").rename(tmp_path / "moved")  # the same set elsewhere is the same
    prepare([tmp_path / "moved" / "ward"], out, workers=1)
    write_wfdb(simulated("normal", 5), tmp_path / "moved" / "ward" / "a2")  # and may grow
    prepare([tmp_path / "moved" / "ward"], out, workers=1)
    assert len(Corpus(out)) == 2


def test_a_corpus_does_not_lie_in_its_own_source(
    tmp_path: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wfdb(simulated("normal", 0), tmp_path / "ward" / "a")
    monkeypatch.chdir(tmp_path / "ward")
    with pytest.raises(CorpusError, match="own source"):
        prepare([Path(".")], workers=1)


def test_what_reading_doubts_is_kept_and_a_doubtful_voltage_is_not_told(
    tmp_path: Path, simulated: Simulated, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ward"
    ecg = simulated("normal", 0)
    write_wfdb(ecg, folder / "right")
    write_wfdb(ecg, folder / "small")
    header = folder / "small.hea"
    header.write_text(header.read_text().replace("1000.0(0)/mV", "50000.0(0)/mV"))
    prepare([folder], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    told = {record["record"]: bool(data.units_known[i]) for i, record in enumerate(data.records)}
    assert told == {"ward/right": True, "ward/small": False}
    with (tmp_path / "out" / "ward" / "warnings.csv").open() as f:
        said = list(csv.DictReader(f))
    assert {row["record"] for row in said} == {"ward/small"} and "gain" in said[0]["warning"]
    assert "1 with a warning" in capsys.readouterr().out


@pytest.mark.parametrize("factor", [1e7, 1e-7])
def test_values_without_a_unit_survive_whatever_their_size(simulated: Simulated, factor: float) -> None:
    ecg = simulated("normal", 0)
    usual, odd = (prepare_module.in_float16(ecg.signal * np.float32(by), False) for by in (1.0, factor))
    for one in (usual, odd):
        together = np.corrcoef(one.astype(float).ravel(), ecg.signal.ravel())[0, 1]
        assert together > 0.999999 and np.isfinite(one).all()
    np.testing.assert_array_equal(usual, ecg.signal.astype(np.float16))
    if factor > 1:
        with pytest.raises(ch.ECGError, match="mV"):
            prepare_module.in_float16(ecg.signal * np.float32(factor), True)


def test_a_report_of_a_device_is_no_label(tmp_path: Path, simulated: Simulated) -> None:
    folder = tmp_path / "mimic"
    write_wfdb(simulated("normal", 0), folder / "files" / "a" / "1")
    rows = [
        {"subject_id": 1, "study_id": 1, "path": "files/a/1"},
        {"subject_id": 2, "study_id": 2, "path": ""},
    ]
    write_csv(folder / "record_list.csv", rows)
    write_csv(folder / "machine_measurements.csv", [{"study_id": 1, "report_0": "Sinus rhythm"}])
    prepare([folder], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    assert data.statements == [("Sinus rhythm",)] and not data.labelled.any()
    assert set(failures_of(tmp_path / "out" / "mimic")) == {"mimic/2"}


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.long
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path, simulated: Simulated) -> None:
    for i in range(80):
        write_wfdb(simulated("normal", 0), tmp_path / "ward" / f"{i:03d}")
    command = [sys.executable, "-m", "clear_hug.train", "prepare", "--sources", f'["{tmp_path / "ward"}"]',
               "--out", str(tmp_path / "out"), "--workers", "2"]  # fmt: skip
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workers: list[psutil.Process] = []
    until = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < until and parent.poll() is None:
        workers = psutil.Process(parent.pid).children(recursive=True)
        time.sleep(0.02)
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


@pytest.mark.parametrize("whole_steps", [True, False])
def test_a_gain_that_is_a_step_of_the_device_is_doubted(
    tmp_path: Path, simulated: Simulated, whole_steps: bool
) -> None:
    """As in Georgia's first headers: samples in µV, whole steps of 4.88 µV, under a gain of 4880/mV."""
    ecg = simulated("normal", 0)
    steps = np.trunc(np.rint(ecg.signal / 4.88e-3) * 4.88).astype(np.float32) / 1000
    ecg = replace(ecg, signal=steps if whole_steps else ecg.signal * np.float32(4.88))
    write_wfdb(ecg, tmp_path / "ward" / "E00001", data="mat")
    header = tmp_path / "ward" / "E00001.hea"
    header.write_text(header.read_text().replace("1000.0(0)/mV", "4880/mV"))
    read = ch.read_ecg(header)
    assert any("in µV" in said for said in read.warnings) == whole_steps
    np.testing.assert_allclose(read.signal, ecg.signal / 4.88, atol=2e-4)  # as the header says, nonetheless
    prepare([tmp_path / "ward"], tmp_path / "out", workers=1)
    assert Corpus(tmp_path / "out").units_known.tolist() == [not whole_steps]
