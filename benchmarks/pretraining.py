"""Speed of a pre-training step on this machine. `python -m benchmarks.pretraining`.

The whole step: drawing the masks, both passes, clipping, AdamW. 80 % of the tokens are hidden. Beside it
stands a plain matrix product of the same precision over the shapes of the model's own layers, in the same
run, so that a noisy machine shows. Then how the cost grows with records and with beats, and how fast the
corpus is read.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import clear_hug as ch
from clear_hug.batch import Beats
from clear_hug.beats import split_windows
from clear_hug.diagnosis import collate, computes_bf16, pick_device
from clear_hug.leads import N_LEADS
from clear_hug.model import CLEAR, PRESETS, CLEARConfig, MaskedCLEAR
from clear_hug.train.corpus import Corpus
from clear_hug.train.loop import keep_memory, parameter_groups, read_batch

HIDDEN = 0.8
BEATS = 11


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
    encoded, decoded = N_LEADS + shown, N_LEADS * (1 + beats)
    out = [(1, shown, c.token_samples, c.width), (1, encoded, c.width, c.decoder_width)]
    for depth, n, width, feed in (
        (c.depth, encoded, c.width, c.feed_forward),
        (c.decoder_depth, decoded, c.decoder_width, c.decoder_feed_forward),
    ):
        out += [(depth, n, width, 3 * width), (depth, n, width, width), (2 * depth, n, width, feed)]
        out += [(2 * depth, n, n, width)]  # scores and their mean
    return [*out, (1, decoded, c.decoder_width, c.token_samples)]


def step_gflop(c: CLEARConfig, beats: int) -> float:
    """Of one record: a pass forward, and twice that for the gradients."""
    return 3 * 2 * sum(k * rows * a * b for k, rows, a, b in products(c, beats)) / 1e9


def seconds_a_step(preset: str, batch: int, beats: int, device: torch.device, repeats: int = 5) -> float:
    torch.manual_seed(0)
    clear = CLEAR(PRESETS[preset]).to(device)
    masks = MaskedCLEAR(clear, HIDDEN, whole_lead=0.0, whole_beat=0.0)
    optimizer = torch.optim.AdamW(parameter_groups(clear, 0.05), lr=1e-4, fused=True)
    data, rows = records(batch, beats).to(device), torch.arange(batch)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device)):
            loss = masks(data, rows, 0)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(clear.parameters(), 3.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(step, device, repeats)


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


def gpu(device: torch.device) -> None:
    """ECG/s, share of the peak and memory by batch; the peak is what a large plain product reaches."""
    a = torch.randn(8192, 8192, dtype=torch.bfloat16, device=device)
    peak = 2 * 8192**3 / timed(lambda: a @ a, device, 10) / 1e12
    for preset in ("small", "base"):
        for batch in (32, 128, 512):
            torch.cuda.reset_peak_memory_stats()
            rate = batch / seconds_a_step(preset, batch, BEATS, device)
            share = rate * step_gflop(PRESETS[preset], BEATS) / 1e3 / peak
            memory = torch.cuda.max_memory_allocated() / 2**30
            print(
                f"{preset}, batch {batch}: {rate:.0f} ECG/s, {100 * share:.0f} % of a plain bf16 product's "
                f"{peak:.0f} TFLOP/s, {memory:.1f} GiB"
            )


def loader(corpus: Path = Path("corpus"), batch: int = 64) -> None:
    if not corpus.is_dir():
        print(f"reading: no corpus at {corpus}")
        return
    data = Corpus(corpus)
    rows = np.random.default_rng(0).permutation(len(data))[: 8 * batch]
    start = time.process_time()
    for part in np.split(rows, range(batch, len(rows), batch)):
        read_batch(data, part)
    print(f"reading: {len(rows) / (time.process_time() - start):.0f} ECG/s a core")


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    keep_memory()
    where = pick_device()
    dtype = "bf16" if computes_bf16(where) else "fp32"
    print(f"{torch.get_num_threads()} threads, {where}, {dtype}")
    loader()
    if where.type == "cuda":
        gpu(where)
    else:
        base_step(where, 16)
    growth(where)
