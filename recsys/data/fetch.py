"""Files of a data set: found where they are, else downloaded whole or not at all."""

import hashlib
import os
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from graphcl.errors import InputError
from recsys.data.entries import Entry, File, Source

ATTEMPTS = 3
"""How often a download is tried before giving up."""
PAUSE = 1.0
"""Seconds before the second attempt; each later pause is twice as long."""
TIMEOUT = 30.0
"""Seconds without a byte before an attempt is given up."""

A_DAY = 86_400.0
"""Seconds."""


def data_home() -> Path:
    """The folder of data sets: `GRAPHCL_DATA`, else the user's cache folder."""
    named = os.environ.get("GRAPHCL_DATA")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("graphcl")


def present(name: str, source: Source) -> dict[str, Path] | None:
    """The files of a source, if all of them are there."""
    found = {file: locate(name, file, spec) for file, spec in source.files.items()}
    return {file: path for file, path in found.items() if path is not None} if all(found.values()) else None


def locate(name: str, file: str, spec: File) -> Path | None:
    """The file in the data folder, or in the installed package that brings it."""
    path = data_home() / name / file
    if path.is_file():
        return path
    if spec.package is not None and spec.member is not None:
        package = find_spec(spec.package)
        for folder in (package and package.submodule_search_locations) or ():
            if (Path(folder) / spec.member).is_file():
                return Path(folder) / spec.member
    return None


def downloadable(source: Source) -> bool:
    """Whether every file has an address."""
    return all(spec.url is not None for spec in source.files.values())


def check_hashes(name: str, source: Source, found: Mapping[str, Path]) -> None:
    """Raise `InputError` if a file is not what the catalogue says."""
    for file, spec in source.files.items():
        if spec.sha256 is not None and (actual := sha256(found[file])) != spec.sha256:
            raise InputError(
                f"{found[file]}: its sha256 is {actual}, not {spec.sha256} as in datasets.yaml; "
                f"delete it and run 'recsys datasets prepare {name}'"
            )


def sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    name: str, entry: Entry, source: Source, accept: Callable[[Mapping[str, Path]], object]
) -> dict[str, Path]:
    """Get the files of a source into the data folder.

    They arrive in a folder of their own and move to their places only when all are there and `accept` raises
    nothing: whatever interrupts this, no half-written or foreign file is left under a final name.

    Raises:
        InputError: the server does not give them, they are not what the catalogue says, or the folder is read-only.
    """
    folder = data_home() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with TemporaryDirectory(prefix=".incoming-", dir=folder) as incoming:
            arrived = {file: get(file, spec, Path(incoming)) for file, spec in source.files.items()}
            check_hashes(name, source, arrived)
            accept(arrived)
            return {file: path.replace(folder / file) for file, path in arrived.items()}
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); set GRAPHCL_DATA to a folder that can, "
            f"or put the files there yourself (see {entry.origin})"
        ) from error


def sweep(folder: Path) -> None:
    """Remove what downloads that were killed left behind, but not what another process may be writing."""
    for left in folder.glob(".incoming-*"):
        if time.time() - left.stat().st_mtime > A_DAY:
            shutil.rmtree(left, ignore_errors=True)


def get(file: str, spec: File, folder: Path) -> Path:
    """Download one file, out of its archive if it is in one."""
    assert spec.url is not None
    if spec.member is None:
        return retrieve(spec.url, f"sha256:{spec.sha256}" if spec.sha256 else None, folder / file)
    by_hand = f"unpack {spec.member} of it by hand to {folder.parent} as {file}"
    archive = retrieve(spec.url, spec.archive, folder / "archive.zip", by_hand)
    try:
        # one member is copied to a name of ours, so no name inside the archive can lead out of the folder
        with zipfile.ZipFile(archive) as opened, opened.open(spec.member) as member, (folder / file).open("wb") as out:
            while block := member.read(1 << 20):
                out.write(block)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise InputError(f"{spec.url}: is no archive with {spec.member} in it ({error}); try again later") from error
    archive.unlink()
    return folder / file


def retrieve(url: str, known_hash: str | None, path: Path, by_hand: str = "") -> Path:
    """Download `url` to `path`, several times if it breaks off or does not match its hash.

    by_hand: what to do instead, in words; by default to put the file in the place of `path`.

    Raises:
        InputError: all attempts failed; the last cause is named.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    cause = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
            return path
        except requests.HTTPError as error:
            answer = error.response
            cause = (
                "the server refuses" if answer is None else f"the server answers {answer.status_code} {answer.reason}"
            )
            if answer is not None and answer.status_code < 500:
                break
        except requests.RequestException as error:
            cause = f"the connection failed or broke off ({type(error).__name__})"
        except ValueError:
            cause = f"what arrived does not have the hash it should have ({known_hash})"
    by_hand = by_hand or f"download it by hand to {path.parent.parent} as {path.name}"
    raise InputError(f"{url}: {cause}; check the connection, or {by_hand}")
