"""How many normal ECGs `norms.assess` flags: `python -m benchmarks.flags`.

Of PTB-XL's records at 500 Hz that are labelled NORM, of adults of known age and sex: the share with any flag,
with three or more, and by quantity (any of the four QTc, any lead). What flags many of them is no limit.
"""

from __future__ import annotations

import argparse
import ast
import os
from collections import Counter
from pathlib import Path

import pandas as pd

from clear_hug.io import read_ecg
from clear_hug.measure import measure
from clear_hug.norms import ADULT, assess

OLDEST = 89.0  # years; PTB-XL writes 300 for all who are older
SEXES = {0: "M", 1: "F"}


def flags(folder: Path) -> list[set[str]]:
    """By record, what is flagged and on which side: "qtc low"."""
    table = pd.read_csv(folder / "ptbxl_database.csv")
    out = []
    for row in table[table.age.between(ADULT, OLDEST) & table.sex.isin(SEXES)].itertuples():
        if "NORM" in ast.literal_eval(row.scp_codes):
            found = measure(read_ecg(folder / f"{row.filename_hr}.hea"))
            rows = assess(found, row.age, SEXES[row.sex])
            out.append({f"{r.key} {r.flag}" for r in rows if r.flag in ("low", "high")})
    return out


def quantity(flag: str) -> str:
    """ "st_j V2 high" -> "st_j high", "qtc_bazett low" -> "qtc low"."""
    key, side = flag.split()[0], flag.split()[-1]
    return f"{'qtc' if key.startswith('qtc') else key} {side}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("CLEAR_HUG_DATA"), help="holds ptbxl/")
    asked = parser.parse_args()
    if asked.data is None:
        parser.error("name the folder that holds ptbxl/ with --data or CLEAR_HUG_DATA")
    found = flags(Path(asked.data) / "ptbxl")
    n = len(found)
    print(f"{n} normal ECGs: {sum(map(bool, found)) / n:.1%} with a flag, ", end="")
    print(f"{sum(len(of) >= 3 for of in found) / n:.1%} with three or more")
    for name, count in Counter(q for of in found for q in {quantity(flag) for flag in of}).most_common():
        print(f"{count / n:6.1%} {name}")


if __name__ == "__main__":
    main()
