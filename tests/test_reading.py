"""Read first: nothing of the answer shows before the reader commits theirs; the file holds no patient."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from clear_hug import ui
from clear_hug.diagnosis import diagnose
from clear_hug.operating import operate
from clear_hug.ui.reading import SCHEMA, VERSION, as_json, new_reading, with_verdicts
from clear_hug.ui.workspace import MINE, READINGS

ROOT = Path(__file__).resolve().parent.parent
DIAGNOSIS = "pages/4_Diagnosis.py"


@pytest.fixture(autouse=True)
def _app(monkeypatch, checkpoint_folder, tmp_path):
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(checkpoint_folder))
    monkeypatch.setenv("CLEAR_HUG_STORE", str(tmp_path))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)


def page(name=DIAGNOSIS, **address):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    if name != "app.py":
        app.switch_page(name)
    app.session_state[MINE] = ""  # a test has no cookies
    for key, value in address.items():
        app.query_params[key] = value
    return app.run()


def text(app):
    shown = [*app.markdown, *app.caption, *app.error, *app.warning, *app.info, *app.success]
    return " ".join(str(item.value) for item in shown).replace("\\", "")


def answers(app):
    """The figures that tell an answer: all but the ECG itself."""
    return [item for item in app.get("plotly_chart") if not item.proto.id.endswith("-overview")]


def drafted(app, *labels, note=""):
    pills = next(item for item in app.button_group if item.key.startswith("mine-"))
    pills.set_value(list(labels))
    app.text_area[0].set_value(note)
    return app


def draft_of(app):
    pills = next(item for item in app.button_group if item.key.startswith("mine-"))
    return pills.value, app.text_area[0].value


def committed(app, *labels, note=""):
    drafted(app, *labels, note=note)
    button = next(b for b in app.button if b.label.startswith("Commit"))
    return button.click().run()


@pytest.mark.parametrize("name", [DIAGNOSIS, "app.py"])
def test_nothing_of_the_answer_shows_before_it_is_committed(name, checkpoint):
    open_, hidden = page(name), page(name, read_first="true")
    assert not hidden.exception and not hidden.error
    assert re.search(r"\(?\d+%", text(open_)) and not re.search(r"\d\s?%", text(hidden))
    if name == DIAGNOSIS:
        assert answers(open_) and not answers(hidden)
        assert hidden.get("plotly_chart"), "the ECG to be read stands below"
        assert not hidden.get("arrow_data_frame") and not hidden.get("expander")
    else:
        assert "Most probable" in text(open_) and "hidden until" in text(hidden)


HOLDING = ["pages/5_Explanation.py", "pages/6_What_if.py", "pages/7_Compare.py", "pages/8_Cohort.py"]


@pytest.mark.parametrize("name", HOLDING)
def test_no_other_page_tells_the_answer_before_it_is_committed(name):
    hidden = page(name, read_first="true")
    assert not hidden.exception and not hidden.error
    assert "Read first" in text(hidden) and not re.search(r"\d\s?%", text(hidden))
    for kind in ("plotly_chart", "arrow_data_frame", "tab", "expander"):
        assert not hidden.get(kind), kind
    menus = [item.label for item in hidden.selectbox if item.label not in ("Record", "Model")]
    assert not menus, "a menu of labels is sorted by their probabilities"
    assert any("Your reading" in str(link.proto.label) for link in hidden.get("page_link"))
    next(item for item in hidden.toggle if item.label == "Read first").set_value(False).run()
    assert not hidden.exception and "Read first" not in text(hidden)
    assert hidden.get("plotly_chart"), "the mode switched off shows the page"


def test_a_committed_reading_opens_the_pages_of_its_record_alone():
    app = committed(page(read_first="true"), "superdiagnostic/MI")
    for name in HOLDING[:3]:
        app.switch_page(name).run()
        assert not app.exception and app.get("plotly_chart"), name
    kinds = next(item for item in app.button_group if item.key == "compare")
    kinds.set_value("records").run()  # the other record was not read
    assert "Read first" in text(app) and not app.get("plotly_chart")
    app.switch_page(HOLDING[3]).run()
    assert "Read first" in text(app) and not app.get("plotly_chart"), "a cohort tells of other records too"


def test_a_commitment_shows_both_and_lasts(checkpoint):
    app = committed(page(read_first="true"), "superdiagnostic/MI", note="Q in III_")
    assert not app.exception and not app.error
    assert answers(app) and "Your note: Q in III_" in text(app)
    assert text(app).count("you: yes") == 1 and text(app).count("you: no") == 4
    (reading,) = next(iter(app.session_state[READINGS].values()))
    assert reading["labels"] == ["superdiagnostic/MI"] and reading["verdicts"] == []
    verdict = next(item for item in app.button_group if item.key.endswith("superdiagnostic/MI"))
    verdict.set_value("disagree")
    app.run()
    next(b for b in app.button if b.label.startswith("Keep these")).click().run()
    kept = next(iter(app.session_state[READINGS].values()))[-1]
    told = {row["label"]: row for row in kept["verdicts"]}
    assert told["superdiagnostic/MI"]["verdict"] == "disagree" and told["superdiagnostic/MI"]["reader"]
    assert kept["committed"] == reading["committed"], "the commitment is not made anew"
    app.query_params["record"] = "simulated-paced"
    assert not answers(app.run()), "another record is another reading"


def test_an_empty_commitment_is_none():
    app = committed(page(read_first="true"))
    assert not answers(app) and "say in the note" in text(app)


def test_a_draft_outlives_a_look_at_other_pages_and_records():
    draft = (["superdiagnostic/CD", "superdiagnostic/MI"], "wide beats in V1_")
    app = drafted(page(read_first="true"), *draft[0], note=draft[1]).run()
    for name in ("pages/1_ECG.py", "pages/2_Beats.py", "app.py"):
        app.switch_page(name).run()
        assert not app.exception and "wide beats" not in text(app)
    app.switch_page(DIAGNOSIS).run()
    assert draft_of(app) == draft and not answers(app)
    app.query_params["record"] = "simulated-paced"
    assert draft_of(app.run()) == ([], ""), "a draft is of its record alone"
    drafted(app, "superdiagnostic/NORM").run()
    del app.query_params["record"]
    assert draft_of(app.run()) == draft
    assert not any(app.session_state[READINGS].values()), "a draft is no reading"
    app = committed(app, *draft[0], note=draft[1])
    assert "Your note: wide beats in V1_" in text(app) and answers(app)


def test_the_file_names_digests_and_no_patient(checkpoint, simulated, tokens):
    ecg = replace(simulated(), record_id="Jane Roe 1950-01-01", age=71.0, sex="F")
    answer = diagnose(checkpoint, tokens)
    shown = ui.Page(ui.Record("x", "Jane Roe", "upload"), "clear", "tiny", dark=False)
    vars(shown).update(ecg=ecg, checkpoint=checkpoint, edits=None)
    first = new_reading(shown, ["superdiagnostic/MI"], " note ")
    verdicts = {t: {"verdict": "agree", "note": ""} for t in checkpoint.targets}
    how = {"kind": "default", "level": None}
    told = json.loads(as_json(with_verdicts(first, shown, operate(answer, checkpoint), how, verdicts)))
    assert (told["schema"], told["version"]) == (SCHEMA, VERSION)
    assert told["record"] == ecg.digest and told["model"]["digest"] == checkpoint.digest
    assert (
        told["note"] == "note" and told["operating_point"] == how and "not a medical device" in told["notice"]
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["committed"])
    np.testing.assert_allclose([r["probability"] for r in told["verdicts"]], answer.probabilities, atol=1e-4)
    assert [r["model"] for r in told["verdicts"]] == answer.called.tolist()
    assert [r["reader"] for r in told["verdicts"]] == [t.endswith("/MI") for t in checkpoint.targets]
    assert not re.search("Roe|1950|71", json.dumps({k: v for k, v in told.items() if k != "verdicts"})
                         .replace(ecg.digest, "").replace(checkpoint.digest, ""))  # fmt: skip
