"""What the lines above a table say of it, in many languages: rate, unit, gain, and the one column's lead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from clear_hug.ecg import MAX_FS, MIN_FS
from clear_hug.io.recording import millivolt
from clear_hug.leads import canonical_lead

_NO_RATE = (  # of what follows a number on its line: more digits, a date, or what is no rate
    r"(?!\d|\.\d|[-/]\d|[^\S\n]*/\s*min|[^\S\n]*-?(?:bpm|bits?|leads?|channels?|[mu]?s(?!-1|\s*/)|secs?|seconds?|mins?"
    r"|minutes?|h|hours?)\b)"
)
_VALUE = (
    r"[^\d\n]{0,30}?(\d+(?:\.\d+|,\d{1,2}(?![\d,])|(?<!\d\d),\d{3}(?![\d,])"  # "500,500" is a list
    r"|,\d{3}(?=[^\S\n]*[^\W\d_]))?)"  # "511,562 Hertz"
    rf"{_NO_RATE}[^\S\n]*(k?hz)?"
)
_SAMPLED = (  # in the words of others
    r"messrate|fr[eé]quence d.\s?[eé]chantillonnage|frecuencia de muestreo|frequenza di campionamento|"
    r"frequ[eê]ncia de amostragem|частота (?:дискретизации|измерени[йя])|采样(?:频)?率|採樣(?:頻)?率|"
    r"サンプリング(?:周波数|レート)|サンプルレート"
)
_SAMPLING = re.compile(  # says outright that it is the sampling rate
    rf"(?:sampl\w{{0,20}}[ \t_-]{{0,4}}(?:rate|freq\w{{0,20}}|hz)"
    # "sampling points", "depth", "site" say another thing
    r"|sampling(?=\s{0,4}(?:[:=,;(\[|@\d]|of\b|at\b|in\s{1,4}k?hz\b))"
    r"|(?<!\d)(?<!\d )samples?\s*(?:/|per)\s*s(?:ec(?:ond)?)?s?\b|\bfs\b|\bsf\b|\bsfreq\b|\bsps\b"
    r"|abtast(?:raten?|frequenz|ung|geschwindigkeit)(?![a-zäöü])"
    # "SR" is the sinus rhythm too
    rf"|(?:^|[,;])\W{{0,4}}sr(?=[ \t]{{0,4}}(?:[\[(]hz[\])][ \t]{{0,4}})?[:=,;\t][ \t]{{0,4}}\d{{3}})"
    rf"|{_SAMPLED})" + _VALUE,
    re.IGNORECASE | re.MULTILINE,
)
_PER_SECOND = re.compile(r"(\d+(?:[.,]\d+)?)()\s*(?:samples?\s*(?:/|per)\s*s|sps\b)", re.IGNORECASE)
_RATE = re.compile(r"(?:frequen\w{0,20}|\brate\b)" + _VALUE, re.IGNORECASE)
_HZ = re.compile(r"(\d+(?:[.,]\d+)?)\s*(k?hz|hert[sz]|herc|ヘルツ|赫[兹茲]|гц|герц|헤르츠)", re.IGNORECASE)
_NO_SAMPLING = re.compile(  # of the heart, or of a filter
    r"heart|puls|ventric|atri|bpm|/\s*min|filter|pass|cut-?off|notch|mains|line|band|response|range|bereich"
    r"|\d\s*(?:-|–|to|bis)\s*\d+(?:[.,]\d+)?\s*k?hz",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"(?:(?:sampl\w{0,20}|time)[\s_-]{0,4}(?:interval|period|step|time)|abtastintervall"
    # of a beat: "Interval QRS 16 ms", "Delta wave 20 ms"
    r"|^\W{0,4}interval\b(?!\W{1,4}(?:P|P[QR]|QRS|QTc?|RR|ST)\b)|\bstep\b|\bdelta\b(?!\W{1,4}wave)|\bdt\b)"
    r"(?:[^\d\n]{0,20}?(\d+(?:[.,]\d+)?)[^\S\n]*([muµμ]?s(?:ec)?)\b"
    r"|[ \t]{0,4}[(\[]([muµμ]?s(?:ec)?)[)\]][ \t]{0,4}[:=,;\t][ \t]{0,4}(\d+(?:[.,]\d+)?))",
    re.IGNORECASE | re.MULTILINE,
)
_STEP_PER_SAMPLE = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*(ms|s)(?:ec)?\s*(?:/|\bper\b)\s*sample()()", re.IGNORECASE
)
_STEP_BARE = re.compile(  # without a unit, in s
    r"(?:sampl\w{0,20}[\s_-]{0,4}(?:interval|period|step)|time[\s_-]{0,4}step|\bdt\b)"
    r"[ \t]{0,4}[:=,;\t][ \t]{0,4}(0?[.,]0\d+)()()()(?![^\S\n]*[\w.,])",
    re.IGNORECASE,
)
_UNITS = re.compile(
    # not "R amplitude (mV)", "voltage criteria (mV)", "low voltage in V leads", "leads in V position"
    r"\b(?:units?|einheit|(?<!\b[PQRSTU] )(?<!\bST )(?<!\bQRS )(?<!\bwave )amplitude"
    r"|(?:voltage|dimension)(?=[ \t]{0,4}(?:[:=,;\t(\[]|in[ \t]{1,4}[uµμmn]V\b))"
    r"|(?:values?|data|samples|leads|channels)\b[^\d\n/]{0,20}\bin(?!\W{1,4}V\b(?![ \t]{0,4}[)\].;,]?$))"
    r"|unités?|unidad(?:es)?|unità|unidade|единиц\w*|单位|單位|単位)\b"
    r"[^\d\n/]{0,20}?(?<![^\W_])([uµμmn]?V|microvolts?|millivolts?|мк?В|[微毫]伏)\b(?!\s*/)",
    re.IGNORECASE | re.MULTILINE,
)
_LEAD_LINE = re.compile(  # "Lead,Lead I": of the one column of a watch's export
    r"^(?:lead|ableitung|d[eé]rivation|derivaci[oó]n|derivazione|deriva[cç][aã]o|afleiding|отведение|导联|導聯|誘導)"
    r"[ \t]{0,4}[,;:=\t][ \t]{0,4}([^,;\t\n]{1,30}?)[ \t]{0,4}[,;]{0,20}$",
    re.IGNORECASE | re.MULTILINE,
)
# The same in any language: "Avledning,Avledning I", and "Enhet,µV" beside it.
_LEAD_TWICE = re.compile(
    r"^([^\W\d_]{2,30})[ \t]{0,4}[,;:=\t][ \t]{0,4}\1[ \t]{1,4}(\S{1,4}?)[ \t]{0,4}[,;]{0,20}$",
    re.IGNORECASE | re.MULTILINE,
)
_UNIT_CELL = re.compile(
    r"^[^\W\d_][^,;:=\t\n]{0,40}[,;:=\t][ \t]{0,4}([uµμm]V|мк?В)[ \t]{0,4}[,;]{0,20}$",
    re.IGNORECASE | re.MULTILINE,
)
# "ADC gain: 200", "gain = 200 adu/mV"; a bare gain may be an amplifier's, and one in mm/mV is the paper's.
_WHOLE = r"[ \t]{0,4}[:=,;][ \t]{0,4}(-?\d+(?:\.\d+)?)(?![.,\-]?\d)"  # a number, and no date, list or "1,000"
_BARE = r"(?![ \t]{0,40}[\w%/(])"  # without a unit
_COUNTS_A_MV = r"\b(?:adu|counts?|lsbs?|units?|digits?)[ \t]{0,4}(?:/|per)[ \t]{0,4}mv\b"
_GAIN = re.compile(
    rf"\badc[ _-]?gain{_WHOLE}{_BARE}|\b(?:adc[ _-]?)?gain{_WHOLE}[ \t]{{0,4}}\(?"
    r"(?:adu|counts?|lsbs?|units?|digits?)?[ \t]{0,4}(?:/|per)[ \t]{0,4}mv\b"
    rf"|{_COUNTS_A_MV}{_WHOLE}{_BARE}|(?<![\d.,])(\d{{1,9}}(?:\.\d+)?)[ \t]{{0,4}}{_COUNTS_A_MV}",
    re.IGNORECASE,
)
_BASELINE = re.compile(rf"\b(?:baseline|adc[ _-]?zero){_WHOLE}{_BARE}", re.IGNORECASE)
_A_COUNT = r"\s*(?:/|per)\s*(?:lsb|bit|count|digit|unit)"
_COUNT = re.compile(
    rf"(\d+(?:[.,]\d+)?)\s*([nuµμm]V){_A_COUNT}"
    rf"|(?:([nuµμm]V){_A_COUNT}|\bresolution[ \t]{{0,4}}\(([nuµμm]V)\))"
    r"[ \t]{0,4}[:=,;][ \t]{0,4}(\d+(?:[.,]\d+)?)"
    r"|\b(?:lsb|resolution)[ \t]{0,4}[:=,;\t][ \t]{0,4}(\d+(?:[.,]\d+)?)[ \t,;]{0,4}([nuµμm]V)\b",
    re.IGNORECASE,
)
_OF_A_COUNT = re.compile(r"resol|auflös|\bper\b|\blsb\b", re.IGNORECASE)

# Of several sampling rates, the one that the samples in the file do not have.
_BEFORE = re.compile(
    r"orig|native|intern|device|acqui|\braw\b|record|hardware|\badc\b|input|source|aufnahme|gerät",
    re.IGNORECASE,
)
_AFTER = re.compile(r"export|output|sampled|stored|saved|written|convert|decimat|\bfile\b", re.IGNORECASE)

FASTEST_HEART = 240.0  # a minute; a rate without a unit up to here may be a heart's


def stated_above(lines: Sequence[str], notes: list[str]) -> dict[str, Any]:
    """Rate, unit and gain that lines before the numbers name; nothing else of them is taken over.

    notes : gets a sentence where they name several sampling rates, of which none is taken
    """
    text = re.sub(
        r"\d{16,}", " ", "\n".join(lines)[:20_000]
    )  # no number; a search would try each of its ends
    said: dict[str, Any] = {}
    step = next(filter(None, (kind.search(text) for kind in (_STEP, _STEP_PER_SAMPLE, _STEP_BARE))), None)
    if rates := _rates(text):
        if len(rates) == 1:
            said["fs"] = rates[0]
        else:
            several = " and ".join(f"{rate:g}" for rate in rates)
            notes.append(
                f"The lines above the table name several sampling rates ({several} Hz): none is taken."
            )
    elif step and MIN_FS <= 1 / max(_seconds_of(step), 1e-9) <= MAX_FS:
        said["fs"] = 1 / _seconds_of(step)
    else:  # a rate of whatever: only where the lines name one alone that ECGs are sampled at
        rest = [line for line in text.splitlines() if not _NO_SAMPLING.search(line)]
        bare = {_hertz(m) for line in rest for m in _RATE.finditer(line) if not m[2]}
        found = {_hertz(m) for line in rest for m in _HZ.finditer(line)}
        found |= {rate for rate in bare if rate > FASTEST_HEART}
        if len(found) == 1 and MIN_FS < min(found) <= MAX_FS:
            said["fs"] = found.pop()
    if (lead := _LEAD_LINE.search(text)) and canonical_lead(lead[1]):
        said["names"] = (lead[1],)
    elif (lead := _LEAD_TWICE.search(text)) and canonical_lead(lead[2]):
        said["names"] = (lead[2],)
    rest = [line for line in text.splitlines() if not _OF_A_COUNT.search(line)]
    if unit := _UNITS.search("\n".join(rest)):
        said["unit"] = unit[1]
    elif said.get("names") and len(units := set(_UNIT_CELL.findall("\n".join(rest)))) == 1:
        said["unit"] = units.pop()
    if (count := _COUNT.search(text)) and "unit" not in said:
        number, unit_of_one = count[1] or count[5] or count[6], count[2] or count[3] or count[4] or count[7]
        size = float(number.replace(",", ".")) * (millivolt(unit_of_one) or 0)
        if size:
            said["gain"] = 1 / size
    elif (gain := _GAIN.search(text)) and "unit" not in said:
        said["gain"] = max(0.0, float(gain[1] or gain[2] or gain[3] or gain[4]))
    if said.get("gain") and (zero := _BASELINE.search(text)):
        said["baseline"] = float(zero[1])
    return said


def _rates(text: str) -> list[float]:
    """The sampling rates that a text states; of the samples in the file, where it states others beside."""
    found: list[tuple[str, float]] = []  # the line, Hz
    for match in list(_SAMPLING.finditer(text)) or list(_PER_SECOND.finditer(text))[:1]:
        start = text.rfind("\n", 0, match.start()) + 1
        found.append((text[start : match.end()], _hertz(match)))
    found = [one for one in found if MIN_FS <= one[1] <= MAX_FS] or found  # "fs: 1.0" may be anything
    here = [rate for line, rate in found if not _BEFORE.search(line)]
    if found and not here:  # another beside may be that of the samples in the file
        lines = [line for line in text.splitlines() if _BEFORE.search(line) or _AFTER.search(line)]
        lines = [line for line in lines if not _NO_SAMPLING.search(line)]
        found += [("", _hertz(match)) for line in lines for match in _HZ.finditer(line)]
    return list(dict.fromkeys(here or [rate for _, rate in found]))


def _hertz(match: re.Match[str]) -> float:
    rate = float(match[1].replace(",", ".")) * (1000 if (match[2] or "").lower() == "khz" else 1)
    if rate < MIN_FS and re.fullmatch(r"\d[.,]\d{3}", match[1]):  # "1,000 Hz"
        rate *= 1000
    return rate


def _seconds_of(match: re.Match[str]) -> float:
    unit = (match[2] or match[3] or "s")[0].lower()
    factor = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6}.get(unit, 1)
    return float((match[1] or match[4]).replace(",", ".")) * factor
