"""What README and docs promise is what the code understands."""

import re
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


def test_the_configuration_of_the_readme_is_valid():
    (tree,) = [tree for tree in blocks("README.md") if "model" in tree]
    assert Experiment.load(tree).kind == "simgcl"


def test_the_blocks_on_training_are_valid():
    space, training = blocks("docs/training.md")
    assert Experiment.load({"model": "simgcl", **training}).training.warmup_steps == 100
    refuse_misfits(space_of(space), Experiment.load({"model": "simgcl"}))
