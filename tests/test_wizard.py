"""What an upload does not say is asked on Home, and the answers read it anew."""

import ast
import io
import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from clear_hug import ui
from clear_hug.ecg import ECG
from clear_hug.io import without_calls
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

MV = simulate_ecg("normal", fs=250.0).signal.astype(np.float64)


def home() -> AppTest:
    return AppTest.from_file("../app.py", default_timeout=100).run()


def table(values: np.ndarray, heading: str = "") -> bytes:
    rows = "\n".join(",".join(f"{v:.4f}" for v in row) for row in values)
    return (f"{heading}\n{rows}" if heading else rows).encode()


def shown(app: AppTest) -> ECG:
    return app.session_state[ui.UPLOADS][app.session_state[ui.UPLOAD_SHOWN["record"]]]


def test_answers_read_the_file_anew() -> None:
    app = home()
    app.file_uploader[0].upload("x.csv", table(MV.T, ",".join(LEADS)), "text/csv").run()
    assert not app.exception and shown(app).guessed == ("fs", "unit") and not shown(app).units_known
    app.number_input(key="answer_fs_1").set_value(200.0)
    app.selectbox(key="answer_unit_1").set_value("mV")
    next(button for button in app.button if button.label == "Read anew").click().run()
    assert not app.exception and not app.error
    ecg = shown(app)
    assert (ecg.fs, ecg.units_known, ecg.guessed) == (200, True, ())
    assert len(app.session_state[ui.UPLOADS]) == 1  # in place of the first reading
    assert not any(button.label == "Read anew" for button in app.button)


def test_a_file_that_must_be_asked_about_is_kept_until_it_is_answered() -> None:
    app = home()
    app.file_uploader[0].upload("x.csv", table(MV[1:2].T), "text/csv").run()
    assert len(app.error) == 1 and ui.UPLOADS not in app.session_state
    app.text_input(key="answer_leads_1").set_value("II")
    next(button for button in app.button if button.label == "Read anew").click().run()
    assert not app.exception and not app.error
    assert [lead for lead in LEADS if lead not in shown(app).absent_leads] == ["II"]


@pytest.mark.parametrize("heading", ["", "ECG"])
def test_a_table_of_one_lead_is_asked_about_in_the_words_of_the_app(heading: str) -> None:
    app = home()
    app.file_uploader[0].upload("x.csv", table(MV[1:2].T, heading), "text/csv").run()
    said = app.error[0].value.replace("\\", "")
    assert "1 column" in said and "1 columns" not in said and "=" not in said
    assert "say them in the field below." in said and app.text_input(key="answer_leads_1")


def _sentences() -> list[str]:
    """What readers say that names a keyword of theirs, with an x for each value."""
    found = []
    for path in sorted((Path(__file__).parent.parent / "clear_hug" / "io").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "x" for p in node.values]
                found.append("".join(parts))
    keyword = re.compile(r"\b(fs|unit|leads|orientation|record)=.*\.$")
    return [said.replace("x.", "record=1 to x.") if "choose" in said else said for said in found
            if keyword.search(said) or "To choose" in said]  # fmt: skip


@pytest.mark.parametrize("where", ["below", ""])
def test_no_sentence_of_a_reader_tells_the_app_to_call_a_function(where: str) -> None:
    assert len(_sentences()) >= 12
    for said in _sentences():
        plain = without_calls(said, where)
        if where or "which one: record=" not in said:  # a refusal, under which there is a field
            assert not re.search(r"=(?! I \+)|read_ecg|set it right|say (it|them|the rate)(?! below)", plain)
        assert re.search(r"\w\)?\.$", plain) and without_calls(plain, where) == plain


def test_one_click_sets_right_what_is_wrong() -> None:
    app = home()
    turned = MV * np.where(np.arange(12) == 4, -1, 1)[:, None]
    app.file_uploader[0].upload(
        "x.csv", table(turned.T, ",".join(f"{n} (mV)" for n in LEADS)), "text/csv"
    ).run()
    app.button(key="upload_cure").click().run()
    assert not app.exception
    np.testing.assert_allclose(shown(app).signal, MV, atol=1e-3)


def test_one_of_several_records_is_chosen() -> None:
    out = io.BytesIO()
    np.savez(out, signals=np.stack([MV, 2 * MV, 3 * MV]), fs=250.0, units="mV")
    app = home()
    app.file_uploader[0].upload("x.npz", out.getvalue(), "application/zip").run()
    assert "3 records" in app.error[0].value and ui.UPLOADS not in app.session_state
    field = app.number_input(key="answer_record_1")
    assert (field.label, field.min, field.max) == ("Record (1 to 3)", 1, 3)
    field.set_value(2)
    next(button for button in app.button if button.label == "Read anew").click().run()
    assert not app.exception and not app.error
    np.testing.assert_allclose(shown(app).signal, 2 * MV, atol=1e-5)
