"""What lines before a table may say, and what they must not be taken for."""

import numpy as np
import pandas as pd
import pytest

import clear_hug as ch
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
    ],
)
def test_the_sampling_rate_is_told_from_other_rates(tmp_path, ecg, before):
    read = ch.read_ecg(written(tmp_path, ecg.signal[:, ::2][:, :1700], before))  # of no usual length
    assert read.fs == 250 and "fs" not in read.guessed


@pytest.mark.parametrize("before", ["# Filter: 0.05-150 Hz, notch 50 Hz", "Notch: 50 Hz", "Heart rate: 100"])
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
