"""The YAML door: every mistake is found, named, and all at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest

from graphcl.errors import suggest
from graphcl.ranges import Count, Dropout, Positive
from graphcl.schedules import Constant, Linear, Schedule
from recsys.config import ConfigError, build, dump, kind_of, parse_yaml, read
from recsys.keys import describe, range_of
from recsys.overrides import override


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A block."""

    size: Count = 3
    """How large."""
    drop: Dropout = 0.5
    """What is dropped."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A configuration."""

    aliases: ClassVar[dict[str, str]] = {"lr": "learning_rate"}
    name: str
    """What it is called."""
    learning_rate: Positive = 1e-3
    """Step size."""
    inner: Inner = field(default_factory=Inner)
    """A block."""
    rate: Schedule = field(default_factory=Constant)
    """A choice."""
    terms: dict[str, Schedule] = field(default_factory=dict)
    """Choices by name."""
    mode: Literal["fast", "exact"] = "fast"
    """A word."""


def test_everything_wrong_is_said_at_once():
    tree = {
        "nmae": "x",
        "learning_rate": -1,
        "inner": {"sise": 3, "drop": 1.0, "size": "many"},
        "rate": {"kind": "liner"},
        "terms": {"a": {"kind": "linear", "strat": 1}},
        "mode": "fats",
    }
    with pytest.raises(ConfigError) as caught:
        build(Outer, tree, "config")
    message = str(caught.value)
    for part in (
        "config.nmae: unknown key; did you mean 'name'?",
        "config.name: is missing",
        "config.learning_rate: must be > 0 (got -1)",
        "config.inner.sise: unknown key; did you mean 'size'?",
        "config.inner.drop: must be in [0, 1) (got 1.0)",
        "config.inner.size: input should be a valid integer",
        "config.rate.kind: 'liner' is unknown; did you mean 'linear'?",
        "config.terms.a.strat: unknown key; did you mean 'start'?",
        "config.mode: input should be 'fast' or 'exact' (got 'fats'); did you mean 'fast'?",
    ):
        assert part in message, part
    assert len(message.splitlines()) == 9


def test_what_is_dumped_builds_the_same():
    made = Outer(name="x", rate=Linear(start=0.5), terms={"b": Linear(end=2.0)}, inner=Inner(size=9))
    tree = dump(made)
    assert tree["rate"] == {"kind": "linear", "start": 0.5, "end": 0.0}
    assert build(Outer, tree, "config") == made


def test_a_kind_may_stand_alone_and_aliases_are_read(caplog):
    caplog.set_level("INFO")
    made = build(Outer, {"name": "x", "rate": "linear", "lr": 0.5}, "config")
    assert made.rate == Linear() and made.learning_rate == 0.5 and "'learning_rate'" in caplog.text
    with pytest.raises(ConfigError, match="says the same as 'learning_rate'"):
        build(Outer, {"name": "x", "learning_rate": 0.1, "lr": 0.5}, "config")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1.5E2", 150.0), ("-2", -2), ("1_000", "1_000"), ("yes", True)]
)
def test_numbers_are_numbers(text, value):
    assert parse_yaml(text, "here") == value or text == "1_000"


def blocks(**keys):
    """What `override` is told of the blocks: their keys, none with another name."""
    return lambda tree: {block: {key: key for key in names} for block, names in keys.items()}


def test_overrides_find_their_block():
    tree = {"seed": 1, "model": {"kind": "x"}}
    override(
        tree,
        ["seed=3", "model.size=4", "epochs=5", "report=[a, b]"],
        blocks(training=["epochs"], evaluation=["report"]),
    )
    assert tree == {
        "seed": 3,
        "model": {"kind": "x", "size": 4},
        "training": {"epochs": 5},
        "evaluation": {"report": ["a", "b"]},
    }
    with pytest.raises(ConfigError, match="is written key=value"):
        override(tree, ["epochs"], blocks())
    with pytest.raises(ConfigError, match="'seed' is not a block"):
        override(tree, ["seed.x=1"], blocks())
    with pytest.raises(ConfigError, match=r"'--epochs': is no option .* set as epochs=3"):
        override(tree, ["--epochs=3"], blocks())
    with pytest.raises(ConfigError, match=r"overrides: 'epochs=3' is one text; give a list, such as \['epochs=3'\]"):
        override(tree, "epochs=3", blocks())


def test_overrides_go_into_blocks_that_are_short_or_empty():
    tree = {"model": "x", "training": None}
    override(tree, ["size=4", "epochs=5"], blocks(model=["size"], training=["epochs"]))
    assert tree == {"model": {"kind": "x", "size": 4}, "training": {"epochs": 5}}
    with pytest.raises(ConfigError, match="'dataset' is not a block of keys"):
        override({"dataset": "ml-100k"}, ["dataset.split=x"], blocks())


def test_whole_blocks_and_kinds_are_set_before_their_keys():
    """Which keys there are follows from the kind; the order on the command line does not matter."""

    def homes(tree):
        keys = {"a": ["x"], "b": ["y"]}[tree["model"]["kind"] if isinstance(tree["model"], dict) else tree["model"]]
        return {"model": {key: key for key in keys}}

    for change in ("model=b", "model.kind=b"):
        tree = {"model": {"kind": "a"}}
        override(tree, ["y=1", change], homes)
        assert tree == {"model": {"kind": "b", "y": 1}}


def test_an_override_replaces_every_other_name_of_its_key():
    names = {"model": {"cl_weight": "cl_weight", "lmd": "cl_weight", "tau": "tau"}}
    for old, new in (("lmd", "cl_weight"), ("cl_weight", "lmd"), ("lmd", "model.cl_weight")):
        tree = {"model": {old: 1, "tau": 2, "mistake": 3}}
        override(tree, [f"{new}=5"], lambda now: names)
        assert tree == {"model": {"tau": 2, "mistake": 3, new.partition(".")[2] or new: 5}}


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'config.yaml'\?"):
        read(tmp_path / "confg.yaml")
    for name, content, words in (
        ("empty.yaml", b"", "must hold keys and values"),
        ("list.yaml", b"- 1\n", "must hold keys and values"),
        ("broken.yaml", b"a: [1\nb: 2\n", "line 2: not valid YAML"),
        ("latin.yaml", "a: ä".encode("latin-1"), "cannot be read as UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            read(tmp_path / name)
    with pytest.raises(ConfigError, match=r"is a folder; name a YAML file, such as .*broken\.yaml"):
        read(tmp_path)


def test_keys_are_described():
    keys = {key.name: key for key in describe(Outer)}
    assert keys["learning_rate"].range == "float > 0" and keys["learning_rate"].meaning == "Step size."
    assert keys["name"].default == "(required)" and keys["mode"].range == "fast | exact"
    assert keys["rate"].range == "constant | linear | parabolic | cosine | step"


def test_ranges_are_words():
    for hint, words in (
        (Count | None, "int >= 1 | nothing"),
        (tuple[str, ...], "list of str"),
        (list[str | dict[str, Any]], "list of str | block of keys"),
        (Mapping[str, Linear | Constant], "block of linear | constant"),
        (str | Mapping[str, Any] | None, "str | block of keys | nothing"),
    ):
        assert range_of(hint) == words


def test_suggestions():
    assert suggest("icrec", ["icsrec", "sgl"]) == "; did you mean 'icsrec'?"
    assert suggest("LightGCN", ["lightgcn", "ngcf"]) == "; did you mean 'lightgcn'?"
    assert suggest("HR@10", ["hit@10"], {"hr@10": "hit@10"}) == "; did you mean 'hit@10'?"
    assert suggest("zzz", ["b", "a"]) == "; known: a, b"
    assert kind_of(Linear) == "linear" and kind_of(type("LeaveOneOut", (), {})) == "leave_one_out"


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(ConfigError, match=r"here, line 3: .*'epochs' stands twice in one block"):
        parse_yaml("training:\n  epochs: 5\n  epochs: 50\n", "here")
    with pytest.raises(ConfigError, match="here"):
        parse_yaml("? [a, b]\n: 1\n? [a, b]\n: 2\n", "here")
    assert parse_yaml("a: &x {k: 1}\nb: {<<: *x, k: 2}\n", "here") == {"a": {"k": 1}, "b": {"k": 2}}


def test_a_word_in_the_place_of_a_list_of_blocks_is_one_mistake():
    @dataclass(frozen=True)
    class Chain:
        steps: tuple[Constant | Linear, ...]

    with pytest.raises(ConfigError) as caught:
        build(Chain, {"steps": "constant"}, "here")
    assert len(str(caught.value).splitlines()) == 1


def test_a_date_is_text_and_never_an_exception():
    assert parse_yaml("from: 2020-01-31", "here") == {"from": "2020-01-31"}
    assert parse_yaml("2020-02-31", "here") == "2020-02-31"


def test_an_override_that_fits_two_blocks_is_refused():
    with pytest.raises(ConfigError, match=r"write model\.precision or training\.precision"):
        override({"model": "ease"}, ["precision=fp64"], blocks(model=["precision"], training=["precision"]))
