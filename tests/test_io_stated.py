"""What lines before a table may say, and what they must not be taken for."""

import time

import numpy as np
import pandas as pd
import pytest

import clear_hug as ch
from clear_hug.io.stated import stated_above
from clear_hug.leads import LEADS


@pytest.fixture(scope="module")
def ecg():
    return ch.simulate_ecg("normal", 0)


def written(folder, signal, before, form="%.4f"):
    path = folder / "x.csv"
    np.savetxt(path, signal.T, fmt=form, delimiter=",", comments="", header=f"{before}\n{','.join(LEADS)}")
    return path


@pytest.mark.parametrize(
    "before",
    [
        "# Heart rate: 75 bpm\n# Sampling rate: 250 Hz",
        "Ventricular rate,75,bpm\nSample rate,250,Hz",
        "Lowpass frequency,150 Hz\nSampling frequency,250 Hz",
        "PR interval: 160 ms\nSampling rate: 250 Hz",
        "# Scale: 10 mm/mV\n# fs=250",
        "sampling interval: 4 ms",
        "# 250 samples/s",
        "# filter 0.05-150 Hz, notch 50 Hz\n# 0.25 kHz",
        "Samples: 2500\nFrequency (Hz): 250",
        "Sampling interval (ms): 4",
        "Sample interval: 4000 us",
        "# Interval: 4 ms",
        "Abtastintervall: 4 ms",
        "Sampling interval: 4 msec",
        "Sampling interval: 4000 µs",
        "SR: 250",
        "# 250 SPS",
        "SamplingPeriod=0.004",
        "Sample interval;0,004",
        "Time step [s]: 0.004",
        "dt = 0.004 s",
        "Sample time (us): 4000",
        "4 ms per sample",
        "sfreq: 250.0",
        "hr=72, sr=250",
    ],
)
def test_the_sampling_rate_is_told_from_other_rates(tmp_path, ecg, before):
    read = ch.read_ecg(written(tmp_path, ecg.signal[:, ::2][:, :1700], before))  # of no usual length
    assert read.fs == 250 and "fs" not in read.guessed


@pytest.mark.parametrize("rate", ["SampleRate=250", "Sampling frequency,250", "fs: 250", "# Fs = 250"])
@pytest.mark.parametrize("heading", ["Lead {}", "Lead_{} (mV)", "s,{}", "sec,{}", "min,{}", "channel {}"])
def test_a_rate_ends_with_its_line(rate, heading):
    """What begins the next one, a time or a lead, is not what the number counts."""
    below = heading.format("I") + "," + heading.split(",")[-1].format("II")
    assert stated_above([rate, below], []) == {"fs": 250.0}


@pytest.mark.parametrize(
    "lines",
    [
        ("Samplingsfrekvens,512 hertz", "Avledning,Avledning I", "Enhet,µV"),
        ("Samplefrequentie,512 hertz", "Afleiding,Afleiding I", "Eenheid,µV"),
        ("Częstotliwość próbkowania,512 herców", "Odprowadzenie,Odprowadzenie I", "Jednostka,µV"),
        ("Vzorkovací frekvence,512 hertzů", "Svod,Svod I", "Jednotka,µV"),
        ("サンプルレート,512ヘルツ", "誘導,第I誘導", "単位,µV"),
        ("샘플링 속도,512헤르츠", "유도,유도 I", "단위,µV"),
        ("Частота дискретизації,512 герц", "Відведення,Відведення I", "Одиниця,µV"),
    ],
)
def test_a_watch_of_any_language(tmp_path, ecg, lines):
    (tmp_path / "x.csv").write_text(
        "Jane,Doe\n" + "\n".join(lines) + "\n\n" + "\n".join(f"{1000 * v:.3f}" for v in ecg.signal[0]),
        encoding="utf-8",
    )
    read = ch.read_ecg(tmp_path / "x.csv")
    assert (read.fs, read.units_known, read.guessed, read.warnings) == (512, True, (), ())
    np.testing.assert_allclose(read.signal[0], ecg.signal[0], atol=1e-5)


def test_a_unit_of_something_else_is_no_unit_of_the_table():
    assert stated_above(["Noise,µV", "I,II"], []) == {}
    assert stated_above(["Avledning,Avledning I", "Noise,µV", "Enhet,mV"], []) == {"names": ("I",)}


def test_of_two_rates_the_converters_own_is_not_taken():
    notes: list[str] = []
    assert stated_above(["ADC sampling rate 8000 Hz, output 250 Hz"], notes) == {} and len(notes) == 1
    assert stated_above(["ADC sampling rate 250 Hz", "Filter 0.05-100 Hz"], []) == {"fs": 250.0}


@pytest.mark.parametrize(
    "line",
    ["Values in uV", "data are given in uV", "All leads in uV", "Voltage (uV)", "Physical dimension: uV"],
)
def test_a_unit_by_more_of_its_words(line):
    assert stated_above([line], []) == {"unit": "uV"}


@pytest.mark.parametrize("line", ["delta = 0.01", "step 0.01", "Sample time: 10 s", "dt = 0.01 mV"])
def test_a_small_number_is_no_interval(line):
    assert "fs" not in stated_above([line], [])


FILTERS_AND_HEARTS = [
    "# Filter: 0.05-150 Hz, notch 50 Hz",
    "Notch: 50 Hz",
    "Heart rate: 100",
    "Frequency response 0.05-150 Hz",
    "Frequency range: 0.05 - 150 Hz",
    "Frequenzbereich 0,05-150 Hz",
    "Band 0.05-100 Hz",
    "Frequency: 0.05 to 150 Hz",
]


@pytest.mark.parametrize("before", FILTERS_AND_HEARTS)
def test_filters_and_hearts_name_no_sampling_rate(tmp_path, ecg, before):
    read = ch.read_ecg(written(tmp_path, ecg.signal, before))
    assert read.fs == 500 and "fs" in read.guessed


def test_the_scale_of_a_print_is_no_unit_and_a_count_has_its_size(tmp_path, ecg):
    microvolts = np.round(1000 * ecg.signal)
    read = ch.read_ecg(written(tmp_path, microvolts, "# Scale: 10 mm/mV\n# fs 500", "%d"))
    assert not read.units_known and "unit" in read.guessed
    counts = np.round(200 * ecg.signal)
    read = ch.read_ecg(written(tmp_path, counts, "# Resolution: 5 uV/LSB\n# fs 500", "%d"))
    assert read.units_known
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    counts[:, 100:300] = -32768  # what a device writes where it recorded nothing
    read = ch.read_ecg(written(tmp_path, counts, "# Resolution: 5 uV/LSB\n# fs 500", "%d"))
    assert np.isnan(read.signal[:, 100:300]).all() and np.isfinite(read.signal[:, 300:]).all()


@pytest.mark.parametrize(
    ("said", "a_mv"),
    [
        ("Amplitude resolution (uV): 5", 200),  # of a count, and no unit of the values
        ("LSB = 5 uV", 200),
        ("5 µV per bit", 200),
        ("uV per LSB: 5", 200),
        ("ADC units per mV: 200", 200),
        ("Units per mV,200", 200),
        ("200 counts/mV", 200),
        ("ADC gain,200", 200),
        ("Scale: 10 mm/mV", None),
        ("5 mV per div", None),
    ],
)
def test_what_a_count_is_worth_is_no_unit(tmp_path, ecg, said, a_mv):
    counts = np.round(200 * ecg.signal)
    read = ch.read_ecg(written(tmp_path, counts, f"# fs 500\n# {said}", "%d"))
    assert read.units_known == (a_mv is not None)
    if a_mv:
        np.testing.assert_allclose(read.signal, ecg.signal, atol=0.0026)
    read = ch.read_ecg(written(tmp_path, ecg.signal, f"# fs 500\n# {said}"))  # no counts
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-4)
    assert not read.units_known and any("not applied" in s for s in read.warnings) == (a_mv is not None)


@pytest.mark.parametrize("form", ["{:.3f}", "2020-01-01 10:00:{:06.3f}"])
def test_a_pause_of_the_times_is_said(tmp_path, ecg, form):
    names = ",".join(f"{lead} (mV)" for lead in LEADS)
    for gap in (0, 5):
        times = np.arange(ecg.n_samples) / 500 + gap * (np.arange(ecg.n_samples) > 2000)
        rows = (",".join([form.format(t), *map(str, v)]) for t, v in zip(times, ecg.signal.T, strict=True))
        (tmp_path / "x.csv").write_text("\n".join([f"time,{names}", *rows]))
        read = ch.read_ecg(tmp_path / "x.csv")
        assert read.fs == 500 and any("The times jump once, by up to 5" in s for s in read.warnings) == bool(
            gap
        )


def test_no_sample_is_lost_to_a_remark_or_an_absent_lead(tmp_path, ecg):
    rows = [",".join(map(str, v)) for v in ecg.signal.T]
    for mark, lines in {
        "Beat": [f"{row},{'Beat' if i % 400 == 0 else ''}" for i, row in enumerate(rows)],
        "V7": [f"{row}," for row in rows],
    }.items():
        (tmp_path / "x.csv").write_text("\n".join([f"{','.join(LEADS)},{mark}", *lines]))
        read = ch.read_ecg(tmp_path / "x.csv", fs=500, unit="mV")
        np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-5)
        assert "leads" not in read.guessed
    rows[0] = ",".join(["NaN"] * 12)
    (tmp_path / "x.csv").write_text("\n".join([",".join(LEADS), *rows]))
    read = ch.read_ecg(tmp_path / "x.csv", fs=500, unit="mV")
    assert read.n_samples == ecg.n_samples and np.isnan(read.signal[:, 0]).all()


def test_a_name_of_two_words_shifts_no_lead(tmp_path, ecg):
    table = np.c_[np.arange(ecg.n_samples) / 500, ecg.signal.T]
    np.savetxt(tmp_path / "x.txt", table, header="Time s " + " ".join(LEADS), comments="")
    read = ch.read_ecg(tmp_path / "x.txt", unit="mV")
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-5)
    assert "leads" in read.guessed


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_numbered_columns_are_a_heading_and_no_sample(tmp_path, ecg, kind, index):
    table = pd.DataFrame(ecg.signal.T)
    path = tmp_path / f"x.{kind}"
    if kind == "csv":
        table.to_csv(path, index=index)
    else:
        table.columns = [str(name) for name in table.columns]
        table.to_parquet(path, index=index)
    read = ch.read_ecg(path)
    assert read.n_samples == ecg.n_samples
    np.testing.assert_allclose(read.signal, ecg.signal, atol=1e-6)


def test_an_electroencephalogram_is_no_ecg(tmp_path, ecg):
    path = tmp_path / "x.csv"
    names = ["F3", "C3", "C4", "O1", "Cz"]
    np.savetxt(path, ecg.signal[:5].T, delimiter=",", comments="", header=",".join(names))
    with pytest.raises(ch.ECGError, match="no channel named as one of the twelve|no column named"):
        ch.read_ecg(path, fs=500, unit="mV")
    names = ["I", "II", "C1", "C2", "C3"]
    np.savetxt(path, ecg.signal[[0, 1, 6, 7, 8]].T, delimiter=",", comments="", header=",".join(names))
    assert ch.read_ecg(path, fs=500, unit="mV").present[6:9].all()


@pytest.mark.parametrize(
    ("line", "fs"),
    [
        ("500 samples per second, 10 seconds", 500),
        ("Sampled at 500 samples/s, 16 bit", 500),
        ("Sampling of 10 s at 500 Hz", 500),
        ("Sampling rate,500,500,500", 500),
        ("Messrate,511,562 Hertz", 511.562),
        ("Abtastrate: 257,5", 257.5),
        ("SR: 500", 500),
        ("500 S/s, sampling rate 500 S/s", 500),
        ("Abtastung am 12.03.2024", None),
        ("Sampling rate set on 2024-05-01", None),
        ("Rhythm,SR,72", None),
        ("SR with 1st degree AV block", None),
        ("Rate: 72", None),
        ("Frequenz: 110", None),
        ("Number of samples\nRate,72", None),
    ],
)
def test_a_number_that_is_no_rate_is_not_taken_for_one(line, fs):
    assert stated_above(line.split("\n"), []).get("fs") == fs


def test_a_ward_is_no_unit():
    assert "unit" not in stated_above(["Unit: ICU IV"], [])


@pytest.mark.parametrize(
    "part", ["sampl", "1samples", "frequen", "sampling rate ", "1", " ", '"', "time ", "gain:"]
)
def test_a_long_line_is_searched_in_no_time(part):
    begun = time.perf_counter()
    stated_above([part * (20_000 // len(part))], [])
    assert time.perf_counter() - begun < 2


@pytest.mark.parametrize(
    "line",
    ["Low voltage in V leads", "Voltage criteria (mV)", "Leads placed in V position", "leads in V, I",
     "R amplitude (mV),1.2", "QRS amplitude mV: 0.4", "Interval QRS 16 ms", "Delta wave: 20 ms"],
)  # fmt: skip
def test_a_finding_is_no_unit_and_no_rate(line):
    assert stated_above([line], []) == {}


def test_values_in_volt_may_be_said():
    assert stated_above(["Values in V"], []) == {"unit": "V"} == stated_above(["All leads in V.", "x"], [])


@pytest.mark.parametrize("line", ["High freq 150 Hz", "AC 50 Hz", "Muscle 35 Hz", "LP: 150 Hz HP: 0.05 Hz"])
def test_a_devices_rate_stands_beside_its_filters(line):
    assert stated_above(["Device sampling rate: 500 Hz", line], []) == {"fs": 500.0}
    notes: list[str] = []
    assert stated_above(["Device sampling rate: 500 Hz", "Exported at 250 Hz", line], notes) == {} and notes
