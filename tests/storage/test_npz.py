"""Archives made to harm: refused with a message, before memory is taken for them."""

import io
import random
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files, npz


def header(text, version=(1, 0)):
    """The first bytes of a .npy file with any text for a header."""
    encoded = text.encode("latin1")
    length = len(encoded).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + encoded


def described(shape, descr="'<f4'"):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content)


def whole():
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(50), b=np.array(["x", "yz"]))
    return stream.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ordinary_archives_are_read(tmp_path, save):
    arrays = {
        "floats": np.linspace(0, 1, 7, dtype=np.float16),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 4)),
        "scalar": np.array(3),
        "text": np.array(["a", "bcd", "ü"]),
        "flags": np.array([True, False]),
        "records": np.array([(1, 2.0)], [("x", "i4"), ("y", "f8")]),
        "with/slash": np.arange(3),
    }
    save(tmp_path / "x.npz", **arrays)
    found = files.load_npz(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (described((10**12,)), r"a says it is float32 \(1000000000000,\), but has 4 bytes"),
        # 2**32 * 2**32 elements: zero in 64 bits.
        (described((2**32, 2**32)), "but has 4 bytes"),
        (described((2**62, 4)), "but has 4 bytes"),
        (described((-1,)), "but has 4 bytes"),
        (described((-1, -1)), r"\(-1, -1\), but has 4 bytes"),
        (described((1,), "'|O'"), "Python objects"),
        (described((1,), "[('x', '|O')]"), "Python objects"),
        (described((1,), "('<f4', (100, 100))"), "but has 4 bytes"),
        (described("(" * 3000 + ")" * 3000), "cannot be read"),
        (described((1,), "__import__('os').getpid()"), "cannot be read"),
        (header("{'descr': '<f4'}\n"), "cannot be read"),
        (header("x" * 20_000), "cannot be read"),
        (header("{}", (9, 9)), "cannot be read"),
        (b"no header at all", "cannot be read"),
    ],
    ids=lambda value: "",
)
def test_forged_headers_are_refused(tmp_path, content, words):
    write_zip(tmp_path / "x.npz", [("a.npy", content + bytes(4))])
    with pytest.raises(UserError, match=words):
        files.load_npz(tmp_path / "x.npz")


def test_pickled_arrays_are_refused_with_the_way_out(tmp_path, capsys):
    class Runs:
        def __reduce__(self):
            return (print, ("this must never be printed",))

    np.savez(tmp_path / "x.npz", paths=np.array([Runs()], object))
    with pytest.raises(UserError, match=r"array paths holds Python objects.*paths\.astype\(str\)"):
        files.load_npz(tmp_path / "x.npz")
    assert capsys.readouterr().out == ""


def test_two_arrays_of_one_name_are_refused(tmp_path):
    part = described((1,)) + bytes(4)
    with pytest.warns(UserWarning, match="Duplicate"):
        write_zip(tmp_path / "x.npz", [("a.npy", part), ("a.npy", part)])
    with pytest.raises(UserError, match="a twice"):
        files.load_npz(tmp_path / "x.npz")


def test_names_are_not_paths_and_cannot_play_with_the_terminal(tmp_path):
    part = described((1,)) + bytes(4)
    write_zip(tmp_path / "x.npz", [("../../outside.npy", part), ("/root.npy", part)])
    assert set(files.load_npz(tmp_path / "x.npz")) == {"../../outside", "/root"}
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    write_zip(tmp_path / "x.npz", [("\x1b[2Ja.npy", part)])
    with pytest.raises(UserError, match="not printable") as caught:
        files.load_npz(tmp_path / "x.npz")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, method):
    write_zip(tmp_path / "x.npz", [("a.npy", described((1,)) + bytes(4))], compression=method)
    with pytest.raises(UserError, match="NumPy does not use"):
        files.load_npz(tmp_path / "x.npz")


def test_encrypted_archives_are_refused(tmp_path):
    blob = bytearray(whole())
    directory = blob.index(b"PK\x01\x02")
    blob[directory + 8] |= 1
    (tmp_path / "x.npz").write_bytes(blob)
    with pytest.raises(UserError, match="encrypted"):
        files.load_npz(tmp_path / "x.npz")


def test_too_many_arrays_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_ARRAYS", 3)
    np.savez(tmp_path / "x.npz", *np.arange(4))
    with pytest.raises(UserError, match="more than 3"):
        files.load_npz(tmp_path / "x.npz")


def test_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_memory", lambda: 1000)
    np.savez(tmp_path / "x.npz", np.zeros(1000))
    with pytest.raises(UserError, match="memory is 1,000"):
        files.load_npz(tmp_path / "x.npz")


def test_dense_archives_may_be_large_and_thin_ones_small(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_SMALL", 10_000)
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "x.npz", rng.integers(0, 4, 100_000).astype(np.int8))
    assert files.load_npz(tmp_path / "x.npz")["arr_0"].size == 100_000
    np.savez_compressed(tmp_path / "x.npz", np.zeros(1_000))
    assert files.load_npz(tmp_path / "x.npz")["arr_0"].size == 1_000
    np.savez_compressed(tmp_path / "x.npz", np.zeros(1_000_000))
    with pytest.raises(UserError, match=r"200 times.*numpy\.savez"):
        files.load_npz(tmp_path / "x.npz")


def run_bounded(code, *arguments, megabytes=200):
    """Runs `code` with little more address space than its imports take; what it printed."""
    limit = (
        "import resource; used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes * 2**20},) * 2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.replace("LIMIT\n", limit), *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_bomb_takes_no_memory(tmp_path):
    """400 MB of zeros, deflated to less than a hundredth."""
    size = 400 * 2**20
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(described((size,), "'|u1'"))
        for _ in range(size // 2**24):
            stream.write(bytes(2**24))
    assert (tmp_path / "x.npz").stat().st_size < 4 * 2**20
    code = (
        "import sys, pathlib\n"
        "from dmlp_jax.storage import files\n"
        "LIMIT\n"
        "try:\n    files.load_npz(pathlib.Path(sys.argv[1]))\n"
        "except files.UserError as error:\n    print(error)\n"
    )
    assert "200 times" in run_bounded(code, tmp_path / "x.npz")


def test_the_directory_cannot_promise_less_than_comes(tmp_path):
    """A bomb whose directory declares four bytes gives four bytes, which are not the promised checksum's."""
    write_zip(
        tmp_path / "x.npz", [("a.npy", described((1,)) + bytes(10**6))], compression=zipfile.ZIP_DEFLATED
    )
    blob = bytearray((tmp_path / "x.npz").read_bytes())
    declared = len(described((1,))) + 4
    directory = blob.index(b"PK\x01\x02")
    blob[directory + 24 : directory + 28] = declared.to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(blob)
    with pytest.raises(UserError, match="CRC"):
        files.load_npz(tmp_path / "x.npz")


def damage(blob, generator):
    """One to four bytes changed, or the end cut off, or a piece put in twice."""
    blob, kind = bytearray(blob), generator.randrange(4)
    if kind == 0:
        return blob[: generator.randrange(len(blob))]
    if kind == 1:
        place = generator.randrange(len(blob))
        return blob[:place] + blob[generator.randrange(len(blob)) :] + blob[place:]
    for _ in range(generator.randint(1, 4)):
        blob[generator.randrange(len(blob))] = generator.randrange(256)
    return blob


@pytest.mark.parametrize("rounds", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_whatever_is_damaged_is_the_same_array_or_a_clear_error(tmp_path, rounds):
    """Checksums of the zip format see a change of the contents; a name may change unseen."""
    blob, generator = whole(), random.Random(rounds)
    expected = {array.tobytes() for array in files.load_npz(_put(tmp_path, blob)).values()}
    messages = []
    for _ in range(rounds):
        path = _put(tmp_path, damage(blob, generator))
        try:
            found = files.load_npz(path)
        except UserError as error:
            messages.append(str(error))
        else:
            assert {array.tobytes() for array in found.values()} <= expected
    assert len(messages) > rounds / 2
    assert all(str(path) in message for message in messages)


def _put(folder, blob):
    (folder / "x.npz").write_bytes(blob)
    return folder / "x.npz"


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit on memory here")
@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 10_000])
def test_json_that_nests_without_end_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read as JSON"):
        files.load_json(tmp_path / "x.json")
