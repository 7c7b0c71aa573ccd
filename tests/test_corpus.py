"""Data sets in their published layouts, made of simulated ECGs, into shards and back."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import wfdb
from scipy.io import savemat

import clear_hug as ch
from clear_hug.batch import Beats
from clear_hug.beats import split_windows
from clear_hug.datasets import ARRAYS, Item, fold_of, header_notes, list_records, read_record, set_name
from clear_hug.diagnosis import collate
from clear_hug.io.identities import LIMB, misfit
from clear_hug.known import known
from clear_hug.tasks import TASKS
from clear_hug.train import prepare as prepare_module
from clear_hug.train.corpus import Corpus, CorpusError, label_fraction
from clear_hug.train.prepare import prepare
from tests.real_data import DATA, needs_data

KINDS = {"normal": ["NORM", "SR"], "premature": ["IVCD", "PVC"], "high_voltage": ["LVH", "SR"]}
Simulated = Callable[..., ch.ECG]


def write_wfdb(ecg: ch.ECG, path: Path, notes: Sequence[str] = (), data: str = "dat") -> None:
    """A WFDB record; `data="mat"` as the challenges and CSN publish theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        path.name, int(ecg.fs), ["mV"] * 12, list(ch.LEADS), ecg.signal.T.astype(float), fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(path.parent), comments=list(notes),
    )  # fmt: skip
    if data == "mat":
        header, name = path.with_suffix(".hea"), path.name
        header.write_text(header.read_text().replace(f"{name}.dat 16 ", f"{name}.mat 16+24 "))
        path.with_suffix(".mat").write_bytes(bytes(24) + path.with_suffix(".dat").read_bytes())
        path.with_suffix(".dat").unlink()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def failures_of(shard: Path) -> dict[str, str]:
    with (shard / "failures.csv").open() as f:
        return {row["record"]: row["reason"] for row in csv.DictReader(f)}


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


def facts(folder: Path) -> dict[str, tuple[ch.ECG, Item]]:
    """Every record of a folder, read."""
    items = [Item(**row) for row in list_records(folder).to_dict("records")]
    return {item.record: read_record(folder, item) for item in items}


def test_challenge_folders_tell_codes_age_and_sex_in_their_headers(
    tmp_path: Path, simulated: Simulated
) -> None:
    folder = tmp_path / "cpsc_2018"
    ecg = simulated("normal", 0, fs=500.0)
    write_wfdb(ecg, folder / "g1" / "A0001", ["Age: 74", "Sex: Male", "Dx: 59118001,164889003"], "mat")
    write_wfdb(ecg, folder / "g2" / "A0002", ["Age: NaN", "Sex: Unknown", "Dx: 426783006"], "mat")
    write_wfdb(ecg, folder / "g2" / "A0003", ["Age: 50"], "mat")
    read = facts(folder)
    one, item = read["cpsc_2018/g1/A0001"]
    assert (one.age, one.sex) == (74, "M")
    assert json.loads(item.statements) == ["59118001", "164889003"] and item.vocabulary == "SNOMED"
    task = TASKS["cpsc2018"]
    truth = dict(zip(task.labels, task.encode(json.loads(item.statements)), strict=True))
    assert {label for label, there in truth.items() if there} == {"RBBB", "AF"}
    assert read["cpsc_2018/g2/A0002"][0].age is None
    assert read["cpsc_2018/g2/A0003"][1].vocabulary == ""
    for record, (_, item) in read.items():
        labelled = bool(item.statements)
        assert item.patient == record and item.fold == (fold_of(record) if labelled else 0)


def test_cpsc2018_as_first_published(tmp_path: Path, simulated: Simulated) -> None:
    folder = tmp_path / "cpsc"
    ecg = simulated("normal", 1, fs=500.0)
    (folder / "TrainingSet1").mkdir(parents=True)
    for name in ("A0001", "A0002"):
        struct = {"sex": "Female", "age": 64, "data": ecg.signal.astype(float)}
        savemat(folder / "TrainingSet1" / f"{name}.mat", {"ECG": struct})
    rows = [
        {"Recording": "A0001", "First_label": 5, "Second_label": "", "Third_label": ""},
        {"Recording": "A0002", "First_label": 1, "Second_label": 9, "Third_label": ""},
        {"Recording": "A0003", "First_label": 2, "Second_label": "", "Third_label": ""},
    ]
    write_csv(folder / "TrainingSet1" / "REFERENCE.csv", rows)
    prepare([folder], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    assert [r["record"] for r in data.records] == ["cpsc2018/A0001", "cpsc2018/A0002"]
    assert set(failures_of(tmp_path / "out" / "cpsc")) == {"cpsc2018/A0003"}
    task = TASKS["cpsc2018"]
    truth = data.labels([task], np.arange(2))
    assert [[task.labels[i] for i in np.flatnonzero(row)] for row in truth] == [["RBBB"], ["SNR", "STE"]]
    assert data.records[0]["age"] == 64 and data.records[0]["sex"] == "F"
    direct = ch.tokenize_beats(ecg)
    np.testing.assert_array_equal(data.tokens(0).r_peaks, direct.r_peaks)
    rows[0]["First_label"] = 0
    write_csv(folder / "TrainingSet1" / "REFERENCE.csv", rows)
    with pytest.raises(CorpusError, match="label 0 of A0001"):
        list_records(folder)


def test_a_folder_with_labels_of_ones_own(tmp_path: Path, simulated: Simulated) -> None:
    folder = tmp_path / "clinic"
    ecg = simulated("normal", 1, fs=500.0)
    write_wfdb(ecg, folder / "a" / "one", ["Dx: 59118001"])
    write_wfdb(replace(ecg, signal=ecg.signal * 0.9), folder / "two", ["Age: 40"])
    write_wfdb(replace(ecg, signal=ecg.signal * 0.8), folder / "three", [])
    row = dict.fromkeys(("record", "statements", "patient", "fold", "age", "sex"), "")
    rows = [
        {**row, "record": "a/one.hea", "statements": "IMI LVH", "fold": "3", "patient": "7"},
        {**row, "record": "two", "statements": "NORM", "age": "61", "sex": "F"},
        {**row, "record": "gone", "statements": "NORM"},
    ]
    write_csv(folder / "labels.csv", rows)
    prepare([folder], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    there = {r["record"]: i for i, r in enumerate(data.records)}
    assert set(there) == {"clinic/a/one", "clinic/two", "clinic/three"}
    assert set(failures_of(tmp_path / "out" / "clinic")) == {"clinic/gone"}
    one, two, three = (there[f"clinic/{name}"] for name in ("a/one", "two", "three"))
    task = TASKS["superdiagnostic"]
    assert np.flatnonzero(data.labelled_for([task])).tolist() == sorted([one, two])
    truth = data.labels([task], np.array([one, two]))
    assert [{task.labels[i] for i in np.flatnonzero(r)} for r in truth] == [{"MI", "HYP"}, {"NORM"}]
    assert data.fold[one] == 3 and data.fold[two] == fold_of("clinic/two") and data.fold[three] == 0
    assert data.patients[one] == "clinic-7"
    assert (data.records[two]["age"], data.records[two]["sex"]) == (40, "F")  # the file's own age before all


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


def test_chapman_shaoxing_ningbo(tmp_path: Path, simulated: Simulated) -> None:
    folder = tmp_path / "ecg-arrhythmia"
    write_csv(
        folder / "ConditionNames_SNOMED-CT.csv",
        [{"Acronym Name": "AFIB", "Full Name": "Atrial Fibrillation", "Snomed_CT": 164889003}],
    )
    notes = ["Age: 85", "Sex: Female", "Dx: 164889003,59118001,164934002"]
    ecg = simulated("normal", 2, fs=500.0)
    write_wfdb(ecg, folder / "WFDBRecords" / "01" / "010" / "JS00001", notes, "mat")
    ((ecg, item),) = facts(folder).values()
    assert (item.record, item.patient, ecg.age, ecg.sex) == ("csn/JS00001", "csn/JS00001", 85, "F")
    task = TASKS["csn"]
    there = {
        label for label, x in zip(task.labels, task.encode(json.loads(item.statements)), strict=True) if x
    }
    assert there == {"AFIB", "RBBB", "TWC"}


def test_mimic_tells_patients_and_reports_in_its_tables(tmp_path: Path, simulated: Simulated) -> None:
    folder = tmp_path / "mimic-iv-ecg"
    rows, reports = [], []
    for i, patient in enumerate((10000032, 10000032, 10000117)):
        path = f"files/p1000/p{patient}/s{400 + i}/{400 + i}"
        write_wfdb(simulated("normal", i, fs=500.0), folder / path)
        study = {"subject_id": patient, "study_id": 400 + i}
        rows.append({**study, "file_name": 400 + i, "ecg_time": "2180-07-23 08:44:00", "path": path})
        if i < 2:
            reports.append({**study, "report_0": "Sinus rhythm", "report_1": "", "report_2": "Normal ECG"})
    write_csv(folder / "record_list.csv", rows)
    write_csv(folder / "machine_measurements.csv", reports)
    prepare([folder], tmp_path / "out", workers=1)
    data = Corpus(tmp_path / "out")
    assert [r["record"] for r in data.records] == ["mimic/400", "mimic/401", "mimic/402"]
    assert list(data.patients) == ["mimic-10000032", "mimic-10000032", "mimic-10000117"]
    assert not data.fold.any()  # a device's report is no label: nothing to judge, all to pre-train on
    assert data.statements == [("Sinus rhythm", "Normal ECG")] * 2 + [None]
    assert not data.labelled_for([TASKS["superdiagnostic"]]).any()


def test_a_patient_named_in_the_header_is_one_patient(tmp_path: Path, simulated: Simulated) -> None:
    for name in ("a", "b"):
        notes = ["Patient ID: 48705", "Age: 43", "Sex: Male", "Chagas label: False"]
        write_wfdb(simulated("normal", 0, fs=400.0), tmp_path / "chagas" / name, notes)
    read = [item for _, item in facts(tmp_path / "chagas").values()]
    assert {item.patient for item in read} == {"chagas-48705"} and len({item.fold for item in read}) == 1
    assert header_notes(tmp_path / "chagas" / "a.hea")["chagas label"] == "False"


def test_folds_by_patient_are_even_and_the_same_everywhere() -> None:
    folds = np.array([fold_of(f"csn/JS{i:05d}") for i in range(5000)])
    counts = np.bincount(folds, minlength=11)
    assert counts[0] == 0 and (counts[1:] > 400).all() and (counts[1:] < 600).all()
    assert [fold_of(name) for name in ("a", "b", "csn/JS00001")] == [1, 7, 8]


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


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """3,000 rows of about 1,500 patients with labels from common to rare: rows, labels, patients."""
    rng = np.random.default_rng(0)
    labels = (rng.random((3000, 5)) < [0.5, 0.2, 0.05, 0.01, 0.003]).astype(np.float32)
    patients = np.array([f"p{i}" for i in rng.integers(0, 1500, 3000)])
    return np.arange(100, 3100), labels, patients


@pytest.mark.parametrize("stratified", [True, False])
def test_a_label_fraction_is_whole_patients_nested_and_by_seed(labelled: Any, stratified: bool) -> None:
    rows, labels, patients = labelled

    def draw(fraction: float, seed: int = 0) -> np.ndarray:
        return label_fraction(rows, labels, patients, fraction, seed, stratified)

    one, ten, all_rows = (draw(fraction) for fraction in (0.01, 0.1, 1.0))
    assert list(all_rows) == list(rows) and set(one) < set(ten)
    assert 30 <= len(one) <= 40 and 300 <= len(ten) <= 310
    assert list(draw(0.1)) == list(ten) and set(draw(0.1, seed=1)) != set(ten)
    assert list(ten) == sorted(ten)
    inside = np.isin(rows, ten)
    assert not set(patients[inside]) & set(patients[~inside])


def test_a_stratified_fraction_has_every_label_and_its_share(labelled: Any) -> None:
    rows, labels, patients = labelled
    for seed in range(5):
        for fraction in (0.01, 0.1):
            drawn = np.isin(rows, label_fraction(rows, labels, patients, fraction, seed))
            assert (labels[drawn].sum(axis=0) > 0).all()
        share = labels[drawn].mean(axis=0) / labels.mean(axis=0)
        assert (np.abs(share[:2] - 1) < 0.25).all()
    with pytest.raises(ValueError, match="fraction"):
        label_fraction(rows, labels, patients, 0)


def test_a_corpus_goes_to_another_process_without_its_data(shard: Path) -> None:
    import pickle

    data = Corpus(shard)
    data.tokens(0)
    again = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(again.tokens(17).values, data.tokens(17).values)


def test_the_rows_of_an_array_are_put_in_the_order_of_the_leads(tmp_path: Path, simulated: Simulated) -> None:
    ecg = simulated("normal", 3, fs=500.0)
    folder = tmp_path / "cinc2011"
    folder.mkdir()
    write_csv(folder / "index.csv", [{"record": "7", "quality": "acceptable"}])
    told = ARRAYS["cinc2011"]
    rows = [ecg.signal[ch.LEADS.index(lead)] for lead in told.leads]
    counts = np.round(np.stack(rows) * told.per_mv).astype(np.int16)
    np.savez(folder / "signals.npz", signals=counts[None])
    read, _ = facts(folder)["cinc2011/7"]
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1 / told.per_mv)
    assert not np.array_equal(ecg.signal, np.stack(rows))


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("name", [name for name, told in ARRAYS.items() if told.per_mv])
def test_limb_leads_of_arrays_at_hand_obey_their_identities(name: str) -> None:
    """No file names the rows of an array: the leads themselves say whether they are in their places."""
    folder = Path(DATA) / name
    items = [Item(**row) for row in list_records(folder).head(40).to_dict("records")]
    signals = [read_record(folder, item)[0].signal for item in items]
    limb = [x[:6, np.isfinite(x).all(axis=0)] for x in signals]
    assert all(x.shape[1] > 100 for x in limb)
    off = [misfit((x - np.median(x, axis=1, keepdims=True)).astype(float), LIMB) for x in limb]
    assert len(off) == 40 and np.median(off) < 0.05


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


def test_names_and_folds_do_not_follow_from_how_a_path_is_typed(
    tmp_path: Path, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "georgia" / "1.0.2"  # a version, as PhysioNet's folders are named
    write_wfdb(simulated("normal", 0), folder / "g1" / "E00001", ["Dx: 426783006"])
    found = []
    for here, typed in ((tmp_path, "georgia/1.0.2"), (folder, "."), (folder / "g1", "..")):
        monkeypatch.chdir(here)
        prepare([Path(typed)], tmp_path / "out", workers=1)
        found.append([(r["record"], int(r["fold"])) for r in Corpus(tmp_path / "out").records])
    assert found == [[("georgia/g1/E00001", fold_of("georgia/g1/E00001"))]] * 3


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


def test_two_records_of_one_name_are_refused_in_cpsc2018(tmp_path: Path, simulated: Simulated) -> None:
    folder = tmp_path / "cpsc"
    for where in ("TrainingSet1", "validation_set"):
        write_wfdb(simulated("normal", len(where)), folder / where / "A0001", data="mat")
    write_csv(folder / "TrainingSet1" / "REFERENCE.csv",
              [{"Recording": "A0001", "First_label": 1, "Second_label": "", "Third_label": ""}])  # fmt: skip
    with pytest.raises(CorpusError, match="two records named A0001"):
        prepare([folder], tmp_path / "out", workers=1)


BROKEN = {
    "semicolons": ("ptbxl_database.csv", "ecg_id;scp_codes\n1;{}\n"),
    "codes": ("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_hr,filename_lr\n1,{'NORM',1,a,a\n"),
    "no fold": ("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_hr,filename_lr\n1,{},,a,a\n"),
    "cut": ("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_hr,filename_lr\n1,{}\n"),
    "not text": ("ptbxl_database.csv", b"\xff\xfe\x00ecg\xb0"),
    "columns": ("record_list.csv", "a,b\n1,2\n"),
    "empty": ("record_list.csv", ""),
    "binary": ("record_list.csv", b"\x00\xff\x8b" * 40),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_table_is_told_in_a_sentence(tmp_path: Path, simulated: Simulated, what: str) -> None:
    folder = tmp_path / "set"
    name, content = BROKEN[what]
    write_wfdb(simulated("normal", 0), folder / "a")
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match="cannot be read"):
        prepare([folder], tmp_path / "out", workers=1)
    if name == "ptbxl_database.csv":
        with pytest.raises(ch.ECGError, match=name):
            known(folder / "a.hea")


def test_a_table_of_another_challenge_is_no_cpsc2018(tmp_path: Path, simulated: Simulated) -> None:
    write_wfdb(simulated("normal", 0), tmp_path / "set" / "a")
    (tmp_path / "set" / "REFERENCE.csv").write_text("A00001,N\nA00002,A\n")  # of 2017, without a header
    prepare([tmp_path / "set"], tmp_path / "out", workers=1)
    assert [record["record"] for record in Corpus(tmp_path / "out").records] == ["set/a"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
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


def test_linked_folders_are_entered_once(tmp_path: Path, simulated: Simulated) -> None:
    write_wfdb(simulated("normal", 0), tmp_path / "disk" / "a")
    folder = tmp_path / "ward"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to(folder, target_is_directory=True)
    assert list_records(folder)["record"].tolist() == ["ward/linked/a"]


def test_a_set_is_called_as_its_folder_is_reached(tmp_path: Path, simulated: Simulated) -> None:
    write_wfdb(simulated("normal", 0), tmp_path / "store" / "abc123" / "a")
    (tmp_path / "ward").symlink_to(tmp_path / "store" / "abc123", target_is_directory=True)
    assert list_records(tmp_path / "ward")["record"].tolist() == ["ward/a"]
    names = {"ludb/1.0.1": "ludb", "mimic-iv-ecg/v2.0": "mimic-iv-ecg", "data/2020": "2020", "a/b": "b"}
    assert {path: set_name(Path("/x") / path) for path in names} == names
    assert set_name(Path("/1.0.3")) == "1.0.3"


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
