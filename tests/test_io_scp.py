"""SCP-ECG (EN 1064) as devices pack it: Huffman, differences, reference beats."""

import binascii
import struct

import numpy as np
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import NeedsAnswer, read_ecg
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

FS = 500
MV = simulate_ecg("normal", fs=FS).signal.astype(np.float64)
N = MV.shape[1]
COUNTS = np.round(MV * 400).astype(int)  # of 2.5 µV
CODES = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)


def huffman(values: np.ndarray) -> bytes:
    """The default table of the standard (annex C): 0, then 10s, 110s ... for 1 to 8, and 8 or 16 bits."""
    bits = []
    for v in values.tolist():
        if v == 0:
            bits.append("0")
        elif abs(v) <= 8:
            bits.append("1" * abs(v) + "0" + ("1" if v < 0 else "0"))
        elif -128 <= v < 128:
            bits.append("1111111110" + f"{v & 0xFF:08b}")
        else:
            bits.append("1111111111" + f"{v & 0xFFFF:016b}")
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


# A table of its own: (prefix bits, all bits, mode, value, code): 0, 1, -1, and the rest in 16 bits
OWN = ((1, 1, 1, 0, "0"), (2, 2, 1, 1, "10"), (3, 3, 1, -1, "110"), (3, 19, 1, 0, "111"))


def own_huffman(values: np.ndarray) -> bytes:
    codes = {0: "0", 1: "10", -1: "110"}
    text = "".join(codes.get(v, f"111{v & 0xFFFF:016b}") for v in values.tolist())
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def differences(values: np.ndarray, order: int) -> np.ndarray:
    """First samples as they are, then differences of an order."""
    return np.concatenate([values[:order], np.diff(values, order)])


def section(number: int, body: bytes, version: int = 20) -> bytes:
    body += b"\0" * (len(body) % 2)
    head = struct.pack("<HIBB6s", number, 16 + len(body), version, version, b"" if number else b"SCPECG")
    return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body


def leads_of(number, rows, avm, step_us, order, pack, flag=0):
    """Section 5 or 6."""
    data = [pack(differences(row, order)) for row in rows]
    sizes = b"".join(struct.pack("<H", len(one)) for one in data)
    return section(number, struct.pack("<HHBB", avm, step_us, order, flag) + sizes + b"".join(data))


def assembled(path, parts):
    """A file of these sections (number -> bytes)."""
    pointers, at = struct.pack("<HII", 0, 136, 7), 7 + 136
    for number in range(1, 12):
        size = len(parts.get(number, b""))
        pointers += struct.pack("<HII", number, size, at if size else 0)
        at += size
    rest = section(0, pointers) + b"".join(parts[number] for number in sorted(parts))
    rest = struct.pack("<I", 6 + len(rest)) + rest
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest)
    return path


def stretches(path, codes, rows, places):
    """A file of leads by their codes, each over its own samples (first, last), counted from 1."""
    place = b"".join(struct.pack("<IIB", *ends, code) for ends, code in zip(places, codes, strict=True))
    pack = {3: section(3, bytes((len(codes), 3 << 3)) + place)}
    pack[6] = leads_of(6, rows, 2500, 2000, 0, lambda x: x.astype("<i2").tobytes())
    return assembled(path, pack)


def scp(path, packing="none", order=0, beats=None, flag=0):
    """A file of twelve leads.

    packing : "none", "default" or "own" Huffman tables;  order : of the differences
    beats : (fiducials, reference beat (lead, sample), its nV a count)
    """
    pack = {"none": lambda x: x.astype("<i2").tobytes(), "default": huffman, "own": own_huffman}[packing]
    table = {"default": struct.pack("<H", 19_999)}.get(packing)
    if packing == "own":
        rows = [
            struct.pack("<BBBhI", prefix, bits, mode, value, int(code[::-1], 2))
            for prefix, bits, mode, value, code in OWN
        ]
        table = struct.pack("<HH", 1, len(rows)) + b"".join(rows)
    place = b"".join(struct.pack("<IIB", 1, N, code) for code in CODES)
    fields = [(14, bytes(41)), (25, struct.pack("<HBB", 2020, 1, 1)), (26, bytes((10, 0, 0)))]
    about = b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in fields)
    residual = COUNTS.copy()
    parts = {1: section(1, about + b"\xff\0\0")}
    if table:
        parts[2] = section(2, table)
    if beats:
        at, beat, avm = beats
        middle = beat.shape[1] // 2  # the fiducial, from 1
        zones = b""
        for fiducial in at:
            first, last = fiducial - middle + 1, fiducial - middle + beat.shape[1]
            residual[:, first - 1 : last] -= beat * avm // 2500
            zones += struct.pack("<HIII", 0, first, fiducial, last)
        parts[4] = section(4, struct.pack("<HHH", beat.shape[1] * 1000 // FS, middle, len(at)) + zones)
        parts[5] = leads_of(5, beat, avm, 2000, order, pack)
    parts[3] = section(3, bytes((12, 12 << 3 | 4 | bool(beats))) + place)
    parts[6] = leads_of(6, residual, 2500, 2000 if not flag else 8000, order, pack, flag)
    return assembled(path, parts)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("packing", ["none", "default", "own"])
def test_every_packing_is_read_to_its_count(tmp_path, packing, order):
    ecg = read_ecg(scp(tmp_path / "x.scp", packing, order))
    np.testing.assert_allclose(ecg.signal, COUNTS / 400, atol=1e-5)
    assert (ecg.fs, ecg.n_samples, ecg.units_known, ecg.warnings) == (FS, N, True, ())


@pytest.mark.parametrize("avm", [2500, 5000])
@pytest.mark.parametrize(("packing", "order"), [("none", 0), ("default", 2), ("own", 1)])
def test_reference_beats_are_added_where_they_were_taken_away(tmp_path, packing, order, avm):
    beat = COUNTS[:, 700:1001] * 2500 // avm
    ecg = read_ecg(scp(tmp_path / "x.scp", packing, order, ((400, 1203, 2600, 4000), beat, avm)))
    np.testing.assert_allclose(ecg.signal, COUNTS / 400, atol=1e-5)
    assert len(LEADS) == 12 and not ecg.warnings


def test_bimodal_compression_is_refused_by_its_name(tmp_path):
    beat = COUNTS[:, 700:1001]
    with pytest.raises(ECGError, match="bimodal compression.*without compression") as error:
        read_ecg(scp(tmp_path / "x.scp", "default", 2, ((400, 1203), beat, 2500), flag=1))
    assert str(error.value).startswith("x.scp is SCP-ECG")


def test_packing_that_ends_too_soon_is_no_record(tmp_path):
    content = scp(tmp_path / "x.scp", "default", 2).read_bytes()
    for cut in (200, 2000, len(content) - 50):
        (tmp_path / "y.scp").write_bytes(content[:cut])
        with pytest.raises(ECGError):
            read_ecg(tmp_path / "y.scp")


@pytest.mark.parametrize("strip_first", [True, False])
def test_the_strip_below_a_print_is_read_and_not_its_columns_lead(tmp_path, strip_first):
    quarter = N // 4
    ends = [(1 + quarter * (i // 3), quarter * (i // 3 + 1)) for i in range(12)]
    codes, places = list(CODES), list(ends)
    at = 0 if strip_first else 12
    codes.insert(at, 2)
    places.insert(at, (1, N))
    order = list(range(12))
    order.insert(at, 1)
    rows = [COUNTS[row, a - 1 : b] for row, (a, b) in zip(order, places, strict=True)]
    ecg = read_ecg(stretches(tmp_path / "x.scp", codes, rows, places))
    np.testing.assert_allclose(ecg.signal[1], COUNTS[1] / 400, atol=1e-5)
    np.testing.assert_allclose(ecg.signal[11, 3 * quarter :], COUNTS[11, 3 * quarter :] / 400, atol=1e-5)
    assert np.isnan(ecg.signal[11, : 3 * quarter]).all()
    assert any("Lead II stands twice: the longer" in said for said in ecg.warnings)
    assert not any("known name" in said for said in ecg.warnings)


def test_a_lead_that_stands_twice_is_refused_and_may_be_said(tmp_path):
    path = stretches(tmp_path / "x.scp", (1, 2, 2), COUNTS[:3], [(1, N)] * 3)
    with pytest.raises(NeedsAnswer, match="lead II stands twice in x.scp") as error:
        read_ecg(path)
    assert (error.value.asks, error.value.channels) == (("leads",), 3)
    ecg = read_ecg(path, leads=["I", "II", "III"])
    np.testing.assert_allclose(ecg.signal[:3], COUNTS[:3] / 400, atol=1e-5)


def test_nehbs_leads_are_not_taken_for_lead_ii(tmp_path):
    ecg = read_ecg(stretches(tmp_path / "x.scp", (1, 70, 70), COUNTS[[0, 7, 8]], [(1, N)] * 3))
    assert ecg.present.tolist() == [True] + [False] * 11
    assert ecg.warnings == ("Left out, since they are not ECG leads by a known name: D, D.",)
