"""Files in, one standard value out: mV, Hz, twelve named leads.

Who reads what: WFDB by wfdb (`physionet`), GE's XML besides MUSE's (`cardiosoft`) and Schiller's (`schiller`)
here, both by way of `markup`, tables of numbers as text (`tables`) and arrays (`arrays`) here, all other
formats by ecgdatakit (`kit`). What numbers alone do not say is guessed in `facts`. Libraries in C that a
crafted file can crash run in a process of their own (`apart`). Units are converted in one place
(`standard`), which also says what looks wrong; what is refused for its size stands in `limits`. `write` is
the way back. PhysioNet's records come by name (`online`); files on their way lie in a `private` folder.
Records of hours are opened, and read a stretch at a time (`long`).

What names a patient (name, id, birth date, place) is never taken over: `record_id` is the file's stem,
and an upload has none. Odd things are said in `ECG.warnings`, not mended in silence.
"""

from clear_hug.io.limits import LIMITS, Limit
from clear_hug.io.long import LongRecord, held, open_ecg
from clear_hug.io.online import read_physionet
from clear_hug.io.open import EXTENSIONS, READERS, find_records, read_ecg, read_ecg_upload
from clear_hug.io.private import remove_left_folders
from clear_hug.io.recording import (
    Asked,
    NeedsAnswer,
    NoSample,
    Reader,
    without_calls,
    without_doubted_voltage,
)
from clear_hug.io.standard import cure
from clear_hug.io.write import WRITERS

__all__ = [
    "Asked", "EXTENSIONS", "LIMITS", "READERS", "WRITERS", "Limit", "LongRecord", "NeedsAnswer", "NoSample",
    "Reader", "cure", "find_records", "held", "open_ecg", "read_ecg", "read_ecg_upload",
    "read_physionet", "remove_left_folders", "without_calls", "without_doubted_voltage",
]  # fmt: skip
