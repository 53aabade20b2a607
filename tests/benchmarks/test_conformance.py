"""The judge of golden files: everything covered agrees, other sizes and seeds too, and damage is noticed."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.conformance import Archive, Case, Check, check_file, judge, read, recognise

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.npz"


def verdict(path):
    console = Console(record=True, width=160, file=io.StringIO())
    return check_file(path, console), console.export_text()


@pytest.fixture(scope="module")
def outcomes():
    archive = read(GOLDEN)
    _, layout = recognise(archive)
    return [judge(case) for case in layout.cases(archive)]


def test_every_case_is_covered_and_agrees(outcomes):
    assert [(outcome.name, outcome.failure) for outcome in outcomes if outcome.failure or not outcome.covered] == []
    assert len(outcomes) == 59
    assert max(max(outcome.differences.values()) for outcome in outcomes) > 0  # float32 was compared


def test_the_bars_hold_with_room(outcomes):
    exact = [v for o in outcomes for (dtype, _), v in o.differences.items() if dtype == torch.float64]
    assert max(exact) < 1e-12


# A file of the same layout from dense formulas, written independently of the library.


def normalise(z):
    return z / z.norm(dim=1, keepdim=True)


def dense_ntxent(z0, z1, tau, mask=None, weighted=False):
    z = torch.cat([z0, z1])
    n = len(z0)
    s = z @ z.T / tau
    own = torch.eye(2 * n, dtype=torch.bool)
    drop = own if mask is None else own | mask
    positive = torch.cat([s.diagonal(n), s.diagonal(-n)])
    keep = ~drop | own.roll(n, 0)
    return (torch.log((s.exp() * keep).sum(1)) - positive).mean()


def dense_dcl(z0, z1, tau, sigma=None):
    z = torch.cat([z0, z1])
    n = len(z0)
    s, own = z @ z.T / tau, torch.eye(2 * n, dtype=torch.bool)
    negative = (s.exp() * ~(own | own.roll(n, 0))).sum(1).log()
    weight = 1.0 if sigma is None else 2 - n * torch.softmax((z0 * z1).sum(1) / sigma, 0).detach().repeat(2)
    return (negative - weight * torch.cat([s.diagonal(n), s.diagonal(-n)])).mean()


def dense_supcon(x, labels, tau):
    s = normalise(x) @ normalise(x).T / tau
    other = ~torch.eye(len(x), dtype=torch.bool)
    positive = (labels[:, None] == labels) & other
    log_p = s - (s.exp() * other).sum(1, keepdim=True).log()
    rows = positive.sum(1) > 0
    return (-(log_p * positive).sum(1)[rows] / positive.sum(1)[rows]).mean()


def dense_each(x, labels, tau):
    s = normalise(x) @ normalise(x).T / tau
    alike = labels[:, None] == labels
    negative = (s.exp() * ~alike).sum(1, keepdim=True)
    positive = alike & ~torch.eye(len(x), dtype=torch.bool)
    return (torch.log(s.exp() + negative) - s)[positive].mean()


def dense_meow(za, z, clusters, tau):
    e = (za @ z.T / tau).exp()
    weight = sum((c[:, None] != c).double() for c in clusters)
    return -(e.diagonal() / (weight * e).sum(1)).log().mean()


def dense_proto(z, clusters, prototypes, densities):
    terms = []
    for c, p, d in zip(clusters, prototypes, densities, strict=True):
        e = (z @ p.T / d).exp()
        terms.append(-(e[torch.arange(len(z)), c] / (len(z) / len(p) * e.sum(1))).log().mean())
    return sum(terms) / len(terms)


def dense_adameow(za, z, w1, b1, w2, b2, tau):
    weight = torch.sigmoid(F.elu((za[:, None] + z) @ w1.T + b1) @ w2.T + b2)[..., 0]
    e = (za @ z.T / tau).exp()
    return -(e.diagonal() / (weight * e).sum(1)).log().mean()


def dense_heco(z1, z2, pos, tau, lam):
    e = (normalise(z1) @ normalise(z2).T / tau).exp()
    there, back = (-((m / (m.sum(1, keepdim=True) + 1e-8) * pos).sum(1)).log().mean() for m in (e, e.T))
    return lam * there + (1 - lam) * back


def dense_dccf(e1, e2, tau, eps):
    e = (normalise(e1) @ normalise(e2).T / tau).exp()
    return -(e.diagonal() / (e.sum(1) + eps) + eps).log().mean()


def dense_debiased(x, y, t, tau_plus, beta=0.0):
    z, n = torch.cat([x, y]), len(x)
    e, own = (z @ z.T / t).exp(), torch.eye(2 * n, dtype=torch.bool)
    keep = ~(own | own.roll(n, 0))
    positive, count = e[own.roll(n, 0)], 2 * n - 2
    hard = (e ** (1 + beta) * keep).sum(1) / (e**beta * keep).sum(1) * count
    floor = torch.tensor(count * np.exp(-1 / t))
    corrected = torch.maximum((hard - tau_plus * count * positive) / (1 - tau_plus), floor)
    return (torch.log(positive + corrected) - positive.log()).mean()


def write_dense(path, rows, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    arrays = {"__about__": json.dumps({"seed": seed, "B": rows, "D": dim, "dtype": "float64", "layout": "as losses"})}

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    def ids(high, shape):
        return torch.randint(high, shape, generator=generator)

    def add(case, hyper, loss, differentiable, constant=None):
        leaves = {name: value.clone().requires_grad_() for name, value in differentiable.items()}
        value = loss(**leaves, **(constant or {}))
        value.backward()
        arrays[f"{case}/loss"] = value.detach().numpy()
        for name, leaf in leaves.items():
            arrays[f"{case}/{name}"], arrays[f"{case}/grad_{name}"] = leaf.detach().numpy(), leaf.grad.numpy()
        for name, fixed in (constant or {}).items():
            arrays[f"{case}/{name}"] = fixed.numpy()
        meta = {"grads": list(leaves), "hyper": hyper, "kind": "formula", "source": "this test"}
        arrays[f"{case}/meta"] = json.dumps(meta)

    x, y = draw(rows, dim), draw(rows, dim)
    u, v = normalise(x), normalise(y)
    labels, singles = ids(4, (rows,)), torch.cat([torch.tensor([91, 92]), ids(3, (rows - 2,))])
    add("ntxent_lightly_tau0.1", {"temperature": 0.15}, lambda x0, x1: dense_ntxent(normalise(x0), normalise(x1), 0.15),
        {"x0": x, "x1": y})  # fmt: skip
    add("dcl_lightly", {"temperature": 0.2}, lambda x0, x1: dense_dcl(normalise(x0), normalise(x1), 0.2),
        {"x0": x, "x1": y})  # fmt: skip
    add("dclw_lightly", {"temperature": 0.2, "sigma": 0.7, "weights": "detached"},
        lambda x0, x1: dense_dcl(normalise(x0), normalise(x1), 0.2, 0.7), {"x0": x, "x1": y})  # fmt: skip
    add("infonce_selfrec", {"temperature": 0.3}, lambda v1, v2: dense_dccf(v1, v2, 0.3, 0.0), {"v1": x, "v2": y})
    add("infonce_dccf", {"temperature": 0.3, "eps_denominator": 1e-6, "eps_prob": 1e-6},
        lambda e1, e2: dense_dccf(e1, e2, 0.3, 1e-6), {"e1": x, "e2": y})  # fmt: skip
    add("infonce_icsrec_plain", {"f_neg": False, "sim": "cos", "temperature": 0.5},
        lambda zi, zj: dense_ntxent(normalise(zi), normalise(zj), 0.5), {"zi": x, "zj": y})  # fmt: skip
    twice = labels.repeat(2)
    add("infonce_icsrec_fnm", {"f_neg": True, "sim": "dot", "temperature": 1.0},
        lambda zi, zj, labels: dense_ntxent(zi, zj, 1.0, twice[:, None] == twice),
        {"zi": x / 2, "zj": y / 2}, {"labels": labels})  # fmt: skip
    counts = (2, 3, 4)
    clusters = {f"c{k}": ids(count, (rows,)) for k, count in enumerate(counts)}
    add("infonce_meow", {"num_clusters": counts, "tau": 0.6},
        lambda za, z, **c: dense_meow(za, z, c.values(), 0.6), {"za": u, "z": v}, clusters)  # fmt: skip
    prototypes = {f"p{k}": normalise(draw(count, dim)) for k, count in enumerate(counts)}
    densities = {f"d{k}": torch.rand(count, dtype=torch.float64, generator=generator) + 0.2
                 for k, count in enumerate(counts)}  # fmt: skip
    add("protonce_meow", {"num_clusters": counts},
        lambda z, **k: dense_proto(z, clusters.values(), prototypes.values(), densities.values()),
        {"z": u}, {**clusters, **prototypes, **densities})  # fmt: skip
    add("infonce_adameow", {"tau": 0.8},
        lambda za, z, W1, b1, W2, b2: dense_adameow(za, z, W1, b1, W2, b2, 0.8),
        {"za": u, "z": v, "W1": draw(6, dim), "b1": draw(6), "W2": draw(1, 6), "b2": draw(1)})  # fmt: skip
    pos = ((torch.rand(rows, rows, generator=generator) < 0.2) | torch.eye(rows, dtype=torch.bool)).double()
    add("heco", {"lam": 0.3, "tau": 0.7}, lambda z1, z2, pos: dense_heco(z1, z2, pos, 0.7, 0.3),
        {"z1": x, "z2": y}, {"pos": pos})  # fmt: skip
    add("supcon_pml_singletons", {"temperature": 0.2}, lambda x, labels: dense_supcon(x, labels, 0.2),
        {"x": x}, {"labels": singles})  # fmt: skip
    add("ntxent_pml", {"temperature": 0.2}, lambda x, labels: dense_each(x, labels, 0.2),
        {"x": x}, {"labels": labels})  # fmt: skip
    add("debiased", {"t": 0.4, "tau_plus": 0.05}, lambda x, y: dense_debiased(x, y, 0.4, 0.05), {"x": u, "y": v})
    add("hcl", {"t": 0.6, "tau_plus": 0.02, "beta": 0.5}, lambda x, y: dense_debiased(x, y, 0.6, 0.02, 0.5),
        {"x": u, "y": v})  # fmt: skip
    add("uniformity_sslrec", {"t": 3}, lambda x: torch.pdist(normalise(x)).square().mul(-3).exp().mean().log(),
        {"x": x})  # fmt: skip
    np.savez(path, **arrays)
    return len({name.split("/")[0] for name in arrays if "/" in name})


@pytest.mark.parametrize(("rows", "dim", "seed"), [(11, 5, 0), (37, 16, 1), (64, 3, 2)])
def test_files_of_other_sizes_and_seeds_agree(tmp_path, rows, dim, seed):
    count = write_dense(tmp_path / "other.npz", rows, dim, seed)
    held, text = verdict(tmp_path / "other.npz")
    assert held, text
    assert f"{count} of {count} covered cases agree" in text


# Damage.


@pytest.fixture(scope="module")
def intact():
    return dict(np.load(GOLDEN).items())


def test_one_exit_code_for_several_files(tmp_path, intact):
    np.savez(tmp_path / "good.npz", **{key: value for key, value in intact.items() if key.split("/")[0] in KEEP})
    runner = CliRunner()
    assert runner.invoke(app, ["conformance", str(tmp_path / "good.npz")]).exit_code == 0
    assert runner.invoke(app, ["conformance", str(tmp_path / "good.npz"), str(tmp_path / "none.npz")]).exit_code == 1


KEEP = {"__about__", "dcl_lightly", "supcon_pml", "heco", "groco_v2_k5"}


def altered(arrays, name, change):
    value = arrays[name].copy()
    arrays[name] = change(value)


def add_to(amount, where=(0, 0)):
    def change(value):
        value[where] += amount
        return value

    return change


def meta(key, new):
    def change(value):
        content = json.loads(str(value))
        if key in content:
            content[key] = new
        else:
            content["hyper"][key] = new
        return np.array(json.dumps(content))

    return change


DAMAGE = {
    "a gradient altered in the eighth digit": ("dcl_lightly/grad_x0", add_to(1e-8)),
    "an input altered": ("dcl_lightly/x1", add_to(1e-6)),
    "a loss altered": ("supcon_pml/loss", lambda value: value * (1 + 1e-8)),
    "a label altered": ("supcon_pml/labels", add_to(1, 3)),
    "a mask altered": ("heco/pos", lambda value: np.where(value == 1, 2.0, value)),
    "NaN in a gradient": ("heco/grad_z1", add_to(np.nan)),
    "NaN in a loss": ("heco/loss", lambda value: np.array(np.nan)),
    "infinity in an input": ("heco/z2", add_to(np.inf)),
    "a row lost": ("dcl_lightly/x1", lambda value: value[:-1]),
    "rows lost from a gradient": ("dcl_lightly/grad_x1", lambda value: value[:-1]),
    "a gradient transposed": ("supcon_pml/grad_x", lambda value: value.T),
    "the loss as a vector": ("supcon_pml/loss", lambda value: value[None]),
    "another temperature": ("dcl_lightly/meta", meta("temperature", 0.11)),
    "a constant lost": ("heco/meta", meta("hyper", {"lam": 0.5})),
    "a gradient not announced": ("heco/meta", meta("grads", ["z1"])),
    "a gradient announced that is not there": ("supcon_pml/meta", meta("grads", ["x", "labels"])),
    "an unknown kind": ("heco/meta", meta("kind", "guessed")),
    "broken JSON": ("heco/meta", lambda value: np.array(str(value)[:-5])),
    "single precision": ("heco/z1", lambda value: value.astype(np.float32)),
    "text for numbers": ("heco/z1", lambda value: value.astype(str)),
    "NaN in a case that is not implemented": ("groco_v2_k5/grad_v0", add_to(np.nan)),
    "broken JSON about the file": ("__about__", lambda value: np.array("{")),
    "another precision claimed": ("__about__", meta("dtype", "float32")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed(tmp_path, intact, damage):
    arrays = {key: value for key, value in intact.items() if key.split("/")[0] in KEEP}
    name, change = DAMAGE[damage]
    altered(arrays, name, change)
    np.savez(tmp_path / "damaged.npz", **arrays)
    held, text = verdict(tmp_path / "damaged.npz")
    assert not held, text


@pytest.mark.parametrize(
    "name", ["dcl_lightly/x0", "dcl_lightly/loss", "dcl_lightly/grad_x0", "dcl_lightly/meta", "heco/pos", "__about__"]
)
def test_a_missing_array_is_noticed(tmp_path, intact, name):
    arrays = {key: value for key, value in intact.items() if key.split("/")[0] in KEEP and key != name}
    np.savez(tmp_path / "damaged.npz", **arrays)
    assert not verdict(tmp_path / "damaged.npz")[0]


def test_files_that_are_no_archive(tmp_path):
    content = GOLDEN.read_bytes()
    (tmp_path / "truncated.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("loss: 0.5")
    np.savez(tmp_path / "strange.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", __about__=np.array([{}], dtype=object))
    (tmp_path / "flipped.npz").write_bytes(content[:60000] + bytes(64) + content[60064:])
    with zipfile.ZipFile(tmp_path / "hollow.npz", "w") as archive:
        archive.writestr("loss.npy", b"not an array")
    for path in (*tmp_path.iterdir(), tmp_path / "absent.npz"):
        held, text = verdict(path)
        assert not held, text
        assert str(path) in text.replace("\n", "") or "covered" in text


def test_a_case_that_compares_nothing_fails():
    assert judge(Case("empty", lambda dtype: [])).failure == "nothing was compared"
    bad = judge(Case("nan", lambda dtype: [Check("loss", np.array(1.0), torch.tensor(float("nan")))]))
    assert "NaN" in bad.failure
    with pytest.raises(KeyError, match="holds no array 'x'"):
        Archive({})["x"]
