"""What the readers of XML share: a tree from the safe parser, numbers with a point or a comma, samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECGError
from clear_hug.io.private import private_folder
from clear_hug.io.recording import Asked, NeedsAnswer, asked_row, read_bytes, some

T = TypeVar("T")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][-+]?[0-9]+)?")
_THOUSAND = re.compile(r"[-+]?[1-9][0-9]{0,2},[0-9]{3}")  # "1,000": a thousand, or one
_UTF_16 = re.compile(
    rb"""(\A(?:\xef\xbb\xbf)?\s{0,20}<\?xml[^>]{0,100}?)\s{1,20}encoding=["']utf-?16["']""", re.IGNORECASE
)
_HERTZ = {"": 1.0, "hz": 1.0, "1/s": 1.0, "khz": 1e3}
NO_STEP = "The file does not say what one count is: the values are counts."


def is_rooted(head: bytes, root: str) -> bool:
    """Whether a file begins as XML with an element `root`, with or without a prefix, in UTF-8 or UTF-16."""
    text = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n")
    name = re.escape(root.encode())
    return text.startswith(b"<") and re.search(rb"<(?:[\w.-]{1,40}:)?" + name + rb"[\s/>]", text) is not None


def tree_of(path: Path, root: str) -> Any:
    """The file's element `root`; entities are refused."""
    from ecgdatakit.parsing.helpers.xml import parse_xml_root

    found = parse_xml_root(_rightly_declared(read_bytes(path, "text")))
    if found.tag != root:
        raise ECGError(f"{path.name} holds <{root}>, and not as its outermost element; export it by itself.")
    return found


def _rightly_declared(content: bytes) -> bytes:
    """XML that does not call itself UTF-16 where it is none: .NET writes so over text in UTF-8."""
    if b"\0" in content[:200]:
        return content
    return _UTF_16.sub(rb"\1", content[:200], count=1) + content[200:]


@contextmanager
def as_declared(path: Path) -> Iterator[Path]:
    """XML for a reader that trusts what it says of its encoding: the file, or a copy that says it right."""
    with path.open("rb") as file:
        head = file.read(200)
    if _rightly_declared(head) == head:
        yield path
        return
    with private_folder() as folder:
        (folder / path.name).write_bytes(_rightly_declared(read_bytes(path, "text")))
        yield folder / path.name


def marked(head: bytes) -> bytes:
    """The head of a file of XML, with the mark of UTF-16 before it where its zeros alone tell that."""
    return {b"<\0": b"\xff\xfe", b"\0<": b"\xfe\xff"}.get(head[:2], b"") + head


def number_in(text: str | None) -> float | None:
    """A finite number, written with a point or a decimal comma; None for what is none, or could be two."""
    text = (text or "").strip()
    if not _NUMBER.fullmatch(text) or _THOUSAND.fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def step_in(path: Path, text: str | None, what: str) -> float | None:
    """What one count is, in the file's unit, or None where the file does not say; `what` names the field.

    Raises
    ------
    ECGError : no number above 0, or one whose comma may part thousands
    """
    if not (text or "").strip():
        return None
    step = number_in(text)
    if step is None or step <= 0:
        raise ECGError(
            f"{path.name} says {text!r:.40} for {what}, what one count is; expected a number above 0. With a "
            "decimal point there it could be read."
        )
    return step


def rate_in(path: Path, text: str | None, unit: str | None, asked: Asked, what: str) -> float | None:
    """Hz, or None where the file does not say, or the caller says it; `what` names the field.

    Raises
    ------
    NeedsAnswer : no rate can be read from what stands there
    """
    text, unit = (text or "").strip(), (unit or "").strip()
    rate, factor = number_in(text), _HERTZ.get(unit.lower())
    if rate is not None and factor is not None:
        return rate * factor
    if text and asked.fs is None:
        raise NeedsAnswer(
            f"{path.name} says {f'{text[:20]} {unit[:20]}'.strip()!r} for {what}, from which no rate in Hz "
            "can be read; say it: read_ecg(path, fs=...).", "fs",
        )  # fmt: skip
    return None


def counts_in(path: Path, text: str | None, lead: str, *, commas: bool) -> NDArray[np.float64]:
    """A lead's counts, with NaN where nothing stands between two commas.

    commas : whether commas part the counts (spaces do as well), or spaces alone

    Raises
    ------
    ECGError : something else than a number stands there
    """
    text = (text or "").strip()
    if commas:
        words = re.split(r"\s*,\s*|\s+", text.removesuffix(",").rstrip()) if text else []
        words = [word or "nan" for word in words]
    else:
        words = text.split()
    try:
        if "_" in text:
            raise ValueError
        return np.array(words, dtype=np.float64)
    except ValueError:
        raise ECGError(
            f"{path.name} holds something else than whole numbers parted by "
            f"{'commas' if commas else 'spaces'} in lead {lead[:20] or '(no name)'}; export it again."
        ) from None


def miscounted(leads: Iterable[tuple[str, str | None, int]]) -> list[str]:
    """What is to be said where a file's own count of samples is not what it holds.

    leads : name, the count as the file writes it (None or "" where it does not), samples that are there
    """
    odd: dict[tuple[str, int], list[str]] = {}
    for name, claimed, there in leads:
        claimed = (claimed or "").strip()
        if claimed and number_in(claimed) != there:
            odd.setdefault((claimed[:12], there), []).append(name[:10])
    return [
        f"The file counts {claimed!r} samples in {some(names)} and holds {there:,}: cut short, or damaged?"
        for (claimed, there), names in odd.items()
    ]


def chosen(path: Path, rhythms: Sequence[T], asked: Asked) -> tuple[T, list[str]]:
    """The one rhythm of a file, or the one of several that the caller asks for; and what is to be said."""
    n = len(rhythms)
    if n == 1:
        return rhythms[0], []
    row = asked_row(path, f"{n} rhythm strips", n, asked)
    return rhythms[row], [f"Rhythm strip {row + 1} of the {n} in the file is read."]


def age_on(born: str | None, day: str | None) -> int | None:
    """Whole years from a birth date to a day, both as YYYY-MM-DD or YYYYMMDD and more."""
    try:
        first, last = (
            date(*(int(part) for part in re.fullmatch(r"(\d{4})-?(\d\d)-?(\d\d).*", text.strip()).groups()))  # type: ignore[union-attr]
            for text in (born or "", day or "")
        )
    except (AttributeError, ValueError):
        return None
    return last.year - first.year - ((last.month, last.day) < (first.month, first.day))
