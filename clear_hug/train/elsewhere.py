"""Another hospital: the labels that other data sets state in words of their own, and AUROC on them.

Of a corpus these are the records whose statements are in SNOMED CT or LUDB's words. A label is judged where a
data set states what it means. Statements that may or may not mean it leave a record out for that label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.checkpoint import Checkpoint
from clear_hug.train.answers import learned_labels, learned_rows, predict, pretrained_on
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import INTERVAL_FROM, auroc, draw_weights, drawn_auroc, with_interval


@dataclass(frozen=True)
class Means:
    """Which statements of a data set mean a label; patterns as fnmatch reads them.

    any : the label is there where one of these is
    unclear : without one of `any`, a record with one of these is left out
    only : the label is there where every statement is one of these (a normal ECG is said by silence)
    """

    any: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __call__(self, statements: Iterable[str]) -> float:
        """1, 0, or NaN where the statements leave it open."""
        said = list(statements)
        if any(_is(one, self.any) for one in said):
            return 1.0
        if self.only and said and all(_is(one, self.only) for one in said):
            return 1.0
        return float("nan") if any(_is(one, self.unclear) for one in said) else 0.0


def _is(statement: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(statement, pattern) for pattern in patterns)


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# SNOMED CT: the codes of the 2020/2021 challenges
_RBBB = _codes("713427006 59118001")  # complete, and not further specified: the challenges score them as one
_LBBB = _codes("733534002 164909002")
_HEMIBLOCK = _codes("445118002 445211001")
_AV_BLOCK = _codes("270492004 195042002 54016002 426183003 28189009 27885002 204384007 233917008")
_OTHER_BLOCKS = _codes("713426002 251120003 6374002 698252002 82226007 74390002 195060002")
_OLD_OR_NEW_MI = _codes("164865005 164867002 57054005 54329005")
_ISCHAEMIA = _codes("164861001 413444003 413844008 425419005 425623009 426434006")
_ST_OR_T = _codes("428750005 55930002 429622005 704997005 164930006 164931005 164934002 59931005")
_ATRIA = _codes("67741000119109 446813000 446358003 253352002 253339007 195126007")
_ATRIA_IN_DOUBT = _codes("195126007 67751000119106")  # either atrium; high voltage of the right one
_VENTRICLES = _codes("164873001 89792004 266249003")
_REENTRY = _codes("251166008 233896004 233897008 67198005")  # by way of the AV node or beside it, or in fits
_FIBRILLATION = _codes("164889003 426749004 314208002")
_MAYBE_FIBRILLATION = _codes("195080001 282825002")  # or flutter; in fits
_BY_VOLTAGE = ("55827005",)  # "left ventricular high voltage"
_SINUS = _codes("426783006 426177001 427084000 427393009")

SNOMED: dict[str, Means] = {
    "superdiagnostic/NORM": Means(only=_SINUS),
    "superdiagnostic/MI": Means(_OLD_OR_NEW_MI, unclear=(*_ISCHAEMIA, "53741008")),
    "superdiagnostic/STTC": Means(_ISCHAEMIA + _ST_OR_T, unclear=("428417006", "111975006")),
    "superdiagnostic/CD": Means(_RBBB + _LBBB + _HEMIBLOCK + _AV_BLOCK + _OTHER_BLOCKS),
    "superdiagnostic/HYP": Means(_ATRIA + _VENTRICLES, unclear=_BY_VOLTAGE + _ATRIA_IN_DOUBT),
    "subdiagnostic/CRBBB": Means(_RBBB, unclear=("713426002",)),
    "subdiagnostic/IRBBB": Means(("713426002",), unclear=("59118001",)),
    "subdiagnostic/CLBBB": Means(_LBBB, unclear=("251120003", "6374002")),
    "subdiagnostic/LAFB/LPFB": Means(_HEMIBLOCK),
    "subdiagnostic/_AVB": Means(_AV_BLOCK),
    "subdiagnostic/IVCD": Means(("698252002",), unclear=("6374002",)),
    "subdiagnostic/WPW": Means(("74390002",), unclear=("195060002",)),
    "subdiagnostic/LVH": Means(("164873001",), unclear=(*_BY_VOLTAGE, "266249003")),
    "subdiagnostic/RVH": Means(("89792004",), unclear=("266249003",)),
    "subdiagnostic/LAO/LAE": Means(_codes("67741000119109 446813000"), unclear=("253352002", "195126007")),
    "subdiagnostic/RAO/RAE": Means(("446358003",), unclear=("253339007", *_ATRIA_IN_DOUBT)),
    "form/NDT": Means(("164934002",), unclear=_codes("428750005 55930002 59931005")),
    "form/INVT": Means(("59931005",), unclear=("164934002",)),
    "form/STD_": Means(_codes("429622005 704997005"), unclear=_codes("428750005 55930002 164930006")),
    "form/STE_": Means(("164931005",), unclear=_codes("428750005 55930002 164930006")),
    "form/QWAVE": Means(("164917005",)),
    "form/LVOLT": Means(("251146004",), unclear=_codes("251147008 251148003")),  # of some leads alone
    "form/VCLVH": Means(_BY_VOLTAGE, unclear=("164873001",)),
    "form/LPR": Means(("164947007",), unclear=_AV_BLOCK),
    "form/LNGQT": Means(("111975006",)),
    "form/PVC": Means(_codes("427172004 17338001 164884008 11157007 251180001 251182009")),
    "form/PAC": Means(_codes("284470004 63593006 251170000"), unclear=_codes("251173003 251168009")),
    "rhythm/SR": Means(("426783006",)),
    "rhythm/AFIB": Means(_FIBRILLATION, unclear=_MAYBE_FIBRILLATION),
    "rhythm/AFLT": Means(("164890007",), unclear=("195080001",)),
    "rhythm/STACH": Means(("427084000",)),
    "rhythm/SBRAD": Means(("426177001",), unclear=("426627000",)),
    "rhythm/SARRH": Means(("427393009",)),
    "rhythm/SVTAC": Means(_codes("426761007 713422000"), unclear=(*_REENTRY, "426648003")),
    "rhythm/PACE": Means(_codes("10370003 251268003 251266004")),
}

# LUDB: "column: line", in lower case
_BLOCKS = (
    "conduction abnormalities: *bundle branch block",
    "conduction abnormalities: left anterior hemiblock",
    "conduction abnormalities: i* degree av*block",
    "conduction abnormalities: non-specific*delay",
)
_INFARCTION = ("ischemia: stemi*", "ischemia: scar formation*")
_MAYBE_OLD = ("ischemia: undefined*",)
_REPOLARISATION = ("ischemia: ischemia*", "non-specific repolarization abnormalities: *")
_HYPERTROPHY = "hypertrophies: "
_STRAIN = f"{_HYPERTROPHY}left ventricular overload"
_QUIET = ("rhythms: sinus*", "rhythms: irregular sinus rhythm", "electric axis of the heart: *")

LUDB: dict[str, Means] = {
    "superdiagnostic/NORM": Means(only=_QUIET),
    "superdiagnostic/MI": Means(_INFARCTION, unclear=_MAYBE_OLD),
    "superdiagnostic/STTC": Means(
        _REPOLARISATION,
        unclear=("ischemia: *", "other states: *", _STRAIN),
    ),
    "superdiagnostic/CD": Means(_BLOCKS),
    "superdiagnostic/HYP": Means((f"{_HYPERTROPHY}*",)),
    "subdiagnostic/CRBBB": Means(("conduction abnormalities: complete right bundle branch block",)),
    "subdiagnostic/IRBBB": Means(("conduction abnormalities: incomplete right bundle branch block",)),
    "subdiagnostic/CLBBB": Means(("conduction abnormalities: complete left bundle branch block",)),
    "subdiagnostic/ILBBB": Means(("conduction abnormalities: incomplete left bundle branch block",)),
    "subdiagnostic/LAFB/LPFB": Means(("conduction abnormalities: left anterior hemiblock",)),
    "subdiagnostic/_AVB": Means(("conduction abnormalities: i* degree av*block",)),
    "subdiagnostic/IVCD": Means(("conduction abnormalities: non-specific*delay",)),
    "subdiagnostic/LVH": Means((f"{_HYPERTROPHY}left ventricular hypertrophy",)),
    "subdiagnostic/RVH": Means((f"{_HYPERTROPHY}right ventricular hypertrophy",)),
    "subdiagnostic/LAO/LAE": Means((f"{_HYPERTROPHY}left atrial *",)),
    "subdiagnostic/RAO/RAE": Means((f"{_HYPERTROPHY}right atrial *",)),
    "form/PVC": Means(("extrasystolies: ventricular*",)),
    "form/PAC": Means(("extrasystolies: atrial*",)),
    "rhythm/SR": Means(("rhythms: sinus rhythm",)),
    "rhythm/AFIB": Means(("rhythms: atrial fibrillation",)),
    "rhythm/AFLT": Means(("rhythms: atrial flutter*",)),
    "rhythm/STACH": Means(("rhythms: sinus tachycardia",)),
    "rhythm/SBRAD": Means(("rhythms: sinus bradycardia",)),
    "rhythm/SARRH": Means(("rhythms: sinus arrhythmia",), unclear=("rhythms: irregular sinus rhythm",)),
    "rhythm/PACE": Means(("cardiac pacing: *",)),
}


MEANINGS: dict[str, dict[str, Means]] = {"SNOMED": SNOMED, "LUDB": LUDB}
"""Vocabulary of a record's statements -> which of them mean which label."""


def elsewhere_figures(opened: Checkpoint, data: Corpus) -> dict[str, Any]:
    """AUROC a label on every data set of a corpus whose statements are in other words, for metrics.json.

    Recordings whose labels `opened` learned, was chosen or calibrated on are left out.

    Returns
    -------
    dict : data set -> `records`, `vocabulary`, `learned` (how many were left out), `failed` (how many of its
        shards could not be tokenised), `pretrained_on` (its signals, without labels), `taught` (its signals,
        with a teacher's probabilities for labels), and `labels`: target -> records, positives and, from
        INTERVAL_FROM positives and negatives on, auroc and its interval over patients

    """
    learned = learned_rows(learned_labels(opened.training), data)
    out: dict[str, Any] = {}
    for vocabulary, of_words in MEANINGS.items():
        meanings = {target: means for target, means in of_words.items() if target in opened.targets}
        stated = np.flatnonzero(data.vocabulary == vocabulary) if meanings else np.array([], dtype=np.int64)
        for name in sorted(set(data.data_set[stated].tolist())):
            asked = stated[data.data_set[stated] == name]
            rows = asked[~learned[asked]]
            if rows.size:
                sources = sorted(set(data.source[asked].tolist()))
                seen = bool(set(sources) & set(opened.training.get("sources", ())))
                out[name] = {
                    "records": int(rows.size),
                    "vocabulary": vocabulary,
                    "learned": int(asked.size - rows.size),
                    "failed": sum(data.failures(source) for source in sources),
                    "pretrained_on": bool(pretrained_on(opened, data, rows).any()),
                    "taught": bool(opened.training.get("pupils")) and seen and not data.labelled[rows].any(),
                    "labels": _labels(opened, data, rows, meanings),
                }
    return dict(sorted(out.items()))


def _labels(
    opened: Checkpoint, data: Corpus, rows: NDArray[np.int64], meanings: dict[str, Means]
) -> dict[str, Any]:
    logits = predict(opened.model, data, rows)
    said = [data.statements[i] or () for i in rows]
    collections = np.array([_collection(data.records[int(i)]["record"]) for i in rows])
    out = {}
    for column, target in enumerate(opened.targets):
        if target in meanings:
            truth = np.array([meanings[target](statements) for statements in said])
            out[target] = _label(logits[:, column], truth, collections, data.patients[rows])
    return out


def _collection(record: str) -> str:
    """Of a record of the challenges the letters that tell where it is from; any other set is one."""
    found = re.fullmatch(r"(A|Q|I|S|HR|E|JS)\d{4,5}", record.rsplit("/", 1)[-1])
    return found[1] if found else ""


def _label(
    scores: NDArray[np.float32],
    truth: NDArray[np.float64],
    collections: NDArray[np.str_],
    patients: NDArray[np.str_],
) -> dict[str, Any]:
    """A label over the collections that state it at all: elsewhere its absence says nothing."""
    uses = np.unique(collections[truth == 1])
    some = np.isin(collections, uses) & np.isfinite(truth)
    y, z = truth[some][:, None], scores[some][:, None]
    out: dict[str, Any] = {"records": int(some.sum()), "positives": int(y.sum())}
    if min(y.sum(), (1 - y).sum()) >= INTERVAL_FROM:
        draws = drawn_auroc(z, y, draw_weights(patients[some]))
        out |= with_interval("auroc", float(auroc(z, y)[0]), draws[:, 0])
    return out
