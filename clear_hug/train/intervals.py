"""Intervals as `measure` finds them, which a model learns to read beside its labels.

Few records are labelled with a long PR interval, and every record has one: what tells how long it is stands
in the lead tokens only if something asks for it. Measuring takes longer than an epoch may, so what was found
is kept in the corpus's folder.
"""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from clear_hug.beats import TOKEN_FS
from clear_hug.ecg import ECG
from clear_hug.measure import measure
from clear_hug.train.corpus import DIGESTS, Corpus

USUAL = {"p": (105, 15), "pr": (160, 30), "qrs": (95, 15), "qtc_framingham": (415, 30)}
"""Name of `measure` to ms, about the mean and spread of ordinary records."""
USUAL_RATE, SPREAD_OF_RATE = 70.0, 0.25  # beats/min; of its logarithm
USUAL_SD, SPREAD_OF_SD, LEAST_SD = 0.025, 0.7, 0.005  # of RR, as a share of RR; of its logarithm
FARTHEST = 4.0  # from the usual, in units of the spread
N_INTERVALS = len(USUAL) + 2
KEPT = "intervals.safetensors"


def measured(
    data: Corpus, rows: NDArray[np.int64], accelerator: Accelerator | None = None
) -> NDArray[np.float32]:
    """(record, interval) those of `USUAL`, heart rate and SD of RR, less the usual, in units of the spread.

    NaN where nothing was found. Takes about 10 ms for a record whose intervals the corpus's folder does not
    keep. What is kept is of a digest of a record and of this code, and is measured anew when either changes.
    accelerator : of several processes, which then take these records in turn
    """
    path = data.shards[0].parent / KEPT
    kept = [_kept(path)]
    if accelerator:  # by what one of them read: another run may write it meanwhile
        broadcast_object_list(kept)
    digests, values = kept[0]
    asked = data.digests[rows]
    lacking = rows[np.unique(asked, return_index=True)[1]]
    lacking = lacking[~np.isin(data.digests[lacking], digests)]
    if lacking.size:
        found = np.zeros((len(lacking), N_INTERVALS), dtype=np.float32)
        first, step = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
        found[first::step] = _measured(data, lacking[first::step])
        if accelerator and step > 1:
            found = accelerator.reduce(torch.from_numpy(found).to(accelerator.device), "sum").cpu().numpy()
        digests, values = np.concatenate([digests, data.digests[lacking]]), np.concatenate([values, found])
        order = np.argsort(digests)
        digests, values = digests[order], values[order]
        if first == 0:
            _keep(path, digests, values)
    out: NDArray[np.float32] = values[np.searchsorted(digests, asked)]
    return out


def _measured(data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.full((len(rows), N_INTERVALS), np.nan)
    for k, row in enumerate(tqdm(rows, desc="intervals", unit=" ECG", disable=len(rows) < 100)):
        found = measure(ECG(data.trace(int(row)), TOKEN_FS, str(row)))
        values = [(getattr(found, name) - usual) / spread for name, (usual, spread) in USUAL.items()]
        rate = np.log(found.heart_rate / USUAL_RATE) / SPREAD_OF_RATE
        out[k] = [*values, rate, np.log((found.rr_sd / found.rr + LEAST_SD) / USUAL_SD) / SPREAD_OF_SD]
    return out.clip(-FARTHEST, FARTHEST)


def _kept(path: Path) -> tuple[NDArray[np.bytes_], NDArray[np.float32]]:
    """Digests in order and their values; none where the file is not there, torn, or of other code."""
    with suppress(OSError, SafetensorError), safe_open(path, "numpy") as file:
        if (file.metadata() or {}).get("code") == _code():
            return file.get_tensor("digests").view(DIGESTS)[:, 0], file.get_tensor("values")
    return np.array([], dtype=DIGESTS), np.zeros((0, N_INTERVALS), dtype=np.float32)


def _keep(path: Path, digests: NDArray[np.bytes_], values: NDArray[np.float32]) -> None:
    """Written aside, then moved into place; a folder that may not be written keeps nothing."""
    aside = path.with_name(f".{socket.gethostname()}-{os.getpid()}-{path.name}")
    with suppress(OSError):
        told: dict[str, NDArray[Any]] = {"digests": digests[:, None].view(np.uint8), "values": values}
        aside.write_bytes(save(told, {"code": _code()}))
        os.replace(aside, path)
    with suppress(OSError):
        aside.unlink(missing_ok=True)


@cache
def _code() -> str:
    """sha256 of the modules that could have a part in what is measured."""
    here = Path(__file__)
    rooms = (here.parents[1], here.parents[1] / "measure")
    files = [*(path for room in rooms for path in sorted(room.glob("*.py"))), here]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
