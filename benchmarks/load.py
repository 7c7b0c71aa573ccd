"""Many users at once: how long a page takes, and whether anyone is shown another's record.
`python -m benchmarks.load --help`.

Each visitor is a scripted browser session: it speaks Streamlit's own protocol over a websocket, uploads an
ECG of its own whose name is its marker, and walks the pages. Every text that it is sent must hold its own
marker and never another's. The server is started here, on as many threads as it is told.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from jsonargparse import auto_cli
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from websockets.asyncio.client import ClientConnection, connect

from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["", *sorted(re.sub(r"^\d+_", "", path.stem) for path in (ROOT / "pages").glob("*.py"))]
MARKER = re.compile(r"visitor\d{3}x[0-9a-f]{8}")
FOLLOWS = "the verdict will appear here"  # what a page says of a map that is being put to the proof
PATIENCE = 120  # s that an answer is waited for
ALARMS = ("Something unexpected went wrong", "Traceback (most recent call last)")


@dataclass
class Seen:
    """What all visitors saw together.

    seconds : (page name, s until its script had run);  pictures : s until the first figure of a page came
    proofs : s until the word on a map stood there, where it followed later
    errors, wrong : sentences
    memory : (s since the start, bytes that the server holds)
    """

    seconds: list[tuple[str, float]] = field(default_factory=list)
    pictures: list[float] = field(default_factory=list)
    proofs: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)


class Visitor:
    """One browser session; `look` opens a page and returns all text that was sent for it."""

    def __init__(self, address: str, socket: ClientConnection) -> None:
        self.address, self.socket = address, socket
        self.session, self.query, self.page = "", "", ""
        self.widgets = WidgetStates()
        self.text: list[str] = []
        self.picture: float | None = None  # s until the first figure came
        self.again: dict[str, float] = {}  # part of the page -> s after which the browser asks for it again

    async def _receive(self) -> ForwardMsg:
        message = ForwardMsg()
        message.ParseFromString(await asyncio.wait_for(self.socket.recv(), PATIENCE))
        return message

    async def look(self, page: str) -> str:
        """Open a page, as a click on its link does: widgets start anew, the session stays."""
        if page != self.page:
            self.widgets = WidgetStates()
        self.page = page
        return await self._run()

    async def follow(self) -> bool:
        """Ask again, as a browser does, until what follows is there; False where nothing follows."""
        if not (follows := FOLLOWS in "\n".join(self.text)):
            return False
        while follows:
            assert self.again, f"a page says that {FOLLOWS}, and nothing asks for it"
            part, interval = next(iter(self.again.items()))
            await asyncio.sleep(interval)
            follows = FOLLOWS in await self._run(part)
        return True

    async def _run(self, part: str = "") -> str:
        asked = BackMsg()
        asked.rerun_script.fragment_id = part
        asked.rerun_script.query_string = self.query
        asked.rerun_script.page_name = self.page
        asked.rerun_script.widget_states.CopyFrom(self.widgets)
        await self.socket.send(asked.SerializeToString())
        self.text = []
        if not part:
            self.picture, self.again = None, {}
        began = time.perf_counter()
        while True:
            message = await self._receive()
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.session = message.new_session.initialize.session_id or self.session
            elif kind == "delta":
                self.text.append(str(message.delta))
                if self.picture is None and message.delta.new_element.WhichOneof("type") == "plotly_chart":
                    self.picture = time.perf_counter() - began
            elif kind == "page_info_changed":
                self.query = message.page_info_changed.query_string
            elif kind == "auto_rerun":
                self.again[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            elif kind == "script_finished":
                if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    return "\n".join(self.text)
                self.text, self.again = [], {}  # the whole page anew

    async def upload(self, name: str, content: bytes) -> str:
        """Put a file into the uploader of Home and look at what comes of it."""
        text = await self.look("")
        widget = re.search(r'file_uploader \{\s+id: "([^"]+)"', text)
        assert widget, "Home has no uploader"
        asked = BackMsg()
        asked.file_urls_request.request_id = "1"
        asked.file_urls_request.file_names.append(name)
        asked.file_urls_request.session_id = self.session
        await self.socket.send(asked.SerializeToString())
        while (message := await self._receive()).WhichOneof("type") != "file_urls_response":
            pass
        urls = message.file_urls_response.file_urls[0]
        await asyncio.to_thread(_put, self.address, urls.upload_url, name, content)
        state = self.widgets.widgets.add(id=widget[1])
        held = state.file_uploader_state_value.uploaded_file_info.add(
            name=name, size=len(content), file_id=urls.file_id
        )
        held.file_urls.CopyFrom(urls)
        return await self._run()


@asynccontextmanager
async def session(address: str) -> AsyncIterator[Visitor]:
    """A new browser session with the app at `address`."""
    url = f"{address.replace('http', 'ws')}/_stcore/stream"
    async with connect(url, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        yield Visitor(address, socket)


def _put(address: str, path: str, name: str, content: bytes) -> None:
    """Send a file, with the token against forged requests that the server hands to each browser."""
    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=PATIENCE) as answer:
        token = re.search(r"_streamlit_xsrf=([^;]+)", answer.headers["Set-Cookie"] or "")
    assert token, "the server handed out no token for uploads"
    edge = "----part"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
    heads = {
        "Content-Type": f"multipart/form-data; boundary={edge}",
        "Cookie": f"_streamlit_xsrf={token[1]}",
        "X-Xsrftoken": token[1],
    }
    request = urllib.request.Request(address + path, body, heads, method="PUT")
    with urllib.request.urlopen(request, timeout=PATIENCE):
        pass


def written(seed: int) -> bytes:
    """A simulated ECG as a table of millivolts at 250 Hz."""
    kind = ("normal", "tachycardia", "premature")[seed % 3]
    ecg = simulate_ecg(kind, seed, fs=250)
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["time", *LEADS])
    table.writerows([i / ecg.fs, *row] for i, row in enumerate(np.round(ecg.signal.T, 4).tolist()))
    return out.getvalue().encode()


async def visit(
    address: str, number: int, until: float, think: float, seen: Seen, rng: random.Random
) -> None:
    """Come, upload, walk the pages, leave; and come again until the time is over."""
    content = written(number)
    while time.monotonic() < until:
        marker = f"visitor{number:03d}x{rng.getrandbits(32):08x}"
        try:
            async with session(address) as visitor:
                text = await visitor.upload(f"{marker}.csv", content)
                _check(text, marker, "Home", seen)
                for _ in range(12):
                    await asyncio.sleep(rng.expovariate(1 / think))
                    if time.monotonic() > until:
                        break
                    page = rng.choice(PAGES)
                    began = time.perf_counter()
                    text = await visitor.look(page)
                    seen.seconds.append((page or "Home", time.perf_counter() - began))
                    seen.pictures += [] if visitor.picture is None else [visitor.picture]
                    _check(text, marker, page or "Home", seen)
                    if await visitor.follow():
                        seen.proofs.append(time.perf_counter() - began)
        except (OSError, TimeoutError, AssertionError) as error:
            seen.errors.append(f"visitor {number}: {type(error).__name__} {error}")
            await asyncio.sleep(1)


def _check(text: str, marker: str, page: str, seen: Seen) -> None:
    """The visitor's own marker stands on the page, and no other's."""
    found = set(MARKER.findall(text))
    if found - {marker}:
        seen.wrong.append(f"{page}: {marker} was shown {', '.join(found - {marker})}")
    if marker not in found and page != "Training":
        seen.wrong.append(f"{page}: {marker} was not shown its own record")
    seen.errors.extend(f"{page}: {alarm}" for alarm in ALARMS if alarm in text)


async def _weigh(app: psutil.Process, until: float, seen: Seen) -> None:
    began = time.monotonic()
    while time.monotonic() < until:
        seen.memory.append((time.monotonic() - began, app.memory_info().rss))
        await asyncio.sleep(2)


async def _all(
    address: str, app: psutil.Process, users: int, seconds: float, think: float, seed: int
) -> Seen:
    await _open_once(address)
    seen, until = Seen(), time.monotonic() + seconds
    rngs = [random.Random(1000 * seed + k) for k in range(users)]
    visits = [visit(address, k, until, think, seen, rng) for k, rng in enumerate(rngs)]
    await asyncio.gather(_weigh(app, until, seen), *visits)
    return seen


async def _open_once(address: str) -> None:
    """Every page by a first visitor, before anybody is timed: a server loads the model once."""
    async with session(address) as visitor:
        for page in PAGES:
            await visitor.look(page)


@contextmanager
def server(home: Path, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app on a free port, with a home of its own: its address and its process.

    settings : of its environment; what else this one says of the app is not passed on
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if not k.startswith("CLEAR_HUG_")}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port),
               "--server.address", "127.0.0.1"]  # fmt: skip
    with (home / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**env, "HOME": str(home), **settings}, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/_stcore/health", process)
        yield address, process
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "the server ended before it answered"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise TimeoutError("the server did not answer within a minute.")


def load(users: int = 8, seconds: float = 60, think: float = 3, threads: int = 2, seed: int = 0) -> Seen:
    """Let users walk the app and print what they saw.

    Args:
        users: at once
        seconds: that they go on
        think: s between two pages of a user, on average
        threads: of the server's CPU work
        seed: of what they do
    """
    with (
        tempfile.TemporaryDirectory() as home,
        server(Path(home), OMP_NUM_THREADS=str(threads)) as (address, process),
    ):
        seen = asyncio.run(_all(address, psutil.Process(process.pid), users, seconds, think, seed))
    print(f"{users} users for {seconds:g} s, {think:g} s between pages, {threads} threads")
    for name in sorted({name for name, _ in seen.seconds}):
        took = [s for page, s in seen.seconds if page == name]
        print(f"  {name}: {len(took)} times, median {statistics.median(took):.2f} s, most {max(took):.2f} s")
    took = [s for _, s in seen.seconds] or [float("nan")]
    print(f"{len(seen.seconds)} pages: median {np.median(took):.2f} s, 95 % {np.percentile(took, 95):.2f} s, "
          f"most {max(took):.2f} s")  # fmt: skip
    first = seen.pictures or [float("nan")]
    print(f"first picture: median {np.median(first):.2f} s, 95 % {np.percentile(first, 95):.2f} s, "
          f"most {max(first):.2f} s")  # fmt: skip
    if seen.proofs:
        print(f"the word on a map, where it followed later: {len(seen.proofs)} times, median "
              f"{np.median(seen.proofs):.2f} s, most {max(seen.proofs):.2f} s")  # fmt: skip
    settled = [rss for at, rss in seen.memory if at >= min(60, seconds / 2)]
    print(f"memory after the first minute {settled[0] / 1e6:.0f} MB, at the end {settled[-1] / 1e6:.0f} MB "
          f"({100 * (settled[-1] / settled[0] - 1):+.1f} %)")  # fmt: skip
    print(f"wrong records shown: {len(seen.wrong)}; errors: {len(seen.errors)}")
    for sentence in [*seen.wrong, *seen.errors][:10]:
        print(f"  {sentence}")
    return seen


if __name__ == "__main__":
    auto_cli(load, as_positional=False)
