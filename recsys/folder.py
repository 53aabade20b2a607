"""The files of a run folder, and where each thing stands in it."""

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from graphcl.errors import InputError
from graphcl.training.checkpoint import write_atomically
from recsys.data.interactions import Split
from recsys.experiment import Experiment

CONFIG, DATA, METRICS, ENVIRONMENT = "config.yaml", "data.safetensors", "metrics.jsonl", "environment.json"
RESULT, PER_USER, REPORT = "result.json", "per_user.parquet", "report.html"
PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "pandas", "scikit-learn", "torch-scatter", "recbole")

logger = logging.getLogger(__name__)


def create(experiment: Experiment, dataset: str) -> Path:
    """A new, empty run folder below the experiment's `output`, named after data set, model, seed and time.

    Raises:
        InputError: the folder cannot be made.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    stem = f"{Path(dataset).name}-{experiment.kind}-{experiment.settings.seed}-{stamp}"
    output = Path(experiment.settings.output)
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        folder = output / (stem + suffix)
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


def find_unfinished(experiment: Experiment) -> Path | None:
    """The newest run folder of the same experiment, finished or not; None where there is none."""
    folders = sorted(Path(experiment.settings.output).glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime)
    for config in reversed(folders):
        try:
            same = Experiment.load(config).digest == experiment.digest
        except InputError as error:
            logger.warning("%s passed over: %s", config.parent, error)
            continue
        if same:
            return config.parent
    return None


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by readable JSON."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def write_config(folder: Path, experiment: Experiment) -> None:
    """The complete configuration, from which the run can be made again."""
    text = yaml.safe_dump(experiment.tree(), sort_keys=False, allow_unicode=True)
    write_atomically(folder / CONFIG, text.encode())


def environment(split: Split) -> dict[str, Any]:
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
        "data": {"digest": split.digest, **split.protocol},
        "started": datetime.now().isoformat(timespec="seconds"),
    }


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout that this code runs from, marked where files were changed; None outside one."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
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
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); go on with --resume") from error

    def read(self) -> list[dict[str, Any]]:
        """The records so far; a last line cut short by a kill is left out."""
        records = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                logger.warning("%s: a line was cut short by an interruption and is left out", self.path)
        return records
