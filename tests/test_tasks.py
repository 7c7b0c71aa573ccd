import csv
import os
from pathlib import Path

import pytest

from clear_hug.tasks import (
    TASKS,
    TaskError,
    alike,
    of_superclass,
    of_time,
    own_tasks,
    targets_of,
    told_of,
    vocabulary_of,
)

# The label counts of the PTB-XL benchmark (Strodthoff et al., 2021), of CPSC2018, and of MERL's CSN splits.
SIZES = {
    "superdiagnostic": 5, "subdiagnostic": 23, "diagnostic": 44, "form": 19, "rhythm": 12, "all": 71,
    "cpsc2018": 9, "csn": 38,
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_a_task_has_the_labels_of_its_data_set(name, size):
    task = TASKS[name]
    assert task.name == name
    assert len(set(task.labels)) == len(task.labels) == size
    assert set(task.descriptions) == set(task.labels) and all(task.descriptions.values())


def test_each_diagnostic_statement_has_one_superclass_and_one_subclass():
    for name in ("superdiagnostic", "subdiagnostic"):
        members = [s for label in TASKS[name].labels for s in TASKS[name].statements[label]]
        assert sorted(members) == sorted(TASKS["diagnostic"].labels), name


@pytest.mark.parametrize("name", TASKS)
def test_a_label_is_answered_by_its_statements_and_no_other(name):
    task = TASKS[name]
    assert task.encode([]) == [0] * len(task.labels)
    for row, label in enumerate(task.labels):
        for statement in task.statements.get(label, {label}):
            assert [i for i, x in enumerate(task.encode([statement, "no such"])) if x] == [row]
    assert task.encode(s for label in task.labels for s in task.statements.get(label, {label})) == [1] * len(
        task.labels
    )


def test_anterior_infarction_is_an_infarction():
    assert TASKS["superdiagnostic"].encode({"ASMI", "SR"}) == [0, 1, 0, 0, 0]
    assert TASKS["rhythm"].encode({"ASMI", "SR"})[TASKS["rhythm"].labels.index("SR")] == 1


def test_codes_name_one_label_of_a_task_each():
    for name in ("cpsc2018", "csn"):
        codes = [code for label in TASKS[name].labels for code in TASKS[name].statements[label]]
        assert len(codes) == len(set(codes)) and all(code.isdigit() for code in codes)
        assert TASKS[name].vocabulary == "SNOMED"
    assert TASKS["cpsc2018"].encode({"59118001", "164884008"}) == [0, 0, 0, 0, 1, 0, 1, 0, 0]
    # flutter is not fibrillation, though MERL's tables find the one's name in the other's
    csn = TASKS["csn"]
    assert [label for label, x in zip(csn.labels, csn.encode({"164889003"}), strict=True) if x] == ["AFIB"]


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("CLEAR_HUG_DATA"), reason="set CLEAR_HUG_DATA to the real ECGs")
def test_ptbxl_tasks_are_those_of_scp_statements():
    path = Path(os.environ["CLEAR_HUG_DATA"]) / "ptbxl" / "scp_statements.csv"
    with path.open(newline="") as f:
        rows = list(csv.DictReader(f))
    code = next(iter(rows[0]))
    for kind in ("diagnostic", "form", "rhythm"):
        assert {r[code] for r in rows if r[kind] in ("1", "1.0")} == set(TASKS[kind].labels)
    for name, column in (("superdiagnostic", "diagnostic_class"), ("subdiagnostic", "diagnostic_subclass")):
        for label, members in TASKS[name].statements.items():
            assert {r[code] for r in rows if r[column] == label} == members, label


def test_labels_of_time_are_those_of_rhythm_in_every_label_set():
    assert TASKS["rhythm"].of_time == set(TASKS["rhythm"].labels) == TASKS["all"].of_time
    assert not TASKS["superdiagnostic"].of_time and not TASKS["form"].of_time
    for task in TASKS.values():
        assert task.of_time <= set(task.labels)
    tasks = [TASKS[name] for name in ("rhythm", "form", "csn", "cpsc2018")]
    said = dict(zip(targets_of(tasks), of_time(tasks), strict=True))
    asked = ("rhythm/SR", "form/PVC", "csn/AFIB", "csn/VPB", "cpsc2018/AF", "cpsc2018/SNR")
    assert [said[target] for target in asked] == [True, False, True, False, True, False]


OWN = {
    "lvef": {"labels": {"LOW": "below 35 %", "MID": "35 to 49 %"}},
    "rr": {"labels": {"PAUSE": "a pause of 3 s"}, "of_time": ["PAUSE"]},
}


def test_label_sets_of_ones_own_come_back_as_they_were_told():
    found = own_tasks(OWN)
    assert own_tasks(told_of([*found.values(), TASKS["form"]])) == found
    low = found["lvef"]
    assert (low.labels, low.vocabulary, low.of_time) == (("LOW", "MID"), "lvef", frozenset())
    assert low.encode(["MID"]) == [0, 1] and low.encode(["none"]) == [0, 0]
    assert of_time(list(found.values())) == [False, False, True]
    assert [vocabulary_of(name) for name in ("lvef", "form", "csn")] == ["lvef", "SCP", "SNOMED"]


def test_label_sets_are_alike_in_any_order_and_not_by_other_words():
    (low,) = own_tasks({"lvef": {"labels": {"LOW": "below 35 %", "MID": "35 to 49 %"}}}).values()
    (turned,) = own_tasks({"lvef": {"labels": {"MID": "35 to 49 %", "LOW": "below 35 %"}}}).values()
    (other,) = own_tasks({"lvef": {"labels": {"MID": "35 to 49 %", "LOW": "below 50 %"}}}).values()
    assert alike(low, turned) and low != turned and not alike(low, other)
    assert alike(TASKS["form"], TASKS["form"])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "expected"), ({}, "expected"), ({"lvef": ["LOW"]}, "lvef: expected"),
        ({"lvef": {"labels": {}}}, "lvef: expected"), ({"lvef": {"labels": ["LOW"]}}, "lvef: expected"),
        ({"form": {"labels": {"A": "a"}}}, "'form' is the name of a label set of another"),
        ({"scp": {"labels": {"A": "a"}}}, "'scp' is the name of a label set of another"),
        ({"report": {"labels": {"A": "a"}}}, "'report' is the name of a label set of another"),
        ({"ludb": {"labels": {"A": "a"}}}, "'ludb' is the name of a label set of another"),
        ({"untold": {"labels": {"A": "a"}}}, "'untold' is the name of a label set of another"),
        ({"LV EF": {"labels": {"A": "a"}}}, "'LV EF' is no name"),
        ({"a/b": {"labels": {"A": "a"}}}, "'a/b' is no name"),
        ({"lvef": {"labels": {"LOW EF": "a"}}}, "'LOW EF' is no code"),
        ({"lvef": {"labels": {"A/B": "a"}}}, "'A/B' is no code"),
        ({"lvef": {"labels": {"None": "a"}}}, "'None' is no code"),
        ({"lvef": {"labels": {"LOW": " "}}}, "LOW has no words"),
        ({"lvef": {"labels": {"LOW": 35}}}, "LOW has no words"),
        ({"lvef": {"labels": {"LOW": "below\n35 %"}}}, "LOW has no words; .* in one line"),
        ({"lvef": {"labels": {"LOW": "\ud800"}}}, "LOW has no words; .* in one line"),
        ({"lvef": {"labels": {"LOW": "a", "Low": "b"}}}, "differ in capitals alone"),
        ({"lvef": {"labels": {"LOW": "a"}, "of_time": ["MID"]}}, "of_time"),
        ({"lvef": {"labels": {"LOW": "a"}, "of_time": "LOW"}}, "of_time"),
        ({"lvef": {"labels": {"LOW": "a"}, "oftime": []}}, "'oftime' is not known"),
    ],
)  # fmt: skip
def test_label_sets_that_cannot_be_told_apart_are_refused_by_value(told, said):
    with pytest.raises(TaskError, match=said):
        own_tasks(told)


def test_superclasses_reach_into_every_label_set_of_ptbxl():
    assert set(of_superclass("superdiagnostic", "MI", "STTC")) == {"MI", "STTC"}
    assert {"AMI", "NST_", "STTC"} <= set(of_superclass("subdiagnostic", "MI", "STTC"))
    assert {"INJAS", "DIG", "ISC_"} <= set(of_superclass("all", "MI", "STTC"))
    assert set(of_superclass("diagnostic", "NORM")) == {"NORM"} and not of_superclass("rhythm", "MI")


def test_a_label_of_csn_is_there_by_any_code_of_its_meaning():
    """Headers of the set hold codes that its own table lacks: a PVC must not be taught as no VPB."""
    task = TASKS["csn"]
    for code, label in (
        ("427172004", "VPB"),
        ("713427006", "RBBB"),
        ("733534002", "LBBB"),
        ("55930002", "STTC"),
    ):
        said = [name for name, there in zip(task.labels, task.encode([code]), strict=True) if there]
        assert said == [label]
    owners = [code for codes in task.statements.values() for code in codes]
    assert len(owners) == len(set(owners))
