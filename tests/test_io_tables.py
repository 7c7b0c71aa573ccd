"""Tables and arrays in the dialects that hospitals and notebooks write: the same ECG comes out of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from clear_hug.ecg import ECGError
from clear_hug.io import NeedsAnswer, cure, read_ecg, read_ecg_upload
from clear_hug.io.facts import facts
from clear_hug.io.stated import stated_above
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

FS = 250
MV = simulate_ecg("normal", fs=float(FS)).signal.astype(np.float64)  # (12, 2500) mV, 10 s
TIME = np.arange(MV.shape[1]) / FS
HEAD = ",".join(LEADS)
LIMB = ("III", "aVR", "aVL", "aVF")
CABRERA = np.stack([MV[4], MV[0], -MV[3], MV[1], MV[5], MV[2], *MV[6:]])


def lines(values: np.ndarray, delimiter: str = ",", form: str = "%.4f", decimal: str = ".") -> str:
    return "\n".join(delimiter.join((form % v).replace(".", decimal) for v in row) for row in values)


def clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:06.3f}"


TIMED = ("utf-8", ("unit",), False)
PLAIN = ("utf-8", ("fs", "unit"), False)
# name -> text, encoding, what must have been guessed, is the voltage known
TEXTS: dict[str, tuple[Callable[[], str], str, tuple[str, ...], bool]] = {
    "heading": (lambda: f"{HEAD}\n{lines(MV.T)}", *PLAIN),
    "the sign for minus": (lambda: f"{HEAD}\n{lines(MV.T)}".replace("-", "\u2212"), *PLAIN),
    "decimal comma": (lambda: ";".join(LEADS) + "\n" + lines(MV.T, ";", decimal=","), *PLAIN),
    "mark of UTF-8": (lambda: f"{HEAD}\n{lines(MV.T)}", "utf-8-sig", ("fs", "unit"), False),
    "UTF-16": (lambda: "\t".join(LEADS) + "\n" + lines(MV.T, "\t", decimal=","), "utf-16", *PLAIN[1:]),
    "UTF-16 without a mark": (lambda: f"{HEAD}\n{lines(MV.T)}", "utf-16-le", ("fs", "unit"), False),
    "Windows": (lambda: f"Gerät Müller; Abtastrate: {FS} Hz\r\n" + ";".join(LEADS) + "\r\n"
                + lines(MV.T, ";", decimal=",").replace("\n", "\r\n"), "cp1252", ("unit",), False),
    "microvolt in the heading": (lambda: ",".join(f"{n} (uV)" for n in LEADS) + "\n"
                                 + lines(MV.T * 1000, form="%d"), "utf-8", ("fs",), True),
    "µV and a comma": (lambda: ";".join(f"{n} [µV]" for n in LEADS) + "\n"
                       + lines(MV.T * 1000, ";", "%.1f", ","), "utf-8", ("fs",), True),
    "whole numbers": (lambda: f"{HEAD}\n{lines(np.round(MV.T * 1000), form='%d')}", *PLAIN),
    "seconds": (lambda: f"Time (s),{HEAD}\n{lines(np.c_[TIME, MV.T])}", *TIMED),
    "milliseconds": (lambda: f"time_ms,{HEAD}\n{lines(np.c_[TIME * 1000, MV.T])}", *TIMED),
    "milliseconds unsaid": (lambda: f"time,{HEAD}\n{lines(np.c_[TIME * 1000, MV.T])}", *TIMED),
    "rounded seconds": (lambda: f"t,{HEAD}\n" + "\n".join(f"{t:.2f},{lines(row[None])}"
                        for t, row in zip(TIME, MV.T, strict=True)), *TIMED),
    "rdsamp": (lambda: "'Elapsed time'," + ",".join(f"'{n}'" for n in LEADS) + "\n'hh:mm:ss.mmm',"
               + ",".join(["'mV'"] * 12) + "\n" + "\n".join(f"'{clock(t)}',{lines(row[None])}"
               for t, row in zip(TIME, MV.T, strict=True)), "utf-8", (), True),
    "dates": (lambda: f"timestamp,{HEAD}\n" + "\n".join(f"2020-01-01 10:00:{t:06.3f},{lines(row[None])}"
              for t, row in zip(TIME, MV.T, strict=True)), *TIMED),
    "sample numbers": (lambda: f",{HEAD}\n" + "\n".join(f"{i},{lines(row[None])}"
                       for i, row in enumerate(MV.T)), *PLAIN),
    "remarks before": (lambda: f"# Sampling rate: {FS} Hz\n# Units: uV\n{HEAD}\n"
                       + lines(np.round(MV.T * 1000), form="%d"), "utf-8", (), True),
    "patient before": (lambda: f"Name,Doerrenbach Jane\nBirth date,1950-02-03\nSampling frequency,{FS}\n"
                       f"Unit,mV\n\n{HEAD}\n{lines(MV.T)}", "utf-8", (), True),
    "interval": (lambda: f"sampling interval: 4 ms\n{HEAD}\n{lines(MV.T)}", *TIMED),
    "a line of units": (lambda: f"{HEAD}\n{','.join(['uV'] * 12)}\n{lines(MV.T * 1000)}",
                        "utf-8", ("fs",), True),
    "a lead a line": (lambda: "\n".join(f"{n},{lines(row[None])}" for n, row in zip(LEADS, MV, strict=True)),
                      *PLAIN),
    "no heading": (lambda: lines(MV.T), "utf-8", ("leads", "fs", "unit"), False),
    "no heading, rows": (lambda: lines(MV), "utf-8", ("orientation", "leads", "fs", "unit"), False),
    "no heading, spaces": (lambda: lines(MV.T, "  "), "utf-8", ("leads", "fs", "unit"), False),
    "no heading, time": (lambda: lines(np.c_[TIME, MV.T]), "utf-8", ("leads", "unit"), False),
    "Cabrera's order": (lambda: lines(CABRERA.T), "utf-8", ("leads", "fs", "unit"), False),
    "names of the wild": (lambda: "Lead 1\tLead 2\tlead_III\tAVR\tavl\taVf\tC1\tECG V2\tMDC_ECG_LEAD_V3\t"
                          "V 4\tv5\tV06\n" + lines(MV.T, "\t"), *PLAIN),
    "-aVR": (lambda: HEAD.replace("aVR", "-aVR") + "\n"
             + lines((MV * np.where(np.array(LEADS) == "aVR", -1, 1)[:, None]).T), *PLAIN),
    "a delimiter at the end": (lambda: f"{HEAD},\n" + lines(MV.T).replace("\n", ",\n"), *PLAIN),
    "quotes": (lambda: ",".join(f'"{n}"' for n in LEADS) + "\n" + lines(MV.T, form='"%.4f"'), *PLAIN),
    "bars": (lambda: "|".join(LEADS) + "\n" + lines(MV.T, "|"), *PLAIN),
    "other columns": (lambda: f"id,{HEAD},note\n" + "\n".join(f"7,{lines(row[None])},ok" for row in MV.T),
                      *PLAIN),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_a_table_in_any_dialect(tmp_path, kind):
    text, encoding, guessed, known = TEXTS[kind]
    path = tmp_path / "x.txt"  # the extension says nothing
    path.write_bytes(text().encode(encoding))
    ecg = read_ecg(path)
    assert (ecg.source, ecg.fs, ecg.n_samples) == ("CSV", FS, MV.shape[1])
    np.testing.assert_allclose(ecg.signal, MV, atol=1.1e-3)
    assert ecg.guessed == guessed and ecg.units_known == known
    assert len(ecg.warnings) >= len(guessed) and "Doerrenbach" not in repr(ecg) and "1950" not in repr(ecg)
    sure = read_ecg(path, fs=FS, unit=None if known else "mV" if kind != "whole numbers" else "uV")
    assert sure.units_known and not {"fs", "unit"} & set(sure.guessed)
    np.testing.assert_allclose(sure.signal, MV, atol=1.1e-3)


def test_eight_columns_are_the_usual_eight(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(lines(MV[[0, 1, *range(6, 12)]].T))
    ecg = read_ecg(path)
    assert ecg.derived == LIMB and "leads" in ecg.guessed
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_one_column_is_asked_about(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(lines(MV[1:2].T))
    with pytest.raises(NeedsAnswer) as error:
        read_ecg(path)
    assert error.value.asks == ("leads",)
    ecg = read_ecg(path, leads=["II"])
    assert ecg.absent_leads == tuple(n for n in LEADS if n != "II")


def test_a_rate_that_cannot_be_guessed_is_asked_for():
    with pytest.raises(NeedsAnswer) as error:
        read_ecg_upload({"x.csv": f"{HEAD}\n{lines(MV[:, :1234].T)}".encode()})
    assert error.value.asks == ("fs",)
    assert read_ecg_upload({"x.csv": f"{HEAD}\n{lines(MV[:, :1234].T)}".encode()}, fs=250).fs == 250


def test_times_win_over_a_rate_that_contradicts_them(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"# sampling rate: 500 Hz\nTime (s),{HEAD}\n{lines(np.c_[TIME, MV.T])}")
    ecg = read_ecg(path)
    assert ecg.fs == FS and any("contradicts itself" in s for s in ecg.warnings)


@pytest.mark.parametrize(
    ("change", "words", "right"),
    [
        (lambda x: x[[1, 0, *range(2, 12)]], "I and II are exchanged", {"leads": {"I": "II", "II": "I"}}),
        (lambda x: x * np.where(np.arange(12) == 4, -1, 1)[:, None], "aVL is turned over",
         {"leads": {"aVL": "-aVL"}}),
        (lambda x: x * 1000, "Read as uV", {"unit": "uV"}),
        (lambda x: x / 1000, "Read as V", {"unit": "V"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_set_right(tmp_path, change, words, right):
    path = tmp_path / "x.csv"
    path.write_text(f"{','.join(f'{n} (mV)' for n in LEADS)}\n{lines(change(MV).T, form='%.7f')}")
    ecg = read_ecg(path)
    assert any(words in sentence for sentence in ecg.warnings) and cure(ecg) == right
    again = read_ecg(path, **right)
    np.testing.assert_allclose(again.signal, MV, atol=1e-4)
    assert not cure(again)


def test_a_sound_record_needs_no_cure(simulated):
    assert not cure(simulated())


@pytest.mark.parametrize("kind", ["misnamed", "too few"])
def test_leads_that_do_not_fit_the_file_are_refused(tmp_path, kind):
    path = tmp_path / "x.csv"
    path.write_text(f"{HEAD}\n{lines(MV.T)}")
    with pytest.raises(ECGError, match="leads"):
        read_ecg(path, leads={"V7": "V1"} if kind == "misnamed" else ["I", "II"])
    with pytest.raises(ECGError, match="orientation"):
        read_ecg(path, orientation="sideways")


# Watches, recorders and loggers


def watch(*said: str, decimal: str = ".") -> bytes:
    """A watch's export: lines that say who and how, an empty one, and one column."""
    values = "\n".join(
        f"{v * 1000:.3f}".rstrip("0").rstrip(".").replace(".", decimal) for v in np.tile(MV[0], 3)
    )
    return ("\n".join(["Name,Jane Doerrenbach", *said, "", values]) + "\n").encode()


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    ("said", "fs"),
    [
        (('Date of Birth,"Feb 3, 1950"', 'Device,"Watch7,12"', "Sample Rate,512 hertz", "", "Lead,Lead I",
          "Unit,µV"), 512),
        (('Geburtstag,"03.02.1950"', "Messrate,511,562\u00a0Hertz", "", "Ableitung,Ableitung I",
          "Einheit,µV"), 511.562),
        (("Fréquence d’échantillonnage,512 hertz", "Dérivation,Dérivation I", "Unité,µV"), 512),
        (("Частота измерения,512 Гц", "Отведение,Отведение I", "Единица,мкВ"), 512),
        (("采样率,512赫兹", "导联,I导联", "单位,µV"), 512),
    ],
)  # fmt: skip
def test_a_watchs_one_column_is_the_lead_that_it_names(said, fs, decimal):
    ecg = read_ecg_upload({"ecg.csv": watch(*said, decimal=decimal)})
    assert (ecg.fs, ecg.guessed, ecg.units_known) == (fs, (), True)
    assert ecg.absent_leads == LEADS[1:]
    np.testing.assert_allclose(ecg.signal[0], np.tile(MV[0], 3), atol=1e-5)
    assert "Doerrenbach" not in repr(ecg) and "1950" not in repr(ecg)


def test_two_columns_of_whole_numbers_are_no_decimals(tmp_path):
    two = np.round(MV[:2] * 1000).astype(int)
    (tmp_path / "x.csv").write_text("I,II\n" + lines(two.T, form="%d"))
    np.testing.assert_allclose(read_ecg(tmp_path / "x.csv", fs=FS, unit="uV").signal[:2], MV[:2], atol=1e-3)


@pytest.mark.parametrize("rate", [125, 128, 256, 360, 512, 750, 800, 960])
@pytest.mark.parametrize("seconds", [True, False])
def test_times_rounded_to_milliseconds_do_not_bend_the_rate(rate, seconds):
    times = [round(i / rate, 3) for i in range(2500)]
    cells = [f"{t:.3f}" if seconds else clock(t) for t in times]
    head = ",".join(f"{lead} (mV)" for lead in LEADS)
    text = "\n".join(
        [f"time,{head}", *(f"{c},{lines(row[None])}" for c, row in zip(cells, MV.T, strict=True))]
    )
    assert read_ecg_upload({"x.csv": text.encode()}).fs == pytest.approx(rate, rel=2e-4)


def test_samples_that_are_counted_are_no_decimals(tmp_path):
    padded = [f"{i},{round(abs(v) * 1000):03d}" for i, v in enumerate(MV[1])]
    (tmp_path / "x.csv").write_text("\n".join(padded))
    read = read_ecg(tmp_path / "x.csv", fs=FS, unit="uV", leads=["II"])
    np.testing.assert_allclose(read.signal[1], np.abs(MV[1]), atol=1e-3)


@pytest.mark.parametrize("stated", ["", "# Sampling rate: 100 Hz\n"])
@pytest.mark.parametrize("named", [True, False])
def test_times_of_day_are_held_against_what_is_stated_and_their_jumps_said(stated, named):
    times = np.arange(2500) / FS + 3 * (np.arange(2500) >= 1000)
    head = "time," + ",".join(f"{lead} (mV)" for lead in LEADS) + "\n" if named else ""
    rows = [f"{clock(t)},{lines(row[None])}" for t, row in zip(times, MV.T, strict=True)]
    read = read_ecg_upload({"x.csv": (stated + head + "\n".join(rows)).encode()})
    said = " ".join(read.warnings)
    assert read.fs == FS and "jump once, by up to 3" in said
    assert ("names 100 Hz, and its times give" in said) == bool(stated)


def test_a_gain_is_for_the_leads_that_are_counts():
    counts = np.round(MV * 200).astype(int)
    table = pd.DataFrame(counts.T, columns=list(LEADS)).assign(Resp=np.linspace(0, 1, 2500))
    read = read_ecg_upload({"x.csv": ("ADC gain: 200\n" + table.to_csv(index=False)).encode()}, fs=FS)
    np.testing.assert_allclose(read.signal, MV, atol=0.003)
    assert read.units_known and not any("not applied" in s for s in read.warnings)


@pytest.mark.parametrize("beside", ["Lead 13", "lead_13"])
def test_a_numbered_lead_beside_named_ones_is_left_out(beside):
    table = pd.DataFrame(MV.T, columns=[f"{lead} (mV)" for lead in LEADS]).assign(**{beside: 0.5 * MV[0]})
    read = read_ecg_upload({"x.csv": table.to_csv(index=False).encode()}, fs=FS)
    np.testing.assert_allclose(read.signal, MV, atol=1e-6)
    assert "leads" not in read.guessed


def test_what_is_no_lead_may_stand_beside_numbered_ones():
    table = pd.DataFrame(MV.T, columns=[f"Lead {i + 1}" for i in range(12)]).assign(
        Resp=np.sin(np.arange(2500))
    )
    read = read_ecg_upload({"x.csv": table.to_csv(index=False).encode()}, fs=FS, unit="mV")
    np.testing.assert_allclose(read.signal, MV, atol=1e-6)
    assert "leads" in read.guessed


def test_a_column_of_the_rate_is_held_against_what_is_stated():
    table = pd.DataFrame(MV.T, columns=[f"{lead} (mV)" for lead in LEADS]).assign(fs=500)
    read = read_ecg_upload({"x.csv": (f"# Sampling rate: {FS} Hz\n" + table.to_csv(index=False)).encode()})
    assert read.fs == FS and any("contradicts itself" in s and "500 Hz" in s for s in read.warnings)


DATES: dict[str, Callable[[pd.Timestamp], str]] = {
    "ISO, UTC": lambda t: t.isoformat(timespec="milliseconds") + "Z",
    "ISO, zone": lambda t: t.isoformat(timespec="microseconds") + "+01:00",
    "German": lambda t: t.strftime("%d.%m.%Y %H:%M:%S.%f"),
    "American": lambda t: t.strftime("%m/%d/%Y %I:%M:%S.%f %p"),
    "slashes": lambda t: t.strftime("%Y/%m/%d %H:%M:%S.%f"),
    "rdsamp": lambda t: t.strftime("[%H:%M:%S.%f %d/%m/%Y]"),
    "us of 1970": lambda t: str(t.value // 1000),
    "ns of 1970": lambda t: str(t.value),
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_and_counters_give_the_rate(kind):
    times = pd.Timestamp("2020-01-01 23:59:58") + pd.to_timedelta(np.arange(2500) * 4, unit="ms")
    head = "\t".join(f"{lead} (mV)" for lead in LEADS)
    rows = (f"{DATES[kind](t)}\t{lines(row[None], chr(9))}" for t, row in zip(times, MV.T, strict=True))
    ecg = read_ecg_upload({"x.tsv": "\n".join([f"timestamp\t{head}", *rows]).encode()})
    assert (ecg.fs, ecg.guessed) == (pytest.approx(FS), ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


def test_times_that_cannot_be_read_are_said():
    head = ",".join(f"{lead} (mV)" for lead in LEADS)
    rows = (f"noon,{lines(row[None])}" for row in MV.T)
    ecg = read_ecg_upload({"x.csv": "\n".join([f"time,{head}", *rows]).encode()})
    assert "fs" in ecg.guessed and any("none that can be read" in s for s in ecg.warnings)


@pytest.mark.parametrize(
    "words", ["{} (filtered)", "{} [raw]", "{0} ({0})", "{} (inverted)", "inv. {}", "\u2212{}"]
)
def test_words_beside_a_lead_are_no_unit_of_it(words):
    """Nor is a lead that is called upside down read as if it were not."""
    sign = -1 if "inv" in words or "\u2212" in words else 1
    head = f"Sampling rate: {FS} Hz\nUnit: mV\n" + ",".join(words.format(lead) for lead in LEADS)
    ecg = read_ecg_upload({"x.csv": f"{head}\n{lines(sign * MV.T)}".encode()})
    assert (ecg.fs, ecg.units_known, ecg.guessed, ecg.warnings) == (FS, True, (), ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


@pytest.mark.parametrize(("unit", "seconds"), [("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)])
def test_times_too_dense_for_seconds_are_of_a_longer_unit(unit, seconds):
    """A spreadsheet counts days."""
    rate = 1000.0
    mv = simulate_ecg("normal", fs=rate).signal[:, :3300]
    times = 43_831.5 + np.arange(3300) / rate / seconds
    text = f"Timestamp,{HEAD}\n" + lines(np.c_[times, mv.T], form="%.11f")
    ecg = read_ecg_upload({"x.csv": text.encode()})
    assert ecg.fs == rate and "fs" not in ecg.guessed and any(f"taken for {unit}" in s for s in ecg.warnings)


@pytest.mark.parametrize("before", ["2020-01-01", "7"])
def test_a_time_of_day_beside_a_date_gives_the_rate(before):
    rows = (f"{before},10:00:{t:06.3f},{lines(row[None])}" for t, row in zip(TIME, MV.T[:1700], strict=False))
    ecg = read_ecg_upload({"x.csv": "\n".join([f"Date,Time,{HEAD}", *rows]).encode()})
    assert (ecg.fs, ecg.n_samples) == (FS, 1700) and "fs" not in ecg.guessed
    np.testing.assert_allclose(ecg.signal, MV[:, :1700], atol=1e-4)


def test_a_first_column_of_times_and_a_stated_rate_may_contradict():
    text = "Sampling rate: 500 Hz\n" + lines(np.c_[TIME, MV.T])
    ecg = read_ecg_upload({"x.csv": text.encode()})
    assert ecg.fs == FS and any("contradicts itself" in s for s in ecg.warnings)


LABCHART = (
    "Interval=\t0.004 s\nExcelDateTime=\t4.2477442e+004\t04/17/16 10:36:44.785978\n"
    "TimeFormat=\tStartOfBlock\nDateFormat=\t\nChannelTitle=\tLead I\tLead II\tResp\n"
    "Range=\t10.000 V\t10.000 V\t10.000 V\n"
    "UnitName=\tmV\tmV\t*\nTopValue=\t*\t*\t*\nBottomValue=\t*\t*\t*\n"
)


def test_labchart_names_its_columns_above_their_ranges():
    text = LABCHART + lines(np.c_[TIME, MV[:2].T, MV[0]], "\t")
    ecg = read_ecg_upload({"x.txt": text.encode()})
    assert (ecg.fs, ecg.guessed, ecg.units_known) == (FS, (), True)
    np.testing.assert_allclose(ecg.signal[:2], MV[:2], atol=1e-4)
    assert any("Resp" in s for s in ecg.warnings)


@pytest.mark.parametrize(
    ("name", "heading", "answer"),
    [
        ("x.csv", ",".join(f"ch{i}" for i in range(1, 13)), list(LEADS)),
        ("x.csv", "time," + ",".join(f"ch{i}" for i in range(1, 13)), list(LEADS)),
        ("x.txt", "device time [s],ecg [mV]", ["II"]),
        ("x.txt", "NYHA,II\ntime,ecg", ["II"]),
        ("x.txt", "x.acq\n4 msec/sample\n1 channels\nECG100C\nmV\nsec,CH1,\n,2500,", ["II"]),
    ],
)
def test_the_answer_about_columns_without_leads_is_taken(name, heading, answer):
    rows = MV[[LEADS.index(lead) for lead in answer]]
    table = np.c_[TIME, rows.T] if len(answer) == 1 or heading.startswith("time") else rows.T
    content = {name: f"# {FS} Hz\n{heading}\n{lines(table)}".encode()}
    with pytest.raises(NeedsAnswer) as error:
        read_ecg_upload(content)
    assert (error.value.asks, error.value.channels) == (("leads",), len(answer))
    ecg = read_ecg_upload(content, leads=answer)
    assert (ecg.fs, ecg.n_samples) == (FS, 2500)
    np.testing.assert_allclose(ecg.signal[[LEADS.index(lead) for lead in answer]], rows, atol=1e-4)


@pytest.mark.parametrize("time", ["sec", "milliSec", "min", ""])
@pytest.mark.parametrize("delimiter", ["\t", ","])
@pytest.mark.parametrize("counts", [True, False])
def test_acqknowledge_lists_its_channels_above_the_table(time, delimiter, counts):
    """The chest leads stand first: in the usual order of eight each lead would be another."""
    order = ["V1", "V2", "V3", "V4", "V5", "V6", "I", "II"]
    rows = np.stack([MV[LEADS.index(lead)] for lead in order])
    end = delimiter * 9
    head = f"x.acq\n4 msec/sample{end}\n9 channels{end}\n"
    head += (
        "".join(f"{name}{end}\nmV{end}\n" for name in ("ECG - V1", *order[1:])) + f"Resp{end}\nVolts{end}\n"
    )
    cells = [[time, *(f"CH{i}" for i in range(1, 10))], ["", *["2500"] * 9]]
    head += "".join(delimiter.join(row[not time :]) + f"{delimiter}\n" for row in cells[: 1 + counts])
    times = TIME * {"milliSec": 1e3, "min": 1 / 60}.get(time, 1.0)
    table = np.vstack([rows, rows[:1]]) if not time else np.vstack([times, rows, rows[:1]])
    ecg = read_ecg_upload({"x.txt": (head + lines(table.T, delimiter, "%.8f")).encode()})
    assert (ecg.fs, ecg.n_samples, ecg.guessed, ecg.units_known) == (FS, 2500, (), True)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)
    assert len(ecg.warnings) == 1 and "Resp" in ecg.warnings[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dt", 0.002),
        ("Ts", 0.002),
        ("sampling_interval", 0.002),
        ("sampling_period_ms", 2),
        ("sample_step_us", 2000),
    ],
)
def test_an_interval_beside_an_array_is_its_rate(tmp_path, name, value):
    """The samples would last 10 s at another rate."""
    ecg = read_ecg(npz(tmp_path, ecg=MV, unit="mV", **{name: value}))
    assert ecg.fs == 500 and "fs" not in ecg.guessed
    assert facts({"dt": 8e-5}).fs == pytest.approx(12_500)  # of which "8" alone was a number
    assert facts({name: 1.6e9}).fs is None and facts({"fs": 250.0, name: value}).fs == 250


def test_each_lead_of_an_array_is_in_its_own_unit(tmp_path):
    mv = np.vstack([MV * np.where(np.arange(12) < 6, 1.0, 1000.0)[:, None], MV[:1]])
    names, units = [*LEADS, "RESP"], [*["mV"] * 6, *["uV"] * 6, "NU"]
    ecg = read_ecg(npz(tmp_path, ecg=mv, fs=FS, sig_name=np.array(names), units=np.array(units)))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)
    assert ecg.units_known


@pytest.mark.parametrize("names", [("ecg_uV",), tuple(f"{lead}_uV" for lead in LEADS), ("ecg (µV)",)])
def test_an_arrays_name_may_end_with_its_unit(tmp_path, names):
    uv = 1000 * MV
    arrays = dict(zip(names, [uv] if len(names) == 1 else uv, strict=True))
    ecg = read_ecg(npz(tmp_path, fs=FS, **arrays))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)
    assert ecg.units_known and "unit" not in ecg.guessed


@pytest.mark.parametrize("key", ["block0_items", "derivations", "ECG_leads", "x"])
def test_a_list_of_leads_names_those_of_the_array_whatever_it_is_called(tmp_path, key):
    order = np.array(LEADS)[::-1]
    about = {"fs": FS, "unit": "mV"}
    ecg = read_ecg(npz(tmp_path, ecg=MV[::-1], **about, **{key: order}))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)
    assert ecg.guessed == () and facts({key: list(order), "y": list(LEADS)}).names == ()  # of two, which?


@pytest.mark.parametrize("key", ["counts_per_mV", "adu_per_mV", "gains", "microvolts_per_bit"])
def test_what_a_count_is_worth_by_any_of_its_names(tmp_path, key):
    worth = 5.0 if key.startswith("micro") else 200.0
    ecg = read_ecg(npz(tmp_path, ecg=np.round(MV * 200).astype(np.int16), fs=FS, **{key: worth}))
    np.testing.assert_allclose(ecg.signal, MV, atol=2.6e-3)
    assert ecg.units_known


def test_keys_of_rates_and_units():
    assert facts({"samples_per_sec": 250.0}).fs == 250
    for key in ("amplitude_unit", "voltage_units", "phys_unit", "unit_of_measure", "y_unit"):
        assert facts({key: "uV"}).unit == "uV"


@pytest.mark.parametrize("time", ["time (s),", "time,s", "t,ms"])
def test_leads_in_rows_may_have_a_row_of_times_and_a_column_of_units(time):
    """The samples would last 10 s at another rate."""
    rate = 2 * FS
    row = ",".join(f"{i / rate * (1000 if 'ms' in time else 1):.4f}" for i in range(2500))
    rows = "\n".join(f"{lead},uV,{lines(mv[None] * 1000)}" for lead, mv in zip(LEADS, MV, strict=True))
    ecg = read_ecg_upload({"x.csv": f"{time},{row}\n{rows}".encode()})
    assert (ecg.fs, ecg.guessed, ecg.units_known, ecg.warnings) == (rate, (), True, ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


def test_another_sheet_may_say_the_rate_and_the_unit(tmp_path):
    with pd.ExcelWriter(tmp_path / "x.xlsx") as book:
        about = pd.DataFrame([["Sampling rate (Hz)", 2 * FS], ["Unit", "uV"]])
        about.to_excel(book, sheet_name="about", header=False, index=False)
        pd.DataFrame(1000 * MV.T, columns=list(LEADS)).to_excel(book, sheet_name="ECG", index=False)
    ecg = read_ecg(tmp_path / "x.xlsx")
    assert (ecg.fs, ecg.guessed, ecg.units_known, ecg.warnings) == (2 * FS, (), True, ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


@pytest.mark.parametrize("nested", [True, False])
def test_a_row_of_parquet_may_hold_the_record(tmp_path, nested):
    leads = {"ecg": [list(MV)]} if nested else {lead: [mv] for lead, mv in zip(LEADS, MV, strict=True)}
    frame = pd.DataFrame({**leads, "fs": [FS], "unit": ["mV"], "age": [70]})
    frame.to_parquet(tmp_path / "x.parquet")
    ecg = read_ecg(tmp_path / "x.parquet")
    assert (ecg.fs, ecg.age, ecg.units_known) == (FS, 70, True)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)


def test_a_parquet_file_without_values_says_what_it_lacks(tmp_path):
    pd.DataFrame({"name": ["x", "y"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ECGError, match="no column of values: save it"):
        read_ecg(tmp_path / "x.parquet")


@pytest.mark.parametrize("line", ["Resolution\t5\tuV", "Resolution;5;uV", "LSB,5,uV", "Resolution: 5 uV"])
def test_the_worth_of_a_count_may_stand_in_cells(line):
    assert stated_above([line], []) == {"gain": 200.0}


def test_leads_that_are_cells_or_structs_of_matlab_are_all_read(tmp_path):
    """The last of them had taken the place of the others."""
    cells = np.empty(12, dtype=object)
    for i, row in enumerate(MV):
        cells[i] = row
    savemat(tmp_path / "x.mat", {"ecg": cells, "fs": FS, "unit": "mV"})
    np.testing.assert_allclose(read_ecg(tmp_path / "x.mat").signal, MV, atol=1e-5)
    turned = [(lead, row) for lead, row in zip(LEADS[::-1], MV[::-1], strict=True)]
    structs = np.array(turned, dtype=[("label", object), ("data", object)])
    savemat(tmp_path / "x.mat", {"ecg": structs, "fs": FS, "unit": "mV"})
    ecg = read_ecg(tmp_path / "x.mat")
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)
    assert ecg.guessed == ()


@pytest.mark.parametrize("form", ["HDF5", "MAT"])
def test_groups_of_the_same_leads_are_records(tmp_path, form):
    """The second lacks leads that the first has, and has another rate."""
    import h5py

    names = [LEADS, LEADS[:6]]
    if form == "HDF5":
        with h5py.File(tmp_path / "x", "w") as file:
            for i, leads in enumerate(names):
                group = file.create_group(f"p{i}")
                group.attrs["fs"], group.attrs["unit"] = FS * (i + 1), "mV"
                for lead in leads:
                    group[lead] = (i + 1) * MV[LEADS.index(lead)]
    else:
        one, two = (
            {lead: (i + 1) * MV[LEADS.index(lead)] for lead in LEADS} | {"fs": FS * (i + 1), "unit": "mV"}
            for i in range(2)
        )
        savemat(tmp_path / "x", {"one": one, "two": {k: v for k, v in two.items() if k[0] != "V"}},
                appendmat=False)  # fmt: skip
    with pytest.raises(NeedsAnswer, match="2 groups of leads") as error:
        read_ecg(tmp_path / "x")
    assert error.value.records == 2
    for record, leads in enumerate(names, 1):
        ecg = read_ecg(tmp_path / "x", record=record)
        assert ecg.fs == FS * record and ecg.absent_leads == LEADS[len(leads) :]
        np.testing.assert_allclose(ecg.signal[: len(leads)], record * MV[: len(leads)], atol=1e-5)


def test_what_is_said_of_a_record_is_said_of_that_one(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        for i in range(2):
            file[f"p{i}/ecg"] = MV
            file[f"p{i}"].attrs["fs"] = FS * (i + 1)
    assert [read_ecg(tmp_path / "x.h5", record=i).fs for i in (1, 2)] == [FS, 2 * FS]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_numbered_leads_are_no_named_ones(tmp_path, kind, first):
    names = [f"lead_{first + i}" for i in range(12)]
    if kind == "csv":
        pd.DataFrame(MV.T, columns=names).to_csv(tmp_path / "x.csv", index=False)
    else:
        npz(tmp_path, **dict(zip(names, MV, strict=True)))
    ecg = read_ecg(tmp_path / f"x.{kind}")
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)
    assert "leads" in ecg.guessed and any("numbered, and not named" in s for s in ecg.warnings)


@pytest.mark.parametrize(
    ("form", "encoding"),
    [("导联{}", "gb18030"), ("{}導聯", "utf-8"), ("誘導{}", "shift_jis"), ("Отведение {}", "cp1251"),
     ("Derivação {}", "utf-8"), ("Afleiding {}", "utf-8"), ("{} ECG", "utf-8")],
)  # fmt: skip
def test_leads_in_other_tongues(form, encoding):
    head = ",".join(form.format(lead) for lead in LEADS)
    ecg = read_ecg_upload({"x.csv": f"{head}\n{lines(MV.T)}".encode(encoding)})
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


def test_numerals_and_wide_letters_of_east_asia():
    head = ",".join(["Ⅰ", "Ⅱ", "Ⅲ", *LEADS[3:6], *(f"Ｖ{i}" for i in range(1, 7))])
    ecg = read_ecg_upload({"x.csv": f"{head}\n{lines(MV.T)}".encode()})
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


@pytest.mark.parametrize(
    "before",
    ["采样率:1000\n单位:mV",
     "Частота дискретизации: 1000 Гц\nЕдиницы: мВ",
     "# Sampling rate: 1,000 Hz\n# Unit: mV",
     "Abtastrate;1.000 Hz\nEinheit;mV", "Frecuencia de muestreo: 1000\nUnidades: mV"],
)  # fmt: skip
def test_rates_and_units_in_other_tongues(before):
    ecg = read_ecg_upload({"x.csv": f"{before}\n{HEAD}\n{lines(MV.T)}".encode()})
    assert (ecg.fs, ecg.guessed, ecg.units_known) == (1000, (), True)


def test_a_quoted_decimal_comma():
    text = HEAD + "\n" + "\n".join(",".join(f'"{v:.4f}"'.replace(".", ",") for v in row) for row in MV.T)
    np.testing.assert_allclose(read_ecg_upload({"x.csv": text.encode()}).signal, MV, atol=1e-4)


def test_a_rate_in_each_line_is_no_guess(tmp_path):
    table = pd.DataFrame(MV.T, columns=list(LEADS)).assign(fs=1000, rate=70)
    table.to_csv(tmp_path / "x.csv", index=False)
    ecg = read_ecg(tmp_path / "x.csv")
    assert ecg.fs == 1000 and "fs" not in ecg.guessed


# Arrays


def npy(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "x.npy", values)
    return folder / "x.npy"


def npz(folder: Path, **arrays: object) -> Path:
    np.savez_compressed(folder / "x.npz", **arrays)  # type: ignore[arg-type]
    return folder / "x.npz"


def mat(folder: Path, form: str, **arrays: object) -> Path:
    savemat(folder / "x.mat", arrays, format=form)
    return folder / "x.mat"


def hdf5(folder: Path, name: str = "x.h5", matlab: bool = False) -> Path:
    import h5py

    with h5py.File(folder / name, "w") as file:
        ecg = file.create_dataset("a/ecg", data=MV if matlab else MV.T, compression="gzip")
        if matlab:
            ecg.attrs["MATLAB_class"] = np.bytes_("double")
            file["fs"] = np.array([[float(FS)]])
            file["fs"].attrs["MATLAB_class"] = np.bytes_("double")
        else:
            ecg.attrs["sampling_rate"], ecg.attrs["units"] = FS, "mV"
            ecg.attrs["lead_names"] = list(LEADS)
        file.attrs["patient_name"] = "Doerrenbach"
    return folder / name


def hdf5_named(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        for lead, row in zip(LEADS, MV, strict=True):
            file[f"leads/{lead}"] = row * 1000
        file.attrs["fs"], file.attrs["unit"] = FS, "uV"
    return folder / "x.h5"


def parquet(folder: Path) -> Path:
    table = pd.DataFrame(np.c_[TIME, MV.T * 1000], columns=["time", *(f"{lead}_uV" for lead in LEADS)])
    table.to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def xlsx(folder: Path) -> Path:
    table = pd.DataFrame(np.c_[TIME, MV.T], columns=["Time (s)", *(f"{lead} (mV)" for lead in LEADS)])
    with pd.ExcelWriter(folder / "x.xlsx") as book:
        pd.DataFrame({"Name": ["Jane Doerrenbach"]}).to_excel(book, sheet_name="patient", index=False)
        table.to_excel(book, sheet_name="ecg", index=False)
    return folder / "x.xlsx"


ALL = ("orientation", "leads", "fs", "unit")
ARRAYS: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...]]] = {
    "npy, rows": (lambda f: npy(f, MV), "NPY", ALL),
    "npy, columns of whole µV": (lambda f: npy(f, np.round(MV.T * 1000).astype(np.int16)), "NPY", ALL),
    "npy, one in a stack": (lambda f: npy(f, MV[None]), "NPY", ALL),
    "npz with all said": (lambda f: npz(f, signal=MV.T, fs=FS, units="mV", leads=np.array(LEADS)), "NPZ", ()),
    "npz, a lead an array": (lambda f: npz(f, **dict(zip(LEADS, MV, strict=True)), sampling_rate=FS),
                             "NPZ", ("unit",)),
    "mat 5": (lambda f: mat(f, "5", val=np.round(MV * 1000).astype(np.int16)), "MAT", ALL),
    "mat 4": (lambda f: mat(f, "4", val=np.round(MV * 1000).astype(np.int16)), "MAT", ALL),
    "mat, struct": (lambda f: mat(f, "5", ECG={"data": MV, "fs": float(FS), "leads": np.array(LEADS, object),
                                               "unit": "mV", "age": 61.0, "sex": "Female"}), "MAT", ()),
    "mat 7.3": (lambda f: hdf5(f, "x.mat", matlab=True), "MAT 7.3", ("orientation", "leads", "unit")),
    "hdf5": (hdf5, "HDF5", ()),
    "hdf5, a lead an array": (hdf5_named, "HDF5", ()),
    "parquet": (parquet, "Parquet", ()),
    "xlsx": (xlsx, "XLSX", ()),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_in_any_file(tmp_path, kind):
    write, source, guessed = ARRAYS[kind]
    path = write(tmp_path)
    nameless = path.rename(tmp_path / "x.bin")  # known by content
    ecg = read_ecg(nameless)
    assert (ecg.source, ecg.fs) == (source, FS) and ecg.guessed == guessed
    np.testing.assert_allclose(ecg.signal, MV, atol=1.1e-3)
    assert ecg.units_known == ("unit" not in guessed) and "Doerrenbach" not in repr(ecg)
    if kind == "mat, struct":
        assert (ecg.age, ecg.sex) == (61, "F")


def test_cpsc2018_is_known_by_its_layout(tmp_path):
    path = mat(tmp_path, "5", ECG={"sex": "Male", "age": 74.0, "data": np.tile(MV, 3)})
    ecg = read_ecg(path)
    assert (ecg.fs, ecg.age, ecg.sex) == (500, 74, "M") and any("CPSC2018" in s for s in ecg.warnings)


def test_a_data_set_of_many_is_no_record(tmp_path):
    path = npz(tmp_path, signals=np.zeros((5, 12, 1000), np.int16))
    with pytest.raises(ECGError, match="one record"):
        read_ecg(path)


def test_orientation_can_be_said(tmp_path):
    path = npy(tmp_path, np.tile(MV, 3)[:, :1000][:, None].reshape(12, 1000))
    with pytest.raises(ECGError):
        read_ecg(path, orientation="columns")  # a thousand leads
    assert read_ecg(path, orientation="rows").n_samples == 1000


@pytest.mark.parametrize(
    "key",
    ["srate", "sfreq", "fs_hz", "fsamp", "f_s", "samplerate", "sampling_rate", "Fs", "ecg_fs", "sps",
     "sample_rate_hz", "meta/sampling_frequency"],
)  # fmt: skip
def test_a_rate_is_known_by_its_key(key):
    assert facts({key: 360.0}).fs == 360
    assert facts({"ECG_Rate": 72.0, "heart_rate": 72.0}).fs is None


@pytest.mark.parametrize("key", ["t", "time", "times", "timestamps", "time_ms"])
def test_times_beside_an_array_give_the_rate(tmp_path, key):
    time = np.arange(2500) / 360 * (1000 if key == "time_ms" else 1)  # 2500 samples are no 10 s at 360 Hz
    for arrays in ({"signal": MV}, dict(zip(LEADS, MV, strict=True))):
        ecg = read_ecg(npz(tmp_path, **arrays, **{key: time}))
        assert ecg.fs == pytest.approx(360, rel=1e-6) and "fs" not in ecg.guessed
        np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)


def test_times_that_are_none_are_not_taken(tmp_path):
    assert read_ecg(npz(tmp_path, signal=MV, t=np.arange(2500))).fs == FS  # sample numbers
    ecg = read_ecg(npz(tmp_path, signal=MV, t=MV[0]))
    assert ecg.fs == FS and "fs" in ecg.guessed and any("does not rise evenly" in s for s in ecg.warnings)


def test_named_leads_of_unlike_length_are_said(tmp_path):
    leads = dict(zip(LEADS, MV, strict=True)) | {"V6": np.tile(MV[11], 4)}
    ecg = read_ecg(npz(tmp_path, **leads, fs=FS))
    assert ecg.n_samples == 2500 and ecg.absent_leads == ("V6",)
    assert any("Left out" in s and "V6" in s for s in ecg.warnings)


@pytest.mark.parametrize("index", [pd.date_range("2020-01-01", periods=2500, freq="1ms"),
                                   pd.to_timedelta(np.arange(2500), unit="ms")])  # fmt: skip
def test_the_index_of_a_parquet_is_its_time(tmp_path, index):
    pd.DataFrame(MV.T, columns=list(LEADS), index=index).to_parquet(tmp_path / "x.parquet")
    ecg = read_ecg(tmp_path / "x.parquet")
    assert ecg.fs == 1000 and "fs" not in ecg.guessed


def test_labcharts_string_of_channels_is_parted(tmp_path):
    ends = np.array([[2500.0], [5000.0]])
    path = mat(
        tmp_path, "5", data=MV[:2].reshape(1, -1), datastart=ends - 2499, dataend=ends, unittext="mV",
        samplerate=np.full((2, 1), 1000.0), titles=np.array(["Lead I ", "Lead II"]),
    )  # fmt: skip
    ecg = read_ecg(path)
    assert (ecg.fs, ecg.guessed, ecg.units_known) == (1000, (), True)
    np.testing.assert_allclose(ecg.signal[:2], MV[:2], atol=1e-5)


def test_acqknowledges_interval_is_its_rate(tmp_path):
    path = mat(
        tmp_path, "5", data=MV[:2].T, labels=np.array(["I ", "II"]), units=np.array(["mV", "mV"]), isi=0.5,
        isi_units="ms",
    )  # fmt: skip
    ecg = read_ecg(path)
    assert (ecg.fs, ecg.guessed) == (2000, ())


def test_a_gain_of_each_lead_is_one_where_all_are_alike(tmp_path):
    counts = np.round(MV * 200).astype(np.int16)
    ecg = read_ecg(npz(tmp_path, signal=counts, fs=FS, units="mV", gain=np.full(12, 200.0)))
    np.testing.assert_allclose(ecg.signal, MV, atol=3e-3)
    assert any("gain of 200" in s for s in ecg.warnings)


def test_a_rate_in_kilohertz(tmp_path):
    assert read_ecg(npz(tmp_path, signal=MV, fs="1 kHz")).fs == 1000


def test_helpers_named_x_and_y_are_no_leads(tmp_path):
    ecg = read_ecg(npz(tmp_path, signal=MV, x=np.zeros(300), y=np.ones(300)))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)


def test_a_prefix_that_all_names_share_is_no_part_of_the_lead(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        for lead, row in zip(LEADS, MV, strict=True):
            file[f"ecg/strip_{lead}"] = row
        file["ecg/quality"] = np.ones(200)
    np.testing.assert_allclose(read_ecg(tmp_path / "x.h5").signal, MV, atol=1e-5)


@pytest.mark.parametrize("baseline", [0, -300])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("units", ["mV", None])
def test_counts_are_divided_by_a_gain(tmp_path, baseline, named, units):
    counts = np.round(MV * 200 + baseline).astype(np.int16)
    arrays = dict(zip(LEADS, counts, strict=True)) if named else {"signal": counts}
    said = {"units": units} if units else {}
    ecg = read_ecg(npz(tmp_path, **arrays, **said, gain=200.0, baseline=baseline, fs=FS))
    np.testing.assert_allclose(ecg.signal, MV, atol=3e-3)
    assert ecg.units_known and any("gain of 200" in s for s in ecg.warnings)


@pytest.mark.parametrize("baseline", ["1,024", "2.5 mV", "0.5 Hz", "2024-01-05", "2 weeks"])
def test_a_baseline_that_is_no_count_is_not_taken(baseline):
    assert "baseline" not in stated_above(["ADC gain: 200", f"Baseline: {baseline}"], [])
    assert stated_above(["ADC gain: 200", "Baseline: -300"], []) == {"gain": 200.0, "baseline": -300.0}


@pytest.mark.parametrize(
    "line", ["gain 1", "gain: 1", "ADC gain: 1", "baseline: 1", "ADC gain:", "lead,", "1 sec", "Messrate"]
)
@pytest.mark.parametrize("end", [" " * 20_000, "1" * 20_000, "\t(" * 10_000])
@pytest.mark.timeout(5)
def test_hostile_lines_take_no_time(line, end):
    stated_above([line + end], [])


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("ADC gain: 200", True),
        ("gain = 200 adu/mV", True),
        ("Gain: 200 (counts per mV)", True),
        ("gain: 200", False),  # an amplifier's, perhaps
        ("gain: 10 mm/mV", False),
        ("ADC gain: 10 mm/mV", False),
        ("ADC gain: 12.5 mm/mV", False),
        ("gain: 1 cm/mV", False),
        ("Gain: 1 V/mV", False),
        ("ADC gain (12 bit): 200", False),
        ("ADC gain ch1: 200", False),
        ("ADC gain: 200,200,200", False),
        ("ADC gain: 1,000", False),
    ],
)
def test_counts_of_columns_lie_around_their_baseline(tmp_path, line, taken):
    table = pd.DataFrame(dict(zip(LEADS, np.round(MV * 200 - 300).astype(int), strict=True)))
    text = f"# fs: {FS} Hz\n# {line}\n# baseline: -300\n" + table.to_csv(index=False)
    (tmp_path / "x.csv").write_text(text)
    ecg = read_ecg(tmp_path / "x.csv")
    assert ecg.fs == FS and ("unit" in ecg.guessed) != taken
    if taken:
        assert ecg.units_known
        np.testing.assert_allclose(ecg.signal, MV, atol=3e-3)


@pytest.mark.parametrize(
    ("values", "gain", "units"),
    [(MV * 1000 / 4.88, 4.88, None), (MV, 10.0, "mV"), (MV, 10.0, None), (MV * 1000, 1000.0, "uV")],
)
def test_a_gain_that_would_make_no_heart_divides_nothing(tmp_path, values, gain, units):
    values = np.round(values).astype(np.int16) if np.ptp(values) > 30 else values
    ecg = read_ecg(npz(tmp_path, signal=values, gain=gain, fs=FS, **({"units": units} if units else {})))
    factor = 1e-3 if values.dtype == np.int16 else 1.0
    np.testing.assert_allclose(ecg.signal, values * factor, atol=1e-5)
    assert ecg.units_known == bool(units) and any("not applied" in s for s in ecg.warnings)


@pytest.mark.parametrize("count", [-32768, 32767, -9999])
@pytest.mark.parametrize("gain", [None, 200.0])
def test_counts_that_stand_for_none_are_absent(tmp_path, count, gain):
    counts = np.round(MV * (gain or 1000)).astype(np.int16)
    counts[:, :100] = count
    counts[3, 100:150] = count
    ecg = read_ecg(npz(tmp_path, signal=counts, fs=FS, **({"gain": gain} if gain else {})))
    assert any("1,250 samples" in s and "absent" in s for s in ecg.warnings)
    assert np.isnan(ecg.signal[:, :100]).all() and np.isnan(ecg.signal).sum() == 1250
    np.testing.assert_allclose(ecg.signal[:, 150:], MV[:, 150:], atol=3e-3)
    assert not any("II = I + III: are" in s or "do not obey" in s for s in ecg.warnings)


def test_a_sound_sample_at_the_end_of_the_range_stays(tmp_path):
    counts = np.round(MV * 1000).astype(np.int16)
    counts[5] *= 12  # a lead that reaches the end of the type, as where the amplifier is saturated
    counts[5, 700] = -32768
    counts[5, 701:710] = -30000
    assert not np.isnan(read_ecg(npz(tmp_path, signal=counts, fs=FS)).signal).any()
    deep = np.round(MV / -MV[6].min() * 60_000).clip(-32768, 32767)  # S waves cut off at the end of the type
    assert (np.diff(np.flatnonzero(deep[6] == -32768)) == 1).any()
    assert not np.isnan(read_ecg(npz(tmp_path, signal=deep.astype(np.int16), fs=FS)).signal).any()
    ramp = np.round(MV * 1000) - np.arange(2500) * 4 + 1
    ramp[:, -2:] = -9999  # where the drift ends
    assert not np.isnan(read_ecg(npz(tmp_path, signal=ramp.astype(np.int16), fs=FS)).signal).any()
    small = np.round(MV * 100)
    small[7, 300] = 999  # an artefact
    assert not np.isnan(read_ecg(npz(tmp_path, signal=small, fs=FS)).signal).any()


@pytest.mark.parametrize("kind", ["npz", "csv"])
@pytest.mark.parametrize(
    ("value", "scale"),
    [(-9999, 1), (-999, 1), (99999, 1), (-32768, 1), (-32.768, 1), (32.767, 1), (-2147483648, 1),
     (-9999, 1000), (-32768, 1000), (65535, 1000), (32767, 1000), (-8388608, 1000)],
)  # fmt: skip
def test_a_lone_number_for_none_is_absent_in_any_unit(tmp_path, kind, value, scale):
    values = MV * scale if scale == 1 else np.round(MV * scale)
    values[5, 700], values[5, 900] = value, value
    values[8, 1200] = value
    unit = "mV" if scale == 1 else "uV"
    if kind == "npz":
        ecg = read_ecg(npz(tmp_path, signal=values.astype(np.float32), fs=FS, units=unit))
    else:
        head = ",".join(f"{lead} ({unit})" for lead in LEADS)
        (tmp_path / "x.csv").write_text(f"{head}\n{lines(values.T, form='%.10g' if scale == 1 else '%d')}")
        ecg = read_ecg(tmp_path / "x.csv")
    assert any("3 samples hold a number that stands for no measurement" in s for s in ecg.warnings)
    assert np.isnan(ecg.signal).sum() == 3 and np.isnan(ecg.signal[5, [700, 900]]).all()
    assert not any("artefact" in s for s in ecg.warnings)  # the rest is sound


def test_several_numbers_for_none_in_one_lead(tmp_path):
    values = np.round(MV * 1000).astype(np.int16)
    values[3, [10, 500, 900, 901]] = -32768, 32767, -9999, 9999
    ecg = read_ecg(npz(tmp_path, signal=values, fs=FS, units="uV"))
    assert np.flatnonzero(np.isnan(ecg.signal[3])).tolist() == [10, 500, 900, 901]


# Files of several records


def tracings(n: int = 5, samples: int = 4096) -> tuple[np.ndarray, list[np.ndarray]]:
    """Records of unlike length in the middle of zeros, as CODE-15 stores them: 10 s and 7 s at 400 Hz."""
    made = [simulate_ecg("normal", seed=k, fs=400.0).signal[:, : (4000, 2800)[k % 2]] for k in range(n)]
    out = np.zeros((n, samples, 12), np.float32)
    for k, mv in enumerate(made):
        start = (samples - mv.shape[1]) // 2
        out[k, start : start + mv.shape[1]] = mv.T
    return out, made


def holding(folder: Path, **arrays: np.ndarray) -> Path:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return folder / "x.h5"


@pytest.mark.parametrize("record", [1, 2, 5])
def test_one_record_of_many_is_read_without_its_padding(tmp_path, record):
    array, made = tracings()
    path = holding(tmp_path, tracings=array, exam_id=np.arange(5), age=np.array([61.0, 62, 63, 64, 65]))
    with pytest.raises(NeedsAnswer, match="5 records; say which one: record=1 to 5") as error:
        read_ecg(path)
    assert (error.value.asks, error.value.records) == (("record",), 5)
    ecg, want = read_ecg(path, record=record), made[record - 1]
    start = (4096 - want.shape[1]) // 2
    assert (ecg.fs, ecg.n_samples, ecg.age) == (400, 4096, 60 + record)
    np.testing.assert_allclose(ecg.signal[:, start : start + want.shape[1]], want, atol=1e-6)
    assert np.isnan(ecg.signal).sum() == 12 * (4096 - want.shape[1])
    said = " ".join(ecg.warnings)
    assert f"first {start:,} and the last {start:,} samples are 0 in every lead" in said
    assert f"Record {record} of the 5" in said


@pytest.mark.parametrize("record", [0, 6, -1])
def test_a_record_that_is_not_among_them_is_refused(tmp_path, record):
    with pytest.raises(ECGError, match=f"5 records, and record {record}"):
        read_ecg(holding(tmp_path, tracings=tracings()[0]), record=record)
    with pytest.raises(ECGError, match="one record"):
        read_ecg(npz(tmp_path, signal=MV, fs=FS), record=2)
    assert read_ecg(npz(tmp_path, signal=MV, fs=FS), record=1).fs == FS


def test_arrays_of_unlike_length_are_records_of_their_own(tmp_path):
    path = holding(tmp_path, a=MV.T, b=MV.T[:2000] * 2, c=MV.T[:1500] * 3)
    ecg = read_ecg(path, fs=FS)
    assert ecg.n_samples == 2500 and "record" in ecg.guessed
    assert any("3 arrays may hold the record; the largest" in s for s in ecg.warnings)
    for k, n in ((1, 2500), (2, 2000), (3, 1500)):
        ecg = read_ecg(path, fs=FS, record=k)
        np.testing.assert_allclose(ecg.signal, k * MV[:, :n], atol=1e-5)
        assert "record" not in ecg.guessed


def test_one_padded_record_and_labels_beside_many(tmp_path):
    array, made = tracings(150)
    one = read_ecg(holding(tmp_path, tracings=array[1:2]))
    assert np.isnan(one.signal).sum() == 12 * (4096 - 2800)
    with pytest.raises(NeedsAnswer, match="150 records"):  # and no six leads of 150 samples
        read_ecg(holding(tmp_path, recordings=array, diagnoses=np.zeros((150, 6))))


def test_a_silent_stretch_is_no_padding(tmp_path):
    values = MV.copy()
    values[:, :15] = 0  # short
    values[1:, -500:] = 0  # one lead goes on
    ecg = read_ecg(npz(tmp_path, signal=values, fs=FS))
    assert not np.isnan(ecg.signal).any()
    assert read_ecg(npz(tmp_path, signal=np.zeros((12, 2500)), fs=FS)).flat.all()


def csv_of(text: str) -> dict[str, bytes]:
    return {"a.csv": text.encode()}


@pytest.mark.parametrize("sign", ["\x0c", "\x1c", "\u2028", "\x85"])
def test_a_sign_that_ends_no_line_costs_no_sample(sign):
    ecg = read_ecg_upload(csv_of(f"fs: 250\nUnit: mV\npage{sign}two{sign}\n{HEAD}\n{lines(MV.T)}"))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


def test_whole_seconds_and_minutes_give_the_rate_and_the_coarsest_times_none():
    whole = lines(np.c_[np.floor(TIME + 0.9), MV.T])
    assert read_ecg_upload(csv_of(f"Time (s),{HEAD}\n{whole}")).fs == FS
    for unit, seconds in (("min", 60), ("h", 3600)):
        text = f"Time ({unit}),{HEAD}\n{lines(np.c_[TIME / seconds, MV.T], form='%.9f')}"
        assert read_ecg_upload(csv_of(text)).fs == FS
    rows = lines(MV.T).split("\n")
    minutes = [f"2024-01-01 12:{int(t + 55) // 60:02d},{row}" for t, row in zip(TIME, rows, strict=True)]
    with pytest.raises(ECGError, match="too coarse"):
        read_ecg_upload(csv_of(f"Time,{HEAD}\n" + "\n".join(minutes)))


def test_lines_that_are_counted_from_0_lose_none():
    counted = "\n".join(f"{i},{v},{w}" for i, (v, w) in enumerate([(1, 2), *((MV[:2].T * 1000).round())]))
    ecg = read_ecg_upload(csv_of(counted.replace(".0", "")), fs=250, leads=["I", "II"])
    assert ecg.signal.shape[1] == MV.shape[1] + 1


def test_numbered_columns_are_put_in_their_order():
    order = sorted(range(12), key=lambda i: str(i + 1))  # 1, 10, 11, 12, 2, ...
    heading = ",".join(f"Lead {i + 1}" for i in order)
    ecg = read_ecg_upload(csv_of(f"fs: 250\nUnit: mV\n{heading}\n{lines(MV[order].T)}"))
    assert "leads" in ecg.guessed
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


def test_numbers_filled_with_zeros_are_two_columns_and_no_decimals():
    text = "Time,II\n" + "\n".join(f"{4 * i:05d},{abs(int(v * 1000)):04d}" for i, v in enumerate(MV[1]))
    ecg = read_ecg_upload(csv_of(text), unit="uV")
    assert ecg.fs == FS
    np.testing.assert_allclose(ecg.signal[1], np.abs(MV[1]), atol=1.1e-3)


def test_bare_numbers_beside_a_header_are_no_second_record():
    header = f"r 1 250 {MV.shape[1]}\nr.dat 16 1000/mV 16 0 0 0 0 II\n"
    record = {"r.hea": header.encode(), "r.dat": np.round(MV[1] * 1000).astype("<i2").tobytes()}
    peaks = "\n".join(str(i) for i in range(0, 2500, 25)).encode()
    assert read_ecg_upload({**record, "r.txt": peaks}).source == "WFDB"
    with pytest.raises(ECGError, match="2 records"):
        read_ecg_upload({**record, "r.txt": f"{HEAD}\n{lines(MV.T)}".encode()})


# What separates thousands, what else is sampled, and what is beside the numbers


LARGE = MV * 1800 / np.abs(MV).max()  # µV; some above 1000, most below


@pytest.mark.parametrize(
    ("sign", "delimiter", "quote"),
    [(".", ";", ""), (",", "\t", ""), (",", ",", '"'), (",", ";", ""), (".", ",", "")],
)
@pytest.mark.parametrize("numbered", [False, True])
def test_signs_that_separate_thousands(tmp_path, sign, delimiter, quote, numbered):
    whole = np.round(LARGE.T).astype(int)
    rows = [[f"{quote}{v:,}{quote}".replace(",", sign) for v in row] for row in whole]
    head = [f"{lead} (uV)" for lead in LEADS]
    if numbered:
        rows, head = [[str(i), *row] for i, row in enumerate(rows)], ["sample", *head]
    text = "\n".join(delimiter.join(row) for row in [head, *rows])
    (tmp_path / "x.csv").write_text(text)
    ecg = read_ecg(tmp_path / "x.csv", fs=FS)
    np.testing.assert_allclose(ecg.signal, whole.T / 1000, atol=1e-6)
    assert any("thousands" in said for said in ecg.warnings)


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("before", ["", "sample", "time (ms)", "marker"])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_decimals_beside_whole_numbers_stay_decimals(tmp_path, decimal, before, offset):
    values = np.round(LARGE.T / 1000 + offset, 3)  # from 1.2 to 4.8 mV: each number might be a thousand
    whole = {
        "sample": np.arange(len(values)),
        "time (ms)": 4 * np.arange(len(values)),
        "marker": np.arange(len(values)) % 2,
    }
    rows = [";".join(f"{v:.3f}".replace(".", decimal) for v in row) for row in values]
    head = ";".join(f"{lead} (mV)" for lead in LEADS)
    if before:
        head, rows = f"{before};{head}", [f"{n};{row}" for n, row in zip(whole[before], rows, strict=True)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]))
    ecg = read_ecg(tmp_path / "x.csv", fs=FS)
    np.testing.assert_allclose(ecg.signal, values.T, atol=1e-6)
    assert not any("thousands" in said for said in ecg.warnings)


@pytest.mark.timeout(5)
def test_a_quote_that_is_never_closed_takes_no_time(tmp_path):
    (tmp_path / "x.csv").write_text(f"{HEAD}\n{lines(MV.T)}\n" + '"1' + "," * 100_000)
    with pytest.raises(ECGError):
        read_ecg(tmp_path / "x.csv")


@pytest.mark.parametrize(("form", "decimal"), [("%.3f", "."), ("%.3f", ","), ("%g", "."), ("%.1f", ",")])
@pytest.mark.parametrize("scale", [1, 1000])
def test_decimals_stay_decimals(tmp_path, form, decimal, scale):
    values = np.round(LARGE.T / 1000 * scale, 3)
    unit = {1: "mV", 1000: "uV"}[scale]
    head = ";".join(f"{lead} ({unit})" for lead in LEADS)
    (tmp_path / "x.csv").write_text(head + "\n" + lines(values, ";", form, decimal))
    ecg = read_ecg(tmp_path / "x.csv", fs=FS)
    np.testing.assert_allclose(ecg.signal, LARGE / 1000, atol=0.051 if form == "%.1f" else 1e-3)
    assert not any("thousands" in said for said in ecg.warnings)


@pytest.mark.parametrize(
    ("above", "fs"),
    [
        ("Original sampling rate: 1000 Hz\nSampling rate: 250 Hz", 250),
        ("Sampling rate: 250 Hz\nDevice sampling rate: 1000 Hz", 250),
        ("Recorded with a sampling rate of 500 Hz", 500),
        ("Sampling points: 5000\nSampling frequency (Hz): 250", 250),
        ("Sampling depth: 160\nSampling rate: 250", 250),
        ("Sampling duration (s): 60\nSampling rate: 250", 250),
        ("Abtastpunkte: 5000\nAbtastrate: 250 Hz", 250),
        ("Sampling: 250 Hz", 250),
        ("Sampling [Hz]: 500", 500),
        ("Sampling in Hz: 500", 500),
        ("Sampling|500", 500),
        ("Abtastrate_Hz: 500", 500),
        ("Abtastraten: 500", 500),
        *[
            (f"Sampling rate: 500 Hz\n{beside}", 500)
            for beside in (
                "Samples per signal: 5000",
                "Samples per segment: 2500",
                "sf: 1.0",
                "SF = 0.5 mV",
                "FS range: 10 mV",
                "Sampling (electrodes): 10",
                "sample_rate_accuracy: 1 %",
            )
        ],
        ("Sampling points: 5000", None),
    ],
)
def test_what_else_is_sampled_is_no_rate(above, fs):
    notes = []
    assert stated_above(above.split("\n"), notes).get("fs") == fs and not notes


def test_two_rates_are_none(tmp_path):
    (tmp_path / "x.csv").write_text(f"Sampling rate: 250 Hz\nSampling rate: 300 Hz\n{HEAD}\n{lines(MV.T)}")
    ecg = read_ecg(tmp_path / "x.csv")
    assert "fs" in ecg.guessed and any("250 and 300 Hz" in said for said in ecg.warnings)


def test_a_time_that_counts_samples_tells_no_rate(tmp_path):
    (tmp_path / "x.csv").write_text(f"time,{HEAD}\n" + lines(np.c_[np.arange(MV.shape[1]), MV.T]))
    ecg = read_ecg(tmp_path / "x.csv")
    assert ecg.fs == FS and "fs" in ecg.guessed and any("numbers the samples" in s for s in ecg.warnings)


@pytest.mark.parametrize(
    "above", ["Leads: 12\nSamplingRate: 250", "Samples: 2500\nRate: 250", "Patient 4711\nAge 62"]
)
def test_two_lines_of_remarks_are_no_wfdb_header(tmp_path, above):
    (tmp_path / "x.csv").write_text(f"{above}\n{HEAD}\n{lines(MV.T)}")
    assert read_ecg(tmp_path / "x.csv", fs=FS).source == "CSV"


def test_a_footer_is_named_by_its_line(tmp_path):
    (tmp_path / "x.csv").write_text(f"{HEAD}\n{lines(MV.T)}\n" + ",".join(["end"] * 12))
    with pytest.raises(ECGError, match="take out what is no number"):
        read_ecg(tmp_path / "x.csv")


def test_a_second_sheet_is_told(tmp_path):
    with pd.ExcelWriter(tmp_path / "x.xlsx") as book:
        pd.DataFrame(MV[:6].T, columns=LEADS[:6]).to_excel(book, sheet_name="limb", index=False)
        pd.DataFrame(["note"]).to_excel(book, sheet_name="short")
    assert not any("sheet" in said for said in read_ecg(tmp_path / "x.xlsx").warnings)
    with pd.ExcelWriter(tmp_path / "x.xlsx", mode="a") as book:
        pd.DataFrame(MV[6:].T, columns=LEADS[6:]).to_excel(book, sheet_name="chest", index=False)
    assert any("2 sheets" in said for said in read_ecg(tmp_path / "x.xlsx", fs=FS, unit="mV").warnings)


def test_each_lead_by_its_own_gain(tmp_path):
    gains, zeros = np.r_[[200.0] * 6, [100.0] * 6], np.arange(12.0)
    counts = np.round(MV * gains[:, None] + zeros[:, None])
    beside = {"fs": FS, "gain": gains, "adc_zero": zeros, "units": "mV"}
    ecg = read_ecg(npz(tmp_path, signal=counts, **beside))
    np.testing.assert_allclose(ecg.signal, MV, atol=0.006)
    assert ecg.units_known and any("100 to 200 by lead" in said for said in ecg.warnings)
    asked = read_ecg(npz(tmp_path, signal=counts, **beside), unit="uV")
    assert asked.voltage_doubts  # leads that cannot be compared


def test_gains_of_leads_in_no_known_order_are_not_applied(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:  # which lists its leads by the alphabet
        for lead, row in zip(LEADS, MV, strict=True):
            file[lead] = np.round(row * 200)
        file["gain"] = np.linspace(200, 400, 12)
        file["fs"] = FS
    ecg = read_ecg(tmp_path / "x.h5")
    assert any("not applied" in said for said in ecg.voltage_doubts)
    np.testing.assert_allclose(
        np.ptp(ecg.signal, axis=1) / np.ptp(MV, axis=1), np.ptp(ecg.signal[0]) / np.ptp(MV[0]), rtol=0.02
    )


@pytest.mark.parametrize("n", [12, 30])
def test_gains_by_lead_beside_many_records(tmp_path, n):
    gains = np.r_[[200.0] * 6, [100.0] * 6]
    counts = np.stack([np.round(MV * gains[:, None])] * n)
    ecg = read_ecg(npz(tmp_path, signal=counts, fs=FS, gain=gains, units="mV"), record=2)
    if n == 12:  # of each lead, or of each record
        assert any("not applied" in said for said in ecg.voltage_doubts)
    else:
        np.testing.assert_allclose(ecg.signal, MV, atol=0.006)


def test_a_baseline_comes_before_an_adcs_zero(tmp_path):
    gains, zeros = np.r_[[200.0] * 6, [100.0] * 6], 100 * np.arange(12.0)
    counts = np.round(MV * gains[:, None] + zeros[:, None])
    ecg = read_ecg(
        npz(tmp_path, signal=counts, fs=FS, gain=gains, adc_gain=gains, adc_zero=zeros + 50, baseline=zeros)
    )
    np.testing.assert_allclose(ecg.signal, MV, atol=0.006)


def test_a_line_that_is_no_lead_is_not_quoted(tmp_path):
    rows = [f"{lead}," + lines(row[None]) for lead, row in zip(LEADS, MV, strict=True)]
    (tmp_path / "x.csv").write_text("\n".join([*rows, "Erika Mustermann,born 1950"]))
    with pytest.raises(ECGError, match="begins with no lead") as error:
        read_ecg(tmp_path / "x.csv", fs=FS)
    assert "Erika" not in str(error.value)


@pytest.mark.parametrize("key", ["resolution", "lsb", "units_per_bit", "scale"])
def test_a_resolution_beside_counts_is_a_doubt(tmp_path, key):
    counts = np.round(MV / 0.00488)
    ecg = read_ecg(npz(tmp_path, signal=counts, fs=FS, units="uV", **{key: 4.88}))
    assert any("resolution of 4.88" in said for said in ecg.voltage_doubts)
    for value, signal in ((16.0, counts), (1.0, counts), (4.88, MV * 1000)):  # bits; itself; no counts
        sure = read_ecg(npz(tmp_path, signal=signal, fs=FS, units="uV", **{key: value}))
        assert not any("resolution" in said for said in sure.warnings)


@pytest.mark.parametrize("key", ["resolution_uV", "uV_per_bit", "lsb_uV", "resolution_mV"])
def test_a_resolution_of_a_unit_is_what_a_count_is_worth(tmp_path, key):
    size = 4.88 if "uV" in key else 4.88e-3
    counts = np.round(MV / 4.88e-3)
    np.savez(tmp_path / "x.npz", ecg=counts.astype(np.int16), fs=FS, **{key: size})  # type: ignore[arg-type]
    ecg = read_ecg(tmp_path / "x.npz")
    np.testing.assert_allclose(ecg.signal, counts * 4.88e-3, atol=1e-5)
    assert ecg.units_known


@pytest.mark.parametrize(
    ("key", "size"), [("resolution_uV", 4.88), ("resolution_mV", 4.88e-3), ("lsb_nV", 4880)]
)
@pytest.mark.parametrize("form", [np.round, lambda x: x])
def test_a_resolution_is_not_applied_to_what_is_a_voltage_already(tmp_path, form, key, size):
    micro = form(np.round(MV / 4.88e-3) * 4.88)
    np.savez(tmp_path / "x.npz", ecg=micro, fs=FS, **{key: size})
    ecg = read_ecg(tmp_path / "x.npz")
    np.testing.assert_allclose(ecg.signal, micro / 1000, atol=1e-5)
    assert any("not applied" in said for said in ecg.warnings) and "unit" in ecg.guessed


def test_a_sheet_that_speaks_for_itself_is_not_spoken_for(tmp_path):
    """What another one says may be about its own numbers."""
    with pd.ExcelWriter(tmp_path / "x.xlsx") as book:
        table = [["Sampling rate (Hz)", 2 * FS], list(LEADS), *MV.T.tolist()]
        pd.DataFrame(table).to_excel(book, sheet_name="ECG", header=False, index=False)
        about = pd.DataFrame([["Sampling rate (Hz)", FS], ["Unit", "uV"]])
        about.to_excel(book, sheet_name="Averaged beats", header=False, index=False)
    ecg = read_ecg(tmp_path / "x.xlsx")
    assert (ecg.fs, ecg.guessed, ecg.units_known) == (2 * FS, ("unit",), False)


def test_units_in_no_known_order_are_not_applied(tmp_path):
    """HDF5 lists its arrays by the alphabet; a list beside them need not."""
    import h5py

    units = ["uV"] * 6 + ["mV"] * 6
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["fs"], file["units"] = FS, units
        for lead, x, unit in zip(LEADS, MV, units, strict=True):
            file[lead] = x * (1000 if unit == "uV" else 1)
    ecg = read_ecg(tmp_path / "x.h5")
    assert not ecg.units_known and any("differ by lead" in said for said in ecg.warnings)


@pytest.mark.parametrize("key", ["units", "gain"])
def test_what_an_array_says_of_itself_is_of_it_alone(tmp_path, key):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["fs"] = FS
        for i, (lead, x) in enumerate(zip(LEADS, MV, strict=True)):
            one, factor = {"units": ("uV", 1000), "gain": (200.0, 200)}[key] if i < 6 else ("mV", 1)
            one, factor = (500.0, 500) if i >= 6 and key == "gain" else (one, factor)
            file[lead] = np.round(x * factor) if key == "gain" else x * factor
            file[lead].attrs[key] = one
    ecg = read_ecg(tmp_path / "x.h5")
    np.testing.assert_allclose(ecg.signal, MV, atol=0.0026)
    assert ecg.units_known


@pytest.mark.parametrize("key", ["unit", "gain"])
def test_structs_of_a_lead_each_keep_what_is_said_of_it(tmp_path, key):
    leads = np.zeros((1, 12), dtype=[("name", "O"), ("data", "O"), (key, "O"), ("fs", "O")])
    for i, (lead, x) in enumerate(zip(LEADS, MV, strict=True)):
        of = (("uV", 1000.0), ("mV", 1.0)) if key == "unit" else ((200.0, 200.0), (500.0, 500.0))
        one, factor = of[i >= 6]
        leads[0, i] = (lead, np.round(x * factor) if key == "gain" else x * factor, one, float(FS))
    savemat(tmp_path / "x.mat", {"leads": leads})
    ecg = read_ecg(tmp_path / "x.mat")
    np.testing.assert_allclose(ecg.signal, MV, atol=0.0026)
    assert (ecg.fs, ecg.units_known, ecg.guessed) == (FS, True, ())


def test_a_lead_that_is_named_twice_in_a_list_is_told(tmp_path):
    path = npz(tmp_path, ecg=MV[:3], fs=FS, unit="mV", leads=np.array(["I", "II", "II"]))
    with pytest.raises(ECGError, match="lead II stands twice"):
        read_ecg(path)


def test_the_largest_of_several_arrays_has_its_own_rate(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, fs, values in (("a", FS, MV), ("b", 2 * FS, np.repeat(MV, 2, axis=1))):
            file[f"{name}/ecg"] = values
            file[name].attrs["fs"] = fs
    ecg = read_ecg(tmp_path / "x.h5")
    assert (ecg.fs, "record" in ecg.guessed, ecg.signal.shape[1]) == (2 * FS, True, 2 * MV.shape[1])


def test_the_unit_of_the_times_is_not_that_of_the_leads(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["Time"], file["ecg"] = TIME, MV
        file["Time"].attrs["units"], file["ecg"].attrs["units"] = "s", "mV"
    ecg = read_ecg(tmp_path / "x.h5")
    assert (ecg.fs, ecg.units_known) == (FS, True)


@pytest.mark.parametrize("key", ["bad_leads", "excluded", "display_order", "missing channels"])
def test_a_list_of_some_leads_does_not_name_those_of_the_array(tmp_path, key):
    ecg = read_ecg(npz(tmp_path, ecg=MV, fs=FS, unit="mV", **{key: np.array(LEADS)[::-1]}))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-5)
    assert facts({key: ["V1", "V2"]}).names == facts({"axes": ["x", "y", "z"]}).names == ()


@pytest.mark.parametrize("seconds", [86_400.0, 3600.0])
@pytest.mark.parametrize("fs", [100.0, 250.0, 500.0, 1000.0])
def test_times_in_days_and_hours_at_any_usual_rate(tmp_path, seconds, fs):
    """250 Hz in days are 6000 Hz in hours."""
    ecg = simulate_ecg("normal", fs=fs)
    times = np.arange(ecg.signal.shape[1]) / fs / seconds
    (tmp_path / "x.csv").write_text(
        f"Time,{HEAD}\n"
        + "\n".join(f"{t:.12f},{lines(row[None])}" for t, row in zip(times, ecg.signal.T, strict=True))
    )
    assert read_ecg(tmp_path / "x.csv").fs == fs


def test_parquet_without_a_row_is_told(tmp_path):
    pd.DataFrame({"note": pd.Series([], dtype=str), "I": pd.Series([], dtype=float)}).to_parquet(
        tmp_path / "x.parquet"
    )
    with pytest.raises(ECGError, match="no column of values"):
        read_ecg(tmp_path / "x.parquet")


def test_a_unit_before_another_word_beside_a_lead_is_read():
    head = f"Sampling rate: {FS} Hz\n" + ",".join(f"{lead} [uV] (filtered)" for lead in LEADS)
    ecg = read_ecg_upload({"x.csv": f"{head}\n{lines(1000 * MV.T)}".encode()})
    assert (ecg.fs, ecg.units_known, ecg.guessed) == (FS, True, ())
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_table_of_lists_is_one_record_or_refused_by_its_rows(tmp_path, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {lead: [x.tolist()] * rows for lead, x in zip(LEADS, MV, strict=True)}
    table = pa.table({"id": list(range(rows)), **columns})
    pq.write_table(table.replace_schema_metadata({"fs": str(FS), "unit": "mV"}), tmp_path / "x.parquet")
    if rows == 1:
        np.testing.assert_allclose(read_ecg(tmp_path / "x.parquet").signal, MV, atol=1e-6)
    else:
        with pytest.raises(ECGError, match="x.parquet holds 3 rows of lists, .* save one record alone"):
            read_ecg(tmp_path / "x.parquet")


def test_a_watchs_export_saved_again_as_unicode_text(tmp_path):
    head = "Name,Jane\nRecorded Date,2020-01-01\nSample Rate,512 hertz\n\n\nLead,Lead I\nUnit,µV\n\n"
    text = head + "\n".join(f"{1000 * x:.3f}" for x in MV[0])
    (tmp_path / "x.csv").write_bytes(text.encode("utf-16"))
    ecg = read_ecg(tmp_path / "x.csv")
    np.testing.assert_allclose(ecg.signal[0], MV[0], atol=1e-5)
    assert (ecg.fs, ecg.units_known) == (512, True)
