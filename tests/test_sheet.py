"""The page of A4: true to the millimetre, painted in the colours of the values, and saying what it must."""

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
from clear_hug.export import version
from clear_hug.leads import LEADS, PAPER_3X4
from clear_hug.plots.theme import LIGHT, colours_at, signed_places
from clear_hug.sheet import SHOWN, _worth_data, explanation_page, pdf_of, png_of
from clear_hug.words import NOTICE

ALL = [(name, level) for name, method in METHODS.items() for level in method.levels]
PROOF = {"word": "supported", "reasons": ["Taken away, the parts of the map make the logit fall at once."]}


def said(*given, **more):
    """All words on a page."""
    return [
        text.get_text()
        for text in explanation_page(*given, **more).findobj(lambda artist: hasattr(artist, "get_text"))
    ]


def content(pdf):
    """The drawing commands of the only page."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return max((zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"x"), key=len).decode(
        "latin-1"
    )


@pytest.mark.parametrize("kind", ["normal", "premature"])
def test_a_millimetre_of_the_paper_is_one_on_the_sheet(explained, kind):
    given = explained(kind)
    pdf = pdf_of(explanation_page(*given))
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
    ecg, paper = given[1], explanation_page(*given).axes[0]
    trace = next(c for c in paper.collections if len(c.get_segments()) == 1 and c.get_zorder() == 3)
    line = trace.get_segments()[0]  # lead I: 2.5 s
    n = len(line)
    np.testing.assert_allclose(np.diff(line[:, 0]), 25 / ecg.fs, rtol=1e-3)
    np.testing.assert_allclose(np.ptp(line[:, 1]), 10 * np.ptp(ecg.signal[0, :n]), rtol=1e-4)
    box = paper.get_position()
    (left, right), (low, high) = paper.get_xlim(), paper.get_ylim()
    assert box.width * 297 == pytest.approx(right - left) and box.height * 210 == pytest.approx(high - low)


@pytest.mark.long
def test_the_same_input_gives_the_same_bytes_in_any_thread(explained):
    jobs = [(form, explained(kind)) for form in (pdf_of, png_of) for kind in ("normal", "lead_off")]

    def made(form, given):
        return form(explanation_page(*given, date="2000-01-01"))

    alone = [made(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        again = [pool.submit(made, *job) for job in jobs]
    assert [future.result() for future in again] == alone
    assert b"CreationDate" not in alone[0] and b"Software" not in alone[2]
    assert alone[0] != pdf_of(explanation_page(*jobs[0][1]))


def test_a_picture_has_the_pixels_that_are_asked_for(explained):
    png = png_of(explanation_page(*explained()), dpi=100)
    assert png[:4] == b"\x89PNG"
    np.testing.assert_allclose(struct.unpack(">II", png[16:24]), [297 / 25.4 * 100, 210 / 25.4 * 100], atol=1)


def test_the_page_says_what_it_must(explained, some_hidden):
    given = explained(hidden=some_hidden)
    words = said(*given, some_hidden, PROOF, date="1 May", detector="clear")
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
    assert any("no proof was made" in line for line in said(*explained()))


def test_what_is_unusual_about_a_record_stands_on_the_page(explained):
    care = ["Pacing spikes were found. Read every label with care."]
    assert any("Pacing spikes were found" in line for line in said(*explained(), care=care))
    assert not any("Pacing" in line for line in said(*explained()))


@pytest.mark.parametrize("seconds", [2.0, 4.0])
def test_a_short_record_shows_every_lead(checkpoint, simulated, seconds):
    ecg = simulated("normal")
    short = replace(ecg, signal=ecg.signal[:, : round(seconds * ecg.fs)].copy())
    tokens = tokenize_beats(short)
    given = checkpoint, short, tokens, diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
    words = said(*given, start=0.0, seconds=10.0)
    assert not any("no signal" in line or "absent" in line for line in words)
    assert any(f"0.0 to {seconds:.1f} s" in line for line in words)
    for lead in LEADS:
        assert sum(line.startswith(f"{lead} ") for line in words) >= 1


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
        page = explanation_page(*given)
        words = said(*given)
        assert sentence in words
        assert any("mV" in line for line in words) == changed.units_known
        lines = np.concatenate([c.get_segments() for c in page.axes[0].collections[:2]])
        assert (lines[:, 0, 1] == lines[:, 1, 1]).any() == changed.units_known  # no squares to count


@pytest.mark.parametrize(("kind", "fs"), [("high_voltage", 500), ("long", 500), ("tachycardia", 250)])
def test_all_stays_on_the_sheet(explained, checkpoint, simulated, kind, fs):
    ecg = simulated(kind, fs=fs)
    spike = ecg.signal.copy()
    spike[7, 3 * fs] = 30  # mV
    for record in (ecg, replace(ecg, signal=spike), cut(ecg, 0, 3)):
        tokens = tokenize_beats(record)
        page = explanation_page(
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


def test_words_on_the_sheet_do_not_overlap(explained):
    proof = {"word": "weak", "reasons": ["A reason that is long enough to need a second line of words."] * 9}
    for given in (explained("lead_off", against="HYP"), explained("long"), explained(method="attention")):
        page = explanation_page(*given, None, proof, date="x" * 200)
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
def test_every_method_and_level_has_its_page(explained, monkeypatch, kind, method, level):
    given = explained(kind, method, level)
    why, tokens = given[4], given[2]
    assert any(NOTICE == line for line in said(*given))
    for most in (40, 5):
        monkeypatch.setattr("clear_hug.sheet.MOST_BARS", most)
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


def test_the_trace_is_painted_by_what_each_part_adds(explained):
    given = explained("lead_off")
    values = given[4].values
    end = np.nanmax(np.abs(values))
    order = [lead for row in PAPER_3X4 for lead in row] + ["II"]
    for lead, lines in zip(order, traces(explanation_page(*given)), strict=True):
        row = LEADS.index(lead)
        if np.isfinite(values[row]):
            np.testing.assert_allclose(lines.get_colors()[0][:3], expected(values[row], end), atol=0.02)
        else:
            np.testing.assert_allclose(lines.get_colors()[0][:3], to_rgb(LIGHT.hatch))


@pytest.mark.parametrize("level", ["beat", "token", "segment", "sample"])
def test_each_stretch_is_painted_in_its_own_colour(explained, level):
    given = explained("premature", "integrated_gradients" if level == "sample" else "ablation", level)
    tokens, values = given[2], given[4].values
    rhythm = traces(explanation_page(*given))[-1]
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


def test_what_was_left_out_is_not_painted(explained, tokens, some_hidden):
    given = explained(hidden=some_hidden)
    row = traces(explanation_page(*given, some_hidden))
    grey = to_rgb(LIGHT.hatch)
    np.testing.assert_allclose(colour_of(row[-1], tokens.r_peaks[2]), grey)
    assert not np.allclose(colour_of(row[-1], tokens.r_peaks[3]), grey)
    assert len(row[2].get_segments()) == 1  # V1
    np.testing.assert_allclose(row[2].get_colors()[0][:3], grey)


def test_a_lead_without_a_sample_in_the_stretch_is_no_error(checkpoint, simulated):
    ecg = simulated("long")
    signal = ecg.signal.copy()
    signal[1, : 12 * int(ecg.fs)] = np.nan
    ecg = ECG(signal, ecg.fs)
    tokens = tokenize_beats(ecg)
    given = checkpoint, ecg, tokens, diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
    words = said(*given)
    assert any("no signal" in line for line in words) and any("of 30.0 s" in line for line in words)
    names = [text.get_text() for text in explanation_page(*given).axes[0].texts]
    assert sum(text.startswith("V1") for text in names) == 2  # it is the rhythm strip too


def test_a_stretch_or_proof_that_no_page_can_show_is_refused_in_words(explained):
    for more, sentence in (
        ({"start": 10.0}, "start = 10 s; the record has 0 to 10 s"),
        ({"start": -1.0}, "start = -1 s"),
        ({"seconds": 11.0}, "a page shows up to 10 s"),
        ({"proof": {"figures": 1}}, "no 'word'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            pdf_of(explanation_page(*explained(), **more))


def test_the_page_names_the_record_only_where_it_is_asked_to(checkpoint, simulated):
    name = "Doe, Jane $x_1$ 1970\n山"
    ecg = replace(
        simulated("normal"), record_id=name, age=61.0, sex="F", warnings=(f"odd: {name}",), source=name
    )
    tokens = tokenize_beats(ecg)
    given = checkpoint, ecg, tokens, diagnose(checkpoint, tokens), explain(checkpoint, tokens, "MI")
    plain = " ".join(said(*given))
    assert not any(secret in plain for secret in ("Doe", "Jane", "61.0", '"F"'))
    words = said(*given, with_record_id=True)
    assert any("Doe, Jane $x_1$ 1970 ?" in line for line in words)
    assert (
        len(pdf_of(explanation_page(*given, with_record_id=True))) > 10_000
    )  # a letter it lacks is no warning
