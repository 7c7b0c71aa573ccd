"""What is on screen, to take away: JSON and CSV for machines; `sheet` is the page for people.

Each says that it is for research only, which model answered, by which method, and what was left out. None
names the record unless asked: a file's name may be a patient's (the table of a cohort does, and its button
says so). The same input gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, BeatTokens
from clear_hug.checkpoint import Checkpoint
from clear_hug.cohort import Cohort
from clear_hug.diagnosis import Diagnosis, check_hidden
from clear_hug.ecg import ECG
from clear_hug.explain import METHODS, Attribution
from clear_hug.leads import LEADS
from clear_hug.removal import SEGMENTS
from clear_hug.words import NOTICE, missing

SCHEMA, SCHEMA_VERSION = "clear-hug-explanation", 1  # the version is raised when an older reader could err
APP = "CLEAR-HUG Explorer"
SAME_LOGIT = 0.05  # two passes may differ by bf16's rounding, and by no more

Bools = NDArray[np.bool_]


# What goes together


def check(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    attributions: Sequence[Attribution],
    hidden: Bools | None = None,
    ecg: ECG | None = None,
    diagnosis: Diagnosis | None = None,
) -> Bools:
    """Refuse values of different records, models or choices; returns `hidden` as (12, beat) bool."""
    hidden = check_hidden(tokens, hidden)
    if not attributions:
        raise ValueError("there is no explanation to export; give one Attribution at least.")
    if ecg is not None and tokens.digest != ecg.digest:
        raise ValueError("the beat tokens are of another record than the ECG; cut them from this one.")
    answers: list[Attribution | Diagnosis] = [*attributions, *([] if diagnosis is None else [diagnosis])]
    for answer in answers:
        if answer.model != checkpoint.name:
            raise ValueError(
                f"an answer is by model {answer.model!r}, and the checkpoint is {checkpoint.name!r}; "
                "export what one checkpoint said."
            )
    for why in attributions:
        if why.method not in METHODS:
            raise ValueError(f"method = {why.method!r}; expected one of {', '.join(METHODS)}.")
        n, rows = why.values.shape[-1], [checkpoint.row(name) for name in (why.target, why.against) if name]
        if why.level in ("beat", "token") and n != tokens.n_beats:
            raise ValueError(f"the explanation has {n} beats, the record {tokens.n_beats}; explain it anew.")
        if diagnosis is None:
            continue
        logit = float(np.subtract.reduce(diagnosis.logits[rows], dtype=np.float64))
        if abs(logit - why.logit) > SAME_LOGIT:
            raise ValueError(
                f"the explanation of {why.target} explains a logit of {why.logit:.3f}, the diagnosis says "
                f"{logit:.3f}; make both of one record, with the same tokens hidden."
            )
        seen = tokens.valid & ~hidden
        told = {"lead": seen.any(axis=1), "beat": seen.any(axis=0), "token": seen}.get(why.level)
        if told is not None and not np.array_equal(np.isfinite(why.values), told):
            raise ValueError(f"the explanation of {why.target} left other tokens out than `hidden` names.")
    return hidden


@cache
def version() -> str:
    """Of this package."""
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])


def adds_up(why: Attribution) -> bool:
    return METHODS[why.method].adds_up


def are_shares(why: Attribution) -> bool:
    """The values are shares of a lead token's attention, no contributions."""
    return METHODS[why.method].read is not None and not adds_up(why)


def left_out(tokens: BeatTokens, hidden: Bools) -> list[str]:
    """What was left out, in a sentence: whole leads, whole beats, and how many tokens beside them."""
    gone = hidden & tokens.valid
    leads = tokens.present & (gone == tokens.valid).all(axis=1)
    beats = tokens.valid.any(axis=0) & (gone == tokens.valid).all(axis=0)
    single = int((gone & ~leads[:, None] & ~beats).sum())
    parts = [LEADS[row] for row in np.flatnonzero(leads)]
    parts += [f"beat {k + 1}" for k in np.flatnonzero(beats)]
    if single:
        parts.append(f"{single} beat token{'' if single == 1 else 's'}")
    return [f"Left out by choice: {', '.join(parts)}."] if parts else []


# JSON

AXES = {
    "token": ("lead", "beat"),
    "sample": ("lead", f"sample at {TOKEN_FS:g} Hz"),
    "segment": ("lead", f"segment: {', '.join(SEGMENTS)}"),
}
"""Level -> what the dimensions of its values are; elsewhere they are the level's parts."""


def explanation_json(
    checkpoint: Checkpoint,
    ecg: ECG,
    tokens: BeatTokens,
    diagnosis: Diagnosis,
    attributions: Sequence[Attribution],
    hidden: Bools | None = None,
    proof: Mapping[str, Any] | None = None,
    *,
    detector: str = "",
    with_record_id: bool = False,
    care: Sequence[str] = (),
) -> bytes:
    """All figures, to the bit; NaN is null.

    Parameters
    ----------
    checkpoint, ecg, tokens, diagnosis, attributions : of one record and one model
    hidden : (12, beat) bool, the tokens that were left out of the diagnosis and the attributions
    proof : figures that tell how far the explanation may be believed
    detector : that found the beats
    with_record_id : also the record's name, which may be a patient's
    care : sentences on what is unusual about the record, to be read before a number

    Raises
    ------
    ValueError : values that do not belong together, or a proof that JSON cannot hold

    """
    hidden = check(checkpoint, tokens, attributions, hidden, ecg, diagnosis)
    record: dict[str, Any] = {"id": ecg.record_id} if with_record_id else {}
    record |= {
        "digest": ecg.digest,
        "fs_hz": ecg.fs,
        "duration_s": ecg.duration,
        "units_known": ecg.units_known,
        "unit": "mV" if ecg.units_known else "arbitrary",
        "absent_leads": ecg.absent_leads,
        "derived_leads": ecg.derived,
        "simulated": ecg.simulated,
        "detector": detector or None,
        "r_peaks_s": tokens.r_peaks,
        "beats_without_token": tokens.n_dropped,
    }
    said = (diagnosis.logits, diagnosis.probabilities, diagnosis.thresholds, diagnosis.called)
    rows = zip(checkpoint.targets, *said, strict=True)
    whole = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "notice": NOTICE,
        "software": {"name": APP, "version": version()},
        "model": {"name": checkpoint.name, "digest": checkpoint.digest},
        "record": record,
        "read_with_care": list(dict.fromkeys([*care, *missing(tokens)])),
        "removed": [[LEADS[lead], int(beat) + 1] for lead, beat in np.argwhere(hidden & tokens.valid)],
        "diagnosis": [
            {
                "target": target,
                "words": checkpoint.description[target],
                "logit": logit,
                "probability": probability,
                "threshold": threshold,
                "called": called,
            }
            for target, logit, probability, threshold, called in rows
        ],
        "explanations": [_explanation(checkpoint, diagnosis, why) for why in attributions],
        "proof": proof,
    }
    return (json.dumps(_strict(whole), indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _explanation(checkpoint: Checkpoint, diagnosis: Diagnosis, why: Attribution) -> dict[str, Any]:
    return {
        "target": why.target,
        "words": checkpoint.description[why.target],
        "against": why.against or None,
        "probability": diagnosis.probabilities[checkpoint.row(why.target)],
        "method": why.method,
        "level": why.level,
        "bias": why.bias,
        "logit": why.logit,
        "residual": why.residual,
        "rhythm": why.rhythm,
        "qtc": why.qtc,
        "unit": "share of the lead token's attention" if are_shares(why) else "logit",
        "axes": AXES.get(why.level, (why.level,)),
        "names": why.names,
        "values": why.values,
        "error": why.error,
        "seconds": why.seconds,
        "device": why.device,
        "note": why.note or None,
    }


def _strict(value: Any) -> Any:
    """The value as strict JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _strict(value.tolist())
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise ValueError(f"a {type(value).__name__} cannot be exported; give figures, words, lists and mappings.")


# CSV

COLUMNS = (
    "target",
    "against",
    "method",
    "level",
    "part",
    "lead",
    "beat",
    "r_peak_s",
    "time_s",
    "value",
    "error",
)


def explanation_csv(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    attributions: Sequence[Attribution],
    hidden: Bools | None = None,
    proof: Mapping[str, Any] | None = None,
    care: Sequence[str] = (),
) -> bytes:
    """A long table, one row a value, below lines that begin with "#"; what is not there is left empty.

    Parameters
    ----------
    checkpoint, tokens, attributions : of one record and one model
    hidden : (12, beat) bool, the tokens that were left out
    proof : "word" and "reasons" of how far the first of them may be believed
    care : sentences on what is unusual about the record, to be read before a number

    The columns are `COLUMNS`: beat counts from 1, r_peak_s is that beat's, time_s that of a sample.
    """
    hidden = check(checkpoint, tokens, attributions, hidden)
    methods = ", ".join(dict.fromkeys(f"{_cell(why.method)} by {_cell(why.level)}" for why in attributions))
    head = [
        f"# {NOTICE}",
        f"# {APP} {version()}",
        f"# record: {tokens.digest}",
        f"# model: {_cell(checkpoint.name)} {checkpoint.digest}",
        f"# method: {methods}",
        *(f"# {_cell(one)}" for one in dict.fromkeys([*care, *missing(tokens), *left_out(tokens, hidden)])),
    ]
    if proof:
        head.append(f"# map of {_cell(attributions[0].level)}s: {_cell(proof['word'])}")
        head += [f"# {_cell(reason)}" for reason in proof["reasons"]]
    out = io.StringIO()
    out.writelines(f"{line}\r\n" for line in head)
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for why in attributions:
        asked = [_cell(text) for text in (why.target, why.against, why.method, why.level)]
        table.writerows([*asked, *row] for row in _rows(why, tokens))
    return out.getvalue().encode()


def cohort_csv(checkpoint: Checkpoint, cohort: Cohort, rows: NDArray[np.int64]) -> bytes:
    """A row a record, below lines that begin with "#"; what is not there is left empty.

    rows : of the cohort, in the order that they are written in
    """
    numbers = {
        "age": cohort.age,
        "novelty": cohort.novelty,
        "quality": cohort.quality,
        "beats_per_min": cohort.rate,
        "seconds": cohort.seconds,
    }
    called = cohort.probabilities >= cohort.thresholds  # never, where there is no threshold
    out = io.StringIO()
    head = [NOTICE, f"{APP} {version()}", f"model: {_cell(checkpoint.name)} {checkpoint.digest}"]
    out.writelines(f"# {line}\r\n" for line in (*head, f"{len(rows)} of {len(cohort)} records"))
    table = csv.writer(out)
    table.writerow(["record", "known", "called", "sex", *numbers, *cohort.targets, "note"])
    for row in rows.tolist():
        names = [target for target, yes in zip(cohort.targets, called[row], strict=True) if yes]
        table.writerow(
            [
                _cell(str(cohort.titles[row])),
                " | ".join(_cell(name) for name in str(cohort.labels[row]).split(", ")),
                " | ".join(names),
                cohort.sex[row],
                *(_number(float(values[row])) for values in numbers.values()),
                *(_number(float(p)) for p in cohort.probabilities[row]),
                _cell(str(cohort.said[row])),
            ]
        )
    return out.getvalue().encode()


def _cell(text: str) -> str:
    """Words that a spreadsheet takes for words: never a formula, never two cells or lines."""
    text = re.sub(r"[\x00-\x1f\x7f,;\"]+", " ", text)
    return f"'{text}" if text.lstrip()[:1] in set("=+-@|%") else text


def _rows(why: Attribution, tokens: BeatTokens) -> Iterator[list[str]]:
    """part, lead, beat, r_peak_s, time_s, value, error of each value."""
    error = np.full(why.values.shape, np.nan) if why.error is None else why.error
    for at in np.ndindex(why.values.shape):
        name, last = why.names[at[0]], at[-1]
        part, lead, beat, r_peak, time = _cell(name), name if name in LEADS else "", "", "", ""
        if why.level in ("beat", "token"):
            beat, r_peak = str(last + 1), repr(float(tokens.r_peaks[last]))
        elif why.level == "sample":
            time = repr(last / TOKEN_FS)
        elif why.level == "segment":
            part = f"{part} {SEGMENTS[last]}"
        yield [part, lead, beat, r_peak, time, _number(float(why.values[at])), _number(float(error[at]))]


def _number(value: float) -> str:
    return repr(value) if np.isfinite(value) else ""
