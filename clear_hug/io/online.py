"""A record of PhysioNet by its name: its files are fetched into a private folder, and read as local ones are.

wfdb names the server (`wfdb.io.download.set_db_index_url`) and reads the files. It could fetch them too, but
waits without end, and goes wherever a header's file names lead.
"""

from __future__ import annotations

import posixpath
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from clear_hug.ecg import ECG, ECGError
from clear_hug.io.limits import LIMITS, ONLINE_SECONDS, SILENT_SECONDS
from clear_hug.io.open import read_ecg
from clear_hug.io.physionet import header_of, segment_rows, signals_of
from clear_hug.io.private import private_folder
from clear_hug.io.recording import within

_PART = r"[A-Za-z0-9_](?:\.?[A-Za-z0-9_+-]){0,80}"  # begins with no dot, and holds no two in a row
_RECORD = re.compile(rf"([a-z0-9][a-z0-9-]{{0,60}})((?:/{_PART}){{1,8}})", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?", re.ASCII)
_STATED = re.compile(r"Version:\s*(\d+\.\d+(?:\.\d+)?)", re.ASCII)
MOST_TEXT = 1_000_000  # bytes of a header, or of a page
MOST_REDIRECTS = 4


def read_physionet(name: str) -> ECG:
    """Read "database/record" from PhysioNet: its header first, and its samples if they are within limits.

    Parameters
    ----------
    name : as PhysioNet writes it, such as "mitdb/100", "ptb-xl/records500/00000/00001_hr", or with the
        version behind the database

    Raises
    ------
    ECGError : a name of another form, no such record, no answer, or files that cannot be read
    """
    import requests
    import urllib3

    match = _RECORD.fullmatch(name)
    if match is None:
        raise ECGError(
            "This is no name of a record on PhysioNet; expected database/record, such as mitdb/100 or "
            "ptb-xl/1.0.3/records500/00000/00001_hr."
        )
    database, (*folders, record) = match[1], match[2].removesuffix(".hea").split("/")[1:]
    try:
        with requests.Session() as session, private_folder() as folder:
            session.headers["Accept-Encoding"] = "identity"  # so that sizes are those of the files
            session.auth = lambda request: request  # nobody's sign-in, which a .netrc may hold
            fetch = _Fetch(session, name)
            if not (folders and _VERSION.fullmatch(folders[0])):
                folders = [fetch.version(database), *folders]
            from wfdb.io import download

            base = posixpath.join(download.config.db_index_url, database, *folders) + "/"
            _fetch_record(fetch, base, record, folder)
            return read_ecg(folder / f"{record}.hea")
    except ECGError:
        raise
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise ECGError(f"PhysioNet did not answer within {SILENT_SECONDS:g} s; try again later.") from None
    except requests.ConnectionError:
        raise ECGError(
            f"PhysioNet cannot be reached for {name}: this machine seems to be offline. Fetch its files "
            "(.hea and .dat) elsewhere, and open them here."
        ) from None
    except urllib3.exceptions.ProtocolError:
        raise ECGError(f"PhysioNet broke off while it sent {name}; try again.") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise ECGError(f"PhysioNet's answer for {name} cannot be read ({type(error).__name__}).") from None


def _fetch_record(fetch: _Fetch, base: str, record: str, folder: Path) -> None:
    """Header and samples of a record, or of the segments that it joins."""
    fetch(f"{base}{record}.hea", folder / f"{record}.hea", MOST_TEXT)
    head = header_of(folder / f"{record}.hea")
    if head.joins:
        segments = segment_rows(head)
        within("values", sum(length for _, length in segments) * head.n_signals, head.path.name)
        names = dict.fromkeys(name for name, length in segments if length and name != "~")
        for name in names:
            _refuse_elsewhere(name, head.path.name)
            fetch(f"{base}{name}.hea", folder / f"{name}.hea", MOST_TEXT)
            part = header_of(folder / f"{name}.hea")
            if part.joins:
                return  # the reader says that this is not read
            _fetch_samples(fetch, base, part, folder)
    else:
        _fetch_samples(fetch, base, head, folder)


def _fetch_samples(fetch: _Fetch, base: str, head: Any, folder: Path) -> None:
    rows = signals_of(head)
    within("values", head.n * head.n_signals, head.path.name)
    for file in dict.fromkeys(row[0] for row in rows):
        _refuse_elsewhere(file, head.path.name)
        if not (folder / file).exists():
            fetch(base + file, folder / file, LIMITS["bytes"].most)


def _refuse_elsewhere(file: str, header: str) -> None:
    """A name in a header is a name in the header's own folder, or is not fetched."""
    if not re.fullmatch(_PART, file, re.ASCII):
        raise ECGError(f"{header} names {file[:60]!r}, which is no file beside it; nothing of it is fetched.")


@dataclass
class _Fetch:
    """Files of one server, until the time or the room for one record is used up."""

    session: Any
    name: str
    until: float = field(default_factory=lambda: time.monotonic() + ONLINE_SECONDS)
    room: int = field(default_factory=lambda: LIMITS["unpacked"].most)  # bytes, of all files together

    def __call__(self, url: str, to: Path, most: int) -> None:
        """Write what stands at `url`, of at most `most` bytes."""
        most = min(most, self.room)
        large = f"{to.name} of {self.name} is larger than the {most:,} bytes that are fetched of it."
        with self._open(url) as response, to.open("wb") as file:
            if int(response.headers.get("Content-Length", 0)) > most:
                raise ECGError(large)
            written = 0
            while content := response.raw.read1(1 << 16):  # what has come, so that a slow answer ends too
                written += len(content)
                if written > most:
                    raise ECGError(large)
                file.write(content)
                self._in_time()
        self.room -= written

    def version(self, database: str) -> str:
        """The version of a database that its page names, as wfdb takes it."""
        from wfdb.io import download

        with private_folder() as folder:
            self(posixpath.join(download.PN_CONTENT_URL, database) + "/", folder / "page", MOST_TEXT)
            page = (folder / "page").read_text("utf-8", errors="replace")
        if found := _STATED.search(page):
            return found[1]
        raise ECGError(f"PhysioNet's page of {database} names no version; write it: {database}/1.0.0/record.")

    def _open(self, url: str) -> Any:
        """The answer, behind redirects within the same server."""
        server = urlsplit(url)[:2]
        for _ in range(MOST_REDIRECTS):
            self._in_time()
            response = self.session.get(url, stream=True, timeout=SILENT_SECONDS, allow_redirects=False)
            if response.is_redirect:
                response.close()
                url = urljoin(url, response.headers["Location"])
                if urlsplit(url)[:2] != server:
                    raise ECGError(f"PhysioNet sends {self.name} to another server, which is not followed.")
                continue
            if response.ok:
                return response
            response.close()
            if response.status_code in (401, 403):
                raise ECGError(
                    f"PhysioNet gives {self.name} to those alone who signed its terms; download it there, "
                    "and open its files."
                )
            if response.status_code == 404:
                raise ECGError(f"PhysioNet has no {posixpath.basename(url.rstrip('/'))} for {self.name}.")
            raise ECGError(f"PhysioNet answers {self.name} with an error ({response.status_code}).")
        raise ECGError(f"PhysioNet sends {self.name} in a circle.")

    def _in_time(self) -> None:
        if time.monotonic() > self.until:
            raise ECGError(f"{self.name} takes longer than {ONLINE_SECONDS:g} s to come from PhysioNet.")
