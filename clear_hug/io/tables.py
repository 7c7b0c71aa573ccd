"""Tables of numbers as text: CSV, TSV, TXT in any of their dialects, and XLSX, which is written out as text.

A dialect is found, not asked for: encoding, delimiter, decimal sign, lines before the heading, the heading,
a line of units under it, a column of times or of sample numbers, leads in columns or in rows.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import MIN_FS, ECGError
from clear_hug.io.facts import Facts, contradicting, facts, guess_leads, rate_from, rate_of, unit_of_times
from clear_hug.io.layout import (
    ABSENT,
    CLOCK,
    INDEX,
    LONGEST_PREAMBLE,
    TIME,
    UTF_16_MARKS,
    Layout,
    cells,
    decode,
    has_unit,
    is_comment,
    is_numeric,
    is_value,
    layout_of,
    lead_of,
    numbered_columns,
    split_unit,
    without_end,
    without_thousands,
)
from clear_hug.io.limits import APART_SECONDS
from clear_hug.io.recording import (
    Asked,
    Channel,
    NeedsAnswer,
    Recording,
    arrays_apart,
    members_of,
    read_bytes,
    some,
    within,
)
from clear_hug.io.stated import stated_above
from clear_hug.leads import LEADS, canonical_lead, lead_number, numbered

_NO_END = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # end a line for `str.splitlines`, and for pandas none


def is_table(path: Path, head: bytes) -> bool:
    """What looks like a table of leads; and a text that is called .csv or .tsv, to say what it lacks."""
    suffix = path.suffix.lower()
    return (
        suffix != ".json"
        and looks_like_table(head)
        or (
            (b"\0" not in head or head.startswith(UTF_16_MARKS))
            and (suffix in (".csv", ".tsv") or (suffix == ".txt" and _mostly_numbers(head)))
        )
    )


def _mostly_numbers(head: bytes) -> bool:
    lines = [line for line in decode(head).splitlines() if line.strip() and not is_comment(line)]
    layout = layout_of(lines, whole=len(head) < 4096) if lines else None
    if layout is None:
        return False
    rows = [without_end(cells(line, layout.delimiter)) for line in lines]
    return sum(is_numeric(row, layout.comma) for row in rows) > max(20, len(lines) / 2)


def looks_like_table(head: bytes) -> bool:
    """A table of numbers whose columns or rows are leads, or as many as there are leads."""
    if head.startswith((b"PK", b"\x89", b"PAR1", b"{", b"<")):
        return False
    text = decode(head)
    if sum(ord(c) < 32 and c not in "\t\r\n" for c in text[:1000]) > 5 or "\0" in text:
        return False
    lines = text.splitlines()[:LONGEST_PREAMBLE]
    if lines and len(lines[0]) > 4000:  # a lead a line: the first numbers tell
        return lead_of(
            re.split(r"[\t;,|\s]", lines[0].strip("\ufeff \"'"), maxsplit=1)[0]
        ) is not None or all(is_value(c.strip(), True) for c in re.split(r"[\t;,\s]+", lines[0][:500])[:-1])
    layout = layout_of(lines, whole=len(head) < 4096)
    if layout is None:
        return False
    if layout.named_rows or any(lead_of(name) for name in layout.heading):
        return True
    return not layout.heading and layout.width >= 8


def read_table(path: Path, asked: Asked) -> Recording:
    text = decode(read_bytes(path, "text"))
    return _from_text(path, "CSV", text, asked)


def _from_text(path: Path, source: str, text: str, asked: Asked, beside: Sequence[str] = ()) -> Recording:
    """The table of a text; `beside` are lines elsewhere, which speak where those above it say nothing."""
    for sign in _NO_END:
        if sign in text:
            text = text.replace(sign, " ")
    text = _with_listed_channels(text)
    lines = text.splitlines()[:LONGEST_PREAMBLE]
    if asked.orientation == "rows" or (lines and max(map(len, lines)) > 4000):
        lines = text.splitlines()
    layout = layout_of(lines)
    if layout is None:
        raise ECGError(
            f"{path.name} holds no table of numbers: save it with a column a lead and a line a sample, "
            "the leads' names above."
        )
    before = lines[: layout.skip]
    notes: list[str] = []
    known = Facts(**(stated_above(before, notes) or stated_above(beside, notes)))
    text, layout = without_thousands(text, layout, notes)
    if layout.named_rows:
        return _named_rows(path, source, text, layout, known, notes)
    values, clock, at = _numbers(path, text, layout)
    if not layout.heading and len(values) <= 20 < values.shape[1]:
        channels, said, guessed = _unnamed(path, values.T, asked, True)
        return _finish(source, channels, known, [*notes, *said], guessed)
    heading = layout.heading
    above = without_end(cells(before[-1], layout.delimiter)) if before else []
    if not heading and not known.names and _foreign(above, layout.width):
        kept = [name for name in above[clock is not None :] if not (TIME.match(name) or INDEX.match(name))]
        if asked.leads is None:
            there = "1 column is" if len(kept) == 1 else f"{len(kept)} columns are"
            raise NeedsAnswer(
                f"{path.name} has no column named as one of the twelve leads ({there} there); expected "
                f"{', '.join(LEADS)}, or say them: leads=[...].",
                "leads", channels=len(kept),
            )  # fmt: skip
        heading = tuple(above)
    if clock is not None:
        known = replace(known, fs=rate_from(path, "hh:mm:ss", clock, known.fs, notes))
        values, heading = np.delete(values, at, axis=1), heading[:at] + heading[at + 1 :]
    if not heading and values.shape[1] == 1:
        heading = known.names
    if not heading:
        channels, said, guessed = _unnamed(path, values, asked, False)
        return _finish(source, channels, known, [*notes, *said], guessed)
    columns = {name: values[:, i] for i, name in enumerate(_unique(heading))}
    units = layout.units[len(layout.units) - len(heading) :] if layout.units else ()
    return from_columns(path, source, columns, known, asked, units, notes)


_LISTED = re.compile(r"(\d{1,3}) channels?", re.IGNORECASE)
_TIME_UNITS = {"sec": "s", "millisec": "ms", "msec": "ms", "microsec": "us", "hrs": "h", "hours": "h"}


def _with_listed_channels(text: str) -> str:
    """The text with AcqKnowledge's channels named where a table names them, if a lead is among them.

    Above its columns CH1, CH2 ... it lists the name and the unit of each channel, a line each; below them it
    counts their samples.
    """
    if "channel" not in text[:20_000].lower():
        return text
    lines = text.splitlines(keepends=True)
    for i, line in enumerate(lines[:LONGEST_PREAMBLE]):
        found = _LISTED.fullmatch(line.strip(" \t\r\n,;"))
        n = int(found[1]) if found else 0
        at = i + 1 + 2 * n
        if not n or at + 1 >= len(lines):
            continue
        listed = [one.strip(" \t\r\n,;") for one in lines[i + 1 : at]]
        delimiter = next((one for one in "\t;," if one in lines[at]), "\t")
        row = [cell for cell in cells(lines[at], delimiter) if cell]
        numbered_only = all(re.fullmatch(r"CH\d+", cell, re.IGNORECASE) for cell in row[-n:])
        if len(row) not in (n, n + 1) or not numbered_only:
            continue
        if not any(lead_of(name) for name in listed[::2]):
            return text
        time = [f"time ({_TIME_UNITS.get(cell.lower(), cell)})" for cell in row[:-n]]
        named = [
            f"{name} ({unit})" if unit else name for name, unit in zip(listed[::2], listed[1::2], strict=True)
        ]
        heading = delimiter.join(re.sub(rf"[{delimiter}\"]", " ", cell) for cell in time + named)
        counts = [cell for cell in cells(lines[at + 1], delimiter) if cell]
        below = at + 1 + (len(counts) == n and all(re.fullmatch(r"\d{2,}", cell) for cell in counts))
        return "".join([*lines[: i + 1], heading, "\n", *lines[below:]])
    return text


def _foreign(row: Sequence[str], width: int) -> bool:
    """A line of names, none of them a lead's, right above the numbers."""
    words = [cell for cell in row if cell and not is_value(cell, True)]
    return len(row) == width and len(words) * 2 > len(row) and all(len(word) <= 30 for word in words)


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return out


def _numbers(
    path: Path, text: str, layout: Layout
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, int]:
    """The table, (line, cell); the column of times of day in seconds, if there is one; and which it is."""
    import pandas as pd

    first = cells(text.splitlines()[layout.skip], layout.delimiter)
    # the first, or the second beside one of dates or of the samples' numbers
    at = next((i for i, cell in enumerate(first[:2]) if CLOCK.match(cell)), -1)
    texts = {i for i, cell in enumerate(first[: layout.width]) if not is_value(cell, layout.comma)}
    within("values", (text.count("\n") - layout.skip) * layout.width, path.name)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=layout.delimiter or r"\s+", header=None, skiprows=layout.skip,
            decimal="," if layout.comma else ".", skip_blank_lines=True, usecols=range(layout.width),
            dtype={column: str if column in texts else np.float64 for column in range(layout.width)},
            na_values=sorted(ABSENT | {"NaN", "NA", "N/A", "None"}), skipinitialspace=True,
            quotechar='"', comment=None,
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError) as error:
        line = re.search(r"line (\d+)", str(error))
        where = f" (line {int(line[1])})" if line else ""
        raise ECGError(
            f"{path.name} is no table of numbers throughout{where}: a cell holds something else, such as a "
            "remark, a unit or a second heading; take out what is no number below the heading."
        ) from None
    for column in texts - {at}:
        table[column] = np.nan
    if at < 0:
        return table.to_numpy(np.float64), None, at
    table[at] = [_seconds(str(cell)) for cell in table[at]]
    values = table.to_numpy(np.float64)
    return values, values[:, at], at


def _seconds(cell: str) -> float:
    match = CLOCK.match(cell.strip().strip("\"'"))
    if not match:
        return float("nan")
    one, two, three, part = match.groups()
    whole = int(one) * 3600 + int(two) * 60 + int(three) if three else int(one) * 60 + int(two)
    if not (three or part) and re.search(r"\d[-/.]\d", cell):
        whole *= 60  # beside a date, hours and minutes
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
    rate = next((c.fs for c in channels if c.fs), None)
    if rate and known.fs and abs(known.fs / rate - 1) > 0.01:
        said = [*said, contradicting(known.fs, rate)]
    bare = [c for c in channels if not c.unit]
    counts = [c for c in bare if canonical_lead(c.name.lstrip("-"))] or bare
    if known.gain and not all(np.array_equal(c.samples, np.round(c.samples), equal_nan=True) for c in counts):
        said = [
            *said,
            f"The file names {known.gain:g} counts a mV, and its values are no counts: not applied.",
        ]
    elif known.gain:  # so many a mV: the file says what a count is worth
        one, zero = 1 / known.gain, -known.baseline / known.gain
        channels = [
            Channel(c.name, c.samples * one + zero, c.fs, "mV", one, zero) if c in counts else c
            for c in channels
        ]
    channels = [
        replace(c, fs=c.fs or known.fs, unit=c.unit or known.unit) for c in channels
    ]  # what a column says of itself comes first
    return Recording(source, channels, known.age, known.sex, tuple(said), bare=True, guessed=tuple(guessed))


def _named_rows(
    path: Path, source: str, text: str, layout: Layout, known: Facts, notes: Sequence[str]
) -> Recording:
    """A lead a line, its name first."""
    channels: list[Channel] = []
    said = list(notes)
    fs = known.fs
    for line in text.splitlines()[layout.skip :]:
        row = without_end(cells(line, layout.delimiter))
        if len(row) < 2:
            continue
        within("values", len(row) * (len(channels) + 1), path.name)
        beside = row[1].strip("()[]") if has_unit(row) else ""
        numbers = [c.replace(",", ".") if layout.comma else c for c in row[1 + has_unit(row) :]]
        try:
            values = np.array([np.nan if c.lower() in ABSENT else float(c) for c in numbers])
        except ValueError:
            where = f"lead {row[0][:20]}" if lead_of(row[0]) else "a line that begins with no lead"
            raise ECGError(
                f"{path.name} is no table of numbers throughout: a cell of {where} holds something else; "
                "take out what is no number."
            ) from None
        name, unit = split_unit(row[0])
        if TIME.match(name):
            fs = rate_from(path, f"{row[0]} {beside}".strip(), values, fs, said)
        else:
            channels.append(Channel(name, values, None, unit or beside))
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
    if not columns:
        raise ECGError(
            f"{path.name} has no column of values: save it with a column a lead and a row a sample."
        )
    if numbered_columns(list(columns)):
        values = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
        channels, said, guessed = _unnamed(path, values, asked, False)
        return _finish(source, channels, known, [*notes, *said], guessed)
    fs = known.fs
    said = list(notes)
    channels = []
    for i, (cell, values) in enumerate(columns.items()):
        values = np.asarray(values, np.float64)
        if TIME.match(cell) or cell.lower().startswith("time"):
            fs = rate_from(path, cell, values, fs, said)
            continue
        if INDEX.match(cell) or cell.endswith("="):  # "ChannelTitle=": names the line, and no column
            continue
        rate = facts({cell: values[0]}).fs if cell.lower() != "rate" and np.ptp(values) == 0 else None
        if rate and rate >= MIN_FS:  # the same in each line
            if fs and abs(fs / rate - 1) > 0.01:
                said.append(
                    f"The file contradicts itself: {fs:g} Hz, which is used, and {rate:g} Hz in a column."
                )
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
        numbers = {c: n for c in channels if (n := lead_number(c.name)) is not None}
        leads = sorted(numbers, key=numbers.__getitem__)  # "Lead 10" may stand before "Lead 2"
        names, why = guess_leads(path, np.stack([c.samples for c in leads]), asked)
        others = [c for c in channels if c not in numbers]
        channels = [replace(c, name=name) for c, name in zip(leads, names, strict=True)] + others
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
    arrays, about = arrays_apart("XLSX", path, 2 * APART_SECONDS)
    beside = str(about["beside"]).splitlines()
    recording = _from_text(path, "XLSX", arrays["text"].tobytes().decode(), asked, beside)
    if not (others := int(about["other sheets"])):
        return recording
    said = (
        f"{others + 1} sheets of the file are about as long as one another; one is read, and what the "
        f"other{'s hold' if others > 1 else ' holds'}, leads perhaps, is left out."
    )
    return replace(recording, warnings=(said, *recording.warnings))
