"""What README and docs promise is what the code understands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from graphcl.errors import InputError
from graphcl.models import EMBEDDERS
from recsys.data.catalog import load_split
from recsys.experiment import Experiment
from recsys.models import MODELS
from recsys.search_space import refuse_misfits, space_of

ROOT = Path(__file__).parents[2]


def blocks(name):
    """The YAML blocks of a page."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)]


def test_readme_lists_every_model():
    listed = re.findall(r"`(\w+)`", (ROOT / "README.md").read_text())
    assert not {*MODELS, *EMBEDDERS} - set(listed)


@pytest.mark.parametrize("page", ["README.md", "docs/data.md"])
def test_descriptions_of_own_files_are_understood(page):
    (own,) = [tree["dataset"] for tree in blocks(page) if isinstance(tree.get("dataset"), dict)]
    with pytest.raises(InputError, match="no such file"):
        load_split(own)


def test_the_model_of_the_examples_trains_and_every_command_knows_it(config):
    """In a process of its own: the file puts its model among all others."""

    def call(*words):
        command = [sys.executable, str(ROOT / "examples/own_model.py"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT).stdout

    assert "cl_weight" in call("config", "layer_dcl")
    call("train", config, "model=layer_dcl", "epochs=1")
    (run,) = (config.parent / "runs").iterdir()
    assert "history 1" in call("recommend", run, "--history", "i1,i2", "-k", 1)


def test_the_configuration_of_the_readme_is_valid():
    (tree,) = [tree for tree in blocks("README.md") if "model" in tree]
    assert Experiment.load(tree).kind == "simgcl"


def test_the_blocks_on_training_are_valid():
    space, training = blocks("docs/training.md")
    assert Experiment.load({"model": "simgcl", **training}).training.warmup_steps == 100
    refuse_misfits(space_of(space), Experiment.load({"model": "simgcl"}))
