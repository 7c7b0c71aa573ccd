"""Formats by ecgdatakit, where a file says more than is usual: it is taken, or its loss is told."""

import base64
import copy
import json
import re
import threading
import warnings

import numpy as np
import pydicom
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import NeedsAnswer, read_ecg
from clear_hug.io.kit import as_stored, parse
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.written_formats import aecg, dicom, kardia, mfer, mortara, muse, philips, scp

FS = 500.0
MV = np.round(simulate_ecg("normal", fs=FS).signal.astype(np.float64) * 400) / 400
STEP = 0.003  # mV
N = MV.shape[1]


def shows(ecg, lead: str, signal: np.ndarray, start: int) -> bool:
    """Whether a lead holds `signal` from sample `start` on, and nothing elsewhere."""
    row = ecg.signal[LEADS.index(lead)]
    outside = np.r_[row[:start], row[start + signal.size :]]
    return bool(np.abs(row[start : start + signal.size] - signal).max() < STEP and np.isnan(outside).all())


# DICOM


def grouped(path, offsets, cut=(slice(None), slice(None))):
    """Limb and chest leads in two groups, each of a stretch, that say when they begin (ms)."""
    dicom(path, MV, FS, split=True)
    ds = pydicom.dcmread(path)
    for group, offset, part in zip(ds.WaveformSequence[1:], offsets, cut, strict=True):
        n = group.NumberOfWaveformSamples
        counts = np.frombuffer(group.WaveformData, "<i2").reshape(n, -1)[part]
        group.NumberOfWaveformSamples, group.WaveformData = len(counts), counts.tobytes()
        group.pop("MultiplexGroupTimeOffset", None)
        if offset is not None:
            group.MultiplexGroupTimeOffset = offset
    ds.save_as(path)
    return path


def test_dicom_groups_stand_where_they_say_they_begin(tmp_path):
    half = N // 2
    cut = (slice(None, half), slice(half, None))
    ecg = read_ecg(grouped(tmp_path / "x.dcm", (0, 1000 * half / FS), cut))
    assert ecg.n_samples == N and any("different times" in said for said in ecg.warnings)
    assert shows(ecg, "I", MV[0, :half], 0) and shows(ecg, "V2", MV[7, half:], half)


def test_dicom_groups_of_unlike_length_are_joined_only_where_they_say_when(tmp_path):
    cut = (slice(None), slice(500, None))
    ecg = read_ecg(grouped(tmp_path / "x.dcm", (0, 1000), cut))
    assert shows(ecg, "II", MV[1], 0) and shows(ecg, "V2", MV[7, 500:], 500)
    untold = read_ecg(grouped(tmp_path / "y.dcm", (None, None), cut))
    assert set(untold.absent_leads) == set(LEADS[6:])
    assert any("V1" in said and "left out" in said for said in untold.warnings)  # which leads are lost


@pytest.mark.parametrize("strip_first", [False, True])
def test_a_strip_below_the_columns_of_a_dicom_print(tmp_path, strip_first):
    path, n = tmp_path / "x.dcm", N // 4
    dicom(path, MV, FS)
    ds = pydicom.dcmread(path)
    whole = ds.WaveformSequence[1]
    channels = list(whole.ChannelDefinitionSequence)
    counts = np.frombuffer(whole.WaveformData, "<i2").reshape(N, 12)

    def group(rows, start, stop):
        part = copy.deepcopy(whole)
        part.ChannelDefinitionSequence = [channels[row] for row in rows]
        part.NumberOfWaveformChannels, part.NumberOfWaveformSamples = len(rows), stop - start
        part.WaveformData = counts[start:stop, rows].copy().tobytes()
        part.MultiplexGroupTimeOffset = 1000 * start / FS
        return part

    columns = [group([3 * k, 3 * k + 1, 3 * k + 2], k * n, (k + 1) * n) for k in range(4)]
    strip = [group([1], 0, N)]
    ds.WaveformSequence = strip + columns if strip_first else columns + strip
    ds.save_as(path)
    ecg = read_ecg(path)
    assert not ecg.absent_leads and not any("left out" in said for said in ecg.warnings)
    at_once = read_ecg(dicom(tmp_path / "y.dcm", MV, FS)).signal
    assert shows(ecg, "II", at_once[1], 0)  # the strip, all of it
    there = np.isfinite(ecg.signal)
    np.testing.assert_allclose(ecg.signal[there], at_once[there], atol=STEP)
    assert (there[[0, 2, *range(6, 12)]].sum(axis=1) == n).all()


def test_a_dicom_group_without_a_time_is_at_the_others(tmp_path):
    for offsets in ((3000, None), (None, 3000), (float("nan"), None)):
        ecg = read_ecg(grouped(tmp_path / "x.dcm", offsets))
        assert ecg.n_samples == N and any("side by side" in said for said in ecg.warnings)


def test_dicom_groups_at_once_are_joined(tmp_path):
    for name, offsets in (("none", (None, None)), ("same", (20, 20))):
        ecg = read_ecg(grouped(tmp_path / f"{name}.dcm", offsets))
        assert any("side by side" in said for said in ecg.warnings)
        np.testing.assert_allclose(ecg.signal, MV, atol=STEP)


def test_a_document_in_dicom_is_called_a_print(tmp_path):
    ds = pydicom.dcmread(dicom(tmp_path / "x.dcm", MV, FS))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    del ds.WaveformSequence
    ds.EncapsulatedDocument, ds.MIMETypeOfEncapsulatedDocument = b"%PDF-1.4 ", "application/pdf"
    ds.save_as(tmp_path / "x.dcm")
    with pytest.raises(ECGError, match=r"x\.dcm is DICOM around a document"):
        read_ecg(tmp_path / "x.dcm")


# SCP-ECG


def test_scp_leads_stand_where_they_say_they_begin(tmp_path):
    np.testing.assert_allclose(read_ecg(scp(tmp_path / "x.scp", MV, FS)).signal, MV, atol=STEP)
    late = (0,) * 6 + (1000,) * 6
    ecg = read_ecg(scp(tmp_path / "y.scp", MV, FS, late))
    assert shows(ecg, "I", MV[0], 0) and shows(ecg, "V6", MV[11, 1000:], 1000)
    assert any("different times" in said for said in ecg.warnings)


def test_scps_calibration_pulse_is_no_lead(tmp_path):
    pulse = np.where(np.arange(N) % 500 < 100, 1.0, 0.0)
    names = ("I-cal", *LEADS[1:])
    ecg = read_ecg(scp(tmp_path / "x.scp", np.stack([pulse, *MV[1:]]), FS, names=names))
    assert ecg.derived == ("I",)  # from II and III; the pulse is not it
    np.testing.assert_allclose(ecg.signal, MV, atol=2 * STEP)
    both = read_ecg(scp(tmp_path / "y.scp", np.stack([pulse, *MV]), FS, (0,) * 13, ("I-cal", *LEADS)))
    np.testing.assert_allclose(both.signal, MV, atol=STEP)


# HL7 aECG


def changed(path, *changes: tuple[str, str]):
    aecg(path, MV, FS)
    text = path.read_text()
    for old, new in changes:
        assert re.search(old, text)
        text = re.sub(old, new, text)
    path.write_text(text)
    return path


@pytest.mark.parametrize("scale", ["2,5", "", "1uV", "nan", "0"])
def test_an_aecg_scale_that_is_no_number_is_refused(tmp_path, scale):
    path = changed(tmp_path / "x.xml", ('scale value="1"', f'scale value="{scale}"'))
    with pytest.raises(ECGError, match=r"lead I .*scale.*no number.*Export"):
        read_ecg(path)


@pytest.mark.parametrize("code", [r"MDC_ECG_ELEC_POTL_\1", r"\1"])
def test_aecg_leads_by_any_of_their_names(tmp_path, code):
    ecg = read_ecg(changed(tmp_path / "x.xml", (r"MDC_ECG_LEAD_(V\d)", code)))
    assert ecg.absent_leads == ()
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)


@pytest.mark.parametrize(("step", "unit"), [(2, "ms"), (0.002, "s"), (2000, "us")])
def test_aecg_times_may_be_listed_one_a_sample(tmp_path, step, unit):
    def listed(digits):
        value = f'<origin value="1" unit="s"/><scale value="{step}" unit="{unit}"/><digits>{digits}</digits>'
        time = ('(?s)<value xsi:type="GLIST_PQ">.*?</value>', f'<value xsi:type="SLIST_PQ">{value}</value>')
        return changed(tmp_path / "x.xml", time)

    ecg = read_ecg(listed(" ".join(map(str, range(MV.shape[1])))))
    assert (ecg.fs, ecg.n_samples, ecg.warnings) == (FS, MV.shape[1], ())
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)
    with pytest.raises(ECGError, match="not evenly spaced.*Export"):
        read_ecg(listed("0 1 2 9 10 11"))


def test_an_aecg_sequence_that_is_no_lead_is_told(tmp_path):
    ecg = read_ecg(changed(tmp_path / "x.xml", ("MDC_ECG_LEAD_V6", "VENDOR_SUM")))
    assert ecg.absent_leads == ("V6",) and any("left out" in said for said in ecg.warnings)


@pytest.mark.parametrize("code", ["RHYTHM", "ECG_RHYTHM_WAVEFORMS", "X"])
def test_the_rhythm_is_read_wherever_it_stands(tmp_path, code):
    text = aecg(tmp_path / "beat.xml", 2 * MV[:, :600], FS).read_text()
    beat = re.search("<component><series>.*</series></component>", text)[0].replace("RHYTHM", "MEDIAN")
    path = changed(
        tmp_path / "x.xml",
        ('code="RHYTHM"', f'code="{code}"'), ("(<component><series>)", rf"{beat}\1"),
    )  # fmt: skip
    ecg = read_ecg(path)
    assert ecg.n_samples == N and any(code in said and "left out" in said for said in ecg.warnings)
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)


# GE MUSE, MFER


def test_a_second_rhythm_of_muse_is_told(tmp_path):
    path = muse(tmp_path / "x.xml", MV, FS)
    text = path.read_text()
    rhythm = re.search(r"<Waveform><WaveformType>Rhythm.*?</Waveform>", text, re.DOTALL)[0]
    path.write_text(text.replace(rhythm, rhythm + rhythm))
    assert any("ignored" in said for said in read_ecg(path).warnings)


def test_rates_are_not_rounded(tmp_path):
    path = mfer(tmp_path / "x.mwf", MV, FS)
    in_hertz = bytes((0x0B, 4, 0, 0)) + int(FS).to_bytes(2, "little")
    in_seconds = bytes((0x0B, 4, 1, 0xFC)) + (78).to_bytes(2, "little")  # 78e-4 s
    content = path.read_bytes()
    assert content.count(in_hertz) == 1
    path.write_bytes(content.replace(in_hertz, in_seconds))
    assert read_ecg(path).fs == pytest.approx(1000 / 7.8)
    assert read_ecg(scp(tmp_path / "x.scp", MV, 1e6 / 3000)).fs == pytest.approx(1e6 / 3000)


# GE MUSE


def test_a_count_that_is_worth_nothing_has_no_voltage(tmp_path):
    text = muse(tmp_path / "x.xml", MV, FS).read_text()
    (tmp_path / "y.xml").write_text(re.sub("(<LeadAmplitudeUnitsPerBit>)[^<]+", r"\g<1>0", text))
    ecg = read_ecg(tmp_path / "y.xml")
    assert not ecg.units_known and any("is worth 0" in said for said in ecg.warnings)
    counts = np.round(MV * 1000 / 4.88)
    np.testing.assert_allclose(ecg.signal[[0, 1]], counts[[0, 1]], atol=1.01)


def test_an_electrode_that_is_off_is_told(tmp_path):
    text = muse(tmp_path / "x.xml", MV, FS).read_text()
    at = text.rindex("<LeadID>V1")
    (tmp_path / "y.xml").write_text(text[:at] + "<LeadOff>TRUE</LeadOff>" + text[at:])
    assert read_ecg(tmp_path / "y.xml").warnings == ("The device calls the electrode of V1 off.",)


@pytest.mark.parametrize("tag", ["LeadTimeOffset", "FirstSampleBaseline", "LeadOffsetFirstSample"])
def test_what_muse_says_of_a_lead_and_nobody_explains_is_told(tmp_path, tag):
    text = muse(tmp_path / "x.xml", MV, FS).read_text()
    at = text.rindex("<LeadID>V1")
    (tmp_path / "y.xml").write_text(text[:at] + f"<{tag}>100</{tag}>" + text[at:])
    (said,) = read_ecg(tmp_path / "y.xml").warnings
    assert said.startswith(f"The file gives V1 a {tag}: it is not applied")
    (tmp_path / "y.xml").write_text(text[:at] + f"<{tag}>0</{tag}>" + text[at:])
    assert not read_ecg(tmp_path / "y.xml").warnings


# Several formats


def test_a_lead_that_stands_twice_is_refused_by_its_name(tmp_path):
    path = mortara(tmp_path / "x.xml", MV, FS)
    path.write_text(path.read_text().replace('NAME="III"', 'NAME="II"'))
    with pytest.raises(NeedsAnswer, match="lead II stands twice in x.xml"):
        read_ecg(path)
    ecg = read_ecg(path, leads=list(LEADS))
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)


def test_a_lead_that_stands_twice_alike_is_read(tmp_path):
    path = mortara(tmp_path / "x.xml", MV, FS)
    first, second = re.findall(r"<CHANNEL .*?/>", path.read_text())[:2]
    path.write_text(path.read_text().replace(first, first + second))
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal, MV, atol=STEP)
    assert ecg.warnings == ("Lead II stands twice, the same to the sample: one is read.",)


def test_names_that_the_file_itself_counts_are_its_own():
    counted = ["V", *(f"V_{i}" for i in range(1, 7)), "C", "C_1", "C_2"]
    assert as_stored(counted) == counted
    assert as_stored(["V_2", "V"]) == ["V_2", "V"]
    assert as_stored(["II", "D", "II_2", "D_2", "II_3"]) == ["II", "D", "II", "D", "II"]
    assert as_stored(["ECG", "ECG_2"]) == ["ECG", "ECG_2"]


def test_limb_leads_of_unlike_length_are_told_by_their_lengths(tmp_path):
    path = kardia(tmp_path / "x.json", MV, FS)
    tree = json.loads(path.read_text())
    del tree["data"]["raw"]["samples"]["leadII"][-100:]
    path.write_text(json.dumps(tree))
    with pytest.raises(ECGError, match=r"leads differ in length in x \(I 5,000, II 4,900"):
        read_ecg(path)


@pytest.mark.parametrize("written", [aecg, mortara, muse, philips])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_xml_that_calls_itself_utf_16(tmp_path, written, code):
    path = written(tmp_path / "x.xml", MV, FS)
    text = re.sub(r"<\?xml.*?\?>", "", path.read_text(), count=1)
    path.write_bytes(f'<?xml version="1.0" encoding="utf-16"?>{text}'.encode(code))
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal, MV, atol=0.01)
    assert (ecg.fs, ecg.warnings) == (FS, ())


def test_philips_leads_are_as_long_as_they_are_said_to_be(tmp_path):
    path = philips(tmp_path / "x.xml", MV, FS)
    text = path.read_text()
    for seconds, there in (
        (5000, "counts 2,500 samples in each of 12 leads, and holds 60,000"),
        (11000, "holds"),
    ):
        path.write_text(text.replace('durationperchannel="10000"', f'durationperchannel="{seconds}"'))
        with pytest.raises(ECGError, match=there):
            read_ecg(path)
    spare = base64.b64encode(bytes(2 * 4 * N)).decode()  # of channels that are not in use
    path.write_text(text.replace("</parsedwaveforms>", f"{spare}</parsedwaveforms>"))
    np.testing.assert_allclose(read_ecg(path).signal, MV, atol=STEP)


def test_philips_samples_that_only_fill_up_shift_no_lead(tmp_path):
    path = philips(tmp_path / "x.xml", MV, FS)
    text = path.read_text()
    counts = np.round(MV * 400).astype("<i2").tobytes()
    written = base64.b64encode(counts).decode()
    for fill, read in ((b"", True), (bytes(2), True), (bytes(22), True), (bytes(24), False)):
        path.write_text(text.replace(written, base64.b64encode(counts + fill).decode()))
        if read:
            np.testing.assert_allclose(read_ecg(path).signal, MV, atol=STEP)
        else:
            with pytest.raises(ECGError, match="5,000 samples in each of 12 leads, and holds 60,012"):
                read_ecg(path)
    note = '<note><parsedwaveforms dataencoding="Plain">1 2 3</parsedwaveforms></note>'
    path.write_text(text.replace("<waveforms>", f"{note}<waveforms>"))
    np.testing.assert_allclose(read_ecg(path).signal, MV, atol=STEP)


def test_what_mortara_says_of_a_leads_zero_is_told(tmp_path):
    path = mortara(tmp_path / "x.xml", MV, FS)
    path.write_text(path.read_text().replace('OFFSET="0"', 'OFFSET="100"', 1))
    assert read_ecg(path).warnings == (
        "The file gives I an OFFSET: it is not applied, and their zero may be another.",
    )


@pytest.mark.parametrize("order", [sorted, reversed])
def test_kardias_fields_may_stand_in_any_order(tmp_path, order):
    path = kardia(tmp_path / "x.json", MV, FS)
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({key: tree[key] for key in order(list(tree))}))
    ecg = read_ecg(path)
    np.testing.assert_allclose(ecg.signal[:6], MV[:6], atol=STEP)
    assert ecg.source == "Kardia JSON"


def test_a_list_of_kardias_records_is_told_of_as_such(tmp_path):
    path = kardia(tmp_path / "x.json", MV, FS)
    path.write_text(f"[{path.read_text()}]")
    with pytest.raises(ECGError, match="no JSON of the form that is read"):
        read_ecg(path)


@pytest.mark.parametrize(("lasts", "told"), [(10_000, False), (10_300, False), (30_000, True), (5_000, True)])
def test_kardias_length_is_held_against_its_samples(tmp_path, lasts, told):
    path = kardia(tmp_path / "x.json", MV, FS)
    path.write_text(json.dumps({**json.loads(path.read_text()), "duration": lasts}))
    said = read_ecg(path).warnings
    assert any("or the rate is wrong" in one for one in said) is told and (told or not said)


def test_a_skew_between_mfers_leads_is_told(tmp_path):
    content = mfer(tmp_path / "x.mwf", MV, FS).read_bytes()
    at = content.index(b"\x3f\x00")  # what is said of the first channel
    for skew, words in ((4_000_000, "up to 4 ms apart"), (1000, None)):
        tag = b"\x43\x04" + skew.to_bytes(4, "little")
        (tmp_path / "x.mwf").write_bytes(content[:at] + tag + content[at:])
        said = read_ecg(tmp_path / "x.mwf").warnings
        assert words in said[0] if words else not said
    tag = b"\x43\x04" + (4_000_000).to_bytes(4, "little")
    late = content
    for channel in range(12):  # of all alike: none is apart from another
        head = bytes((0x3F, channel))
        at = late.index(head) + 2
        late = late[:at] + bytes((late[at] + len(tag),)) + tag + late[at + 1 :]
    (tmp_path / "x.mwf").write_bytes(late)
    assert not read_ecg(tmp_path / "x.mwf").warnings


def test_a_rate_of_kardia_or_mortara_is_not_rounded(tmp_path):
    for written, old, new in (
        (kardia, '"frequency": 500.0', '"frequency": 299.6'),
        (mortara, 'SAMPLE_FREQ="500"', 'SAMPLE_FREQ="299.6"'),
    ):
        path = written(tmp_path / "x", MV, FS)
        assert old in (text := path.read_text())
        path.write_text(text.replace(old, new))
        assert read_ecg(path).fs == 299.6


def test_what_is_odd_about_a_file_is_told_while_another_is_read(tmp_path):
    begun, left = [threading.Event(), threading.Event()], threading.Event()

    class Parser:
        def __init__(self, row):
            self.row = row

        def parse(self, path):
            begun[self.row].set()
            if self.row:
                left.wait(5)  # for the first to be done, where it is not already
            else:
                begun[1].wait(0.5)
            warnings.warn(f"checksum of file {self.row} is wrong", stacklevel=1)

    said: dict[int, list[str]] = {}

    def read(row):
        said[row] = parse(tmp_path / "x", Parser(row))[1]
        left.set()

    threads = [threading.Thread(target=read, args=(row,)) for row in (0, 1)]
    threads[0].start()
    begun[0].wait(5)
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert said == {row: [f"checksum of file {row} is wrong."] for row in (0, 1)}
