"""The downloader against a server that breaks every promise."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from graphcl.errors import InputError
from recsys.data import catalog, entries, fetch
from recsys.data.catalog import files, load_split

TEXT = b"".join(b"%d 1 2 3 4 5\n" % user for user in range(1, 40))
DIGEST = hashlib.sha256(TEXT).hexdigest()


def whole(body):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def truncated(body):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        handler.connection.close()

    return answer


def status(code):
    return lambda handler: handler.send_error(code)


class Server:
    """Gives the prepared answers of a path one after another, the last of them for ever."""

    def __init__(self):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                queue = outer.answers.get(self.path, [status(404)])
                (queue.pop(0) if len(queue) > 1 else queue[0])(self)

            def log_message(self, *ignored):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.http.server_port}{path}"


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def entry(tmp_path, monkeypatch, server):
    """Writes a catalogue with one entry; keys given here are added to its source."""

    def write(files_=None, **more):
        tree = {
            "title": "test",
            "licence": "none",
            "origin": "here",
            "sources": [
                {
                    "files": files_ or {"d.txt": {"url": server.url("/d.txt"), "sha256": DIGEST}},
                    "reader": {"kind": "s3rec_text"},
                }
            ],
            "splits": {"sequential": {"rule": {"kind": "leave_one_out"}}},
            **more,
        }
        path = tmp_path / "datasets.yaml"
        path.write_text(yaml.safe_dump({"tiny": tree}))
        entries.read_catalogue.cache_clear()
        monkeypatch.setattr(entries, "catalogue_path", lambda: path)

    write()
    return write


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_downloaded_once_and_read_from_then_on(server, home, entry):
    server.answers["/d.txt"] = [whole(TEXT)]
    assert load_split("tiny").train.num_users == 39
    assert files("tiny") == {"d.txt": home / "tiny" / "d.txt"}
    assert server.asked == ["/d.txt"]
    assert everything_in(home) == ["tiny", "tiny/d.txt"]
    assert (home / "tiny" / "d.txt").read_bytes() == TEXT


@pytest.mark.parametrize("bad", [truncated(TEXT), whole(TEXT[:-1] + b"7"), status(503)])
def test_a_broken_answer_is_followed_by_a_clean_one(server, home, entry, bad):
    server.answers["/d.txt"] = [bad, bad, whole(TEXT)]
    assert len(load_split("tiny").test) == 39
    assert len(server.asked) == 3
    assert everything_in(home) == ["tiny", "tiny/d.txt"]


@pytest.mark.parametrize(
    ("bad", "attempts", "sentence"),
    [
        (truncated(TEXT), 3, r"/d\.txt: the connection failed or broke off .*; check the connection"),
        (whole(TEXT[:-1] + b"7"), 3, r"/d\.txt: what arrived does not have the hash it should have"),
        (status(500), 3, r"the server answers 500"),
        (status(404), 1, r"the server answers 404 Not Found"),
    ],
)
def test_an_answer_that_stays_broken_leaves_nothing(server, home, entry, bad, attempts, sentence):
    server.answers["/d.txt"] = [bad]
    with pytest.raises(InputError, match=sentence):
        load_split("tiny")
    assert len(server.asked) == attempts
    assert everything_in(home) == ["tiny"]


def test_a_server_that_is_not_there(server, home, entry):
    entry({"d.txt": {"url": "http://127.0.0.1:9/d.txt", "sha256": DIGEST}})
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/d\.txt: the connection failed"):
        load_split("tiny")
    assert everything_in(home) == ["tiny"]


def test_one_bad_file_of_two_leaves_neither(server, home, entry):
    good = {"url": server.url("/a.txt"), "sha256": DIGEST}
    entry({"a.txt": good, "b.txt": {**good, "url": server.url("/b.txt")}})
    server.answers["/a.txt"] = [whole(TEXT)]
    with pytest.raises(InputError, match="404"):
        files("tiny")
    assert everything_in(home) == ["tiny"]


def test_without_a_hash_of_the_file_the_content_decides(server, home, entry):
    unknown = {"d.txt": {"url": server.url("/d.txt")}}
    entry(unknown)
    server.answers["/d.txt"] = [whole(TEXT)]
    content = catalog.content_of(catalog.load_events("tiny", entries.find_entry("tiny")))
    (home / "tiny" / "d.txt").unlink()
    entry(unknown, content=content)
    server.answers["/d.txt"] = [whole(TEXT.replace(b" 3 ", b" 9 "))]
    with pytest.raises(InputError, match=rf"hold other data \(content \w+\) than datasets\.yaml records \({content}\)"):
        load_split("tiny")
    assert everything_in(home) == ["tiny"]
    # other bytes with the same content are the same data
    server.answers["/d.txt"] = [whole(TEXT.replace(b" ", b"\t"))]
    assert load_split("tiny").train.num_users == 39


def packed(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_only_the_named_member_leaves_an_archive(server, home, entry):
    body = packed({"../../escaped.txt": b"x", "/tmp/escaped too.txt": b"x", "set/d.data": TEXT})
    spec = {"url": server.url("/d.zip"), "member": "set/d.data", "archive": f"md5:{hashlib.md5(body).hexdigest()}"}
    entry({"d.txt": spec})
    server.answers["/d.zip"] = [truncated(body), whole(body)]
    assert load_split("tiny").train.num_users == 39
    assert everything_in(home.parent) == ["data", "data/tiny", "data/tiny/d.txt", "datasets.yaml"]


@pytest.mark.parametrize("member", ["../../escaped.txt", "/etc/escaped.txt"])
def test_a_member_with_a_path_is_written_under_our_name(server, home, entry, member):
    entry({"d.txt": {"url": server.url("/d.zip"), "member": member}})
    server.answers["/d.zip"] = [whole(packed({member: TEXT}))]
    assert files("tiny")["d.txt"].read_bytes() == TEXT
    assert everything_in(home.parent) == ["data", "data/tiny", "data/tiny/d.txt", "datasets.yaml"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"no archive at all", "is no archive with d.data in it"),
        (packed({"other.data": TEXT}), "is no archive with d.data in it"),
        (packed({"d.data": TEXT})[:-8] + b"damaged!", "is no archive"),
        (packed({"d.data": TEXT}).replace(b"d.data", b"d.daxa", 1), "is no archive"),
    ],
)
def test_bad_archives(server, home, entry, body, sentence):
    entry({"d.txt": {"url": server.url("/d.zip"), "member": "d.data"}})
    server.answers["/d.zip"] = [whole(body)]
    with pytest.raises(InputError, match=sentence):
        files("tiny")
    assert everything_in(home) == ["tiny"]


def test_a_member_with_wrong_bits_is_refused(server, home, entry):
    body = bytearray(packed({"d.data": TEXT}))
    body[60] ^= 0xFF
    entry({"d.txt": {"url": server.url("/d.zip"), "member": "d.data"}})
    server.answers["/d.zip"] = [whole(bytes(body))]
    with pytest.raises(InputError, match=r"is no archive with d\.data in it"):
        files("tiny")
    assert everything_in(home) == ["tiny"]


def test_a_changed_file_is_refused_and_kept_for_inspection(server, home, entry):
    server.answers["/d.txt"] = [whole(TEXT)]
    path = files("tiny")["d.txt"]
    path.write_bytes(TEXT + b"\n")
    with pytest.raises(InputError, match=rf"d\.txt: its sha256 is \w+, not {DIGEST} .*'recsys datasets prepare tiny'"):
        load_split("tiny")
    assert path.exists()


def test_a_file_name_cannot_lead_out_of_the_folder(server, home, entry):
    entry({"../d.txt": {"url": server.url("/d.txt")}})
    with pytest.raises(InputError, match=r"file name '\.\./d\.txt' must have no folder in it"):
        load_split("tiny")


@pytest.fixture
def read_only(home):
    (home / "tiny").mkdir(parents=True)
    yield home / "tiny"
    for folder in (home / "tiny", home):
        folder.chmod(stat.S_IRWXU)


def test_a_read_only_folder_with_the_files_is_enough(server, read_only, entry):
    (read_only / "d.txt").write_bytes(TEXT)
    (read_only / "d.txt").chmod(0o444)
    for folder in (read_only, read_only.parent):
        folder.chmod(0o555)
    before = everything_in(read_only.parent)
    assert load_split("tiny").train.num_users == 39
    assert everything_in(read_only.parent) == before
    assert server.asked == []


def test_a_folder_that_cannot_be_written_is_named(server, home, entry):
    home.parent.joinpath("data").write_text("a file where the folder should be")
    server.answers["/d.txt"] = [whole(TEXT)]
    with pytest.raises(InputError, match=r"data/tiny: cannot be written .*; set GRAPHCL_DATA to a folder that can"):
        load_split("tiny")


def test_a_killed_download_leaves_no_file_under_its_name(server, home, entry, tmp_path):
    started, release = threading.Event(), threading.Event()

    def hang(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(TEXT)))
        handler.end_headers()
        handler.wfile.write(TEXT[:100])
        handler.wfile.flush()
        started.set()
        release.wait(30)

    server.answers["/d.txt"] = [hang, whole(TEXT)]
    program = textwrap.dedent(f"""
        from pathlib import Path
        from recsys.data import entries
        from recsys.data.catalog import files
        entries.catalogue_path = lambda: Path({str(tmp_path / "datasets.yaml")!r})
        files("tiny")
    """)
    child = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    try:
        assert started.wait(60)
    finally:
        child.kill()
        child.wait()
        release.set()
    assert not (home / "tiny" / "d.txt").exists()
    assert load_split("tiny").train.num_users == 39
    assert (home / "tiny" / "d.txt").read_bytes() == TEXT


def test_what_killed_downloads_left_is_swept_after_a_day(server, home, entry):
    for name, age in (("old", 2 * fetch.A_DAY), ("new", 0)):
        left = home / "tiny" / f".incoming-{name}"
        left.mkdir(parents=True)
        (left / "half.txt").write_text("half")
        os.utime(left, (time.time() - age,) * 2)
    server.answers["/d.txt"] = [whole(TEXT)]
    files("tiny")
    assert everything_in(home) == ["tiny", "tiny/.incoming-new", "tiny/.incoming-new/half.txt", "tiny/d.txt"]


def test_the_environment_is_read_at_each_call(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path / "one"))
    assert fetch.data_home() == tmp_path / "one"
    monkeypatch.setenv("GRAPHCL_DATA", str(tmp_path / "two"))
    assert fetch.data_home() == tmp_path / "two"
    monkeypatch.delenv("GRAPHCL_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert fetch.data_home().name == "graphcl"
