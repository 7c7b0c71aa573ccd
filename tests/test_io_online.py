"""PhysioNet's records by name, from a local server: as the file itself, or a sentence; no other address."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import wfdb
from streamlit.testing.v1 import AppTest

from clear_hug import ui
from clear_hug.ecg import ECGError
from clear_hug.io import LIMITS, Limit, online, read_ecg, read_physionet
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg

MV = simulate_ecg("normal", fs=250.0).signal.astype(np.float64)


class Server:
    """Answers what `pages` holds (bytes, a status, or a function of the handler), and keeps what is asked."""

    def __init__(self) -> None:
        self.pages: dict[str, object] = {}
        self.asked: list[str] = []
        self.signed: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.signed.append(self.headers.get("Authorization"))
                page = server.pages.get(self.path, 404)
                if callable(page):
                    page(self)
                    return
                self.send_response(page if isinstance(page, int) else 200)
                content = page if isinstance(page, bytes) else b""
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, folder: Path, base: str) -> None:
        for path in folder.iterdir():
            self.pages[f"{base}/{path.name}"] = path.read_bytes()


@pytest.fixture
def server(monkeypatch):
    from wfdb.io import download

    made = Server()
    monkeypatch.setattr(download.config, "db_index_url", f"{made.address}/files/")
    monkeypatch.setattr(download, "PN_CONTENT_URL", f"{made.address}/content/")
    monkeypatch.setenv("NO_PROXY", "*")
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def record(tmp_path, server):
    """Record "r" of the database "simdb", version 1.2.0; its header."""
    folder = tmp_path / "db"
    folder.mkdir()
    wfdb.wrsamp("r", fs=250, units=["mV"] * 12, sig_name=list(LEADS), p_signal=MV.T, fmt=["16"] * 12,
                comments=["Age: 61"], write_dir=str(folder))  # fmt: skip
    server.put(folder, "/files/simdb/1.2.0")
    server.pages["/content/simdb/"] = b"<h1>A database</h1>\n<strong>Version: 1.2.0</strong>\n"
    return folder / "r.hea"


def refused(name: str, *words: str) -> str:
    with pytest.raises(ECGError) as error:
        read_physionet(name)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and len(text) < 300
    for word in words:
        assert word in text, text
    return text


@pytest.mark.parametrize("name", ["simdb/r", "simdb/1.2.0/r", "simdb/r.hea"])
def test_a_record_by_name_is_the_file(server, record, name):
    assert read_physionet(name).digest == read_ecg(record).digest
    assert ("/content/simdb/" in server.asked) == ("1.2.0" not in name)  # what is named is not asked for
    assert server.asked[-2:] == ["/files/simdb/1.2.0/r.hea", "/files/simdb/1.2.0/r.dat"]


def test_a_record_in_folders(server, record):
    server.put(record.parent, "/files/simdb/1.2.0/a100/00000")
    assert read_physionet("simdb/a100/00000/r").digest == read_ecg(record).digest


def test_segments_are_fetched_too(server, record):
    whole = b"m/3 12 250 5250\nr 2500\n~ 250\nr 2500\n"
    server.pages["/files/simdb/1.2.0/m.hea"] = whole
    (record.parent / "m.hea").write_bytes(whole)
    assert read_physionet("simdb/m").digest == read_ecg(record.parent / "m.hea").digest
    assert server.asked.count("/files/simdb/1.2.0/r.dat") == 1
    server.pages["/files/simdb/1.2.0/m.hea"] = b"m/1 12 250 2500\n../../x 2500\n"
    refused("simdb/m", "'../../x'", "nothing of it is fetched")


def test_what_is_not_there_is_said(server, record):
    refused("simdb/s", "no s.hea")
    refused("otherdb/r", "no otherdb")
    del server.pages["/files/simdb/1.2.0/r.dat"]
    refused("simdb/r", "no r.dat")
    server.pages["/files/simdb/1.2.0/r.hea"] = 403
    refused("simdb/r", "signed its terms")
    server.pages["/files/simdb/1.2.0/r.hea"] = 500
    refused("simdb/r", "500")
    server.pages["/content/simdb/"] = b"nothing"
    refused("simdb/r", "names no version")


def test_what_is_broken_is_said(server, record):
    header, samples = (server.pages[f"/files/simdb/1.2.0/r.{e}"] for e in ("hea", "dat"))
    server.pages["/files/simdb/1.2.0/r.dat"] = samples[:1000]
    refused("simdb/r", "cut short")
    server.pages["/files/simdb/1.2.0/r.hea"] = b"<html>"
    refused("simdb/r", "not a WFDB header")

    def hangs_up(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(samples)))
        handler.end_headers()
        handler.wfile.write(samples[:1000])

    server.pages["/files/simdb/1.2.0/r.hea"] = header
    server.pages["/files/simdb/1.2.0/r.dat"] = hangs_up
    refused("simdb/r", "broke off")


def test_nobody_answers(server, record):
    server.http.shutdown()
    server.http.server_close()
    refused("simdb/r", "cannot be reached", "offline")


def test_a_slow_answer_is_given_up(server, record, monkeypatch):
    monkeypatch.setattr(online, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(online, "ONLINE_SECONDS", 1.0)
    held = threading.Event()

    def silent(_: BaseHTTPRequestHandler) -> None:
        held.wait(20)

    def drips(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "60000")
        handler.end_headers()
        try:
            while not held.wait(0.1):
                handler.wfile.write(b"0")
        except OSError:
            pass

    for answer, words in ((silent, "did not answer"), (drips, "takes longer than 1 s")):
        server.pages["/files/simdb/1.2.0/r.dat"] = answer
        began = time.monotonic()
        refused("simdb/r", words)
        assert time.monotonic() - began < 5
    held.set()


def test_sizes_are_judged_before_samples_are_fetched(server, record, monkeypatch):
    good = server.pages["/files/simdb/1.2.0/r.hea"]
    for header, words in (
        (good.replace(b" 2500\n", b" 99999999999\n", 1), "claims"),
        (b"r 900 250 2500\n", "channels"),
        (b"m/2 12 250 9999999\nr 9999999999\nr 2500\n", "claims"),
    ):
        server.asked.clear()
        server.pages["/files/simdb/1.2.0/r.hea"] = header
        refused("simdb/r", words)
        assert not any(path.endswith(".dat") for path in server.asked)
    server.pages["/files/simdb/1.2.0/r.hea"] = good
    monkeypatch.setitem(LIMITS, "bytes", Limit(5000, LIMITS["bytes"].words))
    refused("simdb/r", "larger than the 5,000 bytes")

    def unsaid(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(bytes(60_000))

    server.pages["/files/simdb/1.2.0/r.dat"] = unsaid
    refused("simdb/r", "larger than the 5,000 bytes")


@pytest.mark.parametrize(
    "name",
    ["", "mitdb", "mitdb/", "/etc/passwd", "../etc/passwd", "simdb/..", "simdb/../r", "simdb/a/../../r",
     "simdb/a..b", "simdb/.r", "simdb//r", "http://host/r", "https://physionet.org/files/simdb/r",
     "s3://bucket/r", "host:80/r", "user@host/r", "simdb/r?x=1", "simdb/r#x", "simdb/%2e%2e/r", "simdb\\r",
     "simdb/r\n", "simdb/r r", "simdb/r\0", "simdb/ｒ", "simdb/~", "SIMDB/r", "-simdb/r",
     "simdb/" + "a" * 300, "simdb" + "/a" * 50],
)  # fmt: skip
def test_a_name_is_no_path_and_no_address(server, record, monkeypatch, name):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked"))
    refused(name, "This is no name of a record on PhysioNet", "mitdb/100")
    assert not server.asked


@pytest.mark.parametrize("file", ["../../x.dat", "/etc/passwd", "http://host/x.dat", "..", "a/b.dat", ".x"])
def test_a_header_leads_nowhere_else(server, record, file):
    header = server.pages["/files/simdb/1.2.0/r.hea"].replace(b"r.dat", file.encode())
    server.pages["/files/simdb/1.2.0/r.hea"] = header
    refused("simdb/1.2.0/r", "nothing of it is fetched")
    assert server.asked == ["/files/simdb/1.2.0/r.hea"]


def to(place: str):
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_a_redirect_stays_on_the_server(server, record):
    want = read_ecg(record).digest
    server.pages["/content/simdb/1.2.0/"] = server.pages["/content/simdb/"]
    server.pages["/content/simdb/"] = to("/content/simdb/1.2.0/")  # as PhysioNet does
    assert read_physionet("simdb/r").digest == want
    other = Server()
    other.put(record.parent, "")
    server.pages["/files/simdb/1.2.0/r.dat"] = to(f"{other.address}/r.dat")
    refused("simdb/r", "another server")
    assert not other.asked
    other.http.shutdown()
    other.http.server_close()
    server.pages["/content/simdb/"] = to("/content/simdb/")
    refused("simdb/r", "in a circle")


def test_nobody_is_signed_in(server, record, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    read_physionet("simdb/r")
    assert server.signed and not any(server.signed)


def test_home_opens_it_as_an_upload(server, record):
    app = AppTest.from_file("../app.py", default_timeout=100).run()
    field = app.text_input(key="physionet")
    field.set_value("simdb/s").run()
    assert not app.exception and "has no" in app.error[0].value and ui.UPLOADS not in app.session_state
    field.set_value(" simdb/r ").run()
    assert not app.exception and not app.error and app.text_input(key="physionet").value == ""
    shown = app.session_state[ui.UPLOADS][app.session_state[ui.UPLOAD_SHOWN["record"]]]
    assert shown.digest == read_ecg(record).digest
    assert any("simdb/r of PhysioNet" in html.proto.body for html in app.get("html"))
    assert not app.query_params.get("record")
