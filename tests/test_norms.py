"""Normal limits: by age and sex, flagged beyond and only beyond, with a note where they are not known."""

from dataclasses import replace

import numpy as np
import pytest

from clear_hug.leads import LEADS
from clear_hug.measure import Measurements, measure
from clear_hug.norms import HEART_RATE, NO_AGE, NO_SEX, PR, as_shown, assess
from clear_hug.ui.ecg import number_words


def table(measurements, **known):
    return {row.key: row for row in assess(measurements, **known)}


@pytest.fixture(scope="module")
def normal(simulated):
    return measure(simulated("normal"))


def test_every_value_has_its_row_once(normal):
    keys = [row.key for row in assess(normal, 50, "F")]
    assert len(set(keys)) == len(keys)
    by_lead = ("st_j", "st", "r_amplitude", "s_amplitude")
    assert {f"{name} {lead}" for name in by_lead for lead in LEADS} <= set(keys)
    assert {"heart_rate", "p", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia", "qtc_framingham",
            "qtc_hodges", "p_axis", "qrs_axis", "t_axis", "sokolow_lyon", "cornell"} <= set(keys)  # fmt: skip


def test_flags_say_on_which_side_of_the_limits_a_value_lies(normal):
    for row in assess(normal, 50, "F"):
        if row.flag == "normal":
            assert not row.value < row.low and not row.value > row.high and row.source
        if row.flag == "unknown":
            assert np.isnan(row.value) or np.isnan([row.low, row.high]).all()


def test_r_and_s_stand_as_measured_without_limits_and_absent_with_a_reason(normal, simulated):
    rows = table(normal, age=8, sex="F")
    for name in ("r_amplitude", "s_amplitude"):
        for i, lead in enumerate(LEADS):
            row = rows[f"{name} {lead}"]
            assert (row.value, row.unit, row.flag, row.note) == (
                getattr(normal, name)[i], "mV", "unknown", "")  # fmt: skip
    off = table(measure(simulated("lead_off")), age=50, sex="F")
    gone = [lead for lead in LEADS if np.isnan(off[f"r_amplitude {lead}"].value)]
    assert gone == ["V3"] and off["r_amplitude V3"].note and off["s_amplitude V3"].note
    unknown = table(measure(replace(simulated("normal"), units_known=False)))
    assert {(np.isnan(unknown[f"{n} {lead}"].value), unknown[f"{n} {lead}"].note)
            for n in ("r_amplitude", "s_amplitude") for lead in LEADS} == {
        (True, "The voltage of this record is unknown.")}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [("heart_rate", 59.0, "low"), ("heart_rate", 60.0, "normal"), ("heart_rate", 101.0, "high"),
     ("qrs", 110.0, "normal"), ("qrs", 121.0, "high"), ("pr", 201.0, "high"), ("qrs_axis", -31.0, "low"),
     ("qrs_axis", 95.0, "high"), ("sokolow_lyon", 3.6, "high"), ("pr", float("nan"), "unknown")],
)  # fmt: skip
def test_adult_limits(key, value, flag):
    assert table(Measurements(**{key: value}), age=50, sex="M")[key].flag == flag


@pytest.mark.parametrize(
    ("qrs", "axis", "told"), [(119.6, 20.0, True), (119.4, 20.0, False), (150.0, np.nan, False)]
)
def test_how_the_axis_of_a_wide_qrs_is_told_is_said(qrs, axis, told):
    assert ("heights" in table(Measurements(qrs=qrs, qrs_axis=axis), age=50)["qrs_axis"].note) == told


def test_a_qtc_that_is_not_to_be_relied_upon_is_not_judged():
    m = Measurements(heart_rate=80.0, qtc_bazett=514.0, qtc_hodges=300.0)
    doubted = replace(m, qtc_doubt="QTc is not reliable: the heart is paced.")
    sides = {"qtc_bazett": "high", "qtc_hodges": "low"}
    for one, bazett, hodges in ((m, "high", "low"), (replace(m, heart_rate=110.0), "doubtful", "low"),
                                (doubted, "doubtful", "doubtful")):  # fmt: skip
        rows = table(one, age=50, sex="F")
        assert [rows[key].flag for key in sides] == [bazett, hodges]
        assert rows["qtc_framingham"].flag == "unknown"  # not measured


def test_limits_of_men_and_women():
    m = Measurements(qtc_bazett=455.0, cornell=2.4, st_j=np.full(12, 0.17))
    man, woman = table(m, age=50, sex="M"), table(m, age=50, sex="F")
    assert (man["qtc_bazett"].flag, woman["qtc_bazett"].flag) == ("high", "normal")
    assert (man["cornell"].flag, woman["cornell"].flag) == ("normal", "high")
    assert (man["st_j V2"].flag, woman["st_j V2"].flag, man["st_j V4"].flag) == ("normal", "high", "high")
    young = table(replace(m, st_j=np.full(12, 0.22)), age=30, sex="M")
    assert young["st_j V3"].flag == "normal"
    assert table(replace(m, st_j=np.full(12, 0.22)), age=41, sex="M")["st_j V3"].flag == "high"


def test_limits_of_the_j_point_are_held_against_the_j_point_alone():
    low = table(Measurements(st_j=np.full(12, -0.08), st=np.full(12, -0.08)), age=50, sex="F")
    assert {lead for lead in LEADS if low[f"st_j {lead}"].flag == "low"} == {"V2", "V3"}
    lower = table(Measurements(st_j=np.full(12, -0.3), st=np.full(12, 0.4)), age=50, sex="F")
    assert {lead for lead in LEADS if lower[f"st_j {lead}"].flag == "low"} == set(LEADS) - {"aVR"}
    for lead in LEADS:  # ST rises into T: what is normal at the J point is not the measure of it
        row = lower[f"st {lead}"]
        assert (row.value, row.flag, row.source) == (0.4, "unknown", "")
    assert not table(Measurements(st=np.full(12, 0.4)), age=8, sex="F")["st II"].source


@pytest.mark.parametrize("sex", ["F", "M", None])
@pytest.mark.parametrize(("value", "flag"), [(359.0, "low"), (360.0, "normal"), (385.0, "normal")])
def test_a_short_qtc_is_below_360_ms(sex, value, flag):
    assert table(Measurements(qtc_fridericia=value), age=40, sex=sex)["qtc_fridericia"].flag == flag


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [("qrs_axis", -30.4, "normal"), ("qrs_axis", -30.6, "low"), ("qrs", 110.4, "normal"),
     ("qrs", 110.6, "high"), ("heart_rate", 59.6, "normal"), ("sokolow_lyon", 3.504, "normal"),
     ("sokolow_lyon", 3.506, "high"), ("qtc_bazett", 359.6, "normal")],
)  # fmt: skip
def test_a_value_is_flagged_as_it_is_shown(key, value, flag):
    row = table(Measurements(**{key: value}), age=50, sex="M")[key]
    assert (row.flag, row.value) == (flag, value)
    shown = float(number_words(value, row.unit).replace("\N{MINUS SIGN}", "-"))
    assert shown == as_shown(value, row.unit)


def test_unknown_age_and_sex_take_the_wider_limits_and_say_so():
    m = Measurements(qtc_bazett=455.0, cornell=2.4, st_j=np.full(12, 0.22), heart_rate=70.0)
    found = table(m)
    assert {found[key].flag for key in ("qtc_bazett", "cornell", "st_j V2", "heart_rate")} == {"normal"}
    assert NO_AGE in found["heart_rate"].note and NO_SEX in found["qtc_bazett"].note
    assert NO_SEX not in found["heart_rate"].note


def test_children_have_their_own_limits():
    m = Measurements(heart_rate=140.0, pr=115.0, qrs=95.0)
    baby = table(m, age=0.5, sex="M")
    assert (baby["heart_rate"].flag, baby["pr"].flag, baby["qrs"].flag) == ("normal", "normal", "high")
    adult = table(m, age=30, sex="M")
    assert (adult["heart_rate"].flag, adult["pr"].flag, adult["qrs"].flag) == ("high", "low", "normal")
    assert baby["sokolow_lyon"].flag == "unknown" and "children" in baby["sokolow_lyon"].note
    newborn = table(m, age=0.05, sex="F")
    assert (newborn["pr"].low, newborn["pr"].high) == (91, 121)


@pytest.mark.parametrize("limits", [HEART_RATE, PR])
def test_tables_of_children_are_in_order(limits):
    ages = list(limits)
    assert ages == sorted(ages) and ages[-1] == 16
    assert all(low < high for both in limits.values() for low, high in both)
    middles = [sum(sum(pair) for pair in both) for both in limits.values()]
    falls = limits is HEART_RATE
    assert (middles[0] > middles[-1]) == falls


def test_an_absent_value_is_unknown_and_says_why():
    m = Measurements(reasons={"pr": "No P wave was found.", "V3": "V3 was not recorded."})
    found = table(m, age=50, sex="F")
    assert found["pr"].note == "No P wave was found." and found["pr"].flag == "unknown"
    assert found["st V3"].note == "V3 was not recorded."
    assert all(row.note for row in found.values())


def test_doubt_stands_beside_every_qtc(simulated):
    found = table(measure(simulated("paced")), age=70, sex="F")
    for name in ("bazett", "fridericia", "framingham", "hodges"):
        assert "paced" in found[f"qtc_{name}"].note


def test_stored_values_stand_beside_with_their_difference(normal):
    stored = {"heart_rate": 70.0, "p_duration": 100.0, "qtc": 400.0, "qrs_axis": normal.qrs_axis - 350}
    found = table(normal, age=50, sex="F", stored=stored)
    assert found["heart_rate"].difference == pytest.approx(normal.heart_rate - 70)
    assert found["p"].stored == 100 and found["qtc_bazett"].stored == 400
    assert found["qrs_axis"].difference == pytest.approx(-10)
    assert np.isnan(found["qrs"].stored) and np.isnan(found["qtc_hodges"].stored)
