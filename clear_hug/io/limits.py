"""How much is read at once: every limit in one place, each with the sentence that it is refused in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A bound.

    most : what is still read
    words : the sentence, with {name} (of the file), {found} and {most}
    """

    most: int
    words: str

    def exceeded(self, found: float, name: str) -> str:
        """The sentence that refuses `found`, or "" where it is within the limit."""
        if found <= self.most:
            return ""
        return self.words.format(name=name, found=f"{found:,.0f}", most=f"{self.most:,}")


_IN_PARTS = " From a folder, a WFDB, EDF, BDF or ISHNE record opens in parts (clear_hug.io.open_ecg)."
LIMITS: dict[str, Limit] = {
    "bytes": Limit(250_000_000, "{name} is larger than the {most} bytes that are read at once." + _IN_PARTS),
    # A tree of XML takes ten times its text, a table of text four times.
    "text": Limit(64_000_000, "{name} is larger than the {most} bytes of text that are read at once."),
    # An hour of twelve leads at 1000 Hz is 43 million values.
    "values": Limit(60_000_000, "{name} claims {found} values; at most {most} are read at once." + _IN_PARTS),
    "hours": Limit(1000, "{name} claims to last {found} hours; at most {most} are opened."),
    "leads": Limit(256, "{name} claims {found} channels; at most {most} are read."),
    "segments": Limit(10_000, "{name} joins {found} segments; at most {most} are read."),
    "files": Limit(500, "{name} holds {found} files; at most {most} are unpacked."),
    "unpacked": Limit(250_000_000, "{name} unpacks to more than {most} bytes."),
}
"""What is limited -> its limit."""

LONGEST_WHOLE = 3600.0  # s; a longer record is opened, and shown a stretch at a time
MIN_SECONDS = 1.0  # shorter than one beat at 60/min is not an ECG to read
MOST_LISTED = 50_000  # records of a folder
APART_SECONDS = 20.0  # for a library that runs in a process of its own
APART_BYTES = 2_000_000_000  # of address space, for the same
SILENT_SECONDS = 10.0  # without a byte from PhysioNet
ONLINE_SECONDS = 60.0  # for all files of a record from PhysioNet
