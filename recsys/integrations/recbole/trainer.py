"""The one trainer of all our models inside RecBole: our epochs, its evaluation, stopping and files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recbole.trainer import Trainer
from recbole.utils import set_color
from tqdm import tqdm

from graphcl.training.loop import run_epoch
from graphcl.training.state import TrainingState
from recsys.integrations.recbole import checkpoints
from recsys.integrations.recbole.keys import refuse_several_processes, regime


class BridgeTrainer(Trainer):
    """RecBole's `Trainer`, whose epochs are those of `graphcl.training.loop`.

    Batches come from the model's own sampler over RecBole's training data, with every phase and its optimiser, the
    hook before each epoch, and all random draws as in `fit`: the same seed and data give the same losses. RecBole's
    loader of the training part is not read.
    """

    epochs: int
    optimizer: Any
    saved_model_file: Any

    def __init__(self, config: Any, model: Any) -> None:
        refuse_several_processes(config)
        self.regime = regime(config)
        super().__init__(config, model)
        learner = model.recommender
        if not learner.phases:
            self.epochs = 1
        self.stopping_step, self.eval_step = self.regime.stopping_step, min(self.regime.eval_step, self.epochs)
        self.state = TrainingState.begin(
            learner,
            lambda parameters: self._build_optimizer(params=list(parameters), learner=self.regime.learner),
            seed=config["seed"],
            scale_losses=self.regime.training.precision == "fp16",
        )
        self.optimizer = next(iter(self.state.optimizers.values()), self.optimizer)
        self.sampler: Any = None
        self.saved_model_file = unused(self.saved_model_file)

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> tuple[float, ...]:
        """The sum over the batches of each loss term, in the order in which the model names them."""

        def progress(batches: Iterable[Any], total: int, title: str) -> Iterable[Any]:
            label = set_color(f"Train {epoch_idx:>5}", "pink")
            return tqdm(batches, total=total, ncols=100, desc=label) if show_progress else batches

        self.model.train()
        if self.sampler is None:
            self.sampler = self.model.recommender.sampler()
        self.state.epoch = epoch_idx
        first = self.state.step
        record = run_epoch(self.model.recommender, self.regime.training, self.state, self.sampler, progress)
        count = self.state.step - first
        return tuple(mean * count for mean in record["losses"].values()) or (0.0,)

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **options: Any) -> None:
        """Everything that `resume_checkpoint` needs to go on bit for bit, as data that loads with weights only."""
        path = options.pop("saved_model_file", self.saved_model_file)
        position = {
            "epoch": epoch,
            "step": self.state.step,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
        }
        checkpoints.save(path, self.config, self.model, self.state, position)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Go on from a checkpoint of this trainer.

        Raises:
            InputError: the checkpoint is of another trainer or of another model.
        """
        self.saved_model_file = str(resume_file)
        position = checkpoints.resume(self.saved_model_file, self.model, self.state)
        self.start_epoch = position["epoch"] + 1
        self.cur_step, self.best_valid_score = position["cur_step"], position["best_valid_score"]
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")


def unused(path: str) -> str:
    """`path`, numbered if a file is there: RecBole's names tell the second and no more."""
    free, number = Path(path), 1
    while free.exists():
        number += 1
        free = Path(path).with_stem(f"{Path(path).stem}-{number}")
    return str(free)
