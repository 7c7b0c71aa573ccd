"""Speed of a pre-training step on this machine. `python -m benchmarks.pretraining`.

A step: both passes, clipping, AdamW; masks are drawn ahead, as the loop draws them. 80 % of the tokens are
hidden. First how fast the corpus is read. On a CPU the step stands beside a plain matrix product of the same
precision over the shapes of the model's own layers, in the same run, so that a noisy machine shows; then how
the cost grows with records and with beats. On a GPU: rate, share of the peak and memory by batch, with
compiled blocks too, what reading ahead reaches, and steps fed by it; three minutes on an H100.
"""

from __future__ import annotations

import gc
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

import clear_hug as ch
from clear_hug.attention import Block
from clear_hug.batch import Beats
from clear_hug.beats import split_windows
from clear_hug.diagnosis import collate, computes_bf16, pick_device
from clear_hug.leads import N_LEADS
from clear_hug.masked import MaskedCLEAR, masked_loss
from clear_hug.model import CLEAR, PRESETS, CLEARConfig
from clear_hug.train.corpus import Corpus
from clear_hug.train.loop import keep_memory, parameter_groups
from clear_hug.train.prepare import prepare
from clear_hug.train.pretrain import Rebuilding
from clear_hug.train.reading import Batch, batches, read_batch, workers_beside

HIDDEN = 0.8
BEATS = 11
SWEEP = {"small": (32, 128, 512, 2048), "base": (32, 128, 512, 2048)}
COMPILED = {"small": (512, 2048), "base": (512, 2048, 4096)}
READ = 512  # records a batch where reading is timed
PUBLISHED = {"H100": 989, "H200": 989}  # TFLOP/s, dense bf16, of the cards that are neither PCIe nor NVL


def records(batch: int, beats: int) -> Beats:
    """The same simulated record `batch` times, with as many beats as asked for in its 10 s."""
    ecg = ch.simulate_ecg("normal", heart_rate=66.0)
    one = collate(split_windows(ch.tokenize_beats(ecg)))
    take = torch.arange(beats) % one.there.shape[2]
    seconds = torch.linspace(0.3, 9.7, beats)[None]
    made = Beats(one.values[:, :, take], one.there[:, :, take], seconds, one.inside[:, take], one.units_known)
    return Beats(**{
        name: getattr(made, name).expand(batch, *getattr(made, name).shape[1:]).contiguous()
        for name in Beats.__dataclass_fields__
    })  # fmt: skip


def products(c: CLEARConfig, beats: int) -> list[tuple[int, int, int, int]]:
    """(how many, rows, inputs, outputs) of the layers' products in one record's pass forward."""
    shown = round((1 - HIDDEN) * N_LEADS * beats)
    encoded, hidden = N_LEADS + shown, N_LEADS * beats - shown
    out = [(1, shown, c.token_samples, c.width), (1, encoded, c.width, c.decoder_width)]
    # a hidden token is asked by itself alone
    for depth, n, asked, last, width, feed in (
        (c.depth, encoded, encoded, encoded, c.width, c.feed_forward),
        (c.decoder_depth, hidden + encoded, encoded + 1, hidden, c.decoder_width, c.decoder_feed_forward),
    ):
        out += [(depth, n, width, 2 * width)]  # keys and values
        for times, rows in ((depth - 1, n), (1, last)):  # who asks and goes on in the last layer is fewer
            # queries and the map of what is found, the feed-forward part both ways, scores and their mean
            out += [
                (2 * times, rows, width, width),
                (2 * times, rows, width, feed),
                (2 * times, rows, asked, width),
            ]
    ends = [(1, hidden, c.token_samples + 1, c.decoder_width), (1, hidden, c.decoder_width, c.token_samples)]
    return [*out, *ends]


def step_gflop(c: CLEARConfig, beats: int) -> float:
    """Of one record: a pass forward, and twice that for the gradients."""
    return 3 * 2 * sum(k * rows * a * b for k, rows, a, b in products(c, beats)) / 1e9


def stepping(
    preset: str, device: torch.device, compiled: bool = False
) -> Callable[[Beats, torch.Tensor, torch.Tensor], None]:
    """(beats, hidden, told) -> a step of a new model."""
    torch.manual_seed(0)
    clear = CLEAR(PRESETS[preset]).to(device)
    if compiled:
        for module in clear.modules():
            if isinstance(module, Block):
                module.compile(dynamic=True)
    optimizer = torch.optim.AdamW(parameter_groups(clear, 0.05), lr=1e-4, fused=True)

    def step(data: Beats, hidden: torch.Tensor, told: torch.Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device)):
            loss = masked_loss(clear, data, hidden, told)["loss"]
        loss.backward()
        norm = nn.utils.clip_grad_norm_(clear.parameters(), 3.0)
        torch.stack([loss.detach(), norm]).tolist()  # as the loop looks at them
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds_a_step(
    preset: str, batch: int, beats: int, device: torch.device, repeats: int = 5, compiled: bool = False
) -> float:
    step = stepping(preset, device, compiled)
    data = records(batch, beats)
    hidden, told = masks().draw(data.there, torch.arange(batch), 0)
    data, hidden, told = data.to(device), hidden.to(device), told.to(device)
    return timed(lambda: step(data, hidden, told), device, repeats)


def masks() -> MaskedCLEAR:
    """Draws what is hidden."""
    return MaskedCLEAR(CLEAR(PRESETS["tiny"]), HIDDEN, whole_lead=0.0, whole_beat=0.0)


def timed(work, device: torch.device, repeats: int) -> float:
    times = []
    for _ in range(2 + repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def plain_rate(preset: str, batch: int, device: torch.device) -> float:
    """GFLOP/s of the layers' products alone, at the sizes of a batch, each at its share of the work."""
    dtype = torch.bfloat16 if computes_bf16(device) else torch.float32
    done, taken = 0.0, 0.0
    for k, rows, a, b in products(PRESETS[preset], BEATS):
        x = torch.randn(batch * rows, a, dtype=dtype, device=device)
        y = torch.randn(a, b, dtype=dtype, device=device)
        done += k * 2 * batch * rows * a * b / 1e9
        taken += k * timed(lambda x=x, y=y: x @ y, device, 5)
    return done / taken


def base_step(device: torch.device, batch: int) -> None:
    rate = batch / seconds_a_step("base", batch, BEATS, device)
    done = rate * step_gflop(PRESETS["base"], BEATS)
    plain = plain_rate("base", batch, device)
    print(
        f"base preset, {100 * HIDDEN:.0f} % hidden, {BEATS} beats, batch {batch}: {rate:.1f} ECG/s, "
        f"{done:.0f} GFLOP/s; its products alone: {plain:.0f} GFLOP/s, so {100 * done / plain:.0f} % of it"
    )


def growth(device: torch.device) -> None:
    first = seconds_a_step("small", 8, BEATS, device)
    for what, sizes in (
        ("8, 16, 32 records a step", ((16, BEATS), (32, BEATS))),
        (f"{BEATS}, {2 * BEATS}, {4 * BEATS} beats", ((8, 2 * BEATS), (8, 4 * BEATS))),
    ):
        more = " and ".join(f"{seconds_a_step('small', *size, device) / first:.2f}" for size in sizes)
        print(f"small preset, {what}: 1, {more} times the time")


def plain_peak(device: torch.device, n: int = 8192) -> float:
    """TFLOP/s of a large bf16 product."""
    a = torch.randn(n, n, dtype=torch.bfloat16, device=device)
    return 2 * n**3 / timed(lambda: a @ a, device, 10) / 1e12


def gpu(device: torch.device) -> None:
    """The GPU's part; the peak is what a large plain product reaches."""
    peak = plain_peak(device)
    card = torch.cuda.get_device_name(device)
    published = next(
        (rate for name, rate in PUBLISHED.items() if name in card and not re.search("PCIe|NVL", card)), None
    )
    print(f"{card}: a plain bf16 product of 8192 x 8192 reaches {peak:.0f} TFLOP/s", flush=True)

    def told(preset: str, batch: int, compiled: bool) -> float:
        """ECG/s, said; 0 where it cannot be done."""
        what = f"{preset}, batch {batch}{', compiled' if compiled else ''}"
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        try:
            rate = batch / seconds_a_step(preset, batch, BEATS, device, compiled=compiled)
        except RuntimeError as error:
            full = re.search(r"out of memory|ALLOC_FAILED", str(error))
            print(f"{what}: {'out of memory' if full else str(error)[:300]}", flush=True)
            rate = 0.0
        gc.collect()  # a frame of what failed may hold memory
        if rate:
            done = rate * step_gflop(PRESETS[preset], BEATS) / 1e3
            share = f"{100 * done / peak:.1f} % of the plain product"
            if published:
                share += f", {100 * done / published:.1f} % of the published {published} TFLOP/s"
            memory = torch.cuda.max_memory_allocated() / 2**30
            taken = time.perf_counter() - started
            print(
                f"{what}: {rate:.0f} ECG/s, {done:.1f} TFLOP/s, {share}, {memory:.1f} GiB "
                f"({taken:.0f} s for this line)",
                flush=True,
            )
        return rate

    fastest = {
        preset: max(
            told(preset, batch, compiled)
            for compiled, sizes in ((False, SWEEP), (True, COMPILED))
            for batch in sizes[preset]
        )
        for preset in SWEEP
    }
    with tempfile.TemporaryDirectory() as made:
        data = Corpus(some_corpus(Path(made)))
        read_ahead(data, device, fastest)
        fed(data, device)


def some_corpus(made: Path) -> Path:
    """The corpus at hand, or one of simulated records in the folder `made`."""
    if Path("corpus").is_dir():
        return Path("corpus")
    from tests.simulated_ptbxl import write_folder  # writes WFDB, which else nothing here needs

    prepare([write_folder(made / "source" / "ptbxl")], made / "corpus", workers=1)
    return made / "corpus"


def reading(data: Corpus, device: torch.device, n: int, workers: int | None = None) -> Iterator[list[Batch]]:
    """`n` batches with their masks, records again and again."""
    rows = np.resize(np.random.default_rng(0).permutation(len(data)), n * READ)
    if workers is None:
        workers = workers_beside(None, device, READ)
    objective = Rebuilding(masks(), in_mv=False)
    return batches(data, lambda _: rows, READ, 0, [0], objective=objective, workers=workers)


def read_ahead(data: Corpus, device: torch.device, fastest: dict[str, float]) -> None:
    """ECG/s by processes and by a thread, from the first batch to the last, up to memory of the device."""
    many = workers_beside(None, device, READ)
    for workers, n in ((many, 160), (0, 16)) if many else ((0, 16),):
        what = f"{workers} processes" if workers else "a thread"
        todo = reading(data, device, n, workers)
        next(todo)
        start, seen = time.perf_counter(), 0
        for parts in todo:
            parts[0].to(device)
            seen += len(parts[0].rows)
        torch.cuda.synchronize()
        rate = seen / (time.perf_counter() - start)
        ratios = ", ".join(f"{rate / step:.2f} times {name}'s" for name, step in fastest.items() if step)
        print(f"reading ahead, {what}, batch {READ}: {rate:.0f} ECG/s; {ratios} fastest steps", flush=True)


def fed(data: Corpus, device: torch.device, steps: int = 200, most: float = 8.0) -> None:
    """Steps of the small preset on what is read ahead, and on batches that lie on the device already."""
    step = stepping("small", device)

    def rate(todo: Iterator[Batch]) -> float:
        """ECG/s over `steps`, or as many as `most` seconds hold."""
        for part in islice(todo, 8):  # each shape that is held once: something is compiled for some
            step(part.beats, part.drawn["hidden"], part.drawn["told"])
        start, seen = time.perf_counter(), 0
        for part in islice(todo, steps):
            step(part.beats, part.drawn["hidden"], part.drawn["told"])
            seen += len(part.rows)
            if time.perf_counter() - start > most:
                break
        torch.cuda.synchronize()
        return seen / (time.perf_counter() - start)

    held = [parts[0].to(device) for parts in reading(data, device, 8)]
    alone = rate(cycle(held))
    with_reading = rate(parts[0].to(device) for parts in reading(data, device, steps + 8))
    print(
        f"small, batch {READ}, records of the corpus: {alone:.0f} ECG/s on batches held, {with_reading:.0f} "
        "read ahead",
        flush=True,
    )


def read_alone(corpus: Path = Path("corpus"), batch: int = 64) -> None:
    """ECG/s that a core reads."""
    if not corpus.is_dir():
        print(f"reading: no corpus at {corpus}")
        return
    data = Corpus(corpus)
    rows = np.random.default_rng(0).permutation(len(data))[: 8 * batch]
    start = time.process_time()
    for part in np.split(rows, range(batch, len(rows), batch)):
        read_batch(data, part)
    print(f"reading: {len(rows) / (time.process_time() - start):.0f} ECG/s a core", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    keep_memory()
    where = pick_device()
    dtype = "bf16" if computes_bf16(where) else "fp32"
    print(f"{torch.get_num_threads()} threads, {where}, {dtype}")
    read_alone()
    if where.type == "cuda":
        gpu(where)
    else:
        base_step(where, 16)
        growth(where)
