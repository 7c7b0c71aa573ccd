"""Command line: `python -m clear_hug.train {prepare,pretrain,finetune,baseline,evaluate} --help`."""

from __future__ import annotations

import sys
from typing import Any

from jsonargparse import auto_cli

from clear_hug.checkpoint import CheckpointError
from clear_hug.train.baselines import baseline
from clear_hug.train.corpus import CorpusError, prepare
from clear_hug.train.evaluate import evaluate
from clear_hug.train.finetune import finetune
from clear_hug.train.pretrain import pretrain

COMMANDS: dict[str, Any] = {
    "prepare": prepare,
    "pretrain": pretrain,
    "finetune": finetune,
    "baseline": baseline,
    "evaluate": evaluate,
}


def main() -> None:
    try:
        auto_cli(COMMANDS, as_positional=False)
    except (CorpusError, CheckpointError, FloatingPointError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
