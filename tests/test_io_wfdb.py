"""WFDB: every storage format, gain, offset and skew; what is packed by hand is what is read."""

import numpy as np
import pytest
import wfdb

from clear_hug.ecg import ECGError
from clear_hug.io import read_ecg, read_ecg_upload
from clear_hug.io.long import open_long
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

FS = 500.0
MV = simulate_ecg("normal", fs=FS).signal.astype(np.float64)
N = MV.shape[1]


def frames_of(counts: np.ndarray) -> np.ndarray:
    """(lead, sample) -> samples in the order of a file."""
    return np.ascontiguousarray(counts.T).ravel()


def packed(fmt: str, counts: np.ndarray) -> bytes:
    """Counts (lead, sample) as WFDB's signal(5) lays them out."""
    x = frames_of(counts).astype(np.int64)
    if fmt == "8":  # differences, the first from the initial value of the header
        return frames_of(np.diff(counts, axis=1, prepend=counts[:, :1])).astype(np.int8).tobytes()
    if fmt == "80":
        return (x + 128).astype(np.uint8).tobytes()
    if fmt == "160":
        return (x + 32_768).astype("<u2").tobytes()
    if fmt in ("16", "61", "32"):
        return x.astype({"16": "<i2", "61": ">i2", "32": "<i4"}[fmt]).tobytes()
    if fmt == "24":
        return x.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if fmt == "212":
        a, b = x.reshape(-1, 2).T & 0xFFF
        return np.stack([a & 0xFF, a >> 8 | (b >> 8) << 4, b & 0xFF], 1).astype(np.uint8).tobytes()
    a, b, c = x.reshape(-1, 3).T & 0x3FF
    if fmt == "310":
        words = np.stack([a << 1 | (c & 31) << 11, b << 1 | (c >> 5) << 11], 1).astype("<u2")
        return words.tobytes()
    return (a | b << 10 | c << 20).astype("<u4").tobytes()


def written(folder, content, fmt, gain, first="r 12 500 5000", counts=None, tail=""):
    """A record of one file; `fmt`, `gain` as in the header, of all signals or one of each."""
    fmts = fmt if isinstance(fmt, list) else [fmt] * 12
    start = counts[:, 0] if counts is not None else np.zeros(12, int)
    sums = [f"{total % 65_536} 0" for total in counts.sum(axis=1)] if counts is not None else [""] * 12
    lines = [
        f"r.dat {f} {gain} 0 0 {start[i]} {sums[i]} {lead}"
        for i, (f, lead) in enumerate(zip(fmts, LEADS, strict=True))
    ]
    (folder / "r.hea").write_text("\n".join([first, *lines, tail]) + "\n")
    (folder / "r.dat").write_bytes(content)
    return folder / "r.hea"


FORMATS = {"8": 50, "16": 1000, "24": 100_000, "32": 1_000_000, "61": 1000, "80": 20, "160": 1000, "212": 200,
           "310": 80, "311": 80}  # fmt: skip
"""Storage format -> counts a mV that it holds."""


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_storage_format_is_read_to_its_count(tmp_path, fmt):
    gain = FORMATS[fmt]
    counts = np.round(MV * gain).astype(int)
    ecg = read_ecg(written(tmp_path, packed(fmt, counts), fmt, f"{gain}(0)/mV", counts=counts))
    np.testing.assert_allclose(ecg.signal, counts / gain, atol=1e-6)
    assert (ecg.fs, ecg.n_samples, ecg.units_known, ecg.warnings) == (FS, N, True, ())


@pytest.mark.parametrize("fmt", ["16", "212", "310", "80"])
def test_baseline_offset_and_unit_of_any_storage_format(tmp_path, fmt):
    gain, zero = FORMATS[fmt] / 1000, 7
    counts = np.round(MV * 1000 * gain).astype(int) + zero
    head = b"head of a device" * 32
    path = written(
        tmp_path, head + packed(fmt, counts), f"{fmt}+{len(head)}", f"{gain}({zero})/uV", counts=counts
    )
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal, (counts - zero) / gain / 1000, atol=1e-6)
    assert ecg.warnings == ()


def test_skewed_signals_stand_where_they_were_recorded(tmp_path):
    counts = np.round(MV * 1000).astype(int)
    late = counts.copy()
    late[6:, 10:] = counts[6:, :-10]  # chest leads lie ten samples late in the file
    path = written(tmp_path, packed("16", late), ["16"] * 6 + ["16:10"] * 6, "1000(0)/mV", counts=late)
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal[:, :-10], counts[:, :-10] / 1000, atol=1e-6)
    assert np.isnan(ecg.signal[6:, -10:]).all()


def test_more_samples_a_frame_are_a_higher_rate(tmp_path):
    counts = np.round(MV * 1000).astype(int)
    content = counts.reshape(12, N // 2, 2).transpose(1, 0, 2).astype("<i2").tobytes()
    ecg = read_ecg(written(tmp_path, content, "16x2", "1000(0)/mV", "r 12 250 2500", counts=counts))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert ecg.fs == FS


# FLAC

FLAC = {"508": 20, "516": 1000, "524": 100_000}


def flac(folder, fmt, mv=MV, leads=LEADS, each=1):
    """By wfdb's own writer, in files of up to eight signals; `each` samples a frame."""
    gain, n = FLAC[fmt], len(leads)
    about = {"fs": FS / each, "units": ["mV"] * n, "sig_name": list(leads), "fmt": [fmt] * n,
             "adc_gain": [gain] * n, "baseline": [0] * n, "write_dir": str(folder)}  # fmt: skip
    if each > 1:
        wfdb.wrsamp("r", e_p_signal=list(mv), samps_per_frame=[each] * n, **about)
    else:
        wfdb.wrsamp("r", p_signal=mv.T, **about)
    return folder / "r.hea"


@pytest.mark.parametrize("each", [1, 4])
@pytest.mark.parametrize("fmt", FLAC)
def test_signals_in_flac_are_read_to_their_count(tmp_path, fmt, each):
    path = flac(tmp_path, fmt, each=each)
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal, MV, atol=0.501 / FLAC[fmt])
    assert (ecg.fs, ecg.n_samples, ecg.units_known, ecg.warnings) == (FS, N, True, ())
    sent = read_ecg_upload({file.name: file.read_bytes() for file in tmp_path.iterdir()})
    np.testing.assert_array_equal(sent.signal, ecg.signal)
    opened = open_long(path)
    assert opened.seconds == N / FS
    np.testing.assert_array_equal(opened.read(3, 4).signal, ecg.signal[:, 1500:3500])


def test_samples_that_flac_lacks_are_absent(tmp_path):
    mv = MV.copy()
    mv[3, 100:200] = np.nan
    ecg = read_ecg(flac(tmp_path, "516", mv))
    assert np.isnan(ecg.signal[3, 100:200]).all() and np.isfinite(ecg.signal[4:]).all()


def test_flac_tells_its_length_where_the_header_does_not(tmp_path):
    path = flac(tmp_path, "516")
    path.write_text(path.read_text().replace("r 12 500 5000", "r 12 500", 1))
    assert read_ecg(path).n_samples == N


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("r 12 500 5000", "r 12 500 6000", "cut short"),
        (" 516 ", " 508 ", "16 bits"),
        ("_1.dat 516 1000(0)/mV 16 0", "_1.dat 516x2 1000(0)/mV 16 0", "cut short"),
        ("r_1.dat 516", "r_1.dat 16", "FLAC cannot hold"),
    ],
)
def test_a_header_that_flac_contradicts_is_refused(tmp_path, old, new, words):
    path = flac(tmp_path, "516")
    text = path.read_text()
    path.write_text(text.replace(old, new, 1 if words == "FLAC cannot hold" else -1))
    assert text != path.read_text()
    with pytest.raises(ECGError, match=words):
        read_ecg(path)


def test_broken_flac_is_told_and_never_read_as_something_else(tmp_path):
    path = flac(tmp_path, "516")
    whole = read_ecg(path).signal
    data = tmp_path / "r_1.dat"
    content, rng = data.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(0, len(content), 40):
        broken = bytearray(content)
        broken[at] ^= int(rng.integers(1, 256))
        data.write_bytes(broken[: len(broken) - int(rng.integers(0, 2)) * 500])
        try:
            ecg = read_ecg(path)
        except ECGError as error:
            assert "psf" not in str(error)
        else:
            assert np.array_equal(ecg.signal, whole, equal_nan=True) or ecg.warnings
    (tmp_path / "lone.dat").write_bytes(content)
    with pytest.raises(ECGError, match="needs its header"):
        read_ecg(tmp_path / "lone.dat")
