"""Golden vectors of MEOW and AdaMEOW: two schemas each, every stage from the meta-path counts to the gradients."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks.conformance import TOLERANCE, Archive, Case, Check
from graphcl.cluster import Clusters, concentrations
from graphcl.models.adameow import AdaMEOW
from graphcl.models.blocks import sparse_matrix
from graphcl.models.features import Features
from graphcl.models.meow import MEOW
from graphcl.models.metapath import MetaPathEmbedder
from graphcl.objectives import ClusterWeight
from graphcl.views.contexts import contexts
from graphcl.views.metapath import MetaPath, path_counts
from graphcl.views.pathsim import most_similar, pathsim

SCHEMAS = {
    "short": ("pas", ("p-a-p", "p-s-p"), (0, 1)),
    "long": ("aptc", ("a-p-a", "a-p-c-p-a", "a-p-t-p-a"), (0, 0, 1, 2, 0, 3, 4)),
}
"""Node types in the order of the features, paths, and which `nei` array each context along the paths equals."""
SINGLE_REFERENCE = {torch.float64: 1e-6, torch.float32: 1e-5}
"""For what the authors' k-means computed in float32: centroids, and with them concentrations."""


@dataclass(frozen=True)
class Golden:
    """One schema of a file, in one precision."""

    archive: Archive
    schema: str
    dtype: torch.dtype

    def __getitem__(self, name: str) -> Tensor:
        return self.archive.tensor(f"{self.schema}/{name}", self.dtype)

    def __contains__(self, name: str) -> bool:
        return f"{self.schema}/{name}" in self.archive

    def check(self, name: str, actual: Tensor, *, single: bool = False) -> Check:
        """Compare with the array `name`."""
        expected = self.archive[f"{self.schema}/{name}"]
        return Check(name.replace(":", "/"), expected, actual, SINGLE_REFERENCE if single else TOLERANCE)

    @property
    def paths(self) -> tuple[str, ...]:
        """The meta-paths."""
        return SCHEMAS[self.schema][1]

    def graph(self) -> HeteroData:
        """The raw edges and features."""
        data = HeteroData()
        for number, name in enumerate(SCHEMAS[self.schema][0]):
            data[name].x = self[f"feat{number}"]
        for key in self.archive:
            if key.startswith(f"{self.schema}/edges_"):
                source, target = key[-2], key[-1]
                data[source, "to", target].edge_index = self[key.split("/")[1]].nonzero().T.contiguous()
        data.target_type = SCHEMAS[self.schema][0][0]
        return data


def recognises(names: Collection[str]) -> bool:
    """Two schemas with meta-path counts and gradients of an attention."""
    return "short/mp_counts0" in names and "long/grad:att.att" in names


def cases(archive: Archive) -> Iterator[Case]:
    """Per schema: pre-processing, encoder, loss and gradients."""
    for schema in SCHEMAS:
        for name, run in (("views", check_views), ("encoder", check_encoder), ("loss", check_loss)):
            yield Case(f"{schema}/{name}", partial(_in_precision, run, archive, schema))


def _in_precision(run, archive: Archive, schema: str, dtype: torch.dtype) -> list[Check]:  # type: ignore[no-untyped-def]
    with default_dtype(dtype):
        return list(run(Golden(archive, schema, dtype)))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Parameters and tables in `dtype`; put back afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check_views(golden: Golden) -> Iterator[Check]:
    """Counts, PathSim, the cut, normalised graphs, and who meets whom."""
    data, model = golden.graph(), build(golden)
    order = iter(SCHEMAS[golden.schema][2])
    for number, text in enumerate(golden.paths):
        path = MetaPath.parse(text, data)
        counts = path_counts(data, path)
        kept = most_similar(counts, int(golden["nei_max"][number]))
        yield golden.check(f"mp_counts{number}", _dense(counts))
        yield golden.check(f"pathsim{number}", _dense(pathsim(counts)))
        yield golden.check(f"topk_adj{number}", _dense(kept))
        yield golden.check(f"adj_norm{number}", model.inputs.graphs[number].dense())
        for context in contexts(data, path):
            yield golden.check(f"nei{next(order)}", _dense(context.matrix))
    yield golden.check("adj_coarse", model.inputs.coarse_graph.dense())


def check_encoder(golden: Golden) -> Iterator[Check]:
    """Inputs and outputs of the shared GCN, fusion, projected rows."""
    model: Any = build(golden)
    inputs, seen = model.inputs, list[tuple[Tensor, Tensor]]()
    hook = model.gcn.register_forward_hook(lambda module, given, made: seen.append((given[0], made)))
    views = model.whole_views()
    hook.remove()
    names = [f"{kind}{path}" for path in range(len(inputs.places)) for kind in ("view", "mask")] + ["coarse"]
    for name, (given, made) in zip(names, seen, strict=True):
        yield golden.check(f"h_{name}", given)
        yield golden.check(f"enc_{name}", made)
    units = [torch.nn.functional.normalize(made, dim=1) for _, made in seen[:-1]]
    yield golden.check("att_beta", model.attention.weights(units))
    yield golden.check("z_final", views.fine)
    yield golden.check("z_final", model.embed())
    yield golden.check("z_coarse_proj", model.project(views.coarse))
    yield golden.check("z_fine_proj", model.project(views.fine))


def check_loss(golden: Golden) -> Iterator[Check]:
    """Pair weights, loss terms, and the gradient of every parameter."""
    model: Any = build(golden)
    views = model.whole_views()
    u, v = model.project(views.coarse), model.project(views.fine)
    if isinstance(model, MEOW):
        yield from _meow_parts(golden, model, u, v)
        terms = _meow_terms(golden, model, u, v)
        yield golden.check("loss_info", terms["info"])
        yield golden.check("loss_proto", terms["proto"])
        terms["proto"] = model.config.proto_weight * terms["proto"]
        similarity = u @ v.T
    else:
        assert isinstance(model, AdaMEOW)
        terms = model.contrast(v, u)
        yield golden.check("neg_weight", model.info.weight_net(v, u).exp())
        model.info.reduction = "none"
        yield golden.check("info_per_node", model.info(v, u))
        similarity = v @ u.T
    yield golden.check("exp_sim", (similarity / golden["tau"]).exp())
    total = torch.stack(list(terms.values())).sum()
    yield golden.check("loss_total", total)
    total.backward()
    for ours, theirs in parameter_names(golden, model).items():
        gradient = model.get_parameter(ours).grad
        assert gradient is not None
        expected = golden.archive[f"{golden.schema}/grad:{theirs}"]
        yield Check(f"grad {theirs}", expected, gradient.reshape(expected.shape))


def _meow_terms(golden: Golden, model: MEOW, u: Tensor, v: Tensor) -> dict[str, Tensor]:
    """The terms alone, from the authors' centroids and concentrations, which they computed in float32."""
    clusters = torch.stack([golden[f"assign{number}"] for number in range(len(golden["num_clusters"]))])
    proto = [
        model.proto(u, golden[f"centroid{number}"], own, golden[f"density{number}"])
        for number, own in enumerate(clusters)
    ]
    return {"info": model.info(u, v, clusters), "proto": torch.stack(proto).mean()}


def _meow_parts(golden: Golden, model: MEOW, u: Tensor, v: Tensor) -> Iterator[Check]:
    clusterings = golden_clusters(golden)
    terms = model.contrast(u, v, clusterings)
    yield golden.check("loss_total", terms["info"] + terms["proto"], single=True)
    for number, found in enumerate(clusterings):
        likeness = (v * found.centroids[found.assignment]).sum(1)
        phi = concentrations(
            likeness,
            found.assignment,
            len(found.centroids),
            temperature=model.config.temperature,
            smoothing=model.config.smoothing,
        )
        yield golden.check(f"assign_ip{number}", likeness, single=True)
        yield golden.check(f"density{number}", phi, single=True)
        yield golden.check(f"assign{number}", (v @ found.centroids.T).argmax(1))
        yield golden.check(f"centroid{number}", torch.nn.functional.normalize(found.centroids, dim=1), single=True)
    everything = slice(None)
    clusters = torch.stack([found.assignment for found in clusterings])
    weight = ClusterWeight(clusters)(torch.zeros(len(u), len(u)), everything, everything).exp()
    yield golden.check("neg_weight", weight)
    model.info.reduction = "none"
    yield golden.check("info_per_node", model.info(u, v, clusters))
    model.info.reduction = "mean"


def golden_clusters(golden: Golden) -> list[Clusters]:
    """The authors' clusterings, an input of the loss."""
    return [
        Clusters(golden[f"centroid_raw{number}"], golden[f"assign{number}"], torch.zeros(()))
        for number in range(len(golden["num_clusters"]))
    ]


def build(golden: Golden) -> MetaPathEmbedder:
    """The model with the file's parameters and random masks, without dropout."""
    adaptive = "param:MLP.0.weight" in golden
    common: dict[str, Any] = {
        "metapaths": golden.paths,
        "n_neighbors": tuple(golden["nei_max"].tolist()),
        "embedding_size": golden["z_final"].shape[1],
        "drop_ratio": 0.0,
        "temperature": float(golden["tau"]),
    }
    model: MetaPathEmbedder
    if adaptive:
        sizes: dict[str, Any] = {
            "projection_size": golden["param:project.weight"].shape[0],
            "weight_hidden_size": golden["param:MLP.0.weight"].shape[0],
        }
        model = AdaMEOW(golden.graph(), AdaMEOW.Config(**common, **sizes))
    else:
        clusters = tuple(golden["num_clusters"].tolist())
        config = MEOW.Config(**common, n_clusters=clusters, proto_weight=float(golden["lam_proto"]))
        model = MEOW(golden.graph(), config)
    model.inputs.masked_features = Features(golden["feat0_masked"].numpy(), model.inputs.num_nodes)
    for number in range(len(golden.paths)):
        masked = csr_matrix(golden[f"adj_mask_norm{number}"].numpy())
        model.inputs.masked_graphs[number] = sparse_matrix(masked)
    with torch.no_grad():
        for ours, theirs in parameter_names(golden, model).items():
            parameter = model.get_parameter(ours)
            parameter.copy_(golden[f"param:{theirs}"].reshape(parameter.shape))
    return model


def parameter_names(golden: Golden, model: MetaPathEmbedder) -> dict[str, str]:
    """Our names of the parameters and the authors'; their second PReLU is never used and has no counterpart."""
    names = {
        "gcn.first": "Encoder.gc1.weight",
        "gcn.activation.weight": "Encoder.gc1.act.weight",
        "gcn.second": "Encoder.gc2.weight",
        "attention.query": "att.att",
        "attention.transform.weight": "att.fc.weight",
        "attention.transform.bias": "att.fc.bias",
        "project.linear.weight": "project.weight",
        "project.linear.bias": "project.bias",
    }
    for part in ("weight", "bias"):
        for number, name in enumerate(SCHEMAS[golden.schema][0]):
            names[f"project_type.{name}.{part}"] = f"fc_list.{number}.{part}"
        if isinstance(model, AdaMEOW):
            names[f"info.weight_net.hidden.{part}"] = f"MLP.0.{part}"
            names[f"info.weight_net.out.{part}"] = f"MLP.2.{part}"
    places = [(path, place) for path, found in enumerate(model.inputs.places) for place in range(len(found))]
    for number, (path, place) in enumerate(places):
        names[f"aggregate.{path}.{place}.weight"] = f"agg.{number}.weight"
    return names


def _dense(matrix: csr_matrix) -> Tensor:
    return torch.from_numpy(matrix.toarray())


def checks(archive: Archive, schema: str, dtype: torch.dtype) -> Iterable[Check]:
    """Everything of one schema, for tests."""
    for run in (check_views, check_encoder, check_loss):
        yield from _in_precision(run, archive, schema, dtype)
