"""The app and each of its pages, run without a browser; figures themselves are tested as data elsewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

import clear_hug.plots
from benchmarks.load import FOLLOWS
from clear_hug import ui
from clear_hug.beats import tokenize_beats
from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG
from clear_hug.hug import HUG
from clear_hug.leads import LEADS
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.qrs import DETECTORS
from clear_hug.ui import records, results
from clear_hug.words import NOTICE
from tests.simulated_ptbxl import write_folder, write_wfdb
from tests.written_runs import log_row, write_run, write_runs

ROOT = Path(__file__).parent.parent
PAGES = ["app.py", *sorted(f"pages/{path.name}" for path in (ROOT / "pages").glob("*.py"))]
MODEL_PAGES = [
    page for page in PAGES if re.search("Reconstruction|Diagnosis|Explanation|What_if|Compare", page)
]
TRAINING = "pages/9_Training.py"  # of no record
COHORT = "pages/8_Cohort.py"  # of many
RECORDS = ["real", "simulated-premature", "simulated-lead_off", "simulated-long", "simulated-low_voltage"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def _app(monkeypatch: pytest.MonkeyPatch, checkpoint_folder: Path, runs: Path) -> None:
    monkeypatch.setenv("CLEAR_HUG_RUNS", str(runs))
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(checkpoint_folder))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)
    monkeypatch.setattr("clear_hug.ui.results.PATIENCE", 60)  # no browser asks again here


def page(name: str, uploads: dict[str, ECG] | None = None, **address: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    if name != "app.py":
        app.switch_page(name)
    for key, value in address.items():
        app.query_params[key] = value
    if uploads:
        app.session_state[ui.UPLOADS] = uploads
        app.session_state[ui.UPLOAD_SHOWN["record"]] = next(iter(uploads))
    return app.run()


def words(app: AppTest) -> str:
    """All that the page says, figures apart."""
    shown = [*app.markdown, *app.caption, *app.error, *app.warning, *app.info]
    html = [re.sub("<style>.*?</style>", "", item.proto.body, flags=re.S) for item in app.get("html")]
    return " ".join([str(item.value) for item in shown] + html)


def plain(app: AppTest) -> str:
    return words(app).replace("\\", "")


def n_figures(app: AppTest) -> int:
    return len(app.get("plotly_chart"))


@pytest.mark.parametrize(
    "record", [pytest.param(r, marks=() if r in RECORDS[:3] else pytest.mark.long) for r in RECORDS]
)
@pytest.mark.parametrize("name", PAGES)
def test_page_opens_by_link(name: str, record: str) -> None:
    app = page(name, record=record)
    assert not app.exception and not app.error
    assert n_figures(app) >= 1
    assert NOTICE in words(app)
    assert ("simulated" in plain(app)) == record.startswith("simulated")


@pytest.mark.parametrize("name", PAGES)
def test_page_shows_the_real_ecg_to_who_clicks_nothing(name: str) -> None:
    app = page(name)
    assert not app.exception and not app.error and not app.warning
    assert ui.list_records()["real"].title in words(app)
    assert n_figures(app) >= 1


@pytest.mark.parametrize("name", PAGES)
def test_first_call_of_a_page_is_open_page(name: str) -> None:
    body = ast.parse((ROOT / name).read_text()).body[1:]  # after what it says of itself
    first = next(line for line in body if not isinstance(line, ast.Import | ast.ImportFrom))
    assert ast.unparse(first).startswith("page = open_page(")


@pytest.mark.parametrize("name", PAGES)
def test_record_without_beats(name: str) -> None:
    flat = ECG(np.zeros((12, 5000)), 500.0, record_id="flat", source="test")
    app = page(name, uploads={"upload-flat": flat})
    assert not app.exception and not app.error
    assert "flat" in words(app)
    if name in (TRAINING, COHORT):
        assert n_figures(app) == (2 if name == TRAINING else 1) and not app.warning
        return
    if name in ("app.py", "pages/1_ECG.py", "pages/2_Beats.py"):
        assert n_figures(app) == 1  # the trace is there to look at
    else:
        assert n_figures(app) == 0
    if name != "pages/1_ECG.py":
        assert any("No QRS complex" in item.value.replace("\\", "") for item in app.warning)


@pytest.mark.parametrize("name", PAGES)
def test_arbitrary_units_are_said(name: str, simulated) -> None:
    ecg = replace(simulated(), units_known=False, record_id="unitless", simulated=False, source="test")
    app = page(name, uploads={"upload-unitless": ecg})
    assert not app.exception and not app.error
    if name == "app.py" or re.search("ECG|Diagnosis", name):
        assert re.search("voltage.{0,6} (is )?unknown|voltage can be read", plain(app).lower())


@pytest.mark.parametrize("name", PAGES)
def test_without_a_checkpoint(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEAR_HUG_CHECKPOINT")
    monkeypatch.setattr("clear_hug.checkpoint.CHECKPOINTS", tmp_path)
    app = page(name)
    assert not app.exception
    needs_model = name in (*MODEL_PAGES, COHORT, "app.py")
    assert [bool("checkpoint" in error.value) for error in app.error] == [True] * needs_model
    assert (n_figures(app) >= 1) == (name not in (*MODEL_PAGES, COHORT))


def test_torn_checkpoint_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torn").mkdir()
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(tmp_path / "torn"))
    app = page("pages/4_Diagnosis.py")
    assert not app.exception
    assert ["cannot be read" in error.value for error in app.error] == [True]


@pytest.mark.parametrize("name", PAGES)
def test_a_link_that_names_what_is_not_there(name: str) -> None:
    app = page(name, record="../../etc/passwd", detector="none", model="none", target="superdiagnostic/none",
               layout="", rhythm="V99", speed="33", gain="abc", start="-5", hide="everything", lead="V9",
               beat="x", seed="-1", level="none", strip="")  # fmt: skip
    assert not app.exception and not app.error
    assert any("record" in warning.value for warning in app.warning)
    assert n_figures(app) >= 1


@pytest.mark.parametrize(
    ("name", "key", "asked", "other"),
    [
        ("pages/6_What_if.py", "off_beats", "99", ["2"]),
        ("pages/1_ECG.py", "layout", "7x7", "12x1"),
        ("pages/1_ECG.py", "order", "odd", "Cabrera"),
    ],
)
def test_what_a_link_asks_for_in_vain_is_said_until_something_is_chosen(
    name: str, key: str, asked: str, other: object
) -> None:
    app = page(name, record="simulated-normal", **{key: asked})
    for _ in range(2):
        assert not app.exception and not app.error
        assert [repr(asked) in said.value.replace("\\", "") for said in app.warning] == [True]
        app.run()
    app.session_state[key] = other
    assert not app.run().warning and not app.exception


@pytest.mark.parametrize("name", ["pages/1_ECG.py", "pages/4_Diagnosis.py"])
def test_what_one_page_asks_of_a_link_is_not_held_against_another(name: str) -> None:
    app = page(name, view="Trust", level="lead")  # as links from the Explanation page have it
    assert not app.warning and not app.exception


@pytest.mark.parametrize(
    ("name", "address"),
    [("pages/1_ECG.py", {"view": "none"}), ("pages/5_Explanation.py", {"view": "none"}),
     ("pages/5_Explanation.py", {"view": "Groups", "level": "none"}),
     ("pages/4_Diagnosis.py", {"point": "sensitivity", "level": "none"})],
)  # fmt: skip
def test_what_neither_of_two_pages_knows_of_a_shared_key_is_said(
    name: str, address: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLEAR_HUG_CHECKPOINT")  # the one that ships has operating points
    app = page(name, record="simulated-normal", **address)
    for _ in range(2):
        assert not app.exception and not app.error and n_figures(app)
        assert ["'none'" in said.value.replace("\\", "") for said in app.warning].count(True) == 1
        app.run()


@pytest.mark.parametrize("record", ["real", "simulated-premature"])
def test_home_calls_at_the_operating_point_of_the_diagnosis_page(
    monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    monkeypatch.delenv("CLEAR_HUG_CHECKPOINT")

    def called(**address: str) -> tuple[int, str]:
        home = page("app.py", record=record, **address)
        said = plain(page("pages/4_Diagnosis.py", record=record, **address)).split("#### Called")[1]
        diagnosis = re.findall(r"(?:: |; )([^:;]+?) \(\d+%", said.split("**Planted")[0].split("*")[0])
        glance = [part for part in plain(home).split("**") if "%" in part]
        first = re.findall(r"([^·]+) \d+% \(called\)", glance[0])
        others = re.findall(r"([^·]+) \d+%", glance[1]) if len(glance) > 1 else []
        names = [name.strip() for name in [*first, *others]]
        assert set(names) == {name.strip() for name in diagnosis} and len(set(names)) == len(names)
        return len(first) + len(others), plain(home)

    usual, said = called()
    assert "as chosen on the Diagnosis page" not in said
    for way in ({"level": "98%"}, {"level": "none"}):
        more, said = called(point="sensitivity", **way)
        level = "98%" if way["level"] == "98%" else "95%"
        assert more > usual and f"Called at a sensitivity of at least {level}" in said


RECONSTRUCTION = "pages/3_Reconstruction.py"
WAYS: list[dict[str, str]] = [
    {},
    {"hidden": "V2,:3,II:1-2.5"},
    {"hide": "a share at random", "share": "40", "seed": "7"},
    {"study": "Lead synthesis"},
    {"study": "Lead synthesis", "known": "limb leads"},
    {"study": "Lead synthesis", "known": "own choice", "given": "II,V5"},
    {"study": "Each token in turn"},
]


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("record", ["real", "simulated-lead_off", "simulated-long"])
def test_every_way_to_hide(way: dict[str, str], record: str) -> None:
    app = page(RECONSTRUCTION, record=record, **way)
    assert not app.exception and not app.error
    assert n_figures(app) == 2 and "How to read this" in words(app)
    assert ("R²" in words(app)) and bool(app.dataframe)


def test_a_record_of_one_lead_opens_with_one_beat_hidden(simulated) -> None:
    signal = np.full_like(simulated().signal, np.nan)
    signal[1] = simulated().signal[1]
    one = ECG(signal, simulated().fs, record_id="one", source="test")
    app = page(RECONSTRUCTION, uploads={"upload-one": one})
    assert not app.exception and not app.error and n_figures(app) == 2 and "1 of 12" in plain(app)
    app = page(RECONSTRUCTION, uploads={"upload-one": one}, study="Each token in turn")
    assert not app.exception and not app.error and n_figures(app) == 2
    app = page(RECONSTRUCTION, uploads={"upload-one": one}, study="Lead synthesis", known="I alone")
    assert not app.exception and "choose another set" in app.error[0].value


def test_a_record_of_one_beat_is_rebuilt_and_has_no_novelty(simulated) -> None:
    ecg = simulated()
    short = replace(ecg, signal=ecg.signal[:, 150:550], record_id="short", simulated=False, source="test")
    app = page(RECONSTRUCTION, uploads={"upload-short": short})
    assert not app.exception and not app.error and "1 of 12" in plain(app)
    app = page(RECONSTRUCTION, uploads={"upload-short": short}, study="Each token in turn")
    assert not app.exception and not app.error
    assert "takes 4 of them" in app.info[0].value and app.dataframe


def test_a_hidden_set_of_another_record_is_brought_into_range() -> None:
    app = page(RECONSTRUCTION, record="simulated-lead_off", hidden="V3,:99,II:2")
    assert not app.exception and not app.error and n_figures(app) == 2
    assert "not hidden: V3, :99." in plain(app) and "1 of " in plain(app)
    app = page(RECONSTRUCTION, record="simulated-normal", hidden="V9:1;DROP,:0", token="V9:1")
    assert not app.exception and not app.error and n_figures(app) == 2
    assert "Hidden instead: V3" in plain(app)


def test_with_everything_hidden_the_map_stays_to_be_clicked() -> None:
    app = page(RECONSTRUCTION, hidden=",".join(LEADS))
    assert not app.exception and n_figures(app) == 1
    assert "every beat is hidden" in app.error[0].value
    app = page(RECONSTRUCTION, hidden="none")
    assert not app.exception and not app.error and n_figures(app) == 1
    assert "Nothing is hidden" in app.info[0].value


@pytest.mark.parametrize("name", ["app.py", *MODEL_PAGES])
def test_a_note_of_the_model_is_said_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    note = "The cuda ran out of memory; this was computed on the CPU."
    st.cache_resource.clear()

    def noted(answer):
        def ask(*args, **kwargs):
            said = answer(*args, **kwargs)
            if isinstance(said, tuple):  # the model's, and the baseline's
                return replace(said[0], note=note), *said[1:]
            return replace(said, note=note)

        return ask

    for answer in ("diagnose", "look", "reconstruct_both"):
        monkeypatch.setattr(results, answer, noted(getattr(results, answer)))
    app = page(name)
    st.cache_resource.clear()
    assert not app.exception and not app.error
    assert [note in warning.value.replace("\\", "") for warning in app.warning] == [True]


def test_results_from_the_cache_are_shared_and_cannot_be_changed() -> None:
    record = records.list_records()["simulated-normal"]
    name = Path(os.environ["CLEAR_HUG_CHECKPOINT"]).name
    pages = [results.Page(record, next(iter(DETECTORS)), name, dark) for dark in (False, True)]
    hidden = np.zeros_like(pages[0].tokens.valid)
    hidden[1, 1] = True
    for ask in (
        lambda page: page.diagnosis,
        lambda page: page.explain("superdiagnostic/NORM"),
        lambda page: page.explain("superdiagnostic/NORM", "ablation", "lead"),
        lambda page: page.without(hidden),
        lambda page: page.reconstruct(hidden)[0],
    ):
        first, second = map(ask, pages)
        assert first is second or first.method == "hug"  # which is but a sum over what is shared
        arrays = [value for value in vars(second).values() if isinstance(value, np.ndarray)]
        assert arrays and not any(array.flags.writeable for array in arrays)
    assert pages[0]._look is pages[1]._look


def test_a_changed_data_file_is_read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, simulated) -> None:
    import wfdb

    def write(signal: np.ndarray) -> None:
        wfdb.wrsamp("r", fs=500, units=["mV"] * 12, sig_name=list(LEADS), write_dir=str(tmp_path),
                    p_signal=signal.T.astype(np.float64), fmt=["16"] * 12, adc_gain=[1000.0] * 12,
                    baseline=[0] * 12)  # fmt: skip

    write(simulated().signal)
    header = (tmp_path / "r.hea").stat()
    record = ui.Record("folder-x", "r", "folder", str(tmp_path / "r.hea"))
    first = ui.read_record(record)
    write(simulated("tachycardia").signal)
    os.utime(tmp_path / "r.hea", ns=(header.st_atime_ns, header.st_mtime_ns))
    assert ui.read_record(record).digest != first.digest


def test_next_and_previous_walk_in_a_circle() -> None:
    app = page("pages/1_ECG.py")
    buttons = {button.label: button for button in app.button}
    buttons["Previous"].click().run()
    assert app.query_params["record"] == list(records.BUILT_IN)[-1]
    {button.label: button for button in app.button}["Next"].click().run()
    assert app.query_params["record"] == "real"
    assert not app.exception


@pytest.mark.parametrize("record", ["simulated-normal", "simulated-long"])
def test_all_groups_of_leads_together_say_what_the_page_says(record) -> None:
    """Those of a longer record are read one after another, with a bar."""
    app = page("pages/4_Diagnosis.py", record=record)
    read = next(t.value for t in app.table if "Probability" in t.value)
    checkpoint = load_checkpoint(os.environ["CLEAR_HUG_CHECKPOINT"])
    tokens = tokenize_beats(records.built_in(record))
    target = app.selectbox(key="menu_target").value
    said = diagnose(checkpoint, tokens).probabilities[checkpoint.row(target)]
    assert len(read) == 7 and read["Probability"]["all"] == f"{said:.0%}"
    assert not app.exception and not app.get("progress")


def test_record_of_another_length_keeps_the_page(simulated) -> None:
    app = page("pages/2_Beats.py", record="simulated-long", start="20")
    assert app.slider[0].value == 20
    app.selectbox(key="menu_record").select("simulated-normal").run()
    assert not app.exception and not app.error
    app.selectbox(key="menu_record").select("simulated-long").run()
    assert not app.exception and not app.error


def test_two_sessions_see_their_own(simulated) -> None:
    mine = replace(simulated("tachycardia"), record_id="mine", simulated=False, source="test")
    one, two = page("app.py", uploads={"upload-mine": mine}), page("app.py", record="simulated-paced")
    for _ in range(2):
        one.run()
        two.run()
        assert "your file: mine" in words(one) and "pacing" not in words(one)
        assert "pacing" in words(two) and "mine" not in words(two)
        assert "mine" not in str(two.selectbox(key="menu_record").options)
    other = page("app.py", record="upload-mine")  # a link to an upload opens nothing
    assert "your file" not in words(other) and other.warning


def test_an_upload_is_in_no_link(simulated) -> None:
    mine = replace(simulated(), record_id="Doe_Jane", simulated=False, source="test")
    app = page("app.py", uploads={"upload-mine": mine}, record="real")
    app.selectbox(key="menu_record").select("upload-mine").run()
    assert "Doe" in words(app)
    assert "record" not in app.query_params
    links = str([link.proto for link in app.get("page_link")])
    assert "Doe" not in links and "upload" not in links


def test_a_file_that_a_reload_lost_is_spoken_of(simulated) -> None:
    mine = replace(simulated(), record_id="mine", simulated=False, source="test")
    app = page("app.py", uploads={"upload-mine": mine}, record="real")
    assert "own_file" not in app.query_params
    app.selectbox(key="menu_record").select("upload-mine").run()
    assert "own_file" in app.query_params and "is not kept" not in words(app)
    again = page("app.py", own_file="yes")  # what a reload or a copied address opens
    assert "is not kept" in words(again)
    app.selectbox(key="menu_record").select("real").run()
    assert "own_file" not in app.query_params and "is not kept" not in words(app)


@pytest.mark.parametrize("name", PAGES)
def test_a_checkpoint_that_was_pre_trained_alone_is_no_crash(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    clear = CLEAR(PRESETS["tiny"]).eval()
    save_checkpoint(tmp_path / "run" / "checkpoint", CLEARHUG(clear, HUG(clear.config.width, 0)), ())
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(tmp_path / "run"))
    app = page(name)
    assert not app.exception
    assert not any("unexpected" in error.value for error in app.error)


def test_with_all_switched_off_nothing_is_read() -> None:
    app = page("pages/6_What_if.py", off_groups="limb")
    assert "Nothing is left to be read" not in words(app)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page("pages/6_What_if.py")
    app.query_params["off_groups"] = ["limb", "augmented", "precordial"]
    assert "Nothing is left to be read" in words(app.run())


def test_uploads_are_read_kept_and_bounded() -> None:
    from pydicom.data import get_testdata_file

    content = Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()
    app = page("app.py")
    for i in range(ui.MOST_UPLOADS + 2):
        app.file_uploader[0].set_value((f"mine{i}.dcm", content, "application/dicom")).run()
        assert not app.exception and not app.error
        assert f"your file: mine{i}" in words(app)
    assert len(app.session_state[ui.UPLOADS]) == ui.MOST_UPLOADS
    app.selectbox(key="menu_record").select("real").run()
    assert "your file" not in words(app)


def test_a_file_of_ones_own_is_never_called_real(simulated) -> None:
    ecg = replace(simulated(), record_id="real: normal", simulated=False, source="test")
    assert "your file: real: normal" in words(page("app.py", uploads={"upload-x": ecg}))


def test_what_cannot_be_read_keeps_the_record() -> None:
    app = page("app.py", record="simulated-paced")
    app.file_uploader[0].upload("broken.dcm", b"no ECG at all", "application/dicom").run()
    assert not app.exception
    assert any("broken.dcm" in error.value.replace("\\", "") for error in app.error)
    assert "pacing" in words(app) and n_figures(app) == 1


def _told(app: AppTest) -> list[str]:
    return [item.value.replace("\\", "") for item in app.error]


def test_each_upload_stands_alone_whatever_came_of_the_one_before() -> None:
    """As a browser sends it: what lies in an uploader goes with the next file, unless it is a new one."""
    from pydicom.data import get_testdata_file

    content = Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()
    app = page("app.py")
    for name, given, told in (
        ("one.dcm", content, ""),
        ("photo.jpg", b"\xff\xd8\xff\xe0" * 900, "photo.jpg"),
        ("two.dcm", content, ""),
    ):
        app.file_uploader[0].upload(name, given, "application/dicom").run()
        assert not app.exception and not app.file_uploader[0].value
        assert [told in said and "still the one" in said for said in _told(app)] == [True] * bool(told)
        assert f"your file: {'one' if told else name.removesuffix('.dcm')}" in words(app)
    app.file_uploader[0].upload("photo.jpg", b"\xff\xd8\xff\xe0" * 900, "image/jpeg").run()
    app.selectbox(key="menu_record").select("real").run()
    assert not app.error  # the record below is another one now


@pytest.mark.parametrize("first", ["hea", "dat"])
def test_files_of_a_wfdb_record_may_come_one_after_the_other(first: str, tmp_path: Path, simulated) -> None:
    import wfdb

    for name in ("mine", "other"):
        wfdb.wrsamp(name, fs=500, units=["mV"] * 12, sig_name=list(LEADS), write_dir=str(tmp_path),
                    p_signal=simulated().signal.T.astype(np.float64), fmt=["16"] * 12)  # fmt: skip
    second = {"hea": "dat", "dat": "hea"}[first]
    app = page("app.py")
    for name in (f"other.{first}", f"mine.{first}", f"mine.{second}"):
        app.file_uploader[0].upload(name, (tmp_path / name).read_bytes(), "application/octet-stream").run()
        assert not app.exception and not app.file_uploader[0].value
        done = name == f"mine.{second}"
        assert [name in said and "is kept meanwhile" in said for said in _told(app)] == [True] * (not done)
    assert "your file: mine" in words(app) and not app.error


@pytest.mark.parametrize("first", ["hea", "dat"])
@pytest.mark.parametrize("wrong", ["leads", "short"])
def test_what_is_wrong_with_a_pair_is_what_is_told(first: str, wrong: str, tmp_path: Path, simulated) -> None:
    import wfdb

    names = [f"ch{i}" for i in range(12)] if wrong == "leads" else list(LEADS)
    wfdb.wrsamp("mine", fs=500, units=["mV"] * 12, sig_name=names, write_dir=str(tmp_path),
                p_signal=simulated().signal.T.astype(np.float64), fmt=["16"] * 12)  # fmt: skip
    if wrong == "short":
        data = tmp_path / "mine.dat"
        data.write_bytes(data.read_bytes()[:1000])
    app = page("app.py")
    for end in (first, {"hea": "dat", "dat": "hea"}[first]):
        name = f"mine.{end}"
        app.file_uploader[0].upload(name, (tmp_path / name).read_bytes(), "application/octet-stream").run()
    told = " ".join(_told(app))
    assert ("cut short" if wrong == "short" else "no channel named") in told
    assert "kept meanwhile" not in told
    if wrong == "leads":
        app.text_input[-1].input("I, II")
        app.button(key="FormSubmitter:upload_answers-Read anew").click().run()
        assert any("names 2 leads" in said for said in _told(app))


def test_anything_unexpected_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(clear_hug.plots, "plot_ecg", fail)
    app = page("pages/1_ECG.py")
    assert not app.exception
    assert len(app.error) == 1 and "unexpected" in app.error[0].value
    assert "secret" not in words(app)


def test_folder_of_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, simulated) -> None:
    import wfdb

    ecg = simulated()
    for name in ("Doe_Jane", "Roe_Rick"):
        wfdb.wrsamp(name, fs=500, units=["mV"] * 12, sig_name=list(LEADS), write_dir=str(tmp_path),
                    p_signal=ecg.signal.T.astype(np.float64), fmt=["16"] * 12)  # fmt: skip
    (tmp_path / "torn.hea").write_text("torn 12 500 5000\n")
    monkeypatch.setenv("CLEAR_HUG_DATA", str(tmp_path))
    app = page("app.py")
    assert "3 records" in app.selectbox(key="pick_folder").label
    keys = {record.title: key for key, record in ui.list_records().items()}
    app.selectbox(key="pick_folder").select(keys["Doe_Jane"]).run()
    assert not app.exception and not app.error
    assert "from the folder: Doe_Jane" in words(app)
    assert "Doe" not in str(app.query_params)
    app.selectbox(key="pick_folder").select(keys["torn"]).run()
    assert not app.exception and app.error  # a sentence, and the menus are still there
    app.selectbox(key="menu_record").select("real").run()
    assert not app.exception and not app.error


@pytest.mark.parametrize("name", ["app.py", "pages/4_Diagnosis.py", "pages/5_Explanation.py"])
def test_what_is_measured_of_the_rhythm_stands_before_every_answer(name: str, simulated) -> None:
    """Pacing, fibrillation that the model does not call, and a rhythm of one beat."""
    one = replace(simulated(), signal=simulated().signal[:, 150:550], simulated=False, record_id="one")
    for ecg, told in (
        (simulated("paced"), "Pacing spikes were found"),
        (simulated("irregular"), "Measured: irregular and no P wave, as in atrial fibrillation"),
        (one, "cannot be told from 1 beat"),
    ):
        app = page(name, uploads={"upload-x": ecg})
        assert not app.exception and not app.error
        assert [told in said.value.replace("\\", "") for said in app.warning] == [True]


def test_the_ecg_page_says_whether_the_model_calls_what_is_measured(
    simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLEAR_HUG_CHECKPOINT")  # the one that ships answers rhythms
    app = page("pages/1_ECG.py", uploads={"upload-x": simulated("irregular")})
    assert not app.exception and not app.error
    assert re.search("This fits atrial fibrillation.*the model (calls|does not call) it", plain(app))
    app = page("pages/1_ECG.py", uploads={"upload-x": simulated("irregular")}, read_first="true")
    assert (
        "This fits atrial fibrillation" in plain(app) and "the model" not in plain(app).split("This fits")[1]
    )


@pytest.mark.parametrize("name", ["app.py", "pages/4_Diagnosis.py"])
def test_a_normal_ecg_called_beside_what_it_excludes_is_no_silence(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = results.diagnose

    def calls(*labels: str) -> str:
        def answer(checkpoint, *rest):
            sure = np.isin(checkpoint.targets, [f"superdiagnostic/{label}" for label in labels])
            return replace(asked(checkpoint, *rest), probabilities=np.where(sure, 1.0, 0.0))

        with monkeypatch.context() as patched:
            patched.setattr(results, "diagnose", answer)
            patched.setattr(results, "results_of", lambda *question: {})
            return plain(page(name))

    assert "“normal ECG” excludes “hypertrophy”" in calls("NORM", "HYP")
    assert "excludes" not in calls("HYP", "MI") + calls("NORM")


def test_a_label_of_two_tasks_is_told_apart_where_two_ecgs_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CLEAR_HUG_CHECKPOINT")  # the one that ships has a normal ECG in two tasks
    app = page("pages/1_ECG.py", view="two side by side", with_record="simulated-premature")
    assert not app.exception and not app.error
    table = plain(app).split("Labels that changed most")[1].split("</table>")[0]
    labels = re.findall("<tr><td>(.*?)</td>", table)
    assert len(set(labels)) == len(labels) > 5
    assert all(re.search(r" \((superdiagnostic|subdiagnostic|form|rhythm)\)$", label) for label in labels)


def test_limits_are_those_of_the_age_that_the_data_set_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PTB-XL's files tell no age; its table does."""
    table = write_folder(tmp_path, n=3) / "ptbxl_database.csv"
    table.write_text(table.read_text().replace(",50,1,", ",9,1,"))  # record 1 is of a girl of nine
    monkeypatch.setenv("CLEAR_HUG_DATA", str(tmp_path))
    keys = {record.title.rpartition("/")[2]: key for key, record in ui.list_records().items()}
    app = page("pages/1_ECG.py", record=keys["00001_lr"], with_record="real")
    assert not app.exception and not app.error
    assert "Patient: 9 years, female (by the data set)" in plain(app).replace("*", "")
    assert "No limits for children" in plain(app) and "Age unknown" not in plain(app)
    assert "Patient: 9 years, female (by the data set)" in plain(
        page("app.py", record=keys["00001_lr"])
    ).replace("*", "")


def test_labels_that_the_model_does_not_answer_are_told_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, simulated
) -> None:
    write_wfdb(simulated(), tmp_path, "one")
    with (tmp_path / "one.hea").open("a") as header:
        header.write("#Dx: 59118001\n")
    monkeypatch.setenv("CLEAR_HUG_DATA", str(tmp_path))
    (key,) = (key for key, record in ui.list_records().items() if record.title == "one")
    told = plain(page("pages/4_Diagnosis.py", record=key))
    assert "one.hea says of this record:** right bundle branch block. This model answers other labels" in told
    assert "Labels the data set gives" not in told


def test_folder_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEAR_HUG_DATA", str(tmp_path / "gone"))
    app = page("app.py")
    assert not app.exception
    assert any("not a folder" in error.value for error in app.error) and n_figures(app) == 1


def test_detector_of_the_beats_page_goes_with_the_links() -> None:
    app = page("pages/2_Beats.py")
    app.selectbox(key="menu_detector").select("neurokit").run()
    assert app.query_params["detector"] == "neurokit"
    assert not app.exception and not app.error


def test_target_of_a_link_is_explained() -> None:
    app = page("pages/5_Explanation.py", target="superdiagnostic/HYP")
    assert app.selectbox(key="menu_target").value == "superdiagnostic/HYP"
    line = next(item.value.replace("−", "-") for item in app.markdown if "= logit" in item.value)
    bias, total, logit = (float(x) for x in re.findall(r"[+-]\d+\.\d{4}(?!\d)", line)[:3])
    assert bias + total == pytest.approx(logit, abs=2e-4)
    assert float(re.search(r"difference (\d\.\d{7})", line).group(1)) < 1e-5


EXPLANATION, WHAT_IF, COMPARE = "pages/5_Explanation.py", "pages/6_What_if.py", "pages/7_Compare.py"
VIEWS = {
    "On the trace": ("paint", ["lead", "beat"]),
    "Leads × beats": ("", [""]),
    "Groups": ("level", ["lead", "beat", "group", "pair", "level"]),
    "Waterfall": ("", [""]),
    "Left out": ("parts", ["beat", "lead", "group", "segment"]),
    "Samples": ("smooth", [False, True]),
    "Attention": ("layers", ["attention", "rollout"]),
    "Trust": ("map", ["leads, exact contributions", "beats, left out one by one"]),
}


@pytest.mark.parametrize(
    "record", ["simulated-premature", pytest.param("simulated-lead_off", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_an_explanation_opens(view: str, record: str) -> None:
    key, options = VIEWS[view]
    app = page(EXPLANATION, target="superdiagnostic/HYP", record=record)
    app.session_state["view"] = view
    for option in options:
        if key:
            app.session_state[key] = option
        app.run()
        assert not app.exception and not app.error
        assert n_figures(app) >= 1
        assert bool(app.warning) == (record == "simulated-lead_off")  # the lead that the model did not see


def test_first_glance_says_which_leads_carry_it_and_how_far_to_trust_that() -> None:
    app = page(EXPLANATION, target="superdiagnostic/HYP")
    assert re.search(r"(carry|carries) \d+% of what speaks (for|against) hypertrophy", plain(app))
    assert re.search("map of leads: (supported|weak)|Contradicted", words(app))


@pytest.mark.parametrize(("target", "by"), [("form/PVC", "beat"), ("superdiagnostic/NORM", "lead")])
def test_the_trace_is_painted_by_what_the_first_line_names(target: str, by: str) -> None:
    app = page(EXPLANATION, target=target, record="simulated-premature", model="small")
    named = re.search("without (beats? .*?), \\d+% of the net evidence", plain(app))
    assert bool(named) == (by == "beat")
    if named:  # the planted ones among them
        assert {"9", "11"} <= set(re.findall(r"\d+", named[1]))
    assert next(item for item in app.get("button_group") if item.key == "paint").value == by
    assert re.search(f"map of {by}s(: |\\] is being)", words(app))


def test_ways_of_leaving_out_are_told_apart() -> None:
    app = page(EXPLANATION, target="superdiagnostic/HYP")
    app.session_state["view"] = "Left out"
    app.session_state["parts"] = "group"
    sums = []
    for way in ("Shapley values", "exact Shapley values", "one by one"):
        app.session_state["how"] = way
        app.run()
        assert not app.exception and not app.error
        sums.append([item.value for item in app.markdown if "= logit" in item.value])
    assert sums[0] == sums[1] and len(sums[0]) == 2 and len(sums[2]) == 1  # ablation need not add up


def test_rather_than_explains_a_difference_of_two_labels() -> None:
    app = page(EXPLANATION, target="superdiagnostic/HYP", against="superdiagnostic/NORM")
    assert "rather than normal" in plain(app)
    assert not app.exception and not app.error
    other = page(EXPLANATION, target="superdiagnostic/HYP", against="superdiagnostic/HYP")
    assert "rather than" not in plain(other)


def key_of(app: AppTest) -> tuple[str, str, str]:
    """What results are kept under: model, record and detector."""
    ecg = records.built_in(app.query_params.get("record", ["real"])[0])
    folder = os.environ["CLEAR_HUG_CHECKPOINT"]
    return load_checkpoint(folder).identity, ecg.digest, next(iter(DETECTORS))


def test_the_word_on_a_map_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clear_hug.ui.results.PATIENCE", 0)
    app = page(EXPLANATION, target="superdiagnostic/CD", record="simulated-bradycardia")
    word = "map of (leads|beats): (supported|weak)|Contradicted"
    assert FOLLOWS in words(app) and not re.search(word, words(app))
    deadline = time.monotonic() + 60
    while results.LATER.busy and time.monotonic() < deadline:
        time.sleep(0.05)
    app.run()
    assert not app.exception and FOLLOWS not in words(app)
    assert re.search(word, words(app))


def test_a_proof_that_fails_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("clear_hug.ui.results.prove", fail)
    app = page(EXPLANATION, target="superdiagnostic/CD", record="simulated-tachycardia")
    for _ in range(2):
        assert not app.exception and len(app.error) == 1 and app.get("plotly_chart")
        assert FOLLOWS not in words(app)
        app.run()


def test_what_was_stopped_waits_until_it_is_asked_to_go_on() -> None:
    app = page(EXPLANATION, target="superdiagnostic/HYP")
    app.session_state["view"] = "Left out"
    app.run()
    done = results.results_of(*key_of(app), "superdiagnostic/HYP", "shapley", "beat", "")
    assert done.pop("result").method == "shapley"
    app.session_state[f"stopped-{'-'.join(key_of(app))}-superdiagnostic/HYP-shapley-beat-"] = True
    app.run()
    shown = n_figures(app)
    assert shown == 0 and "Stopped" in words(app)
    next(button for button in app.button if button.label == "Go on").click().run()
    assert n_figures(app) == 1 and not app.exception


def test_switching_a_lead_off_is_the_diagnosis_without_it_and_can_be_undone(checkpoint, tokens_of) -> None:
    app = page(WHAT_IF, record="simulated-premature", off_leads="V1")
    assert "12 beat tokens of 144" in plain(app) and not app.exception and not app.error
    app.session_state["off_leads"] = ["V1", "II"]
    app.run()
    assert "24 beat tokens of 144" in plain(app)
    app.pills(key="off_beats").set_value(["3"]).run()
    assert "34 beat tokens of 144" in plain(app)
    next(button for button in app.button if button.label == "Undo").click().run()
    assert "24 beat tokens of 144" in plain(app)
    next(button for button in app.button if button.label == "All back on").click().run()
    assert "Nothing is switched off" in plain(app)
    next(button for button in app.button if button.label == "Undo").click().run()
    assert "24 beat tokens of 144" in plain(app)


def test_everything_switched_off_is_no_error_and_another_record_keeps_what_it_has() -> None:
    app = page(WHAT_IF, record="simulated-premature")
    app.session_state["off_groups"] = ["limb", "augmented", "precordial"]
    app.session_state["off_beats"] = ["12"]
    app.run()
    assert "144 beat tokens of 144" in plain(app) and not app.exception and not app.error
    app.query_params["record"] = "simulated-bradycardia"  # it has no twelfth beat
    app.run()
    assert not app.exception and not app.error


@pytest.mark.parametrize("name", [EXPLANATION, WHAT_IF, COMPARE])
def test_what_the_model_could_not_see_stands_beside_every_answer(name: str) -> None:
    app = page(name, record="simulated-lead_off")
    assert ["left out: V3" in item.value.replace("\\", "") for item in app.warning] == [True]


@pytest.mark.parametrize("kind", ["labels", "methods", "records"])
def test_two_are_compared_side_by_side(kind: str) -> None:
    app = page(COMPARE, record="simulated-premature", compare=kind)
    assert not app.exception and not app.error
    assert n_figures(app) == 3
    apart = "Measured in two different recordings, which need not be of one person: QRS axis"
    assert (apart in plain(app)) == (kind == "records")


# Training


def table(app: AppTest, i: int = 0) -> dict[str, list[object]]:
    return app.dataframe[i].value.to_dict("list")


def test_the_newest_two_runs_are_compared() -> None:
    app = page(TRAINING)
    assert not app.exception and not app.error and not app.warning
    assert table(app)["Run"] == ["second", "first", "pretrain"]
    assert table(app)["State"] == ["finished"] * 3 and table(app)["Epoch"] == ["8 of 8"] * 3
    assert app.multiselect(key="runs").value == ["second", "first"] and n_figures(app) == 2
    assert app.selectbox(key="curve").value.startswith("macro AUROC of superdiagnostic")
    assert table(app, 1) == {"Setting": ["recipe.lr"], "second": ["0.0005"], "first": ["0.001"]}
    app.multiselect(key="runs").set_value(["pretrain"]).run()
    assert not app.exception and not app.error and n_figures(app) == 1
    assert app.selectbox(key="curve").value.startswith("R²")
    app.multiselect(key="runs").set_value([]).run()
    assert not app.exception and not app.error and n_figures(app) == 0 and "Choose a run" in words(app)


def test_a_link_to_runs(runs: Path) -> None:
    app = page(TRAINING, runs="pretrain", curve="learning rate")
    assert not app.exception and not app.error and n_figures(app) == 1
    assert app.multiselect(key="runs").value == ["pretrain"]
    assert app.selectbox(key="curve").value == "learning rate"
    app = page(TRAINING, runs="gone", curve="none", labels="none")
    assert not app.exception and not app.error


@pytest.mark.parametrize("made", [True, False])
def test_without_a_run_the_page_says_how_to_begin_one(
    made: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if made:
        (tmp_path / "runs" / "a_b").mkdir(parents=True)
    monkeypatch.setenv("CLEAR_HUG_RUNS", str(tmp_path / "runs"))
    app = page(TRAINING)
    assert not app.exception and not app.error and not app.warning
    assert "python -m clear_hug.train pretrain --run runs/first" in app.code[0].value
    assert ("a_b is no run" in plain(app)) == made


def test_a_run_that_goes_on_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a_b", state="running", epochs=9, done=3, began=60, written=1)
    monkeypatch.setenv("CLEAR_HUG_RUNS", str(tmp_path))
    app = page(TRAINING)
    assert not app.exception and not app.error
    assert app.session_state["training_live"] and "**a_b** is running: step 30 of 90" in plain(app)
    assert table(app)["Epoch"] == ["3 of 9"]
    with (folder / "log.jsonl").open("a") as file:
        file.write(f"{json.dumps(log_row('pretrain', 4))}\n" + '{"epoch": 5, "tr')
    app.run()
    assert table(app)["Epoch"] == ["4 of 9"] and not app.exception and not app.error
    assert "a_b: log.jsonl: 1 line passed over" in plain(app)
    about = json.loads((folder / "run.json").read_text())
    failed = about | {"state": "failed", "error": "the <b>disk</b> is full"}
    (folder / "run.json").write_text(json.dumps(failed))
    app.run()
    assert not app.exception and not app.session_state["training_live"]
    assert ["a_b failed: the <b>disk</b> is full" in e.value.replace("\\", "") for e in app.error] == [True]


def test_a_silent_run_is_not_called_running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_run(tmp_path / "one", state="running", epochs=9, done=6, began=3600, written=1800)
    monkeypatch.setenv("CLEAR_HUG_RUNS", str(tmp_path))
    app = page(TRAINING)
    assert not app.exception and not app.error and "is running" not in words(app)
    assert str(table(app)["State"][0]).startswith("silent since ")


def test_a_run_is_read_again_only_when_it_changed(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    page(TRAINING)
    monkeypatch.setattr(results, "read_run", lambda *_: pytest.fail("read again"))
    assert list(ui.training_runs()) == ["second", "first", "pretrain"]


# Words and looks


def test_say_leaves_no_markdown() -> None:
    text = "a_b *c* [d](e) $f$ `g` <b>h</b> :red[i] #j ~k~ !l |m|"
    assert re.sub(r"\\(.)", r"\1", ui.say(text)) == text
    assert not re.search(r"(?<!\\)[*_`$<>\[\]:#~|!]", ui.say(text))


def test_theme_is_that_of_the_figures() -> None:
    import tomllib

    from clear_hug.plots.theme import DARK, LIGHT

    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert config["theme"]["light"]["backgroundColor"] == LIGHT.page
    assert config["theme"]["dark"]["backgroundColor"] == DARK.page
    assert config["browser"]["gatherUsageStats"] is False
