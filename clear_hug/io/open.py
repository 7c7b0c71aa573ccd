"""Open a file, an upload or a folder: by content, under limits, and in words where it cannot be done."""

from __future__ import annotations

import gzip
import io
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clear_hug.ecg import ECG, ECGError
from clear_hug.io import arrays, tables
from clear_hug.io.cardiosoft import is_cardiosoft, is_sapphire, read_cardiosoft, read_sapphire
from clear_hug.io.dicom import is_dicom, read_dicom
from clear_hug.io.edf import is_bdf, is_edf, read_bdf, read_edf
from clear_hug.io.fhir import is_fhir, read_fhir
from clear_hug.io.jsons import begins_as_json, is_json, read_json, why_not_json
from clear_hug.io.kit import KIT
from clear_hug.io.limits import LIMITS, MOST_LISTED
from clear_hug.io.physionet import is_lone_samples, is_wfdb, read_wfdb, segments_of
from clear_hug.io.private import private_folder
from clear_hug.io.recording import Asked, NeedsAnswer, Reader, first_bytes, said_plainly, some, within
from clear_hug.io.schiller import is_schiller, read_schiller
from clear_hug.io.standard import to_ecg

READERS: dict[str, Reader] = {
    "WFDB": Reader(read_wfdb, (".hea", ".dat", ".mat"), is_wfdb),
    "CardioSoft XML": Reader(read_cardiosoft, (".xml",), is_cardiosoft),
    "GE Sapphire XML": Reader(read_sapphire, (".xml",), is_sapphire),
    "Schiller XML": Reader(read_schiller, (".xml",), is_schiller),
    "EDF": Reader(read_edf, (".edf",), is_edf),
    "BDF": Reader(read_bdf, (".bdf",), is_bdf),
    "DICOM waveform": Reader(read_dicom, (".dcm", ".dicom"), is_dicom),
    **KIT,
    "HDF5": Reader(arrays.read_hdf5, (".h5", ".hdf5", ".mat"), arrays.is_hdf5),
    "MAT": Reader(arrays.read_mat, (".mat",), arrays.is_mat),
    "NPY": Reader(arrays.read_npy, (".npy",), arrays.is_npy),
    "NPZ": Reader(arrays.read_npz, (".npz",), arrays.is_npz),
    "Parquet": Reader(arrays.read_parquet, (".parquet",), arrays.is_parquet),
    "XLSX": Reader(tables.read_xlsx, (".xlsx",), tables.is_xlsx),
    "FHIR": Reader(read_fhir, (".json",), is_fhir),
    "JSON": Reader(read_json, (".json", ".ndjson", ".jsonl"), is_json),
    "CSV": Reader(tables.read_table, (".csv", ".tsv", ".txt"), tables.is_table),
}
"""Format -> reader; the first that recognises a file reads it."""

EXTENSIONS: tuple[str, ...] = tuple(
    dict.fromkeys(e for reader in READERS.values() for e in reader.extensions)
)
"""What such files are called; an upload is known by its content (a .zip is taken too)."""

MOST_HEADER = 1_000_000  # bytes
_NOBODY = re.compile(r"[A-Za-z]|\d{1,4}")  # names that say nothing, and stand in many sentences
_PICTURES = re.compile(  # how their files begin; HEIC and AVIF, BMP
    rb"%PDF|\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*|RIFF.{4}WEBP"
    rb"|.{4}ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1|avi[fs])|BM.{4}\0\0\0\0",
    re.DOTALL,
)
_PICTURE_NAMES = (
    ".pdf", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp",
    ".heic", ".heif", ".avif",
)  # fmt: skip
_LISTED_BY_CONTENT = {
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".ndjson",
    ".jsonl",
    ".npz",
    ".npy",
    ".h5",
    ".hdf5",
    ".parquet",
    ".xlsx",
    ".ecg",
    ".mat",
}


def read_ecg(
    path: str | os.PathLike[str],
    *,
    fs: float | None = None,
    unit: str | None = None,
    leads: Sequence[str] | Mapping[str, str] | None = None,
    orientation: str | None = None,
    record: int | None = None,
) -> ECG:
    """Read one ECG file of any known format.

    What the file does not say is guessed where a reason is at hand, which `ECG.warnings` gives, and
    `ECG.guessed` names; each guess, and whatever the file says, can be overridden.

    Parameters
    ----------
    path : for WFDB the header, or its .dat or .mat; the other file lies beside it. A .zip or a folder
        that holds one record is read too.
    fs : Hz
    unit : "mV", "uV" or "V", what the file's values are in
    leads : the leads of the channels in the file's order, or a mapping of the file's names to leads;
        "-aVR" is aVR turned over
    orientation : "columns" or "rows", where the leads of an array or table are
    record : which of the records in a file of arrays that holds several, from 1

    Returns
    -------
    ECG : signal (12, sample) float32 in mV, missing limb leads derived, other missing leads NaN

    Raises
    ------
    ECGError : no ECG that can be read, in one sentence that names the file but not its folder
    """
    return _read(Path(path), Asked(fs, unit, leads, orientation, record))


def _read(path: Path, asked: Asked) -> ECG:
    with said_plainly(path):
        if path.is_dir():
            return _read(_only_record(path), asked)
        if not path.is_file():
            raise ECGError(f"{path.name} does not exist.")
        if path.stat().st_size == 0:
            raise ECGError(f"{path.name} is empty (0 bytes); export or copy it again.")
        head = first_bytes(path)
        reader = reader_of(path, head)
        within("bytes", path.stat().st_size, path.name)
        if _is_picture(path, head, reader):
            raise ECGError(
                f"{path.name} is a picture or a print of an ECG, which cannot be read; export the signal "
                "itself, for example as DICOM, SCP-ECG, XML or CSV."
            )
        if reader is None and (is_zip(head) or is_gzip(head)):
            name = path.name if is_zip(head) else f"{path.name.removesuffix('.gz')}.gz"
            return replace(_read_files({name: path.read_bytes()}, asked), record_id=path.stem)
        if reader is None:
            if is_lone_samples(path, head):
                raise ECGError(f"{path.name} needs its header, {path.with_suffix('.hea').name}, beside it.")
            if begins_as_json(head):
                raise ECGError(why_not_json(path))
            raise ECGError(f"{path.name} is not an ECG in a known format ({', '.join(READERS)}).")
        return to_ecg(path, reader.read(path, asked), asked)


def reader_of(path: Path, head: bytes) -> Reader | None:
    """The first format that recognises a file; what lies unpressed in an archive is not the file's own."""
    packed = is_zip(head) or is_gzip(head)  # or so begin samples beside their header
    known = (READERS[name] for name in ("WFDB", "NPZ", "XLSX")) if packed else READERS.values()
    return next((r for r in known if r.recognise(path, head)), None)


def _is_picture(path: Path, head: bytes, reader: Reader | None) -> bool:
    """A picture by its content, or by its name where no format but that of bare numbers knows it."""
    named = path.suffix.lower() in _PICTURE_NAMES and reader in (None, READERS["CSV"])
    unpacked = not (is_zip(head) or is_gzip(head))
    return bool(_PICTURES.match(head)) or (named and unpacked)


def _only_record(folder: Path) -> Path:
    found = find_records(folder, limit=2)
    if len(found) == 1:
        return found[0]
    raise ECGError(
        f"{folder.name} is a folder{' without an ECG' if not found else ' of several records'}; "
        "name a record in it (find_records lists them)."
    )


def read_ecg_upload(
    files: Mapping[str, bytes],
    *,
    fs: float | None = None,
    unit: str | None = None,
    leads: Sequence[str] | Mapping[str, str] | None = None,
    orientation: str | None = None,
    record: int | None = None,
) -> ECG:
    """Read the one record that uploaded files hold: a file, the files of a WFDB record, or a .zip.

    The files pass through a private temporary folder that is removed in any case; of their names
    only the last part is used. A name may be a patient's: neither the ECG nor an error carries it.

    Parameters
    ----------
    files : name -> content
    fs, unit, leads, orientation, record : as for `read_ecg`

    Raises
    ------
    ECGError : as `read_ecg`; and for no record, or more than one
    """
    asked = Asked(fs, unit, leads, orientation, record)
    named = _names_and_headers(files)
    try:
        ecg = _read_files(files, asked)
        said = tuple(_nameless(warning, *named) for warning in ecg.warnings)
        return replace(ecg, record_id="", warnings=said)
    except NeedsAnswer as error:
        raise NeedsAnswer(
            _nameless(str(error), *named), *error.asks, channels=error.channels, records=error.records
        ) from None
    except ECGError as error:
        raise ECGError(_nameless(str(error), *named)) from None


def _read_files(files: Mapping[str, bytes], asked: Asked) -> ECG:
    flat = _unpack(files)
    with private_folder() as folder:
        for name, content in flat.items():
            try:
                (folder / name).write_bytes(content)
            except (OSError, UnicodeError, ValueError):
                raise ECGError("a file's name cannot be stored; rename it.") from None
        records = _records_among([folder / name for name in flat])
        if not records:
            raise ECGError(f"no ECG among {some(flat)}; known formats: {', '.join(READERS)}.")
        if len(records) > 1:
            raise ECGError(f"{len(records)} records at once; upload one at a time.")
        return _read(records[0], asked)


def _records_among(paths: list[Path]) -> list[Path]:
    """The records among a few files, by content: headers speak for their data."""
    if len(paths) == 1:
        return paths
    heads = {path: first_bytes(path) for path in paths}
    headers = [path for path in paths if READERS["WFDB"].recognise(path, heads[path]) and not _is_data(path)]
    others = [
        path for path in paths
        if path not in headers and not _is_data(path) and reader_of(path, heads[path]) is not None
    ]  # fmt: skip
    if headers:  # bare numbers beside a header are about its record: R peaks, say
        others = [
            path for path in others
            if path.suffix.lower() != ".txt" or reader_of(path, heads[path]) is not READERS["CSV"]
            or tables.looks_like_table(heads[path])
        ]  # fmt: skip
    for path in headers:  # a header of several segments speaks for theirs
        if segments := segments_of(heads[path]):
            headers = [header for header in headers if header == path or header.stem not in segments]
    if headers or others:
        return sorted(headers + others)
    return [path for path in sorted(paths) if _is_data(path)][:1]


def _is_data(path: Path) -> bool:
    """A file of samples that its header speaks for, or would."""
    suffix = path.suffix.lower()
    return suffix == ".dat" or (suffix == ".mat" and path.with_suffix(".hea").is_file())


def _nameless(said: str, given: set[str], headers: list[str]) -> str:
    """A sentence about uploads without their names, which may be a patient's.

    given, headers : of `_names_and_headers`
    """
    bases = {base for name in given if not re.fullmatch(r"[A-Za-z]?", base := _base(name))}
    for base in sorted(bases, key=lambda base: (-len(base), base)):
        said = said.replace(base, _kind(base))
        if stem := os.path.splitext(base)[0]:  # a file that another one speaks for
            said = re.sub(rf"(?<![\w.]){re.escape(stem)}(\.\w{{1,8}})\b", r"the \1 file", said)
    # WFDB headers name files too, which need not be among those that were uploaded
    named = {_base(line.split()[0]) for header in headers for line in header.splitlines() if line.split()}

    def nameless(word: re.Match[str]) -> str:
        base = _base(word[1])
        return _kind(base) if base in named and not _NOBODY.fullmatch(base) else word[0]

    said = re.sub(r"'?([\w+~/\\-]+(?:\.[\w+~/\\-]+)*)'?", nameless, said)
    return said[:1].upper() + said[1:]


def _names_and_headers(files: Mapping[str, bytes]) -> tuple[set[str], list[str]]:
    """The names of uploaded files and of those in a .zip, and the WFDB headers among them."""
    names, headers = set(files), []
    names |= {name[:-3] for name in files if name.lower().endswith(".gz")}
    for name, content in files.items():
        if _is_header(name):
            headers.append(content)
        if is_zip(content[:4]):
            try:
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    members = archive.infolist()[: LIMITS["files"].most]
                    names |= {member.filename for member in members}
                    headers += [
                        archive.read(member)
                        for member in members
                        if _is_header(member.filename) and member.file_size < MOST_HEADER
                    ]
            except Exception:  # as in _unpack, where a broken archive is told of
                continue
    return names, [header[:MOST_HEADER].decode("utf-8", errors="replace") for header in headers]


def _is_header(name: str) -> bool:
    return name.lower().endswith(".hea")


def _base(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _kind(name: str) -> str:
    """What a sentence calls a file whose name it does not say."""
    extension = os.path.splitext(name.strip("'"))[1]
    return f"the {extension} file" if re.fullmatch(r"\.\w{1,8}", extension) else "the file"


def is_zip(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_gzip(head: bytes) -> bool:
    return head.startswith(b"\x1f\x8b\x08")


def _unpack(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files by base name, zips opened; refuses two of one name, and what exceeds a limit."""
    flat: dict[str, bytes] = {}
    room = LIMITS["unpacked"].most

    def add(name: str, content: bytes) -> None:
        nonlocal room
        if is_gzip(content[:4]) and name.lower().endswith(".gz"):
            name, content = name[:-3], _unpacked(name, content, room)
        base = _base(name).replace("\0", "")
        if base in ("", ".", "..") or base.startswith(".") or "__MACOSX" in name:
            return
        if base in flat:
            raise ECGError(f"two files are named {base}; upload one record at a time.")
        room -= len(content)
        if room < 0:
            raise ECGError(
                f"the upload is larger than the {LIMITS['unpacked'].most:,} bytes that are read at once."
            )
        flat[base] = content

    for name, content in files.items():
        if not is_zip(content[:4]) or _is_record_in_zip(content):
            if name.lower().endswith(".zip"):
                raise ECGError(f"{Path(name).name} cannot be opened as a .zip archive.")
            add(name, content)
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                within("files", len(members), Path(name).name)
                if sum(member.file_size for member in members) > room:
                    raise ECGError(LIMITS["unpacked"].exceeded(float("inf"), Path(name).name))
                for member in members:
                    inner = archive.read(member)
                    if is_zip(inner[:4]) and not _is_record_in_zip(inner):
                        raise ECGError(f"{Path(name).name} holds another .zip; unpack it first.")
                    add(member.filename, inner)
        except ECGError:
            raise
        except Exception:  # zipfile raises errors of many kinds for a broken archive
            raise ECGError(f"{Path(name).name} cannot be opened as a .zip archive.") from None
    if not flat:
        raise ECGError("nothing was uploaded; choose a file.")
    return flat


def _unpacked(name: str, content: bytes, room: int) -> bytes:
    """One file that gzip packed, of at most `room` bytes."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            inner = file.read(room + 1)
    except (OSError, EOFError, zlib.error):
        raise ECGError(f"{_base(name)} cannot be unpacked: it is broken or cut short.") from None
    if len(inner) > room:
        raise ECGError(LIMITS["unpacked"].exceeded(float("inf"), _base(name)))
    return inner


def _is_record_in_zip(content: bytes) -> bool:
    """A format that is itself a .zip: XLSX, or NPZ."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except Exception:
        return False
    return "xl/workbook.xml" in names or (bool(names) and all(name.endswith(".npy") for name in names))


def find_records(folder: str | os.PathLike[str], limit: int = MOST_LISTED) -> list[Path]:
    """The records under a folder, sorted; one entry a record (for WFDB its header).

    Names decide, and for tables and arrays the content: a table of labels is not an ECG. A header
    without its data is listed, so that opening it can say so.

    Raises
    ------
    ECGError : not a folder
    """
    root = Path(folder)
    if not root.is_dir():
        raise ECGError(f"{root.name} is not a folder.")
    found: list[Path] = []
    entered: set[str] = set()  # links to folders are followed, each folder once
    for where, folders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(where)) in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        base = Path(where)
        for name in sorted(names):
            extension = os.path.splitext(name)[1].lower()
            if name.startswith(".") or extension not in EXTENSIONS:
                continue
            path = base / name
            if extension in (".dat", ".mat") and (extension == ".dat" or path.with_suffix(".hea").exists()):
                continue  # a header speaks for them
            if extension in _LISTED_BY_CONTENT and not _is_listed(path):
                continue
            found.append(path)
            if len(found) >= limit:
                return sorted(found)
    return sorted(found)


def _is_listed(path: Path) -> bool:
    try:
        head = first_bytes(path)
        reader = reader_of(path, head)
        if reader is READERS["NPY"] or reader is READERS["NPZ"]:
            return arrays.may_hold_one_record(path)
        return reader is not None and (reader is not READERS["CSV"] or tables.looks_like_table(head))
    except OSError:
        return False
