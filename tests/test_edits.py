"""R peaks edited by hand: what stands, what it was made from, files, and that every page follows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from clear_hug import ui
from clear_hug.beats import NoBeats, tokenize_beats
from clear_hug.ecg import ECG, ECGError
from clear_hug.edits import (
    APART,
    EditedPeaks,
    add_peak,
    from_dict,
    move_peak,
    nearest_extremum,
    peaks_csv,
    peaks_json,
    read_peaks,
    remove_peak,
    start_from,
    to_dict,
)
from clear_hug.exchange import REVERSALS
from clear_hug.store import Store, new_workspace
from clear_hug.ui import records, workspace
from clear_hug.words import NOTICE

ROOT = Path(__file__).parent.parent


@pytest.fixture
def ecg(simulated) -> ECG:
    return simulated("premature")


@pytest.fixture
def peaks(ecg: ECG) -> EditedPeaks:
    return start_from(ecg, "clear", tokenize_beats(ecg).r_peaks)


def edited(peaks: EditedPeaks) -> EditedPeaks:
    """Beat 3 removed, beat 5 moved by 10 samples, one added between the last two."""
    at = int(peaks.samples[-2:].mean())
    return move_peak(remove_peak(add_peak(peaks, at), 2), 3, int(peaks.samples[4]) + 10)


def test_each_change_is_counted_and_can_be_taken_back(peaks: EditedPeaks) -> None:
    assert not peaks.changed and peaks.summary == "nothing changed"
    after = edited(peaks)
    assert after.changed and after.summary == "1 added, 1 moved, 1 removed"
    assert after.removed.tolist() == [peaks.samples[2]]
    assert after.samples.size == peaks.samples.size and np.all(np.diff(after.samples) > 0)
    assert after.samples[after.moved] == peaks.samples[4] + 10
    np.testing.assert_array_equal(after.found, peaks.samples)
    back = add_peak(remove_peak(peaks, 2), int(peaks.samples[2]))
    assert not back.changed and back.digest == peaks.digest and not back.added.any()
    there = move_peak(move_peak(peaks, 4, int(peaks.samples[4]) + 10), 4, int(peaks.samples[4]))
    assert not there.changed and there.digest == peaks.digest != after.digest
    assert not peaks.changed  # a change gives another value
    with pytest.raises(ValueError):
        after.samples[0] = 1


def test_what_cannot_be_an_r_peak_is_refused(peaks: EditedPeaks, ecg: ECG) -> None:
    near = round(APART * ecg.fs) - 1
    for sample in (-1, ecg.n_samples):
        with pytest.raises(ECGError, match="outside the record"):
            add_peak(peaks, sample)
    for by in (-near, 0, near):
        with pytest.raises(ECGError, match="within 100 ms of the R peak at"):
            add_peak(peaks, int(peaks.samples[3]) + by)
    with pytest.raises(ECGError, match="past its neighbour"):
        move_peak(peaks, 3, int(peaks.samples[4:6].mean()))
    with pytest.raises(ECGError, match="within 100 ms"):
        move_peak(peaks, 3, int(peaks.samples[4]))
    assert move_peak(peaks, 3, int(peaks.samples[3]) + 1).samples[3] == peaks.samples[3] + 1


@pytest.mark.parametrize("kind", ["normal", "premature", "tachycardia", "lead_off", "low_voltage"])
def test_the_nearest_extremum_is_the_qrs_from_wherever_one_clicks(kind: str, simulated) -> None:
    ecg = simulated(kind)
    for r_peak in tokenize_beats(ecg).r_peaks[1:-1]:
        at = round(float(r_peak) * ecg.fs)
        found = {nearest_extremum(ecg, at + round(by * ecg.fs)) for by in (-0.03, -0.01, 0, 0.01, 0.03)}
        assert np.ptp(list(found)) <= 0.004 * ecg.fs
        assert abs(found.pop() - at) <= 0.05 * ecg.fs


def test_the_nearest_extremum_knows_neither_unit_nor_polarity(ecg: ECG) -> None:
    at = round(float(tokenize_beats(ecg).r_peaks[3]) * ecg.fs) + 9
    found = nearest_extremum(ecg, at)
    assert nearest_extremum(replace(ecg, signal=-1000 * ecg.signal), at) == found
    gap = ecg.signal.copy()
    gap[:, at - 200 : at - 150] = np.nan
    gap[3] = np.nan
    assert abs(nearest_extremum(replace(ecg, signal=gap), at) - found) <= 2
    for edge in (0, ecg.n_samples - 1):
        assert 0 <= nearest_extremum(ecg, edge) < ecg.n_samples
    assert nearest_extremum(ECG(np.zeros((12, 5000)), 500.0), 1234) == 1234


def test_tokens_are_cut_where_the_hand_set_the_marks(peaks: EditedPeaks, ecg: ECG) -> None:
    after = edited(peaks)
    tokens = tokenize_beats(ecg, r_peaks=after.seconds)
    np.testing.assert_allclose(tokens.r_peaks, after.seconds)
    whole = tokenize_beats(ecg)
    np.testing.assert_array_equal(tokens.values[:, 0], whole.values[:, 0])  # far from any change
    moved = int(np.flatnonzero(after.moved)[0])
    assert not np.allclose(tokens.values[:, moved], whole.values[:, 4])
    by = round(10 / ecg.fs * 100)
    np.testing.assert_allclose(tokens.values[:, moved, 40:56], whole.values[:, 4, 40 + by : 56 + by])
    with pytest.raises(NoBeats, match="no R peak is left"):
        tokenize_beats(ecg, r_peaks=np.empty(0))


# Files


@pytest.mark.parametrize("write", [peaks_json, peaks_csv])
def test_a_file_gives_back_what_was_exported(write, peaks: EditedPeaks, ecg: ECG) -> None:
    for before in (peaks, edited(peaks), remove_peak(peaks, 0)):
        content = write(before)
        after = read_peaks(content, ecg)
        for name in ("samples", "origin", "found"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert (after.fs, after.detector, after.summary) == (500.0, "clear", before.summary)
        text = content.decode()
        assert NOTICE in text and ecg.digest in text and before.summary in text
        assert ecg.record_id not in text  # a file's name may be a patient's


def test_the_file_has_seconds_and_sample_numbers(peaks: EditedPeaks, ecg: ECG) -> None:
    kept = json.loads(peaks_json(edited(peaks)))
    assert kept["fs_hz"] == 500 and kept["n_samples"] == ecg.n_samples
    for row in [*kept["r_peaks"], *kept["removed"]]:
        assert row["seconds"] == pytest.approx(row["sample"] / ecg.fs, abs=1e-6)
    assert [row["change"] for row in kept["r_peaks"] if row["change"]] == ["moved", "added"]


def test_a_file_of_another_record_or_none_is_refused(peaks: EditedPeaks, ecg: ECG, simulated) -> None:
    with pytest.raises(ECGError, match="another record"):
        read_peaks(peaks_json(peaks), simulated("normal"))
    for content in (b"", b"{}", b"[1, 2]", b"a,b\n1,2\n", b"\xff\xfe", b"{", b"# schema: x\n"):
        with pytest.raises(ECGError, match="no R peaks that were exported here"):
            read_peaks(content, ecg)
    kept = to_dict(edited(peaks))
    for change, said in (
        ({"schema_version": 99}, "version 99"),
        ({"r_peaks": [{"seconds": 1}]}, "not whole"),
        ({"r_peaks": kept["r_peaks"][::-1]}, "do not rise"),
        ({"r_peaks": [{"sample": ecg.n_samples}]}, "do not rise"),
        ({"detector": "none"}, "detector 'none'"),
        ({"removed": None}, "not whole"),
    ):
        with pytest.raises(ECGError, match=said):
            from_dict({**kept, **change}, ecg)


# The pages


@pytest.fixture(autouse=True)
def _app(monkeypatch: pytest.MonkeyPatch, checkpoint_folder: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(checkpoint_folder))
    monkeypatch.setenv("CLEAR_HUG_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)


def beats_page(uploads: dict[str, ECG] | None = None, kept: str = "", **address: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page("pages/2_Beats.py")
    for key, value in {"edit": "true", **address}.items():
        app.query_params[key] = value
    if uploads:
        app.session_state[ui.UPLOADS] = uploads
        app.session_state[ui.UPLOAD_SHOWN["record"]] = next(iter(uploads))
    app.session_state[workspace.MINE] = kept
    return app.run()


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception and not app.error


def said(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.warning, *app.info]
    return " ".join(str(item.value) for item in shown).replace("\\", "")


def test_a_beat_is_removed_moved_added_and_every_page_follows() -> None:
    app = beats_page(record="simulated-premature", beat="3")
    assert "12 beats" in said(app) and "edited by hand" not in said(app)
    app.switch_page("pages/4_Diagnosis.py").run()
    before = app.dataframe[0].value["Probability"].tolist()
    app.switch_page("pages/2_Beats.py").run()
    press(app, "Remove")
    assert "11 beats" in said(app) and "edited by hand (1 removed)" in said(app)
    app.query_params["beat"] = "5"
    app.run()
    press(app, "+10 ms")
    assert "edited by hand (1 moved, 1 removed)" in said(app) and app.query_params["beat"] == "5"
    app.number_input(key="peak_at").set_value(1.0).run()
    press(app, "Add here")
    assert "edited by hand (1 added, 1 moved, 1 removed)" in said(app)
    for name in ("1_ECG", "3_Reconstruction", "4_Diagnosis", "5_Explanation", "6_What_if"):
        app.switch_page(f"pages/{name}.py").run()
        assert not app.exception and not app.error
        assert "R peaks edited by hand (1 added, 1 moved, 1 removed)" in said(app)
        if name == "4_Diagnosis":
            assert app.dataframe[0].value["Probability"].tolist() != before
    app.switch_page("pages/2_Beats.py").run()
    press(app, "Undo")
    assert "edited by hand (1 moved, 1 removed)" in said(app)
    press(app, "Redo")
    assert "edited by hand (1 added, 1 moved, 1 removed)" in said(app)
    press(app, "Back to the detector's")
    assert "12 beats" in said(app) and "edited by hand" not in said(app)
    press(app, "Undo")
    assert "edited by hand (1 added, 1 moved, 1 removed)" in said(app)


def test_edits_belong_to_a_record_and_a_detector() -> None:
    app = beats_page(record="simulated-premature", beat="3")
    press(app, "Remove")
    app.query_params["record"] = "simulated-normal"
    app.run()
    assert "edited by hand" not in said(app)
    app.query_params["record"], app.query_params["detector"] = "simulated-premature", "neurokit"
    app.run()
    assert "edited by hand" not in said(app)
    app.query_params["detector"] = "clear"
    app.run()
    assert "edited by hand (1 removed)" in said(app)
    assert "edited by hand" not in said(beats_page(record="simulated-premature"))  # another session


def test_what_is_refused_is_said_and_changes_nothing() -> None:
    app = beats_page(record="simulated-premature")
    app.number_input(key="peak_at").set_value(2.9).run()
    press(app, "Add here")
    assert "within 100 ms of the R peak" in said(app) and "edited by hand" not in said(app)


def test_a_record_whose_beats_are_not_found_gets_them_by_hand(simulated) -> None:
    rng = np.random.default_rng(0)
    noise = ECG(rng.normal(size=(12, 5000)) * 0.1, 500.0, record_id="noise", source="test")
    app = beats_page(uploads={"upload-noise": noise}, edit="false")
    assert len(app.get("plotly_chart")) == 1 and any("noise" in warning.value for warning in app.warning)
    for at in (2.0, 3.0):
        app.number_input(key="peak_at").set_value(at).run()
        press(app, "Add here")
    assert "2 beats" in said(app) and "edited by hand (2 added)" in said(app)
    app.switch_page("pages/4_Diagnosis.py").run()
    assert not app.exception and not app.error and len(app.get("plotly_chart")) >= 1


def test_a_file_is_imported(peaks: EditedPeaks) -> None:
    app = beats_page(record="simulated-premature")
    content = peaks_csv(remove_peak(peaks, 2))
    app.file_uploader[0].set_value(("r_peaks.csv", content, "text/csv")).run()
    assert not app.exception and not app.error
    assert "edited by hand (1 removed)" in said(app) and "r_peaks.csv: 11 R peaks, 1 removed" in said(app)
    app.file_uploader[0].set_value(("none.csv", b"a,b", "text/csv")).run()
    assert "none.csv: this file holds no R peaks" in said(app) and "edited by hand (1 removed)" in said(app)


def test_kept_work_is_there_in_another_session_of_the_same_browser_alone() -> None:
    mine = new_workspace()
    app = beats_page(record="simulated-premature", beat="3", kept=mine)
    press(app, "Remove")
    again = beats_page(record="simulated-premature", kept=mine)
    assert "edited by hand (1 removed)" in said(again) and "11 beats" in said(again)
    assert "edited by hand" not in said(beats_page(record="simulated-premature", kept=new_workspace()))
    assert mine not in str(again.query_params)
    press(again, "Back to the detector's")
    assert "edited by hand" not in said(beats_page(record="simulated-premature", kept=mine))


def test_the_switch_keeps_what_there_is_and_deletes_it_again() -> None:
    app = beats_page(record="simulated-premature", beat="3")
    press(app, "Remove")
    assert "edited by hand (1 removed), in this tab until it is reloaded" in said(app)
    app.toggle(key=workspace.SWITCH).set_value(True).run()
    assert "edited by hand (1 removed)" in said(app) and "until it is reloaded" not in said(app)
    mine = app.session_state[workspace.MINE]
    record = next(iter(app.session_state["r_peak_edits"]))
    assert Store().r_peaks(record, mine)["clear"]["edited_by_hand"] == "1 removed"
    app.toggle(key=workspace.SWITCH).set_value(False).run()
    assert Store().r_peaks(record, mine) == {} and app.session_state[workspace.MINE] == ""
    assert "edited by hand (1 removed)" in said(app)  # in the session it stays
    app.query_params["edit"] = "false"
    assert app.run().toggle(key=workspace.SWITCH) and not app.exception  # without the tools it is there too


def test_a_tab_notices_that_another_one_deleted_what_was_kept() -> None:
    app = beats_page(record="simulated-premature", beat="3", kept=new_workspace())
    press(app, "Remove")
    mine = app.session_state[workspace.MINE]
    record = next(iter(app.session_state["r_peak_edits"]))
    assert Store().r_peaks(record, mine)
    Store().forget(mine)  # by the other tab
    press(app, "Undo")
    press(app, "Redo")
    assert not app.exception and "deleted in another tab" in said(app)
    assert app.session_state[workspace.MINE] == "" and not app.toggle(key=workspace.SWITCH).value
    assert Store().r_peaks(record, mine) == {} and "edited by hand (1 removed)" in said(app)
    app.toggle(key=workspace.SWITCH).set_value(True).run()  # it may be kept again, elsewhere
    assert app.session_state[workspace.MINE] not in ("", mine) and "another tab" not in said(app)
    assert Store().r_peaks(record, app.session_state[workspace.MINE])


def test_a_workspace_that_was_forgotten_elsewhere_is_written_into_no_cookie() -> None:
    app = beats_page(record="simulated-premature", kept=new_workspace())
    mine = app.session_state[workspace.MINE]
    assert any(mine in script for script in scripts(app))
    Store().forget(mine)  # by the other tab, which may keep another one by now
    app.run()
    assert "deleted in another tab" in said(app) and not app.toggle(key=workspace.SWITCH).value
    assert not scripts(app), "neither written over nor deleted: the cookie is the other tab's"
    app.toggle(key=workspace.SWITCH).set_value(True).run()
    second = app.session_state[workspace.MINE]
    assert second != mine and any(second in script for script in scripts(app))
    app.toggle(key=workspace.SWITCH).set_value(False).run()
    assert [f"includes('{workspace.COOKIE}={second}')" in script for script in scripts(app)] == [True]


def test_a_cookie_that_outlived_its_workspace_keeps_nothing(monkeypatch) -> None:
    mine, other = new_workspace(), new_workspace()
    Store().forget(mine)
    monkeypatch.setattr(workspace, "st", SimpleNamespace(session_state={}, context=Cookies(mine)))
    assert workspace.workspace() == ""
    monkeypatch.setattr(workspace, "st", SimpleNamespace(session_state={}, context=Cookies(other)))
    assert workspace.workspace() == other


class Cookies:
    def __init__(self, mine: str) -> None:
        self.cookies = {workspace.COOKIE: mine}


def scripts(app: AppTest) -> list[str]:
    """What the page runs in the browser about its cookie."""
    bodies = [str(item.proto.body) for item in app.get("html")]
    return [body for body in bodies if "document.cookie" in body]


def test_edits_put_aside_by_leads_set_right_are_said(monkeypatch) -> None:
    app = beats_page(record="simulated-premature", beat="3")
    press(app, "Remove")
    assert "put aside" not in said(app)
    record = next(iter(app.session_state["r_peak_edits"]))
    app.session_state["leads_set_right"] = {record: next(iter(REVERSALS))}
    app.run()
    assert not app.exception and "(1 removed) are put aside" in said(app)
    app.session_state["leads_set_right"] = {}
    app.run()
    assert "put aside" not in said(app) and "edited by hand (1 removed)" in said(app)


def test_a_store_that_cannot_be_used_is_a_sentence_and_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "work.sqlite").write_bytes(b"no database" * 500)
    app = beats_page(record="simulated-premature", beat="3", kept=new_workspace())
    assert not app.exception and "stays in this session" in said(app)
    press(app, "Remove")
    assert "edited by hand (1 removed)" in said(app) and "stays in this session" in said(app)


def test_a_link_to_a_beat_that_is_not_there_opens() -> None:
    for beat in ("0", "99", "²"):
        app = beats_page(record="simulated-premature", beat=beat)
        assert not app.exception and not app.error and "Click the mark of a beat" in said(app)
    assert re.search(r"Beat 3\*\* at 2\.11", said(beats_page(record="simulated-premature", beat="3")))


@pytest.mark.parametrize("sample", ["1e400", str(10**30), "null"])
def test_numbers_that_are_no_samples_are_refused(peaks: EditedPeaks, ecg, sample: str) -> None:
    kept = peaks_json(peaks).decode()
    first = re.search(r'"sample": (\d+)', kept)
    assert first
    with pytest.raises(ECGError, match="not whole"):
        read_peaks(kept.replace(first[0], f'"sample": {sample}', 1).encode(), ecg)


def test_what_could_not_be_read_of_the_store_is_not_written_over(monkeypatch, tmp_path, ecg, peaks) -> None:
    monkeypatch.setenv("CLEAR_HUG_STORE", str(tmp_path))
    mine = new_workspace()
    page = beats_page(record="simulated-normal", kept=mine)
    store, record = Store(tmp_path), records.built_in("simulated-normal").digest
    kept = {"schema_version": 99}  # by a later version of the app
    store.save_r_peaks(record, mine, "clear", kept)
    page = beats_page(record="simulated-normal", kept=mine)
    assert any("cannot be used" in warning.value for warning in page.warning)
    page.number_input(key="peak_at").set_value(0.3).run()
    press(page, "Add here")
    assert store.r_peaks(record, mine)["clear"] == kept
    assert any("not written over" in warning.value for warning in page.warning)
