"""Tables of numbers as text: CSV, TSV, TXT in any of their dialects, and XLSX, which is written out as text.

A dialect is found, not asked for: encoding, delimiter, decimal sign, lines before the heading, the heading,
a line of units under it, a column of times or of sample numbers, leads in columns or in rows.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import MAX_FS, MIN_FS, ECGError
from clear_hug.io.facts import Facts, facts, guess_leads, pauses, rate_from, rate_of, unit_of_times
from clear_hug.io.limits import APART_SECONDS
from clear_hug.io.recording import (
    Asked,
    Channel,
    NeedsAnswer,
    Recording,
    arrays_apart,
    members_of,
    millivolt,
    read_bytes,
    some,
    within,
)
from clear_hug.leads import LEADS, canonical_lead, numbered

_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_ABSENT = {"", "nan", "na", "n/a", "null", "none", "-", "?", "inf", "-inf", "+inf"}
_DATE = r"(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4})"
_CLOCK = re.compile(
    rf"^'?\[?(?:{_DATE}[ T])?(\d+):(\d\d)(?::(\d\d))?([.,]\d+)?(?: {_DATE})?"
    r"(?: ?[AP]M)?(?: ?(?:Z|UTC|[-+]\d\d:?\d\d))?\]?'?$"
)
_TIME = re.compile(
    r"^((elapsed|phone|sensor|device|unix)[\s_]*)?(time|t|sec|secs|seconds?|timestamp|zeit|tiempo|temps|tempo|msec"
    r"|ms|tijd|czas|время|时间|時間)"
    r"[\W_]*(in)?[\W_]*(s|sec|secs|seconds?|ms|msec|milliseconds?|us|ns|hh:mm:ss(\.m+)?|с|сек|мс|秒|毫秒)?\W*$",
    re.IGNORECASE,
)
_INDEX = re.compile(
    r"^(|#|n|no|nr|index|idx|samples?|sample\s*(#|no|number|nr)|unnamed: 0|point|row)\.?$", re.IGNORECASE
)
_HEADING = re.compile(r"^(.*?)\s*[\[(/]\s*([^\[\]()]+?)\s*[\])]?\s*$")  # "II [mV]", "V1 (uV)", "I/mV"
_VALUE = r"[^\d\n]{0,30}?(\d+(?:[.,]\d+)?)\s*(k?hz)?"
_SAMPLED = (  # in the words of others
    r"messrate|fr[eé]quence d.\s?[eé]chantillonnage|frecuencia de muestreo|frequenza di campionamento|"
    r"frequ[eê]ncia de amostragem|частота (?:дискретизации|измерени[йя])|采样(?:频)?率|採樣(?:頻)?率|"
    r"サンプリング(?:周波数|レート)|サンプルレート"
)
_SAMPLING = re.compile(  # says outright that it is the sampling rate
    rf"(?:sampl\w*[\s_-]*(?:rate|freq\w*|hz)|sampling(?!\s*(?:interval|period|step))|samples?\s*(?:/|per)\s*s\w*|\bfs\b|\bsf\b|\bsr\b|\bsps\b|abtast(?!int)\w*|{_SAMPLED})"
    + _VALUE,
    re.IGNORECASE,
)
_PER_SECOND = re.compile(r"(\d+(?:[.,]\d+)?)()\s*(?:samples?\s*(?:/|per)\s*s|sps\b)", re.IGNORECASE)
_RATE = re.compile(r"(?:frequen\w*|frequenz|\brate\b)" + _VALUE, re.IGNORECASE)
_HZ = re.compile(r"(\d+(?:[.,]\d+)?)\s*(k?hz|hert[sz]|hercios)", re.IGNORECASE)
_NO_SAMPLING = re.compile(  # of the heart, or of a filter
    r"heart|puls|ventric|atri|bpm|/\s*min|filter|pass|cut-?off|notch|mains|line|bandwidth|puls", re.IGNORECASE
)
_STEP = re.compile(
    r"(?:(?:sampl\w*|time)[\s_-]*(?:interval|period|step)|abtastintervall|^\W{0,4}interval\b|\bstep\b|\bdelta\b)"
    r"(?:[^\d\n]{0,20}?(\d+(?:[.,]\d+)?)\s*([mu]?s)\b"
    r"|[ \t]{0,4}\(([mu]?s)\)[ \t]{0,4}[:=,;][ \t]{0,4}(\d+(?:[.,]\d+)?))",
    re.IGNORECASE | re.MULTILINE,
)
_STEP_PER_SAMPLE = re.compile(r"(\d+(?:[.,]\d+)?)\s*(ms|s)(?:ec)?\s*/\s*sample()()", re.IGNORECASE)
_UNITS = re.compile(
    r"\b(?:units?|einheit|amplitude|unités?|unidad(?:es)?|unità|unidade|единиц\w*|单位|單位|単位)\b"
    r"[^\d\n/]{0,20}?([uµμmn]?V|microvolts?|millivolts?|мк?В|[微毫]伏)\b(?!\s*/)",
    re.IGNORECASE,
)
_LEAD_LINE = re.compile(  # "Lead,Lead I": of the one column of a watch's export
    r"^(?:lead|ableitung|d[eé]rivation|derivaci[oó]n|derivazione|deriva[cç][aã]o|afleiding|отведение|导联|導聯|誘導)"
    r"[ \t]{0,4}[,;:=\t][ \t]{0,4}([^,;\t\n]{1,30}?)[ \t]{0,4}[,;]{0,20}$",
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
    r"|\b(?:lsb|resolution)[ \t]{0,4}[:=,;][ \t]{0,4}(\d+(?:[.,]\d+)?)[ \t]{0,4}([nuµμm]V)\b",
    re.IGNORECASE,
)
_OF_A_COUNT = re.compile(r"resol|auflös|\bper\b|\blsb\b", re.IGNORECASE)
_LOOKED_AT = 60  # lines, to find the dialect
_LONGEST_PREAMBLE = 200  # lines
_HEADINGS = 6  # lines above the numbers among which columns may be named, above their ranges and units


@dataclass(frozen=True)
class _Layout:
    """How a text is a table.

    delimiter : "" for white space;  comma : the decimal sign is a comma
    skip : lines before the numbers;  width : cells a line;  heading : names of the columns, or none
    units : a line of units under the heading, or none;  named_rows : each line begins with a lead's name
    """

    delimiter: str
    comma: bool
    skip: int
    width: int
    heading: tuple[str, ...]
    units: tuple[str, ...]
    named_rows: bool


def decode(content: bytes) -> str:
    """Text in UTF-8 or UTF-16, by its mark or its zeros; else in Windows' western code page."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    head = content[:2000]
    if head[1::2].count(0) > 0.4 * len(head[1::2]) > 0:
        return content.decode("utf-16-le", errors="replace")
    if head[::2].count(0) > 0.4 * len(head[::2]) > 0:
        return content.decode("utf-16-be", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start > len(content) - 4:  # a head that was cut within a character
            return content.decode("utf-8-sig", errors="ignore")
        for encoding, words in _WORDS.items():
            if re.search(words, head.decode(encoding, errors="ignore"), re.IGNORECASE):
                return content.decode(encoding, errors="replace")
        return content.decode("cp1252", errors="replace")


_WORDS = {"gb18030": "导联|时间|采样|单位|毫伏|微伏", "shift_jis": "誘導|時間|単位|周波数",
          "cp1251": "отведени|время|частота|единиц|мкВ"}  # fmt: skip
"""Encoding -> words that a table of leads would have in it, and that no other encoding makes of its bytes."""


def cells(line: str, delimiter: str) -> list[str]:
    if delimiter and '"' in line:
        parts = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    else:
        parts = line.split(delimiter) if delimiter else line.split()
    return [part.strip().strip("\"'").strip() for part in parts]


def _is_value(cell: str, comma: bool) -> bool:
    if comma:
        cell = cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell
    return bool(_NUMBER.match(cell)) or cell.lower() in _ABSENT


def _numeric(row: Sequence[str], comma: bool, words: int = 0) -> bool:
    """Numbers (or absent), but for a first cell that may be a time of day, and up to some `words`."""
    rest = row[1:] if row and _CLOCK.match(row[0]) else row
    there = sum(c.lower() not in _ABSENT and _is_value(c, comma) for c in rest)
    return there > words and sum(not _is_value(c, comma) for c in rest) <= words


def _layout(lines: Sequence[str], whole: bool = True) -> _Layout | None:
    """The dialect under which most of the first lines are numbers; None where none is.

    Parameters
    ----------
    lines : the first of the text;  whole : the last one is not cut
    """
    return _dialect(lines, whole, 0) or _dialect(lines, whole, 2)  # a remark a line, beside the leads


def _dialect(lines: Sequence[str], whole: bool, words: int) -> _Layout | None:
    best: tuple[tuple[int, int], _Layout] | None = None
    looked = [line.strip("\r\n \0") if line[:1] != "\t" else line.rstrip("\r\n \0") for line in lines]
    filled = [i for i, line in enumerate(looked) if line.strip()]
    if not whole and len(filled) > 1:
        filled = filled[:-1]
    for delimiter in ("\t", ";", ",", "|", ""):
        for comma in (False, True):
            if comma and delimiter == "," and not any('","' in looked[i] for i in filled[-1:]):
                continue
            rows = {
                i: _without_end(
                    cells(looked[i].lstrip("#%").lstrip(" ") if _comment(looked[i]) else looked[i], delimiter)
                )
                for i in filled[:_LONGEST_PREAMBLE]
            }
            values = [i for i, row in rows.items() if not _comment(looked[i]) and _numeric(row, comma, words)]
            if delimiter == "," and not comma and _decimals([rows[i] for i in values]):
                continue
            named = [
                i for i, row in rows.items()
                if len(row) > 50 and _lead(row[0]) and _numeric(row[1:], comma)
            ]  # fmt: skip
            if named:
                score = (len(named) * 1000, len(rows[named[0]]))
                layout = _Layout(delimiter, comma, named[0], len(rows[named[0]]), (), (), True)
            elif values:
                width = max(
                    (len(rows[i]) for i in values[:_LOOKED_AT]),
                    key=[len(rows[i]) for i in values[:_LOOKED_AT]].count,
                )
                block = [i for i in values if len(rows[i]) == width]
                if len(block) > 2 and (_counted(rows[block[0]]) or _lengths(rows[block[0]])):
                    block = block[1:]
                score = (len(block), width)
                first = block[0]
                blank = (
                    bool(delimiter) and looked[first].count(delimiter) == width
                )  # a last column without a number
                heading, units, at = _heading_of(rows, filled, first, width, blank)
                between = [i for i in filled if at < i < first] if heading else []
                first = min([i for i in between if _begins(rows[i], comma, width)], default=first)
                layout = _Layout(delimiter, comma, first, width, heading, units, False)
            else:
                continue
            if best is None or (score[0] * min(score[1], 16), -comma) > (
                best[0][0] * min(best[0][1], 16),
                -best[1].comma,
            ):
                best = (score, layout)
    return best[1] if best else None


def _decimals(rows: Sequence[Sequence[str]]) -> bool:
    """Whether two columns are one of numbers with a decimal comma: no whole number begins with a 0."""
    pairs = [row for row in rows if len(row) == 2]
    return all(re.fullmatch(r"[-+]?\d+", row[0]) and row[1].isdecimal() for row in pairs) and any(
        len(row[1]) > 1 and row[1].startswith("0") for row in pairs
    )


def _counted(row: Sequence[str]) -> bool:
    """Columns numbered from 0 by a program that had no names for them: a heading, and no first sample."""
    named = row[1:] if row[0] == "" else row
    return len(named) > 1 and list(named) == [str(i) for i in range(len(named))]


def _lengths(row: Sequence[str]) -> bool:
    """How many samples each column has, and none beside the time: a line of AcqKnowledge's, and no sample."""
    alike = row[0] == "" and len(row) > 1 and len(set(row[1:])) == 1
    return alike and re.fullmatch(r"\d{3,}", row[1]) is not None


def _comment(line: str) -> bool:
    return line.startswith(("#", "%", "//"))


def _without_end(row: list[str]) -> list[str]:
    """A delimiter at the end of a line makes no cell."""
    return row[:-1] if len(row) > 1 and row[-1] == "" else row


def _lead(cell: str) -> str | None:
    return canonical_lead(split_unit(cell)[0].lstrip("-"))


def split_unit(cell: str) -> tuple[str, str]:
    """Name and unit of a column: "II [mV]" -> ("II", "mV")."""
    match = _HEADING.match(cell)
    if match and (millivolt(match[2]) is not None or cell.endswith(("]", ")"))):
        return match[1], match[2]
    match = re.match(r"^(.+?)[\s_,.:<-]+(?:in )?([uµμmn]?V|мк?В)>?$", cell)
    if match and millivolt(match[2]) is not None and canonical_lead(match[1].lstrip("-")):
        return match[1], match[2]
    return cell, ""


def _begins(row: Sequence[str], comma: bool, width: int) -> bool:
    """Whether a line under the heading is one of samples: absent ones, or with a remark in its last cell."""
    cut = row[1:width] if row and _CLOCK.match(row[0]) else row[:width]
    return bool(cut) and all(cut) and all(_is_value(cell, comma) for cell in cut)


def _heading_of(
    rows: Mapping[int, list[str]], filled: Sequence[int], first: int, width: int, blank: bool
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """The names above the numbers, the units between, where they are, and the line of the names."""
    above = [i for i in filled if i < first]
    named = [i for i in above[-_HEADINGS:-3] if rows[i][0].endswith("=")]  # as LabChart begins its lines
    units: tuple[str, ...] = ()
    for at in reversed(named + above[-3:]):
        row = rows[at][:width] if blank and len(rows[at]) == width + 1 else rows[at]
        if len(row) not in (width, width - 1):
            continue
        row = ["", *row] if len(row) == width - 1 else row
        if any(_lead(cell) for cell in row):
            return tuple(row), units, at
        voltages = sum(millivolt(cell.strip("()[]")) is not None for cell in row)
        if voltages * 2 >= len(row) or voltages >= len(row) - 1 > 0:
            units = tuple(cell.strip("()[]") for cell in row)
        elif re.match(r"(elapsed )?time|sample|index", row[0], re.IGNORECASE):
            break  # the columns' names, of which none is a lead's: what stands above is about the patient
    return (), (), -1


def _stated(lines: Sequence[str]) -> dict[str, Any]:
    """Rate, unit and gain that lines before the numbers name; nothing else of them is taken over."""
    text = re.sub(
        r"\d{16,}", " ", "\n".join(lines)[:20_000]
    )  # no number; a search would try each of its ends
    said: dict[str, Any] = {}
    step = _STEP.search(text) or _STEP_PER_SAMPLE.search(text)
    if match := _SAMPLING.search(text) or _PER_SECOND.search(text):
        said["fs"] = _hertz(match)
    elif step and MIN_FS <= 1 / max(_seconds_of(step), 1e-9) <= MAX_FS:
        said["fs"] = 1 / _seconds_of(step)
    else:  # a rate of whatever: only where the lines name one alone that ECGs are sampled at
        rest = [line for line in text.splitlines() if not _NO_SAMPLING.search(line)]
        found = {_hertz(m) for line in rest for m in (*_RATE.finditer(line), *_HZ.finditer(line))}
        if len(found) == 1 and MIN_FS < min(found) <= MAX_FS:
            said["fs"] = found.pop()
    if (lead := _LEAD_LINE.search(text)) and canonical_lead(lead[1]):
        said["names"] = (lead[1],)
    rest = [line for line in text.splitlines() if not _OF_A_COUNT.search(line)]
    if unit := _UNITS.search("\n".join(rest)):
        said["unit"] = unit[1]
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


def _hertz(match: re.Match[str]) -> float:
    rate = float(match[1].replace(",", ".")) * (1000 if (match[2] or "").lower() == "khz" else 1)
    if rate < MIN_FS and re.fullmatch(r"\d[.,]\d{3}", match[1]):  # "1,000 Hz"
        rate *= 1000
    return rate


def _seconds_of(match: re.Match[str]) -> float:
    unit = (match[2] or match[3]).lower()
    return float((match[1] or match[4]).replace(",", ".")) * {"ms": 1e-3, "us": 1e-6}.get(unit, 1)


def is_table(path: Path, head: bytes) -> bool:
    """What looks like a table of leads; and a text that is called .csv or .tsv, to say what it lacks."""
    suffix = path.suffix.lower()
    return looks_like_table(head) or (
        b"\0" not in head and (suffix in (".csv", ".tsv") or (suffix == ".txt" and _mostly_numbers(head)))
    )


def _mostly_numbers(head: bytes) -> bool:
    lines = [line for line in decode(head).splitlines() if line.strip() and not _comment(line)]
    layout = _layout(lines, whole=len(head) < 4096) if lines else None
    if layout is None:
        return False
    rows = [_without_end(cells(line, layout.delimiter)) for line in lines]
    return sum(_numeric(row, layout.comma) for row in rows) > max(20, len(lines) / 2)


def looks_like_table(head: bytes) -> bool:
    """A table of numbers whose columns or rows are leads, or as many as there are leads."""
    if head.startswith((b"PK", b"\x89", b"PAR1", b"{", b"<")):
        return False
    text = decode(head)
    if sum(ord(c) < 32 and c not in "\t\r\n" for c in text[:1000]) > 5 or "\0" in text:
        return False
    lines = text.splitlines()[:_LONGEST_PREAMBLE]
    if lines and len(lines[0]) > 4000:  # a lead a line: the first numbers tell
        return _lead(re.split(r"[\t;,|\s]", lines[0].strip("\ufeff \"'"), maxsplit=1)[0]) is not None or all(
            _is_value(c.strip(), True) for c in re.split(r"[\t;,\s]+", lines[0][:500])[:-1]
        )
    layout = _layout(lines, whole=len(head) < 4096)
    if layout is None:
        return False
    if layout.named_rows or any(_lead(name) for name in layout.heading):
        return True
    return not layout.heading and layout.width >= 8


def read_table(path: Path, asked: Asked) -> Recording:
    text = decode(read_bytes(path, "text"))
    return _from_text(path, "CSV", text, asked)


def _from_text(path: Path, source: str, text: str, asked: Asked) -> Recording:
    lines = text.splitlines()[:_LONGEST_PREAMBLE]
    if asked.orientation == "rows" or (lines and max(map(len, lines)) > 4000):
        lines = text.splitlines()
    layout = _layout(lines)
    if layout is None:
        raise ECGError(f"{path.name} holds no table of numbers.")
    before = lines[: layout.skip]
    stated = _stated(before)
    known = Facts(**stated)
    if layout.named_rows:
        return _named_rows(path, source, text, layout, known, asked)
    values, clock = _numbers(path, text, layout)
    if not layout.heading and len(values) <= 20 < values.shape[1]:
        channels, said, guessed = _unnamed(path, values.T, asked, True)
        return _finish(source, channels, known, said, guessed)
    heading = layout.heading
    above = _without_end(cells(before[-1], layout.delimiter)) if before else []
    if not heading and not known.names and _foreign(above, layout.width):
        kept = [name for name in above[clock is not None :] if not (_TIME.match(name) or _INDEX.match(name))]
        if asked.leads is None:
            raise NeedsAnswer(
                f"{path.name} has no column named as one of the twelve leads "
                f"({len(kept)} columns are there); expected {', '.join(LEADS)}, or say them: leads=[...].",
                "leads", channels=len(kept),
            )  # fmt: skip
        heading = tuple(above)
    if clock is not None and not known.fs:
        known = replace(known, fs=rate_of(path, clock))
        values, heading = values[:, 1:], heading[1:]
    elif clock is not None:
        values, heading = values[:, 1:], heading[1:]
    if not heading and values.shape[1] == 1:
        heading = known.names
    if not heading:
        channels, said, guessed = _unnamed(path, values, asked, False)
        return _finish(source, channels, known, said, guessed)
    columns = {name: values[:, i] for i, name in enumerate(_unique(heading))}
    units = layout.units[len(layout.units) - len(heading) :] if layout.units else ()
    return from_columns(
        path, source, columns, known, asked, units, pauses(clock) if clock is not None else ()
    )


def _foreign(row: Sequence[str], width: int) -> bool:
    """A line of names, none of them a lead's, right above the numbers."""
    words = [cell for cell in row if cell and not _is_value(cell, True)]
    return len(row) == width and len(words) * 2 > len(row) and all(len(word) <= 30 for word in words)


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return out


def _numbers(
    path: Path, text: str, layout: _Layout
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The table, (line, cell); and the first column in seconds where it holds times of day."""
    import pandas as pd

    first = cells(text.splitlines()[layout.skip], layout.delimiter)
    clocked = bool(_CLOCK.match(first[0]))
    texts = {i for i, cell in enumerate(first[: layout.width]) if not _is_value(cell, layout.comma)}
    within("values", (text.count("\n") - layout.skip) * layout.width, path.name)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=layout.delimiter or r"\s+", header=None, skiprows=layout.skip,
            decimal="," if layout.comma else ".", skip_blank_lines=True, usecols=range(layout.width),
            dtype={column: str if column in texts else np.float64 for column in range(layout.width)},
            na_values=sorted(_ABSENT | {"NaN", "NA", "N/A", "None"}), skipinitialspace=True,
            quotechar='"', comment=None,
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError) as error:
        line = re.search(r"line (\d+)", str(error))
        where = f" (line {int(line[1])})" if line else ""
        raise ECGError(
            f"{path.name} is no table of numbers throughout{where}: a cell holds something else."
        ) from None
    for column in texts - ({0} if clocked else set()):
        table[column] = np.nan
    if not clocked:
        return table.to_numpy(np.float64), None
    seconds = np.array([_seconds(str(cell)) for cell in table[0]])
    values = table.iloc[:, 1:].to_numpy(np.float64)
    return np.column_stack([seconds, values]), seconds


def _seconds(cell: str) -> float:
    match = _CLOCK.match(cell.strip().strip("\"'"))
    if not match:
        return float("nan")
    one, two, three, part = match.groups()
    whole = int(one) * 3600 + int(two) * 60 + int(three) if three else int(one) * 60 + int(two)
    return whole + float((part or ".0").replace(",", "."))


def _unnamed(
    path: Path, values: NDArray[np.float64], asked: Asked, turned: bool
) -> tuple[list[Channel], list[str], list[str]]:
    """Channels (sample, column) of a table without heading; a first column that rises evenly is no lead."""
    said, guessed = [], []
    fs = None
    if turned:
        guessed.append("orientation")
        said.append(
            f"Leads are taken to stand in rows, since {values.shape[1]} rows and {len(values):,} columns are "
            "there."
        )
    steps = np.diff(values[:, 0]) if len(values) > 2 else np.array([])
    even = steps.size and np.all(steps > 0) and np.ptp(steps) <= 0.5 * np.median(steps) + 1e-3
    if values.shape[1] > 1 and even and not turned:
        step = float(np.median(steps))
        kind = "numbers the samples" if step == 1 else "is the time"
        if step != 1:
            factor, word = unit_of_times(step)
            fs = rate_of(path, values[:, 0] * factor)
            kind += f" in {word}"
        said.append(f"The first column rises evenly and is no lead: it {kind}.")
        values = values[:, 1:]
    names, why = guess_leads(path, values.T, asked)
    if why:
        guessed.append("leads")
        said.append(why)
    return [Channel(name, values[:, i], fs, "") for i, name in enumerate(names)], said, guessed


def _finish(
    source: str, channels: list[Channel], known: Facts, said: list[str], guessed: list[str]
) -> Recording:
    if known.gain and not all(
        np.array_equal(c.samples, np.round(c.samples), equal_nan=True) for c in channels
    ):
        said = [
            *said,
            f"The file names {known.gain:g} counts a mV, and its values are no counts: not applied.",
        ]
    elif known.gain:  # so many a mV: the file says what a count is worth
        one, zero = 1 / known.gain, -known.baseline / known.gain
        channels = [
            c if c.unit else Channel(c.name, c.samples * one + zero, c.fs, "mV", one, zero) for c in channels
        ]
    channels = [
        replace(c, fs=c.fs or known.fs, unit=c.unit or known.unit) for c in channels
    ]  # what a column says of itself comes first
    return Recording(source, channels, known.age, known.sex, tuple(said), bare=True, guessed=tuple(guessed))


def _named_rows(path: Path, source: str, text: str, layout: _Layout, known: Facts, asked: Asked) -> Recording:
    """A lead a line, its name first."""
    channels: list[Channel] = []
    said: list[str] = []
    fs = known.fs
    for line in text.splitlines()[layout.skip :]:
        row = _without_end(cells(line, layout.delimiter))
        if len(row) < 2:
            continue
        within("values", len(row) * (len(channels) + 1), path.name)
        numbers = [c.replace(",", ".") if layout.comma else c for c in row[1:]]
        try:
            values = np.array([np.nan if c.lower() in _ABSENT else float(c) for c in numbers])
        except ValueError:
            raise ECGError(
                f"{path.name} is no table of numbers throughout: a cell holds something else."
            ) from None
        name, unit = split_unit(row[0])
        if _TIME.match(name):
            fs = rate_from(path, row[0], values, fs, said)
        else:
            channels.append(Channel(name, values, None, unit))
    return _finish(source, channels, replace(known, fs=fs), said, [])


def from_columns(
    path: Path,
    source: str,
    columns: Mapping[str, NDArray[Any]],
    known: Facts,
    asked: Asked,
    units: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Recording:
    """Channels of named columns: times and sample numbers give the rate, the rest are leads."""
    if _counted(list(columns)):
        values = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
        channels, said, guessed = _unnamed(path, values, asked, False)
        return _finish(source, channels, known, said, guessed)
    fs = known.fs
    said = list(notes)
    channels = []
    for i, (cell, values) in enumerate(columns.items()):
        values = np.asarray(values, np.float64)
        if _TIME.match(cell) or cell.lower().startswith("time"):
            fs = rate_from(path, cell, values, fs, said)
            continue
        if _INDEX.match(cell) or cell.endswith("="):  # "ChannelTitle=": names the line, and no column
            continue
        rate = facts({cell: values[0]}).fs if cell.lower() != "rate" and np.ptp(values) == 0 else None
        if rate and rate >= MIN_FS:  # the same in each line
            fs = fs or rate
            continue
        name, unit = split_unit(cell)
        channels.append(Channel(name, values, None, unit or (units[i] if i < len(units) else "")))
    if not channels:
        raise ECGError(f"{path.name} has no column of values.")
    if not any(canonical_lead(c.name.lstrip("-")) in LEADS for c in channels) and asked.leads is None:
        raise NeedsAnswer(
            f"{path.name} has no column named as one of the twelve leads "
            f"(found: {some([c.name[:20] for c in channels])}); expected {', '.join(LEADS)}, or say them: "
            "leads=[...].",
            "leads", channels=len(channels),
        )  # fmt: skip
    guessed = []
    if asked.leads is None and numbered([c.name for c in channels]):
        names, why = guess_leads(path, np.stack([c.samples for c in channels]), asked)
        channels = [replace(c, name=name) for c, name in zip(channels, names, strict=True)]
        said.append(f"The columns are numbered, and not named. {why}")
        guessed.append("leads")
    return _finish(source, channels, replace(known, fs=fs), said, guessed)


# XLSX


def is_xlsx(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return False


def read_xlsx(path: Path, asked: Asked) -> Recording:
    with zipfile.ZipFile(path) as archive:
        members_of(archive, path.name)
    arrays, _ = arrays_apart("XLSX", path, 2 * APART_SECONDS)
    return _from_text(path, "XLSX", arrays["text"].tobytes().decode(), asked)
