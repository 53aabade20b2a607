"""The examples of docs/objectives.md run, and learn."""

import re
import runpy
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "objectives.md"
EXAMPLES = re.findall(r"^## With (.+?)\n.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_example_learns(tmp_path, name, code):
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    losses = runpy.run_path(str(tmp_path / "example.py"))["losses"]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_both_examples_are_there():
    assert [name for name, _ in EXAMPLES] == ["any PyG encoder", "a sequence encoder"]
