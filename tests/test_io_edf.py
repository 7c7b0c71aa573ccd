"""EDF and BDF: what is written is what is read, within a step of the file."""

import numpy as np
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.written_formats import bdf, edf

FS = 250.0
MV = simulate_ecg("normal", fs=FS).signal.astype(np.float64)
N = MV.shape[1]
STEP = 1.1 / 32_000  # mV


def test_bdf_is_read_to_its_last_bit(tmp_path):
    ecg = read_ecg(bdf(tmp_path / "x.bdf", MV, FS))
    assert (ecg.source, ecg.fs, ecg.n_samples, ecg.units_known) == ("BDF", FS, N, True)
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)
    assert (ecg.age, ecg.sex) == (69, "F") and ecg.device == ""
    assert all("Status" in said for said in ecg.warnings)  # no lead


@pytest.mark.parametrize("values", [(0.1, -0.1), (127.9, -128.0), (250.0, -250.0), (1e-4, -1e-4)])
def test_bdf_holds_small_and_large_counts_of_either_sign(tmp_path, values):
    mv = MV.copy()
    mv[0, 100:102] = values
    ecg = read_ecg(bdf(tmp_path / "x.bdf", mv, FS))
    np.testing.assert_allclose(ecg.signal[0, 100:102], values, atol=STEP)


@pytest.mark.parametrize(
    "name", ["BIOSEMI is all", "no signals", "negative signals", "words", "cut header", "huge"]
)
def test_a_broken_bdf_is_told_and_not_guessed(tmp_path, name):
    content = bytearray(bdf(tmp_path / "x.bdf", MV, FS).read_bytes())
    sizes = slice(256 + 216 * 14, 256 + 216 * 14 + 8)
    if name == "BIOSEMI is all":
        content = content[:100]
    elif name == "cut header":
        content = content[:1000]
    elif name == "huge":
        content[sizes] = b"99999999"
    else:
        content[252:256] = {"no signals": b"0   ", "negative signals": b"-3  ", "words": b"many"}[name]
    (tmp_path / "y.bdf").write_bytes(content)
    with pytest.raises(ECGError, match="broken|none is complete|no data records|no signals"):
        read_ecg(tmp_path / "y.bdf")


def test_an_unfinished_or_cut_bdf_is_read_as_far_as_it_goes(tmp_path):
    content = bdf(tmp_path / "x.bdf", MV, FS).read_bytes()
    (tmp_path / "open.bdf").write_bytes(content[:236] + b"-1      " + content[244:])
    np.testing.assert_allclose(read_ecg(tmp_path / "open.bdf").signal, MV, atol=STEP)
    (tmp_path / "cut.bdf").write_bytes(content[:-10])
    cut = read_ecg(tmp_path / "cut.bdf")
    np.testing.assert_allclose(cut.signal, MV[:, : cut.n_samples], atol=STEP)
    assert cut.n_samples == N - FS and any("BDF file truncated" in said for said in cut.warnings)


def test_pauses_of_a_bdf_are_told(tmp_path):
    content = bdf(tmp_path / "x.bdf", MV, FS).read_bytes().replace(b"BDF+C", b"BDF+D")
    (tmp_path / "x.bdf").write_bytes(content.replace(b"+9\x14\x14\0\0", b"+90\x14\x14\0"))
    ecg = read_ecg(tmp_path / "x.bdf")
    assert any("interrupted (BDF+D)" in said for said in ecg.warnings)


def test_a_physical_range_that_is_turned_over_turns_the_lead(tmp_path):
    content = bdf(tmp_path / "x.bdf", MV, FS).read_bytes()
    at, n = 256 + 104 * 14, 8 * 14
    turned = content[:at] + b"262144".ljust(8) * 14 + b"-262143".ljust(8) * 14 + content[at + 2 * n :]
    (tmp_path / "x.bdf").write_bytes(turned)
    np.testing.assert_allclose(read_ecg(tmp_path / "x.bdf").signal, -MV, atol=2 * STEP)


@pytest.mark.parametrize("write", [edf, bdf])
def test_a_range_of_counts_that_falls_is_the_same_line(tmp_path, write):
    """With both ranges exchanged the line is the file's own, with the counts' alone its mirror."""
    path = write(tmp_path / "x", MV, FS)
    content, plain = path.read_bytes(), read_ecg(path)
    at, n = 256 + 104 * 14, 8 * 14
    low, high, least, most = (content[at + i * n : at + (i + 1) * n] for i in range(4))
    path.write_bytes(content[:at] + high + low + most + least + content[at + 4 * n :])
    assert read_ecg(path).digest == plain.digest
    path.write_bytes(content[:at] + low + high + most + least + content[at + 4 * n :])
    mirrored = read_ecg(path)
    np.testing.assert_allclose(mirrored.signal, -1e-3 - plain.signal, atol=1e-6)  # the ends add up to -1 µV
    assert mirrored.units_known


def test_physical_ranges_may_have_a_decimal_comma(tmp_path):
    path = edf(tmp_path / "x.edf", MV, FS)
    content, plain = path.read_bytes(), read_ecg(path)
    at, n = 256 + 104 * 14, 8 * 14
    path.write_bytes(content[:at] + b"-32768,0" * 14 + b"32767,0 " * 14 + content[at + 2 * n :])
    assert read_ecg(path).digest == plain.digest
    path.write_bytes(content[:at] + b"-32,768 " * 14 + content[at + n :])  # or a sign for thousands
    with pytest.raises(ECGError, match="physical minimum"):
        read_ecg(path)


def test_bdf_of_any_label_that_edf_has(tmp_path):
    content = bdf(tmp_path / "x.bdf", MV, FS).read_bytes()
    names = b"".join(f"EKG {lead.upper()}-REF".encode().ljust(16) for lead in LEADS)
    (tmp_path / "x.bdf").write_bytes(content[:256] + names + content[256 + 16 * 12 :])
    np.testing.assert_allclose(read_ecg(tmp_path / "x.bdf").signal, MV, atol=STEP)
