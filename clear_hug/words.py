"""Sentences: what is known of a record, what an answer rests on, how an explanation adds up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clear_hug.beats import MAX_BEATS, BeatTokens
from clear_hug.diagnosis import Diagnosis
from clear_hug.ecg import ECG, STORED, clock, window_edges
from clear_hug.explain import METHODS, Attribution
from clear_hug.faithfulness import Gap, Proof
from clear_hug.known import Person
from clear_hug.leads import LEADS
from clear_hug.measure import BeatFacts, Measurements
from clear_hug.quality import FLAT, flat_share
from clear_hug.reconstruct import Reconstruction

NOTICE = "For research only: not a medical device, and no basis for a diagnosis or a treatment."


V1 = LEADS.index("V1")
LONG = 120  # s; a longer record is told in minutes
MOST_LEADS, MOST_BEATS = 4, 3  # that one sentence names
FELT = 0.1  # of all contributions; beats worth less are not named


_GUESSED = {
    "fs": "sampling rate", "unit": "unit", "leads": "order of leads", "orientation": "rows or columns",
    "record": "which record",
}  # fmt: skip
_STORED_NAMES = {
    "heart_rate": "rate", "p_duration": "P", "pr": "PR", "qrs": "QRS", "qt": "QT", "qtc": "QTc",
    "p_axis": "P axis", "qrs_axis": "QRS axis", "t_axis": "T axis",
}  # fmt: skip


def facts(ecg: ECG, person: Person | None = None) -> dict[str, str]:
    """What is known of a record, name -> words.

    person : whose it is, where the data set around the file says more than the file
    """
    length = f"{ecg.duration:.1f} s" if ecg.duration < LONG else clock(ecg.duration)
    flat = _flat_leads(ecg)
    known = {
        "Format": ecg.source or "unknown",
        "Length": f"{length} at {ecg.fs:g} Hz",
        "Voltage": "in mV" if ecg.units_known else "unknown: arbitrary units, shape only",
        "Guessed": ", ".join(_GUESSED[what] for what in ecg.guessed),
        "Leads": "all twelve recorded" if not (ecg.absent_leads or ecg.derived or flat) else "",
        "Flat": flat,
        "Derived": ", ".join(ecg.derived) + (" from other limb leads" if ecg.derived else ""),
        "Absent": ", ".join(ecg.absent_leads),
        "Beyond the twelve": ", ".join(ecg.extra),
        "Device": ecg.device,
        "Filters": ecg.filters,
        "Measured by the device": ", ".join(
            f"{_STORED_NAMES[name]} {value:g} {STORED[name]}".replace(" °", "°")
            for name, value in ecg.stored.items()
        ),
        "Patient": _of_patient(person or Person(ecg.age, ecg.sex)),
        "Planted change": str(ecg.truth.get("change", "")) if ecg.simulated else "",
    }
    return {name: value for name, value in known.items() if value}


def _flat_leads(ecg: ECG) -> str:
    """The leads that are flat, as `quality` has it; of a long record those that never move."""
    share = flat_share(ecg.signal, ecg.fs) if ecg.duration < LONG else np.zeros(len(LEADS))
    said = []
    for lead, never, part in zip(LEADS, ecg.flat, share, strict=True):
        if never or part > FLAT:
            said.append(lead if never else f"{lead} ({100 * part:.0f} % of the time)")
    return ", ".join(said)


def _of_patient(person: Person) -> str:
    parts = {
        "age": f"{person.age:g} years" if person.age is not None else "",
        "sex": {"F": "female", "M": "male"}.get(person.sex or "", ""),
    }
    there = [name for name, part in parts.items() if part]
    told = [name for name in there if name in person.told]
    line = ", ".join(parts[name] for name in there)
    if not told:
        return line
    return f"{line} (by the data set)" if told == there else f"{line} ({told[0]} by the data set)"


def coverage(tokens: BeatTokens) -> list[str]:
    """What of the record its beat tokens do not hold, in sentences."""
    said = []
    if tokens.n_dropped:
        said.append(
            f"{_count(tokens.n_dropped, 'beat')} found and given no token: more than {MAX_BEATS} in 10 s, or "
            "no lead with a whole signal there."
        )
    else:
        said.append("No beat was dropped.")
    share = tokens.uncovered / tokens.duration
    if tokens.uncovered < 0.05:
        said.append("Every part of the record lies in a beat's window.")
    else:
        said.append(
            f"{tokens.uncovered:.1f} s of {tokens.duration:.1f} s ({share:.0%}) lie outside every beat's "
            "window (0.96 s around the R peak)"
            + ("; the end of T may be among them." if share > 0.15 else ".")
        )
    return said


def missing(tokens: BeatTokens) -> list[str]:
    """What the model could not see of a record, in sentences that belong beside every answer."""
    there = [lead for lead, here in zip(LEADS, tokens.present, strict=True) if here]
    gone = [lead for lead in LEADS if lead not in there]
    said = []
    if gone:
        said.append(
            f"The model saw {_count(len(there), 'lead')} of 12 ({', '.join(there)}); "
            f"without a usable beat, so left out: {', '.join(gone)}."
        )
    if not tokens.units_known:
        said.append("The voltage is unknown: the model saw the shape alone.")
    return said


def rests_on(ecg: ECG, tokens: BeatTokens, diagnosis: Diagnosis) -> list[str]:
    """What an answer rests on, in sentences."""
    windows = len(diagnosis.window_spans)
    said = [
        f"{_count(tokens.n_beats, 'beat')} in {_count(int(tokens.present.sum()), 'lead')}"
        + (f", read in {windows} windows; the answer is the mean of their logits." if windows > 1 else ".")
    ]
    said += missing(tokens)
    said += _silent_windows(tokens, diagnosis)
    patchy = int((~tokens.valid[tokens.present]).sum())
    if patchy:
        said.append(f"{_count(patchy, 'beat token')} left out: flat, or samples absent.")
    if ecg.derived:
        said.append(f"Derived from other limb leads: {', '.join(ecg.derived)}.")
    said += coverage(tokens)
    said += ecg.warnings
    if ecg.simulated:
        said.append("This ECG is simulated; the model was trained on real ones.")
    return said


def _silent_windows(tokens: BeatTokens, diagnosis: Diagnosis) -> list[str]:
    """The stretches that no window read, neighbours joined, one sentence each."""
    edges = window_edges(tokens.duration)
    read = np.isin(np.round(edges[:-1], 6), np.round(diagnosis.window_spans[:, 0], 6))
    ends = np.flatnonzero(np.diff(np.concatenate([[True], read, [True]])))
    said = []
    for first, last in ends.reshape(-1, 2):
        what = "that window is" if last - first == 1 else f"those {last - first} windows are"
        said.append(f"No beat from {edges[first]:.4g} to {edges[last]:.4g} s: {what} not in the answer.")
    return said


def exclusion_words(called: Mapping[str, str]) -> str:
    """A sentence where a normal ECG is called beside a superclass that it excludes; "" where it is not.

    called : task/label -> words, of each called label
    """
    normal = [words for target, words in called.items() if target.endswith("/NORM")]
    others = [
        f"“{words}”"
        for target, words in called.items()
        if target.startswith("superdiagnostic/") and not target.endswith("/NORM")
    ]
    if not (normal and others):
        return ""
    both, either = ("both are", "either") if len(others) == 1 else ("all are", "any of them")
    return (
        f"By its meaning “{normal[0]}” excludes {_and(others)}, yet {both} called: read the trace before you "
        f"believe {either}."
    )


def scale_words(rebuilt: Reconstruction) -> list[str]:
    """How the voltage of what was rebuilt is known, in sentences."""
    predicted = [LEADS[row] for row in np.flatnonzero(rebuilt.scale_predicted.any(axis=1))]
    said = []
    if predicted:
        said.append(
            f"No beat of {', '.join(predicted)} was visible within 10 s: the scale there is the model's "
            "prediction."
        )
    if not rebuilt.units_known:
        said.append("The record's unit is unknown: errors are in its own unit, not in mV.")
    return said


LEAST_RHYTHM = 0.1  # logits; less than that is not worth a word


def sum_words(attribution: Attribution) -> str:
    """The proof that contributions add up, as a line of Markdown; "" for a method whose values need not."""
    if not METHODS[attribution.method].adds_up:
        return ""
    values, names = np.nan_to_num(attribution.values), attribution.names
    line = (
        f"{_start(attribution)} {_signed(attribution.bias, 4)} + sum of contributions "
        f"{_signed(values.sum(), 4)} = logit {_signed(attribution.logit, 4)}; "
        f"difference {abs(attribution.residual):.7f}"
    )
    if values.ndim > 1:
        return line
    high, low = int(values.argmax()), int(values.argmin())
    if values[high] > 0:
        line += f" · most for: **{names[high]}** ({_signed(values[high], 2)})"
    if values[low] < 0:
        line += f" · most against: **{names[low]}** ({_signed(values[low], 2)})"
    if abs(attribution.rhythm) >= LEAST_RHYTHM:
        line += f" · the rhythm alone: {_signed(attribution.rhythm, 2)}"
    if abs(attribution.qtc) >= LEAST_RHYTHM:
        line += f" · the QTc alone: {_signed(attribution.qtc, 2)}"
    return line


def _start(attribution: Attribution) -> str:
    """What the sum starts from, in words."""
    if METHODS[attribution.method].noisy is not None:
        return "flat beats"
    return "all segments blank" if attribution.level == "segment" else "bias"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def runs_of_leads(rows: Iterable[int]) -> str:
    """Leads in words: neighbours in the chest as a run, "V1-V3", others by name."""
    rows = sorted(rows)
    limb = [LEADS[row] for row in rows if row < V1]
    chest: list[list[int]] = []
    for row in rows:
        if row < V1:
            continue
        if chest and chest[-1][-1] == row - 1:
            chest[-1].append(row)
        else:
            chest.append([row])
    for run in chest:
        limb += [LEADS[row] for row in run] if len(run) < 3 else [f"{LEADS[run[0]]}–{LEADS[run[-1]]}"]
    return _and(limb)


def rhythm_words(measured: Measurements) -> str:
    """Rate and regularity, and the beats that the regularity is not told of."""
    m = measured
    rate = f"{m.heart_rate:.0f} beats/min" if np.isfinite(m.heart_rate) else "rate unknown"
    regular = {True: "regular", False: "irregular", None: "regularity unknown"}[m.regular]
    if m.regular and m.n_other:
        regular += " between usual beats"
    kinds = [f"{m.n_other} of {m.n_beats} beats of another shape"] if m.n_other else []
    if m.n_premature and m.regular is False and not m.irregular_without_p:
        kinds.append(f"{m.n_premature} of {m.n_beats} beats of the usual shape come early")
    return "; ".join([f"{rate}, {regular}", *kinds])


def apart_words(first: Measurements, second: Measurements) -> str:
    """How far QRS axis and QTc of two recordings lie apart, and what of QTc to doubt, in sentences."""
    parts = []
    axes = first.qrs_axis, second.qrs_axis
    turned = (axes[1] - axes[0] + 180) % 360 - 180  # the shorter way round
    qtcs = first.qtc_bazett, second.qtc_bazett
    for name, unit, (a, b), apart in (
        ("QRS axis", "°", axes, turned),
        ("QTc (Bazett)", " ms", qtcs, qtcs[1] - qtcs[0]),
    ):
        if np.isfinite(apart):
            said = f"{name} {_signed_only(a)} and {_signed_only(b)}{unit}, {_signed(apart, 0)}{unit}"
        else:
            gone = [n for n, value in (("1st", a), ("2nd", b)) if not np.isfinite(value)]
            said = f"{name} not measured in the {_and(gone)}"
        parts.append(said)
    doubts = [
        f" QTc of the {name}: {one.qtc_doubt}"
        for name, one in (("1st", first), ("2nd", second))
        if one.qtc_doubt and np.isfinite(one.qtc_bazett)
    ]
    return (
        f"Measured in two different recordings, which need not be of one person: {'; '.join(parts)}."
        + "".join(doubts)
    )


def _signed_only(value: float) -> str:
    """A whole number with a true minus sign."""
    return f"{round(value)}".replace("-", "−")  # -0.3 is 0


def qtc_words(read: float, measured: float) -> str:
    """The QTc that the model reads, and that of the trace, each in s and by Bazett; NaN where unknown."""
    one, other = (f"{1000 * value:.0f} ms" if np.isfinite(value) else "unknown" for value in (read, measured))
    return (
        f"QTc (Bazett) as the model reads it from the beats, less what a wide QRS complex adds: {one}; as "
        f"the ECG page measures it on the trace: {other}."
    )


def evidence_words(lead: Attribution, label: str, beats: str) -> str:
    """One sentence: which leads an answer comes from, and `beats`, what `beat_words` says.

    Where most of it is the record's rhythm or QTc, which every lead holds alike, that is named.

    Parameters
    ----------
    lead : exact contributions of the leads (HUG);  label : in words
    """
    whole = float(np.nansum(lead.values))
    sign, does = (1, "for") if whole >= 0 else (-1, "against")
    for what, value in (
        ("Rate and regularity of the beats carry", lead.rhythm),
        ("The QTc carries", lead.qtc),
    ):
        if sign * value > abs(whole) / 2:
            share = "all" if sign * value >= abs(whole) else f"{value / whole:.0%}"
            ending = "" if lead.target.startswith("rhythm/") else beats  # of a rhythm no beat is the reason
            return f"{what} {share} of the net evidence {does} {label}, which belongs to no lead{ending}."
    leads, part = _most_of(sign * lead.values, MOST_LEADS)
    if not leads:
        return f"No lead speaks {does} {label}."
    verb = "carries" if len(leads) == 1 else "carry"
    said = f"{runs_of_leads(leads)} {verb} {part:.0%} of what speaks {does} {label}"
    return f"{said}{beats}."


def telling_beats(lead: Attribution, beat: Attribution) -> list[int]:
    """Rows of the one to three beats that stand out, if any do.

    Each is worth, left out alone, at least half of what the most telling one is; together they hold half of
    what beats are worth, at least twice their share of the beats, and a tenth of all contributions.
    """
    sign = 1 if np.nansum(lead.values) >= 0 else -1
    worth = np.where(np.isfinite(beat.values), sign * beat.values, 0.0).clip(min=0)
    rows = np.flatnonzero(worth >= 0.5 * worth.max(initial=0.0))
    if not worth.any() or rows.size > MOST_BEATS:
        return []
    held = worth[rows].sum() / worth.sum()
    even = rows.size / int(np.isfinite(beat.values).sum())
    felt = worth[rows].sum() >= FELT * abs(np.nansum(lead.values))
    return rows.tolist() if held >= max(0.5, 2 * even) and felt else []


def opposing_beat(lead: Attribution, beat: Attribution) -> int | None:
    """Row of the beat that speaks most against what all leads say, where it stands out.

    It is worth, left out alone, at least twice what beats are worth on average, and a tenth of all
    contributions.
    """
    sign = 1 if np.nansum(lead.values) >= 0 else -1
    values = np.nan_to_num(sign * beat.values)
    if not values.size:
        return None
    row = int(values.argmin())
    even = float(np.abs(values).sum()) / max(int(np.isfinite(beat.values).sum()), 1)
    felt = -values[row] >= FELT * abs(np.nansum(lead.values))
    return row if values[row] < 0 and -values[row] >= 2 * even and felt else None


def beat_words(
    lead: Attribution,
    beat: Attribution,
    rows: Sequence[int],
    without: float,
    facts: BeatFacts,
    opposing: int | None = None,
) -> str:
    """What the beats of `rows` do to an answer, as the end of `evidence_words`.

    Parameters
    ----------
    lead : exact contributions of the leads;  beat : what each beat is worth, left out alone
    rows : from `telling_beats`;  without : the logit with these beats left out
    facts : of the same record's beats
    opposing : from `opposing_beat`
    """
    n = len(facts.premature)
    if n == 1:
        return ", in its only beat"
    other = ""
    if opposing is not None:
        look = _looks(facts, opposing)
        other = f"; beat {opposing + 1}{f', {look},' if look else ''} pulls the other way"
    if not rows:
        shares = np.nan_to_num(beat.values / (lead.logit - lead.bias))
        most = min(1.0, np.ceil(100 * shares.max(initial=0.0)) / 100)
        much = f"more than {most:.0%}" if most > 0 else "any"
        return f"; no beat alone takes {much} of the net evidence away{other}"
    share = (lead.logit - without) / (lead.logit - lead.bias)
    what = _named_beats(facts, rows)
    return f"; without {what}, {min(1.0, share):.0%} of the net evidence is gone{other}"


def _named_beats(facts: BeatFacts, rows: Sequence[int], told: Sequence[str] = ()) -> str:
    """Beats by their numbers, with how they look: once, where they look alike.

    told : what else is said of each
    """
    looks = [_looks(facts, row) for row in rows]
    alike = looks[0] if looks[0] and len(set(looks)) == 1 else ""
    names = []
    for row, look, more in zip(rows, looks, told or [""] * len(rows), strict=True):
        inside = ", ".join(part for part in (more, "" if alike else look) if part)
        names.append(str(row + 1) + (f" ({inside})" if inside else ""))
    return f"beat{'' if len(rows) == 1 else 's'} {_and(names)}" + (f", {alike}" if alike else "")


def most_beats_words(lead: Attribution, beat: Attribution, label: str, facts: BeatFacts) -> str:
    """A sentence: the beats that are worth most by the values that a chart shows, and what the others are.

    It says nothing of which stand out, which depends on the question: beats that tell the same are worth
    little when one of them is left out alone, and more by their Shapley values. "" for few beats.

    Parameters
    ----------
    lead : exact contributions of the leads, which tell for or against the label the evidence is
    beat : what each beat is worth, by whatever method;  label : in words
    facts : of the same record's beats
    """
    sign, does = (1, "for") if np.nansum(lead.values) >= 0 else (-1, "against")
    worth = np.where(np.isfinite(beat.values), sign * beat.values, -np.inf)
    order = [int(row) for row in np.argsort(-worth, kind="stable") if np.isfinite(worth[row])]
    most = [row for row in order[:MOST_BEATS] if worth[row] > 0]
    if not most or len(order) <= 2 * MOST_BEATS:
        return ""
    named = _named_beats(facts, most, [_signed(beat.values[row], 2) for row in most])
    others = [beat.values[row] for row in order if row not in most]
    return (
        f"By the values shown, most {does} {label}: {named}; the others "
        f"{_signed(min(others), 2)} to {_signed(max(others), 2)}."
    )


def _most_of(values: NDArray[np.float64], most: int) -> tuple[list[int], float]:
    """The fewest rows, `most` at most, that hold more than half of what is positive; and what they hold."""
    there = np.where(np.isfinite(values) & (values > 0), values, 0.0)
    total = float(there.sum())
    if total <= 0:
        return [], 0.0
    order = np.argsort(-there, kind="stable")
    n = min(most, int(np.searchsorted(np.cumsum(there[order]) / total, 0.5)) + 1)
    return sorted(order[:n].tolist()), float(there[order[:n]].sum() / total)


def _looks(facts: BeatFacts, row: int) -> str:
    """How a beat differs from the usual one, in words."""
    shape = "wide" if facts.wide[row] else "of another shape" if facts.unlike[row] else ""
    return _and([word for word in ("premature" if facts.premature[row] else "", shape) if word])


def beat_marks(facts: BeatFacts) -> dict[int, str]:
    """Row of a beat -> how it differs from the usual one; the usual ones are left out."""
    looks = {row: _looks(facts, row) for row in range(len(facts.premature))}
    return {row: words for row, words in looks.items() if words}


def beat_reasons(facts: BeatFacts, rr_before: NDArray[np.float64]) -> dict[int, tuple[str, str]]:
    """Row of a beat that differs from the usual one -> how, in a word or two, and why it is said to.

    rr_before : (beat,) s
    """
    usual = facts.duration[~facts.premature & np.isfinite(facts.duration)]
    said: dict[int, tuple[str, str]] = {}
    for row in np.flatnonzero(facts.premature | facts.wide | facts.unlike):
        reasons = {
            "early": (facts.premature[row], f"premature: RR {1000 * rr_before[row]:.0f} ms"),
            "wide": (
                facts.wide[row],
                f"wide: QRS {1000 * facts.duration[row]:.0f} ms, usual "
                f"{1000 * np.median(usual) if usual.size else np.nan:.0f}",
            ),
            "odd": (facts.unlike[row], f"odd: r {facts.resemblance[row]:.2f} with the usual beat"),
        }
        there = {name: why for name, (true, why) in reasons.items() if true}
        short = [name for name in there if name != "odd" or "wide" not in there]
        said[int(row)] = (", ".join(short), "; ".join(there.values()))
    return said


def removed_words(tokens: BeatTokens, hidden: NDArray[np.bool_]) -> str:
    """What was switched off, in a sentence."""
    gone = tokens.valid & hidden
    if not gone.any():
        return "Nothing is switched off."
    return f"Switched off: {_count(int(gone.sum()), 'beat token')} of {int(tokens.valid.sum())}."


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


LEAD_TOKEN_WORDS = (
    "A contribution is what one lead's token adds to the logit. The token sums up that lead's beats, which "
    "have themselves attended to the other leads; the lead's scale and its R and S in mV count with it. The "
    "rhythm, and for a long QT interval the QTc, belong to the whole record and are shared equally among the "
    "leads."
)
LEFT_OUT_WORDS = (
    "How far the logit falls when this part alone is left out; the model was trained with beats missing. "
    "Parts that carry the same information look unimportant one by one, and the values do not add up to the "
    "logit."
)
SHAPLEY_WORDS = (
    "Shapley values: the change of the logit when a part is left out, averaged over the orders in which "
    "parts can be left out; the line is the standard error where orders were sampled. Unlike a contribution, "
    "this counts too what a part tells the other leads."
)


SEGMENT_WORDS = (
    "How far the logit moves when the segment is drawn as a straight line, in all beats of the lead. The "
    "model was never trained with such beats: read the large values."
)
ATTENTION_WORDS = (
    "Attention shows where each lead token looked, the same for every label. It adds up to nothing, and is "
    "no measure of importance."
)
GRADIENT_WORDS = (
    "Integrated gradients: what each sample adds on the way from flat beats, at the same times and lead "
    "scales, to the recorded ones. Flat beats are nothing that the model was trained on, and neighbouring "
    "samples share their say: read the wave, not the sample."
)
EXPORT_WORDS = (
    "Each file carries the notice, the model with its digest, and the method. The PDF is a page of A4 in "
    "true millimetres. Files hold no name unless you ask for it."
)
WHAT_IF_WORDS = (
    "Switched off parts are left out, and nothing is put in their place: the model was trained with beats "
    "and leads missing. Open circle: the whole record; filled: without what is switched off."
)
COMPARE_WORDS = {
    "labels": "Both sides on one scale: equal lengths are equal contributions, each to its label's logit.",
    "methods": "Both sides on one scale of the logit. Methods ask different questions: exact contributions "
    "and Shapley values start from an empty record, integrated gradients from flat beats, and values left "
    "out one by one do not add up; compare signs and order before lengths.",
    "records": "Both sides on one scale: equal lengths are equal contributions to the label's logit.",
}
PROOF_WORDS = (
    "Parts are taken out in the map's order, and in 20 random orders. A map that knows what counts makes the "
    "logit fall faster than chance. This tells whether the map is true of the model, not whether the model "
    "is right about the patient."
)


def proof_figures(proof: Proof) -> list[dict[str, str]]:
    """The figures of a proof, a row each."""
    deletion, insertion = proof.curves.deletion.gap, proof.curves.insertion.gap
    rows = [
        ("deletion: better than random by", _between(deletion)),
        ("insertion: better than random by", _between(insertion)),
        ("infidelity (captum)", f"{proof.infidelity.missed:.3g} of {proof.infidelity.change:.3g} logit²"),
    ]
    if proof.sensitivity is not None:
        rows.append(("sensitivity_max (captum)", f"{proof.sensitivity:.1%} of the map's size"))
    rows += [(f"rank correlation with {name}", f"{rho:+.2f}") for name, rho in proof.agreement.items()]
    if proof.residual is not None:
        rows.append(("left over", f"{abs(proof.residual):.1e} logit"))
    rows.append(("time", f"{proof.seconds:.1f} s"))
    return [{"Figure": name, "Value": value} for name, value in rows]


def _between(gap: Gap) -> str:
    return f"{gap.value:+.2f} logit ({gap.low:+.2f} to {gap.high:+.2f})"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
