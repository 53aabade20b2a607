"""The loop on a learner small enough to know what must happen."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from graphcl.errors import InputError, NotFiniteError
from graphcl.schedules import Linear
from graphcl.training import checkpoint, loop
from graphcl.training.learner import Learner
from graphcl.training.lock import locked
from graphcl.training.loop import Training, fit, to_device
from graphcl.training.state import BEST, LAST


class Rows(NamedTuple):
    x: Tensor


class RowSampler:
    def __init__(self, rows=40):
        self.x = torch.arange(rows, dtype=torch.float)[:, None] / rows

    def steps(self, batch_size):
        return -(-len(self.x) // batch_size)

    def batches(self, batch_size, generator):
        for rows in torch.randperm(len(self.x), generator=generator).split(batch_size):
            yield Rows(self.x[rows])


class Line(Learner):
    """Fits y = 2x through dropout and noise of its own: every generator matters."""

    phases = ("slope", "offset")

    def __init__(self):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))
        self.register_buffer("epochs_begun", torch.zeros((), dtype=torch.long))

    def sampler(self):
        return RowSampler()

    def learns(self, phase):
        return [self.slope if phase == "slope" else self.offset]

    def begin_epoch(self, sampler):
        self.epochs_begun += 1

    def forward(self, batch, phase):
        noise = torch.rand(batch.x.shape, generator=self.generator) * 0.1
        x = nn.functional.dropout(batch.x + noise, 0.1, self.training)
        return {
            "error": (self.slope * x + self.offset - 2 * x).square().mean(),
            "size": 0.01 * self.slope.square().sum(),
        }


def weights(learner):
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_logs_every_term():
    learner, records = Line(), []
    fit(learner, Training(epochs=80, train_batch_size=8, learning_rate=0.02), seed=1, log=records.append)
    assert records[-1]["losses"]["error"] < 0.1 * records[0]["losses"]["error"]
    assert set(records[0]["losses"]) == {"error", "size"} and records[0]["gradient_norm"] > 0
    assert learner.epochs_begun > 0 and not learner.training


def test_seed_decides_everything_and_global_generators_are_untouched():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    runs = []
    for seed in (1, 1, 2):
        learner = Line()
        fit(learner, Training(epochs=3, train_batch_size=8), seed=seed)
        runs.append(weights(learner))
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("stop", [0, 2, 5])
def test_resume_is_bit_equal(tmp_path, optimizer, stop):
    training = Training(epochs=7, train_batch_size=8, optimizer=optimizer, learning_rate=0.05, warmup_steps=9)
    whole = Line()
    fit(whole, training, seed=3, folder=tmp_path, validate=lambda: {"m": float(whole.slope)}, monitor="m")
    (tmp_path / "cut").mkdir()

    class Killed(Exception):
        pass

    def kill(record):
        if record["epoch"] == stop:
            raise Killed

    cut = Line()
    with pytest.raises(Killed):
        fit(
            cut,
            training,
            seed=3,
            folder=tmp_path / "cut",
            validate=lambda: {"m": float(cut.slope)},
            monitor="m",
            log=kill,
        )
    again = Line()
    fit(
        again,
        training,
        seed=3,
        folder=tmp_path / "cut",
        resume=True,
        validate=lambda: {"m": float(again.slope)},
        monitor="m",
    )
    assert same(weights(whole), weights(again))
    for name in (LAST, BEST):
        assert (tmp_path / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_patience_stops_and_the_best_weights_stay(where, tmp_path):
    folder = tmp_path if where == "folder" else None
    learner, values = Line(), iter([0.1, 0.9, 0.5, 0.9, 0.3, 0.2, 0.1])
    snapshots = {}

    def validate():
        snapshots[len(snapshots)] = weights(learner)
        return {"ndcg@10": next(values)}

    outcome = fit(learner, Training(epochs=50, patience=3), seed=0, validate=validate, monitor="ndcg@10", folder=folder)
    assert (outcome.best_epoch, outcome.last_epoch, outcome.cause) == (1, 4, "patience")  # a tie is not better
    assert same(snapshots[1], weights(learner))


def test_nan_is_never_the_best():
    learner, values = Line(), iter([float("nan"), 0.2, float("nan")])
    outcome = fit(learner, Training(epochs=3), seed=0, validate=lambda: {"m": next(values)}, monitor="m")
    assert outcome.best_epoch == 1


class Exploding(Line):
    where = "loss"

    def forward(self, batch, phase):
        if self.where == "loss":
            return {"fine": self.slope.sum(), "broken": (self.slope * 0).log().sum()}
        return {"fine": self.slope.abs().sqrt().sum()}  # zero loss, infinite gradient


@pytest.mark.parametrize(("where", "word"), [("loss", "'broken'"), ("gradient", "gradient of slope")])
def test_non_finite_names_its_cause(where, word):
    learner = Exploding()
    learner.where = where
    with pytest.raises(NotFiniteError, match=word):
        fit(learner, Training(epochs=2), seed=0)


class Stumbling(Line):
    """Breaks in its fourth batch alone."""

    phases = ("all",)
    calls = 0

    def learns(self, phase):
        return self.parameters()

    def forward(self, batch, phase):
        self.calls += 1
        return {"error": self.slope.sum() * (float("nan") if self.calls == 4 else 1.0)}


class Overflowing(Stumbling):
    """Has a gradient that is not finite in all batches but the third."""

    rare = False

    def forward(self, batch, phase):
        self.calls += 1
        fine = self.slope.sum() ** 2 + self.offset.sum()
        broken = 0 if self.rare and self.calls == 3 else (self.slope.sum() * 0).abs().sqrt()
        return {"error": fine + broken}


def test_a_scaler_that_skips_every_step_ends_the_training():
    training, told = Training(epochs=30, train_batch_size=8, precision="fp16"), []
    with pytest.raises(NotFiniteError, match="not finite in any step in epoch"):
        fit(Overflowing(), training, seed=0, log=told.append)
    assert told[0]["gradient_norm"] == 0  # it might have found its scale yet
    learner, told = Overflowing(), []
    learner.rare = True
    fit(learner, replace(training, epochs=1), seed=0, log=told.append)  # the steps that it skips count for nothing
    assert 0 < told[0]["gradient_norm"] < 100


def test_a_batch_that_nobody_looked_at_is_not_finite_either(monkeypatch):
    look = loop.refuse_non_finite

    def as_on_a_gpu(losses, norm, learner, state, where):
        if "batch" not in where or where.endswith("batch 0"):
            look(losses, norm, learner, state, where)

    monkeypatch.setattr(loop, "refuse_non_finite", as_on_a_gpu)
    with pytest.raises(NotFiniteError, match="loss term 'error' is nan somewhere in epoch 0"):
        fit(Stumbling(), Training(epochs=1, train_batch_size=8), seed=0)


def test_clipping_bounds_the_step():
    learner = Line()
    fit(learner, Training(epochs=1, train_batch_size=40, optimizer="sgd", learning_rate=1.0, clip_norm=1e-3), seed=0)
    assert abs(float(learner.slope)) <= 1.001e-3 and float(learner.slope) != 0


def test_learning_rate_warms_up_and_follows_its_schedule():
    training = Training(learning_rate=0.1, warmup_steps=4, learning_rate_schedule=Linear(start=1.0, end=0.0))
    rates = [training.learning_rate_at(step, 11) for step in range(11)]
    assert rates[0] == pytest.approx(0.025) and rates[4] == pytest.approx(0.06) and rates[10] == pytest.approx(0.0)


def test_loss_schedule_scales_its_term_alone():
    plain, scaled = [], []
    for log, schedules in ((plain, {}), (scaled, {"size": Linear(start=0.0, end=0.0)})):
        fit(Line(), Training(epochs=2, learning_rate=1e-9, loss_schedules=schedules), seed=0, log=log.append)
    assert scaled[0]["losses"]["size"] == 0 and scaled[0]["losses"]["error"] == plain[0]["losses"]["error"]
    with pytest.raises(InputError, match=r"loss_schedules.contrats: no loss term is called so"):
        fit(Line(), Training(epochs=1, loss_schedules={"contrats": Linear()}), seed=0)


def test_loss_schedule_reaches_its_end_with_the_last_batch():
    plain, rising = [], []
    for log, schedules in ((plain, {}), (rising, {"error": Linear(start=0.0, end=1.0)})):
        training = Training(epochs=2, train_batch_size=40, learning_rate=1e-9, loss_schedules=schedules)
        fit(Line(), training, seed=0, log=log.append)
    assert [record["losses"]["error"] for record in rising] == pytest.approx([0, plain[1]["losses"]["error"]])


def test_unmeasured_monitor_is_refused():
    with pytest.raises(InputError, match="'ndcg@20' is not measured"):
        fit(Line(), Training(epochs=1), seed=0, validate=lambda: {"ndcg@10": 1.0}, monitor="ndcg@20")


def test_bf16_runs():
    fit(Line(), Training(epochs=1, precision="bf16"), seed=0)


def test_deterministic_switch_is_put_back():
    fit(Line(), Training(epochs=1, deterministic=True), seed=0)
    assert not torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        fit(Line(), Training(epochs=1), seed=0)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_no_other_gpu_is_reseeded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("all GPUs were seeded"))
    fit(Line(), Training(epochs=1), seed=0)


class Tied(Line):
    """Has one parameter by two names."""

    def __init__(self):
        super().__init__()
        self.also_slope = self.slope


def test_tied_weights_are_saved_and_go_on(tmp_path):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, cut = Tied(), Tied()
    fit(whole, Training(epochs=4), seed=0, folder=tmp_path / "whole")
    fit(cut, Training(epochs=2), seed=0, folder=tmp_path / "cut")
    fit(cut, Training(epochs=4), seed=0, folder=tmp_path / "cut", resume=True)
    assert same(weights(whole), weights(cut)) and cut.also_slope is cut.slope


def test_a_checkpoint_of_another_device_is_refused(tmp_path):
    learner = Line()
    fit(learner, Training(epochs=1), seed=0, folder=tmp_path)
    tensors, position = checkpoint.load(tmp_path / LAST)
    checkpoint.save(tmp_path / LAST, tensors | {"random/cuda": torch.zeros(16, dtype=torch.uint8)}, position)
    with pytest.raises(InputError, match="saved on device cuda, the training would go on on cpu"):
        fit(learner, Training(epochs=2), seed=0, folder=tmp_path, resume=True)


def test_foreign_and_damaged_checkpoints_are_named(tmp_path):
    learner = Line()
    fit(learner, Training(epochs=1), seed=0, folder=tmp_path)
    tensors, _ = checkpoint.load(tmp_path / BEST)
    with pytest.raises(InputError, match="lacks 'slope'"):
        checkpoint.load_weights(learner, {k: v for k, v in tensors.items() if k != "slope"}, tmp_path)
    with pytest.raises(InputError, match="does not know, 'other'"):
        checkpoint.load_weights(learner, tensors | {"other": torch.zeros(1)}, tmp_path)
    with pytest.raises(InputError, match=r"'slope' has shape \(2,\)"):
        checkpoint.load_weights(learner, tensors | {"slope": torch.zeros(2)}, tmp_path)
    whole = (tmp_path / BEST).read_bytes()
    (tmp_path / BEST).write_bytes(whole[:-3])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        checkpoint.load(tmp_path / BEST)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="not a checkpoint of this library"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "absent.safetensors")


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.ones(2)}, {})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(InputError, match=r"No space left on device.*is intact"):
        checkpoint.save(path, {"a": torch.zeros(2)}, {})
    assert torch.equal(checkpoint.load(path)[0]["a"], torch.ones(2)) and list(tmp_path.iterdir()) == [path]


def test_others_may_read_a_checkpoint_as_they_may_read_a_file(tmp_path):
    (tmp_path / "plain").touch()
    checkpoint.save(tmp_path / "x.safetensors", {"a": torch.ones(2)}, {})
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in (".last.safetensors.4711", ".other.4711", "kept.safetensors"):
        (tmp_path / name).touch()
    fit(Line(), Training(epochs=1), seed=0, folder=tmp_path)
    assert {".other.4711", "kept.safetensors", LAST, BEST} < {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / ".last.safetensors.4711").exists()


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with locked(tmp_path / ".lock", "this"), pytest.raises(InputError, match=r"the training in .* is being run by"):
        fit(Line(), Training(epochs=1), seed=0, folder=tmp_path)


def test_a_gradient_too_large_for_its_norm_is_no_nameless_one():
    class Steep(Line):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.zeros(64))

        def forward(self, batch, phase):
            return {"error": 2e19 * self.slope.sum() + self.offset.sum()}

    with pytest.raises(NotFiniteError, match=r"gradients reach 2e\+19, their norm is not finite in epoch 0"):
        fit(Steep(), Training(epochs=1), seed=0)


def test_batches_move_as_they_are():
    nested = (Rows(torch.zeros(1)), 3)
    moved = to_device(nested, torch.device("cpu"))
    assert isinstance(moved[0], Rows) and moved[1] == 3
