import gzip
import io
import os
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphcl.errors import InputError
from recsys.data import listed
from recsys.data.attributes import memberships
from recsys.data.interactions import Interactions, Released
from recsys.data.readers import READERS
from recsys.data.tabular import RecboleAtomic

FRAME = pd.DataFrame(
    {
        "user": ["7", "10", "7", "9"],
        "item": ["b", "a", "a", "b"],
        "rating": [4.5, 3.0, 1.0, 5.0],
        "time": [30, 20, 10, 40],
    }
)
DIRECT = Interactions.from_dataframe(FRAME, value="rating", time="time")


def read(reader, path, **options):
    paths = path if isinstance(path, dict) else {"interactions": path}
    return READERS[reader](**options).read(paths)


def atomic(frame):
    renamed = frame.rename(
        columns={"user": "user_id:token", "item": "item_id:token", "rating": "rating:float", "time": "timestamp:float"}
    )
    return renamed.to_csv(sep="\t", index=False)


@pytest.mark.parametrize(
    ("name", "text", "reader", "options"),
    [
        ("data.csv", FRAME.to_csv(index=False), "table", {}),
        ("data.tsv", FRAME.to_csv(index=False, sep="\t"), "table", {}),
        ("data.txt", FRAME.to_csv(index=False, sep=";"), "table", {"separator": ";"}),
        ("data.csv", FRAME.to_csv(index=False, header=False), "table", {"columns": tuple(FRAME)}),
        (
            "ratings.dat",
            FRAME.to_csv(index=False, header=False, sep="|").replace("|", "::"),
            "table",
            {"columns": tuple(FRAME), "separator": "::"},
        ),
        *(
            ("data.txt", FRAME.to_csv(index=False, sep="|").replace("|", separator), "table", {"separator": separator})
            for separator in ("||", "|~|", "**", "^^", "$$")  # read as they stand, not as regular expressions
        ),
        ("data.inter", atomic(FRAME), "recbole_atomic", None),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_tables_give_what_the_frame_gives(tmp_path, name, text, reader, options, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    made = read(reader, path, **({} if options is None else {"value": "rating", "time": "time", **options}))
    assert made.digest == DIRECT.digest
    assert (made.user_ids, made.item_ids) == (("7", "9", "10"), ("a", "b"))


def test_parquet_gives_what_the_frame_gives(tmp_path):
    FRAME.assign(other=1).to_parquet(tmp_path / "data.parquet")
    made = read("table", tmp_path / "data.parquet", value="rating", time="time")
    assert made.digest == DIRECT.digest


def test_files_of_parts_are_numbered_together(tmp_path):
    for part, rows in (("train", [0, 1]), ("valid", [2]), ("test", [3])):
        FRAME.iloc[rows].to_csv(tmp_path / f"{part}.csv", index=False)
    paths = {part: tmp_path / f"{part}.csv" for part in ("train", "valid", "test")}
    made = read("table", paths, value="rating", time="time")
    assert isinstance(made, Released)
    assert made.joined().digest == DIRECT.digest
    assert made.train.user_ids == made.test.user_ids == ("7", "9", "10")
    assert made.test.user.tolist() == [1]
    del paths["valid"]
    assert read("table", paths).valid is None


def test_quoted_cells_and_kept_zeros(tmp_path):
    (tmp_path / "data.csv").write_text('user,item\n"Smith, J.",007\n"Smith, J.",7\n')
    made = read("table", tmp_path / "data.csv")
    assert made.user_ids == ("Smith, J.",)
    assert made.item_ids == ("007", "7")


def test_quotes_beside_other_separators(tmp_path):
    """Book-Crossing's files; a tab needs none, unless somebody says so."""
    text = '"user";"item";"stars"\n"a;b";"x";"3"\n"c";"y";"4"\n'
    (tmp_path / "d.csv").write_text(text)
    found = read("table", tmp_path / "d.csv", separator=";", value="stars")
    assert (found.user_ids, found.value.tolist()) == (("a;b", "c"), [3, 4])
    (tmp_path / "d.tsv").write_text(text.replace(";", "\t"))
    assert read("table", tmp_path / "d.tsv", quoted=True).user_ids == ("a\tb", "c")
    with pytest.raises(InputError, match="the user column 'user' is not there"):
        read("table", tmp_path / "d.tsv")


def test_a_field_that_was_asked_for_must_be_there(tmp_path):
    """Only the usual names may be missing: a misspelt one would put rows into the order of the file."""
    (tmp_path / "d.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\na\tx\t3\nb\ty\t2\n")
    assert read("recbole_atomic", tmp_path / "d.inter").value is None
    with pytest.raises(InputError, match="the time column 'timestmp' is not there; did you mean 'timestamp'"):
        read("recbole_atomic", tmp_path / "d.inter", time="timestmp")
    (tmp_path / "e.inter").write_text("user_id:token\titem_id:token\na\tx\nb\ty\n")
    with pytest.raises(InputError, match="only 1 of these files have a time"):
        read("recbole_atomic", {"train": tmp_path / "d.inter", "test": tmp_path / "e.inter"})
    (tmp_path / "train.txt").write_text("0 1 2\n")
    with pytest.raises(InputError, match="there is no part 'tran'; the parts are train, test"):
        read("lightgcn_text", {"train": tmp_path / "train.txt", "test": tmp_path / "train.txt"}, sort=("tran",))


def test_words_of_attributes_are_words(tmp_path):
    """NA is an id and a country, null a brand; an empty cell is nothing."""
    (tmp_path / "d.inter").write_text("user_id:token\titem_id:token\na\t1\nb\t2\n")
    (tmp_path / "d.item").write_text("item_id:token\tland:token\tbrand:token_seq\n1\tNA\tNone null\nNA\t\tx\n")
    found = read("recbole_atomic", {"interactions": tmp_path / "d.inter", "item": tmp_path / "d.item"}).attributes.item
    assert found["land"] == {"1": ("NA",), "NA": ()}
    assert found["brand"] == {"1": ("None", "null"), "NA": ("x",)}


def test_one_long_id_does_not_widen_the_others():
    users = [f"u{number}" for number in range(4000)] + ["v" * 100_000]
    frame = pd.DataFrame({"user": users, "item": ["x"] * len(users)})
    tracemalloc.start()
    found = Interactions.from_dataframe(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.user_ids == tuple(sorted(users))
    assert peak < 50e6  # 1.6 GB as an array of fixed width


def test_quotes_in_atomic_files_are_letters(tmp_path):
    (tmp_path / "d.inter").write_text('user_id:token\titem_id:token\n"a\tb\nc\tb\n')
    assert read("recbole_atomic", tmp_path / "d.inter").user_ids == ('"a', "c")


def test_attributes_of_items_and_users(tmp_path):
    (tmp_path / "d.inter").write_text("user_id:token\titem_id:token\nu\t2\nv\t01\nv\t2\n")
    (tmp_path / "d.item").write_text("item_id:token\tyear:float\tclass:token_seq\n01\t1995\tA B\n2\t\tB\n3\t\tC\n")
    paths = {"interactions": tmp_path / "d.inter", "item": tmp_path / "d.item"}
    made = RecboleAtomic(attributes={"genre": "class"}).read(paths)
    assert made.attributes.item == {"genre": {"01": ("A", "B"), "2": ("B",), "3": ("C",)}}
    edges, words = memberships(made.attributes.item["genre"], made.item_ids)
    assert made.item_ids == ("01", "2")
    assert (edges.tolist(), words) == ([[0, 0, 1], [0, 1, 1]], ("A", "B"))
    with pytest.raises(InputError, match="no attribute 'gender'; its attributes are: genre"):
        made.take(made.user == 0).attributes.side("gender")
    everything = RecboleAtomic().read(paths).attributes.item
    assert everything["year"] == {"01": ("1995",), "2": (), "3": ()}


def test_attributes_of_an_item_that_is_listed_twice(tmp_path):
    (tmp_path / "d.inter").write_text("user_id:token\titem_id:token\nu\t2\n")
    (tmp_path / "d.item").write_text("item_id:token\tclass:token\n2\tA\n2\tB\n")
    with pytest.raises(InputError, match="the id '2' occurs twice"):
        RecboleAtomic().read({"interactions": tmp_path / "d.inter", "item": tmp_path / "d.item"})


LINES = st.lists(st.lists(st.integers(0, 10**6), max_size=6), min_size=1, max_size=12)


@given(LINES, st.sampled_from([" ", "  ", "\t", " \r"]), st.booleans(), st.integers(1, 40))
def test_lists_are_parsed_as_python_would(tmp_path_factory, lines, blank, last_newline, block):
    folder = tmp_path_factory.mktemp("lists")
    text = "\n".join(blank.join(map(str, line)) for line in lines) + "\n" * last_newline
    (folder / "train.txt").write_bytes(text.encode())
    rows = [(line[0], item, number) for number, line in enumerate(lines, start=1) for item in line[1:]]
    before = listed.BLOCK
    listed.BLOCK = block
    try:
        if not rows:
            with pytest.raises(InputError):
                listed.read_lists(folder / "train.txt")
            return
        parsed = listed.read_lists(folder / "train.txt")
    finally:
        listed.BLOCK = before
    assert list(zip(parsed.frame["user"], parsed.frame["item"], strict=True)) == [row[:2] for row in rows]
    assert [parsed.place(row).rpartition(" ")[2] for row in range(len(rows))] == [str(row[2]) for row in rows]


def test_lightgcn_text_keeps_numbers_and_s3rec_text_closes_gaps(tmp_path):
    (tmp_path / "train.txt").write_text("0 5 2\n2\n3 2\n")
    (tmp_path / "test.txt").write_text("0 7\n")
    parts = read("lightgcn_text", {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"})
    assert (parts.train.num_users, parts.train.num_items) == (4, 8)
    assert parts.train.item.tolist() == [5, 2, 2]
    assert parts.test.item_ids[7] == "7"
    sorted_parts = read(
        "lightgcn_text", {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"}, sort=("train",)
    )
    assert sorted_parts.train.item.tolist() == [2, 5, 2]
    history = read("s3rec_text", tmp_path / "train.txt")
    assert (history.num_users, history.num_items) == (2, 2)
    assert history.item_ids == ("2", "5")
    assert history.histories.values.tolist() == [1, 0, 0]


def test_ids_may_start_at_one(tmp_path):
    (tmp_path / "data.tsv").write_text("1\t2\t9\n3\t1\t9\n")
    made = read("table", tmp_path / "data.tsv", columns=("user", "item", "weight"), ids="numbers", first_id=1)
    assert made.user.tolist() == [0, 2]
    assert made.user_ids == ("1", "2", "3")


def parts_of(train, test):
    return {
        "train_user": train.row, "train_item": train.col, "test_user": test.row, "test_item": test.col,
        "n_users": np.int32(train.shape[0]), "n_items": np.int32(train.shape[1]),
    }  # fmt: skip


TRAIN = sp.coo_matrix((np.ones(3), ([2, 0, 0], [1, 3, 0])), shape=(4, 5))
TEST = sp.coo_matrix((np.ones(1), ([1], [1])), shape=(4, 5))


def test_npz_has_all_parts_and_the_declared_size(tmp_path):
    np.savez(tmp_path / "d.npz", **parts_of(TRAIN, TEST))
    made = read("npz", tmp_path / "d.npz", first_id=1)
    assert (made.train.num_users, made.train.num_items, made.valid) == (4, 5, None)
    assert made.train.user.tolist() == [2, 0, 0]
    assert made.train.user_ids == ("1", "2", "3", "4")
    np.savez(tmp_path / "one.npz", user=[0, 1], item=[1, 0], time=[2, 1], n_users=2, n_items=2)
    whole = read("npz", tmp_path / "one.npz")
    assert whole.time.tolist() == [2, 1]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_pickled_matrices_of_every_protocol_and_layout(tmp_path, protocol, layout):
    for name, matrix in (("train", TRAIN), ("test", TEST)):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(matrix.asformat(layout), protocol))
    made = read("scipy_pickle", {name: tmp_path / f"{name}.pkl" for name in ("train", "test")})
    assert (made.train.num_users, made.train.num_items) == (4, 5)
    pairs = sorted(zip(made.train.user.tolist(), made.train.item.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 3), (2, 1)]
    if layout == "coo":
        assert made.train.user.tolist() == [2, 0, 0]


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_zeros_that_a_matrix_holds_are_no_events(tmp_path, layout):
    matrix = sp.csr_matrix(([5, 1, 4], ([0, 2, 2], [3, 1, 4])), shape=(4, 5))
    matrix.data[matrix.data < 3] = 0  # and no eliminate_zeros()
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix.asformat(layout)))
    made = read("scipy_pickle", tmp_path / "m.pkl")
    assert sorted(zip(made.user.tolist(), made.item.tolist(), strict=True)) == [(0, 3), (2, 4)]


def test_a_square_matrix_by_columns_is_not_turned_over(tmp_path):
    matrix = sp.csc_matrix(([1, 1], ([0, 2], [1, 1])), shape=(3, 3))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(matrix))
    made = read("scipy_pickle", tmp_path / "m.pkl")
    assert (made.user.tolist(), made.item.tolist()) == ([0, 2], [1, 1])


def test_blank_lines_before_the_header_are_no_rows(tmp_path):
    (tmp_path / "d.csv").write_text("\n\nuser,item\n1,2\n\n3,4\n")
    made = read("table", tmp_path / "d.csv")
    assert (made.user_ids, made.item_ids) == (("1", "3"), ("2", "4"))


def test_times_may_be_written_as_dates(tmp_path):
    (tmp_path / "d.csv").write_text(
        "user,item,time\n1,2,1970-01-02\n1,3,1970-01-01 00:00:07\n1,4,1970-01-01T00:00:09Z\n"
    )
    assert read("table", tmp_path / "d.csv", time="time").time.tolist() == [86400, 7, 9]
    (tmp_path / "d.csv").write_text("user,item,time\n1,2,1970-01-02\n1,3,soon\n")
    with pytest.raises(InputError, match=r"d\.csv, row 2: the time 'soon' is no date such as 2020-12-31"):
        read("table", tmp_path / "d.csv", time="time")


def test_dates_beyond_the_range_of_nanoseconds():
    for unit, factor in (("s", 1), ("ms", 1000)):
        time = np.array([32503680000 * factor, 5 * factor], dtype=f"datetime64[{unit}]")  # the year 3000
        found = Interactions.from_dataframe(pd.DataFrame({"user": [1, 2], "item": [3, 4], "time": time}), time="time")
        assert found.time.tolist() == [32503680000, 5]


def test_a_matrix_pickled_by_old_scipy_is_read(tmp_path):
    # SciPy before 1.13 kept row and col, in the module scipy.sparse.coo; NumPy 1.x calls numpy.core
    matrix = TRAIN.copy()
    row, column = matrix.__dict__.pop("coords")
    matrix.__dict__.update(row=row, col=column)
    text = pickle.dumps(matrix, 2).replace(b"scipy.sparse._coo", b"scipy.sparse.coo")
    (tmp_path / "m.pkl").write_bytes(text.replace(b"numpy._core", b"numpy.core"))
    assert b"coords" not in text
    made = read("scipy_pickle", tmp_path / "m.pkl")
    assert (made.user.tolist(), made.item.tolist()) == ([2, 0, 0], [1, 3, 0])


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def hidden(path):
    matrix = TRAIN.copy()
    matrix.__dict__["harmless"] = Evil(path)
    return matrix


@pytest.mark.parametrize("wrap", [Evil, lambda path: [Evil(path)], hidden])
def test_no_code_of_a_pickle_runs(tmp_path, wrap):
    victim = str(tmp_path / "made by the pickle")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(wrap(victim)))
    with pytest.raises(InputError, match=r"m\.pkl: asks for posix\.mkdir, which a matrix does not need"):
        read("scipy_pickle", tmp_path / "m.pkl")
    assert not os.path.exists(victim)
    pickle.loads((tmp_path / "m.pkl").read_bytes())
    assert os.path.exists(victim), "the file would have done harm"


@pytest.mark.parametrize(
    "name", ["builtins.eval", "numpy.load", "numpy.core.multiarray.fromfile", "scipy.sparse.load_npz", "numpy.f2py.os"]
)
def test_names_beside_arrays_are_not_admitted(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    (tmp_path / "m.pkl").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(InputError, match=f"asks for {name}"):
        read("scipy_pickle", tmp_path / "m.pkl")


def test_dense_arrays_and_object_arrays_are_refused(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(np.ones((2, 2))))
    with pytest.raises(InputError, match="holds ndarray, not a SciPy matrix"):
        read("scipy_pickle", tmp_path / "m.pkl")
    buffer = io.BytesIO()
    np.savez(buffer, user=np.array([{}], dtype=object))
    (tmp_path / "d.npz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="cannot be read as npz"):
        read("npz", tmp_path / "d.npz")


def test_a_reader_keeps_the_order_of_the_file(tmp_path):
    (tmp_path / "data.csv").write_text("user,item\n2,1\n1,1\n2,0\n")
    made = read("table", tmp_path / "data.csv")
    assert torch.equal(made.user, torch.tensor([1, 0, 1]))
