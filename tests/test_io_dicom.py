"""DICOM without its preamble is read as the whole file, and nothing else is taken for it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from clear_hug.ecg import ECGError
from clear_hug.io import READERS, read_ecg, read_ecg_upload
from clear_hug.io.open import reader_of
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.real_data import DATA, needs_data
from tests.written_formats import JANE, WRITTEN, bare_dicom, dicom

FS = 250.0
STEP = 1.26e-3  # mV
MV = simulate_ecg("normal", fs=FS).signal.astype(np.float64)
FORMS = ("meta", "explicit", "implicit")


@pytest.mark.parametrize("form", FORMS)
def test_dicom_without_preamble_equals_the_whole_file(tmp_path, form, monkeypatch):
    through = tmp_path / "through"
    through.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(through))
    whole, bare = dicom(tmp_path / "a.dcm", MV, 250.0), bare_dicom(tmp_path / "b.dcm", MV, 250.0, form)
    assert bare.read_bytes()[128:132] != b"DICM"
    want, got = read_ecg(whole), read_ecg(bare)
    assert (got.record_id, got.warnings, got.source) == ("b", (), want.source)
    assert replace(got, record_id="a").digest == want.digest
    np.testing.assert_allclose(got.signal, MV, atol=1.26e-3)
    assert (got.age, got.sex, got.device) == (want.age, want.sex, want.device)
    uploaded = read_ecg_upload({f"{JANE['family']}.bin": bare.read_bytes()})
    assert uploaded.digest == replace(want, record_id="").digest and not list(through.iterdir())
    split = pydicom.dcmread(dicom(tmp_path / "c.dcm", MV, 250.0, split=True))
    pydicom.Dataset(split).save_as(bare, implicit_vr=form == "implicit", little_endian=True)
    assert any("2 waveform groups" in warning for warning in read_ecg(bare).warnings)


@pytest.mark.parametrize("form", FORMS)
def test_broken_dicom_without_preamble_is_a_sentence(tmp_path, form):
    content = bare_dicom(tmp_path / "x.dcm", MV, 250.0, form).read_bytes()
    for cut in (700, 1500, 5000, len(content) - 1000):
        with pytest.raises(ECGError) as error:
            read_ecg_upload({f"{JANE['family']}.dcm": content[:cut]})
        text = str(error.value)
        assert "\n" not in text and tempfile.gettempdir() not in text
        assert not any(secret in text for secret in JANE.values())


def test_a_picture_without_preamble_says_what_it_lacks(tmp_path):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    pydicom.Dataset(ds).save_as(tmp_path / "ct.dcm", implicit_vr=False, little_endian=True)
    with pytest.raises(ECGError, match=r"ct\.dcm cannot be read: .*Waveform Sequence"):
        read_ecg(tmp_path / "ct.dcm")


def test_what_begins_alike_is_not_taken_for_dicom():
    sound = b"\x08\x00\x16\x00UI\x1e\x001.2.840.10008.5.1.4.1.1.9.1.1\0"
    assert READERS["DICOM waveform"].recognise(Path("x"), sound)
    bare = (
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100",  # no class follows
        b"\x08\x00\x12\x00DA\x02\x00ab\x08\x00\x05\x00CS\x02\x00ab" + sound,  # not in order
        b"\x08\x00\x05\x00CS\x02\x00ab\x0a\x00\x08\x00CS\x02\x00ab" + sound,  # another group between
        b"\x08\x00\x16\x00UI\x1a\x00" + b"9.2.840.10008.5.1.4.1.1.9.1.1",  # another's class
        b"\x08\x00\x16\x00XX\x1a\x00" + b"1.2.840.10008.5.1.4.1.1.9.1.1",  # no such VR
        b"\x02\x00\x00\x00\x04\x00\x00\x00\xb0\x00\x00\x00" * 20,  # the meta group has VRs
        b"\x08\x00\x05\x00\xff\xff\xff\xff" + bytes(200),
        *(np.arange(2, 2000, dtype="<i2").tobytes(), np.full(2000, 8, "<i2").tobytes()),
    )
    for head in bare:
        for size in (0, 3, 8, 11, 12, 4096):
            assert not READERS["DICOM waveform"].recognise(Path("x"), head[:size])
    rng = np.random.default_rng(0)
    for _ in range(2000):
        head = b"\x08\x00" + rng.bytes(200) if rng.random() < 0.5 else b"\x02\x00\x00\x00UL" + rng.bytes(200)
        assert not READERS["DICOM waveform"].recognise(Path("x"), head)


def test_each_written_format_is_recognised_as_itself(tmp_path):
    for name, (file, write) in WRITTEN.items():
        path = write(tmp_path / file, MV, 250.0)
        taken = [n for n, r in READERS.items() if r.recognise(path, path.read_bytes()[:4096])]
        assert taken[0] == name, taken
        new = {"GE Sapphire XML", "Schiller XML", "DICOM waveform"} - {name}
        assert not new & set(taken)
    for form in FORMS:
        path = bare_dicom(tmp_path / "x.dcm", MV, 250.0, form)
        assert reader_of(path, path.read_bytes()[:4096]) is READERS["DICOM waveform"]


@pytest.mark.data
@needs_data
def test_no_real_file_is_taken_for_a_new_format():
    new = ("GE Sapphire XML", "Schiller XML")
    n = 0
    for path in (Path(str(DATA)) / "formats").rglob("*"):
        if path.is_file():
            head = path.read_bytes()[:4096]
            assert not any(READERS[name].recognise(path, head) for name in new), path
            assert READERS["DICOM waveform"].recognise(path, head) == (path.suffix == ".dcm"), path
            n += 1
    assert n > 10


# What channels say of themselves


def changed(path, change):
    """A file of one rhythm group, of which `change` alters the group."""
    dicom(path, MV, FS)
    ds = pydicom.dcmread(path)
    ds.WaveformSequence = ds.WaveformSequence[1:]
    change(ds.WaveformSequence[0])
    ds.save_as(path)
    return path


def lead_of(group, lead):
    rows = [c for c in group.ChannelDefinitionSequence if f"({lead})" in f"({_named(c)})"]
    return rows[0]


def _named(channel):
    return channel.ChannelSourceSequence[0].CodeMeaning.removeprefix("Lead").split("(")[0].strip()


@pytest.mark.parametrize("count", [11, 13])
def test_channels_that_are_not_as_many_as_counted_are_no_leads(tmp_path, count):
    """A channel too few, and each sample of every lead is of another: nothing in the values need tell."""

    def recount(group):
        group.NumberOfWaveformChannels = count
        group.WaveformData = group.WaveformData + bytes(2 * group.NumberOfWaveformSamples)

    with pytest.raises(ECGError, match="which sample is of which lead"):
        read_ecg(changed(tmp_path / "x.dcm", recount))


def test_samples_beyond_those_that_are_counted_are_told(tmp_path):
    def shorten(group):
        group.NumberOfWaveformSamples -= 500

    ecg = read_ecg(changed(tmp_path / "x.dcm", shorten))
    assert any("12,000 bytes more" in said for said in ecg.warnings)
    np.testing.assert_allclose(ecg.signal, MV[:, :-500], atol=STEP)


@pytest.mark.parametrize(
    ("key", "value", "moved"),
    [
        ("ChannelSampleSkew", "25", 25),
        ("ChannelTimeSkew", "0.05", 0.05 * FS),
        ("ChannelOffset", "0.1", 0.1 * FS),
    ],
)
def test_a_skewed_channel_stands_where_it_was_recorded(tmp_path, key, value, moved):
    def skew(group):
        setattr(lead_of(group, "V3"), key, value)

    ecg, n = read_ecg(changed(tmp_path / "x.dcm", skew)), round(moved)
    np.testing.assert_allclose(ecg.signal[8, n:], MV[8], atol=STEP)
    np.testing.assert_allclose(ecg.signal[7, :-n], MV[7], atol=STEP)
    assert np.isnan(ecg.signal[8, :n]).all() and np.isnan(ecg.signal[7, -n:]).all()


def test_a_skew_of_less_than_a_sample_moves_nothing_and_an_absurd_one_is_told(tmp_path):
    def skew(seconds):
        return lambda group: setattr(lead_of(group, "V3"), "ChannelTimeSkew", seconds)

    ecg = read_ecg(changed(tmp_path / "x.dcm", skew("0.0001")))
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)
    ecg = read_ecg(changed(tmp_path / "x.dcm", skew("100")))
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)
    assert any("skew" in said for said in ecg.warnings)


def test_the_offset_of_a_channel_comes_on_top_of_its_skew(tmp_path):
    def skew(group):
        channel = lead_of(group, "V3")
        channel.ChannelSampleSkew, channel.ChannelTimeSkew, channel.ChannelOffset = "5", "0.02", "0.1"

    ecg = read_ecg(changed(tmp_path / "x.dcm", skew))
    np.testing.assert_allclose(ecg.signal[8, 30:], MV[8], atol=STEP)


@pytest.mark.parametrize("written", [b"late", b"NaN ", b"0.1\\0 ", b""])
def test_a_skew_that_is_no_number_hinders_no_reading(tmp_path, written):
    path = changed(tmp_path / "x.dcm", lambda group: setattr(lead_of(group, "V3"), "ChannelTimeSkew", "9753"))
    content = path.read_bytes()
    assert content.count(b"9753") == 1
    path.write_bytes(content.replace(b"9753", written.ljust(4)[:4]))
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)
    assert any("no number" in said for said in ecg.warnings) == bool(written)


def test_groups_whose_time_is_empty_run_side_by_side(tmp_path):
    ds = pydicom.dcmread(dicom(tmp_path / "x.dcm", MV, FS, split=True))
    for group in ds.WaveformSequence:
        group.MultiplexGroupTimeOffset = None
    ds.save_as(tmp_path / "x.dcm")
    np.testing.assert_allclose(read_ecg(tmp_path / "x.dcm").signal, MV, atol=STEP)


def test_a_channel_of_two_names_is_told(tmp_path):
    def rename(group):
        lead_of(group, "V3").ChannelLabel = "V4"
        lead_of(group, "II").ChannelLabel = "Lead II"  # the same, and a label that is none
        lead_of(group, "V1").ChannelLabel = "7"

    ecg = read_ecg(changed(tmp_path / "x.dcm", rename))
    (said,) = [said for said in ecg.warnings if "contradict" in said]
    assert "V3 and V4" in said and "II" not in said.replace("III", "")


def test_what_the_device_says_of_a_channel_is_told(tmp_path):
    def doubt(group):
        lead_of(group, "V3").ChannelStatus = ["DISCONNECTED", "QUESTIONABLE"]
        lead_of(group, "V2").ChannelStatus = "OK"

    ecg = read_ecg(changed(tmp_path / "x.dcm", doubt))
    assert "The device calls lead V3 disconnected, questionable." in ecg.warnings
    assert not any("V2" in said for said in ecg.warnings)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("unit", "per_mv"), [("uV", 1000.0), ("mV", 1.0), ("V", 1e-3), ("nV", 1e6)])
def test_samples_of_any_width_sign_scale_and_unit(tmp_path, bits, signed, unit, per_mv):
    count = 0.03 if bits == 8 else 0.0025  # mV
    zero = 0.0 if signed else -count * 2 ** (bits - 1)

    def restate(group):
        rows = [next(i for i, lead in enumerate(LEADS) if lead.lower() == _named(c).lower())
                for c in group.ChannelDefinitionSequence]  # fmt: skip
        for channel in group.ChannelDefinitionSequence:
            channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = (
                f"{count * per_mv / 2:g}",
                2,
            )
            channel.ChannelBaseline = f"{zero * per_mv:.12g}"
            channel.ChannelSensitivityUnitsSequence[0].CodeValue = unit
        counts = np.round((MV[rows] - zero) / count).T
        group.pop("WaveformPaddingValue", None)  # 0x8000, which is 0 mV here
        group.WaveformBitsAllocated = bits
        group.WaveformSampleInterpretation = ("S" if signed else "U") + {8: "B", 16: "S", 32: "L"}[bits]
        group.WaveformData = counts.astype(f"<{'i' if signed else 'u'}{bits // 8}").tobytes()

    ecg = read_ecg(changed(tmp_path / "x.dcm", restate))
    np.testing.assert_allclose(ecg.signal, MV, atol=0.51 * count)
    assert ecg.units_known and ecg.fs == FS


@pytest.mark.parametrize("padding", [0, 128, -128])
@pytest.mark.parametrize("split", [False, True])
def test_a_padding_value_that_the_leads_reach_is_a_sample(tmp_path, padding, split):
    path = dicom(tmp_path / "x.dcm", MV, FS, split)
    ds = pydicom.dcmread(path)
    for group in ds.WaveformSequence:
        group.add_new("WaveformPaddingValue", "OW", padding.to_bytes(2, "little", signed=True))
    ds.save_as(path)
    ecg = read_ecg(path)
    assert not np.isnan(ecg.signal).any()
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)


@pytest.mark.parametrize("padding", [-32768, 0])
def test_what_is_padded_is_absent(tmp_path, padding):
    """A single sample beyond all others, and a long run of whatever value."""

    def pad(group):
        group.add_new("WaveformPaddingValue", "OW", padding.to_bytes(2, "little", signed=True))
        counts = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).copy()
        counts[-500:] = padding
        counts[7] = -32768 if padding else counts[7]
        group.WaveformData = counts.tobytes()

    ecg = read_ecg(changed(tmp_path / "x.dcm", pad))
    assert np.isnan(ecg.signal[:, -500:]).all()
    gone = np.isnan(ecg.signal[:, :-500]).any(axis=0)
    assert np.flatnonzero(gone).tolist() == ([7] if padding else [])


@pytest.mark.parametrize("key", ["ChannelSensitivity", "ChannelSensitivityCorrectionFactor"])
def test_a_sensitivity_of_nothing_gives_no_voltage(tmp_path, key):
    def nothing(group):
        for channel in group.ChannelDefinitionSequence:
            setattr(channel, key, 0)

    ecg = read_ecg(changed(tmp_path / "x.dcm", nothing))
    assert not ecg.units_known and any("is worth 0" in said for said in ecg.warnings)
