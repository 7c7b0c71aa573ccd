"""What is taken away says what was on screen, to the bit, and never whose ECG it is."""

import csv
import io
import json
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from plotly.colors import unlabel_rgb
from scipy.ndimage import gaussian_filter1d

from clear_hug.beats import tokenize_beats
from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG, cut
from clear_hug.explain import METHODS, explain
from clear_hug.export import (
    COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    SHOWN,
    _page,
    _worth_data,
    explanation_csv,
    explanation_json,
    explanation_pdf,
    explanation_png,
    version,
)
from clear_hug.leads import LEADS, PAPER_3X4
from clear_hug.plots.theme import LIGHT, colours_at, signed_places
from clear_hug.words import NOTICE

ALL = [(name, level) for name, method in METHODS.items() for level in method.levels]
PROOF = {"word": "supported", "reasons": ["Taken away, the parts of the map make the logit fall at once."]}


@pytest.fixture(scope="module")
def shown(checkpoint, simulated, tokens_of):
    """shown(kind, method, level) -> all that an export takes, one Attribution last; explained once."""
    known = {}

    def make(kind="normal", method="hug", level=None, hidden=None, against=None):
        ecg, tokens = simulated(kind), tokens_of(kind)
        asked = kind, method, level, against, None if hidden is None else hidden.tobytes()
        if asked not in known:
            known[asked] = explain(checkpoint, tokens, "MI", method, level, hidden, against=against)
        return checkpoint, ecg, tokens, diagnose(checkpoint, tokens, hidden), known[asked]

    return make


def V1_and_two_beats(tokens):
    hidden = np.zeros_like(tokens.valid)
    hidden[6], hidden[:, 2], hidden[0, 4] = True, True, True
    return hidden


def said(*given, **more):
    """All words on a page."""
    return [
        text.get_text() for text in _page(*given, **more).findobj(lambda artist: hasattr(artist, "get_text"))
    ]


# JSON


@pytest.mark.parametrize(("method", "level"), ALL)
def test_json_holds_every_figure_to_the_bit(shown, method, level):
    checkpoint, ecg, tokens, diagnosis, why = shown("lead_off", method, level)
    read = json.loads(explanation_json(checkpoint, ecg, tokens, diagnosis, [why]))
    told = read["explanations"][0]
    values = np.array(told["values"], dtype=np.float64)  # null -> NaN
    np.testing.assert_array_equal(
        values.view(np.int64) * np.isfinite(values), why.values.view(np.int64) * np.isfinite(why.values)
    )
    np.testing.assert_array_equal(np.isnan(values), np.isnan(why.values))
    assert len(told["axes"]) == values.ndim and tuple(told["names"]) == why.names
    assert (told["error"] is None) == (why.error is None)
    for name in ("logit", "bias", "residual"):
        figure = getattr(why, name)
        assert told[name] == (figure if np.isfinite(figure) else None)
    row = checkpoint.row("MI")
    assert told["probability"] == diagnosis.probabilities[row]
    assert [label["logit"] for label in read["diagnosis"]] == diagnosis.logits.tolist()


def test_a_label_too_rare_to_call_is_exported_without_a_threshold(shown, tokens):
    checkpoint, ecg, _, diagnosis, why = shown()
    row = checkpoint.row("MI")
    thresholds = np.array(diagnosis.thresholds)
    thresholds[row] = np.nan
    rare = replace(diagnosis, thresholds=thresholds)
    read = json.loads(explanation_json(checkpoint, ecg, tokens, rare, [why]), parse_constant=pytest.fail)
    told = read["diagnosis"]
    assert told[row]["threshold"] is None and told[row]["called"] is False
    assert [label["threshold"] is None for label in told].count(True) == 1
    calls = [label["probability"] >= label["threshold"] for label in told if label["threshold"] is not None]
    assert [label["called"] for label in told if label["threshold"] is not None] == calls


def test_json_says_what_it_is_and_what_it_rests_on(shown, tokens):
    hidden = V1_and_two_beats(tokens)
    checkpoint, ecg, _, diagnosis, why = shown(hidden=hidden, against="NORM")
    proof = {**PROOF, "gap": np.float64(0.5), "curve": np.array([1.0, np.nan])}
    given = (checkpoint, ecg, tokens, diagnosis, [why], hidden, proof)
    read = json.loads(explanation_json(*given, detector="clear"), parse_constant=pytest.fail)
    assert (read["schema"], read["schema_version"], read["notice"]) == (SCHEMA, SCHEMA_VERSION, NOTICE)
    assert read["software"]["version"] == version() and re.fullmatch(r"\d+\.\d+\.\d+", version())
    assert read["model"] == {"name": checkpoint.name, "digest": checkpoint.digest}
    record = read["record"]
    assert (record["fs_hz"], record["units_known"], record["detector"]) == (ecg.fs, True, "clear")
    assert record["digest"] == ecg.digest and record["r_peaks_s"] == tokens.r_peaks.tolist()
    back = np.zeros_like(hidden)
    for lead, beat in read["removed"]:
        back[LEADS.index(lead), beat - 1] = True
    np.testing.assert_array_equal(back, hidden & tokens.valid)
    assert read["proof"] == {**PROOF, "gap": 0.5, "curve": [1.0, None]}
    assert read["explanations"][0]["against"] == "superdiagnostic/NORM"
    with pytest.raises(ValueError, match="a set cannot be exported"):
        explanation_json(*given[:-1], {"figures": {1, 2}})


# CSV


def table(data):
    lines = data.decode().splitlines()
    head = [line for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[len(head) :]))))
    return head, rows


@pytest.mark.parametrize(("method", "level"), ALL)
def test_csv_has_a_row_a_value(shown, method, level):
    checkpoint, _, tokens, _, why = shown("lead_off", method, level)
    data = explanation_csv(checkpoint, tokens, [why, why])
    head, rows = table(data)
    assert f"# {NOTICE}" in head and any(checkpoint.digest in line for line in head)
    assert any(f"{method} by {level}" in line for line in head)
    assert len(rows) == 2 * why.values.size and tuple(rows[0]) == COLUMNS
    values = [float(row["value"] or "nan") for row in rows[: why.values.size]]
    np.testing.assert_array_equal(np.reshape(values, why.values.shape), why.values)
    assert {row["target"] for row in rows} == {"superdiagnostic/MI"}
    for row in rows:
        if row["beat"]:
            assert float(row["r_peak_s"]) == tokens.r_peaks[int(row["beat"]) - 1]
    if level == "token":
        assert [(row["lead"], int(row["beat"])) for row in rows[: tokens.n_beats + 1]] == [
            *((LEADS[0], k + 1) for k in range(tokens.n_beats)),
            (LEADS[1], 1),
        ]
    column = np.genfromtxt(io.BytesIO(data), delimiter=",", skip_header=len(head) + 1, usecols=9)
    np.testing.assert_array_equal(column[: why.values.size], why.values.ravel())


def test_csv_tells_what_was_left_out_and_how_far_it_may_be_believed(shown):
    checkpoint, _, tokens, _, why = shown("lead_off")
    hidden = np.zeros_like(tokens.valid)
    hidden[:, 1] = True
    proof = {"word": "weak", "reasons": ["The gap is small, and may be chance."]}
    head, _ = table(explanation_csv(checkpoint, tokens, [why], hidden, proof))
    assert any("beat 2" in line and "Left out by choice" in line for line in head)
    assert any("V3" in line for line in head)  # the lead that is off
    assert "# map of leads: weak" in head and any("may be chance" in line for line in head)


@pytest.mark.parametrize(
    "evil", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "a,=1+1", "a\r\n=1", "\t=1", 'a";=1']
)
def test_csv_holds_no_formula(shown, evil):
    checkpoint, _, tokens, _, why = shown()
    bad = replace(why, names=(evil, *why.names[1:]), model=evil)
    data = explanation_csv(replace(checkpoint, name=evil), tokens, [bad]).decode()
    numbers = re.compile(r"-?[\d.]+(e-?\d+)?$")
    for line in data.split("\r\n"):
        assert "\n" not in line
        for cell in re.split("[,;\t]", line):
            assert cell[:1] not in set('=+@"') and (cell[:1] != "-" or numbers.match(cell)), line
    assert len(table(data.encode())[1]) == 12


# The page


def content(pdf):
    """The drawing commands of the only page."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return max((zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"x"), key=len).decode(
        "latin-1"
    )


@pytest.mark.parametrize("kind", ["normal", "premature"])
def test_a_millimetre_of_the_paper_is_one_on_the_sheet(shown, kind):
    given = shown(kind)
    pdf = explanation_pdf(*given)
    assert pdf.count(b"/Type /Page ") == 1
    box = [float(n) for n in re.search(rb"/MediaBox \[ ?([\d. ]+)\]", pdf)[1].split()]
    np.testing.assert_allclose(np.array(box[2:]) / 72 * 25.4, [297, 210], atol=0.01)
    strokes = re.findall(r"^([\d.]+) ([\d.]+) m\n([\d.]+) ([\d.]+) l\n\nS$", content(pdf), re.MULTILINE)
    x0, y0, x1, y1 = np.array(strokes, dtype=np.float64).T / 72 * 25.4
    upright = np.unique(np.round(x0[(x0 == x1) & (y1 - y0 > 80)], 2))  # both grids; 1 mm apart
    flat = np.unique(np.round(y0[(y0 == y1) & (x1 - x0 > 200)], 2))
    assert upright.size > 250 and flat.size > 80
    for lines in (upright, flat):
        np.testing.assert_allclose(np.diff(lines), 1, atol=0.02)
    ecg, paper = given[1], _page(*given).axes[0]
    trace = next(c for c in paper.collections if len(c.get_segments()) == 1 and c.get_zorder() == 3)
    line = trace.get_segments()[0]  # lead I: 2.5 s
    n = len(line)
    np.testing.assert_allclose(np.diff(line[:, 0]), 25 / ecg.fs, rtol=1e-3)
    np.testing.assert_allclose(np.ptp(line[:, 1]), 10 * np.ptp(ecg.signal[0, :n]), rtol=1e-4)
    box = paper.get_position()
    (left, right), (low, high) = paper.get_xlim(), paper.get_ylim()
    assert box.width * 297 == pytest.approx(right - left) and box.height * 210 == pytest.approx(high - low)


@pytest.mark.long
def test_the_same_input_gives_the_same_bytes_in_any_thread(shown):
    jobs = [
        (make, shown(kind)) for make in (explanation_pdf, explanation_png) for kind in ("normal", "lead_off")
    ]
    alone = [make(*given, date="2000-01-01") for make, given in jobs]
    with ThreadPoolExecutor(4) as pool:
        again = [pool.submit(make, *given, date="2000-01-01") for make, given in jobs]
    assert [future.result() for future in again] == alone
    assert b"CreationDate" not in alone[0] and b"Software" not in alone[2]
    assert alone[0] != explanation_pdf(*jobs[0][1])


def test_a_picture_has_the_pixels_that_are_asked_for(shown):
    png = explanation_png(*shown(), dpi=100)
    assert png[:4] == b"\x89PNG"
    np.testing.assert_allclose(struct.unpack(">II", png[16:24]), [297 / 25.4 * 100, 210 / 25.4 * 100], atol=1)


def test_the_page_says_what_it_must(shown, tokens):
    hidden = V1_and_two_beats(tokens)
    given = shown(hidden=hidden)
    words = said(*given, hidden, PROOF, date="1 May", detector="clear")
    checkpoint, diagnosis, why = given[0], given[3], given[4]
    assert NOTICE in words and "Myocardial infarction" in words
    assert f"This map is {PROOF['word']}" in words and any(PROOF["reasons"][0][:30] in line for line in words)
    foot = next(line for line in words if checkpoint.digest[:12] in line)
    for part in (checkpoint.name, "hug, by lead", version(), "1 May", "beats by clear"):
        assert part in foot
    chance = diagnosis.probabilities[checkpoint.row("MI")]
    assert any(f"{chance:.1%}" in line and f"{abs(why.logit):.2f}" in line for line in words)
    assert any("Left out by choice: V1, beat 3, 1 beat token" in line for line in words)
    assert "V1 left out" in words
    assert any("no proof was made" in line for line in said(*shown()))


def test_absent_and_unknown_are_said(checkpoint, simulated, tokens_of):
    ecg = simulated("normal")
    signal = ecg.signal.copy()
    signal[8] = np.nan
    for changed, sentence in (
        (replace(ecg, signal=signal), "V3 absent"),
        (replace(ecg, units_known=False), "arbitrary units: no voltage can be read"),
    ):
        tokens = tokenize_beats(changed)
        given = checkpoint, changed, tokens, diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
        page = _page(*given)
        words = said(*given)
        assert sentence in words
        assert any("mV" in line for line in words) == changed.units_known
        lines = np.concatenate([c.get_segments() for c in page.axes[0].collections[:2]])
        assert (lines[:, 0, 1] == lines[:, 1, 1]).any() == changed.units_known  # no squares to count


@pytest.mark.parametrize(("kind", "fs"), [("high_voltage", 500), ("long", 500), ("tachycardia", 250)])
def test_all_stays_on_the_sheet(shown, checkpoint, simulated, kind, fs):
    ecg = simulated(kind, fs=fs)
    spike = ecg.signal.copy()
    spike[7, 3 * fs] = 30  # mV
    for record in (ecg, replace(ecg, signal=spike), cut(ecg, 0, 3)):
        tokens = tokenize_beats(record)
        page = _page(
            checkpoint, record, tokens, diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
        )
        page.draw_without_rendering()
        for axes in page.axes:
            box = axes.get_position()
            assert 0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1 and box.height > 0.01
        wide, tall = page.bbox.width, page.bbox.height
        for text in page.texts:
            box = text.get_window_extent()
            assert 0 < box.x0 < box.x1 < wide and 0 < box.y0 < box.y1 < tall, text.get_text()


def test_words_on_the_sheet_do_not_overlap(shown):
    proof = {"word": "weak", "reasons": ["A reason that is long enough to need a second line of words."] * 9}
    for given in (shown("lead_off", against="HYP"), shown("long"), shown(method="attention")):
        page = _page(*given, None, proof, date="x" * 200)
        page.draw_without_rendering()
        boxes = [(text, text.get_window_extent()) for text in page.texts]
        for k, (one, a) in enumerate(boxes):
            for other, b in boxes[k + 1 :]:
                apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
                assert apart, (one.get_text(), other.get_text())


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "method", "level"),
    [*(("lead_off", *pair) for pair in ALL), *(("long", "ablation", level) for level in ("beat", "token"))]
    + [("long", "integrated_gradients", level) for level in ("beat", "sample")],
)
def test_every_method_and_level_has_its_page(shown, monkeypatch, kind, method, level):
    given = shown(kind, method, level)
    why, tokens = given[4], given[2]
    assert any(NOTICE == line for line in said(*given))
    for most in (40, 5):
        monkeypatch.setattr("clear_hug.export.MOST_BARS", most)
        bars = _worth_data(why, tokens, 0, 10)
        assert len(bars.names) == len(bars.words) == len(bars.values) == len(bars.error) == len(bars.before)
        if METHODS[method].adds_up:
            last = bars.before[-1] + np.nan_to_num(bars.values[-1])
            assert last == pytest.approx(why.logit, abs=2 * SHOWN)
            assert bars.before[0] == pytest.approx(why.bias)


def traces(page):
    """Of the leads in the order of the paper, the rhythm strip last."""
    return [lines for lines in page.axes[0].collections if lines.get_zorder() == 3]


def colour_of(lines, time):
    """The colour that a trace has from `time` (s) on."""
    spans = [(piece[0, 0] / 25, piece[-1, 0] / 25) for piece in lines.get_segments()]
    return lines.get_colors()[next(k for k, (a, b) in enumerate(spans) if a <= time + 1e-3 < b)][:3]


def expected(value, end):
    rgb = unlabel_rgb(colours_at(LIGHT.diverging, signed_places(np.array([value]), end))[0])
    return np.array(rgb) / 255


def test_the_trace_is_painted_by_what_each_part_adds(shown):
    given = shown("lead_off")
    values = given[4].values
    end = np.nanmax(np.abs(values))
    order = [lead for row in PAPER_3X4 for lead in row] + ["II"]
    for lead, lines in zip(order, traces(_page(*given)), strict=True):
        row = LEADS.index(lead)
        if np.isfinite(values[row]):
            np.testing.assert_allclose(lines.get_colors()[0][:3], expected(values[row], end), atol=0.02)
        else:
            np.testing.assert_allclose(lines.get_colors()[0][:3], to_rgb(LIGHT.hatch))


@pytest.mark.parametrize("level", ["beat", "token", "segment", "sample"])
def test_each_stretch_is_painted_in_its_own_colour(shown, level):
    given = shown("premature", "integrated_gradients" if level == "sample" else "ablation", level)
    tokens, values = given[2], given[4].values
    rhythm = traces(_page(*given))[-1]
    for beat, r_peak in enumerate(tokens.r_peaks):
        found = colour_of(rhythm, r_peak)
        if level == "sample":
            smooth = gaussian_filter1d(np.nan_to_num(values), 1.7, axis=1)
            end = np.percentile(np.abs(smooth[np.isfinite(values)]), 99)
            want = expected(smooth[1, round(r_peak * 100)], end)
        else:
            value = values[beat] if level == "beat" else values[1, beat if level == "token" else 1]
            want = expected(value, np.nanmax(np.abs(values)))
        np.testing.assert_allclose(found, want, atol=0.06 if level == "sample" else 0.02)


def test_what_was_left_out_is_not_painted(shown, tokens):
    hidden = V1_and_two_beats(tokens)
    given = shown(hidden=hidden)
    row = traces(_page(*given, hidden))
    grey = to_rgb(LIGHT.hatch)
    np.testing.assert_allclose(colour_of(row[-1], tokens.r_peaks[2]), grey)
    assert not np.allclose(colour_of(row[-1], tokens.r_peaks[3]), grey)
    assert len(row[2].get_segments()) == 1  # V1
    np.testing.assert_allclose(row[2].get_colors()[0][:3], grey)


# Whose it is


def test_no_export_names_the_record_unless_asked(checkpoint, simulated, tokens_of):
    name = "Doe, Jane $x_1$ 1970\n山"
    ecg = replace(
        simulated("normal"), record_id=name, age=61.0, sex="F", warnings=(f"odd: {name}",), source=name
    )
    tokens = tokenize_beats(ecg)
    d, why = diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
    given = checkpoint, ecg, tokens, d
    plain = explanation_json(*given, [why]) + explanation_csv(checkpoint, tokens, [why])
    plain += explanation_pdf(*given, why) + explanation_png(*given, why)
    plain += " ".join(said(*given, why)).encode()
    for secret in (b"Doe", b"Jane", b"61.0", b'"F"'):
        assert secret not in plain
    assert json.loads(explanation_json(*given, [why], with_record_id=True))["record"]["id"] == name
    words = said(*given, why, with_record_id=True)
    assert any("Doe, Jane $x_1$ 1970 ?" in line for line in words)
    assert len(explanation_pdf(*given, why, with_record_id=True)) > 10_000  # a letter it lacks is no warning


# What does not belong together


def test_values_that_do_not_belong_together_are_refused_in_words(shown, tokens_of, simulated, checkpoint):
    checkpoint, ecg, tokens, d, why = shown()
    hidden = np.zeros_like(tokens.valid)
    hidden[6] = True
    other = diagnose(checkpoint, tokens, np.ones_like(hidden))
    left = explain(checkpoint, tokens, "MI", hidden=hidden)
    for given, sentence in (
        ((checkpoint, simulated("long"), tokens, d, why), "another record than the ECG"),
        (
            (replace(checkpoint, name="big"), ecg, tokens, d, why),
            "by model 'tiny', and the checkpoint is 'big'",
        ),
        ((checkpoint, ecg, tokens, other, why), "the diagnosis says"),
        ((checkpoint, ecg, tokens, diagnose(checkpoint, tokens, hidden), left), "left other tokens out"),
        ((checkpoint, ecg, tokens, d, replace(why, method="guess")), "method = 'guess'; expected one of hug"),
        ((checkpoint, ecg, tokens, d, replace(why, level="beat", values=why.values[:5])), "has 5 beats"),
        ((checkpoint, ecg, tokens, d, why, np.zeros((12, 1))), "hidden has shape"),
    ):
        for make, wrap in ((explanation_json, True), (explanation_pdf, False), (explanation_png, False)):
            with pytest.raises(ValueError, match=sentence):
                make(*given[:4], [given[4]] if wrap else given[4], *given[5:])
    with pytest.raises(ValueError, match="no explanation to export"):
        explanation_csv(checkpoint, tokens, [])
    for more, sentence in (
        ({"start": 10.0}, "start = 10 s; the record has 0 to 10 s"),
        ({"start": -1.0}, "start = -1 s"),
        ({"seconds": 11.0}, "a page shows up to 10 s"),
        ({"proof": {"figures": 1}}, "no 'word'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            explanation_pdf(checkpoint, ecg, tokens, d, why, **more)


def test_a_lead_without_a_sample_in_the_stretch_is_no_error(checkpoint, simulated):
    ecg = simulated("long")
    signal = ecg.signal.copy()
    signal[1, : 12 * int(ecg.fs)] = np.nan
    ecg = ECG(signal, ecg.fs)
    tokens = tokenize_beats(ecg)
    given = checkpoint, ecg, tokens, diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
    words = said(*given)
    assert any("not recorded here" in line for line in words) and any("of 30.0 s" in line for line in words)
    names = [text.get_text() for text in _page(*given).axes[0].texts]
    assert sum(text.startswith("V1") for text in names) == 2  # it is the rhythm strip too
