"""Bad and odd input, from the file to every page: a sentence that says what to do, or a right result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import wfdb
from streamlit.testing.v1 import AppTest

from clear_hug import ui
from clear_hug.beats import tokenize_beats
from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG, ECGError
from clear_hug.explain import explain, look
from clear_hug.io import read_ecg, read_ecg_upload
from clear_hug.leads import LEADS
from clear_hug.reconstruct import reconstruct
from clear_hug.simulate import simulate_ecg
from clear_hug.ui.records import folder_records

ROOT = Path(__file__).parent.parent
PAGES = [
    "app.py",
    *sorted(
        f"pages/{path.name}"
        for path in (ROOT / "pages").glob("*.py")
        if path.stem not in ("8_Cohort", "9_Training")  # are of no single record
    ),
]
SHOWS_TRACE = ("app.py", "pages/1_ECG.py", "pages/2_Beats.py")
SAYS = ("app.py", "pages/1_ECG.py", "pages/4_Diagnosis.py")  # what was found odd in the record
FIRST_MET = ("app.py", "pages/1_ECG.py", "pages/4_Diagnosis.py", "pages/5_Explanation.py")
ONLY_OF_AN_HOUR = ("pages/2_Beats.py", "pages/4_Diagnosis.py")  # its other pages cost seconds each


@dataclass(frozen=True)
class Case:
    """What is put in, and what is to come out.

    write : (folder) -> files of one record, the first to be opened
    unread : words of the sentence with which the file is refused, or ""
    without_beats : words of the sentence where it is read and holds no beat, or ""
    beats : n, where it is read and answered;  said : words of a warning that goes with it
    """

    write: Callable[[Path], list[Path]]
    unread: str = ""
    without_beats: str = ""
    beats: int = 0
    said: str = ""


def record(ecg: ECG, leads: tuple[str, ...] = LEADS) -> Callable[[Path], list[Path]]:
    """As a WFDB record of those leads; an absent sample is WFDB's own code for one."""

    def write(folder: Path) -> list[Path]:
        rows = [LEADS.index(lead) for lead in leads]
        n = len(rows)
        wfdb.wrsamp("r", fs=ecg.fs, units=["mV"] * n, sig_name=list(leads), write_dir=str(folder),
                    p_signal=ecg.signal[rows].T.astype(np.float64), fmt=["16"] * n, adc_gain=[1000.0] * n,
                    baseline=[0] * n)  # fmt: skip
        return [folder / "r.hea", folder / "r.dat"]

    return write


def content(name: str, data: bytes) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        (folder / name).write_bytes(data)
        return [folder / name]

    return write


def cut_short(folder: Path) -> list[Path]:
    header, data = record(simulate_ecg())(folder)
    data.write_bytes(data.read_bytes()[:1001])
    return [header, data]


def header_alone(folder: Path) -> list[Path]:
    header, data = record(simulate_ecg())(folder)
    data.unlink()
    return [header]


def sine() -> ECG:
    wave = np.sin(2 * np.pi * 0.3 * np.arange(5000) / 500)  # 0.3 Hz
    return ECG(np.outer(np.linspace(0.5, 1.5, 12), wave), 500.0)


def holed() -> ECG:
    signal = simulate_ecg().signal.copy()
    signal[7, 1000:1400] = np.nan
    signal[:, 2500] = np.nan
    return ECG(signal, 500.0)


def hour() -> ECG:
    ecg = simulate_ecg("normal", seconds=60.0, fs=100.0)
    return ECG(np.tile(ecg.signal, 60), 100.0)


def n_planted(ecg: ECG) -> int:
    return len(ecg.truth["r_peaks"])


NORMAL, SHORT, PACED = simulate_ecg(), simulate_ecg(seconds=2.0), simulate_ecg("paced")
FAST = simulate_ecg(heart_rate=200.0, rr_sd=0.0)
FLAT = ECG(np.zeros((12, 5000)), 500.0)
NO_BEATS = "[nN]o QRS complex was found in r"
CASES = {
    "empty file": Case(content("r.dcm", b""), unread=r"r\.dcm is empty \(0 bytes\)"),
    "text named .dcm": Case(content("r.dcm", b"Dear doctor,\n"), unread="r.dcm is not an ECG in a known"),
    "truncated .dat": Case(cut_short, unread=r"r\.dat is cut short: it holds 41 of the 5,000 samples"),
    "header without data": Case(header_alone, unread=r"r\.hea needs r\.dat, its data file"),
    "one lead": Case(record(NORMAL, ("II",)), beats=n_planted(NORMAL)),
    "2 s": Case(record(SHORT), beats=n_planted(SHORT)),
    "all zeros": Case(record(FLAT), without_beats=NO_BEATS, said="Every lead is flat"),
    "NaN inside": Case(record(holed()), beats=n_planted(NORMAL), said="Samples are absent in"),
    "no QRS": Case(record(sine()), without_beats=NO_BEATS),
    "200/min": Case(record(FAST), beats=33),
    "paced": Case(record(PACED), beats=n_planted(PACED)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def files(case: Case, tmp_path: Path) -> list[Path]:
    return case.write(tmp_path)


def answers_are_right(ecg: ECG, case: Case, checkpoint) -> None:
    tokens = tokenize_beats(ecg)
    assert (tokens.n_beats, tokens.n_dropped) == (case.beats, 0)
    answer = diagnose(checkpoint, tokens)
    assert np.isfinite(answer.logits).all() and np.isfinite(answer.probabilities).all()
    seen = look(checkpoint, tokens)
    for label, logit in zip(answer.labels, answer.logits, strict=True):
        why = explain(checkpoint, tokens, label, seen=seen)
        assert abs(why.residual) < 1e-5 and why.logit == pytest.approx(logit, abs=1e-5)
        assert np.isfinite(why.values[tokens.present]).all() and np.isnan(why.values[~tokens.present]).all()
    hidden = np.zeros_like(tokens.valid)
    hidden[int(np.argmax(tokens.present)), 0] = True
    rebuilt = reconstruct(checkpoint, tokens, hidden)
    assert np.isfinite(rebuilt.values).all() and np.isfinite(rebuilt.rmse[rebuilt.hidden]).all()
    np.testing.assert_array_equal(rebuilt.values[~hidden], tokens.values[~hidden])


def test_the_library(case: Case, files: list[Path], checkpoint) -> None:
    read = [lambda: read_ecg(files[0]), lambda: read_ecg_upload({f.name: f.read_bytes() for f in files})]
    if case.unread:
        nameless = re.sub(r"\br\\?\.(\w+)", r"[tT]he .\1 file", case.unread)  # an upload is not named
        for way, words in zip(read, (case.unread, nameless), strict=True):
            with pytest.raises(ECGError, match=words) as error:
                way()
            assert str(files[0].parent) not in str(error.value)
        return
    ecg, uploaded = (way() for way in read)
    assert replace(ecg, record_id="").digest == uploaded.digest
    assert any(case.said in warning for warning in ecg.warnings) or not case.said
    if case.without_beats:
        with pytest.raises(ECGError, match=case.without_beats):
            tokenize_beats(ecg)
    else:
        answers_are_right(ecg, case, checkpoint)


# Pages


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, checkpoint_folder: Path) -> Iterator[Callable[[str], AppTest]]:
    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(checkpoint_folder))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)

    def page(name: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        if name != "app.py":
            app.switch_page(name)
        return app

    yield page


def said(app: AppTest, kind: str) -> str:
    return " ".join(item.value.replace("\\", "") for item in getattr(app, kind))


def nothing_broke(app: AppTest) -> None:
    assert not app.exception
    everything = " ".join(said(app, kind) for kind in ("error", "warning", "info", "markdown"))
    assert "Traceback" not in everything and "unexpected" not in everything


def answered(app: AppTest, case: Case) -> None:
    nothing_broke(app)
    assert not app.error and app.get("plotly_chart")
    if case.said:
        assert case.said in said(app, "warning") + said(app, "markdown")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST_MET else pytest.mark.long) for name in PAGES]
)
def test_the_pages(
    name: str, case: Case, files: list[Path], app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = app(name)
    if case.unread:  # no upload holds it, so that it can be met in the folder alone
        monkeypatch.setenv("CLEAR_HUG_DATA", str(tmp_path))
        folder_records.clear()
        shown.query_params["record"] = next(iter(folder_records(str(tmp_path))))
        nothing_broke(shown.run())
        assert len(shown.error) == 1 and re.search(case.unread, said(shown, "error"))
        return
    shown.session_state[ui.UPLOADS] = {"upload-r": read_ecg(files[0])}
    shown.session_state[ui.UPLOAD_SHOWN["record"]] = "upload-r"
    shown.run()
    if not case.without_beats:
        answered(shown, case if name in SAYS else Case(case.write))
        return
    nothing_broke(shown)
    assert not shown.error
    assert bool(re.search(case.without_beats, said(shown, "warning"))) == (name != "pages/1_ECG.py")
    assert bool(shown.get("plotly_chart")) == (name in SHOWS_TRACE)


@pytest.mark.slow
def test_an_hour(checkpoint, app, tmp_path: Path) -> None:
    long = hour()
    per_minute = n_planted(simulate_ecg("normal", seconds=60.0, fs=100.0))
    ecg = read_ecg(record(long)(tmp_path)[0])
    answers_are_right(ecg, Case(record(long), beats=60 * per_minute), checkpoint)
    for name in ONLY_OF_AN_HOUR:
        shown = app(name)
        shown.session_state[ui.UPLOADS] = {"upload-r": ecg}
        shown.session_state[ui.UPLOAD_SHOWN["record"]] = "upload-r"
        answered(shown.run(), Case(record(long)))
