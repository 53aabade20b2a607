"""Which items are used alike: for edits that insert or substitute."""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from recsys.data.ragged import Ragged

BLOCK = 1024


def similar_items(histories: Ragged, num_items: int, k: int = 1, *, damped: bool = True) -> Tensor:
    r"""[I, k] the items most often found in the same histories, most similar first (CoSeRec, Liu et al., 2021, eq. 1).

    $s_{ij} = \sum_{u \in U_i \cap U_j} w_u / \sqrt{|U_i| |U_j|}$ with $w_u = 1 / \ln(1 + |u|)$ if `damped` (long
    histories say less), else 1. An item that is never beside another is its own neighbour.
    """
    pair = torch.unique(histories.row * num_items + histories.values)
    user, item = (pair // num_items).numpy(), (pair % num_items).numpy()
    users = csr_matrix((np.ones(len(user)), (item, user)), shape=(num_items, histories.num_rows))
    weight = 1 / np.log1p(np.maximum(np.bincount(user, minlength=histories.num_rows), 1)) if damped else 1.0
    scale = 1 / np.sqrt(np.maximum(users.getnnz(1), 1))
    weighted = users.multiply(np.broadcast_to(weight, histories.num_rows)[None]).T.tocsr()
    found = torch.arange(num_items)[:, None].repeat(1, k)
    for start in range(0, num_items, BLOCK):
        block = (users[start : start + BLOCK] @ weighted).multiply(scale[None]).toarray()
        block[np.arange(len(block)), start + np.arange(len(block))] = 0
        best = torch.from_numpy(block).topk(min(k, num_items))
        rows = slice(start, start + len(block))
        found[rows, : best.indices.shape[1]] = torch.where(best.values > 0, best.indices, found[rows, :1])
    return found
