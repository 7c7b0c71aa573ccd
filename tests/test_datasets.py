"""Data sets in their published layouts, made of simulated ECGs: which records, whose, with which labels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import clear_hug as ch
from clear_hug.datasets import ARRAYS, Item, fold_of, header_notes, list_records, read_record, set_name
from clear_hug.io.identities import LIMB, misfit
from clear_hug.known import known
from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.prepare import prepare
from tests.real_data import DATA, needs_data
from tests.written_sets import Simulated, failures_of, write_csv, write_wfdb


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


def test_a_folder_about_or_within_a_published_data_set_is_no_folder_of_files(
    tmp_path: Path, simulated: Simulated
) -> None:
    """Read file by file, PTB-XL's test folds would be pre-trained on, and its labels lost, without a word."""
    ptbxl, csn = tmp_path / "data" / "ptb-xl" / "1.0.3", tmp_path / "elsewhere" / "csn"
    write_wfdb(simulated("normal", 1), ptbxl / "records500" / "00000" / "00001_hr")
    row = {"ecg_id": 1, "scp_codes": "{'NORM': 100.0}", "strat_fold": 10, "filename_lr": ""}
    write_csv(ptbxl / "ptbxl_database.csv", [{**row, "filename_hr": "records500/00000/00001_hr"}])
    write_wfdb(simulated("normal", 2), csn / "WFDBRecords" / "01" / "JS00001", ["Dx: 426783006"], "mat")
    write_csv(csn / "ConditionNames_SNOMED-CT.csv", [{"Acronym Name": "SR", "Snomed_CT": 426783006}])
    (tmp_path / "data" / "csn").symlink_to(csn)
    for near in (ptbxl.parent, ptbxl / "records500"):
        with pytest.raises(CorpusError, match=re.escape(f"name {ptbxl} as the source")):
            list_records(near)
    with pytest.raises(CorpusError, match=re.escape(f"{tmp_path / 'data' / 'csn'} and {ptbxl}")):
        list_records(tmp_path / "data")
    assert list_records(ptbxl)["fold"].tolist() == [10]
    assert list_records(csn / "WFDBRecords")["layout"].tolist() == ["files"]
    (tmp_path / "linked").symlink_to(ptbxl / "records500")
    with pytest.raises(CorpusError, match=re.escape(f"name {ptbxl.resolve()} as the source")):
        list_records(tmp_path / "linked")
    for ward in (ptbxl / "ward", tmp_path / "hospital" / "2020"):  # beside PTB-XL; with a list of its own
        write_wfdb(simulated("normal", 3), ward / "a")
    (tmp_path / "hospital" / "2020" / "record_list.csv").write_text("file,day\na,1\n")
    assert list_records(ptbxl / "ward")["record"].tolist() == ["ward/a"]
    assert list_records(tmp_path / "hospital")["record"].tolist() == ["hospital/2020/a"]


def test_a_folder_above_cpsc2018_and_others_is_not_read_as_cpsc2018(
    tmp_path: Path, simulated: Simulated
) -> None:
    """PTB-XL's test records in the challenges would be CPSC2018's, and learned from under that name."""
    cpsc = tmp_path / "data" / "cpsc"
    for name in ("A0001", "A0002"):
        write_wfdb(simulated("normal", 1), cpsc / name, data="mat")
    write_csv(
        cpsc / "REFERENCE.csv",
        [{"Recording": "A0001", "First_label": 1, "Second_label": "", "Third_label": ""}],
    )
    assert len(list_records(cpsc)) == len(list_records(tmp_path / "data")) == 2
    for other, form in (("cinc/HR00001", "mat"), ("ward/a", "dat")):
        write_wfdb(simulated("normal", 2), tmp_path / "data" / other, ["Dx: 426783006"], form)
        with pytest.raises(CorpusError, match=re.escape(f"such as {other}.hea, which")) as refused:
            list_records(tmp_path / "data")
        assert f"name {cpsc} and the folders of the others" in str(refused.value)
        (tmp_path / "data" / other).with_suffix(".hea").unlink()
        (tmp_path / "data" / other).with_suffix(f".{form}").unlink()
    assert len(list_records(cpsc)) == 2


@pytest.mark.parametrize(
    ("dx", "codes", "doubted"),
    [
        ("164889003;59118001", ["164889003", "59118001"], False),
        ("164889003 , 59118001", ["164889003", "59118001"], False),
        ("164889003,AFIB", ["164889003"], True),
        ("LBBB", [], True),
        ("164889004", ["164889004"], True),  # its check digit is not right
        ("Unknown", [], False),
        ("", [], False),
    ],
)
def test_no_code_of_a_header_is_lost_without_a_word(
    tmp_path: Path, simulated: Simulated, dx: str, codes: list[str], doubted: bool
) -> None:
    write_wfdb(simulated("normal", 1), tmp_path / "set" / "a", [f"Dx: {dx}"], data="mat")
    ecg, item = facts(tmp_path / "set")["set/a"]
    assert json.loads(item.statements or "[]") == codes
    assert any("no SNOMED CT code" in said for said in ecg.warnings) == doubted


@pytest.mark.parametrize("word", ["Unknown", "NA", "nan", ""])
def test_a_word_for_no_patient_is_no_patient(tmp_path: Path, simulated: Simulated, word: str) -> None:
    """All records of unknown patients would be one patient: of one fold, and drawn at once."""
    for i in range(3):
        write_wfdb(
            simulated("normal", i), tmp_path / "set" / f"r{i}", ["Dx: 426783006", f"Patient ID: {word}"]
        )
        write_wfdb(simulated("normal", i), tmp_path / "own" / f"r{i}")
    rows = [{"record": f"r{i}", "statements": "SR", "patient": word, "fold": i + 1} for i in range(3)]
    write_csv(tmp_path / "own" / "labels.csv", rows)
    for name in ("set", "own"):
        assert {item.patient for _, item in facts(tmp_path / name).values()} == {
            f"{name}/r{i}" for i in range(3)
        }
    assert {item.fold for _, item in facts(tmp_path / "own").values()} == {1, 2, 3}
