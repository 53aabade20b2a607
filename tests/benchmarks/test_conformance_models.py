"""DCCF, ICSRec and MCLRec equal their golden vectors, and every tampered array is noticed."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.conformance import Archive, judge, read, recognise

GOLDEN = Path(__file__).parents[1] / "golden"
TAMPERED = {
    "dccf": {
        "eval_topk_item": "evaluation",
        "eval_hit": "evaluation",
        "eval_ndcg_per_user": "evaluation",
        "metric_recall_sum": "metrics of given lists",
        "sslrec_loss_cl": "SSLRec's losses",
        "sslrec_grad_item_intent": "SSLRec's losses",
    },
    "icsrec": {
        "all_s2": "pairs",
        "ds_flat": "segments",
        "dscase1/out_off": "segments",
        "sas/h1_all": "sas/encoder",
        "gru/prototypes": "gru/encoder",
        "sas/ficl2_cos_nofneg": "sas/losses",
        "gru/grad_dot_nofneg/gru_layers.weight_hh_l0": "gru/gradients",
        "gru/adam_curve": "gru/training",
        "sas/eval_test_metrics_neginf": "sas/rankings",
    },
    "mclrec": {
        "fwd/z2": "forward",
        "att_augmenter/out": "attention augmenter",
        "loss/reg_h2_z1": "losses",
        "loss/total_step2_rl0": "totals",
        "grad/joint_rl0/aug2/dense_3.bias": "gradients",
        "update/sgd_meta/after_step2/aug1/dense_1.weight": "update/sgd_meta",
        "update/adam_meta_3batches/after/encoder/item_embedding.weight": "update/adam_meta_3batches, own passes",
        "augop/out_len": "operators",
    },
}


@pytest.mark.parametrize("name", TAMPERED)
def test_everything_agrees(name: str) -> None:
    found, layout = recognise(read(GOLDEN / f"{name}.npz"))
    assert found == name
    outcomes = [judge(case) for case in layout.cases(read(GOLDEN / f"{name}.npz"))]
    assert outcomes and not [outcome.failure for outcome in outcomes if outcome.failure]
    assert all(outcome.covered for outcome in outcomes)


FIRST = {"eval_topk_item", "eval_hit"}
"""The ends of these hold masked items, which nobody judges."""
CASES = [(name, array, case) for name, pairs in TAMPERED.items() for array, case in pairs.items()]


@pytest.mark.parametrize(("name", "array", "case"), CASES)
def test_a_tampered_array_is_noticed(name: str, array: str, case: str) -> None:
    golden = read(GOLDEN / f"{name}.npz")
    changed = golden[array].copy()
    place = (0,) * changed.ndim if array in FIRST else np.unravel_index(changed.size - 1, changed.shape)
    changed[place] += 1 if np.issubdtype(changed.dtype, np.integer) else 1e-4
    layout = recognise(golden)[1]
    broken = Archive({**golden.arrays, array: changed})
    (outcome,) = (judge(found) for found in layout.cases(broken) if found.name == case)
    assert outcome.failure
