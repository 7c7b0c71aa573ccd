"""How long the server works for a warm page, and for a picture: `python -m benchmarks.pages`.

A page's time is from the request over the websocket to the end of its script, the record and the model known
to the caches; a picture's is that of its figure and of the JSON that is sent.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

import clear_hug as ch
from benchmarks.load import PAGES, server, session
from clear_hug import plots
from clear_hug.reconstruct import as_the_model_sees_it, hide_leads, reconstruct_both

PAGE_GOAL, PICTURE_GOAL = 300, 150  # ms


async def switches(address: str, record: str, repeats: int) -> dict[str, list[float]]:
    """Page -> ms of the server for it, `repeats` times after two that fill the caches."""
    took: dict[str, list[float]] = {page: [] for page in PAGES}
    async with session(address) as visitor:
        visitor.query = f"record={record}"
        for k in range(repeats + 2):
            for page in PAGES:
                began = time.perf_counter()
                await visitor.look(page)
                if k >= 2:  # the first rounds fill the caches
                    took[page].append(1000 * (time.perf_counter() - began))
    return took


def pictures() -> dict[str, Callable[[], object]]:
    """Each figure of the pages, of one simulated record of 10 s at 500 Hz."""
    checkpoint = ch.load_checkpoint()
    ecg = ch.simulate_ecg("premature", 0)
    tokens = ch.tokenize_beats(ecg)
    answer = ch.diagnose(checkpoint, tokens)
    hidden = hide_leads(tokens, ["V3"])
    rebuilt, linear = reconstruct_both(checkpoint, tokens, hidden)
    trace = as_the_model_sees_it(ecg)
    lead = ch.explain(checkpoint, tokens, "form/PVC")
    each = ch.explain(checkpoint, tokens, "form/PVC", "ablation", "token")
    samples = ch.explain(checkpoint, tokens, "form/PVC", "integrated_gradients", "sample")
    return {
        **{f"paper, {name}": lambda name=name: plots.plot_ecg(ecg, layout=name) for name in plots.LAYOUTS},
        "beats, strip": lambda: plots.plot_beat_strip(ecg, tokens, "II", 0, 10),
        "beats, overlay": lambda: plots.plot_beat_overlay(tokens),
        "reconstruction": lambda: plots.plot_reconstruction(trace, tokens, rebuilt, linear),
        "probabilities": lambda: plots.plot_probabilities(answer, checkpoint.description, "superdiagnostic"),
        "painted by leads": lambda: plots.plot_painted_ecg(ecg, lead, 0, 10),
        "painted by samples": lambda: plots.plot_painted_samples(ecg, samples, 0, 10),
        "leads x beats": lambda: plots.plot_token_map(each, tokens, (0, 0)),
        "icicle": lambda: plots.plot_icicle(lead),
    }


def pages(record: str = "simulated-premature", repeats: int = 5, threads: int = 2) -> None:
    """Print both.

    Args:
        record: the id of a record that ships
        repeats: of each page and picture
        threads: of the server's CPU work
    """
    torch.set_num_threads(threads)
    with (
        tempfile.TemporaryDirectory() as home,
        server(Path(home), OMP_NUM_THREADS=str(threads)) as (address, _),
    ):
        took = asyncio.run(switches(address, record, repeats))
    print(f"server time of a warm page of {record}, median of {repeats} (goal {PAGE_GOAL} ms)")
    for page, times in took.items():
        print(f"  {page or 'Home'}: {statistics.median(times):.0f} ms")
    print(f"time of a picture with its JSON, median of {repeats} (goal {PICTURE_GOAL} ms)")
    for name, draw in pictures().items():
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            figure = draw()
            figure.to_json()  # type: ignore[attr-defined]
            times.append(1000 * (time.perf_counter() - began))
        print(f"  {name}: {np.median(times[1:]):.0f} ms")


if __name__ == "__main__":
    auto_cli(pages, as_positional=False)
