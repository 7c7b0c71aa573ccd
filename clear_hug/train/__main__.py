"""Command line: `python -m clear_hug.train COMMAND --help`, a command being a key of `COMMANDS`.

On several GPUs or machines: `torchrun --nproc_per_node 8 -m -- clear_hug.train pretrain --run R`; the
lone `--` keeps torchrun from taking `--run` for an option of its own.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, auto_cli

from clear_hug.checkpoint import CheckpointError
from clear_hug.train.baselines import baseline
from clear_hug.train.calibration import criteria
from clear_hug.train.corpus import CorpusError
from clear_hug.train.decoder import decoder
from clear_hug.train.evaluate import evaluate
from clear_hug.train.faithfulness import faithfulness
from clear_hug.train.finetune import finetune
from clear_hug.train.operating import operating
from clear_hug.train.predictions import predict
from clear_hug.train.prepare import prepare
from clear_hug.train.pretrain import pretrain
from clear_hug.train.settings import RunError

COMMANDS: dict[str, Any] = {
    "prepare": prepare,
    "pretrain": pretrain,
    "finetune": finetune,
    "criteria": criteria,
    "decoder": decoder,
    "baseline": baseline,
    "evaluate": evaluate,
    "predict": predict,
    "faithfulness": faithfulness,
    "operating": operating,
}
VALUES = (["true"], ["false"])  # of --resume, which may also stand alone


class Parser(ArgumentParser):
    """Says how a list is written where one is asked for: `--sources /data/csn` is no list."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if "<class 'list'>" in message or "<class 'tuple'>" in message:
            message += "\nA list is asked for, of one value too: '[\"/data/csn\"]', '[9, 10]', in quotes."
        super().error(message, ex)


def main() -> None:
    words = sys.argv[1:]
    alone = {i for i, word in enumerate(words) if word == "--resume" and words[i + 1 : i + 2] not in VALUES}
    args = ["--resume=true" if i in alone else word for i, word in enumerate(words)]
    try:
        auto_cli(COMMANDS, as_positional=False, args=args, parser_class=Parser)
    except (CorpusError, CheckpointError, RunError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:  # a run that keeps states says so itself
        again = "the parts so far are kept: run it again" if words[:1] == ["prepare"] else ""
        kept = again or "what was saved before stands"
        sys.exit(f"stopped; {kept}.")


if __name__ == "__main__":
    main()
