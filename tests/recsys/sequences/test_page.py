"""The page on sequences says what the code understands."""

import re
from pathlib import Path

import torch
import yaml

from recsys.experiment import Experiment

PAGE = (Path(__file__).parents[3] / "docs" / "sequences.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_configurations_are_valid() -> None:
    kinds = [Experiment.load(yaml.safe_load(text)).kind for text in blocks("yaml")]
    assert kinds == ["icsrec", "mclrec"]


def test_the_example_runs() -> None:
    (text,) = blocks("python")
    names: dict = {}
    exec(text, names)
    assert torch.equal(names["same"].values, names["first"].history.values)
