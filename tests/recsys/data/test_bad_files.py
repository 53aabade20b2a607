"""Every file that cannot be used ends in one sentence that names it, the row, and how to mend it."""

import gzip
import io

import numpy as np
import pytest

from graphcl.errors import InputError
from recsys.data.catalog import load_split


def npy():
    np.save(file := io.BytesIO(), np.arange(3))
    return file.getvalue()


def npz(**arrays):
    np.savez(file := io.BytesIO(), **arrays)
    return file.getvalue()


FILES = {
    # name: (bytes, reader, what the sentence must say)
    "header.csv": (b"user,item\n", {}, r"header\.csv: has a header but no rows"),
    "columns.csv": (b"usr,item\n1,2\n", {}, r"columns\.csv: the user column 'user' is not there; did you mean 'usr'"),
    "far.csv": (b"a,b\n1,2\n", {}, r"far\.csv: the user column 'user' is not there; it has a, b"),
    "case.csv": (b"User,Item\n1,2\n", {}, r"case\.csv: the user column 'user' is not there; did you mean 'User'\?$"),
    "tabs.csv": (b"user\titem\n1\t2\n", {}, r"tabs\.csv: the user column .* if '\\t' stands .*\(separator: \"\\t\"\)$"),
    "bare.csv": (b"1,2,5\n1,3,4\n", {}, r"bare\.csv: the user column .*no header, name its columns .*columns: \[user,"),
    "both.csv": (
        b"User,item\n1,2\n1,3\n",
        {"columns": ["user", "item"]},
        r"both\.csv: its first line is the names of its columns; leave out 'columns'",
    ),
    "twice.csv": (b"user,item,user\n1,2,3\n", {}, r"twice\.csv: the user column 'user' occurs 2 times; rename"),
    "wide.csv": (b"user,item\n1,2,3\n4,5,6\n", {}, r"wide\.csv: every line needs the 2 columns user, item \(rows"),
    "other.csv": (b"user,item,x,x\n1,2,3,4\n", {}, r"other\.csv: the column 'x' occurs 2 times; rename all but one"),
    "empty_id.csv": (b"user,item\n1,2\n,3\n", {}, r"empty_id\.csv, row 2: the user id is missing"),
    "nan.csv": (b"user,item\n1,2\nNaN,3\n", {}, r"nan\.csv, row 2: the user id is missing"),
    "short.csv": (b"user,item\n1,2\n3\n", {}, r"short\.csv, row 2: the item id is missing"),
    "long.csv": (b"user,item\n1,2\n1,2,3\n", {}, r"long\.csv: every line needs the 2 columns .*line 3.*; quote"),
    "long.tsv": (b"user\titem\n1\t2\n1\t2\t3\n", {}, r"long\.tsv: every line needs .*line 3.*; correct the line"),
    "packed.zip": (b"PK", {}, r"packed\.zip: is an archive; unpack it and name the file in it"),
    "false.csv.xz": (b"no", {}, r"false\.csv\.xz: cannot be read"),
    "negative.csv": (b"user,item\n1,2\n-4,3\n", {}, r"negative\.csv, row 2: the user id '-4' is negative"),
    "time.csv": (
        b"user,item,time\n1,2,5\n1,3,soon\n",
        {"time": "time"},
        r"time\.csv, row 2: the time 'soon' is not a finite number",
    ),
    "value.csv": (
        b"user,item,stars\n1,2,5\n1,3,inf\n",
        {"value": "stars"},
        r"value\.csv, row 2: the value 'inf' is not a finite number",
    ),
    "latin.csv": (
        "user,item\n1,2\nJos\xe9,3\n".encode("latin-1"),
        {},
        r"latin\.csv, line 3: byte 0xe9 is not UTF-8; save the file as UTF-8, or name its encoding",
    ),
    "latin_header.csv": ("us\xe9r,item\n1,2\n".encode("latin-1"), {}, r"latin_header\.csv, line 1: byte 0xe9"),
    "not.parquet": (b"user,item\n1,2\n", {}, r"not\.parquet: cannot be read as Parquet"),
    "huge.csv": (
        b"user,item\n1,2\n987654321,3\n",
        {"ids": "numbers"},
        r"huge\.csv, row 2: the user id '987654321' is far above the number of rows .*ids: names",
    ),
    "word.csv": (
        b"user,item\n1,2\nbob,3\n",
        {"ids": "numbers"},
        r"word\.csv, row 2: the user id 'bob' is not a whole number",
    ),
    "zero.csv": (
        b"user,item\n1,2\n0,3\n",
        {"ids": "numbers", "first_id": 1},
        r"zero\.csv, row 2: the user id '0' is too small; ids start at 1 here",
    ),
    "a.inter": (b"user_id:token\titem:token\n1\t2\n", {"kind": "recbole_atomic"}, r"did you mean 'item'"),
    "word.txt": (b"0 1 2\n1 two 3\n", {"kind": "lightgcn_text"}, r"word\.txt, line 2: 't' is no part of a number"),
    "comma.txt": (b"0,1,2\n", {"kind": "lightgcn_text"}, r"comma\.txt, line 1: ',' is no part"),
    "accent.txt": (b"0 1\n1 \xe9\n", {"kind": "s3rec_text"}, r"accent\.txt, line 2: byte 0xe9, which is not ASCII"),
    "minus.txt": (b"0 1\n1 2\n2 -3 1\n", {"kind": "lightgcn_text"}, r"minus\.txt, line 3: .* '-3' is too small"),
    "minus3.txt": (b"0 1\n1 2\n2 -3 1\n", {"kind": "s3rec_text"}, r"minus3\.txt, line 3: the item id '-3' is negative"),
    "dash.txt": (b"0 1\n1 2-3\n", {"kind": "lightgcn_text"}, r"dash\.txt, line 2: '-' does not begin a number"),
    "bare.txt": (b"0 1\n1 - 3\n", {"kind": "lightgcn_text"}, r"bare\.txt, line 2: '-' does not begin a number"),
    "huge.txt": (b"0 1\n1 9999999999999\n", {"kind": "lightgcn_text"}, r"huge\.txt, line 2: .*far above the number"),
    "huger.txt": (b"0 1\n1 " + b"9" * 30, {"kind": "s3rec_text"}, r"huger\.txt, line 2: the id 9{30} is too large"),
    "users.txt": (b"0\n1\n", {"kind": "lightgcn_text"}, r"users\.txt: no line has a user and an item"),
    "cut.txt.gz": (gzip.compress(b"0 1 2\n" * 50)[:-9], {"kind": "s3rec_text"}, r"cut\.txt\.gz: cannot be read to"),
    "nothing.gz": (gzip.compress(b""), {"kind": "lightgcn_text"}, r"nothing\.gz: no line has a user and an item"),
    "array.npz": (npy(), {"kind": "npz"}, r"array\.npz: holds a single array \(npy\)"),
    "train.npz": (npz(train_user=[0, 1], train_item=[0, 1], n_users=2, n_items=2), {"kind": "npz"}, r"no array 'test"),
    "sizes.npz": (npz(user=[0, 1], item=[0, 1], n_users=[2, 2], n_items=2), {"kind": "npz"}, r"n_users has shape"),
    "not.npz": (b"PK\x03\x04 nothing", {"kind": "npz"}, r"not\.npz: cannot be read as npz"),
    "not.pkl": (b"\x80\x04 nothing", {"kind": "scipy_pickle"}, r"not\.pkl: cannot be read as a pickled matrix"),
    "one_user.csv": (
        b"user,item\nann,a\nann,b\nann,c\nann,d\nann,e\nann,f\nann,g\nann,h\nann,i\nann,j\n",
        {},
        r"the training part has one user \('ann'\): there is nobody to compare with; give interactions of at least two",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, name):
    content, reader, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        load_split({"reader": {"kind": "table", "path": str(tmp_path / name), **reader}})
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize("reader", ["table", "recbole_atomic", "lightgcn_text", "s3rec_text", "npz", "scipy_pickle"])
def test_missing_and_empty_files(tmp_path, reader):
    path = tmp_path / "nowhere.csv"
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file; correct the path"):
        load_split({"reader": {"kind": reader, "path": str(path)}})
    path.touch()
    with pytest.raises(InputError, match=r"nowhere\.csv: is empty"):
        load_split({"reader": {"kind": reader, "path": str(path)}})
    with pytest.raises(InputError, match="no such file"):
        load_split({"reader": {"kind": reader, "path": str(tmp_path)}})


def test_the_file_of_a_part_is_named(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2\n1 1\n")
    (tmp_path / "test.txt").write_text("0 3\n1 -2\n")
    paths = {"train": str(tmp_path / "train.txt"), "test": str(tmp_path / "test.txt")}
    with pytest.raises(InputError, match=r"/test\.txt, line 2: the item id '-2'"):
        load_split({"reader": {"kind": "lightgcn_text", "path": paths}})


def test_a_user_with_a_single_interaction_is_named(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("user,item\nann,a\nann,b\nann,c\nbob,a\neve,b\nben,b\nben,a\nben,c\n")
    data = {"reader": {"kind": "table", "path": str(path)}, "split": {"kind": "leave_one_out"}}
    with pytest.raises(InputError, match=r"user 'bob' has 1 interaction \(and 1 other users .*too few.*k_core.*short"):
        load_split(data)
    kept = load_split(data, split={"kind": "leave_one_out", "short": "train"})
    assert kept.train.num_users == 4
    assert len(kept.train) == 4
    dropped = load_split(data, split={"kind": "leave_one_out", "short": "drop"})
    assert dropped.train.user_ids == ("ann", "ben")
    filtered = load_split(data, filters=[{"kind": "min_count", "user": 3}], split={"kind": "leave_one_out"})
    assert filtered.digest == dropped.digest


def test_arrays_that_do_not_fit_together(tmp_path):
    path = tmp_path / "d.npz"
    whole = {"train_user": [0, 1], "train_item": [0, 1], "test_user": [0], "test_item": [1], "n_users": 2, "n_items": 2}
    for change, sentence in [
        ({"n_items": 1}, r"item 1 is not among the 1 items that the file declares"),
        ({"train_item": [0]}, r"the arrays of train_ differ in shape"),
        ({"train_item": [0, -1]}, r"train_user\[1\]: the item id '-1' is too small"),
        ({"train_item": [0.5, 1]}, r"the item id '0.5' is not a whole number"),
        ({"n_users": np.nan}, r"n_users is nan; write a whole number of at most"),
        ({"n_users": 2.7}, r"n_users is 2\.7; write a whole number"),
        ({"n_users": "two"}, r"n_users is 'two'; write a whole number"),
        ({"n_items": 10**12}, r"n_items is 1000000000000; write a whole number of at most"),
        ({"n_users": None}, r"has no array 'n_users'; it has n_items, test_item"),
    ]:
        arrays = {name: np.array(value) for name, value in {**whole, **change}.items() if value is not None}
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=sentence):
            load_split({"reader": {"kind": "npz", "path": str(path)}})


@pytest.mark.parametrize(
    ("name", "reader", "position"),
    [
        *(("d.csv.gz", "table", position) for position in (15, 40, -2)),
        *(("d.txt.gz", "s3rec_text", position) for position in (15, 40, -2)),
        *(("d.npz", "npz", position) for position in (90, 150, -10)),
    ],
)
def test_flipped_bits_in_packed_files_are_noticed(tmp_path, name, reader, position):
    path = tmp_path / name
    if reader == "npz":
        np.savez_compressed(path, user=np.arange(99), item=np.arange(99), n_users=99, n_items=99)
    else:
        head, row = (b"user,item\n", b"%d,%d\n") if reader == "table" else (b"", b"%d %d\n")
        path.write_bytes(gzip.compress(head + b"".join(row % (n, n * 7919 % 101) for n in range(99))))
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}"):
        load_split({"reader": {"kind": reader, "path": str(path)}})
