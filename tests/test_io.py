"""Units, names and rates are right to the sample; what cannot be read says so in one sentence."""

import base64
import gzip
import os
import re
import tempfile
import tracemalloc
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import FunctionType
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
import wfdb
from pydicom.data import get_testdata_file

from clear_hug.ecg import ECGError
from clear_hug.io import EXTENSIONS, LIMITS, READERS, Limit, find_records, read_ecg, read_ecg_upload
from clear_hug.io.physionet import _wfdb
from clear_hug.leads import LEADS
from tests.real_data import DATA, needs_data
from tests.written_formats import muse

FS = 500
CARRIED = Path(get_testdata_file("waveform_ecg.dcm", download=False))  # pydicom's own 12-lead ECG


def counts(n: int = 5000, n_leads: int = 12, seed: int = 0) -> np.ndarray:
    """(sample, lead) int16 that obeys Einthoven and Goldberger, so that a swapped lead shows."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.integers(-20, 21, (n, 8)), axis=0)
    x = 2 * (x - x.mean(axis=0).astype(int))
    one, two = x[:, 0], x[:, 1]
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.column_stack([*limb, *x[:, 2:].T])[:, :n_leads].astype(np.int16)


def write(folder: Path, name: str = "r", d: np.ndarray | None = None, **kw: object) -> Path:
    d = counts() if d is None else d
    n = d.shape[1]
    fields = dict(
        fs=FS, units=["mV"] * n, sig_name=list(LEADS[:n]), d_signal=d, fmt=["16"] * n,
        adc_gain=[1000.0] * n, baseline=[0] * n, write_dir=str(folder),
    )  # fmt: skip
    wfdb.wrsamp(name, **{**fields, **kw})
    return folder / f"{name}.hea"


def sentence(error: pytest.ExceptionInfo[ECGError], *words: str) -> None:
    """One line that a person can read: the words are there, a folder and a traceback are not."""
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text and tempfile.gettempdir() not in text, text
    assert text.endswith(".") and len(text) < 500, text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


def said(ecg, words: str) -> bool:
    return any(words in warning for warning in ecg.warnings)


# Units, names, rates


@pytest.mark.parametrize(("unit", "per_mv"), [("mV", 1.0), ("uV", 1e3), ("V", 1e-3), ("nV", 1e6)])
def test_wfdb_is_in_millivolt_to_one_count_in_any_unit(tmp_path, unit, per_mv):
    d, baseline = counts(), 37
    path = write(tmp_path, d=d, units=[unit] * 12, adc_gain=[200 / per_mv] * 12, baseline=[baseline] * 12)
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal, (d.T - float(baseline)) / 200, atol=1e-3 / 200, rtol=1e-6)
    assert (ecg.fs, ecg.units_known, ecg.source, ecg.record_id) == (FS, True, "WFDB", "r")
    assert ecg.signal.dtype == np.float32 and not ecg.derived and not ecg.warnings


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_storage_formats_agree(tmp_path, fmt):
    d = counts() % 100 - 50
    np.testing.assert_allclose(read_ecg(write(tmp_path, d=d, fmt=[fmt] * 12)).signal, d.T / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("fmt", "encode"), [("61", lambda d: d.astype(">i2")), ("160", lambda d: d ^ -32768)]
)
def test_other_byte_orders_agree(tmp_path, fmt, encode):
    path, d = write(tmp_path), counts()
    path.with_suffix(".dat").write_bytes(encode(d).tobytes())
    path.write_text(path.read_text().replace(".dat 16 ", f".dat {fmt} "))
    np.testing.assert_allclose(read_ecg(path).signal, d.T / 1000, atol=1e-6)


def test_leads_are_placed_by_name_in_any_order_and_spelling(tmp_path):
    d, order = counts(), np.random.default_rng(1).permutation(12)
    spelling = dict(zip(LEADS, "DI ii III AVR avl aVF v1 C2 V3 V04 V5 v6".split(), strict=True))
    path = write(tmp_path, d=d[:, order], sig_name=[spelling[LEADS[i]] for i in order])
    np.testing.assert_allclose(read_ecg(path).signal, d.T / 1000, atol=1e-6)


def test_a_turned_lead_is_turned_back(tmp_path):
    d = counts()
    flipped = d * np.where(np.array(LEADS) == "aVR", -1, 1).astype(np.int16)
    path = write(tmp_path, d=flipped, sig_name=[("-aVR" if n == "aVR" else n) for n in LEADS])
    np.testing.assert_allclose(read_ecg(path).signal, d.T / 1000, atol=1e-6)


def test_two_limb_leads_give_six_and_are_marked(tmp_path):
    d = counts()
    rows = [0, 1, *range(6, 12)]
    ecg = read_ecg(write(tmp_path, d=d[:, rows], sig_name=[LEADS[i] for i in rows]))
    assert ecg.derived == ("III", "aVR", "aVL", "aVF")
    np.testing.assert_allclose(ecg.signal, d.T / 1000, atol=1.5e-3)  # // in counts() rounds


def test_one_lead_is_enough_and_the_others_are_absent(tmp_path):
    ecg = read_ecg(write(tmp_path, d=counts()[:, 1:2], sig_name=["II"]))
    assert ecg.absent_leads == tuple(lead for lead in LEADS if lead != "II")
    assert np.isfinite(ecg.signal[1]).all()


def test_leads_beyond_the_twelve_are_kept_apart_and_other_channels_named(tmp_path):
    d = np.column_stack([counts(), counts(seed=2)[:, :2]])
    units = ["mV"] * 13 + ["mmHg"]
    ecg = read_ecg(write(tmp_path, d=d, sig_name=[*LEADS, "V7", "PLETH"], units=units,
                         fmt=["16"] * 14, adc_gain=[1000.0] * 14, baseline=[0] * 14))  # fmt: skip
    assert list(ecg.extra) == ["V7"] and said(ecg, "PLETH") and ecg.units_known
    np.testing.assert_allclose(ecg.extra["V7"], d[:, 12] / 1000, atol=1e-6)


@pytest.mark.parametrize("name", ["V7", "X"])
def test_a_lead_beyond_the_twelve_without_a_unit_costs_the_twelve_nothing(tmp_path, name):
    d = np.column_stack([counts(), counts(seed=2)[:, :1]])
    fields = dict(d=d, sig_name=[*LEADS, name], fmt=["16"] * 13, adc_gain=[1000.0] * 13, baseline=[0] * 13)
    ecg = read_ecg(write(tmp_path, units=["mV"] * 12 + ["mmHg"], **fields))
    assert ecg.units_known and not ecg.extra and said(ecg, f"unit is no voltage: {name}.")
    np.testing.assert_allclose(ecg.signal, d[:, :12].T / 1000, atol=1e-6)
    ecg = read_ecg(write(tmp_path, "none", units=["mmHg"] + ["mV"] * 11 + ["mmHg"], **fields))
    assert not ecg.units_known and said(ecg, "'mmHg', is not a voltage")


def test_a_fractional_rate_and_several_samples_a_frame_survive(tmp_path):
    assert read_ecg(write(tmp_path, fs=257.14)).fs == pytest.approx(257.14)
    path = write(tmp_path, "frames", d=counts(4000)[:, :2])
    text = path.read_text().replace("frames 2 500 4000", "frames 2 250 2000")
    path.write_text(text.replace(".dat 16 ", ".dat 16x2 "))
    raw = np.fromfile(path.with_suffix(".dat"), "<i2").reshape(2000, 2, 2)  # (frame, lead, sample in it)
    ecg = read_ecg(path)
    assert ecg.fs == 500
    np.testing.assert_allclose(ecg.signal[0], raw[:, 0].ravel() / 1000, atol=1e-6)


def test_invalid_samples_are_absent_and_a_lead_of_them_is_absent(tmp_path):
    d = counts()
    d[100:150, 7] = -32768
    d[:, 8] = -32768
    ecg = read_ecg(write(tmp_path, d=d))
    assert np.flatnonzero(np.isnan(ecg.signal[7])).tolist() == list(range(100, 150))
    assert ecg.absent_leads == ("V3",) and said(ecg, "absent in V2")
    d[:] = -32768
    with pytest.raises(ECGError) as error:
        read_ecg(write(tmp_path, "none", d=d))
    sentence(error, "none.hea", "invalid")


@pytest.mark.parametrize("gain", ["0", "0(0)/mV", ""])
def test_no_gain_is_no_voltage(tmp_path, gain):
    path = write(tmp_path)
    new = rf"\1 {gain}\2" if gain else r"\1"
    path.write_text(re.sub(r"(?m)^(r.dat 16) .*?( 16 0.*)$", new, path.read_text()))
    if not gain:  # a line that ends after the format has no lead name either
        with pytest.raises(ECGError) as error:
            read_ecg(path)
        sentence(error, "r.hea", "twelve")
        return
    ecg = read_ecg(path)
    assert not ecg.units_known and said(ecg, "no voltage")


def test_an_unvoltaic_unit_is_no_voltage_and_a_missing_one_is_wfdbs_default(tmp_path):
    ecg = read_ecg(write(tmp_path, units=["NU"] * 12))
    assert not ecg.units_known and said(ecg, "'NU'")
    path = write(tmp_path, "bare")
    path.write_text(path.read_text().replace("/mV", ""))
    ecg = read_ecg(path)
    assert ecg.units_known and said(ecg, "default, mV")


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        (["Age: 74", "Sex: Male"], 74, "M"), (["<age>: 51", "<sex>: F"], 51, "F"),
        (["69 M 1085 1629 x1"], 69, "M"), (["Age: 300", "Sex: Unknown"], None, None),
        (["Age: NaN"], None, None), ([], None, None), (["Name: Jane Doe", "Age: 40"], 40, None),
    ],
)  # fmt: skip
def test_age_and_sex_are_read_and_nothing_else_of_the_patient(tmp_path, comments, age, sex):
    ecg = read_ecg(write(tmp_path, comments=comments))
    assert (ecg.age, ecg.sex) == (age, sex)
    assert "Doe" not in repr(ecg)


def test_dicom_keeps_no_identifier(tmp_path):
    ds = pydicom.dcmread(CARRIED)
    ds.PatientName, ds.PatientID, ds.InstitutionName = "Scale^Offset", "ID-4711", "St. Checksum"
    ds.PatientBirthDate = "19500203"
    ds.save_as(tmp_path / "x.dcm")
    text = repr(read_ecg(tmp_path / "x.dcm"))
    for secret in ("Scale", "4711", "St. Checksum", "19500203", "1950"):
        assert secret not in text


# What looks wrong is said, not mended


def test_microvolt_called_millivolt_is_said_and_not_changed(tmp_path):
    d = counts()
    ecg = read_ecg(write(tmp_path, d=d, adc_gain=[1.0] * 12))
    assert said(ecg, "more than any heart's") and ecg.units_known
    np.testing.assert_allclose(ecg.signal, d.T, rtol=1e-6)
    assert said(read_ecg(write(tmp_path, "low", adc_gain=[1e5] * 12)), "No lead spans more than")
    assert not said(read_ecg(write(tmp_path, "fine")), "wrong unit")


@pytest.mark.parametrize("of", [np.ptp, np.std])
def test_leads_scaled_one_by_one_have_no_voltage(tmp_path, of):
    d = counts()
    ecg = read_ecg(write(tmp_path, d=d, adc_gain=[float(of(d[:, i].astype(float))) for i in range(12)]))
    assert not ecg.units_known and said(ecg, "scaled to its own range")


def test_all_zeros_are_read_and_called_flat(tmp_path):
    ecg = read_ecg(write(tmp_path, d=np.zeros((5000, 12), np.int16)))
    assert ecg.flat.all() and said(ecg, "Every lead is flat")
    d = counts()
    d[:, 9] = 5
    ecg = read_ecg(write(tmp_path, "one", d=d))
    assert ecg.flat.tolist() == [lead == "V4" for lead in LEADS] and said(ecg, "V4")


def test_a_calibration_pulse_at_the_end_is_cut(tmp_path):
    d = counts()
    d[-200:] = 0
    d[-150:-50] = 1000
    ecg = read_ecg(write(tmp_path, d=d))
    assert ecg.n_samples == 4800 and said(ecg, "calibration")
    np.testing.assert_allclose(ecg.signal, d[:4800].T / 1000, atol=1e-6)
    d[-150:-50] = 0  # a record padded with zeros is not that
    assert read_ecg(write(tmp_path, "padded", d=d)).n_samples == 5000


def test_a_rate_that_is_asked_for_wins_and_is_said(tmp_path):
    ecg = read_ecg(write(tmp_path), fs=250)
    assert ecg.fs == 250 and said(ecg, "500 Hz")


# CSV


def csv(path: Path, values: np.ndarray, heading: str = "", delimiter: str = ",") -> Path:
    np.savetxt(path, values, delimiter=delimiter, header=heading, comments="", fmt="%.4f")
    return path


def test_csv_without_heading_is_the_standard_order_and_guesses_are_said(tmp_path):
    x = counts(1000) / 1000
    ecg = read_ecg(csv(tmp_path / "x.csv", x))
    assert ecg.fs == 100 and said(ecg, "100 Hz is a guess")
    assert not ecg.units_known and said(ecg, "no unit")
    np.testing.assert_allclose(ecg.signal, x.T, atol=1e-4)
    sure = read_ecg(tmp_path / "x.csv", fs=100, unit="mV")
    assert sure.units_known and said(sure, "obey II = I + III") and len(sure.warnings) == 1
    np.testing.assert_array_equal(sure.signal, ecg.signal)
    micro = read_ecg(tmp_path / "x.csv", fs=100, unit="uV")
    np.testing.assert_allclose(micro.signal, sure.signal / 1000, rtol=1e-6)
    assert said(read_ecg(csv(tmp_path / "y.csv", x[:, ::-1])), "standard order")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
def test_csv_with_heading_gives_names_unit_and_time(tmp_path, delimiter):
    x = counts(2000) / 1000
    order = [6, 0, 1]
    values = np.column_stack([np.arange(2000) / 400, x[:, order]])
    heading = delimiter.join(["time", *(f"{LEADS[i]}[mV]" for i in order)])
    ecg = read_ecg(csv(tmp_path / "x.csv", values, heading, delimiter))
    assert ecg.fs == pytest.approx(400, rel=1e-3) and ecg.units_known
    np.testing.assert_allclose(ecg.signal[order], x[:, order].T, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("record,quality\n1,ok\n", ["x.csv", "no table of numbers"]),
        ("1,2\n3,4\n", ["2 columns"]),
        ("I,II\n0.1,zero\n0.2,0.3\n", ["x.csv"]),
        ("\n".join([",".join(["0.1"] * 12)] * 1234), ["1,234 samples", "fs=..."]),
    ],
)
def test_csv_that_is_no_ecg_says_why(tmp_path, content, words):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ECGError) as error:
        read_ecg(tmp_path / "x.csv")
    sentence(error, *words)


# Bad input


def bad_inputs(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    def put(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    short = write(folder, "short")
    os.truncate(short.with_suffix(".dat"), 24 * 1000 + 5)
    lone = write(folder, "lone")
    lone.with_suffix(".dat").unlink()
    outside = write(folder, "outside")
    outside.write_text(outside.read_text().replace("outside.dat", "../lone.dat"))
    absolute = write(folder, "absolute")
    absolute.write_text(absolute.read_text().replace("absolute.dat", "/etc/passwd"))
    address = write(folder, "address")
    address.write_text(address.read_text().replace("address.dat", "s3://bucket/x.dat"))
    huge = write(folder, "huge")
    huge.write_text(huge.read_text().replace("500 5000", "500 5000000000000"))
    twice = write(folder, "twice")
    twice.write_text(re.sub(r" II$", " I", twice.read_text(), flags=re.MULTILINE))
    gone = write(folder, "gone")
    gone.with_suffix(".hea").unlink()
    flac = write(folder, "flac")
    flac.write_text(flac.read_text().replace(".dat 16 ", ".dat 516 "))
    parts = put("parts.hea", b"parts/2 12 500 10000\na 5000\nb 5000\n")
    rng = np.random.default_rng(0)
    return {
        "empty": (put("empty.dcm", b""), ["empty.dcm", "0 bytes"]),
        "empty header": (put("empty.hea", b""), ["0 bytes"]),
        "text as DICOM": (put("text.dcm", b"hello, this is no DICOM\n" * 20), ["text.dcm", "known format"]),
        "binary": (put("noise.bin", rng.bytes(50_000)), ["noise.bin", "known format"]),
        "binary as EDF": (put("noise.edf", rng.bytes(50_000)), ["noise.edf"]),
        "binary as SCP": (put("noise.scp", rng.bytes(50_000)), ["noise.scp"]),
        "binary as CSV": (put("noise.csv", rng.bytes(50_000)), ["noise.csv"]),
        "binary as header": (put("noise.hea", rng.bytes(50_000)), ["noise.hea"]),
        "broken DICOM": (put("cut.dcm", CARRIED.read_bytes()[:3000]), ["cut.dcm"]),
        "broken XML": (put("cut.xml", b"<CardiologyXML><StripData>"), ["cut.xml"]),
        "DICOM image": (Path(get_testdata_file("CT_small.dcm", download=False)), ["CT_small.dcm"]),
        "short data": (short, ["short.dat", "1,000 of the 5,000"]),
        "no data": (lone, ["lone.hea", "lone.dat"]),
        "no header": (gone.with_suffix(".dat"), ["gone.dat", "gone.hea"]),
        "data elsewhere": (outside, ["'../lone.dat'", "beside"]),
        "data at a path": (absolute, ["'/etc/passwd'", "beside"]),
        "data at an address": (address, ["s3://", "beside"]),
        "five thousand billion samples": (huge, ["huge.hea", "at most"]),
        "a lead twice": (twice, ["lead I stands twice", "twice.hea"]),
        "compressed": (flac, ["flac.dat", "516"]),
        "segments": (parts, ["parts.hea", "a, b"]),
        "unknown leads": (
            write(folder, "lead", d=counts()[:, :2], sig_name=["ECG", "PLETH"]),
            ["lead.hea", "ECG, PLETH", "expected I, II"],
        ),
        "half a second": (write(folder, "blink", d=counts(250)), ["blink.hea", "0.5 s"]),
        "3 Hz": (write(folder, "slow", fs=3), ["slow.hea", "3 Hz"]),
        "not there": (folder / "nowhere.hea", ["nowhere.hea", "does not exist"]),
        "a folder": (folder, [folder.name, "folder"]),
    }


def test_bad_input_gives_a_sentence(tmp_path, subtests):
    for case, (path, words) in bad_inputs(tmp_path).items():
        with subtests.test(case):
            with pytest.raises(ECGError) as error:
                read_ecg(path)
            sentence(error, *words)
            assert str(tmp_path) not in str(error.value)


def test_segments_are_joined_and_gaps_are_absent(tmp_path):
    d = counts()
    write(tmp_path, "a", d[:2000])
    write(tmp_path, "b", d[2000:])
    (tmp_path / "whole.hea").write_text("whole/3 12 500 5500\na 2000\n~ 500\nb 3000\n")
    ecg = read_ecg(tmp_path / "whole.hea")
    assert ecg.n_samples == 5500 and said(ecg, "2 segments")
    np.testing.assert_allclose(ecg.signal[:, :2000], d[:2000].T / 1000, atol=1e-6)
    np.testing.assert_allclose(ecg.signal[:, 2500:], d[2000:].T / 1000, atol=1e-6)
    assert np.isnan(ecg.signal[:, 2000:2500]).all()
    names = ("whole.hea", "a.hea", "a.dat", "b.hea", "b.dat")
    uploaded = read_ecg_upload({name: (tmp_path / name).read_bytes() for name in names})
    np.testing.assert_array_equal(uploaded.signal, ecg.signal)
    (tmp_path / "whole.hea").write_text("whole/2 12 500 5000\n../a 2000\nb 3000\n")
    with pytest.raises(ECGError, match="beside it"):
        read_ecg(tmp_path / "whole.hea")


def test_a_lead_twice_in_a_segment_is_refused(tmp_path):
    header = write(tmp_path, "a")
    header.write_text(re.sub(r" II$", " I", header.read_text(), flags=re.MULTILINE))
    (tmp_path / "whole.hea").write_text("whole/1 12 500 5000\na 5000\n")
    with pytest.raises(ECGError, match=r"lead I stands twice in a\.hea"):
        read_ecg(tmp_path / "whole.hea")


def test_segments_of_several_samples_a_frame_are_joined(tmp_path):
    d = counts(2 * 5000)
    for name, part in (("a", d[:4000]), ("b", d[4000:])):
        wfdb.wrsamp(
            name, fs=250, units=["mV"] * 12, sig_name=list(LEADS), e_d_signal=list(part.T), fmt=["16"] * 12,
            samps_per_frame=[2] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
        )  # fmt: skip
    (tmp_path / "whole.hea").write_text("whole/2 12 250 5000\na 2000\nb 3000\n")
    ecg = read_ecg(tmp_path / "whole.hea")
    assert ecg.fs == 500
    np.testing.assert_allclose(ecg.signal, d.T / 1000, atol=1e-6)


def test_two_seconds_are_enough(tmp_path):
    assert read_ecg(write(tmp_path, d=counts(2 * FS))).duration == 2


@pytest.mark.long
def test_an_hour_is_read(tmp_path):
    d = np.tile(counts(), (360, 1))
    ecg = read_ecg(write(tmp_path, d=d))
    assert ecg.duration == 3600
    np.testing.assert_allclose(ecg.signal[:, -5000:], counts().T / 1000, atol=1e-6)


def test_a_number_with_bytes_of_no_text_is_none(tmp_path):
    """wfdb leaves such bytes out, and 100 Hz would become 1000 Hz in silence."""
    path = write(tmp_path)
    first, rest = path.read_bytes().split(b"\n", 1)
    name, n_signals, fs, n = first.split()[:4]
    path.write_bytes(b" ".join([name, n_signals, fs + b"\xe0\xcf0", n]) + b"\n" + rest)
    with pytest.raises(ECGError) as error:
        read_ecg(path)
    sentence(error, "no plausible numbers")


def test_a_lying_header_allocates_nothing(tmp_path):
    path = bad_inputs(tmp_path)["five thousand billion samples"][0]
    tracemalloc.start()
    with pytest.raises(ECGError):
        read_ecg(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


# DICOM: against pydicom


def test_the_dicom_ecg_that_pydicom_carries():
    raw = pydicom.dcmread(CARRIED).waveform_array(0)  # (sample, lead) in µV, the rhythm group
    ecg = read_ecg(CARRIED)
    assert (ecg.fs, ecg.n_samples, ecg.age, ecg.sex) == (1000, 10_000, 42, "F")
    assert (ecg.source, ecg.record_id, ecg.units_known) == (
        "DICOM waveform, without its averaged beats",
        "waveform_ecg",
        True,
    )
    np.testing.assert_allclose(ecg.signal, raw.T / 1000, atol=1e-6)


# EDF, made here


def edf(path: Path, channels: dict[str, tuple[np.ndarray, str]], seconds: float = 1.0) -> Path:
    """16-bit EDF; physical = digital / 1000 in the channel's unit; all samples in one data record a row."""
    names, n = list(channels), len(channels)

    def field(width: int, *values: object) -> str:
        return "".join(str(v)[:width].ljust(width) for v in values)

    rows = [x.reshape(10, -1) for x, _ in channels.values()]  # ten data records
    head = field(8, 0) + field(80, "Jane Doe", "") + field(8, "01.01.20", "00.00.00", 256 * (n + 1))
    head += field(44, "") + field(8, 10, seconds) + field(4, n)
    head += field(16, *names) + field(80, *[""] * n) + field(8, *[unit for _, unit in channels.values()])
    head += field(8, *[-32.768] * n, *[32.767] * n, *[-32768] * n, *[32767] * n) + field(80, *[""] * n)
    head += field(8, *[row.shape[1] for row in rows]) + field(32, *[""] * n)
    path.write_bytes(head.encode() + np.hstack(rows).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize(("unit", "mv"), [("mV", 1.0), ("uV", 1e-3), ("V", 1e3)])
def test_edf_is_in_millivolt_and_names_what_it_leaves_out(tmp_path, unit, mv):
    d = counts()
    leads = {f"ECG {lead}": (d[:, i], unit) for i, lead in enumerate(LEADS)}
    ecg = read_ecg(edf(tmp_path / "x.edf", {**leads, "SpO2": (d[:50, 0], "%")}))
    np.testing.assert_allclose(ecg.signal, d.T / 1000 * mv, rtol=1e-5, atol=1e-6 * mv)
    assert said(ecg, "SpO2") and ecg.units_known and "Doe" not in repr(ecg)


def test_edf_keeps_a_fractional_rate(tmp_path):
    ecg = read_ecg(edf(tmp_path / "x.edf", {"II": (counts()[:, 1], "mV")}, seconds=1.6))
    assert ecg.fs == 312.5


def test_edf_that_does_not_name_its_lead_says_what_it_holds(tmp_path):
    with pytest.raises(ECGError) as error:
        read_ecg(edf(tmp_path / "x.edf", {"ECG": (counts()[:, 1], "mV")}))
    sentence(error, "x.edf", "found: ECG", "expected I, II")


def test_edf_leads_at_two_rates_are_refused(tmp_path):
    d = counts()
    with pytest.raises(ECGError) as error:
        read_ecg(edf(tmp_path / "x.edf", {"I": (d[:, 0], "mV"), "II": (d[::2, 1], "mV")}))
    sentence(error, "x.edf", "II 250 Hz")


# Uploads


def blobs(*paths: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


def zipped(files: dict[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """The folder uploads pass through, so that a test can see it empty again."""
    folder = tmp_path / "through"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def test_an_upload_equals_the_file(tmp_path, uploads):
    path = write(tmp_path)
    files = blobs(path, path.with_suffix(".dat"))
    want = replace(read_ecg(path), record_id="").digest  # an upload's name may be a patient's
    assert read_ecg_upload(files).digest == want
    assert read_ecg_upload({"x.zip": zipped({f"a/b/{k}": v for k, v in files.items()})}).digest == want
    assert read_ecg_upload({"any.name": CARRIED.read_bytes()}).signal.shape == (12, 10_000)


def test_names_are_never_paths(tmp_path, uploads):
    path = write(tmp_path)
    files = {f"../../{k}": v for k, v in blobs(path, path.with_suffix(".dat")).items()}
    for way in (files, {"x.zip": zipped(files)}, {rf"C:\Users\me\{k[6:]}": v for k, v in files.items()}):
        assert read_ecg_upload(way).present.all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.dat", "r.hea", "through"]


NUMBERS = "\n".join(f"{k % 7}.5" for k in range(3000)).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"x{end}", b"\xff\xd8\xff\xe0 JFIF") for end in (".jpg", ".csv", "")),
        *((f"x{end}", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") for end in (".HEIC", ".dcm")),
        ("x.dat2", b"BM\x40\x0f\x05\0\0\0\0\0\x36\0\0\0"),
        ("x.tmp", b"RIFF\x10\0\0\0WEBPVP8 "),
        ("x.csv", b"GIF89a" + NUMBERS),
        *((f"x{end}", NUMBERS) for end in (".jpeg", ".png", ".tif", ".bmp", ".gif", ".heif", ".pdf")),
        ("x.jpg", b"torn on its way"),
    ],
)
def test_a_picture_is_told_by_its_content_and_by_its_name(name, content):
    with pytest.raises(ECGError, match="is a picture or a print of an ECG, which cannot be read; export the"):
        read_ecg_upload({name: content})


def test_what_is_an_ecg_by_its_content_is_read_whatever_its_name(tmp_path):
    from pydicom.data import get_testdata_file

    content = Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()
    assert read_ecg_upload({"scan.png": content}).present.all()
    assert read_ecg_upload({"BMI.csv": b"BM,I,II\n" + b"1,2,3\n4,5,6\n" * 2500}).present.any()


def test_uploads_that_cannot_be_read_say_why(tmp_path, uploads, monkeypatch):
    one, two = write(tmp_path), write(tmp_path, "s")
    cases = [
        ({}, ["Nothing"]),
        (blobs(one), ["The .hea file needs the .dat file, its data file"]),
        (blobs(one.with_suffix(".dat")), ["needs its header", ".hea file"]),
        ({"Doe_Jane.pdf": b"%PDF-1.7 ..."}, ["The .pdf file is a picture or a print of an ECG", "export"]),
        (blobs(one, two, one.with_suffix(".dat")), ["2 records", "one at a time"]),
        ({"notes.md": b"hello", "more.md": b"hello"}, ["No ECG among the .md file"]),
        ({"x.zip": b"PK not a zip"}, [".zip"]),
        ({"a/r.hea": b"1", "b/r.hea": b"2"}, ["Two files"]),
        ({"x" * 400 + ".hea": b"1"}, ["rename"]),
        ({"r.dcm": b""}, ["The .dcm file is empty (0 bytes)"]),
    ]
    for files, words in cases:
        with pytest.raises(ECGError) as error:
            read_ecg_upload(files)
        sentence(error, *words)
        assert str(uploads) not in str(error.value)
    monkeypatch.setitem(LIMITS, "unpacked", Limit(1000, LIMITS["unpacked"].words))
    with pytest.raises(ECGError) as error:
        read_ecg_upload({"bomb.zip": zipped({"a.hea": bytes(2000)})})
    sentence(error, ".zip file unpacks to more than 1,000 bytes")


# Folders


def test_find_records_gives_one_entry_a_record_sorted(tmp_path):
    for name in ("b", "a"):
        write(tmp_path, name)
    (tmp_path / "sub").mkdir()
    csv(tmp_path / "sub" / "x.csv", counts(1000) / 1000)
    (tmp_path / "labels.csv").write_text("record,quality\n1,ok\n")
    (tmp_path / "README.txt").write_text("I am not an ECG.\n")
    for name in ("a.atr", "a.i", ".hidden.hea", "old.dat", "notes.md"):
        (tmp_path / name).write_bytes(b"1 2 3")
    found = find_records(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a.hea", "b.hea", "sub/x.csv"]
    assert len(find_records(tmp_path, limit=2)) == 2
    for path in found:
        assert read_ecg(path).present.all()
    with pytest.raises(ECGError):
        find_records(tmp_path / "a.hea")


def test_every_reader_offers_its_extensions():
    assert set(EXTENSIONS) == {e for reader in READERS.values() for e in reader.extensions}
    assert all(re.fullmatch(r"\.[a-z0-9]+", e) for e in EXTENSIONS)


# Real files. Expected: source, fs, samples, absent, derived, age, sex; or words of the sentence.

LIMB = ("III", "aVR", "aVL", "aVF")
FORMATS = {
    **{f"csv/0000{i}_lr_100hz.csv": ("CSV", 100, 1000, (), None, None) for i in range(1, 7)},
    "dicom/sample.dcm": ("DICOM waveform, without its averaged beats", 500, 5000, (), 39, "M"),
    "edf/0000050.ECG.edf": ("EDF", 800, 37_855, (), None, None),
    "ge_muse_xml/MUSE_example.xml": ("GE MUSE XML", 500, 5000, LIMB, 50, "M"),
    "ge_muse_xml/muse_ecg_deidentified_1.xml": ("GE MUSE XML", 240, 2500, LIMB, 66, "M"),
    "ge_muse_xml/ukbb_scrubbed.xml": ("CardioSoft XML", 500, 5000, (), 1, "F"),
    "hl7_aecg/ecg_hl7.xml": ("HL7 aECG", 500, 5000, (), 46, "M"),
    "hl7_aecg/empty.xml": "No rhythm series",
    "hl7_aecg/minimum_aecg.xml": "0.026 s",
    "hl7_aecg/subject1_0.xml": ("HL7 aECG", 500, 5000, (), 46, "M"),
    "mat/JS00001.hea": ("WFDB", 500, 5000, (), 85, "M"),
    "mat/JS00001.mat": ("WFDB", 500, 5000, (), 85, "M"),
    "philips_sierra_xml/2020-5-18_15-48-11.xml": ("Philips Sierra XML", 500, 5300, (), 69, None),
    "philips_sierra_xml/3191723_ZZDEMOPTONLY_1-04_orig.xml": ("Philips Sierra XML", 500, 5300, (), 60, "M"),
    "philips_sierra_xml/invalid-doc-type.xml": "unsupported",
    "philips_sierra_xml/invalid-doc-version.xml": "unsupported",
    "scp/Example.scp": ("SCP-ECG", 500, 5000, (), 49, "M"),
    "scp/demo.scp": "invalid sample range",
}


@pytest.fixture
def formats() -> Path:
    return Path(str(DATA)) / "formats"


class TestRealFiles:
    pytestmark = [pytest.mark.data, needs_data]

    @pytest.mark.parametrize("name", FORMATS)
    def test_formats(self, formats, name):
        expected = FORMATS[name]
        if isinstance(expected, str):
            with pytest.raises(ECGError) as error:
                read_ecg(formats / name)
            sentence(error, Path(name).name, expected)
            assert str(formats) not in str(error.value)
            return
        ecg = read_ecg(formats / name)
        assert (ecg.source, ecg.fs, ecg.n_samples, ecg.derived, ecg.age, ecg.sex) == expected
        assert ecg.present.all() and ecg.record_id == Path(name).stem
        assert ecg.units_known == (ecg.source != "CSV")

    def test_no_format_file_is_left_out(self, formats):
        files = {p.relative_to(formats).as_posix() for p in formats.rglob("*") if p.is_file()}
        assert files == set(FORMATS)

    def test_dicom_against_pydicom(self, formats):
        raw = pydicom.dcmread(formats / "dicom/sample.dcm").waveform_array(0)
        np.testing.assert_allclose(read_ecg(formats / "dicom/sample.dcm").signal, raw.T / 1000, atol=1e-6)

    def test_edf_against_its_bytes(self, formats):
        b = (formats / "edf/0000050.ECG.edf").read_bytes()
        n = int(b[252:256])
        field = lambda at, width: [b[256 + n * at + i * width :][:width].decode().strip() for i in range(n)]  # noqa: E731
        lowest, highest = np.array(field(104, 8), float), np.array(field(112, 8), float)
        first, last = np.array(field(120, 8), float), np.array(field(128, 8), float)
        x = np.frombuffer(b[256 * (n + 1) :], "<i2").reshape(-1, n).astype(float)  # 1 sample a data record
        mv = (x - first) / (last - first) * (highest - lowest) + lowest
        assert field(0, 16) == list(LEADS) and set(field(96, 8)) == {"mV"} and set(field(216, 8)) == {"1"}
        ecg = read_ecg(formats / "edf/0000050.ECG.edf")
        assert ecg.fs == 1 / float(b[244:252])
        np.testing.assert_allclose(ecg.signal, mv.T, atol=1e-6)

    @pytest.mark.parametrize("name", ["MUSE_example", "muse_ecg_deidentified_1"])
    def test_muse_against_its_base64(self, formats, name):
        path = formats / f"ge_muse_xml/{name}.xml"
        ecg = read_ecg(path)
        for wave in ElementTree.parse(path).getroot().iter("Waveform"):
            if wave.findtext("WaveformType") != "Rhythm":
                continue
            for lead in wave.iter("LeadData"):
                x = np.frombuffer(base64.b64decode(lead.findtext("WaveFormData")), "<i2")
                assert lead.findtext("LeadAmplitudeUnits") == "MICROVOLTS"
                mv = x * float(lead.findtext("LeadAmplitudeUnitsPerBit")) / 1000
                row = ecg.signal[LEADS.index(lead.findtext("LeadID"))]
                np.testing.assert_allclose(row, mv, atol=1e-6)

    def test_muse_that_contradicts_itself_says_so(self, formats):
        assert said(read_ecg(formats / "ge_muse_xml/muse_ecg_deidentified_1.xml"), "240 and 250 Hz")
        assert not read_ecg(formats / "ge_muse_xml/MUSE_example.xml").warnings

    @pytest.mark.parametrize("name", ["ecg_hl7", "subject1_0"])
    def test_aecg_against_its_digits(self, formats, name):
        text = (formats / f"hl7_aecg/{name}.xml").read_text(encoding="utf-8", errors="replace")
        text = text[: text.index("derivation")] if "derivation" in text else text
        leads = re.findall(
            r'"MDC_ECG_LEAD_(\w+)".*?origin\s+value="(\S+?)"\s+unit="uV".*?scale\s+value="(\S+?)"\s+unit="uV"'
            r".*?<digits>(.*?)</digits>", text, re.DOTALL,
        )  # fmt: skip
        ecg = read_ecg(formats / f"hl7_aecg/{name}.xml")
        assert [name for name, *_ in leads[:12]] and len(leads) >= 12
        for lead, origin, scale, digits in leads[:12]:
            mv = (float(origin) + float(scale) * np.array(digits.split(), float)) / 1000
            row = next(i for i, known in enumerate(LEADS) if known.upper() == lead)
            np.testing.assert_allclose(ecg.signal[row], mv, atol=1e-6)

    def test_scp_holds_the_same_ecg_as_its_aecg(self, formats):
        scp, aecg = read_ecg(formats / "scp/Example.scp"), read_ecg(formats / "hl7_aecg/ecg_hl7.xml")
        np.testing.assert_allclose(scp.signal, aecg.signal, atol=1e-6)

    def test_cardiosoft_against_its_digits(self, formats):
        text = (formats / "ge_muse_xml/ukbb_scrubbed.xml").read_text(encoding="latin-1")
        strip = text[text.index("<StripData>") : text.index("</StripData>")]
        ecg = read_ecg(formats / "ge_muse_xml/ukbb_scrubbed.xml")
        for lead, digits in re.findall(r'lead="(\w+)">([^<]*)<', strip):
            mv = 5e-3 * np.fromstring(digits.replace("\n", "").replace("\t", ""), sep=",")
            np.testing.assert_allclose(ecg.signal[LEADS.index(lead)], mv, atol=1e-6)

    @pytest.mark.parametrize("name", ["2020-5-18_15-48-11", "3191723_ZZDEMOPTONLY_1-04_orig"])
    def test_sierra_obeys_einthoven_and_has_lost_its_pulse(self, formats, name):
        ecg = read_ecg(formats / f"philips_sierra_xml/{name}.xml")
        one, two, three, avr, avl, avf = ecg.signal[:6]
        lsb = 5e-3  # mV
        for left, right in ((two, one + three), (avr, -(one + two) / 2), (avl, (one - three) / 2),
                            (avf, (two + three) / 2)):  # fmt: skip
            np.testing.assert_allclose(left, right, atol=2.01 * lsb)
        assert said(ecg, "calibration") and not (ecg.signal[:, -50:] == ecg.signal[0, -50:]).all()

    @pytest.mark.long
    @pytest.mark.parametrize("folder", ["ptbxl", "ludb", "cinc2021", "cinc2025_chagas"])
    def test_every_wfdb_record_equals_its_bytes(self, folder):
        """Decoded here by hand: int16 little-endian, (count - baseline) / gain."""
        unread, n = [], 0
        for path in find_records(Path(str(DATA)) / folder):
            if path.suffix != ".hea":
                continue
            try:
                ecg = read_ecg(path)
            except ECGError as error:
                unread.append(str(error))
                continue
            n += 1
            first, *rows = [line.split() for line in path.read_text().splitlines()[:13]]
            offset = int(rows[0][1].partition("+")[2] or 0)
            x = np.fromfile(path.parent / rows[0][0], "<i2", offset=offset).reshape(-1, 12)[: int(first[3])]
            for lead, (row, count) in enumerate(zip(rows, x.T, strict=True)):
                gain, _, baseline = row[2].partition("/")[0].partition("(")
                assert row[8].upper() == LEADS[lead].upper() and row[1].startswith("16")
                mv = (count - float(baseline.rstrip(")") or 0)) / float(gain)
                np.testing.assert_allclose(ecg.signal[lead], mv, atol=1e-5, rtol=1e-6)
            assert ecg.fs == float(first[2])
            assert ecg.units_known == (folder != "ludb")  # whose leads each span exactly "1 mV"
        expected = {"ptbxl": (918, 0), "ludb": (100, 0), "cinc2021": (84, 0), "cinc2025_chagas": (56, 1)}
        assert (n, len(unread)) == expected[folder]
        assert all("1111628.dat" in text for text in unread)

    def test_ptbxl_lists_both_rates(self):
        names = [p.stem for p in find_records(Path(str(DATA)) / "ptbxl")]
        assert sum(n.endswith("_lr") for n in names) == sum(n.endswith("_hr") for n in names) == 459


def test_headers_are_parsed_as_wfdb_itself_parses_them(tmp_path):
    """`io._wfdb` gives wfdb its own table in another form: nothing that it reads may change."""
    from wfdb.io import _header

    lines = [
        "a.dat 16 1000.0(-3)/mV 16 0 12 -7 0 I", "a.dat 212x2:3+24 200/uV 12 1024 -5 77 0 V1 of a long name",
        "b.dat 80", "b.dat 16 0", "b.dat 16 200(5)", "b.dat 16 1e3/mV 16 7",
    ]  # fmt: skip
    assert _wfdb() is wfdb
    quick = _header._parse_signal_lines
    plain = FunctionType(quick.__code__, {**quick.__globals__, "SIGNAL_SPECS": _header.SIGNAL_SPECS})
    assert quick.__globals__["SIGNAL_SPECS"] is not _header.SIGNAL_SPECS
    assert repr(quick(lines)) == repr(plain(lines))
    quick = _header._parse_record_line
    plain = FunctionType(quick.__code__, {**quick.__globals__, "RECORD_SPECS": _header.RECORD_SPECS})
    assert quick.__globals__["RECORD_SPECS"] is not _header.RECORD_SPECS
    for line in ("a 12 500 5000", "a/3 2 360.5/75(10) 650000 0:0:1 01/02/1990", "a 1", "a 1 250.0 10 12:30"):
        assert repr(quick(line)) == repr(plain(line))


def test_a_record_that_lies_unpressed_in_an_archive(tmp_path):
    path = muse(tmp_path / "a.xml", counts().T / 1000, FS)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.write(path, "a.xml")
    (tmp_path / "x.xml.gz").write_bytes(gzip.compress(path.read_bytes(), 0))
    for name in ("x.zip", "x.xml.gz"):
        np.testing.assert_array_equal(read_ecg(tmp_path / name).signal, read_ecg(path).signal)


@pytest.mark.parametrize("begin", [b"\x1f\x8b\x08\0", b"PK\x03\x04"])
def test_samples_that_begin_as_an_archive_does(tmp_path, begin):
    header = write(tmp_path, "a")
    data = header.with_suffix(".dat")
    data.write_bytes(begin + data.read_bytes()[4:])
    assert read_ecg(data).signal.shape == (12, 5000)
