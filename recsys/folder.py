"""The files of a run folder, and where each thing stands in it."""

import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from graphcl.errors import InputError, NotFiniteError, refuse_unknown_word
from graphcl.models import EMBEDDERS
from graphcl.training.checkpoint import write_atomically
from graphcl.training.state import LAST
from recsys.blocks import plain_tree
from recsys.config import read

CONFIG, DATA, METRICS, ENVIRONMENT = "config.yaml", "data.safetensors", "metrics.jsonl", "environment.json"
RESULT, PER_USER, REPORT = "result.json", "per_user.parquet", "report.html"
EMBEDDING = "embedding.npy"
PACKAGES = (
    "graphcl-recsys",
    "torch",
    "torch-geometric",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "torch-scatter",
    "recbole",
)

logger = logging.getLogger(__name__)


def create(output: Path, stem: str) -> Path:
    """A new, empty run folder below `output`, called `stem` (without blanks and the like) and the time.

    Raises:
        InputError: the folder cannot be made.
    """
    stem = re.sub(r"[^\w.+]+", "-", stem).strip("-.") or "run"
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        folder = output / f"{stem}-{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not output.is_dir():
                raise InputError(f"output: {output} is a file; name a folder") from None
            continue
        except OSError as error:
            raise InputError(f"output: {folder} cannot be made ({error.strerror}); name a writable folder") from error
        return folder
    raise InputError(f"output: {output} holds a thousand runs of this second; wait one")


@contextmanager
def discarded_unless_begun(folder: Path, *, new: bool) -> Iterator[None]:
    """Delete a `new` run folder where a mistake ends its training before anything is saved: nobody could go on from it.

    Some mistakes show in the first batch or the first evaluation only. A training that diverges is none.
    """
    try:
        yield
    except InputError as error:
        if new and not isinstance(error, NotFiniteError) and not (folder / LAST).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def find_same(tree: Mapping[str, Any], complete: Callable[[Any], Mapping[str, Any]]) -> Path | None:
    """The newest run folder with the configuration `tree`, finished or not; None where there is none.

    complete: spells out a configuration; keys that came later than a run folder count with their defaults.
    """
    wanted = plain_tree(tree)

    def same(path: Path) -> bool:
        then = read_config(path)
        try:
            return then == wanted or (isinstance(then, dict) and plain_tree(complete(then)) == wanted)
        except InputError:  # of another version, or of another kind of model
            return False

    configs = Path(tree["output"]).expanduser().glob(f"*/{CONFIG}")
    latest = sorted(configs, key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path.parent for path in latest if same(path)), None)


def refuse_embedder(folder: Path) -> None:
    """Raise `InputError` for a run folder of a model that learns vectors of nodes and ranks nothing."""
    model = read(folder / CONFIG).get("model")
    if isinstance(model, Mapping) and model.get("kind") in list(EMBEDDERS):
        raise InputError(
            f"{folder}: is a run of an embedder ({model['kind']}), which has no users or items; once it has ended, its "
            f"vectors are in {EMBEDDING} and what they are worth in {RESULT}"
        )


def read_config(path: Path) -> Any:
    """What `write_config` wrote; None, and a warning, where the file is damaged."""
    try:
        return yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, ValueError):
        logger.warning("%s: cannot be read; this run is passed over", path)
        return None


def write_config(folder: Path, tree: Mapping[str, Any]) -> None:
    """The complete configuration, from which the run can be made again."""
    write_yaml(folder / CONFIG, tree)


def write_yaml(path: Path, tree: Mapping[str, Any]) -> None:
    """Replace `path` by a tree of keys."""
    write_atomically(path, yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True).encode())


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by readable JSON."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; {} where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        content = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); restore it, or delete it and resume the training") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged (no keys and values); restore it, or delete it and resume the training")
    return content


def environment(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on besides its configuration: code, versions, hardware, data."""
    return {
        "command": sys.argv,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "data": dict(data),
        "started": datetime.now().isoformat(timespec="seconds"),
    }


def device_of(wanted: str) -> torch.device:
    """Where to train: "auto", "cpu" or "cuda".

    Raises:
        InputError: it is none of these, or a GPU was asked for and there is none.
    """
    refuse_unknown_word("device", wanted, ("auto", "cpu", "cuda"))
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda was asked for, but torch sees no GPU here; use device: auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout that runs here, "-dirty" where code or YAML was changed; None outside one."""
    here = Path(__file__).parents[1]
    try:
        if Path(git(here, "rev-parse", "--show-toplevel")).resolve() != here.resolve():
            return None  # installed somewhere within a project of somebody's
        changed = git(here, "diff", "--name-only", "HEAD", "--", "*.py", "*.yaml")
        return git(here, "describe", "--always", "--abbrev=12") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def git(folder: Path, *words: str) -> str:
    """What git says in `folder`."""
    found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10)
    return found.stdout.strip()


class MetricsFile:
    """`metrics.jsonl`: one line an epoch. A resumed run replaces the lines of epochs that it repeats."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self._started = False

    def write(self, record: Mapping[str, Any]) -> None:
        """Add the record of one epoch."""
        if not self._started:
            kept = [json.dumps(old) for old in self.read() if old["epoch"] < record["epoch"]]
            write_atomically(self.path, "".join(line + "\n" for line in kept).encode())
            self._started = True
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); make room and resume") from error

    def read(self) -> list[dict[str, Any]]:
        """The records so far; a last line cut short by a kill is left out."""
        records = []
        for line in self.path.read_text(errors="replace").splitlines() if self.path.exists() else []:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict) and isinstance(record.get("epoch"), int):
                records.append(record)
            else:
                logger.warning("%s: a line was cut short by an interruption and is left out", self.path)
        return records
