"""Records of hours: a stretch is what slicing the whole would give, and no more than that is in memory."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb

from clear_hug.ecg import ECG, ECGError, clock, cut
from clear_hug.io import LIMITS, Limit, NoSample, read_ecg
from clear_hug.io import long as io_long
from clear_hug.io.long import LongRecord, held, open_ecg, open_long
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.written_formats import bdf, edf, ishne

WHOLE = simulate_ecg("normal", 3, fs=250.0, seconds=60.0, rr_sd=0.05)
MV = np.round(WHOLE.signal, 3)
STRETCHES = [(0, 10), (7.3, 20), (49.996, 10), (21.0, 1.0), (59.0, 5)]


def wfdb_record(folder: Path, name="x", mv=MV, fs=250.0, fmt="16", leads=LEADS) -> Path:
    wfdb.wrsamp(name, fs, ["mV"] * len(mv), list(leads), mv.T.astype(float), fmt=[fmt] * len(mv),
                adc_gain=[1000.0] * len(mv), baseline=[0] * len(mv), write_dir=str(folder),
                comments=["Age: 61", "Sex: F"])  # fmt: skip
    return folder / f"{name}.hea"


def segmented(folder: Path) -> Path:
    """25 s, a gap of 5 s, and 30 s."""
    rows = []
    for name, a, b in (("s1", 0, 25), ("s2", 30, 60)):
        wfdb_record(folder, name, MV[:, a * 250 : b * 250])
        rows.append(f"{name} {(b - a) * 250}")
    (folder / "joined.hea").write_text(
        "\n".join(["joined/3 12 250 15000", rows[0], "~ 1250", rows[1]]) + "\n"
    )
    return folder / "joined.hea"


RECORDS = {
    "WFDB": wfdb_record,
    "WFDB 212": lambda folder: wfdb_record(folder, "packed", MV.clip(-2, 2), fmt="212"),
    "WFDB 24, three leads": lambda folder: wfdb_record(
        folder, "few", MV[:3], fmt="24", leads=("I", "II", "V5")
    ),
    "WFDB in segments": segmented,
    "EDF": lambda folder: edf(folder / "x.edf", MV, 250.0),
    "ISHNE": lambda folder: ishne(folder / "x.ecg", MV, 250.0),
    "BDF": lambda folder: bdf(folder / "x.bdf", MV, 250.0),
}


@pytest.fixture(scope="module", params=RECORDS)
def path(request, tmp_path_factory):
    return RECORDS[request.param](tmp_path_factory.mktemp("long"))


def test_a_stretch_is_a_slice_of_the_whole(path):
    whole, opened = read_ecg(path), open_long(path)
    assert opened.fs == whole.fs and opened.seconds == pytest.approx(whole.duration)
    for start, seconds in STRETCHES:
        found, expected = opened.read(start, seconds), cut(whole, start, start + seconds)
        np.testing.assert_array_equal(found.signal, expected.signal)
        for name in ("fs", "units_known", "derived", "age", "sex", "device", "filters", "warnings"):
            if name != "warnings" or not np.isnan(whole.signal[whole.present]).any():
                assert getattr(found, name) == getattr(expected, name), name


def test_a_stretch_says_where_it_lies(path):
    opened = open_long(path)
    found = opened.read(20, 10)
    assert found.record_id == f"{path.stem}, 00:00:20 to 00:00:30"
    assert found.source == f"{read_ecg(path).source}, 00:00:20 to 00:00:30 of 00:01:00"
    for start in (-1.0, 60.0, 1e9, float("nan")):
        with pytest.raises(ECGError, match="00:01:00"):
            opened.read(start, 10)


def test_nothing_recorded_is_said_and_the_rest_still_opens(tmp_path):
    opened = open_long(segmented(tmp_path))
    with pytest.raises(NoSample):
        opened.read(25.5, 4)
    found = opened.read(20, 15).signal
    assert np.isnan(found[:, 1250:2500]).all() and np.isfinite(found[:, :1250]).all()
    mv = MV.copy()
    mv[:, : 15 * 250] = np.nan  # nothing at the beginning
    late = open_long(wfdb_record(tmp_path, "late", mv))
    np.testing.assert_array_equal(
        late.read(20, 5).signal, open_long(wfdb_record(tmp_path)).read(20, 5).signal
    )


def test_longer_than_an_hour_is_opened_and_shorter_is_read(path, monkeypatch):
    assert isinstance(open_ecg(path), ECG)
    monkeypatch.setattr(io_long, "LONGEST_WHOLE", 50.0)
    found = open_ecg(path)
    assert isinstance(found, LongRecord) and found.seconds == pytest.approx(60)


def test_no_limit_of_what_is_read_at_once_stops_a_stretch(path, monkeypatch):
    leads = 3 if path.stem == "few" else 12
    for what in ("bytes", "values"):
        most = leads * 250 * 25 * (2 if (what, path.suffix) == ("bytes", ".bdf") else 1)  # of 3 bytes each
        monkeypatch.setitem(LIMITS, what, Limit(most, LIMITS[what].words))
    with pytest.raises(ECGError, match="read at once"):
        read_ecg(path)
    assert open_long(path).read(30, 10).n_samples == 2500
    with pytest.raises(ECGError, match="read at once"):
        open_long(path).read(0, 50)


def test_other_formats_are_read_and_looked_at_in_stretches(tmp_path, monkeypatch):
    table = tmp_path / "x.csv"
    rows = "\n".join(",".join(f"{v:.3f}" for v in row) for row in MV.T[: 250 * 30])
    table.write_text("# fs = 250 Hz\n" + ",".join(f"{lead} (mV)" for lead in LEADS) + "\n" + rows + "\n")
    with pytest.raises(ECGError, match="WFDB, EDF, ISHNE"):
        open_long(table)
    monkeypatch.setattr(io_long, "LONGEST_WHOLE", 5.0)
    found = open_ecg(table)
    assert isinstance(found, LongRecord) and found.fs == 250 and found.read(2, 4).n_samples == 1000
    opened = held(WHOLE)
    np.testing.assert_array_equal(opened.read(12.5, 4).signal, cut(WHOLE, 12.5, 16.5).signal)


@pytest.mark.parametrize("harm", ["short", "empty", "no data", "escape", "format 8"])
def test_a_broken_record_is_refused_as_when_it_is_read_whole(tmp_path, harm):
    header = wfdb_record(tmp_path)
    data = header.with_suffix(".dat")
    if harm == "short":
        data.write_bytes(data.read_bytes()[:-5000])
    elif harm == "empty":
        data.write_bytes(b"")
    elif harm == "no data":
        data.unlink()
    elif harm == "escape":
        header.write_text(header.read_text().replace("x.dat", "../x.dat"))
    else:
        header.write_text(header.read_text().replace("x.dat 16", "x.dat 8"))
    with pytest.raises(ECGError) as opened:
        open_long(header)
    assert str(tmp_path) not in str(opened.value)
    if harm != "format 8":  # which is read as a whole
        with pytest.raises(ECGError) as read:
            read_ecg(header)
        assert str(read.value) == str(opened.value)


@pytest.mark.parametrize("make, at", [(edf, 252), (ishne, 156)])
def test_a_header_of_nonsense_is_refused_in_words(tmp_path, make, at):
    file = make(tmp_path / f"Jane.{'edf' if make is edf else 'ecg'}", MV, 250.0)
    content = bytearray(file.read_bytes())
    content[at : at + 2] = b"-9" if make is edf else struct.pack("<h", -9)
    file.write_bytes(content)
    with pytest.raises(ECGError):
        open_long(file)
    with pytest.raises(ECGError):
        open_ecg(file)


@pytest.mark.parametrize("make, name", [(edf, "x.edf"), (ishne, "x.ecg")])
def test_a_file_that_was_cut_short_says_so(tmp_path, make, name):
    file = make(tmp_path / name, MV, 250.0)
    file.write_bytes(file.read_bytes()[: -24 * 250 * 10])
    found = open_long(file)
    assert 48 <= found.seconds <= 50
    assert any("cut short" in sentence for sentence in found.read(5, 10).warnings)
    whole = make(tmp_path / f"whole-{name}", MV, 250.0)
    assert not any("cut short" in sentence for sentence in open_long(whole).read(5, 10).warnings)


def test_a_checksum_stays_what_it_is(tmp_path):
    file = ishne(tmp_path / "x.ecg", MV, 250.0)
    content = bytearray(file.read_bytes())
    sound = io_long._checksums(bytearray(content[:522]))[0]
    for stored, said in ((sound, False), (sound ^ 1, True)):
        struct.pack_into("<H", content, 8, stored)
        file.write_bytes(content)
        warned = any("checksum" in sentence.lower() for sentence in open_long(file).read(5, 10).warnings)
        assert warned is said


@pytest.mark.parametrize("at", [236 + 8, 256 + 14 * 216], ids=["seconds a data record", "samples"])
def test_a_field_filled_up_with_zero_bytes_is_a_number(tmp_path, at):
    file = edf(tmp_path / "x.edf", MV, 250.0)
    sound, content = open_long(file).read(5, 10), bytearray(file.read_bytes())
    content[at : at + 8] = content[at : at + 8].replace(b" ", b"\0")
    file.write_bytes(content)
    found = open_long(file).read(5, 10)
    np.testing.assert_array_equal(found.signal, sound.signal)
    assert found.warnings == sound.warnings


@pytest.mark.parametrize("number", [b"  -32768", b"-32768\0\0", b"-32768.0", b"-3.28E+4", b"-32768\t "])
def test_a_number_of_an_edf_header_may_be_written_in_many_ways(tmp_path, number):
    file = edf(tmp_path / "x.edf", MV, 250.0)
    content, at = bytearray(file.read_bytes()), 256 + 14 * 104
    content[at : at + 8] = number
    file.write_bytes(content)
    assert not any("EDF" in sentence for sentence in read_ecg(file).warnings)


def test_pauses_of_a_recording_are_said_of_each_stretch(tmp_path):
    file = edf(tmp_path / "x.edf", MV, 250.0)
    assert not any("pauses" in sentence for sentence in open_long(file).read(40, 5).warnings)
    file.write_bytes(file.read_bytes().replace(b"EDF+C", b"EDF+D", 1))
    assert any("leave its pauses out" in sentence for sentence in open_long(file).read(40, 5).warnings)


def test_a_length_that_no_recorder_reaches_is_refused(tmp_path):
    wfdb_record(tmp_path, "s1")
    (tmp_path / "x.hea").write_text("x/2 12 250 999999999999\ns1 15000\n~ 999999984999\n")
    with pytest.raises(ECGError, match="x.hea claims to last 1,111,111 hours"):
        open_long(tmp_path / "x.hea")


def test_the_clock():
    assert [clock(s) for s in (0, 59.6, 3600, 86399, 86400, 90061)] == [
        "00:00:00", "00:01:00", "01:00:00", "23:59:59", "24:00:00", "25:01:01",
    ]  # fmt: skip


GROWTH = """
import resource, sys
from clear_hug.io.long import open_long
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
record = open_long(sys.argv[1])
record.read(0, 300)
before = peak()
for start in range(0, int(record.seconds) - 300, 600):
    assert record.read(start, 300).n_samples == 300 * record.fs
print(peak() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
def test_memory_does_not_grow_with_the_record(tmp_path):
    """Two hours of twelve leads at 500 Hz are 86 MB as they lie, and 173 MB as an ECG."""
    minute = simulate_ecg("normal", 0, seconds=60.0).signal
    counts = np.round(minute.T * 1000).astype("<i2").tobytes()
    with (tmp_path / "x.dat").open("wb") as file:
        for _ in range(120):
            file.write(counts)
    lines = [f"x.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (tmp_path / "x.hea").write_text("\n".join([f"x 12 500 {120 * 30_000}", *lines]) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path / "x.hea")], capture_output=True, text=True, timeout=120,
        cwd=Path(__file__).resolve().parents[1], check=True,
    )  # fmt: skip
    assert int(done.stdout) < 40_000  # kB; a sixth of what reading it whole takes
