"""assess(measurements, age, sex) -> rows: each value beside its normal limits for that age and sex.

A limit is still normal; what lies beyond, as it is shown (whole ms, degrees and beats, hundredths of a mV),
is flagged. Each row names its source. These count the limit itself as abnormal: aha-3 for the QRS of
children, aha-4 and esc for QTc, udmi and aha-6 for ST.

References
----------
rijnbeek : Rijnbeek PR, Witsenburg M, Schrama E, Hess J, Kors JA. New normal limits for the paediatric
    electrocardiogram. Eur Heart J 2001; 22:702-711 (2nd and 98th percentiles, 11 days to 16 years).
aha-3 : Surawicz B, Childers R, Deal BJ, Gettes LS. AHA/ACCF/HRS recommendations for the standardization and
    interpretation of the electrocardiogram, part III. Circulation 2009; 119:e235-e240 (QRS, axis).
aha-4 : Rautaharju PM, Surawicz B, Gettes LS. The same, part IV. Circulation 2009; 119:e241-e250 (a long QTc).
aha-5 : Hancock EW, Deal BJ, Mirvis DM, et al. The same, part V. Circulation 2009; 119:e251-e261
    (Sokolow-Lyon, Cornell).
aha-6 : Wagner GS, Macfarlane P, Wellens H, et al. The same, part VI. Circulation 2009; 119:e262-e270
    (depression of the J point: 0.05 mV in V2 and V3, 0.1 mV elsewhere; not held against aVR, which mirrors
    the normal elevation in I and II).
esc : Zeppenfeld K, Tfelt-Hansen J, de Riva M, et al. 2022 ESC guidelines for the management of patients with
    ventricular arrhythmias and the prevention of sudden cardiac death. Eur Heart J 2022; 43:3997-4126 (a
    short QTc: 360 ms in both sexes. aha-4 names 390 ms, below which a third of normal ECGs lie here).
udmi : Thygesen K, Alpert JS, Jaffe AS, et al. Fourth universal definition of myocardial infarction.
    Circulation 2018; 138:e618-e651 (elevation of the J point by lead, sex and age; its depression of 0.05 mV
    must be horizontal or falling, which is not told here). No limits are held for ST at J + 60 ms, which in
    V2 to V4 of normal ECGs has begun to rise into T.
usual : what adult textbooks and devices use: 60-100 beats/min, PR 120-200 ms, P up to 120 ms, P axis 0-75
    and T axis 15-75 degrees (Macfarlane PW et al., Comprehensive Electrocardiology, 2nd ed., 2010).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from clear_hug.leads import LEADS
from clear_hug.measure import Measurements
from clear_hug.measure.whole import WIDE_QRS

NAN = float("nan")
ADULT = 16.0  # years; the limits of children end here
ST_AGE = 40.0  # years; below, men's ST may lie higher in V2 and V3

Limits = tuple[float, float]

# Upper edge of the age group (years): 2nd and 98th percentile of boys, and of girls.
HEART_RATE: dict[float, tuple[Limits, Limits]] = {
    1 / 12: ((129, 192), (136, 216)),
    3 / 12: ((126, 187), (126, 200)),
    6 / 12: ((112, 165), (122, 191)),
    1: ((106, 194), (106, 187)),
    3: ((97, 155), (95, 178)),
    5: ((73, 123), (78, 124)),
    8: ((62, 113), (68, 115)),
    12: ((55, 101), (58, 110)),
    ADULT: ((48, 99), (54, 107)),
}
PR: dict[float, tuple[Limits, Limits]] = {
    1 / 12: ((77, 120), (91, 121)),
    3 / 12: ((85, 120), (78, 133)),
    6 / 12: ((87, 134), (84, 127)),
    1: ((82, 141), (88, 133)),
    3: ((86, 151), (78, 147)),
    5: ((98, 152), (99, 153)),
    8: ((99, 160), (92, 156)),
    12: ((105, 174), (103, 163)),
    ADULT: ((107, 178), (106, 176)),
}

NO_AGE = "Age unknown: limits of adults."
NO_SEX = "Sex unknown: the wider limits of the two."
WITHOUT_LIMITS = ("rr_sd", "rmssd", "qt", "r_amplitude", "s_amplitude", "st")  # at any age
CHILD = "No limits for children are held here."
WIDE_AXIS = "QRS is wide: the axis is that of the heights of its waves in I and aVF, not of their areas."
BAZETT = "Bazett's formula overcorrects below 60 and above 100 beats/min: rather read the other QTc."


@dataclass(frozen=True)
class Row:
    """One line of the table of measurements.

    Attributes
    ----------
    key : attribute of `Measurements` ("qrs"), with the lead behind it where there is one ("st V2")
    name : in words ("QRS duration")
    value : in `unit`; NaN where it could not be measured, and then `note` says why
    unit : "ms", "mV", "/min", "°"
    low, high : normal limits, both still normal; NaN where there is none on that side
    flag : "low", "normal", "high", "doubtful" where `note` says that the value is not to be relied upon, or
        "unknown" where the value or its limits are not known
    note : sentences: why a value is absent, or how far it may be relied upon; "" where nothing is to be said
    source : where the limits come from; "" without limits
    stored : what the device wrote into the file, in `unit`; NaN where it wrote nothing
    difference : value - stored (an axis the shorter way round); NaN where one of them is absent
    """

    key: str
    name: str
    value: float
    unit: str
    low: float = NAN
    high: float = NAN
    flag: str = "unknown"
    note: str = ""
    source: str = ""
    stored: float = NAN
    difference: float = NAN


def assess(
    measurements: Measurements,
    age: float | None = None,
    sex: str | None = None,
    stored: Mapping[str, float] | None = None,
) -> tuple[Row, ...]:
    """Each measured value with its normal limits, and what the device had stored for it.

    Parameters
    ----------
    age : years, or None: the limits of adults, and a note
    sex : "F", "M" or None: the wider of the two limits, and a note
    stored : heart_rate (/min), p_duration, pr, qrs, qt, qtc (ms), p_axis, qrs_axis, t_axis (degrees), as the
        file holds them; an absent one may be missing or NaN
    """
    m, device = measurements, stored or {}
    child = age is not None and age < ADULT
    rate_note = BAZETT if math.isfinite(m.heart_rate) and not 60 <= m.heart_rate <= 100 else ""
    doubt = m.qtc_doubt
    rows = [
        _row(
            m, "heart_rate", "Heart rate", "/min", _by_age(HEART_RATE, (60, 100), age, sex), age, sex, device
        ),
        _row(m, "rr_sd", "SD of RR intervals", "ms", None, age, sex, device),
        _row(m, "rmssd", "rMSSD of RR intervals", "ms", None, age, sex, device),
        _row(
            m,
            "p",
            "P duration",
            "ms",
            None if child else (NAN, 120, "usual", False),
            age,
            sex,
            device,
            "p_duration",
        ),
        _row(m, "pr", "PR interval", "ms", _by_age(PR, (120, 200), age, sex), age, sex, device),
        _row(m, "qrs", "QRS duration", "ms", (NAN, _qrs_limit(age), "aha-3", False), age, sex, device),
        _row(m, "qt", "QT interval", "ms", None, age, sex, device),
    ]
    for key, name in (
        ("bazett", "Bazett"),
        ("fridericia", "Fridericia"),
        ("framingham", "Framingham"),
        ("hodges", "Hodges"),
    ):
        note = " ".join(part for part in (doubt, rate_note if key == "bazett" else "") if part)
        source = "aha-4" if child else "esc, aha-4"
        limits = (_qtc_low(child), 450 if sex == "M" or child else 460, source, not child)
        there = "qtc" if key == "bazett" else ""  # the formula that devices print, as a rule
        of_qtc = _row(m, f"qtc_{key}", f"QTc ({name})", "ms", limits, age, sex, device, there, note)
        unjudged = note and of_qtc.flag != "unknown"
        rows.append(replace(of_qtc, flag="doubtful") if unjudged else of_qtc)
    rows += [
        _row(m, "p_axis", "P axis", "°", None if child else (0, 75, "usual", False), age, sex, device),
        _row(m, "qrs_axis", "QRS axis", "°", None if child else (-30, 90, "aha-3", False), age, sex, device,
             note=WIDE_AXIS if math.isfinite(m.qrs_axis) and as_shown(m.qrs, "ms") >= WIDE_QRS else ""),
        _row(m, "t_axis", "T axis", "°", None if child else (15, 75, "usual", False), age, sex, device),
        _row(m, "sokolow_lyon", "Sokolow-Lyon (S V1 + R V5 or V6)", "mV",
             None if child else (NAN, 3.5, "aha-5", False), age, sex, device),
        _row(m, "cornell", "Cornell (R aVL + S V3)", "mV",
             None if child else (NAN, 2.0 if sex == "F" else 2.8, "aha-5", True), age, sex, device),
    ]  # fmt: skip
    for name, wave in (("r_amplitude", "R"), ("s_amplitude", "S")):
        rows += [
            _row(m, f"{name} {lead}", f"{wave} amplitude, {lead}", "mV", None, age, sex, device,
                 note=m.reasons.get(lead, ""), value=float(getattr(m, name)[row]))
            for row, lead in enumerate(LEADS)
        ]  # fmt: skip
    for row, lead in enumerate(LEADS):
        limits_st = _st_low(lead), _st_high(lead, age, sex), "udmi, aha-6", lead in ("V2", "V3")
        rows.append(
            _row(m, f"st_j {lead}", f"ST at the J point, {lead}", "mV", None if child else limits_st,
                 age, sex, device, note=m.reasons.get(lead, ""), value=float(m.st_j[row]))
        )  # fmt: skip
    rows += [
        _row(m, f"st {lead}", f"ST at J + 60 ms, {lead}", "mV", None, age, sex, device,
             note=m.reasons.get(lead, ""), value=float(m.st[row]))
        for row, lead in enumerate(LEADS)
    ]  # fmt: skip
    return tuple(rows)


def _row(
    m: Measurements,
    key: str,
    name: str,
    unit: str,
    limits: tuple[float, float, str, bool] | None,
    age: float | None,
    sex: str | None,
    device: Mapping[str, float],
    stored_key: str | None = None,
    note: str = "",
    value: float | None = None,
) -> Row:
    """`limits`: low, high, source, and whether they hang on the sex."""
    value = float(getattr(m, key)) if value is None else value
    there = float(device.get(key if stored_key is None else stored_key, NAN))
    notes = [note]
    low = high = NAN
    source = ""
    if not math.isfinite(value):
        notes.append("" if note else m.reasons.get(key.split()[0], "Not measured."))
    if limits is None:
        child = age is not None and age < ADULT
        notes.append(CHILD if child and key.split()[0] not in WITHOUT_LIMITS else "")
    else:
        low, high, source, by_sex = limits
        notes += [NO_AGE if age is None else "", NO_SEX if by_sex and sex not in ("F", "M") else ""]
    return Row(
        key, name, value, unit, low, high, _flag(as_shown(value, unit), low, high),
        " ".join(part for part in notes if part), source, there, _difference(value, there, unit),
    )  # fmt: skip


def as_shown(value: float, unit: str) -> float:
    """The value with the digits that are shown of it."""
    return round(value, digits_of(unit))


def digits_of(unit: str) -> int:
    """Decimals that are shown of a value: it is whole, but in hundredths of a mV."""
    return 2 if unit == "mV" else 0


def _flag(value: float, low: float, high: float) -> str:
    if not math.isfinite(value) or (math.isnan(low) and math.isnan(high)):
        return "unknown"
    return "low" if value < low else "high" if value > high else "normal"


def _difference(value: float, stored: float, unit: str) -> float:
    if unit == "°":
        return (value - stored + 180) % 360 - 180
    return value - stored


def _by_age(
    table: Mapping[float, tuple[Limits, Limits]], adult: Limits, age: float | None, sex: str | None
) -> tuple[float, float, str, bool]:
    if age is None or age >= ADULT:
        return *adult, "usual", False
    boys, girls = next(limits for upper, limits in table.items() if age < upper)
    if sex in ("F", "M"):
        return *(boys if sex == "M" else girls), "rijnbeek", True
    return min(boys[0], girls[0]), max(boys[1], girls[1]), "rijnbeek", True


def _qrs_limit(age: float | None) -> float:
    return 110 if age is None or age >= ADULT else 100 if age >= 4 else 90


def _qtc_low(child: bool) -> float:
    """ms; a short QT is defined in adults."""
    return NAN if child else 360


def _st_low(lead: str) -> float:
    """mV, the lowest level of the J point that is still normal; none in aVR, the mirror of I and II."""
    return NAN if lead == "aVR" else -0.05 if lead in ("V2", "V3") else -0.1


def _st_high(lead: str, age: float | None, sex: str | None) -> float:
    """mV, the highest level that is still normal: UDMI's elevation begins at it."""
    if lead not in ("V2", "V3"):
        return 0.1
    if sex == "F":
        return 0.15
    return 0.25 if age is None or age < ST_AGE else 0.2
