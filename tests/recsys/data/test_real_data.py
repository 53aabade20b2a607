"""Everything that datasets.yaml records, against the files, where they are at hand (GRAPHCL_DATA)."""

import hashlib
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from recsys.data.catalog import load_events, load_split, read_source, verify
from recsys.data.entries import catalogue, find_entry
from recsys.data.fetch import present

# SHA-256 of the sorted int64 keys user * n_items + item of each part, from the notes of who packed the files
KEYS = {
    "adagcl_lastfm": (
        "547e773e21744c3a538cba7d9fbaa73997d0d2b3583c983cadcbe5bd049b3c03",
        "39e5a98ffe2ed5fdb4a4317948825ab66b790f37e6eba9e2ebf4d7b8d5c9b2cc",
        "75dc07079f5a81d40495af881a44d4fcc11d6095629164b2250708a276df668e",
    ),
    "lightgcnpp_lastfm": (
        "705a085b83c117a5172d74883d22510a2aba76fdf0f93c1856d6f780ec0c5322",
        "6db58f22d8c77fc4b87522428ecc5036ac03b71ecdcf073553981ccdf0713361",
        "8012bb4e0f0e31f48df366c17215d332243ccfb17c01c9226901d726dadb4291",
    ),
    "lightgcnpp_ml1m": (
        "20b6c8eb1d1ed51048b6adfe37e2d7cdceb419598a68bf0a9ba68eae3dd386fd",
        "9308019d834e2f2cf3548f34c76bb1e8162d39b8242ca9d18f0a064a26bc2e78",
        "89024bb5e963a780cd3377b4dc165fd7a299411ed8cd33af95cb535f4cd24519",
    ),
    "lightgcnpp_citeulike": (
        "3fa6fb305c240d5f690a2134c79adacd20206835572a448d7243ec8be70e6621",
        "b4deb5820242bc3216541375625a2dbc6d022b518aa7cac6471ecc72ad5d6607",
        "7c7e4cbf417929388b26425bcc1f627bcb8255dd428bd3adfb9d537d43281a54",
    ),
    "sslrec_sparse_yelp": (
        "4a5ff58e7fafc6f9edf68bd43ce02c01d16703864decad63e5147c05cad273aa",
        "14ef0c1bc05d220663e0d298409f400d663bc7a9455d55f2d62a6460a6ed1d81",
        "4ed7055181b387edea8b5c6a2aedb34abd65c937088359f3a9a43104f76f924b",
    ),
    "lightgcn_gowalla": (
        "69be1460fc544afcc8086e5b29ca4fba9f57ad465c2af936e1fe3f30156fb081",
        None,
        "cb0df5242982015312b10bfaadc30cf025fbd961f2a804179aa0970c2a0392c6",
    ),
}


def need(name):
    if not any(present(name, source) for source in find_entry(name).sources):
        pytest.skip(f"{name} is not at hand; set GRAPHCL_DATA to the folder that has it")


def key(events):
    # np.sort gives NumPy's unsigned order for these, which are not negative
    keys = np.sort((events.user * events.num_items + events.item).numpy())
    return hashlib.sha256(keys.astype("<i8").tobytes()).hexdigest()


@pytest.mark.parametrize("name", catalogue())
def test_files_are_as_recorded(name):
    need(name)
    splits = verify(name)
    assert set(splits) == set(find_entry(name).splits)
    for which, split in splits.items():
        recorded = find_entry(name).splits[which].digest
        assert recorded is None or split.digest == recorded


@pytest.mark.parametrize("name", KEYS)
def test_parts_are_the_authors_parts(name):
    need(name)
    split = load_split(name)
    train, valid, test = KEYS[name]
    assert key(split.test) == test
    if valid is None:
        assert key(split.train + split.valid) == train
    else:
        assert (key(split.train), key(split.valid)) == (train, valid)


def write_lists(path, part):
    """One user a line, as LightGCN's repositories have it."""
    rows = np.flatnonzero(np.diff(part.user.numpy(), prepend=-1))
    pieces = np.split(part.item.numpy(), rows[1:])
    lines = (
        f"{user} {' '.join(map(str, items))}\n" for user, items in zip(part.user[rows].tolist(), pieces, strict=True)
    )
    path.write_text("".join(lines))


def write_table(path, part, *, first_id, separator):
    """A row for each event, with a weight, as SELFRec's repositories have it."""
    frame = pd.DataFrame({"user": part.user.numpy() + first_id, "item": part.item.numpy() + first_id, "weight": 1})
    frame.to_csv(path, sep=separator, header=False, index=False)


def write_matrix(path, part):
    """A COO matrix, as SSLRec has it."""
    shape = part.num_users, part.num_items
    path.write_bytes(pickle.dumps(sp.coo_matrix((np.ones(len(part)), (part.user.numpy(), part.item.numpy())), shape)))


@pytest.mark.parametrize("name", [name for name, entry in catalogue().items() if "released" in entry.splits])
def test_the_public_form_leads_to_the_same_content(name, tmp_path):
    need(name)
    entry = find_entry(name)
    events, public = load_events(name, entry), entry.sources[1]
    reader = dict(public.reader)
    for part, file in reader["path"].items():
        if reader["kind"] == "lightgcn_text":
            write_lists(tmp_path / file, getattr(events, part))
        elif reader["kind"] == "table":
            first_id = reader.get("first_id", 0)
            write_table(tmp_path / file, getattr(events, part), first_id=first_id, separator=reader["separator"])
        else:
            write_matrix(tmp_path / file, getattr(events, part))
    read_source(name, entry, public, {file: tmp_path / file for file in public.files})


def test_the_public_form_of_movielens_leads_to_the_same_content(tmp_path):
    need("ml-100k")
    entry = find_entry("ml-100k")
    lines = present("ml-100k", entry.sources[0])["ml-100k.inter"].read_text().splitlines(keepends=True)
    (tmp_path / "u.data").write_text("".join(lines[1:]))
    read_source("ml-100k", entry, entry.sources[1], {"u.data": tmp_path / "u.data"})


def test_two_copies_of_gowalla_agree():
    need("lightgcn_gowalla")
    need("lightgcnpp_gowalla")
    theirs, copy = load_split("lightgcn_gowalla"), load_split("lightgcnpp_gowalla")
    assert key(theirs.train + theirs.valid) == key(copy.train + copy.valid)
    assert theirs.test.digest == copy.test.digest


@pytest.mark.parametrize(
    ("name", "median", "longest", "samples"),
    [
        ("amazon-beauty-5core", 6, 204, 131_413),
        ("amazon-sports-5core", 6, 296, 189_543),
        ("amazon-toys-5core", 6, 550, 109_361),
        ("yelp-mclrec", 7, 350, 225_061),
    ],
)
def test_histories_have_the_lengths_that_papers_report(name, median, longest, samples):
    need(name)
    split = load_split(name, split="sequential")
    lengths = (split.train + split.valid + split.test).histories.lengths
    assert (int(lengths.median()), int(lengths.max()), int(lengths.min())) == (median, longest, 5)
    assert int((lengths - 3).clamp(min=0).sum()) == samples
    # users in line order, items in the order of their first appearance: both are the files' ids less one
    assert split.train.user_ids[:3] == ("1", "2", "3")
    assert split.train.item_ids == tuple(map(str, range(1, split.train.num_items + 1)))


def test_repeats_of_yelp_are_counted():
    need("yelp-mclrec")
    split = load_split("yelp-mclrec")
    assert "2,027 test events repeat an earlier one" in split.protocol["cold"]


def test_movielens_is_in_the_order_of_time():
    need("ml-100k")
    split = load_split("ml-100k", split="sequential")
    for early, late in ((split.train, split.valid), (split.valid, split.test)):
        newest = torch.zeros(early.num_users, dtype=torch.int64).scatter_reduce(0, early.user, early.time, "amax")
        assert bool((newest[late.user] <= late.time).all())
    general = load_split("ml-100k")
    assert torch.bincount(general.train.user).min() >= 16
