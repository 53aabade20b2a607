"""From RecBole to here and back, on the MovieLens-100K that RecBole's package brings; docs/recbole.md explains it.

python examples/recbole_bridge.py [EPOCHS]
"""

import sys
from pathlib import Path

from rich.console import Console

import recsys
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.integrations.recbole import import_run, index_of, model_class, run, running, split

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
SETTINGS = {"epochs": EPOCHS, "gpu_id": "", "show_progress": False, "metric_decimal_place": 8}
show = Console(soft_wrap=True).print


# 1. A model of ours where `run_recbole` was called: the same arguments, the same result.

result = run(model="LightGCN", dataset="ml-100k", config_dict=SETTINGS)
show("our LightGCN in RecBole:", dict(result["test_result"]))


# 2. The same step by step, with RecBole's own functions. Everything of RecBole runs inside `running`.

with running():
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_trainer, init_seed
    from recbole.utils.case_study import full_sort_topk

    DCCF = model_class("DCCF", n_layers=1, n_intents=32, embedding_size=16)
    config = Config(model=DCCF, dataset="ml-100k", config_dict=SETTINGS)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = DCCF(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.fit(train, valid)
    show("DCCF in RecBole:", dict(trainer.evaluate(test)))
    users = dataset.token2id("user_id", ["196", "186"])
    items = full_sort_topk(users, model, test, k=5)[1]
    show("DCCF, five items for users 196 and 186:", dataset.id2token("item_id", items).tolist())


# 3. A model of RecBole's before our evaluator: the same metrics.

with running():
    from recbole.model.general_recommender import BPR

    config = Config(model=BPR, dataset="ml-100k", config_dict=SETTINGS)
    bpr = BPR(config, train.dataset)
    bpr_trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, bpr)
    bpr_trainer.fit(train, valid, saved=False)
    theirs = bpr_trainer.evaluate(test, load_best_model=False)
data = split(train, valid, test)
ranking = rank(
    index_of(bpr, train.dataset), data.train + data.valid, data.test, 10, mask_history=True, repeats="candidates"
)
ours = measure(ranking, list(theirs))
show(
    "BPR, largest difference between RecBole's metrics and ours:", max(abs(ours[name] - theirs[name]) for name in ours)
)


# 4. RecBole's split in a training of ours: the result of 1.

trained = recsys.train(
    {
        "model": "lightgcn",
        "training": {"epochs": EPOCHS},
        "evaluation": {"monitor": "mrr@10", "report": list(result["test_result"]), "repeats": "candidates"},
        "seed": config["seed"],
    },
    split=data,
)
show("our LightGCN outside RecBole, on RecBole's split:", trained.result["test"])


# 5. What was trained in RecBole, as a run folder.

imported = import_run(trainer.saved_model_file, Path("runs") / f"imported-{Path(trainer.saved_model_file).stem}")
show("DCCF, imported:", imported.result["test"])
show(imported.recommend(users=["196"], k=5))
