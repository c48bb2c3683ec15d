"""How the files of published models come here, and where they lie.

`fetch` brings those of a model, for naming it is the wish for it: into a folder of the model, from one
mirror after the other, each file whole or not at all, and only what is not there yet. What has come when a connection
breaks, or when somebody presses Ctrl-C, lies beside as ``.part``, and the next try goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import (
    BaseHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from filelock import FileLock, Timeout

from lowtide.errors import InputError, LowtideError, MissingPathError, ModelError
from lowtide.files import explained, make_folder, remove, sha256, written_whole
from lowtide.progress import progress
from lowtide.weights.catalogue import Published, PublishedFile, published, web_address

log = logging.getLogger("lowtide")

TIMEOUT_SECONDS = 10.0
"""How long a server may be silent."""
_CHUNK = 1 << 18

# -- where files lie -----------------------------------------------------------------------------


def models_folder() -> Path:
    """Where fetched models are kept: ``LOWTIDE_MODELS``, else the place that this system has for such files.

    Raises:
        InputError: if the user has no home folder, and ``LOWTIDE_MODELS`` is not set.
    """
    try:
        if chosen := os.environ.get("LOWTIDE_MODELS"):
            return Path(chosen).expanduser()
        return _caches() / "lowtide" / "models"
    except RuntimeError:  # what Path has for a user without a home
        raise InputError("there is no home folder for models: set LOWTIDE_MODELS to a folder") from None


def _caches() -> Path:
    variable, *below = {"win32": ("LOCALAPPDATA", "AppData", "Local"), "darwin": ("", "Library", "Caches")}.get(
        sys.platform, ("XDG_CACHE_HOME", ".cache")
    )
    chosen = Path(os.environ.get(variable, ""))
    return chosen if chosen.is_absolute() else Path.home().joinpath(*below)


def fetch(record: Published, folder: Path | None = None) -> Path:
    """See to it that all files of a model are here; what is missing is fetched, the rest is left alone.

    Args:
        record: the model.
        folder: where its files lie or go; None: one of its name in `models_folder`.

    Returns:
        The folder.

    Raises:
        MissingPathError: if a file is missing and no mirror gives it; says which files belong where.
        WriteError: if the folder cannot be written.
    """
    folder = models_folder() / record.name if folder is None else folder
    _complete(record, record.files, folder)
    return folder


def local_file(url: str) -> Path:
    """The file that old code names by its address; fetched if it is not here.

    A file of a published model, named by any of its mirrors, lies in the model's folder. Any other lies under
    ``by-url``, beside those of the same address but for the last part.

    Raises:
        InputError: if it is no address of a file on the web.
        MissingPathError: if it is not here and cannot be fetched.
        WriteError: if the folder cannot be written.
    """
    address = web_address(url)
    for record in published().values():
        for file in record.files:
            if not file.holds and address[1:] in (urlsplit(mirror)[1:] for mirror in file.urls):  # http or https
                folder = models_folder() / record.name
                _complete(record, [file], folder)
                return folder / file.name
    prefix, _, name = address.path.rpartition("/")
    place = _digest(urlunsplit(address._replace(path=prefix, fragment="")))
    file = PublishedFile(unquote(name), (url,))
    folder = models_folder() / "by-url" / place
    if not file.is_in(folder):
        try:
            with _reserved(folder):
                _bring(file, folder)
        except (MissingPathError, ModelError) as error:
            raise MissingPathError(
                f"{folder / file.name} is not there and cannot be fetched ({error}): put it there, or try again"
            ) from None
    return folder / file.name


# -- fetching ------------------------------------------------------------------------------------


def _complete(record: Published, files: Sequence[PublishedFile], folder: Path) -> None:
    """Fetch what is missing of some files of a model."""
    if all(file.is_in(folder) for file in files):
        return
    try:
        with _reserved(folder):
            for file in files:
                if not file.is_in(folder):
                    _bring(file, folder)
    except (MissingPathError, ModelError) as error:
        missing = ", ".join(f"{file.name} ({file.urls[0]})" for file in files if not file.is_in(folder))
        raise MissingPathError(
            f"the model {record.name!r} cannot be fetched ({error}): put these files into {folder}: {missing}; "
            f"they are described at {record.page}"
        ) from None


@contextmanager
def _reserved(folder: Path) -> Iterator[None]:
    """Keep a folder for one process at a time; the others wait, and find the files there."""
    with explained(folder):
        make_folder(folder)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("waiting     another process is fetching into %s", folder)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _bring(file: PublishedFile, folder: Path) -> None:
    """Fetch a file, and unpack it if it is an archive.

    Raises:
        MissingPathError: if no mirror gives it; says what each has answered.
        ModelError: if an archive cannot be unpacked.
    """
    place = folder / file.name
    is_new = not place.is_file()
    if is_new:
        _download(file, place)
    if file.holds:
        _unpack(place, file.holds)
        if is_new:  # one that somebody has put here is theirs
            remove(place)


def _download(file: PublishedFile, place: Path) -> None:
    parts = {url: place.with_name(f"{place.name}.{_digest(url)[:8]}.part") for url in file.urls}  # halves never mix
    failures = []
    for url, part in parts.items():
        try:
            _load(url, file, part)
            _check(url, file, part)
        except (MissingPathError, ModelError) as error:
            failures.append(str(error))
            log.info("fetching    this address does not give the file, another is tried: %s", error)
            continue
        with written_whole(place) as beside:
            part.replace(beside)
        for leftover in parts.values():
            remove(leftover)
        return
    first, *others = dict.fromkeys(failures)
    raise MissingPathError(f"{first}; neither from {len(others)} other places" if others else first)


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _check(url: str, file: PublishedFile, part: Path) -> None:
    """Compare a download with what is known of the file; what does not fit is removed."""
    size, checksum, host = part.stat().st_size, sha256(part), urlsplit(url).netloc
    if file.size not in (None, size):
        remove(part)
        raise ModelError(f"{file.name} from {host} has {size:,} bytes, expected {file.size:,}: removed")
    if file.sha256 not in (None, checksum):
        remove(part)
        raise ModelError(
            f"{file.name} from {host} has the SHA-256 checksum {checksum}, expected {file.sha256}: removed"
        )
    if file.sha256 is None:
        log.info("fetched     %s from %s: its SHA-256 is %s, with none published to compare", file.name, host, checksum)
    else:
        log.info("fetched     %s from %s: its SHA-256 is the published one", file.name, host)


def _load(url: str, file: PublishedFile, part: Path) -> None:
    """Load a file, or what is missing at the end of a part of it.

    Raises:
        MissingPathError: if the server cannot be reached, does not have the file, or stops too early.
        ModelError: if it gives something else.
    """
    host = urlsplit(url).netloc
    begun = part.stat().st_size if part.is_file() else 0
    if begun and begun == file.size:
        return
    try:
        response, begun = _ask(url, begun)
    except HTTPError as error:
        error.close()
        raise MissingPathError(f"{host} answers with an error: {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise MissingPathError(f"{host} cannot be reached ({_reason(error)})") from None
    with response:
        if response.headers.get_content_type() == "text/html":  # a network that wants a login, a host that was sold
            raise ModelError(f"{host} gives a web page instead of {file.name}")
        total = None if response.length is None else begun + response.length
        if total is not None and file.size not in (None, total):
            raise ModelError(f"{file.name} at {host} has {total:,} bytes, expected {file.size:,}")
        done = begun
        with progress("fetching", total=total or file.size, unit="bytes") as bar:
            bar.advance(begun, note=file.name)
            with explained(part), part.open("ab" if begun else "wb") as handle:
                for chunk in _chunks(response, host, is_sized=total is not None):
                    handle.write(chunk)
                    done += len(chunk)
                    bar.advance(len(chunk), note=file.name)
    if total is not None and done != total:
        raise MissingPathError(f"{host} stopped after {done:,} of {total:,} bytes of {file.name}")


def _ask(url: str, begun: int) -> tuple[HTTPResponse, int]:
    """The answer of a server, and the byte it begins at: ``begun``, or 0 if the server does not go on from there."""
    if begun:
        try:
            response = _open(url, {"Range": f"bytes={begun}-"})
        except HTTPError as error:
            if error.code != 416:  # which is: there is nothing behind that byte
                raise
            error.close()
        else:
            content_range = response.headers.get("Content-Range", "")
            if response.status == 200:
                return response, 0
            if response.status == 206 and content_range.startswith(f"bytes {begun}-"):
                return response, begun
            response.close()
    response = _open(url, {})
    if response.status != 200:
        raise HTTPError(url, response.status, response.reason, response.headers, response)
    return response, 0


def _chunks(response: HTTPResponse, host: str, *, is_sized: bool) -> Iterator[bytes]:
    """What comes, until it ends; a broken connection is an end too, if it will be seen that something is missing."""
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        if not is_sized:
            raise MissingPathError(f"the connection to {host} broke ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)  # of what urllib wraps
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Refuse to be led from an encrypted connection to an open one."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_HANDLERS: tuple[type[BaseHandler], ...] = (
    ProxyHandler,
    UnknownHandler,
    HTTPHandler,
    HTTPSHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    _Redirects,
)
"""Those of urllib, but for the ones that open local files and FTP when a server sends us there."""


def _open(url: str, headers: Mapping[str, str]) -> HTTPResponse:
    opener = OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    request = Request(url, headers={"User-Agent": "lowtide", **headers})
    response: HTTPResponse = opener.open(request, timeout=TIMEOUT_SECONDS)
    return response


def _unpack(archive: Path, names: Sequence[str]) -> None:
    """Take files out of a tar archive, into the folder where it lies.

    Nothing else is taken, and names in the archive lead nowhere: only their last part counts.

    Raises:
        ModelError: if it cannot be read, or lacks one of them.
    """
    missing = set(names)
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = PurePosixPath(member.name).name
                content = members.extractfile(member) if member.isfile() and name in missing else None
                if content is not None:
                    with written_whole(archive.with_name(name)) as beside, beside.open("wb") as handle:
                        shutil.copyfileobj(content, handle)
                    missing.discard(name)
    except LowtideError:
        raise
    except Exception as error:  # what a damaged archive raises is as many things as there are ways to damage it
        raise ModelError(
            f"{archive} cannot be unpacked ({error}): remove it and try again, or unpack it yourself"
        ) from None
    if missing:
        raise ModelError(f"{archive} does not hold {', '.join(sorted(missing))}: is it another archive?")
