"""How long each explanation takes: one record of 10 s, the shipped preset, warm.
`python -m benchmarks.explanations`.

Each line gives the median of several runs, every one of them from nothing: no look or game is kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from jsonargparse import auto_cli

import clear_hug as ch
from clear_hug.explain import look
from clear_hug.faithfulness import prove
from clear_hug.removal import Game, parts_of
from clear_hug.shapley import shapley

SURE = 0.05  # standard error of a Shapley value, as a share of the largest


def median_ms(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def explanations(repeats: int = 5, threads: int = 2, exact: bool = True) -> None:
    """Time the methods and print them.

    Args:
        repeats: runs a line
        threads: of the CPU
        exact: also the 4,096 subsets of twelve leads
    """
    torch.set_num_threads(threads)
    checkpoint = ch.load_checkpoint()
    tokens = ch.tokenize_beats(ch.simulate_ecg("normal", 0, n_pvc=1))
    target = "form/PVC" if "form/PVC" in checkpoint.targets else checkpoint.targets[0]
    print(f"{checkpoint.name}, {tokens.n_beats} beats in 12 leads, {threads} threads, {target}")

    def line(name: str, work: Callable[[], object], goal: str = "") -> float:
        took = median_ms(work, repeats)
        print(f"{name}: {took:.0f} ms{f' (goal {goal})' if goal else ''}", flush=True)
        return took

    once = line("forward pass", lambda: ch.diagnose(checkpoint, tokens))
    both = line("forward pass, HUG exact and attention", lambda: look(checkpoint, tokens))
    print(f"HUG exact and attention beyond the forward pass: {both - once:.1f} ms (goal 5)")

    def ablations() -> None:
        for level in ("beat", "lead", "group"):
            ch.explain(checkpoint, tokens, target, "ablation", level)

    line("ablation of beats, leads and groups, together", ablations, "400")
    of = np.zeros(len(checkpoint.targets))
    of[checkpoint.row(target)] = 1

    def sampled(level: str) -> Callable[[], object]:
        return lambda: shapley(Game(checkpoint, tokens, parts_of(tokens, level)), of, exact=False, sure=SURE)

    line("Shapley values of beats, to 5 %", sampled("beat"), "2,000")
    line("Shapley values of leads, to 5 %", sampled("lead"), "3,000")
    if exact:
        took = median_ms(lambda: ch.explain(checkpoint, tokens, target, "exact_shapley", "lead"), 1)
        print(f"Shapley values of leads, exact: {took / 1000:.1f} s (goal 20)")
    line(
        "integrated gradients, 32 steps",
        lambda: ch.explain(checkpoint, tokens, target, "integrated_gradients"),
        "1,000",
    )
    why = ch.explain(checkpoint, tokens, target)
    line("the proof of a map of leads", lambda: prove(checkpoint, tokens, why, disturbances=3))
    hidden = np.zeros_like(tokens.valid)
    hidden[:, 1] = True
    line("what if: one change", lambda: ch.diagnose(checkpoint, tokens, hidden), "150 with the page")


if __name__ == "__main__":
    auto_cli(explanations, as_positional=False)
