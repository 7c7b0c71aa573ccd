"""What a killed server leaves of uploads is gone at the next start; what another one reads is not."""

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from clear_hug.io.private import PREFIX, private_folder, remove_left_folders

ROOT = Path(__file__).resolve().parent.parent
LIGHT = "from benchmarks.fuzz import light_package; light_package()\n"  # without torch, which takes seconds
SLOW_READ = """
import sys
from clear_hug.io import open
def slow(path, asked):
    print(path, flush=True)
    sys.stdin.readline()
    return open.read_ecg(path)
open._read = slow
open.read_ecg_upload({"Doe_Jane.csv": b"secret"})
"""
START = "import tempfile; from clear_hug.io.private import remove_left_folders as r; r(tempfile.gettempdir())"


@pytest.fixture
def start(tmp_path):
    """start(code) -> a Python of its own whose temporary folder is the test's; ended with the test."""
    with ExitStack() as stack:

        def started(code: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", LIGHT + code], cwd=ROOT, text=True,
                    env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
            stack.callback(process.kill)
            return process

        yield started


def left(temp: Path) -> list[Path]:
    return sorted(temp.glob(f"{PREFIX}*"))


@pytest.mark.long
def test_after_a_kill_the_next_start_cleans_up(start, tmp_path):
    killed, other = start(SLOW_READ), start(SLOW_READ)
    files = [Path(server.stdout.readline().strip()) for server in (killed, other)]
    assert all(file.read_bytes() == b"secret" for file in files)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(20) == -signal.SIGKILL
    assert files[0].exists()  # which is why
    assert start(START).wait(60) == 0
    assert left(tmp_path) == [files[1].parent] and files[1].read_bytes() == b"secret"
    other.communicate("go on\n", timeout=60)
    assert left(tmp_path) == []


@pytest.mark.long
def test_the_next_upload_cleans_up_too(start, tmp_path):
    (tmp_path / f"{PREFIX}left").mkdir()
    (tmp_path / f"{PREFIX}left" / "x.dat").write_bytes(b"secret")
    code = "import clear_hug.io as io\ntry: io.read_ecg_upload({'x.csv': b'1'})\nexcept ValueError: pass"
    assert start(code).wait(60) == 0
    assert not list(tmp_path.iterdir())


@pytest.fixture
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_private_folder_is_for_one_and_goes(temp):
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.parent == temp
        (folder / "x").write_bytes(b"1")
        with private_folder() as inner:
            assert inner != folder
    with pytest.raises(ZeroDivisionError), private_folder() as folder:
        1 / 0  # noqa: B018
    assert not list(temp.iterdir())


def test_where_no_lock_can_be_had_a_folder_is_had(temp, monkeypatch):
    def refuse(handle, how):
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    with private_folder() as folder:
        assert list(temp.iterdir()) == [folder]
    assert not list(temp.iterdir())


def test_only_private_folders_are_cleaned(temp, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "x").write_bytes(b"1")
    (temp / "clear_hug_other").mkdir()
    (temp / f"{PREFIX}file").write_bytes(b"1")
    (temp / f"{PREFIX}link").symlink_to(elsewhere)
    (temp / f"{PREFIX}left").mkdir()
    (temp / f"{PREFIX}left" / "link").symlink_to(elsewhere)
    remove_left_folders.__wrapped__(str(temp))
    assert sorted(p.name for p in temp.iterdir()) == ["clear_hug_other", f"{PREFIX}file", f"{PREFIX}link"]
    assert (elsewhere / "x").read_bytes() == b"1"


@pytest.mark.long
def test_folders_made_while_others_clean_up_are_whole(start, temp):
    """A start that meets a folder between its making and its lock."""
    start(
        "from clear_hug.io.private import remove_left_folders as r\nprint(flush=True)\n"
        f"while True: r.__wrapped__({str(temp)!r})"
    ).stdout.readline()
    began, made = time.monotonic(), 0
    while time.monotonic() - began < 2 or made < 50:
        with private_folder() as folder:
            (folder / "x").write_bytes(b"1")
            assert (folder / "x").read_bytes() == b"1"
        made += 1
