"""The twelve leads: order, groups, names in the wild, place on the paper, colour.

Everything that depends on *which* lead a row is reads it from here, so that a lead can never
be out of step with its name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

LEADS: tuple[str, ...] = (
    "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6",
)  # fmt: skip
"""The standard order; row `l` of every (lead, ...) array is `LEADS[l]`."""

N_LEADS = len(LEADS)

GROUPS: dict[str, tuple[int, ...]] = {
    "limb": (0, 1, 2),
    "augmented": (3, 4, 5),
    "precordial": (6, 7, 8, 9, 10, 11),
}
"""HUG's lead groups: name -> rows. The order of the dict is the order of every (group,) array."""

GROUP_OF: tuple[int, ...] = tuple(
    next(g for g, rows in enumerate(GROUPS.values()) if lead in rows) for lead in range(N_LEADS)
)
"""Row of `GROUPS` that each lead belongs to."""

PAIRS: tuple[tuple[int, int], ...] = ((0, 1), (0, 2), (1, 2))
"""HUG's level-2 pairs of groups, as rows of `GROUPS`."""

EXTRA_LEADS: tuple[str, ...] = (
    "V7", "V8", "V9", "V3R", "V4R", "V5R", "V6R", "X", "Y", "Z",
)  # fmt: skip
"""Leads that are kept and shown, and never fed to the model."""

PAPER_3X4: tuple[tuple[str, ...], ...] = (
    ("I", "aVR", "V1", "V4"),
    ("II", "aVL", "V2", "V5"),
    ("III", "aVF", "V3", "V6"),
)
"""Rows of the usual 3 x 4 print; 2.5 s a column."""

_CANONICAL = {name.upper(): name for name in LEADS + EXTRA_LEADS}
_SYNONYMS = {
    "DI": "I", "DII": "II", "DIII": "III", "D1": "I", "D2": "II", "D3": "III",
    "L1": "I", "L2": "II", "L3": "III", "LA-RA": "I", "LL-RA": "II", "LL-LA": "III",
    "VR": "aVR", "VL": "aVL", "VF": "aVF",
    "C1": "V1", "C2": "V2", "C3": "V3", "C4": "V4", "C5": "V5", "C6": "V6",
    "C7": "V7", "C8": "V8", "C9": "V9", "RV3": "V3R", "RV4": "V4R", "RV5": "V5R", "RV6": "V6R",
    "VX": "X", "VY": "Y", "VZ": "Z",
}  # fmt: skip
_MODIFIED = {
    "MLI": "I", "MLII": "II", "MLIII": "III", "ML1": "I", "ML2": "II", "ML3": "III", "MD2": "II",
    **{f"{kind}{i}": f"V{i}" for kind in ("MV", "MCL", "CM", "CC", "CS") for i in range(1, 7)},
}  # fmt: skip
"""Monitors' and Holters' leads -> the standard lead that each stands for."""

_PREFIX = re.compile(
    r"^(MDC[_ ]ECG[_ ](ELEC[_ ]POTL[_ ]|LEAD[_ ])?|(LEAD|ECG|EKG|ABL(EITUNG)?|CHANNEL|CHAN|CH|FRANK|SIGNAL"
    r"|D[EÉ]RIV(ACI[OÓ]N|AZIONE|ATION|A[CÇ][AÃ]O|ASYON)?|AFLEIDING|AVLEDNING|ODPROWADZENIE|SVOD|ОТВЕДЕНИЕ"
    r"|导联|導聯|通道|誘導|유도|第)[\s_.:-]*"
    # not without a sign between: "canali" is no lead I
    r"|(KAN(AA|A)[LŁ]|CANALE?|VOIE|КАНАЛ|ELVEZETÉS|KYTKENTÄ|AFLEDNING|DERYWACJA|ΑΠΑΓΩΓ[ΉΗ])[\s_.:-]+)+"
)
_SUFFIX = re.compile(
    r"([\s_(\[/-]+([NUΜµ]V|MV|V|REF|(?<!^V[RLF].)WCT)[)\]]?|[\s_-]+E[CK]G|\s*(导联|導聯|誘導|유도))$"
)
_MINUS = str.maketrans(dict.fromkeys("\u2010\u2012\u2013\u2014\u2212", "-"))  # hyphen, dashes, minus
_TURNED = re.compile(
    r"^(\(-\)\s*|(MINUS|INV(ERTED)?|NEG(ATIVE|ATED)?)[\s_.]+)"
    r"|[\s_.(\[-]+(INV(ERTED)?|NEG(ATIVE|ATED)?)\.?[)\]]?$"
)
_TWICE = re.compile(r"(.+?)\s*\((.+)\)")  # "V1 (C1)"
_LONGEST = 100  # characters; no name is longer, and a search in one would take long
_NUMBERED = re.compile(r"\W{0,4}LEADS?[\s_-]*(\d{1,3})", re.IGNORECASE)


@lru_cache(4096)
def canonical_lead(name: str) -> str | None:
    """The standard name of a lead as files write it, or None where it is not one we know.

    >>> canonical_lead("MDC_ECG_LEAD_AVR"), canonical_lead("Lead II"), canonical_lead("avf")
    ('aVR', 'II', 'aVF')
    >>> canonical_lead("PLETH") is None
    True
    """
    text = _bare(name)
    found = _CANONICAL.get(text) or _SYNONYMS.get(text) or _MODIFIED.get(text)
    if found is None and (both := _TWICE.fullmatch(name[:_LONGEST].strip())):
        one, other = (canonical_lead(part) for part in both.groups())
        return one if one == other else None
    return found


@lru_cache(4096)
def is_modified(name: str) -> bool:
    """Whether a name is a monitor's or Holter's lead, which only stands for a standard one."""
    text = _bare(name)
    return text in _MODIFIED and text not in _CANONICAL and text not in _SYNONYMS


@lru_cache(4096)
def is_turned_over(name: str) -> bool:
    """Whether a name says that its lead is upside down: "-aVR" of Cabrera's order, "aVR (inverted)" too.

    After a word the minus may join as well, so that there it is told of aVR alone, which is turned by custom.
    """
    text = _SUFFIX.sub("", _plain(name[:_LONGEST]))
    before = _PREFIX.match(text)
    if text.startswith("-") or _TURNED.search(text):
        return True
    return bool(before and re.search(r"[\s_.:]-$", before[0]) and _bare(text[before.end() :]) == "AVR")


def lead_number(name: str) -> int | None:
    """12 of "Lead 12", which counts the leads; None of what names one otherwise."""
    match = _NUMBERED.fullmatch(name.strip())
    return int(match[1]) if match else None


def numbered(names: Iterable[str]) -> bool:
    """Whether "Lead 1", "Lead 2" ... only count the leads: a 0, or one beyond 3, and none has a name."""
    names = list(names)
    numbers = [lead_number(name) for name in names]
    named = any(n is None and canonical_lead(name) in LEADS for name, n in zip(names, numbers, strict=True))
    return not named and any(n is not None and n not in (1, 2, 3) for n in numbers)


def _plain(name: str) -> str:
    """A name in capitals; a numeral, wide letters of East Asia and every minus in the usual signs."""
    return unicodedata.normalize("NFKC", name).translate(_MINUS).strip().upper()


def _bare(name: str) -> str:
    """A lead's name in capitals, without the words and units that files put around it."""
    if len(name) > _LONGEST:
        return ""
    text = _TURNED.sub("", _SUFFIX.sub("", _plain(name)))
    if not name.lstrip().startswith("-"):  # another sign for it; who asks takes off the usual one
        text = text.removeprefix("-")
    text = re.sub(r"^LEAD[\s_-]*([123])$", r"D\1", text)  # a bare "1" is no lead's name
    text = _SUFFIX.sub("", _PREFIX.sub("", text))
    text = re.sub(r"[\s_.]|(?<=^V)-(?=\d)|(?<=^A)-(?=V[RLF])", "", text)
    return re.sub(r"^V0?(\d)$", r"V\1", text)
