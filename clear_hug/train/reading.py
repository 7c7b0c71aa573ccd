"""What a training reads: records in shuffled batches, each process its share, read ahead of the steps."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from clear_hug.batch import Beats
from clear_hug.diagnosis import pick_device
from clear_hug.train.corpus import Corpus
from clear_hug.train.settings import RunError

WORKERS = 10  # at most; more get in the way of the one that hands on what they read
AHEAD = 4  # batches that each of them reads ahead
SHARED = Path("/dev/shm")  # where they lay down what they read; on Linux alone
ALIGNED = 64  # bytes
RECORD_BYTES = 2**16  # there; more than all but the fastest hearts take


@dataclass(frozen=True, eq=False)
class Batch:
    """The records of a batch, or one part of them.

    beats : of the records
    rows : (batch,) their numbers in the corpus
    epoch : the pass over the records
    part : (which, of how many) parts of the batch; the parts take its records in turn
    share : of the batch's records that are here
    drawn : what `Objective.draw` made of it
    """

    beats: Beats
    rows: NDArray[np.int64]
    epoch: int = 0
    part: tuple[int, int] = (0, 1)
    share: float = 1.0
    drawn: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """On the device, its values in fp32, which until there take half of the way."""
        there = self.of([x.to(device, non_blocking=True) for x in self.tensors()])
        return replace(there, beats=replace(there.beats, values=there.beats.values.float()))

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [*(getattr(self.beats, name) for name in Beats.__dataclass_fields__), *self.drawn.values()]

    def of(self, tensors: Sequence[Tensor]) -> Batch:
        """The same, of other tensors, in the order of `tensors`."""
        n = len(Beats.__dataclass_fields__)
        drawn = dict(zip(self.drawn, tensors[n:], strict=True))
        return replace(self, beats=Beats(*tensors[:n]), drawn=drawn)


@dataclass(frozen=True, eq=False)
class _Laid:
    """Parts of a batch with their tensors one after another in one memory: one to share, and one to pin.

    A process that hands on many tensors a batch has little time left for anything else.
    """

    parts: list[Batch]  # their tensors on no device: dtypes and shapes alone
    memory: Tensor

    @classmethod
    def down(cls, parts: list[Batch]) -> _Laid:
        tensors = [x for part in parts for x in part.tensors()]
        starts = _starts(tensors)
        memory = torch.empty(starts[-1], dtype=torch.uint8).share_memory_()
        for x, start in zip(tensors, starts, strict=False):
            _view(memory, start, x).copy_(x)
        return cls([part.of([x.to("meta") for x in part.tensors()]) for part in parts], memory)

    def pin_memory(self) -> _Laid:
        """In memory that a GPU copies from by itself."""
        return replace(self, memory=self.memory.pin_memory())

    def up(self) -> list[Batch]:
        begin = iter(_starts([x for part in self.parts for x in part.tensors()]))
        return [part.of([_view(self.memory, next(begin), x) for x in part.tensors()]) for part in self.parts]


def _starts(tensors: list[Tensor]) -> list[int]:
    """Where each begins when they stand one after another, and where the last ends; bytes."""
    return [0, *accumulate(-(-x.nbytes // ALIGNED) * ALIGNED for x in tensors)]


def _view(memory: Tensor, start: int, like: Tensor) -> Tensor:
    return memory[start : start + like.nbytes].view(like.dtype).view(like.shape)


class Drawing(Protocol):
    """What draws ahead of a step, as `loop.Objective`."""

    def draw(self, batch: Batch) -> dict[str, Tensor]: ...


def read_batch(corpus: Corpus, rows: NDArray[np.int64], epoch: int = 0) -> Batch:
    """One window of each record, padded to the longest."""
    return Batch(corpus.beats(rows, epoch), rows, epoch)


class _Reading(Dataset[list[Batch] | Exception]):
    """Parts of a batch by (epoch, its records); an exception where they cannot be read."""

    def __init__(
        self, corpus: Corpus, share: tuple[int, int], pieces: int, objective: Drawing | None
    ) -> None:
        self.corpus, self.share, self.pieces, self.objective = corpus, share, pieces, objective

    def __getitem__(self, what: tuple[int, NDArray[np.int64]]) -> list[Batch] | Exception:
        epoch, cut = what
        process, processes = self.share
        n = processes * self.pieces
        parts = []
        try:
            for which in range(process, n, processes):
                mine = cut[which::n]
                read = read_batch(self.corpus, mine, epoch)
                part = replace(read, part=(which, n), share=len(mine) / len(cut))
                drawn = self.objective.draw(part) if self.objective else {}
                parts.append(replace(part, drawn=drawn))
        except Exception as error:  # torch would hand it over as another, its traceback in the message
            return error if get_worker_info() is None else _that_travels(error)
        return parts


def batches(
    corpus: Corpus,
    rows_of: Callable[[int], NDArray[np.int64]],
    size: int,
    seed: int,
    epochs: Iterable[int],
    share: tuple[int, int] = (0, 1),
    pieces: int = 1,
    start: int = 0,
    objective: Drawing | None = None,
    workers: int = 0,
) -> Generator[list[Batch], None, None]:
    """Shuffled batches of about equal beat counts, one epoch after another, read ahead.

    Records are shuffled by (seed, epoch), sorted by beats within stretches of eight batches, cut,
    and the batches shuffled: padding is small and the order still random.

    Parameters
    ----------
    rows_of : (epoch) -> the records that are read in it
    size : records of a batch at most; all batches of an epoch are of one size, or one less
    share : (process, processes); each process takes its own share of every batch
    pieces : parts that it takes it in
    start : batches to leave out at the beginning
    objective : draws for each part
    workers : processes that read `AHEAD` batches each ahead; 0: a thread that reads one. The same is read

    Yields
    ------
    parts : this process's share of a batch

    """
    reading = _Reading(corpus, share, pieces, objective)
    every = ((epoch, cut) for epoch in epochs for cut in _cuts(corpus, rows_of(epoch), size, seed, epoch))
    todo = islice(every, start, None)
    for parts in _by_processes(reading, todo, workers) if workers else _by_a_thread(reading, todo):
        if isinstance(parts, Exception):
            raise parts
        yield parts


def _cuts(
    corpus: Corpus, rows: NDArray[np.int64], size: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """The records of each batch of an epoch."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(rows)
    stretch = 8 * size
    stretches = [order[i : i + stretch] for i in range(0, len(order), stretch)]
    order = np.concatenate([one[np.argsort(corpus.n_beats[one], kind="stable")] for one in stretches])
    cuts = np.array_split(order, count_batches(len(order), size))
    for i in rng.permutation(len(cuts)):
        yield cuts[i]


def _by_a_thread(
    reading: _Reading, todo: Iterable[tuple[int, NDArray[np.int64]]]
) -> Iterator[list[Batch] | Exception]:
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for what in todo:
            now, ahead = ahead, pool.submit(reading.__getitem__, what)
            if now is not None:
                yield now.result()
        if ahead is not None:
            yield ahead.result()


def _by_processes(
    reading: _Reading, what: Iterable[tuple[int, NDArray[np.int64]]], workers: int
) -> Iterator[list[Batch] | Exception]:
    """Forked, so that they begin at once; none of them touches a GPU, which would not survive the fork."""
    todo = DataLoader(
        reading,
        batch_size=None,
        sampler=what,
        num_workers=workers,
        collate_fn=_laid_down,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
        pin_memory=pick_device().type != "cpu",
        generator=torch.Generator(),  # or it would draw from the one that dropout draws from
    )
    for laid in todo:
        yield laid.up() if isinstance(laid, _Laid) else laid


def _that_travels(error: Exception) -> Exception:
    """The error with its traceback as a note; one that no process can hand to another as a plain one."""
    where = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(where)
    return error


def _laid_down(parts: list[Batch] | Exception) -> _Laid | Exception:
    return parts if isinstance(parts, Exception) else _Laid.down(parts)


def cores() -> int:
    """As many as this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not everywhere
        return os.cpu_count() or 1


def workers_beside(asked: int | None, device: torch.device, batch_size: int) -> int:
    """Processes to read ahead of one that trains on `device`; see `EngineConfig.workers`."""
    if asked is not None:
        if asked and not SHARED.is_dir():
            raise RunError(f"engine.workers = {asked}; on this system a thread alone reads ahead: 0.")
        return asked
    if device.type == "cpu" or not SHARED.is_dir():
        return 0
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # on this machine, as torchrun tells
    free = cores() // beside - 1
    mine = math.ceil(batch_size / int(os.environ.get("WORLD_SIZE", 1)))
    room = shutil.disk_usage(SHARED).free // beside // (AHEAD * mine * RECORD_BYTES)
    return max(0, min(WORKERS, free, room))


def count_batches(n: int, size: int) -> int:
    return math.ceil(n / size)
