"""XML of hospitals with a known truth: Sapphire, CardioSoft and Schiller."""

import re
import time

import numpy as np
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import NeedsAnswer, read_ecg_upload
from clear_hug.io.markup import number_in
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.written_formats import aecg, sapphire, schiller

MV = simulate_ecg("normal", fs=250.0).signal.astype(np.float64)
COUNTS = np.round(MV * 200).astype(int)  # of 5 µV
CARDIOSOFT = (
    '<?xml version="1.0"?><CardiologyXML><PatientInfo><Age units="YEARS">70</Age><Gender>FEMALE</Gender>'
    '</PatientInfo><StripData><NumberOfLeads>12</NumberOfLeads><SampleRate units="Hz">250</SampleRate>'
    "<ChannelSampleCountTotal>2500</ChannelSampleCountTotal>"
    '<Resolution units="uVperLsb">5</Resolution>'
    + "".join(
        f'<WaveformData lead="{lead}">{",".join(map(str, row))}</WaveformData>'
        for lead, row in zip(LEADS, COUNTS, strict=True)
    )
    + "</StripData></CardiologyXML>"
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    return {
        "dcar_1": sapphire(folder / "a.xml", MV, 250.0).read_text(),
        "sapphire_3": sapphire(folder / "b.xml", MV, 250.0, third=True).read_text(),
        "schiller": schiller(folder / "c.xml", MV, 250.0).read_text(),
        "cardiosoft": CARDIOSOFT,
    }


KINDS = ("dcar_1", "sapphire_3", "schiller", "cardiosoft")
HALF = {"dcar_1": 2.44e-3, "sapphire_3": 2.44e-3, "schiller": 0.5e-3, "cardiosoft": 2.5e-3}  # of a step, mV
SOURCE = {"dcar_1": "GE Sapphire XML", "sapphire_3": "GE Sapphire XML", "schiller": "Schiller XML",
          "cardiosoft": "CardioSoft XML"}  # fmt: skip


def read(text: str, **asked: object):
    return read_ecg_upload({"x.xml": text.encode()}, **asked)


def refused(text: str, *words: str, **asked: object) -> ECGError:
    with pytest.raises(ECGError) as error:
        read(text, **asked)
    said = str(error.value)
    assert "\n" not in said and said.endswith((".", ")")) and len(said) < 500 and "could not" not in said
    for word in words:
        assert word in said, said
    return error.value


def changed(text: str, old: str, new: str, count: int = 0) -> str:
    """The text with a pattern replaced (everywhere, or `count` times), which must be there."""
    after, n = re.subn(old, new, text, count=count)
    assert n, old
    return after


def said(ecg, words: str) -> bool:
    return any(words in warning for warning in ecg.warnings)


def rhythm_of(kind: str, text: str) -> tuple[str, str]:
    """The text up to where its rhythm begins, and the rest; averaged beats are in the former."""
    mark = {"schiller": "<type>ECG_RHYTHMS", "cardiosoft": "<StripData>"}.get(kind, "<wav>")
    assert text.count(mark) == 1
    at = text.index(mark)
    return text[:at], text[at:]


# Round trips


@pytest.mark.parametrize("kind", KINDS)
def test_the_signal_is_right_within_half_a_step(texts, kind):
    ecg = read(texts[kind])
    np.testing.assert_allclose(ecg.signal, MV, atol=HALF[kind] + 1e-6)
    assert (ecg.source, ecg.fs, ecg.n_samples, ecg.units_known) == (SOURCE[kind], 250, 2500, True)
    assert (ecg.sex, ecg.derived, ecg.warnings, ecg.guessed) == ("F", (), (), ())
    assert ecg.age == (70 if kind == "cardiosoft" else 69)  # born in February, recorded in January


@pytest.mark.parametrize("kind", KINDS)
def test_leads_are_placed_by_name_in_any_order(texts, kind):
    lead = {"schiller": r"<channel>.*?</channel>", "cardiosoft": r"<WaveformData.*?</WaveformData>"}.get(
        kind, r"<ecgWaveform .*?/>"
    )
    head, rhythm = rhythm_of(kind, texts[kind])
    found = re.findall(lead, rhythm)
    assert len(found) == 12
    order = iter(np.random.default_rng(3).permutation(12))
    shuffled = re.sub(lead, lambda _: found[next(order)], rhythm)
    assert shuffled != rhythm
    np.testing.assert_allclose(read(head + shuffled).signal, MV, atol=HALF[kind] + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", ["utf-16", "utf-16-be", "utf-8-sig", "declared alone"])
def test_other_encodings_read_the_same(texts, kind, code):
    text = changed(texts[kind], r"<\?xml[^>]*\?>", '<?xml version="1.0" encoding="utf-16"?>')
    if code == "utf-8-sig":
        text = text.replace("utf-16", "utf-8")
    content = {"utf-16-be": b"\xfe\xff" + text.encode("utf-16-be"), "declared alone": text.encode()}.get(
        code
    ) or text.encode(code)
    ecg = read_ecg_upload({"x.xml": content})
    assert ecg.digest == read(texts[kind]).digest


def test_what_the_device_measured_and_is(texts):
    for kind in ("dcar_1", "sapphire_3"):
        ecg = read(texts[kind])
        assert ecg.device == "MAC2000" and ecg.stored == {
            "heart_rate": 72, "pr": 160, "qrs": 90, "qt": 400, "qtc": 430, "qrs_axis": -20, "t_axis": 30,
        }  # fmt: skip
    ecg = read(texts["schiller"])
    assert ecg.device == "SCHILLER AT-102" and ecg.stored == {"heart_rate": 72}
    age = changed(texts["sapphire_3"], "<gender", '<patientAge V="44" U="Y"/><gender')
    assert read(age).age == 44
    assert read(age.replace('U="Y"', 'U="M"')).age == 69


# Averaged beats, several rhythms


@pytest.mark.parametrize(("kind", "rhythm"), [
    ("dcar_1", r"<wav>.*</wav>"), ("sapphire_3", r"<wav>.*</wav>"), ("schiller", "ECG_RHYTHMS"),
    ("cardiosoft", "<StripData>.*</StripData>"),
])  # fmt: skip
def test_averaged_beats_alone_are_no_record(texts, kind, rhythm):
    refused(changed(texts[kind], rhythm, "ECG_AVERAGES" if kind == "schiller" else ""), "without a rhythm"
            if kind != "schiller" else "no rhythm strip (ECG_RHYTHMS; found: ECG_AVERAGES)")  # fmt: skip


@pytest.mark.parametrize("kind", ["dcar_1", "schiller", "cardiosoft"])
def test_of_several_rhythms_one_is_asked_for(texts, kind):
    block = r"(<ecgWaveformMXG[^>]*>(?:(?!MXG).)*</ecgWaveformMXG>)</wav>"
    if kind == "schiller":
        block = r"(<wavedata><type>ECG_RHYTHMS.*</wavedata>)</event>"
    if kind == "cardiosoft":
        block = r"(<StripData>.*</StripData>)"
    end = {"dcar_1": "</wav>", "schiller": "</event>", "cardiosoft": "</CardiologyXML>"}[kind]
    half = (
        re.search(block, texts[kind])[1]
        .replace("4.88", "2.44")
        .replace("1.0<", "0.5<")
        .replace(">5<", ">2.5<")
    )
    text = changed(texts[kind], end, half.replace("\\", "") + end)
    error = refused(text, "2 rhythm strips", "record=1 to 2")
    assert isinstance(error, NeedsAnswer) and (error.asks, error.records) == (("record",), 2)
    for record in (1, 2):
        ecg = read(text, record=record)
        np.testing.assert_allclose(ecg.signal, MV / record, atol=HALF[kind] + 1e-6)
        assert said(ecg, f"Rhythm strip {record} of the 2")
    refused(text, "record 3 was asked for", record=3)
    refused(texts[kind], "holds one record, and record 2", record=2)


# Samples that are not there


@pytest.mark.parametrize("kind", ["dcar_1", "sapphire_3"])
def test_absent_samples_are_nan_whatever_the_others_are(texts, kind):
    head, rhythm = rhythm_of(kind, texts[kind])
    first = " ".join(map(str, np.round(MV[0] / 4.88e-3).astype(int)[:3]))
    gone = changed(rhythm, f'V="{first} ', 'V="-32768 -32768 -32767 ', count=1)
    ecg = read(head + gone)
    assert np.isnan(ecg.signal[0, :2]).all() and np.isnan(ecg.signal).sum() == 2
    assert ecg.signal[0, 2] == pytest.approx(-32767 * 4.88e-3)
    off = changed(rhythm, r'(lead="V3"[^>]*V=")[^"]*"', r"\g<1>" + "-32768 " * 2500 + '"')
    ecg = read(head + off)
    assert ecg.absent_leads == ("V3",) and said(ecg, "without a sample that can be read: V3")


def test_nothing_between_two_commas_is_one_absent_sample(texts):
    head, rhythm = rhythm_of("schiller", texts["schiller"])
    ecg = read(head + changed(rhythm, r"<data>([^,]*),[^,]*,", r"<data>\1,,", count=1))
    assert np.flatnonzero(np.isnan(ecg.signal[0])).tolist() == [1]
    np.testing.assert_allclose(ecg.signal[0, 2:], MV[0, 2:], atol=0.51e-3)


@pytest.mark.parametrize(("kind", "count"), [
    ("dcar_1", 'asizeVT="2500"'), ("sapphire_3", 'asizeBT="2500"'),
    ("schiller", "<samplecount>2500"), ("cardiosoft", "Total>2500"),
])  # fmt: skip
def test_a_count_that_is_wrong_is_said(texts, kind, count):
    ecg = read(texts[kind].replace(count, count.replace("2500", "2600")))
    assert said(ecg, "The file counts '2600' samples in I, II, III") and said(ecg, "and holds 2,500")
    np.testing.assert_allclose(ecg.signal, MV, atol=HALF[kind] + 1e-6)


def test_a_lead_that_is_short_is_not_padded(texts):
    head, rhythm = rhythm_of("dcar_1", texts["dcar_1"])
    refused(head + changed(rhythm, r'(lead="V2"[^>]* V=")\S+ ', r"\1"), "V2", "2,499")


# What is not said, or cannot be read


STEP = {"dcar_1": r' S="4.88"', "sapphire_3": r' S="4.88"', "schiller": "<unitperbit>1.0</unitperbit>",
        "cardiosoft": "(?<=Lsb\">)5(?=<)"}  # fmt: skip
UNIT = {"dcar_1": r' U="uV"', "sapphire_3": r' U="uV"', "schiller": "<units>uV</units>",
        "cardiosoft": ' units="uVperLsb"'}  # fmt: skip
RATE = {"dcar_1": '<sampleRate V="250" U="Hz"/>', "sapphire_3": '<sampleRate V="250" U="Hz"/>',
        "schiller": "<value>250</value>",
        "cardiosoft": '<SampleRate units="Hz">250</SampleRate>'}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_step_no_voltage_is_read(texts, kind):
    text = changed(texts[kind], STEP[kind], "")
    ecg = read(text)
    assert not ecg.units_known and not ecg.guessed and said(ecg, "does not say what one count is")
    counts = read(texts[kind]).signal / (2 * HALF[kind])
    np.testing.assert_allclose(read(text, unit="mV").signal, counts, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_unit_it_is_guessed_or_not_known_and_the_step_is_kept(texts, kind):
    text = changed(texts[kind], UNIT[kind], "")
    ecg = read(text)
    assert not ecg.units_known
    assert (ecg.guessed, said(ecg, "uV is a guess")) == (
        ((), False) if kind == "cardiosoft" else (("unit",), True)
    )
    np.testing.assert_allclose(read(text, unit="uV").signal, MV, atol=HALF[kind] + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_unit_in_millivolt_is_a_thousand_times_more(texts, kind):
    text = changed(texts[kind], UNIT[kind], UNIT[kind].replace("uV", "mV"))
    ecg = read(text)
    assert ecg.units_known
    np.testing.assert_allclose(ecg.signal, 1000 * MV, atol=1001 * HALF[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_unit_that_is_no_voltage_is_named(texts, kind):
    ecg = read(changed(texts[kind], UNIT[kind], UNIT[kind].replace("uV", "mmHg")))
    assert not ecg.units_known and said(ecg, "'mmHg', is not a voltage")


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_rate_it_is_guessed_or_asked_for(texts, kind):
    text = changed(texts[kind], RATE[kind], "")
    ecg = read(text)
    assert (ecg.fs, ecg.guessed) == (250, ("fs",)) and said(ecg, "250 Hz is a guess")
    assert read(text, fs=500).fs == 500


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_with_a_decimal_comma_are_read_or_refused(texts, kind):
    step = {"schiller": "1,0", "cardiosoft": "5,0"}.get(kind, "4,88")
    old = re.search(r"[0-9.]+", STEP[kind])[0]
    text = changed(texts[kind], STEP[kind], STEP[kind].replace(old, step) if kind != "cardiosoft" else step)
    assert read(text).digest == read(texts[kind]).digest
    rate = changed(texts[kind], RATE[kind], RATE[kind].replace("250", "250,0"))
    assert read(rate).digest == read(texts[kind]).digest
    both = changed(text, RATE[kind], RATE[kind].replace("250", "1,000"))  # one, or a thousand
    error = refused(both, "1,000", "read_ecg(path, fs=...)")
    assert isinstance(error, NeedsAnswer) and error.asks == ("fs",)
    assert read(both, fs=250).digest == read(texts[kind]).digest
    refused(text.replace(step, "4,880"), "'4,880'", "decimal point")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["0", "-4.88", "nan", "1e999", "inf", "4.88.1", "_5", "five"])
def test_a_step_that_is_no_number_above_nothing_is_refused(texts, kind, value):
    old = re.search(r"[0-9.]+", STEP[kind])[0]
    new = STEP[kind].replace(old, value) if kind != "cardiosoft" else value
    refused(changed(texts[kind], STEP[kind], new), value, "what one count is", "number above 0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["nan", "1e999", "x", "0x1f4"])
def test_a_rate_that_is_no_number_is_asked_for(texts, kind, value):
    text = changed(texts[kind], RATE[kind], RATE[kind].replace("250", value))
    assert isinstance(refused(text, value, "fs=..."), NeedsAnswer)
    assert read(text, fs=250).digest == read(texts[kind]).digest
    refused(changed(texts[kind], RATE[kind], RATE[kind].replace("250", "-250")), "-250 Hz")


@pytest.mark.parametrize("kind", ["dcar_1", "sapphire_3", "cardiosoft"])
def test_the_unit_of_the_rate_counts(texts, kind):
    rate = RATE[kind].replace("250", "0.25").replace("Hz", "kHz")
    assert read(changed(texts[kind], RATE[kind], rate)).fs == 250
    refused(changed(texts[kind], RATE[kind], RATE[kind].replace("Hz", "ms")), "'250 ms'", "fs=...")


def test_another_exponent_is_refused_by_its_value(texts):
    text = changed(texts["schiller"], "<exponent>1<", "<exponent>3<")
    assert isinstance(refused(text, "exponent of '3'", "fs=..."), NeedsAnswer)
    assert read(text, fs=250).digest == read(texts["schiller"]).digest
    text = changed(texts["schiller"], "<yres>", "<yres><exponent>-3</exponent>")
    refused(text, "yres", "exponent of '-3'")


def test_another_way_to_write_samples_is_refused_by_name(texts):
    refused(changed(texts["schiller"], "COMMASEPARATE", "BASE64"), "'BASE64'", "COMMASEPARATE")


def test_decimal_commas_among_commas_are_not_taken_for_samples(texts):
    head, rhythm = rhythm_of("schiller", texts["schiller"])
    rhythm = re.sub("<data>(.*?)</data>", lambda m: "<data>" + m[1].replace(",", ",0,") + "</data>", rhythm)
    refused(head + rhythm, "twice as many numbers", "decimal")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["x", "1_0", "0x10", "1;5", "1,5"])
def test_a_sample_that_is_no_number_is_refused(texts, kind, value):
    parted = kind in ("schiller", "cardiosoft")  # by commas
    if parted and value == "1,5":
        return
    place = {"schiller": "(<data>)", "cardiosoft": '(<WaveformData lead="I">)'}.get(
        kind, '(lead="I"[^>]* V=")'
    )
    head, rhythm = rhythm_of(kind, texts[kind])
    text = head + changed(rhythm, place, rf"\g<1>{value}{',' if parted else ' '}", count=1)
    refused(text, f"parted by {'commas' if parted else 'spaces'} in lead I;")


def test_leads_by_no_known_name_are_left_out_with_a_word(texts):
    text = texts["dcar_1"].replace('lead="V6"', 'lead="PLETH"')
    ecg = read(text)
    assert ecg.absent_leads == ("V6",) and said(ecg, "Left out") and said(ecg, "PLETH")
    refused(texts["dcar_1"].replace('lead="V6"', 'lead="V5"'), "V5 stands twice")
    labelled = (
        texts["dcar_1"]
        .replace('lead="V4"', 'lead="V4" label="V4R"')
        .replace('lead="V5"', 'lead="V5" label="V5"')
    )
    assert read(labelled).warnings == ("Lead V4 bears the label V4R: its electrode may sit elsewhere.",)


def test_hostile_xml_is_refused(texts):
    for kind in KINDS:
        text = texts[kind]
        root = re.search(r"<(?!\?)([\w.]+)", text)[1]
        bomb = f'<!DOCTYPE {root} [<!ENTITY a "b">]>'
        refused(text.replace(f"<{root}", f"{bomb}<{root}", 1), "entity")
        refused(f"<?xml version='1.0'?><wrapped>{text.partition('?>')[2]}</wrapped>", "outermost")
        refused(text[: len(text) // 2])
    for text in ("<sapphire/>", "<sapphire><ecg><wav><ecgWaveformMXG/></wav></ecg></sapphire>"):
        refused(text)


@pytest.mark.parametrize(("text", "number"), [
    ("5", 5), ("5,0", 5), ("-4.88", -4.88), ("0,005", 0.005), ("1,25", 1.25), ("1,0000", 1), ("+1e3", 1000),
    (".5", 0.5), ("1,000", None), ("12,500", None), ("1.000,5", None), ("1,000,000", None), ("", None),
    (None, None), ("nan", None), ("1e999", None), ("1_0", None), ("٣", None), ("5 uV", None),
])  # fmt: skip
def test_a_number_is_read_as_written_or_not_at_all(text, number):
    assert number_in(text) == number


# HL7 aECG in several sets of sequences


def in_sets(path, heads, leads, pieces=1):
    """A set for each group of leads, that says when it begins, of a stretch of its own or of all."""
    text = aecg(path, MV, 250.0).read_text()
    n = MV.shape[1] // pieces
    sets = []
    for i, (head, group) in enumerate(zip(heads, leads, strict=True)):
        aecg(path, MV[:, i * n : (i + 1) * n] if pieces > 1 else MV, 250.0)
        time, *rows = re.findall(r"<component><sequence>.*?</sequence></component>", path.read_text())
        keep = [row for row in rows if any(f'LEAD_{lead.upper()}"' in row for lead in group)]
        inside = "".join([time.replace('<head value="0" unit="s"/>', head), *keep])
        sets.append(f"<component><sequenceSet>{inside}</sequenceSet></component>")
    return re.sub("<component><sequenceSet>.*</sequenceSet></component>", lambda _: "".join(sets), text)


COLUMNS = (LEADS[:3], LEADS[3:6], LEADS[6:9], LEADS[9:])


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_columns_of_an_aecg_stand_where_they_say_they_begin(tmp_path, unit):
    heads = [f'<head value="{2.5 * i * (1 if unit == "s" else 1000)}" unit="{unit}"/>' for i in range(4)]
    ecg = read(in_sets(tmp_path / "x.xml", heads, COLUMNS, 4))
    assert ecg.n_samples == MV.shape[1] and any("different times" in said for said in ecg.warnings)
    for i, group in enumerate(COLUMNS):
        rows = [LEADS.index(lead) for lead in group]
        there = slice(625 * i, 625 * (i + 1))
        np.testing.assert_allclose(ecg.signal[rows, there], MV[rows, there], atol=0.6e-3)
        assert np.isnan(np.delete(ecg.signal[rows], there, axis=1)).all()


def test_sets_that_begin_at_once_are_one_record(tmp_path):
    heads = ['<head value="20200101100000.000"/>'] * 4
    ecg = read(in_sets(tmp_path / "x.xml", heads, COLUMNS).replace("TIME_RELATIVE", "TIME_ABSOLUTE"))
    np.testing.assert_allclose(ecg.signal, MV, atol=0.6e-3)
    assert not ecg.warnings


@pytest.mark.parametrize("why", ["a lead twice", "no head", "another rate", "a year between"])
def test_of_sets_that_cannot_be_joined_the_first_is_read_and_it_is_told(tmp_path, why):
    heads = ['<head value="0" unit="s"/>'] * 2
    groups = [LEADS[:6], LEADS[6:]] if why != "a lead twice" else [LEADS[:6], ("I", *LEADS[6:])]
    if why == "no head":
        heads[1] = ""
    if why == "a year between":
        heads[1] = '<head value="31536000" unit="s"/>'
    text = in_sets(tmp_path / "x.xml", heads, groups)
    if why == "another rate":
        at = text.rindex('increment value="0.004"')
        text = text[:at] + text[at:].replace("0.004", "0.002", 1)
    ecg = read(text)
    np.testing.assert_allclose(ecg.signal[:6], MV[:6], atol=0.6e-3)
    assert any("only the first is read" in said for said in ecg.warnings)
    assert set(ecg.absent_leads) == set(LEADS[6:])


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
def test_the_clock_of_an_aecg_is_its_own_and_not_this_machines(tmp_path, monkeypatch, zone):
    times = ("20200329015957.500+0100", "20200329030000.000+0200", "20200329030002.500+0200")
    heads = [f'<head value="{at}"/>' for at in (times[0], *times[1:], "20200329010005.000+0000")]
    text = in_sets(tmp_path / "x.xml", heads, COLUMNS, 4).replace("TIME_RELATIVE", "TIME_ABSOLUTE")
    plain = [f'<head value="202003290{at}"/>' for at in ("15957.5", "20000.0", "20002.5", "20005.0")]
    unzoned = in_sets(tmp_path / "x.xml", plain, COLUMNS, 4).replace("TIME_RELATIVE", "TIME_ABSOLUTE")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        found = [read(text), read(unzoned)]
    finally:
        monkeypatch.undo()
        time.tzset()
    for ecg in found:
        assert ecg.n_samples == MV.shape[1]
        np.testing.assert_allclose(ecg.signal[9:, 1875:], MV[9:, 1875:], atol=0.6e-3)
