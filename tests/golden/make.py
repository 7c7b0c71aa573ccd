"""Write the golden numbers anew: `python -m tests.golden.make`, after a checkpoint was changed on purpose."""

import json
from pathlib import Path

from pydicom.data import get_testdata_file

import clear_hug as ch


def main() -> None:
    checkpoint = ch.load_checkpoint()
    tokens = ch.tokenize_beats(ch.read_ecg(get_testdata_file("waveform_ecg.dcm", download=False)))
    numbers = {
        "checkpoint": checkpoint.digest,
        "r_peaks": tokens.r_peaks.tolist(),
        "logits": ch.diagnose(checkpoint, tokens).logits.tolist(),
        "contributions": ch.explain(checkpoint, tokens, "superdiagnostic/NORM").values.tolist(),
    }
    Path(__file__).with_name("waveform_ecg.json").write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
