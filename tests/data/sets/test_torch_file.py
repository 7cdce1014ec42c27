"""Pickles made to harm: nothing that they name is run, and they take no more memory than they explain."""

import io
import pickle
import random
import struct
import sys
import zipfile

import numpy as np
import pytest

from dmlp_jax.data.sets import torch_file
from dmlp_jax.errors import UserError
from tests.data.sets.test_human import columns, write_legacy, write_zip
from tests.storage.test_npz import damage, run_bounded

PROTO = b"\x80\x02"


def name(module, attribute):
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def array_of(dtype, shape, content, state=None):
    """The pickle of {'a': an array}, with any parts."""
    state = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t" if state is None else state
    rebuilt = (
        name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85" + text("b")
    )
    made = name("numpy", "dtype") + text(dtype) + b"K\x00K\x01\x87R" + state + b"b"
    sides = b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", side) for side in shape) + b"t"
    octets = b"B" + struct.pack("<I", len(content)) + content
    return PROTO + b"}" + text("a") + rebuilt + b"\x87R(K\x01" + sides + made + b"\x89" + octets + b"tbs."


def read(tmp_path, blob):
    (tmp_path / "c.pt").write_bytes(blob)
    return torch_file.read(tmp_path / "c.pt")


def test_the_forged_arrays_below_are_well_formed_but_for_the_forgery(tmp_path):
    content = np.arange(3, dtype="<i8").tobytes()
    np.testing.assert_array_equal(read(tmp_path, array_of("i8", (3,), content))["a"], [0, 1, 2])


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32, bool, ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_they_were(tmp_path, kind, order):
    array = np.asarray(np.arange(6).reshape(2, 3), dtype=kind, order=order)
    write_zip(tmp_path / "c.pt", {"a": array, "b": array[0]})
    found = torch_file.read(tmp_path / "c.pt")
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["b"], array[0])
    assert found["a"].dtype == array.dtype


RECORD = b"(K\x03" + text("|") + b"N" + text("x") + b"\x85" + b"}" + b"J\xff\xff\xff\xffK\x01K\x00t"


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (array_of("O8", (1,), bytes(8)), "Python objects"),
        # A dtype whose state is forged after it was made: NumPy would take the bytes for addresses.
        (array_of("i8", (1,), bytes(8), RECORD), "records"),
        (array_of("i8", (10**12,), bytes(8)), "do not fit its shape"),
        (array_of("i8", (2**32, 2**32), b""), "do not fit its shape"),
        (array_of("i8", (-1,), bytes(8)), "do not fit its shape"),
        # Calls of numpy.ndarray itself, which allocates whatever it is asked for.
        (PROTO + name("numpy", "ndarray") + b"J\x00\x00\x00\x7f\x85\x85R.", "cannot be read"),
        (PROTO + name("numpy", "ndarray") + b")\x81.", "NEWOBJ"),
        (PROTO + b"(" + name("os", "system") + b"o.", "OBJ"),
        (PROTO + name("os", "system") + text("true") + b"\x85R.", "os.system"),
        (PROTO + name("numpy", "load") + b".", "numpy.load"),
        (PROTO + name("dmlp_jax.data.sets.torch_file", "read") + b".", "torch_file.read"),
        (b"\x80\x04" + b"\x8c\x08builtins\x8c\x04eval\x93.", "builtins.eval"),
        (PROTO + b"P1\n.", "PERSID"),
        (PROTO + b"\x82\x01.", "EXT1"),
        (PROTO + name("_codecs", "encode") + text("a") + text("rot13") + b"\x86R.", "latin1"),
        # Room for two thousand million objects.
        (PROTO + b"Nr\xff\xff\xff\x7f.", "numbers more objects"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "BYTEARRAY8|cannot be read"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".", "cannot be read"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.", "cannot be read|must hold"),
        (PROTO + b"\x8b\x00\x00\x00\x7f.", "cannot be read|LONG4"),
        (PROTO + b"}K\x01K\x02s.", "dict of NumPy arrays"),
        (PROTO + b"}", "cannot be read"),
    ],
)
def test_forged_pickles_are_refused(tmp_path, blob, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, blob)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """BUILD sets attributes of whatever lies on the stack, functions and classes included."""
    before = dict(vars(torch_file))
    for target in (("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"), ("_codecs", "encode")):
        slots = b"N}" + text("__defaults__") + b")s\x86b."
        with pytest.raises(UserError):
            read(tmp_path, PROTO + name(*target) + slots)
    assert torch_file._ArraysOnly._dtype.__defaults__ == (False, True)
    assert dict(vars(torch_file)) == before


def test_large_files_are_refused_before_they_are_read(tmp_path):
    with (tmp_path / "c.pt").open("wb") as file:
        file.truncate(torch_file.MAX_BYTES + 1)
    with pytest.raises(UserError, match="too many for a file of labels"):
        torch_file.read(tmp_path / "c.pt")


def test_archives_that_decompress_to_far_more_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c/data.pkl", bytes(torch_file.MAX_BYTES + 1))
    with pytest.raises(UserError, match="decompresses to"):
        torch_file.read(tmp_path / "c.pt")
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("c/data", b"")
    with pytest.raises(UserError, match="0 pickles"):
        torch_file.read(tmp_path / "c.pt")


def test_bytes_that_are_repeated_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "MAX_BYTES", 10_000)
    call = name("_codecs", "encode") + b"h\x00h\x01\x86R0"
    start = PROTO + text("a" * 5_000) + b"q\x000" + text("latin1") + b"q\x010"
    with pytest.raises(UserError, match="fill the memory"):
        read(tmp_path, start + 9 * call + b"N.")
    with pytest.raises(UserError, match="dict of NumPy arrays"):
        read(tmp_path, start + 8 * call + b"N.")


def test_a_structure_that_contains_itself_over_and_over_is_not_printed(tmp_path):
    """Forty lists, each holding the one before ten times."""
    nested = b"]q\x00" + b"".join(b"](" + b"h\x00" * 10 + b"eq\x00" for _ in range(40))
    for use in (b".", text("a") + b"0" + name("_codecs", "encode") + text("a") + b"h\x00\x86R."):
        with pytest.raises(UserError):
            read(tmp_path, PROTO + nested + use)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_hostile_pickles_take_no_memory(tmp_path):
    (tmp_path / "memo.pt").write_bytes(PROTO + b"Nr\xff\xff\xff\x7f.")
    (tmp_path / "ndarray.pt").write_bytes(PROTO + name("numpy", "ndarray") + b"J\x00\x00\x00\x7f\x85\x85R.")
    code = (
        "import sys, pathlib\n"
        "from dmlp_jax.data.sets import torch_file\n"
        "LIMIT\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        torch_file.read(pathlib.Path(path))\n"
        "    except torch_file.UserError as error:\n        print(error)\n"
    )
    out = run_bounded(code, tmp_path / "memo.pt", tmp_path / "ndarray.pt", megabytes=100)
    assert "numbers more objects" in out
    assert "ndarray.pt cannot be read" in out
    assert "MemoryError" not in out


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("rounds", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_whatever_is_damaged_gives_arrays_or_a_clear_error(tmp_path, write, rounds):
    write(tmp_path / "c.pt", columns())
    blob, generator = (tmp_path / "c.pt").read_bytes(), random.Random(rounds)
    messages = []
    for _ in range(rounds):
        try:
            found = read(tmp_path, damage(blob, generator))
        except UserError as error:
            messages.append(str(error))
        else:
            assert all(type(array) is np.ndarray and not array.dtype.hasobject for array in found.values())
    assert messages
    assert all("c.pt" in message for message in messages)


def test_what_python_itself_pickles_today_is_read(tmp_path):
    stream = io.BytesIO()
    pickle.dump(columns(), stream, 2)
    np.testing.assert_array_equal(read(tmp_path, stream.getvalue())["worse_label"], columns()["worse_label"])
