"""JSON as apps, notebooks and FHIR write it: the same ECG comes out of each, or a sentence."""

import gzip
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import NeedsAnswer, find_records, read_ecg, read_ecg_upload
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.written_formats import bundle, coded, sampled

FS = 250
MV = np.round(simulate_ecg("normal", fs=float(FS)).signal.astype(np.float64), 4)  # (12, 2500) mV, 10 s
ROWS = MV.tolist()
NAMED = dict(zip(LEADS, ROWS, strict=True))
TABLE = pd.DataFrame(MV.T, columns=list(LEADS))
SAID = {"fs": FS, "unit": "mV"}
MICRO = np.round(MV * 1000).astype(int).tolist()


def observation(**changed: Any) -> dict[str, Any]:
    parts = [
        {"code": coded(lead), "valueSampledData": sampled(row, FS)}
        for lead, row in zip(LEADS, MICRO, strict=True)
    ]
    given = {"resourceType": "Observation", "effectiveDateTime": "2015-02-19T09:30:35+01:00"}
    return {**given, "component": parts, **changed}


def a_lead_each(seconds: float = 0.0) -> dict[str, Any]:
    """An observation a lead; the last six begin later."""
    return bundle(*(
        {"resourceType": "Observation", "code": coded(lead), "valueSampledData": sampled(row, FS),
         "effectiveDateTime": f"2015-02-19T09:30:{35 + (seconds if i > 5 else 0):06.3f}+01:00"}
        for i, (lead, row) in enumerate(zip(LEADS, MICRO, strict=True))
    ))  # fmt: skip


FHIR: dict[str, Callable[[], Any]] = {
    "components": observation,
    "in a bundle": lambda: bundle(
        {"resourceType": "Patient", "id": "7", "gender": "female"},
        observation(subject={"reference": "Patient/7"})),
    "an observation a lead": a_lead_each,
    "R5": lambda: observation(component=[
        {"code": {"text": f"Lead {lead}"},
         "valueSampledData": sampled(row, FS, period=None, interval=4, intervalUnit="ms")}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
    "named by MDC": lambda: observation(component=[
        {"code": {"coding": [{"display": f"MDC_ECG_ELEC_POTL_{lead.upper()}"}]},
         "valueSampledData": sampled(row, FS)}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
    "coded as leads": lambda: observation(component=[
        {"code": coded(lead, 131_072), "valueSampledData": sampled(row, FS)}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
    "a factor and an origin": lambda: observation(component=[
        {"code": coded(lead), "valueSampledData": sampled(
            (np.array(row) - 1024).tolist(), FS, factor=0.001, origin={"value": 1.024, "code": "mV"})}
        for lead, row in zip(LEADS, MICRO, strict=True)]),
}  # fmt: skip


def written(folder: Path, tree: Any) -> Path:
    path = folder / "ecg.json"
    path.write_text(json.dumps(tree))
    return path


PLAIN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "as it is documented": ({**SAID, "leads": NAMED}, ()),
    "other names for rate and unit": ({"samplingRate": 250.0, "units": "mV", "leads": NAMED}, ()),
    "in microvolt": ({"fs": FS, "unit": "uV", "leads": dict(zip(LEADS, MICRO, strict=True))}, ()),
    "leads in another order": ({**SAID, "leads": dict(reversed(NAMED.items()))}, ()),
    "without a unit": ({"fs": FS, "leads": NAMED}, ("unit",)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_form(tmp_path, name):
    tree, guessed = PLAIN[name]
    path = written(tmp_path, tree)
    for ecg in (read_ecg(path), read_ecg_upload({"Doe.json": path.read_bytes()})):
        assert (ecg.fs, ecg.units_known, ecg.guessed) == (FS, "unit" not in guessed, guessed)
        np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
        assert not any("Doe" in said for said in ecg.warnings)


def test_age_and_sex_are_read_and_what_else_is_said_is_left_out_and_said(tmp_path):
    tree = {**SAID, "age": 61, "sex": "F", "name": "Jane Doe", "r_peaks": list(range(200)), "leads": NAMED}
    ecg = read_ecg(written(tmp_path, tree))
    assert (ecg.age, ecg.sex) == (61, "F")
    assert any("What stands beside the leads is not read" in said for said in ecg.warnings)
    assert not any("Doe" in said for said in ecg.warnings)


def test_a_rate_that_is_not_told_is_guessed_with_a_word_or_asked_for(tmp_path):
    path = written(tmp_path, {"unit": "mV", "leads": NAMED})
    ecg = read_ecg(path)  # 2,500 samples: 10 s at 250 Hz
    assert (ecg.fs, ecg.guessed) == (FS, ("fs",)) and any("names no sampling rate" in w for w in ecg.warnings)
    odd = written(tmp_path, {"unit": "mV", "leads": {name: row[:1777] for name, row in NAMED.items()}})
    with pytest.raises(NeedsAnswer) as caught:
        read_ecg(odd)
    assert caught.value.asks == ("fs",)
    assert read_ecg(odd, fs=FS).fs == FS


@pytest.mark.parametrize("name", FHIR)
def test_fhir(tmp_path, name):
    ecg = read_ecg(written(tmp_path, FHIR[name]()))
    assert (ecg.fs, ecg.units_known, ecg.guessed, ecg.source) == (FS, True, (), "FHIR")
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    assert ecg.sex == ("F" if "bundle" in name else None)


def test_leads_that_begin_later_stand_later(tmp_path):
    ecg = read_ecg(written(tmp_path, a_lead_each(2.0)))
    assert ecg.n_samples == MV.shape[1] + 2 * FS
    assert np.isnan(ecg.signal[6:, : 2 * FS]).all() and np.isnan(ecg.signal[:6, -2 * FS :]).all()
    np.testing.assert_allclose(ecg.signal[6:, 2 * FS :], MV[6:], atol=1e-3)
    assert any("different times" in said for said in ecg.warnings)


def test_one_of_several_observations_is_asked_for(tmp_path):
    later = observation(effectiveDateTime="2016-01-01T00:00:00Z")
    later["component"] = later["component"][:8]
    path = written(tmp_path, bundle(observation(), later))
    with pytest.raises(NeedsAnswer) as caught:
        read_ecg(path)
    assert caught.value.asks == ("record",) and caught.value.records == 2
    assert read_ecg(path, record=2).absent_leads == LEADS[8:]


def test_what_lies_beyond_the_device_is_said_and_an_error_is_absent(tmp_path):
    tree = observation()
    data = tree["component"][6]["valueSampledData"]
    words = data["data"].split()
    words[10:14], words[20] = ["U"] * 4, "E"
    data |= {"data": " ".join(words), "upperLimit": 3300}
    ecg = read_ecg(written(tmp_path, tree))
    np.testing.assert_allclose(ecg.signal[6, 10:14], 3.3)
    assert np.isnan(ecg.signal[6, 20]) and np.isfinite(ecg.signal[6, 14:20]).all()
    assert any("4 samples of lead V1" in said for said in ecg.warnings)


def test_null_is_no_sample(tmp_path):
    rows: list[list[float | None]] = [list(row) for row in ROWS]
    rows[7][100:110] = [None] * 10
    ecg = read_ecg(written(tmp_path, {**SAID, "leads": dict(zip(LEADS, rows, strict=True))}))
    assert np.isnan(ecg.signal[7, 100:110]).all() and np.isfinite(ecg.signal[7, :100]).all()


LEAD_OBJECTS = [{"lead": n, "samples": r} for n, r in NAMED.items()]
REFUSED: dict[str, tuple[Any, str]] = {
    "a gain": ({**SAID, "gain": 200, "leads": NAMED}, "“gain”"),
    "a resolution": ({**SAID, "uv_per_bit": 2.5, "leads": NAMED}, "“per_bit”"),
    "an offset": ({**SAID, "adc_zero": 1024, "leads": NAMED}, "may change what they mean"),
    "another rate": ({**SAID, "ppg_fs": 100, "leads": NAMED}, "“fs”"),
    "two rates": ({**SAID, "sampling_rate": 500, "leads": NAMED}, "both fs and sampling_rate"),
    "a rate in words": ({**SAID, "fs": "250 Hz", "leads": NAMED}, "no number of Hz"),
    "a unit that is none": ({"fs": FS, "unit": "counts", "leads": NAMED}, "no voltage"),
    "units of each lead": ({"fs": FS, "unit": ["mV"] * 12, "leads": NAMED}, "no voltage"),
    "numbered leads": ({**SAID, "leads": {f"lead_{i}": r for i, r in enumerate(ROWS)}},
                       "no lead by its name"),
    "leads counted from 1": ({**SAID, "leads": {f"Lead {i + 1}": r for i, r in enumerate(ROWS)}},
                             "no lead by its name"),
    "another signal among them": ({**SAID, "leads": {**NAMED, "resp": ROWS[0]}}, "no lead by its name"),
    "a lead twice": ({**SAID, "leads": {**NAMED, "Lead V1": ROWS[0]}}, "V1 twice"),
    "a lead of another length": ({**SAID, "leads": {**NAMED, "II": ROWS[1] * 2}}, "2,500 to 5,000 samples"),
    "a lead without samples": ({**SAID, "leads": {**NAMED, "V2": []}}, "0 to 2,500 samples"),
    "chunks": ({**SAID, "leads": {**NAMED, "V2": [ROWS[7][:1250], ROWS[7][1250:]]}}, "no list of numbers"),
    "a text among the samples": ({**SAID, "leads": {**NAMED, "V2": [*ROWS[7][:-1], "0,1"]}},
                                 "no list of numbers"),
    "a number beyond all": ({**SAID, "leads": {**NAMED, "V2": [*ROWS[7][:-1], 10**400]}},
                            "no list of numbers"),
    "an object a lead": ({**SAID, "leads": LEAD_OBJECTS}, "of the form that is read"),
    "leads within other things": ({"ecg": {**SAID, "leads": NAMED}}, "of the form that is read"),
    "a matrix": ({**SAID, "lead_names": list(LEADS), "signal": ROWS}, "of the form that is read"),
    "rows": (json.loads(TABLE.to_json(orient="records")), "of the form that is read"),
    "too deep": ("[" * 50_000, "too deep"),
    "cut short": ('{"fs": 250, "leads": {"I": [0.1, 0.2', "cut short"),
    "a name twice": ('{"leads": {"I": [%s], "I": [%s]}}' % (("0.1, " * 200 + "0",) * 2), "broken"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_of_the_form_is_refused_in_a_sentence(tmp_path, name):
    tree, said = REFUSED[name]
    path = tmp_path / "ecg.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    with pytest.raises(ECGError, match=said) as caught:
        read_ecg(path)
    assert "ecg.json" in str(caught.value)
    with pytest.raises(ECGError, match=said) as caught:
        read_ecg_upload({"Doe.json": path.read_bytes()})
    assert "Doe" not in str(caught.value)


TABLES_THAT_BEGIN_AS_JSON = {
    "a section": "[Header]\nSampling rate=250 Hz\nUnit=mV\n[Data]\n",
    "a line of JSON": '{"fs": 250, "unit": "mV"}\n',
}


@pytest.mark.parametrize("name", TABLES_THAT_BEGIN_AS_JSON)
def test_tables_that_begin_as_json_does_are_tables(tmp_path, name):
    path = tmp_path / "ecg.csv"
    path.write_text(TABLES_THAT_BEGIN_AS_JSON[name] + TABLE.to_csv(index=False))
    ecg = read_ecg(path, fs=FS)
    assert ecg.source == "CSV"
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


def test_json_of_other_things_is_no_record(tmp_path):
    others = {
        "settings": {"betas": [0.9, 0.98], "folds": list(range(500))},
        "peaks": {"r_peaks": list(range(0, 2500, 5)), "leads": {"I": 0, "II": 1}},
        "losses": [{"epoch": i, "loss": 1 / (i + 1)} for i in range(300)],
        "huge": {"leads": {"V1": 10**400}},
    }
    for name, tree in others.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(tree))
    (tmp_path / "torn.json").write_text('{"palette": [' + " , ".join(map(str, range(5000))) + '], "t": "abc')
    written(tmp_path, {**SAID, "leads": NAMED})
    assert [path.name for path in find_records(tmp_path)] == ["ecg.json"]
    csv, peaks = TABLE.to_csv(index=False).encode(), (tmp_path / "peaks.json").read_bytes()
    ecg = read_ecg_upload({"Doe.csv": csv, "Doe.json": peaks}, fs=FS)
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)


BROKEN: dict[str, tuple[str, Any, str]] = {
    "a factor in words": ("factor", "4,88", "factor that is no number"),
    "a factor with its unit": ("factor", {"value": 4.88}, "factor that is no number"),
    "dimensions in words": ("dimensions", "two", "dimensions that is no number"),
    "an origin in words": ("origin", {"value": "1.0", "unit": "uV"}, "value that is no number"),
    "an interval in minutes": ("intervalUnit", "min", "expected ms"),
    "a lead cut short": ("data", "1 2 3 4", "unlike length"),
    "a sample that is no number": ("data", "1 inf nan", "no numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_fhir_that_cannot_be_read_is_refused(tmp_path, name):
    key, value, said = BROKEN[name]
    tree = observation()
    tree["component"][3]["valueSampledData"][key] = value
    with pytest.raises(ECGError, match=said):
        read_ecg(written(tmp_path, tree))


def test_observations_of_other_people_or_days_are_not_joined(tmp_path):
    def half(rows: slice, **said: Any) -> dict[str, Any]:
        return observation(**said, component=observation()["component"][rows])

    first, rest = slice(0, 6), slice(6, 12)
    for one, other in (
        ({"subject": {"reference": "Patient/1"}}, {"subject": {"reference": "Patient/2"}}),
        ({"effectiveDateTime": "2015"}, {"effectiveDateTime": "2019-01-01"}),
        ({"effectiveDateTime": "2015-02-19T09:30:35Z"}, {"effectiveDateTime": "2015-02-19T09:31:35Z"}),
    ):
        path = written(tmp_path, bundle(half(first, **one), half(rest, **other)))
        with pytest.raises(NeedsAnswer) as caught:
            read_ecg(path)
        assert caught.value.records == 2
        assert read_ecg(path, record=2).absent_leads == LEADS[:6]
    path = written(tmp_path, bundle(half(first), half(rest)))
    np.testing.assert_allclose(read_ecg(path).signal, MV, atol=1e-3)


def test_whose_it_is_follows_the_subject(tmp_path):
    def patient(number: str, born: str) -> dict[str, Any]:
        name = [{"family": "Doe"}]
        return {"resourceType": "Patient", "id": number, "name": name, "birthDate": born, "gender": "male"}

    mine = observation(subject={"reference": "Patient/2"})
    ecg = read_ecg(written(tmp_path, bundle(patient("1", "1940-01-01"), patient("2", "1955-02-20"), mine)))
    assert (ecg.age, ecg.sex) == (59, "M") and "Doe" not in repr(ecg.warnings)
    ecg = read_ecg(written(tmp_path, bundle(patient("1", "1940-01-01"), mine)))
    assert (ecg.age, ecg.sex) == (None, None)


def test_what_is_no_lead_or_was_entered_in_error_is_left_out_and_said(tmp_path):
    parts = observation()["component"]
    parts.append({"code": {"text": "Recording of John Doe"}, "valueSampledData": sampled(MICRO[0][:500], FS)})
    wrong = observation(status="entered-in-error", effectiveDateTime="2011-01-01T00:00:00Z")
    ecg = read_ecg(written(tmp_path, bundle(wrong, observation(component=parts))))
    np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    said = " ".join(ecg.warnings)
    assert "named as no lead" in said and "entered in error" in said and "Doe" not in said


def test_many_observations_take_no_longer_than_they_are_many(tmp_path):
    each = [
        {"resourceType": "Observation", "code": coded("I"), "valueSampledData": sampled([1, 2, 3], FS),
         "effectiveDateTime": f"2015-02-19T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z"}
        for i in range(0, 80_000, 8)
    ]  # fmt: skip
    path = written(tmp_path, bundle(*each))
    started = time.monotonic()
    with pytest.raises(NeedsAnswer):
        read_ecg(path)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", ["ecg.json", "ecg.csv"])
def test_packed_by_gzip(tmp_path, name):
    text = json.dumps({**SAID, "leads": NAMED}) if name.endswith("json") else TABLE.to_csv(index=False)
    packed = gzip.compress(text.encode())
    (tmp_path / f"{name}.gz").write_bytes(packed)
    for ecg in (read_ecg(tmp_path / f"{name}.gz", fs=FS), read_ecg_upload({f"{name}.gz": packed}, fs=FS)):
        np.testing.assert_allclose(ecg.signal, MV, atol=1e-3)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("readme.md", "# about")
        archive.writestr(f"{name}.gz", packed)
    np.testing.assert_allclose(read_ecg(tmp_path / "all.zip", fs=FS).signal, MV, atol=1e-3)
    with pytest.raises(ECGError, match="cut short") as caught:
        read_ecg_upload({"Doe.json.gz": packed[:-100]})
    assert "Doe" not in str(caught.value)


# JSON lines


def lines(*trees: Any, end: str = "\n") -> bytes:
    return "".join(json.dumps(tree) + end for tree in trees).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_line_a_record_of_which_one_is_asked_for(tmp_path, end):
    turned = {lead: (-MV[i]).tolist() for i, lead in enumerate(LEADS)}
    file = tmp_path / "x.ndjson"
    file.write_bytes(
        b"\xef\xbb\xbf" * (end == "\r\n")
        + lines({**SAID, "leads": NAMED}, {**SAID, "leads": turned}, end=end)
    )
    with pytest.raises(NeedsAnswer, match="2 lines, a record each") as error:
        read_ecg(file)
    assert (error.value.asks, error.value.records) == (("record",), 2)
    for record, sign in ((1, 1), (2, -1)):
        ecg = read_ecg(file, record=record)
        np.testing.assert_allclose(ecg.signal, sign * MV, atol=1e-6)
        assert ecg.warnings == (f"Record {record} of the 2 in the file is read.",)
    with pytest.raises(ECGError, match="holds 2 records"):
        read_ecg(file, record=3)
    assert find_records(tmp_path) == [file]
    with pytest.raises(NeedsAnswer):
        read_ecg_upload({"x.bin": file.read_bytes()})


def test_one_line_is_json_and_a_broken_line_is_told(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_bytes(lines({**SAID, "leads": NAMED}))
    np.testing.assert_allclose(read_ecg(file).signal, MV, atol=1e-6)
    file.write_bytes(lines({**SAID, "leads": NAMED}, {**SAID, "leads": NAMED})[:-100])
    with pytest.raises(ECGError, match="line 2 is broken"):
        read_ecg(file, record=1)
    file.write_bytes(lines({**SAID, "leads": NAMED}, {"note": "none"}))
    with pytest.raises(ECGError, match="no ECG in line 2"):
        read_ecg(file, record=2)


def test_fhir_in_lines_is_the_bundle_of_them(tmp_path):
    file = tmp_path / "x.ndjson"
    file.write_bytes(lines(*(entry["resource"] for entry in a_lead_each()["entry"])))
    np.testing.assert_allclose(read_ecg(file).signal, MV, atol=0.6e-3)
