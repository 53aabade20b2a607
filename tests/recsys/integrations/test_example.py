"""The script of docs/recbole.md, two epochs on ml-100k."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "examples" / "recbole_bridge.py"


def test_the_script_shows_what_the_page_says(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "2"])
    made = runpy.run_path(str(SCRIPT))
    inside, outside = made["result"]["test_result"], made["trained"].result["test"]
    assert inside == pytest.approx(outside, abs=1e-6)
    assert inside["recall@10"] > 0.1
    assert made["ours"] == pytest.approx(made["theirs"], abs=1e-6)
    assert made["imported"].recommend(users=["196"], k=5).shape == (5, 4)
    assert made["items"].shape == (2, 5)
