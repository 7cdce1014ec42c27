import io
import pickle
import zipfile

import numpy as np
import pytest

from dmlp_jax.data.sets import human, torch_file
from dmlp_jax.errors import UserError

TRUE = np.arange(12) % 10


def columns():
    return {"clean_label": TRUE, "worse_label": (TRUE + 1) % 10}


def write_zip(path, value, protocol=2):
    """What torch.save has written since version 1.6."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("CIFAR-10_human/data.pkl", pickle.dumps(value, protocol))
        archive.writestr("CIFAR-10_human/version", "3\n")


def write_legacy(path, value, protocol=2):
    """What torch.save wrote before, and writes with _use_new_zipfile_serialization=False."""
    stream = io.BytesIO()
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    for part in (0x1950A86A20F9469CFC6C, 1001, system, value, []):
        pickle.dump(part, stream, protocol)
    path.write_bytes(stream.getvalue())


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("protocol", [2, 4])
def test_both_formats_of_torch_are_read(tmp_path, write, protocol):
    write(tmp_path / "c.pt", columns(), protocol)
    found = human.load(tmp_path / "c.pt", "worse_label", TRUE)
    np.testing.assert_array_equal(found, (TRUE + 1) % 10)
    assert found.dtype == np.int32


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_columns_that_are_not_asked_for_may_be_lists(tmp_path, write):
    """CIFAR-100_human.pt since March 2023: the labels of the superclasses are lists of integers."""
    fine = {"clean_label": TRUE, "noisy_label": (TRUE + 1) % 10}
    coarse = {f"{name.removesuffix('_label')}_coarse_label": list(map(int, fine[name] // 5)) for name in fine}
    write(tmp_path / "c.pt", fine | coarse)
    np.testing.assert_array_equal(human.load(tmp_path / "c.pt", "noisy_label", TRUE), (TRUE + 1) % 10)
    assert set(torch_file.read(tmp_path / "c.pt")) == set(fine)
    with pytest.raises(UserError, match=r"noise\.column is 'noisy_coarse_label'; .* holds noisy_label"):
        human.load(tmp_path / "c.pt", "noisy_coarse_label", TRUE)


class Runs:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_code_in_the_file_is_not_run(tmp_path, write, capsys):
    write(tmp_path / "c.pt", {**columns(), "extra": Runs()})
    with pytest.raises(UserError, match=r"__builtin__\.print"):
        torch_file.read(tmp_path / "c.pt")
    assert capsys.readouterr().out == ""


def test_object_arrays_are_refused(tmp_path):
    write_zip(tmp_path / "c.pt", {"clean_label": np.array([None, 1], object)})
    with pytest.raises(UserError, match="Python objects"):
        torch_file.read(tmp_path / "c.pt")


def test_unknown_column_names_the_known_ones(tmp_path):
    write_zip(tmp_path / "c.pt", columns())
    with pytest.raises(UserError, match="did you mean 'worse_label'"):
        human.load(tmp_path / "c.pt", "worst_label", TRUE)


def test_another_order_is_noticed(tmp_path):
    write_zip(tmp_path / "c.pt", columns())
    with pytest.raises(UserError, match="official order"):
        human.load(tmp_path / "c.pt", "worse_label", TRUE[::-1])


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2], 2)])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"c\.pt"):
        torch_file.read(tmp_path / "c.pt")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        torch_file.read(tmp_path / "none.pt")
