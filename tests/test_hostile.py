"""Files that mean harm, and files that name people: refused in a sentence, and nobody is told of."""

import io
import logging
import os
import random
import re
import struct
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import wfdb
from pydicom.data import get_testdata_file
from scipy.io import savemat

from benchmarks.fuzz import through_tokens
from clear_hug.beats import tokenize_beats
from clear_hug.ecg import ECG, STORED, ECGError
from clear_hug.io import LIMITS, Limit, NeedsAnswer, read_ecg, read_ecg_upload
from clear_hug.io.layout import TIME, split_unit
from clear_hug.leads import LEADS, canonical_lead
from clear_hug.simulate import simulate_ecg
from clear_hug.words import facts
from tests.written_formats import JANE, WRITTEN, aecg, dicom, edf, ishne, mfer, muse

MV = simulate_ecg("normal", fs=250.0).signal.astype(np.float64)
CARRIED = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))


def refused(files: dict[str, bytes], *words: str) -> str:
    with pytest.raises(ECGError) as error:
        read_ecg_upload(files)
    text = str(error.value)
    assert "\n" not in text and tempfile.gettempdir() not in text and len(text) < 500
    for word in words:
        assert word in text, text
    return text


# Written formats: right to the count, and nobody is in them


@pytest.mark.parametrize("name", WRITTEN)
def test_a_written_file_reads_to_the_count_and_names_nobody(tmp_path, name, caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    file, write = WRITTEN[name]
    path = write(tmp_path / file, MV, 250.0)
    for ecg in (read_ecg(path), read_ecg_upload({f"{JANE['family']}_{JANE['born']}.bin": path.read_bytes()})):
        assert (ecg.source.split(",")[0], ecg.fs, ecg.units_known) == (name, 250, True)
        rows = np.flatnonzero(ecg.present)
        # mV, from what the format was written with
        step = {"GE MUSE XML": 5e-3, "GE Sapphire XML": 2.45e-3}.get(name, 1.3e-3)
        np.testing.assert_allclose(ecg.signal[rows], MV[rows], atol=step)
        assert set(ecg.stored) <= set(STORED) and not ecg.guessed
        told = [repr(ecg), ecg.digest, str(facts(ecg)), caplog.text, *map(str, ecg.warnings)]
        for secret in JANE.values():
            assert not any(secret in text for text in told)
    assert not recwarn.list


@pytest.mark.parametrize("name", WRITTEN)
def test_no_error_names_anybody(tmp_path, name):
    file, write = WRITTEN[name]
    content = write(tmp_path / file, MV[:, :500], 250.0).read_bytes()
    upload = f"{JANE['name']} {JANE['family']}{Path(file).suffix}"
    rng = np.random.default_rng(0)
    said = []
    for cut in (*rng.integers(40, len(content), 12), 300, 600, 1200):
        broken = bytearray(content[: int(cut)])
        broken[int(cut) // 2] ^= 0xFF
        try:
            read_ecg_upload({upload: bytes(broken)})
        except ECGError as error:
            said.append(str(error))
            assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    assert said
    for secret in JANE.values():
        assert not any(secret in text for text in said), said


def test_an_upload_carries_no_name(tmp_path):
    ecg = read_ecg_upload({f"{JANE['family']}.dcm": CARRIED.read_bytes()})
    assert ecg.record_id == "" and read_ecg(CARRIED).record_id == "waveform_ecg"


def test_a_table_of_people_is_not_quoted():
    text = f"Name,{JANE['family']}\nBorn,{JANE['born']}\nwhat,ever\n"
    said = refused({"x.csv": text.encode()})
    assert JANE["family"] not in said and JANE["born"] not in said


# Several groups and series


def test_dicom_groups_side_by_side_are_joined(tmp_path):
    ecg = read_ecg(dicom(tmp_path / "x.dcm", MV, 250.0, split=True))
    np.testing.assert_allclose(ecg.signal, MV, atol=1.3e-3)
    assert not ecg.derived and any("2 waveform groups" in s for s in ecg.warnings)
    assert ecg.source == "DICOM waveform, without its averaged beats"
    assert len(ecg.warnings) == 1


def test_an_averaged_beat_is_never_the_record(tmp_path):
    path = muse(tmp_path / "x.xml", MV, 250.0)
    assert read_ecg(path).duration == pytest.approx(10)
    only = re.sub(r"<Waveform><WaveformType>Rhythm.*</Waveform>", "", path.read_text())
    with pytest.raises(ECGError):
        read_ecg_upload({"x.xml": only.encode()})


# XML


def test_entities_are_refused(tmp_path):
    good = aecg(tmp_path / "x.xml", MV[:, :500], 250.0).read_text()
    bomb = '<!DOCTYPE z [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for doctype in (f"{bomb}]>", '<!DOCTYPE z [<!ENTITY a SYSTEM "file:///etc/passwd">]>'):
        text = good.replace("<AnnotatedECG", f"{doctype}<AnnotatedECG", 1)
        said = refused({"x.xml": text.encode()}, "entity")
        assert "root:" not in said


@pytest.mark.parametrize(
    "root",
    [
        "restingecgdata", "RestingECG", "CardiologyXML", "ECG", "sapphire",
        "com.xiriuz.sema.xml.schillerEDI.SchillerEDI",
    ],
)  # fmt: skip
def test_entities_are_refused_in_every_dialect_of_xml(root):
    text = f'<?xml version="1.0"?><!DOCTYPE {root} [<!ENTITY a "b">]><{root}><CHANNEL/>&a;</{root}>'
    refused({"x.xml": text.encode()})


# WFDB


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "http://host/x.dat", "s3://bucket/x", "..", "~"]
)
def test_a_header_names_no_path(name):
    header = f"r 1 500 1000\n{name} 16 1000/mV 16 0 0 0 0 II\n"
    refused({"r.hea": header.encode(), "r.dat": bytes(2000)}, "only a file beside the header")


# Archives


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_an_archive_writes_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("../../out.csv", "/tmp/out.csv", "..\\..\\out.csv", "a/../../out.csv"):
        ecg = read_ecg_upload({"x.zip": zipped({name: CARRIED.read_bytes()})})
        assert ecg.n_samples == 10_000
    assert not list(tmp_path.iterdir()) and not (tmp_path.parent / "out.csv").exists()


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setitem(LIMITS, "unpacked", Limit(1_000_000, LIMITS["unpacked"].words))
    bomb = zipped({"a.csv": bytes(2_000_000)})
    said = refused({"infarct_doe.zip": bomb}, "unpacks to more than 1,000,000 bytes")
    assert "doe" not in said and "inf" not in said
    refused({"x.npz": zipped({"a.npy": bytes(2_000_000)})}, "unpacks to more than")
    refused({"x.xlsx": zipped({"xl/workbook.xml": bytes(2_000_000)})}, "unpacks to more than")


def test_a_lying_archive_is_refused():
    content = bytearray(zipped({"a.csv": b"1,2\n" * 100_000}))
    at = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 10)  # its directory promises ten bytes
    refused({"x.zip": bytes(content)})


def test_too_many_files_are_refused():
    refused({"x.zip": zipped({f"{i}.csv": b"1" for i in range(600)})}, "600 files")


def test_a_zip_in_a_zip_is_not_opened():
    inner = zipped({"x.dcm": CARRIED.read_bytes()})
    refused({"x.zip": zipped({"inner.zip": inner})}, "another .zip")
    refused({"x.zip": zipped({"inner.dat": inner})}, "another .zip")


def test_a_zip_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "x.zip").write_bytes(zipped({"x.dcm": CARRIED.read_bytes()}))
    monkeypatch.setitem(LIMITS, "bytes", Limit(1000, LIMITS["bytes"].words))
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    with pytest.raises(ECGError, match="larger than the 1,000 bytes"):
        read_ecg(tmp_path / "x.zip")


def test_a_deflated_dicom_is_measured_before_it_is_inflated(tmp_path, monkeypatch):
    ds = pydicom.dcmread(CARRIED)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    ds.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    content = (tmp_path / "x.dcm").read_bytes()
    np.testing.assert_array_equal(read_ecg(tmp_path / "x.dcm").signal, read_ecg(CARRIED).signal)
    monkeypatch.setitem(LIMITS, "unpacked", Limit(len(content), LIMITS["unpacked"].words))
    monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("inflated"))
    refused({"x.dcm": content}, f"unpacks to more than {len(content):,} bytes")


# A unit that alone is missing; counts for "none"


@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_edf_without_a_unit_keeps_its_scale(tmp_path, unit):
    limit = "-32768  " if unit == "uV" else "-32.768 "
    content = edf(tmp_path / "x.edf", MV, 250.0).read_bytes()
    at = 256 + 14 * (16 + 80)
    head = content[at : at + 14 * 24].replace(b"uV", b"  ")
    if unit == "mV":
        head = head.replace(b"-32768  ", b"-32.768 ").replace(b"32767   ", b"32.767  ")
    assert limit.encode() in head
    (tmp_path / "x.edf").write_bytes(content[:at] + head + content[at + 14 * 24 :])
    ecg = read_ecg(tmp_path / "x.edf")
    np.testing.assert_allclose(ecg.signal, MV, atol=1.3e-3)
    assert not ecg.units_known and ecg.guessed == ("unit",)
    assert any(f"{unit} is a guess" in s for s in ecg.warnings)
    assert not any("raw" in s or "uncalibrated" in s for s in ecg.warnings), ecg.warnings


@pytest.mark.parametrize("split", [False, True])
def test_dicom_without_a_unit_keeps_its_scale(tmp_path, split):
    ds = pydicom.dcmread(dicom(tmp_path / "x.dcm", MV, 250.0, split=split))
    for group in ds.WaveformSequence:
        for channel in group.ChannelDefinitionSequence:
            del channel.ChannelSensitivityUnitsSequence
            channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 2, 100
    ds.save_as(tmp_path / "x.dcm")
    ecg = read_ecg(tmp_path / "x.dcm")
    np.testing.assert_allclose(ecg.signal, 2 * MV + 0.1, atol=2.6e-3)
    assert not ecg.units_known and ecg.guessed == ("unit",)
    assert any("uV is a guess" in s for s in ecg.warnings)


def test_counts_for_none_are_absent_in_a_format_with_a_scale(tmp_path):
    ds = pydicom.dcmread(dicom(tmp_path / "x.dcm", MV, 250.0))
    group = ds.WaveformSequence[1]
    counts = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).copy()
    counts[:50] = -32768
    group.WaveformData = counts.tobytes()
    ds.save_as(tmp_path / "x.dcm")
    ecg = read_ecg(tmp_path / "x.dcm")
    assert any("600 samples" in s for s in ecg.warnings)
    assert np.isnan(ecg.signal[:, :50]).all() and not np.isnan(ecg.signal[:, 50:]).any()


@pytest.mark.parametrize("name", ["EDF", "ISHNE"])
def test_counts_for_none_are_absent_where_the_library_scales(tmp_path, name):
    file, write = WRITTEN[name]
    path = write(tmp_path / file, MV, 250.0)
    content = bytearray(path.read_bytes())
    row = np.round(MV[1] * 1000).astype("<i2")[:20].tobytes()
    at = content.find(row) if name == "EDF" else len(content) - 12 * 500  # by lead, or by sample
    content[at : at + 480] = np.full(240, -32768, "<i2").tobytes()
    path.write_bytes(content)
    ecg = read_ecg(path)
    assert np.isnan(ecg.signal).sum() == 240 and any("240 samples" in s for s in ecg.warnings)


# Pickles, links, sizes


class Harm:
    """Its pickle runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return os.mkdir, (str(self.path),)


def test_no_pickle_is_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Harm(tmp_path / "ran")], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", signal=np.array([Harm(tmp_path / "ran")], dtype=object))
    for name in ("x.npy", "x.npz"):
        refused({name: (tmp_path / name).read_bytes()}, "pickled Python objects")
    assert not (tmp_path / "ran").exists()


def h5(path: Path, fill: object) -> bytes:
    import h5py

    with h5py.File(path, "w") as file:
        fill(file, h5py)  # type: ignore[operator]
    return path.read_bytes()


def test_hdf5_leads_to_no_other_file(tmp_path):
    secret = tmp_path / "secret.h5"
    h5(secret, lambda file, _: file.create_dataset("ecg", data=MV))

    def external(file, h5py):
        file["ecg"] = h5py.ExternalLink(str(secret), "/ecg")

    def virtual(file, h5py):
        layout = h5py.VirtualLayout(shape=MV.shape, dtype="f8")
        layout[:] = h5py.VirtualSource(str(secret), "ecg", shape=MV.shape)
        file.create_virtual_dataset("ecg", layout)

    def stored_outside(file, h5py):
        raw = tmp_path / "raw.bin"
        raw.write_bytes(MV.tobytes())
        file.create_dataset("ecg", shape=MV.shape, dtype="f8", external=[(str(raw), 0, MV.nbytes)])

    refused({"x.h5": h5(tmp_path / "a.h5", external)}, "external link")
    refused({"x.h5": h5(tmp_path / "b.h5", virtual)}, "other files")
    refused({"x.h5": h5(tmp_path / "c.h5", stored_outside)}, "other files")


@pytest.mark.parametrize("where", ["rate", "values"])
def test_hdf5_numbers_of_a_layout_of_their_own_are_refused(tmp_path, where):
    """A float whose exponent counts from elsewhere reads as another number: 250 Hz as 62.5 Hz."""

    def odd(file, h5py):
        kind = h5py.h5t.IEEE_F64LE.copy()
        kind.set_ebias(1025)
        ecg = file.create_dataset("ecg", data=MV)
        ecg.attrs["fs"] = 250.0
        if where == "rate":
            h5py.h5a.delete(ecg.id, b"fs")
            h5py.h5a.create(ecg.id, b"fs", kind, h5py.h5s.create(h5py.h5s.SCALAR)).write(np.array(250.0))
        else:
            del file["ecg"]
            made = h5py.h5d.create(file.id, b"ecg", kind, h5py.h5s.create_simple(MV.shape))
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, MV)

    refused({"x.h5": h5(tmp_path / "a.h5", odd)}, "no IEEE floats")


def test_a_lost_chunk_of_hdf5_is_a_gap_and_no_flat_line(tmp_path):
    def torn(file, h5py):
        ecg = file.create_dataset("ecg", shape=MV.shape, dtype="f4", chunks=(6, 500))
        ecg.attrs["fs"], ecg.attrs["units"] = 250.0, "mV"
        ecg[:, :1000], ecg[:, 1500:] = MV[:, :1000], MV[:, 1500:]

    ecg = read_ecg_upload({"x.h5": h5(tmp_path / "a.h5", torn)})
    assert np.isnan(ecg.signal[:, 1000:1500]).all() and np.isfinite(ecg.signal[:, 1500:]).all()
    assert any("absent" in s for s in ecg.warnings)


def test_hdf5_loops_end(tmp_path):
    def loop(file, h5py):
        group = file.create_group("a")
        group["again"] = group  # a hard link to itself
        group["soft"] = h5py.SoftLink("/a")
        file.create_dataset("ecg", data=MV)

    ecg = read_ecg_upload({"x.h5": h5(tmp_path / "a.h5", loop)})
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-6)


def test_claimed_sizes_are_not_allocated(tmp_path):
    huge = h5(
        tmp_path / "a.h5",
        lambda file, _: file.create_dataset("ecg", shape=(12, 10**9), dtype="f8", chunks=True),
    )
    refused({"x.h5": huge}, "more values")
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (12, 9999999999), }".ljust(117)
        + b"\n"
    )
    refused({"x.npy": header + bytes(100)}, "at most")
    refused({"r.hea": b"r 12 500 99999999999\nr.dat 16 1000/mV 16 0 0 0 0 II\n", "r.dat": bytes(100)})


def test_nested_structs_end(tmp_path):
    deep: object = {"x": 1.0}
    for _ in range(40):
        deep = {"a": deep}
    savemat(tmp_path / "x.mat", {"s": deep})
    refused({"x.mat": (tmp_path / "x.mat").read_bytes()}, "nested too deep")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308"])
def test_no_value_breaks_the_record(value):
    text = ",".join(LEADS) + "\n" + "\n".join(",".join(f"{v:.3f}" for v in row) for row in MV.T)
    rows = text.splitlines()
    rows[700] = ",".join([value, *rows[700].split(",")[1:]])
    ecg = read_ecg_upload({"x.csv": "\n".join(rows).encode()})
    assert isinstance(ecg, ECG) and np.isnan(ecg.signal[0, 699]) and np.isnan(ecg.signal).sum() == 1


def test_text_is_limited(monkeypatch):
    monkeypatch.setitem(LIMITS, "text", Limit(1000, LIMITS["text"].words))
    text = ",".join(LEADS) + "\n" + "0,0,0,0,0,0,0,0,0,0,0,0\n" * 2500
    refused({"x.csv": text.encode()}, "1,000 bytes of text")


def test_every_limit_has_its_sentence():
    for what, limit in LIMITS.items():
        said = limit.exceeded(limit.most + 1, "x")
        assert said.endswith(".") and f"{limit.most:,}" in said and not limit.exceeded(limit.most, "x"), what


def test_what_headers_and_tables_name_is_not_said() -> None:
    header = b"Doe_Jane 12 500 5000\n" + b"Doe_Jane.dat 16 1000 16 0 0 0 0 II\n" * 12
    assert "Doe" not in refused({"a.hea": header}, "data file")
    assert "Doe" not in refused({"a.zip": zipped({"x/a.hea": header})}, "data file")
    joined = b"a/2 12 500 10000\nDoe_Jane_1 5000\nDoe_Jane_2 5000\n"
    assert "Doe" not in refused({"a.hea": joined}, "joins several segments")
    rows = "\n".join(";".join(str(k) for k in (i, i % 7, i % 5)) for i in range(3000))
    assert "Jane" not in refused({"a.csv": f"Jane;Doe;F\n{rows}".encode()})


def test_an_uploads_warnings_do_not_name_it() -> None:
    counts = np.round(MV[:, :2500].T * 1000).astype("<i2")
    header = "Doe_Jane 12\n" + "".join(f"Doe_Jane.dat 16 1000 16 0 0 0 0 {lead}\n" for lead in LEADS)
    ecg = read_ecg_upload({"Doe_Jane.hea": header.encode(), "Doe_Jane.dat": counts.tobytes()})
    assert any("no sampling rate" in said for said in ecg.warnings)
    assert "Doe" not in " ".join([*ecg.warnings, ecg.source, ecg.record_id, ecg.device])


# Values that no heart has


def test_values_beyond_all_units_are_absent_and_leave_the_rest_sound():
    mv = MV.astype(np.float32)
    mv[2, 700], mv[4] = 3e38, -3e38
    ecg = ECG(mv, 250.0)
    assert np.flatnonzero(np.isnan(ecg.signal[2])).tolist() == [700] and ecg.absent_leads == ("aVL",)
    tokens = tokenize_beats(ecg)
    assert np.isfinite(tokens.values).all() and tokens.valid[2].all() and not tokens.valid[4].any()


@pytest.mark.filterwarnings("error")
def test_the_tokeniser_keeps_count_of_hostile_values():
    """A few of `make fuzz`: each is refused in a sentence, or every R peak is accounted for."""
    read = 0
    for seed in range(150):
        try:
            assert through_tokens(random.Random(seed), MV.astype(np.float32)) == "read", seed
            read += 1
        except ECGError as error:
            assert str(error).strip().endswith((".", "?")), seed
    assert read > 50


# Damage that the file itself tells


@pytest.fixture
def sound(tmp_path):
    """Header and samples of a sound WFDB record "r"."""
    wfdb.wrsamp("r", fs=250, units=["mV"] * 12, sig_name=list(LEADS), p_signal=MV.T, fmt=["16"] * 12,
                adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path))  # fmt: skip
    files = {f"r.{e}": (tmp_path / f"r.{e}").read_bytes() for e in ("hea", "dat")}
    assert not read_ecg_upload(files).warnings
    return files


def test_samples_that_do_not_give_the_checksum_are_said(sound):
    for at in (2 * 12 * 100, 2 * 12 * 100 + 1):  # sample 100 of lead I, either byte
        broken = bytearray(sound["r.dat"])
        broken[at] ^= 1
        said = read_ecg_upload({**sound, "r.dat": bytes(broken)}).warnings
        assert [s for s in said if "checksum" in s] == [
            "The samples of I do not give the checksum in the header: changed, or damaged."
        ]


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_a_checksum_counts_absent_samples_as_the_format_does(tmp_path, fmt):
    d = np.round(MV.T * 40).astype(np.int64)
    p = d / 40.0
    p[50:80, 3] = np.nan
    wfdb.wrsamp("r", fs=250, units=["mV"] * 12, sig_name=list(LEADS), p_signal=p, fmt=[fmt] * 12,
                adc_gain=[40.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path))  # fmt: skip
    ecg = read_ecg(tmp_path / "r.hea")
    assert np.isnan(ecg.signal[3, 50:80]).all() and not any("checksum" in s for s in ecg.warnings)


def test_a_gain_of_its_own_is_said(sound):
    header = sound["r.hea"].decode().splitlines()
    header[7] = header[7].replace("1000.0", "100.0")
    said = read_ecg_upload({**sound, "r.hea": "\n".join(header).encode()}).warnings
    assert any("V1 has a gain of its own in the header (100/mV; all others 1000/mV)" in s for s in said)


def test_what_is_no_lead_may_have_a_gain_of_its_own(tmp_path):
    wfdb.wrsamp("r", fs=250, units=["mV"] * 3 + ["NU"], sig_name=["I", "II", "V5", "RESP"],
                p_signal=MV.T[:, :4], fmt=["16"] * 4, adc_gain=[200.0] * 3 + [50.0], baseline=[0] * 4,
                write_dir=str(tmp_path))  # fmt: skip
    assert not any("gain" in s for s in read_ecg(tmp_path / "r.hea").warnings)


def test_a_skewed_signal_is_not_held_against_its_checksum(sound):
    header = sound["r.hea"].decode().replace("r.dat 16 ", "r.dat 16:3 ", 1)
    ecg = read_ecg_upload({**sound, "r.hea": header.encode()})
    np.testing.assert_allclose(ecg.signal[0, :-3], MV[0, 3:], atol=6e-4)
    assert not any("checksum" in s for s in ecg.warnings)


def test_what_is_odd_about_a_segment_is_said_of_the_record(sound):
    files = {"s.hea": sound["r.hea"].replace(b"/mV", b"").replace(b"r 12", b"s 12"), "r.dat": sound["r.dat"]}
    n = MV.shape[1]
    joined = f"j/3 12 250 {2 * n + 5}\ns {n}\n~ 5\ns {n}\n".encode()
    said = [s for s in read_ecg_upload({**files, "j.hea": joined}).warnings if "unit" in s]
    assert said == ["The .hea file names no unit; WFDB's default, mV, is taken."]


def test_a_lead_without_a_readable_sample_is_said(sound):
    header = sound["r.hea"].decode().splitlines()
    header[7] = re.sub(r"\(\d+\)", "(99999999999999999999)", header[7])
    ecg = read_ecg_upload({**sound, "r.hea": "\n".join(header).encode()})
    assert ecg.absent_leads == ("V1",) and any(
        "without a sample that can be read: V1" in s for s in ecg.warnings
    )


@pytest.mark.parametrize(
    "change",
    [lambda c: c[:20_000] + bytes(32) + c[20_000:], lambda c: c.replace(b"-32768  ", b"\0\0\0\x00768 ", 20),
     lambda c: c.replace(b"-32768  ", b"-1e308  ", 16)],
    ids=["bytes between", "no number", "beyond 16 bits"],
)  # fmt: skip
def test_an_edf_that_breaks_its_own_rules_is_said(tmp_path, change):
    content = edf(tmp_path / "x.edf", MV, 250.0).read_bytes()
    usual = set(read_ecg_upload({"x.edf": content}).warnings)
    try:
        assert set(read_ecg_upload({"x.edf": change(content)}).warnings) - usual
    except ECGError:
        pass


def test_a_rate_by_default_is_said(tmp_path):
    content = mfer(tmp_path / "x.mwf", MV, 250.0).read_bytes()
    at = content.index(b"\x0b\x04")
    ecg = read_ecg_upload({"x.mwf": content[:at] + content[at + 6 :]})
    assert ecg.fs == 1000 and any("default of 1000 Hz" in s for s in ecg.warnings)


@pytest.mark.parametrize("channels", [1, 8])
def test_an_mfer_file_that_describes_more_channels_than_it_counts_is_said(tmp_path, channels):
    content = mfer(tmp_path / "x.mwf", MV, 250.0).read_bytes()
    assert not any("channel" in s for s in read_ecg_upload({"x.mwf": content}).warnings)
    assert content.count(b"\x05\x01\x0c") == 1
    ecg = read_ecg_upload({"x.mwf": content.replace(b"\x05\x01\x0c", bytes((5, 1, channels)))})
    assert any(f"describes a channel 12 and counts {channels}" in s for s in ecg.warnings)


def test_a_warning_does_not_name_the_file(tmp_path):
    text = muse(tmp_path / "x.xml", MV, 250.0).read_text()
    text = text.replace("<LeadID>", "<LeadDataCRC32>12345</LeadDataCRC32><LeadID>")
    ecg = read_ecg_upload({f"{JANE['family']}.xml": text.encode()})
    assert any("CRC32 mismatch" in s and "the file" in s for s in ecg.warnings)
    assert not any(JANE["family"] in s for s in ecg.warnings)


# What published files leave unsaid, or say oddly


@pytest.mark.parametrize(
    ("unit", "odd"),
    [(b"?V", True), (b"\xb0V", True), (b"\xe6V", True), (b"\xb5V", False), (b"microV", False),
     (b"uVolt", False), (b"\xcd\xeaV", None), (b"kV", None)],
)  # fmt: skip
def test_a_unit_whose_sign_was_lost_is_said(tmp_path, unit, odd):
    content = edf(tmp_path / "x.edf", MV, 250.0).read_bytes()
    ecg = read_ecg_upload({"x.edf": content.replace(b"uV      ", unit.ljust(8), 12)})
    assert ecg.units_known == (odd is not None)
    assert any("taken for µV" in s for s in ecg.warnings) == bool(odd)
    if odd is not None:
        np.testing.assert_allclose(ecg.signal, MV, atol=1.3e-3)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_header_in_microvolt_is_in_microvolt(encoding):
    header = "\n".join(["r 12 250 2500", *(f"r.dat 16 1/µV 16 0 0 0 0 {lead}" for lead in LEADS)])
    data = np.round(MV * 1000).astype("<i2").T.tobytes()
    ecg = read_ecg_upload({"r.hea": header.encode(encoding), "r.dat": data})
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    assert ecg.units_known


def test_age_and_sex_in_one_line(sound):
    ecg = read_ecg_upload(sound | {"r.hea": sound["r.hea"] + b"# <age>: 65 <sex>: F <diagnoses>: none\n"})
    assert (ecg.age, ecg.sex) == (65, "F")


def test_a_holters_channel_without_a_lead_is_none(tmp_path):
    path = ishne(tmp_path / "x.ecg", MV, 250.0)
    content = bytearray(path.read_bytes())
    struct.pack_into("<12h", content, 158, *[0] * 12)
    path.write_bytes(content)
    with pytest.raises(NeedsAnswer) as error:
        read_ecg(path)
    assert error.value.asks == ("leads",)
    np.testing.assert_allclose(read_ecg(path, leads=list(LEADS)).signal, MV, atol=1e-3)


def test_numbered_channels_of_an_edf_are_no_leads(tmp_path):
    content = bytearray(edf(tmp_path / "x.edf", MV, 250.0).read_bytes())
    content[256 : 256 + 192] = "".join(f"Lead {i}".ljust(16) for i in range(1, 13)).encode()
    with pytest.raises(NeedsAnswer):
        read_ecg_upload({"x.edf": bytes(content)})


def test_an_interrupted_edf_says_so(tmp_path):
    content = edf(tmp_path / "x.edf", MV, 250.0).read_bytes().replace(b"EDF+C", b"EDF+D")
    assert not any("interrupted" in s for s in read_ecg_upload({"x.edf": content}).warnings)
    gap = content.replace(b"+9\x14\x14\0", b"+39\x14\x14")
    assert any("interrupted" in s for s in read_ecg_upload({"x.edf": gap}).warnings)


def test_muse_without_a_unit_is_guessed(tmp_path):
    text = muse(tmp_path / "x.xml", MV, 250.0).read_text()
    text = text.replace("<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>", "")
    ecg = read_ecg_upload({"x.xml": text.encode()})
    assert "unit" in ecg.guessed and not ecg.units_known
    np.testing.assert_allclose(ecg.signal, MV, atol=8e-3)


@pytest.mark.parametrize("part", [" ", ",", "\t", "_", "-", ".", "/", "[(", "t ", "time ", "a,", '"', "1"])
def test_a_heading_of_one_long_cell_is_read_in_no_time(part):
    cell = part * (20_000 // len(part))
    begun = time.perf_counter()
    assert canonical_lead(cell) is None and split_unit(cell) == (cell, "")
    assert TIME.match(f"time{cell}x") is None
    assert time.perf_counter() - begun < 1


def test_a_quoted_cell_beyond_what_csv_takes_is_a_sentence():
    rows = "0.1,0.2\n" * 300
    refused({"a.csv": f'I,II\n{rows}"{"x" * 200_000}",1\n{rows}'.encode()}, "no table of numbers")
    begun = time.perf_counter()
    refused({"a.csv": (f'"{"1" * 200_000}",1\n' * 3).encode()})
    assert time.perf_counter() - begun < 5
