"""Sentences about an explanation: how it adds up, what speaks for a label, how far a map may be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clear_hug.explain import METHODS, Attribution
from clear_hug.faithfulness import Gap, Proof
from clear_hug.measure import BeatFacts
from clear_hug.words import listed, looks_of, runs_of_leads, signed

MOST_LEADS, MOST_BEATS = 4, 3  # that one sentence names
FELT = 0.1  # of all contributions; beats worth less are not named
LEAST_RHYTHM = 0.1  # logits; less than that is not worth a word


def sum_words(attribution: Attribution) -> str:
    """The proof that contributions add up, as a line of Markdown; "" for a method whose values need not."""
    if not METHODS[attribution.method].adds_up:
        return ""
    values, names = np.nan_to_num(attribution.values), attribution.names
    line = (
        f"{_start(attribution)} {signed(attribution.bias, 4)} + sum of contributions "
        f"{signed(values.sum(), 4)} = logit {signed(attribution.logit, 4)}; "
        f"difference {abs(attribution.residual):.7f}"
    )
    if values.ndim > 1:
        return line
    high, low = int(values.argmax()), int(values.argmin())
    if values[high] > 0:
        line += f" · most for: **{names[high]}** ({signed(values[high], 2)})"
    if values[low] < 0:
        line += f" · most against: **{names[low]}** ({signed(values[low], 2)})"
    if abs(attribution.rhythm) >= LEAST_RHYTHM:
        line += f" · the rhythm alone: {signed(attribution.rhythm, 2)}"
    if abs(attribution.qtc) >= LEAST_RHYTHM:
        line += f" · the QTc alone: {signed(attribution.qtc, 2)}"
    return line


def _start(attribution: Attribution) -> str:
    """What the sum starts from, in words."""
    if METHODS[attribution.method].noisy is not None:
        return "flat beats"
    return "all segments blank" if attribution.level == "segment" else "bias"


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
        look = looks_of(facts, opposing)
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
    looks = [looks_of(facts, row) for row in rows]
    alike = looks[0] if looks[0] and len(set(looks)) == 1 else ""
    names = []
    for row, look, more in zip(rows, looks, told or [""] * len(rows), strict=True):
        inside = ", ".join(part for part in (more, "" if alike else look) if part)
        names.append(str(row + 1) + (f" ({inside})" if inside else ""))
    return f"beat{'' if len(rows) == 1 else 's'} {listed(names)}" + (f", {alike}" if alike else "")


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
    named = _named_beats(facts, most, [signed(beat.values[row], 2) for row in most])
    others = [beat.values[row] for row in order if row not in most]
    return (
        f"By the values shown, most {does} {label}: {named}; the others "
        f"{signed(min(others), 2)} to {signed(max(others), 2)}."
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
