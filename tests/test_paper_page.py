"""The ECG page, run without a browser: its choices, its calipers, its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from clear_hug.display import SIGNALS
from clear_hug.ecg import ECG
from clear_hug.measure import Measurements
from clear_hug.norms import Row
from clear_hug.simulate import simulate_ecg
from clear_hug.ui import UPLOAD_SHOWN, UPLOADS
from clear_hug.ui import ecg as view
from clear_hug.ui.workspace import MINE

ROOT = Path(__file__).parent.parent
NAN = float("nan")


@pytest.fixture(autouse=True)
def _app(monkeypatch: pytest.MonkeyPatch, checkpoint_folder: Path) -> None:
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(checkpoint_folder))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)


def opened(uploads: dict[str, ECG] | None = None, **address: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page("pages/1_ECG.py")
    app.session_state[MINE] = ""  # work is not kept
    for key, value in address.items():
        app.query_params[key] = value
    if uploads:
        app.session_state[UPLOADS] = uploads
        app.session_state[UPLOAD_SHOWN["record"]] = next(iter(uploads))
    return app.run()


def said(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.warning, *app.info]
    return " ".join([str(item.value) for item in shown] + [i.proto.body for i in app.get("html")]).replace(
        "\\", ""
    )


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("record", ["simulated-premature", "simulated-long", "simulated-lead_off"])
def test_each_signal_is_drawn_and_explained(signal: str, record: str) -> None:
    app = opened(record=record, signal=signal, marks="true", order="Cabrera", layout="12x1")
    assert not app.exception and not app.error
    assert len(app.get("plotly_chart")) == (2 if "long" in record else 1)
    assert "How to read this" in said(app)


@pytest.mark.parametrize("mouse", ["move", "calipers"])
@pytest.mark.parametrize(
    ("signal", "units_known", "told"),
    [
        (SIGNALS[0], True, "the pulse on the left is 1 mV high"),
        (SIGNALS[1], False, "no pulse is drawn, since heights are no voltage but arbitrary units"),
        (SIGNALS[0], False, "no pulse is drawn, since heights are no voltage but arbitrary units"),
        (SIGNALS[2], True, "no pulse is drawn, since heights are no voltage but multiples of each lead's SD"),
        (SIGNALS[2], False, "no pulse is drawn, since heights are no voltage but multiples of"),
    ],
)
def test_the_pulse_is_spoken_of_where_it_is_drawn(
    signal: str, units_known: bool, told: str, mouse: str
) -> None:
    ecg = replace(simulate_ecg("normal"), units_known=units_known)
    app = opened({"upload-x": ecg}, signal=signal, mouse=mouse)
    assert not app.exception and not app.error
    reads = [item.value for item in app.caption if "How to read this" in item.value]
    assert (told in reads[0]) == (mouse == "move")
    assert "voltage" not in reads[0] or not units_known or signal == SIGNALS[2]


@pytest.mark.parametrize(("units_known", "which"), [(False, "Beside the one without a unit"), (True, "")])
def test_two_side_by_side_say_which_has_no_pulse(units_known: bool, which: str) -> None:
    ecg = replace(simulate_ecg("normal"), units_known=units_known)
    app = opened({"upload-x": ecg}, view="two side by side", with_record="simulated-paced")
    assert not app.exception and not app.error
    assert ("no pulse is drawn" in said(app)) == bool(which) and which in said(app)


@pytest.mark.parametrize("align", ["median beats", "R peaks"])
@pytest.mark.parametrize("other", ["simulated-tachycardia", "simulated-long"])
def test_two_ecgs_are_laid_over(align: str, other: str) -> None:
    app = opened(record="simulated-premature", view="two laid over", align=align, with_record=other)
    assert not app.exception and not app.error
    assert len(app.get("plotly_chart")) == 1
    assert "Labels that changed most" in said(app)


def test_what_two_ecgs_measure_in_each_lead_does_not_bury_the_rest() -> None:
    app = opened(record="simulated-premature", view="two laid over")
    tables = [str(item.proto.body) for item in app.get("html") if "2nd − 1st" in str(item.proto.body)]
    both, leads = (next(t for t in tables if name in t) for name in ("Measurements of both", "By lead"))
    assert "QRS duration" in both and "amplitude" not in both and both.count("<tr") < 20
    assert "R amplitude, V1" in leads and leads.count("<tr") == 1 + 48  # R, S, ST at J and 60 ms later
    assert "R, S and ST of each lead" in [box.label for box in app.expander]


def test_two_ecgs_stand_side_by_side() -> None:
    app = opened(
        record="simulated-premature", view="two side by side", with_record="simulated-long", with_start="9"
    )
    assert not app.exception and not app.error and len(app.get("plotly_chart")) == 2


def test_an_ecg_without_beats_can_be_looked_at_beside_another() -> None:
    flat = ECG(np.zeros((12, 5000)), 500.0, record_id="flat", source="test")
    app = opened({"upload-flat": flat}, view="two laid over", align="R peaks")
    assert not app.exception and "no beat" in said(app)
    app = opened({"upload-flat": flat}, view="two laid over", align="median beats")
    assert not app.exception and "No median beat" in said(app)
    app = opened({"upload-flat": flat}, signal=SIGNALS[2])
    assert not app.exception and any("No QRS complex" in w.value.replace("\\", "") for w in app.warning)
    app = opened({"upload-flat": flat}, marks="true")
    assert "No R peak is marked" in said(app) and len(app.get("plotly_chart")) == 1


def test_calipers_stand_in_the_link_and_are_read() -> None:
    app = opened(record="simulated-normal", caliper="1.000_1.800_II_1_-0.100_1.400")
    assert "Calipers, lead II, 1.000 to 1.800 s: 800 ms · 75 beats/min · 1.50 mV" in said(app)
    app = opened(record="simulated-normal", caliper="1.000_1.800_II_1_-0.100_1.400", signal=SIGNALS[2])
    assert "800 ms" in said(app) and "mV**" not in said(app)


@pytest.mark.parametrize("text", ["x", "2_1", "1_2_II"])
def test_calipers_that_cannot_be_read_are_said(text: str) -> None:
    app = opened(record="simulated-normal", caliper=text)
    assert not app.exception and not app.error
    assert any("calipers that cannot be read" in warning.value for warning in app.warning)
    assert len(app.get("plotly_chart")) == 1


def test_calipers_are_set_by_numbers_and_taken_off() -> None:
    app = opened(record="simulated-normal")
    first, second = (next(n for n in app.number_input if n.label == label) for label in ("From, s", "To, s"))
    first.set_value(3.0)
    second.set_value(2.4)
    next(b for b in app.button if b.label == "Set").click()
    app.run()
    assert not app.exception and "2.400 to 3.000 s: 600 ms · 100 beats/min" in said(app)
    assert app.query_params["caliper"] == ["2.400_3.000"] or app.query_params["caliper"] == "2.400_3.000"
    next(b for b in app.button if b.label == "Take off").click().run()
    assert "caliper" not in app.query_params and "600 ms" not in said(app)


def test_a_long_record_is_walked_through_in_steps() -> None:
    app = opened(record="simulated-long")
    next(b for b in app.button if b.label == "Later").click().run()
    assert app.slider(key="start").value == 10
    next(b for b in app.button if b.label == "Earlier").click().run()
    assert app.slider(key="start").value == 0
    assert next(b for b in app.button if b.label == "Earlier").disabled


def test_a_rhythm_strip_of_another_record_is_given_up() -> None:
    ecg = simulate_ecg("normal")
    extra = replace(ecg, extra={"V7": ecg.signal[6]}, record_id="more", simulated=False, source="test")
    app = opened({"upload-more": extra}, rhythm="V7")
    assert not app.exception and app.selectbox(key="rhythm").value == "V7"
    app.selectbox(key="menu_record").select("simulated-normal").run()
    assert not app.exception and not app.error and app.selectbox(key="rhythm").value == "II"


# tables


def row(key: str = "qrs", **fields: object) -> Row:
    given = {
        "name": "QRS duration",
        "value": 96.0,
        "unit": "ms",
        "low": 70.0,
        "high": 110.0,
        "flag": "normal",
    }
    return Row(**{"key": key, "note": "", "source": "", **given, **fields})  # type: ignore[arg-type]


def test_a_flag_is_a_word_and_not_a_colour_alone() -> None:
    assert "▲ high" in view.flag_words(row(flag="high"), False)
    assert "▼ low" in view.flag_words(row(flag="low"), True)
    assert ">normal<" in view.flag_words(row(), False)
    assert view.flag_words(row(value=NAN, flag="unknown"), False) == "not measured"
    assert "no limit" in view.flag_words(row(flag="unknown"), False)


def test_numbers_and_limits_are_written_as_they_are_read() -> None:
    assert view.limits_words(row()) == "70 to 110"
    assert view.limits_words(row(low=NAN)) == "≤ 110" and view.limits_words(row(high=NAN)) == "≥ 70"
    assert view.limits_words(row(low=NAN, high=NAN)) == "–"
    assert view.number_words(-30.4, "°") == "−30" and view.number_words(-0.2, "°") == "0"
    assert view.number_words(-0.001, "mV") == "0.00"
    assert view.number_words(0.104, "mV") == "0.10" and view.number_words(NAN, "ms") == "–"


def test_rows_of_leads_stand_apart() -> None:
    whole, leads = view.by_lead([row(), row("st V2", name="ST level, V2", unit="mV", value=0.1)])
    assert [r.key for r in whole] == ["qrs"]
    assert {name: list(of) for name, of in leads.items()} == {"ST level": ["V2"]}


def test_pacing_is_said_before_any_value(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = Measurements(heart_rate=70.0, pacing_spikes=np.array([0.81, 1.66]), reasons={"qt": "No T end."})
    rows = (
        row(stored=98.0, difference=-2.0),
        row("qt", name="QT", value=NAN, flag="unknown", note="No T end."),
    )
    monkeypatch.setattr("clear_hug.ui.results.measure", lambda ecg, r_peaks=None: paced)
    monkeypatch.setattr(view, "assess", lambda *args: rows)
    ecg = replace(simulate_ecg("normal", seed=77), record_id="mine", simulated=False, source="test")
    app = opened({"upload-mine": ecg})
    assert not app.exception and not app.error
    assert any("2 pacing spikes found, the first at 0.81 s" in w.value.replace("\\", "") for w in app.warning)
    words = said(app)
    assert "<td>98</td><td>−2</td>" in words and "Device" in words
    assert "QT: No T end." in words and "not measured" in words
