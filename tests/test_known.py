"""What a data set says of a single file of its; the layouts themselves are tested in test_corpus.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from clear_hug.ecg import ECGError
from clear_hug.known import (
    Known,
    Person,
    known,
    known_labels,
    label_tables,
    person_of,
)
from clear_hug.tasks import TASKS, own_tasks


def header(path: Path, *notes: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{path.stem} 12 500 5000\n" + "".join(f"#{note}\n" for note in notes))
    return path


def test_ptbxl_tells_labels_by_either_rate(source: Path) -> None:
    for name in ("records100/00001_lr.hea", "records500/00001_hr.hea"):
        said = known(source / name)
        assert said.labels["superdiagnostic"] == ("CD",) and said.labels["form"] == ("PVC",)
        assert set(said.labels) == {name for name, task in TASKS.items() if task.vocabulary == "SCP"}
        assert (said.age, said.sex, said.source) == (50, "F", "ptbxl_database.csv")
    assert known(source / "records100" / "00000_lr.hea").age == 90  # PTB-XL's 300: above 89
    assert known_labels(source / "records100" / "99999_lr.hea") == {}  # the table does not name it
    assert label_tables(source / "records100" / "00001_lr.hea") == [source / "ptbxl_database.csv"]


def test_a_file_that_is_silent_of_its_patient_is_spoken_for_by_its_data_set() -> None:
    said = Known(age=9.0, sex="F")
    assert person_of(None, None, said) == Person(9.0, "F", ("age", "sex"))
    assert person_of(8.0, None, said) == Person(8.0, "F", ("sex",))
    assert person_of(8.0, "M", said) == Person(8.0, "M")
    assert person_of(None, None, Known()) == Person()


def test_a_changed_table_is_read_again(tmp_path: Path) -> None:
    def write(codes: str) -> None:
        row = {"ecg_id": 1, "patient_id": 1, "strat_fold": 1, "scp_codes": codes, "filename_hr": "a"}
        with (tmp_path / "ptbxl_database.csv").open("w", newline="") as f:
            writer = csv.DictWriter(f, list(row))
            writer.writeheader()
            writer.writerow(row)

    write("{'NORM': 100.0}")
    assert known_labels(tmp_path / "a.hea")["superdiagnostic"] == ("NORM",)
    write("{'IMI': 100.0, 'LVH': 50.0}")
    assert known_labels(tmp_path / "a.hea")["superdiagnostic"] == ("MI", "HYP")
    write("not a dict")
    with pytest.raises(ECGError, match=r"ptbxl_database.csv around the record"):
        known(tmp_path / "a.hea")


def test_a_challenge_header_tells_what_tasks_map(tmp_path: Path) -> None:
    said = known(header(tmp_path / "A1.hea", "Age: 74", "Sex: Male", "Dx: 59118001,164889003"))
    assert said.labels == {"cpsc2018": ("AF", "RBBB"), "csn": ("RBBB", "AFIB")}
    assert (said.vocabulary, said.source, said.age, said.sex) == ("SNOMED", "A1.hea", 74, "M")
    assert said.statements == ("59118001", "164889003")


def test_silence_is_no_label(tmp_path: Path) -> None:
    assert known(header(tmp_path / "b.hea", "Age: NaN")) == known(tmp_path / "nothing.dcm")
    (tmp_path / "REFERENCE.csv").write_text("A00001,N\n")  # of another challenge
    assert known_labels(tmp_path / "A00001.hea") == {}


def test_cpsc2018_tells_labels_in_its_table(tmp_path: Path) -> None:
    (tmp_path / "REFERENCE.csv").write_text("Recording,First_label,Second_label,Third_label\nA0001,5,2,\n")
    (tmp_path / "A0001.mat").write_bytes(b"")
    assert known_labels(tmp_path / "A0001.hea")["cpsc2018"] == ("AF", "RBBB")


def test_a_table_of_ones_own_tells_labels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "labels.csv").write_text(
        "record,statements,vocabulary,patient,fold,age,sex\n"
        "a/one.csv,IMI LVH,SCP,p7,3,61,female\ntwo,59118001 164889003,,,,,\nthree,,,p7,,,\n"
    )
    said = known(tmp_path / "a" / "one.csv")
    assert said.labels["superdiagnostic"] == ("MI", "HYP")
    assert (said.age, said.sex, said.source) == (61, "F", "labels.csv")
    assert known_labels(tmp_path / "two.hea") == {"cpsc2018": ("AF", "RBBB"), "csn": ("RBBB", "AFIB")}
    assert known_labels(tmp_path / "three.hea") == {} == known_labels(tmp_path / "four.hea")
    assert label_tables(tmp_path / "two.hea") == [tmp_path / "labels.csv"]
    header(tmp_path / "three.hea", "Dx: 59118001")  # of which the table says that nothing is known
    assert known_labels(tmp_path / "three.hea") == {}
    (tmp_path / "labels.csv").write_text("record,statements\nzero,AFIBB\n")
    with pytest.raises(ECGError, match=r"labels\.csv around the record .* line 2: 'AFIBB'"):
        known(tmp_path / "zero.csv")


def test_a_label_set_of_ones_own_tells_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("record,statements,vocabulary\none,LOW,lvef\ntwo,none,lvef\n")
    (tmp_path / "tasks.json").write_text('{"lvef": {"labels": {"LOW": "below 35 %"}}}')
    said = known(tmp_path / "one.hea")
    assert (said.labels, said.vocabulary, said.source) == ({"lvef": ("LOW",)}, "lvef", "labels.csv")
    assert known_labels(tmp_path / "two.hea") == {"lvef": ()}
    tables = [tmp_path / "labels.csv", tmp_path / "tasks.json"]
    assert label_tables(tmp_path / "two.hea") == tables  # either is read anew when it changes
    (tmp_path / "tasks.json").write_text('{"lvef": {"labels": {"VERYLOW": "below 25 %"}}}')
    with pytest.raises(ECGError, match=r"labels\.csv around the record .* 'LOW' is no label of lvef"):
        known(tmp_path / "one.hea")


def test_labels_of_a_set_that_only_bears_the_same_name_are_not_held_against_an_answer(tmp_path: Path) -> None:
    told = {"lvef": {"labels": {"LOW": "below 35 %", "MID": "35 to 49 %"}}}
    (tmp_path / "labels.csv").write_text("record,statements,vocabulary\none,LOW,lvef\n")
    (tmp_path / "tasks.json").write_text(json.dumps(told))
    said = known(tmp_path / "one.hea")
    (same,), (form,) = own_tasks(told).values(), (TASKS["form"],)
    assert said.own == (same,) and said.of([form, same]) == {"lvef": ("LOW",)}
    turned = {"lvef": {"labels": dict(reversed(told["lvef"]["labels"].items()))}}
    assert said.of(list(own_tasks(turned).values())) == {"lvef": ("LOW",)}
    for labels in ({"LOW": "below 50 %", "MID": "35 to 49 %"}, {"VERYLOW": "below 20 %"}):
        assert said.of(list(own_tasks({"lvef": {"labels": labels}}).values())) == {}


def test_statements_are_told_in_words(tmp_path: Path) -> None:
    header(tmp_path / "one.hea", "Dx: 59118001,1,425856008,59118001")
    said = known(tmp_path / "one.hea")
    assert said.words == ("right bundle branch block", "SNOMED 1", "paroxysmal ventricular tachycardia")
    (tmp_path / "labels.csv").write_text(
        "record,statements,vocabulary\ntwo,ASMI LVH,SCP\nthree,LOW,lvef\nnobody,none,lvef\n"
    )
    (tmp_path / "tasks.json").write_text('{"lvef": {"labels": {"LOW": "below 35 %"}}}')
    assert known(tmp_path / "two.hea").words == (
        "anteroseptal myocardial infarction",
        "left ventricular hypertrophy",
    )
    assert known(tmp_path / "three.hea").words == ("below 35 %",)
    assert known(tmp_path / "four.hea").words == ()
    assert known(tmp_path / "nobody.hea").words == () and known(tmp_path / "nobody.hea").labels == {
        "lvef": ()
    }


def test_beside_a_published_data_set_a_tasks_json_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("record,statements\none,NORM\n")
    (tmp_path / "ConditionNames_SNOMED-CT.csv").write_text("Acronym Name,Full Name,Snomed_CT\n")
    (tmp_path / "tasks.json").write_text('{"version": "2.0.0", "tasks": []}')  # of an editor
    assert known_labels(tmp_path / "one.hea") == {}


def test_a_labels_csv_of_other_columns_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("ecg_id,diagnosis\n1,flutter\n")
    assert known_labels(tmp_path / "1.hea") == {} and label_tables(tmp_path / "1.hea") == []
