"""predict: what a checkpoint says of every record of a corpus, as a table and arrays for other tools."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from clear_hug.beats import split_windows
from clear_hug.checkpoint import Checkpoint, load_checkpoint
from clear_hug.cohort import embeddings
from clear_hug.diagnosis import collate, pick_device, probabilities
from clear_hug.train.corpus import Corpus, CorpusError

BATCH = 64
TOLD = ("record", "fold", "patient", "age", "sex", "vocabulary", "statements")


def predict(
    out: Path,
    checkpoint: str = "small",
    corpus: Path = Path("corpus"),
    folds: tuple[int, ...] = (),
    data_sets: tuple[str, ...] = (),
    lead_tokens: bool = False,
) -> None:
    """Write what a checkpoint says of the records of a corpus, a row a record and in the same order.

    <out>/probabilities.csv holds what is known of each record and its calibrated probabilities, logits.npy
    (record, label), embeddings.npy (record, width), and about.json the labels, thresholds and checkpoint.

    Args:
        out: folder, which must not be there yet
        checkpoint: a shipped one's name, or a folder
        corpus: folder of prepared shards
        folds: of these alone; all records, also those without a fold, when not given
        data_sets: of these alone, by the name before the / of their records; all when not given
        lead_tokens: keep lead_tokens.npy (record, 12, width), too; NaN where a lead is absent
    """
    opened, data = load_checkpoint(checkpoint), Corpus(corpus)
    rows = np.flatnonzero(data.of_sets(data_sets) & (np.isin(data.fold, folds) if folds else True))
    if not rows.size:
        raise CorpusError(f"{corpus} holds no record of folds {list(folds)} of these data sets.")
    if Path(out).exists():
        raise CorpusError(f"{out} is there already; name another folder.")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{Path(out).name}-", dir=Path(out).parent))
    try:
        _write(aside, opened, data, rows, lead_tokens)
        aside.chmod(0o755)
        aside.replace(out)
    finally:  # stopped, or a disk that is full: the same command may be given again
        shutil.rmtree(aside, ignore_errors=True)
    print(f"{rows.size} records, {len(opened.targets)} labels -> {out}")


def _write(
    folder: Path, opened: Checkpoint, data: Corpus, rows: NDArray[np.int64], lead_tokens: bool
) -> None:
    model = opened.model.eval().to(pick_device())
    device = next(model.parameters()).device
    width = model.hug.width

    def array(name: str, *shape: int) -> NDArray[np.float32]:
        return np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(rows.size, *shape)
        )

    logits, places = array("logits", len(opened.targets)), array("embeddings", width)
    tokens = array("lead_tokens", 12, width) if lead_tokens else None
    with (folder / "probabilities.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*TOLD, *opened.targets])
        for i in tqdm(range(0, rows.size, BATCH), unit=f" x {BATCH} ECG", disable=None):
            some = slice(i, min(i + BATCH, rows.size))
            windows = [split_windows(data.tokens(int(row))) for row in rows[some]]
            ends = np.cumsum([len(one) for one in windows])[:-1]
            with torch.inference_mode():
                encoded = model.encode(collate([w for one in windows for w in one]).to(device))
                said = model.hug(encoded.lead_tokens, encoded.lead_there).float().cpu().numpy()
                embedded = embeddings(model, encoded).float().cpu().numpy()
                leads = torch.where(encoded.lead_there[..., None], encoded.lead_tokens.float(), torch.nan)
            logits[some] = _means(said, ends)
            places[some] = _means(embedded, ends)
            if tokens is not None:
                tokens[some] = _means(leads[..., :width].cpu().numpy(), ends)
            p = probabilities(opened, logits[some])
            for row, mine in zip(rows[some], p, strict=True):
                told = {**data.records[int(row)], "fold": int(data.fold[row])}
                writer.writerow([*(told[key] for key in TOLD), *(f"{value:.6g}" for value in mine)])
    about = {
        "checkpoint": opened.name,
        "digest": opened.digest,
        "data": data.digest,
        "targets": opened.targets,
        "thresholds": [None if np.isnan(t) else float(t) for t in opened.thresholds],
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


def _means(values: NDArray[np.float32], ends: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean over each record's windows."""
    return np.array([part.mean(axis=0) for part in np.split(values, ends)])
