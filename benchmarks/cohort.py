"""How fast a cohort of 20,000 records browses: its index opened, sorted, drawn; and how fast it is built.

The records are made up: an index of that many rows is written, beside a folder of as many empty headers.

    python -m benchmarks.cohort
    python -m benchmarks.cohort --keep FOLDER    leaves both there, for a look at the page in a browser
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clear_hug import index as index_module
from clear_hug.checkpoint import Checkpoint, load_checkpoint
from clear_hug.cohort import Described, Entry, describe, list_entries
from clear_hug.index import index_path, open_cohort, stamps, waiting
from clear_hug.known import Known
from clear_hug.plots import plot_cohort_map
from clear_hug.simulate import simulate_ecg

KINDS = ("normal", "premature", "high_voltage", "tachycardia")
TARGET = "superdiagnostic/MI"


def timed(name: str, work: Callable[[], Any], times: int = 3) -> Any:
    """Do `work`, print the fastest of its times, and give back what it found.

    CPU time stands beside the time of the clock, which a busy machine makes longer.
    """
    best, found = (np.inf, np.inf), None
    for _ in range(times):
        began = time.process_time(), time.perf_counter()
        found = work()
        best = min(best, (time.process_time() - began[0], time.perf_counter() - began[1]))
    print(f"{name:<58} {1000 * best[0]:8.1f} ms of CPU, {1000 * best[1]:8.1f} ms")
    return found


def write_folder(folder: Path, n: int) -> list[Entry]:
    """A folder of `n` empty headers, a hundred to a folder below it."""
    for i in range(n):
        where = folder / f"{i // 100:03d}"
        if i % 100 == 0:
            where.mkdir(parents=True, exist_ok=True)
        (where / f"{i:05d}.hea").touch()
    return list_entries(folder)


def write_index(path: Path, entries: list[Entry], checkpoint: Checkpoint) -> None:
    """An index in which each record is one of a few real descriptions, shaken."""
    rng = np.random.default_rng(0)
    like = [describe(checkpoint, simulate_ecg(kind, seed)) for kind in KINDS for seed in range(2)]
    stamped = stamps(entries)
    tasks = {task.name: task.labels for task in checkpoint.tasks}

    def row(i: int, entry: Entry) -> tuple[object, ...]:
        one = like[i % len(like)]
        found = Described(
            (one.logits + rng.normal(size=one.logits.size)).astype(np.float32),
            (one.embedding * rng.uniform(0.5, 1.5, one.embedding.size)).astype(np.float32),
            float(rng.uniform(0, 0.5)),
            float(rng.uniform()),
            one.trace,
            one.peak,
            one.lead,
            10.0,
            one.beats,
            one.rate,
            float(rng.integers(18, 95)),
            str(rng.choice(["F", "M"])),
        )
        told = Known({name: (str(rng.choice(labels)),) for name, labels in tasks.items()})
        return index_module._row(entry.key, stamped[entry.key], found, told)

    with index_module._opened(path) as index:
        index.executemany(index_module._INSERT, [row(i, entry) for i, entry in enumerate(entries)])
        index_module._note(index, wanted=0)


def measure(folder: Path, n: int) -> None:
    checkpoint = load_checkpoint()
    ecg = simulate_ecg("normal")
    timed("describe one record (what building costs, without reading)", lambda: describe(checkpoint, ecg), 10)
    entries = write_folder(folder, n)
    path = index_path(folder, checkpoint.digest, "clear")
    write_index(path, entries, checkpoint)
    print(f"{n} records, an index of {path.stat().st_size / 1e6:.0f} MB")
    timed("list the folder", lambda: list_entries(folder))
    stamped = timed("look for new and changed files", lambda: stamps(entries))
    timed("ask the index what is to be read", lambda: waiting(path, stamped))
    cohort = timed("open the index", lambda: open_cohort(path, entries, checkpoint))
    everything = np.arange(len(cohort))
    rows = timed("sort by uncertainty", lambda: cohort.order(everything, "uncertainty", TARGET))

    from clear_hug.ui.cohort import ROWS, table_of

    timed(f"a page of the table, {ROWS} rows", lambda: table_of(cohort, rows[:ROWS], TARGET))
    places, shares = timed("the two main axes", lambda: type(cohort).map.func(cohort))
    timed("neighbours of one", lambda: cohort.neighbours(5))
    values = cohort.values("probability", TARGET)

    def draw() -> str:
        figure = plot_cohort_map(places, shares, rows, values, "p", cohort.titles, chosen=5, near=[1, 2])
        return str(figure.to_json())

    text = timed("the map, as it is sent", draw)
    print(f"the map is {len(text) / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="an empty folder: its `data` and `cache` are for the app")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        where = (told.keep or Path(made)).resolve()
        os.environ["CLEAR_HUG_CACHE"] = str(where / "cache")
        measure(where / "data", told.records)
    if told.keep:
        print(f"CLEAR_HUG_DATA={where / 'data'} CLEAR_HUG_CACHE={where / 'cache'} streamlit run app.py")


if __name__ == "__main__":
    main()
