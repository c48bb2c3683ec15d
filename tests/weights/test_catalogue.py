from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import logging
import re
import socket
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

import pytest

from lowtide.errors import ConfigError, InputError, LowtideError, MissingPathError, WriteError
from lowtide.weights import catalogue, fetching
from lowtide.weights.catalogue import Published, PublishedFile, PublishedTokenizer, published, published_model
from lowtide.weights.fetching import fetch, local_file, models_folder

OPTIONS = b'{"lstm": {}}'
WEIGHTS = bytes(range(256)) * 4000  # more than one chunk


# -- a server that does what servers do ----------------------------------------------------------


@dataclass
class Site:
    """What a server has, how it behaves, and what it was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    stops_after: int | None = None
    """Bytes of an answer after which the connection is closed."""
    has_ranges: bool = True
    has_length: bool = True
    is_chunked: bool = False
    content_type: str = "application/octet-stream"
    redirects: dict[str, str] = field(default_factory=dict)
    content_range: str | None = None
    """What it says instead of the range that was asked for."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    agents: set[str | None] = field(default_factory=set)
    slow: threading.Event | None = None

    def url(self, name: str) -> str:
        return f"{self.address}/models/{name}"


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *args: object) -> None:
        self.site = site
        super().__init__(*args)  # type: ignore[arg-type]  # what socketserver hands on

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site, name, wanted = self.site, self.path.rpartition("/")[2], self.headers.get("Range")
        site.asked.append((name, wanted))
        site.agents.add(self.headers.get("User-Agent"))
        if site.slow is not None:
            site.slow.wait(5)
        if name in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[name])
            self.end_headers()
            return
        if name not in site.files:
            self.send_error(404)
            return
        content, begun = site.files[name], 0
        if wanted and site.has_ranges:
            begun = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]  # we ask for no other
            if begun >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            shown = f"bytes {begun}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", site.content_range or shown)
        else:
            self.send_response(200)
        self.send_header("Content-Type", site.content_type)
        if site.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b" % (len(content), content[:-1]))  # one byte and the end are missing
            return
        if site.has_length:
            self.send_header("Content-Length", str(len(content) - begun))
        self.end_headers()
        self.wfile.write(content[begun:][: site.stops_after])


@contextmanager
def serving(**content: object) -> Iterator[Site]:
    site = Site(**content)  # type: ignore[arg-type]  # fields of it
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, site))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(files={"options.json": OPTIONS, "weights.hdf5": WEIGHTS}) as site:
        yield site


@pytest.fixture(autouse=True)
def nothing_but_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOWTIDE_MODELS", str(tmp_path / "models"))
    connect = socket.create_connection

    def local(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
        assert address[0] == "127.0.0.1", f"a test wants {address[0]}"
        return connect(address, *args, **kwargs)  # type: ignore[arg-type]  # passed on unread

    monkeypatch.setattr(socket, "create_connection", local)


@pytest.fixture
def dead() -> str:
    """The address of a host where nobody answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def tide(*sites: str, **known: str | int | None) -> Published:
    """A model of two files; what is known is known of the weights."""
    weights = PublishedFile("weights.hdf5", tuple(f"{s}/models/weights.hdf5" for s in sites))
    return Published(
        name="tide",
        title="Tide",
        about="a test",
        language="en",
        format="hdf5",
        parameters=None,
        licence="not stated",
        citation="nobody",
        page="https://example.org/tide",
        source="here",
        tokenizer=PublishedTokenizer("words", "en"),
        notes="",
        files=(
            PublishedFile("options.json", tuple(f"{s}/models/options.json" for s in sites)),
            dataclasses.replace(weights, **known),  # type: ignore[arg-type]  # fields of it
        ),
    )


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != ".lock")


def parts(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.glob("*.part")]


SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


# -- the table -----------------------------------------------------------------------------------


def test_the_table_has_every_model_that_is_promised() -> None:
    wanted = """small medium original original-5.5b original-checkpoint pubmed portuguese portuguese-brwac japanese
    german basque seqvec manylangs-en manylangs-zht manylangs-zhs nlpl-195"""
    assert set(wanted.split()) <= published().keys()
    assert sum(record.format == "many_langs_zip" for record in published().values()) == 44


def test_the_44_languages_have_the_44_numbers_of_the_repository() -> None:
    files = [r.files[0] for r in published().values() if r.format == "many_langs_zip"]
    assert sorted(file.name for file in files) == [f"{number}.zip" for number in range(136, 180)]
    assert all(file.urls == (f"http://vectors.nlpl.eu/repository/11/{file.name}",) for file in files)


def test_names_are_unique_and_lower_case() -> None:
    text = Path(catalogue.__file__).with_name("catalogue.json").read_text(encoding="utf-8")
    assert len(re.findall(r'^    "name": ', text, re.MULTILINE)) == len(published())
    assert all(name == name.lower() for name in published())


@pytest.mark.parametrize("record", published().values(), ids=published())
def test_every_record_says_where_it_comes_from_and_whom_to_cite(record: Published) -> None:
    assert record.title and record.about and record.licence and record.source
    assert re.search("(19|20)[0-9]{2}|https://", record.citation)
    assert urlsplit(record.page).scheme == "https"
    assert re.fullmatch("[a-z]{2,3}|protein", record.language)


@pytest.mark.parametrize("record", published().values(), ids=published())
def test_every_file_is_on_the_web_and_has_a_plain_name(record: Published) -> None:
    assert record.files and len({file.name for file in record.files}) == len(record.files)
    for file in record.files:
        assert file.urls and len(set(file.urls)) == len(file.urls)
        assert all(urlsplit(url).scheme in ("https", "http") for url in file.urls)
        assert list(file.urls) == sorted(file.urls, key=lambda url: urlsplit(url).scheme, reverse=True)  # https first
        assert not re.search(r"[/\\]", file.name) and file.name != ".."
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 0


@pytest.mark.parametrize("record", published().values(), ids=published())
def test_a_zip_is_opened_itself_and_everything_else_as_a_folder(record: Published) -> None:
    is_zip = record.files[0].name.endswith(".zip")
    assert record.path_in(Path("m")) == (Path("m") / record.files[0].name if is_zip else Path("m"))
    assert not is_zip or len(record.files) == 1


def test_text_can_be_cut_for_every_model() -> None:
    from lowtide.text.tokenize import make_tokenizer

    for record in published().values():
        make_tokenizer(record.tokenizer.name, language=record.tokenizer.language)


@pytest.mark.parametrize(
    ("typed", "meant"), [("orignal", "original"), ("manylang-en", "manylangs-en"), ("seq-vec", "seqvec")]
)
def test_a_name_that_is_none_brings_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"'{typed}'.*Did you mean '{re.escape(meant)}'"):
        published_model(typed)


def test_upper_case_is_no_other_model() -> None:
    assert published_model("SeqVec") is published_model("seqvec")


def test_the_size_is_known_if_that_of_every_file_is() -> None:
    assert published_model("original").size == 336 + 374_434_792
    assert published_model("medium").size is None


def test_importing_and_listing_open_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbid)
    published.cache_clear()
    assert published() and published_model("small").files


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", ".", "", ".hidden", "C:x", "a\nb", "a\0b", "x.", " x", "a*b", "x" * 201]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no plain name"):
        PublishedFile(name, ("https://example.org/x",))
    with pytest.raises(ConfigError, match="no plain name"):
        PublishedFile("x.tar", ("https://example.org/x",), holds=(name,))
    with pytest.raises(ConfigError, match="no plain name"):
        dataclasses.replace(published_model("small"), name=name)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "x", "https://", "data:,x"])
def test_a_mirror_is_on_the_web(url: str) -> None:
    with pytest.raises(InputError, match="names no file on the web"):
        PublishedFile("x", (url,))


# -- where files lie -----------------------------------------------------------------------------


def test_the_users_folder_for_models_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOWTIDE_MODELS", str(tmp_path / "mine"))
    assert models_folder() == tmp_path / "mine"
    monkeypatch.setenv("LOWTIDE_MODELS", "~/mine")
    assert models_folder() == Path.home() / "mine"


@pytest.mark.parametrize(
    ("system", "variable", "below"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", None, "Library/Caches"),
    ],
)
def test_models_lie_where_this_system_keeps_such_files(
    system: str, variable: str | None, below: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LOWTIDE_MODELS", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    assert models_folder() == tmp_path / below / "lowtide" / "models"
    if variable is not None:
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
        assert models_folder() == tmp_path / "cache" / "lowtide" / "models"
        monkeypatch.setenv(variable, "relative")  # not allowed by the standard, so not meant
        assert models_folder() == tmp_path / below / "lowtide" / "models"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LOWTIDE_MODELS")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match="set LOWTIDE_MODELS"):
        models_folder()


# -- fetching ------------------------------------------------------------------------------------


def test_a_model_comes_whole_and_leaves_nothing_beside(site: Site, tmp_path: Path) -> None:
    folder = fetch(tide(site.address, sha256=SHA256, size=len(WEIGHTS)))
    assert folder == tmp_path / "models" / "tide"
    assert (folder / "options.json").read_bytes() == OPTIONS and (folder / "weights.hdf5").read_bytes() == WEIGHTS
    assert names(folder) == ["options.json", "weights.hdf5"]
    assert site.agents == {"lowtide"}


def test_what_is_here_is_not_asked_for(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.hdf5").write_bytes(b"the user's own")
    fetch(tide(site.address, sha256=SHA256), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == b"the user's own"
    assert [name for name, _ in site.asked] == ["options.json"]
    monkeypatch.setattr(socket, "socket", None)
    assert fetch(tide(site.address), tmp_path) == tmp_path


def test_a_complete_folder_may_be_read_only(site: Site, tmp_path: Path) -> None:
    fetch(tide(site.address), tmp_path / "m")
    (tmp_path / "m" / ".lock").unlink(missing_ok=True)
    (tmp_path / "m").chmod(0o500)
    try:
        fetch(tide(site.address), tmp_path / "m")
        assert names(tmp_path / "m") == ["options.json", "weights.hdf5"]
    finally:
        (tmp_path / "m").chmod(0o700)


def test_a_connection_that_breaks_is_an_error_and_the_next_try_goes_on(site: Site, tmp_path: Path) -> None:
    site.stops_after = 300_000
    with pytest.raises(MissingPathError, match=f"stopped after 300,000 of {len(WEIGHTS):,} bytes of weights.hdf5"):
        fetch(tide(site.address), tmp_path)
    assert parts(tmp_path) == [WEIGHTS[:300_000]] and not (tmp_path / "weights.hdf5").exists()
    site.stops_after = None
    fetch(tide(site.address, sha256=SHA256), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS
    assert site.asked[-1] == ("weights.hdf5", "bytes=300000-")
    assert names(tmp_path) == ["options.json", "weights.hdf5"]


@pytest.mark.parametrize("change", ["has_ranges", "content_range"])
def test_a_server_that_cannot_go_on_starts_over(change: str, site: Site, tmp_path: Path) -> None:
    site.stops_after = 300_000
    with pytest.raises(MissingPathError):
        fetch(tide(site.address), tmp_path)
    site.stops_after = None
    site.has_ranges = change != "has_ranges"
    site.content_range = "bytes 5-9/10" if change == "content_range" else None
    fetch(tide(site.address), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS
    assert site.asked[-1][1] == (None if change == "content_range" else "bytes=300000-")


def test_a_part_that_is_longer_than_the_file_is_begun_again(site: Site, tmp_path: Path) -> None:
    site.stops_after = 300_000
    with pytest.raises(MissingPathError):
        fetch(tide(site.address), tmp_path)
    site.stops_after, site.files["weights.hdf5"] = None, b"another"
    fetch(tide(site.address), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == b"another"


def test_a_part_that_is_complete_is_only_checked(site: Site, tmp_path: Path) -> None:
    site.stops_after = 300_000
    with pytest.raises(MissingPathError):
        fetch(tide(site.address), tmp_path)
    [part] = tmp_path.glob("*.part")
    part.write_bytes(WEIGHTS)
    asked = len(site.asked)
    fetch(tide(site.address, sha256=SHA256, size=len(WEIGHTS)), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS and len(site.asked) == asked


def test_ctrl_c_leaves_what_has_come(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        def advance(self, amount: int, note: str = "") -> None:
            if note == "weights.hdf5" and amount:
                raise KeyboardInterrupt

    @contextmanager
    def bar(*args: object, **kwargs: object) -> Iterator[Impatient]:
        yield Impatient()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetching, "progress", bar)
        fetch(tide(site.address), tmp_path)
    [part] = parts(tmp_path)
    assert part and WEIGHTS.startswith(part)
    fetch(tide(site.address, sha256=SHA256), tmp_path)
    assert site.asked[-1] == ("weights.hdf5", f"bytes={len(part)}-")


def test_a_checksum_that_does_not_fit_is_named_and_the_file_removed(site: Site, tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=rf"weights\.hdf5 .*checksum {SHA256}, expected {'0' * 64}: removed"):
        fetch(tide(site.address, sha256="0" * 64), tmp_path)
    assert names(tmp_path) == ["options.json"]


@pytest.mark.parametrize("has_length", [True, False])
def test_a_file_of_another_size_is_refused(has_length: bool, site: Site, tmp_path: Path) -> None:
    site.has_length = has_length
    where = "at" if has_length else "from"  # refused before it comes, or removed afterwards
    with pytest.raises(MissingPathError, match=rf"weights\.hdf5 {where} \S+ has {len(WEIGHTS):,} bytes, expected 7"):
        fetch(tide(site.address, size=7), tmp_path)
    assert names(tmp_path) == ["options.json"]


def test_a_file_without_a_length_is_taken_until_its_end(site: Site, tmp_path: Path) -> None:
    site.has_length = False
    fetch(tide(site.address), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS


def test_a_connection_that_breaks_is_an_error_where_no_length_was_told(site: Site, tmp_path: Path) -> None:
    site.is_chunked = True
    with pytest.raises(MissingPathError, match=r"the connection to 127\.0\.0\.1:\d+ broke"):
        fetch(tide(site.address), tmp_path)
    assert parts(tmp_path) == [OPTIONS[:-1]] and names(tmp_path)[0].startswith("options.json.")


def test_a_web_page_is_no_file(site: Site, tmp_path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(MissingPathError, match=r"gives a web page instead of options\.json"):
        fetch(tide(site.address), tmp_path)
    assert names(tmp_path) == []


def test_where_nobody_answers_every_missing_file_is_named_with_folder_and_addresses(dead: str, tmp_path: Path) -> None:
    with pytest.raises(MissingPathError) as caught:
        fetch(tide(dead), tmp_path / "m")
    message = str(caught.value)
    for wanted in ("'tide'", "Connection refused", str(tmp_path / "m"), "https://example.org/tide"):
        assert wanted in message
    for name in ("options.json", "weights.hdf5"):
        assert f"{name} ({dead}/models/{name})" in message


def test_what_is_here_is_not_named_as_missing(dead: str, tmp_path: Path) -> None:
    (tmp_path / "options.json").write_bytes(OPTIONS)
    with pytest.raises(MissingPathError) as caught:
        fetch(tide(dead), tmp_path)
    assert "options.json" not in str(caught.value) and "weights.hdf5 (" in str(caught.value)


@pytest.mark.parametrize("fault", ["dead", "404", "short", "page", "checksum"])
def test_the_next_mirror_is_tried(fault: str, site: Site, dead: str, tmp_path: Path) -> None:
    with serving(files={"options.json": OPTIONS, "weights.hdf5": WEIGHTS[:-1] + b"?"}) as first:
        if fault == "404":
            first.files.clear()
        first.stops_after = 5 if fault == "short" else None
        first.content_type = "text/html" if fault == "page" else first.content_type
        record = tide(dead if fault == "dead" else first.address, site.address, sha256=SHA256)
        fetch(record, tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS
    assert names(tmp_path) == ["options.json", "weights.hdf5"]


def test_halves_of_two_mirrors_are_never_put_together(site: Site, tmp_path: Path) -> None:
    with serving(files={"options.json": OPTIONS, "weights.hdf5": b"x" * len(WEIGHTS)}, stops_after=300_000) as first:
        fetch(tide(first.address, site.address), tmp_path)
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS
    assert ("weights.hdf5", None) in site.asked


def test_all_answers_are_told(site: Site, dead: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site.files.clear()
    with (
        caplog.at_level(logging.INFO, "lowtide"),
        pytest.raises(MissingPathError, match=r"cannot be reached \(.*\); neither from 1 other places"),
    ):
        fetch(tide(dead, site.address), tmp_path)
    first, second = caplog.messages
    assert "cannot be reached" in first and "answers with an error: 404" in second


def test_an_answer_of_several_mirrors_is_told_once(site: Site, tmp_path: Path) -> None:
    record = dataclasses.replace(tide(), files=(PublishedFile("x", (site.url("x"), site.url("y/x"))),))
    with pytest.raises(MissingPathError) as caught:
        fetch(record, tmp_path)
    assert str(caught.value).count("404") == 1 and len(site.asked) == 2


def test_two_threads_at_once_fetch_every_file_once(site: Site, tmp_path: Path) -> None:
    site.slow = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, tide(site.address, sha256=SHA256), tmp_path) for _ in range(2)]
        site.slow.set()
        assert [future.result(timeout=30) for future in both] == [tmp_path, tmp_path]
    assert sorted(site.asked) == [("options.json", None), ("weights.hdf5", None)]
    assert (tmp_path / "weights.hdf5").read_bytes() == WEIGHTS


def test_a_redirection_is_followed_on_the_web_only(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    site.redirects = {"options.json": site.url("weights.hdf5"), "weights.hdf5": (tmp_path / "secret").as_uri()}
    with pytest.raises(MissingPathError, match=r"weights\.hdf5"):
        fetch(tide(site.address), tmp_path / "m")
    site.redirects = {"options.json": site.url("other.json"), "weights.hdf5": "ftp://127.0.0.1/weights.hdf5"}
    site.files["other.json"] = OPTIONS
    with pytest.raises(MissingPathError, match="unknown url type: ftp"):
        fetch(tide(site.address), tmp_path / "m")
    assert names(tmp_path / "m") == ["options.json"]


def test_an_encrypted_connection_leads_to_no_open_one() -> None:
    redirects, answer = fetching._Redirects(), (io.BytesIO(), 302, "Found", HTTPMessage())
    request = Request("https://example.org/x")
    assert redirects.redirect_request(request, *answer, "https://example.org/y") is not None
    with pytest.raises(HTTPError) as caught:
        redirects.redirect_request(request, *answer, "http://example.org/x")
    caught.value.close()


def test_a_folder_that_cannot_be_made_is_an_error_of_writing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot write"):
        fetch(tide(site.address), tmp_path / "file" / "m")


def test_the_checksum_of_what_was_never_checked_is_told(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lowtide"):
        fetch(tide(site.address, sha256=SHA256), tmp_path)
    first, second = caplog.messages
    assert hashlib.sha256(OPTIONS).hexdigest() in first and "none published" in first
    assert second.endswith("its SHA-256 is the published one")


# -- archives ------------------------------------------------------------------------------------


def packed(**files: bytes) -> bytes:
    """A tar with these files in a folder, and with one that wants out of it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {"../../escaped": b"!", **{f"zhs.model/{n}": c for n, c in files.items()}}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("zhs.model/word")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream.getvalue()


def packed_model(site: Site) -> Published:
    return dataclasses.replace(
        tide(), files=(PublishedFile("zhs.tar.gz", (site.url("zhs.tar.gz"),), holds=("config", "word")),)
    )


def test_what_is_wanted_of_an_archive_lies_in_the_folder_and_nothing_else(site: Site, tmp_path: Path) -> None:
    site.files["zhs.tar.gz"] = packed(config=b"c", other=b"o") + b""
    with pytest.raises(MissingPathError, match=r"zhs\.tar\.gz does not hold word"):  # which is a link there
        fetch(packed_model(site), tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == ["config", "zhs.tar.gz"] and names(tmp_path) == ["a"]
    (tmp_path / "a" / "b" / "zhs.tar.gz").unlink()
    site.files["zhs.tar.gz"] = packed(config=b"c", word=b"w", other=b"o")
    fetch(packed_model(site), tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == ["config", "word"] and names(tmp_path) == ["a"]


def test_an_archive_that_was_unpacked_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    site.files["zhs.tar.gz"] = packed(config=b"c", word=b"w")
    fetch(packed_model(site), tmp_path)
    more = dataclasses.replace(packed_model(site), files=packed_model(site).files + tide(site.address).files)
    fetch(more, tmp_path)
    assert [name for name, _ in site.asked] == ["zhs.tar.gz", "options.json", "weights.hdf5"]


def test_an_archive_that_somebody_has_put_there_is_unpacked_and_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "zhs.tar.gz").write_bytes(packed(config=b"c", word=b"w"))
    fetch(packed_model(site), tmp_path)
    assert names(tmp_path) == ["config", "word", "zhs.tar.gz"] and site.asked == []


@pytest.mark.parametrize("content", [b"", b"no archive", packed(config=b"c" * 5000, word=b"w")[:-60]])
def test_a_damaged_archive_is_an_error(content: bytes, site: Site, tmp_path: Path) -> None:
    (tmp_path / "zhs.tar.gz").write_bytes(content)
    with pytest.raises(MissingPathError, match=r"zhs\.tar\.gz cannot be unpacked"):
        fetch(packed_model(site), tmp_path)


# -- files named by address ----------------------------------------------------------------------


def test_a_published_file_is_found_by_any_of_its_addresses(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    options, weights = published_model("small").files
    for file in (options, weights):
        (folder / file.name).touch()
        for url in (*file.urls, file.urls[0].replace("https:", "http:")):
            assert local_file(url) == folder / file.name


def test_of_a_published_model_only_the_file_that_is_named_is_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "published", lambda: {"tide": tide("http://127.0.0.1:9", site.address)})
    assert local_file(site.url("options.json")) == tmp_path / "models" / "tide" / "options.json"
    assert names(tmp_path / "models" / "tide") == ["options.json"]


def test_files_of_one_place_on_the_web_lie_side_by_side(site: Site, tmp_path: Path) -> None:
    options, weights = local_file(site.url("options.json")), local_file(site.url("weights.hdf5"))
    assert options.read_bytes() == OPTIONS and weights.read_bytes() == WEIGHTS
    assert options.parent == weights.parent and options.parent.parent == tmp_path / "models" / "by-url"
    assert re.fullmatch("[0-9a-f]{64}", options.parent.name)
    site.files.clear()
    assert local_file(site.url("options.json")) == options


def test_an_address_that_nobody_answers_is_told_with_the_place_for_its_file(dead: str, tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"by-url.*weights\.hdf5 is not there and cannot be fetched \(.*refused"):
        local_file(f"{dead}/a/weights.hdf5")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "/etc/passwd",
        "weights.hdf5",
        "http:///x",
        "http://127.0.0.1/",
        "http://127.0.0.1",
        "http://127.0.0.1/a/..",
        "http://127.0.0.1/a/%2e%2e",
        "http://127.0.0.1/a/..%2f..%2fx",
        "http://127.0.0.1/a/..%5cx",
        "http://127.0.0.1/.lock",
        "http://127.0.0.1/%00x",
        "http://127.0.0.1/%ff",
        "http://[::1/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:x/x",
        "http://me:secret@127.0.0.1/x",
        "",
    ],
)
def test_what_is_no_address_of_a_file_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no file on the web"):
        local_file(url)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["a b", "ü.json", "x?y=z w", "%41.json"])
def test_an_unusual_address_is_fetched_or_an_error_of_ours(name: str, site: Site) -> None:
    site.files["%41.json"] = OPTIONS
    try:
        assert local_file(site.url(name)).name == "A.json"
    except LowtideError as error:
        assert "cannot be fetched" in str(error)
