"""Does the map of novelty find the premature beat? `python -m benchmarks.novelty {simulated,real} --help`.

Each token of a record is hidden in turn and rebuilt from all others; the beat with the highest score should
be a premature wide one. simulated: one to three such beats are planted. real: records labelled PVC of
PTB-XL's folds 1 to 8, whose ectopic beats are told by RR and shape (`measure_beats`), by models that had
not learned from their labels. Beside it, the same score from the errors of the linear regression alone.
Rates with 95 % Wilson intervals, and what chance alone would give.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from numpy.typing import NDArray

from benchmarks.ground_truth import KINDS, RUNS, Planted, _marked, planted, pvc_records, rate_of
from clear_hug.beats import BeatTokens, tokenize_beats
from clear_hug.checkpoint import DEFAULT, Checkpoint, load_checkpoint
from clear_hug.measure import measure_beats
from clear_hug.novelty import LIMIT, novelty, score_of, surprise_of
from clear_hug.train.corpus import Corpus


@dataclass(frozen=True)
class Found:
    """Of one record.

    top : by whom -> the beat with the highest score is one that is sought;  chance : of that
    out : sought beats that stand out, and all that are sought
    others : other beats that stand out, and all others;  seconds : of the CPU
    """

    top: dict[str, bool]
    chance: float
    out: tuple[int, int]
    others: tuple[int, int]
    seconds: float


def seek(checkpoint: Checkpoint, tokens: BeatTokens, sought: NDArray[np.bool_]) -> Found:
    """Hide each token in turn, and see which beats surprise."""
    began = time.thread_time()
    found = novelty(checkpoint, tokens)
    seconds = time.thread_time() - began
    scores = {"ours": found.score, "linear": score_of(surprise_of(tokens, found.linear.rmse))}
    out = found.stands_out
    return Found(
        {name: bool(sought[int(np.nanargmax(score))]) for name, score in scores.items()},
        float(sought.mean()),
        (int((out & sought).sum()), int(sought.sum())),
        (int((out & ~sought).sum()), int((~sought).sum())),
        seconds,
    )


def lines(found: Iterable[Found]) -> list[str]:
    """The figures, for reading."""
    some = list(found)
    if not some:
        return ["no record"]
    said = [
        f"  most surprising beat is a premature one, {name}: "
        f"{rate_of([one.top[name] for one in some], [one.chance for one in some])}"
        for name in some[0].top
    ]
    for what, pairs in (("premature", [f.out for f in some]), ("other", [f.others for f in some])):
        hits, n = (sum(pair[k] for pair in pairs) for k in range(2))
        rate = rate_of([True] * hits + [False] * (n - hits))
        said.append(f"  {what} beats that stand out (score {LIMIT:g}): {rate}")
    said.append(f"  median {np.median([one.seconds for one in some]):.2f} s of one thread a record")
    return said


def premature(seed: int, n: int) -> list[Planted]:
    """n records with planted premature wide beats."""
    return [record for record in planted(seed, 5 * ((n + 1) // 2)) if record.kind == KINDS[0]][:n]


def simulated(checkpoint: str = DEFAULT, n: int = 60, seed: int = 20251126) -> None:
    """Records with one to three planted premature wide beats, of any axis and width.

    Args:
        checkpoint: a name or a folder
        n: records
        seed: that hearts and beats are drawn from; tests use others
    """
    opened, found = load_checkpoint(checkpoint), []
    for record in premature(seed, n):
        tokens = tokenize_beats(record.changed)
        found.append(seek(opened, tokens, _marked(tokens, record)))
    print(f"{len(found)} simulated records with planted premature wide beats")
    print("\n".join(lines(found)))


def real(corpus: Path = Path("corpus"), runs: tuple[Path, ...] = RUNS) -> None:
    """Records with PVC of folds 1 to 8, each by a model that did not learn its label.

    Args:
        corpus: folder of prepared shards
        runs: of `finetune`, each watching folds of its own
    """
    found, without = [], 0
    for checkpoint, tokens in pvc_records(runs, Corpus(corpus)):
        ectopic = measure_beats(tokens).ectopic
        if ectopic.any():
            found.append(seek(checkpoint, tokens, ectopic))
        else:
            without += 1
    print(f"PTB-XL, PVC: {len(found)} records; {without} more have no ectopic beat by RR and shape")
    print("\n".join(lines(found)))


if __name__ == "__main__":
    auto_cli([simulated, real], as_positional=False)
