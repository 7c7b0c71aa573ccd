"""labels.csv: read in whatever dialect, and refused where a label could be lost or shifted."""

from pathlib import Path

import pytest

from clear_hug.labels import LabelsError, Told, is_own, is_snomed, key_of, read_labels, read_tasks, row_of
from clear_hug.tasks import TASKS

COLUMNS = "record,statements,vocabulary,patient,fold,age,sex"


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


ROWS = {"a/one": Told(("IMI", "LVH"), "SCP", "7", None, "", ""), "two": Told((), "", "", None, "", "")}
DIALECTS = {
    "plain": ("record,statements,patient\na/one,IMI LVH,7\ntwo,,\n", "utf-8"),
    "quoted": ('"record","statements","patient"\n"a/one","IMI,LVH","7"\n"two","",""\n', "utf-8"),
    "a list in quotes": ("record,statements,patient\na/one,\"['IMI', 'LVH']\",7\ntwo,[],\n", "utf-8"),
    "line ends of an old Mac": ("record,statements,patient\ra/one,IMI LVH,7\rtwo,,\r", "utf-8"),
    "semicolons": ("Record;Statements;Patient\r\na\\one;IMI,LVH;7\r\ntwo;;\r\n", "utf-8-sig"),
    "tabs of UTF-16": ("record\tstatements\tpatient\na/one\tIMI LVH\t7.0\n\ntwo\t\t\n", "utf-16"),
    "other order, empty rows": ("patient,statements,record\n7,IMI LVH,./a/one\n,,\n,,two\n", "utf-8"),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_the_same_rows_of_each_dialect(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, *DIALECTS[name])
    assert is_own(path) and read_labels(path) == ROWS


def test_other_tables_are_none_of_ours(tmp_path: Path) -> None:
    assert not is_own(tmp_path / "labels.csv")
    for text in ("", "ecg_id,diagnosis\n1,flutter\n", "record\none\n"):
        assert not is_own(table(tmp_path, text))


REFUSED = {
    "one,AFIBB,,,,,": "line 3: 'AFIBB' is no statement in SCP",
    "one,norm,,,,,": "line 3: 'norm' is no statement in SCP",
    "one,IMI,SNOMED,,,,": "'IMI' is no SNOMED CT code",
    "one,5911800,,,,,": "'5911800' is no SNOMED CT code",
    "one,1 5,,,,,": "'1' is no SNOMED CT code",
    "one,IMI,ICD10,,,,": "vocabulary 'ICD10'",
    "one,IMI,,,11,,": "fold '11'; expected 1 to 10",
    "one,IMI,,,,,w": "sex 'w'; expected F or M",
    "one,IMI,,,,,0": "sex '0'; expected F or M",
    "one,IMI,,,,abc,": "age 'abc'; expected years",
    "zero,IMI,,,,,": "zero stands twice",
    ",IMI,,,,,": "no record",
    "one,IMI,SCP,LVH,,,": "LVH is a statement",
    "one,164889003,,59118001,,,": "59118001 is a statement",
    "one,IMI,,,,,LVH": "LVH is a statement",
    'one,IMI,,"p,,,\ntwo,NORM,,,,,': "is a quote not closed",
    'one,IMI,,"p\nq",,,\ntwo,NORM,,,,,': "is a quote not closed",
    "one,IMI,,,,,,LVH": "more cells than columns",
    "one,IMI,,p,3,,\ntwo,IMI,,p,9,,": "patient p stands in folds 3 and 9",
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_could_lose_a_label_is_refused_by_line_and_value(tmp_path: Path, row: str) -> None:
    with pytest.raises(LabelsError, match=REFUSED[row]):
        read_labels(table(tmp_path, f"{COLUMNS}\nzero,NORM,,,,,\n{row}\n"))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="two columns statements"):
        read_labels(table(tmp_path, "record,statements,statements\none,IMI,LVH\n"))


def test_a_patient_has_one_fold(tmp_path: Path) -> None:
    rows = "one,IMI,,p,3,,\ntwo,IMI,,p,,,\nthree,,,p,,,\nfour,IMI,,q,,,"
    told = read_labels(table(tmp_path, f"{COLUMNS}\n{rows}\n"))
    assert [one.fold for one in told.values()] == [3, 3, 3, None]


def test_a_row_speaks_for_its_own_file_alone(tmp_path: Path) -> None:
    told = read_labels(
        table(tmp_path, "record,statements\nstudy.ecg,IMI\na/one.CSV,LVH\nx.dat,NORM\nb.1,PVC\n")
    )
    speaks = {
        "study.ecg": "study.ecg", "study.ecg.csv": "study.ecg", "study.csv": None, "a/one.csv": "a/one.csv",
        "a/one.xml": None, "x.hea": "x.hea", "b.1.hea": "b.1", "b.hea": None,
    }  # fmt: skip
    assert {file: row_of(told, file) for file in speaks} == speaks
    told = read_labels(table(tmp_path, "record,statements\none,IMI\none.csv,LVH\n"))
    with pytest.raises(LabelsError, match="are one record"):
        row_of(told, "one.csv")


def test_snomed_codes_carry_a_check_digit() -> None:
    codes = {code for name in ("csn", "cpsc2018") for of in TASKS[name].statements.values() for code in of}
    assert len(codes) > 40 and all(map(is_snomed, codes))
    for code in codes:  # every slip of one digit, and every two that changed places
        digits = list(code)
        for i in range(len(digits)):
            wrong = "".join([*digits[:i], str((int(digits[i]) + 1) % 10), *digits[i + 1 :]])
            assert not is_snomed(wrong)
        for i in range(len(digits) - 1):
            if digits[i] != digits[i + 1]:
                assert not is_snomed("".join([*digits[:i], digits[i + 1], digits[i], *digits[i + 2 :]]))


def test_keys_are_paths_of_one_form() -> None:
    assert key_of(".\\a\\One.CSV ") == "a/One.csv" and key_of("x.mat") == "x.hea"


TASKS_OF_OWN = '{"lvef": {"labels": {"LOW": "below 35 %", "MID": "35 to 49 %"}}}'


def test_labels_of_a_label_set_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(TASKS_OF_OWN)
    rows = "one,LOW,lvef,,,,\ntwo,none,lvef,,,,\nthree,,,,,,\nfour,IMI,SCP,,,,\nfive,,lvef,,,,"
    told = read_labels(table(tmp_path, f"{COLUMNS}\n{rows}\n"))
    assert [(one.statements, one.vocabulary) for one in told.values()] == [
        (("LOW",), "lvef"), (("none",), "lvef"), ((), ""), (("IMI",), "SCP"), ((), ""),
    ]  # fmt: skip
    assert read_tasks(tmp_path)["lvef"].encode(told["two"].statements) == [0, 0]


@pytest.mark.parametrize(
    ("tasks", "row"),
    [
        ('{"af": {"labels": {"af": "atrial fibrillation"}}}', "one,af,af,,,,"),
        ('{"said": {"labels": {"F": "female", "M": "male"}}}', "one,F,said,p,,,F"),
        ('{"grade": {"labels": {"1": "mild", "2": "severe", "60": "worst"}}}', "one,2,grade,p,1,60,M"),
        ('{"grade": {"labels": {"1": "mild"}}}', "one,NORM,SCP,p,1,,"),
    ],
)
def test_a_code_may_be_what_another_column_says(tmp_path: Path, tasks: str, row: str) -> None:
    (tmp_path / "tasks.json").write_text(tasks)
    (told,) = read_labels(table(tmp_path, f"{COLUMNS}\n{row}\n")).values()
    assert (told.statements, told.vocabulary) == ((row.split(",")[1],), row.split(",")[2])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("one,LOW,,,,,", "line 2: no vocabulary; .* SCP, SNOMED, lvef"),
        ("one,LOW,LVEF,,,,", "vocabulary 'LVEF'; expected SCP or SNOMED or lvef"),
        ("one,Low,lvef,,,,", "'Low' is no label of lvef; expected LOW, MID, none"),
        ("one,none LOW,lvef,,,,", "'none' beside none; a record has labels or none"),
        ("one,MID,lvef,LOW,,,", "LOW is a statement"),
        ("one,LOW,SCP,,,,", "'LOW' is no statement in SCP"),
    ],
)
def test_statements_that_no_label_set_has_are_refused(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "tasks.json").write_text(TASKS_OF_OWN)
    with pytest.raises(LabelsError, match=said):
        read_labels(table(tmp_path, f"{COLUMNS}\n{row}\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "tasks.json: no JSON"), ("[" * 100_000, "tasks.json: "), ("", "tasks.json: no JSON"),
        ('{"lvef": {"labels": {"LOW": "a", "LOW": "b"}}}', "'LOW' stands twice"),
        ('{"lvef": {"labels": {}}}', "tasks.json: lvef: expected"),
    ],
)  # fmt: skip
def test_a_tasks_json_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(LabelsError, match=said):
        read_labels(table(tmp_path, f"{COLUMNS}\none,IMI,SCP,,,,\n"))
