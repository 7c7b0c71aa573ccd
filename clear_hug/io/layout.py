"""How a text is a table of numbers: encoding, delimiter, decimal sign, heading and units."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from clear_hug.io.recording import millivolt
from clear_hug.leads import canonical_lead

_NUMBER = re.compile(r"^[-+]?(\d+(?:\.\d*)?|\.\d+)([eE][-+]?\d+)?$")
ABSENT = {"", "nan", "na", "n/a", "null", "none", "-", "?", "inf", "-inf", "+inf"}
_DATE = r"(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4})"
CLOCK = re.compile(
    rf"^'?\[?(?:{_DATE}[ T])?(\d+):(\d\d)(?::(\d\d))?([.,]\d+)?(?: {_DATE})?"
    r"(?: ?[AP]M)?(?: ?(?:Z|UTC|[-+]\d\d:?\d\d))?\]?'?$"
)
TIME = re.compile(
    r"^((elapsed|phone|sensor|device|unix)[\s_]{0,8})?(time|t|sec|secs|seconds?|timestamp|zeit|tiempo|temps|tempo|msec"
    r"|ms|tijd|czas|время|时间|時間)"
    r"[\W_]{0,8}(in)?[\W_]{0,8}(s|sec|secs|seconds?|ms|msec|milliseconds?|us|ns|hh:mm:ss(\.m+)?|с|сек|мс|秒|毫秒)?\W{0,8}$",
    re.IGNORECASE,
)
INDEX = re.compile(
    r"^(|#|n|no|nr|index|idx|samples?|sample\s*(#|no|number|nr)|unnamed: 0|point|row)\.?$", re.IGNORECASE
)
_HEADING = re.compile(r"^(.*?)\s*[\[(/]\s*([^\[\]()]+?)\s*[\])]?\s*$")  # "II [mV]", "V1 (uV)", "I/mV"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_NAME = 100  # characters
_LOOKED_AT = 60  # lines, to find the dialect
LONGEST_PREAMBLE = 200  # lines
_HEADINGS = 6  # lines above the numbers among which columns may be named, above their ranges and units


@dataclass(frozen=True)
class Layout:
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
    return _decoded(content).replace("\u2212", "-")  # a sign for minus that no number is read with


def _decoded(content: bytes) -> str:
    if content.startswith(UTF_16_MARKS):
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
        try:
            parts = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:  # longer than any cell of a table
            parts = line.split(delimiter)
    else:
        parts = line.split(delimiter) if delimiter else line.split()
    return [part.strip().strip("\"'").strip() for part in parts]


def is_value(cell: str, comma: bool) -> bool:
    if comma:
        cell = cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell
    return bool(_NUMBER.match(cell)) or cell.lower() in ABSENT


def is_numeric(row: Sequence[str], comma: bool, words: int = 0) -> bool:
    """Numbers (or absent), but for a first cell that may be a time of day, and up to some `words`."""
    rest = row[1:] if row and CLOCK.match(row[0]) else row
    there = sum(c.lower() not in ABSENT and is_value(c, comma) for c in rest)
    return there > words and sum(not is_value(c, comma) for c in rest) <= words


def layout_of(lines: Sequence[str], whole: bool = True) -> Layout | None:
    """The dialect under which most of the first lines are numbers; None where none is.

    Parameters
    ----------
    lines : the first of the text;  whole : the last one is not cut
    """
    return _dialect(lines, whole, 0) or _dialect(lines, whole, 2)  # a remark a line, beside the leads


def _dialect(lines: Sequence[str], whole: bool, words: int) -> Layout | None:
    best: tuple[tuple[int, int], Layout] | None = None
    looked = [line.strip("\r\n \0") if line[:1] != "\t" else line.rstrip("\r\n \0") for line in lines]
    filled = [i for i, line in enumerate(looked) if line.strip()]
    if not whole and len(filled) > 1:
        filled = filled[:-1]
    for delimiter in ("\t", ";", ",", "|", ""):
        for comma in (False, True):
            if comma and delimiter == "," and not any('","' in looked[i] for i in filled[-1:]):
                continue
            rows = {
                i: without_end(
                    cells(
                        looked[i].lstrip("#%").lstrip(" ") if is_comment(looked[i]) else looked[i], delimiter
                    )
                )
                for i in filled[:LONGEST_PREAMBLE]
            }
            values = [
                i for i, row in rows.items() if not is_comment(looked[i]) and is_numeric(row, comma, words)
            ]
            if delimiter == "," and not comma and _decimals([rows[i] for i in values]):
                continue
            named = [
                i for i, row in rows.items()
                if len(row) > 50 and (lead_of(row[0]) or TIME.match(split_unit(row[0])[0]))
                and is_numeric(row[1 + has_unit(row) :], comma)
            ]  # fmt: skip
            if any(lead_of(rows[i][0]) for i in named):
                score = (len(named) * 1000, len(rows[named[0]]))
                layout = Layout(delimiter, comma, named[0], len(rows[named[0]]), (), (), True)
            elif values:
                width = max(
                    (len(rows[i]) for i in values[:_LOOKED_AT]),
                    key=[len(rows[i]) for i in values[:_LOOKED_AT]].count,
                )
                block = [i for i in values if len(rows[i]) == width]
                if len(block) > 2 and (
                    (numbered_columns(rows[block[0]]) and rows[block[1]][0] != "1")  # else it counts lines
                    or _lengths(rows[block[0]])
                ):
                    block = block[1:]
                score = (len(block), width)
                first = block[0]
                blank = (
                    bool(delimiter) and looked[first].count(delimiter) == width
                )  # a last column without a number
                heading, units, at = _heading_of(rows, filled, first, width, blank)
                between = [i for i in filled if at < i < first] if heading else []
                first = min([i for i in between if _begins(rows[i], comma, width)], default=first)
                layout = Layout(delimiter, comma, first, width, heading, units, False)
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
    counted = [int(row[0]) for row in pairs if row[0].isdecimal()]
    if len(counted) == len(pairs) and {b - a for a, b in pairwise(counted)} == {1}:
        return False  # the samples' numbers
    return all(re.fullmatch(r"[-+]?(0|[1-9]\d*)", row[0]) and row[1].isdecimal() for row in pairs) and any(
        len(row[1]) > 1 and row[1].startswith("0") for row in pairs
    )


def without_thousands(text: str, layout: Layout, said: list[str]) -> tuple[str, Layout]:
    """The text without signs that separate thousands ("1,234" uV), and how it is then a table.

    A sign does where each number that has one has it before its last three digits and begins with no 0, and
    where a column holds such numbers beside whole ones below 1000, and none above that lacks the sign.
    """
    lines = text.splitlines(keepends=True)
    head, rows = "".join(lines[: layout.skip]), lines[layout.skip :]
    numbers = "".join(rows)
    for sign in ",.":
        quoted = sign == layout.delimiter  # then a number has the sign within quotes alone
        if sign not in numbers or (quoted and '"' not in numbers) or not _separates(sign, rows, layout):
            continue
        said.append(f"The sign {sign!r} in the file's numbers separates thousands: it is no decimal sign.")
        edge = "".join(re.escape(c) for c in ".," if c != layout.delimiter) + r"\w"
        before, after = ('(?<=")', '(?=")') if quoted else (f"(?<![{edge}])", f"(?![{edge}])")
        grouped = re.compile(rf"{before}[-+]?[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+{after}")
        numbers = grouped.sub(lambda number, sign=sign: number[0].replace(sign, ""), numbers)  # type: ignore[misc]
        return head + numbers, replace(layout, comma=layout.comma and sign != ",")
    return text, layout


def _separates(sign: str, rows: Sequence[str], layout: Layout) -> bool:
    grouped = re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+")
    columns: dict[int, list[int]] = {}  # numbers with the sign, whole ones below 1000, and above
    for row in rows:
        for i, cell in enumerate(cells(row.strip("\r\n \0"), layout.delimiter)):
            count = columns.setdefault(i, [0, 0, 0])
            if sign in cell:
                if not grouped.fullmatch(cell):
                    return False
                count[0] += 1
            elif cell.lstrip("+-").isdecimal():
                count[1 if len(cell.lstrip("+-")) < 4 else 2] += 1
    return any(signed for signed, _, _ in columns.values()) and all(
        small >= max(1, signed / 100) and not large for signed, small, large in columns.values() if signed
    )


def numbered_columns(row: Sequence[str]) -> bool:
    """Columns numbered from 0 by a program that had no names for them: a heading, and no first sample."""
    named = row[1:] if row[0] == "" else row
    return len(named) > 1 and list(named) == [str(i) for i in range(len(named))]


def _lengths(row: Sequence[str]) -> bool:
    """How many samples each column has, and none beside the time: a line of AcqKnowledge's, and no sample."""
    alike = row[0] == "" and len(row) > 1 and len(set(row[1:])) == 1
    return alike and re.fullmatch(r"\d{3,}", row[1]) is not None


def is_comment(line: str) -> bool:
    return line.startswith(("#", "%", "//"))


def without_end(row: list[str]) -> list[str]:
    """A delimiter at the end of a line makes no cell."""
    return row[:-1] if len(row) > 1 and row[-1] == "" else row


def lead_of(cell: str) -> str | None:
    return canonical_lead(split_unit(cell)[0].lstrip("-"))


def has_unit(row: Sequence[str]) -> bool:
    """Whether the line of a lead or of times has a unit between name and values, or a blank in its column."""
    cell = row[1].strip("()[]") if len(row) > 1 else "0"
    of_time = cell.lower() in ("", "s", "sec", "ms", "us") and TIME.match(split_unit(row[0])[0])
    return bool(of_time) or millivolt(cell) is not None


def split_unit(cell: str) -> tuple[str, str]:
    """Name and unit of a column: "II [mV]" -> ("II", "mV")."""
    if len(cell) > _LONGEST_NAME:
        return cell, ""
    match = _HEADING.match(cell)
    if match and re.fullmatch(r"(un)?filtered|raw|clean(ed)?", match[2], re.IGNORECASE):
        return split_unit(match[1])
    if match and canonical_lead(cell.lstrip("-")) and millivolt(match[2]) is None:  # "V1 (C1)"
        return cell, ""
    if match and (millivolt(match[2]) is not None or cell.endswith(("]", ")"))):
        return match[1], match[2]
    match = re.match(r"^(.+?)[\s_,.:<-]+(?:in )?([uµμmn]?V|мк?В)>?$", cell)
    if match and millivolt(match[2]) is not None and canonical_lead(match[1].lstrip("-")):
        return match[1], match[2]
    return cell, ""


def _begins(row: Sequence[str], comma: bool, width: int) -> bool:
    """Whether a line under the heading is one of samples: absent ones, or with a remark in its last cell."""
    cut = row[1:width] if row and CLOCK.match(row[0]) else row[:width]
    return bool(cut) and all(cut) and all(is_value(cell, comma) for cell in cut)


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
        if any(lead_of(cell) for cell in row):
            return tuple(row), units, at
        voltages = sum(millivolt(cell.strip("()[]")) is not None for cell in row)
        if voltages * 2 >= len(row) or voltages >= len(row) - 1 > 0:
            units = tuple(cell.strip("()[]") for cell in row)
        elif re.match(r"(elapsed )?time|sample|index", row[0], re.IGNORECASE):
            break  # the columns' names, of which none is a lead's: what stands above is about the patient
    return (), (), -1
