"""`dmlp-purify` on class folders, and on a flat folder with a table of names and labels."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dmlp_jax.cli import command
from dmlp_jax.embedding import patches
from tests.cli.kit import read_issues

NAMES = np.array(["dots", "lines", "squares"])
COUNT, WRONG = 90, 12


def draw(label, rng):
    """An image of one of the classes, [16, 20, 3]."""
    image = np.full((16, 20, 3), rng.integers(0, 60), np.uint8)
    if label == 0:
        image[rng.integers(0, 16, 25), rng.integers(0, 20, 25)] = 220
    elif label == 1:
        image[:, rng.integers(0, 3) :: 3] = 220
    else:
        top, left = rng.integers(1, 6), rng.integers(1, 8)
        image[top : top + 9, left : left + 9] = 220
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images in class folders, some in a wrong one, and the same in a flat folder with a table."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    true = np.arange(COUNT) % 3
    given = true.copy()
    wrong = rng.choice(COUNT, WRONG, replace=False)
    given[wrong] = (true[wrong] + 1) % 3
    (root / "flat").mkdir()
    for row in range(COUNT):
        image = Image.fromarray(draw(true[row], rng))
        place = root / "photos" / NAMES[given[row]] / "deeper" / f"{row:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)
        image.save(root / "flat" / f"img {row:03}.png")
    names = [f"img {row:03}" for row in range(COUNT)]
    table = pd.DataFrame({"note": "", "file": names, "label": NAMES[given], "true": NAMES[true]})
    table.sample(frac=1, random_state=0).to_csv(root / "labels.csv", index=False)
    (root / "photos" / "dots" / "broken.png").write_bytes(b"no image")
    (root / "photos" / "notes.txt").write_text("notes")
    (root / "photos" / ".hidden.png").write_text("")
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few centroids: the images are simple."""
    monkeypatch.setattr(patches, "CENTROIDS", 24)
    monkeypatch.setattr(patches, "COMPONENTS", 16)


def true_of(names):
    return np.array([NAMES[int(name.removesuffix(".png")[-3:]) % 3] for name in names])


@pytest.fixture(scope="module")
def done(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "CENTROIDS", 24)
        patch.setattr(patches, "COMPONENTS", 16)
        assert command.main([str(folder / "photos"), f"--out={folder / 'out'}"]) == 0
    return folder / "out"


def test_class_folders_are_ranked(folder, done):
    table = pd.read_csv(done / "purified.csv")
    assert list(table.columns) == [
        "image", "given_label", "purified_label", "confidence", "label_quality", "status",
    ]  # fmt: skip
    assert table["image"].tolist() == sorted(table["image"])
    read = table[table["status"] == "kept"]
    assert len(read) == COUNT
    assert (read["purified_label"] == read["given_label"]).all()
    issues = read_issues(done / "issues.csv")
    found = issues[:WRONG]
    assert np.mean([row["given_label"] for row in found] != true_of([row["id"] for row in found])) > 0.6
    assert issues[0]["id"] in set(table["image"])


def test_a_broken_image_is_left_out_and_named(folder, done, capsys):
    table = pd.read_csv(done / "purified.csv")
    broken = table[table["status"] == "unreadable"]
    assert broken["image"].tolist() == ["dots/broken.png"]
    assert broken["label_quality"].isna().all()
    assert len(read_issues(done / "issues.csv")) == COUNT
    assert command.main([str(folder / "photos"), f"--out={done}", "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert "1 images cannot be decoded and are left out, the first of them dots/broken.png" in out
    assert "1 files of" in out
    assert "1 .txt" in out
    assert "1 hidden files and folders" in out


def test_the_page_has_pictures_and_names_of_images(done):
    page = (done / "report.html").read_text()
    pictures = page.split('id="review-pictures">')[1].split("</script>")[0].splitlines()
    assert sum(map(bool, pictures)) >= COUNT
    assert "dots/deeper/" in page


def test_a_flat_folder_with_a_table_is_purified_with_reviewed_images(folder, capsys):
    table = pd.read_csv(folder / "labels.csv")
    reviewed = table["file"][:45]
    (folder / "rows.txt").write_text("\n".join(reviewed + ".png"))
    (folder / "right.txt").write_text("\n".join(true_of(reviewed)))
    words = [folder / "flat", folder / "labels.csv", "--val-index", folder / "rows.txt"]
    words += ["--val-labels", folder / "right.txt", "--out", folder / "purified"]
    assert command.main(list(map(str, words))) == 0
    found = pd.read_csv(folder / "purified" / "purified.csv")
    pd.testing.assert_frame_equal(found[table.columns], table)
    assert (found["status"][:45] == "clean").all()
    assert (found["purified_label"][:45] == true_of(reviewed)).all()
    before, after = (np.mean(found[name] == found["true"]) for name in ("label", "purified_label"))
    assert after > before


@pytest.mark.parametrize(
    ("change", "more", "told"),
    [
        ({}, [], ["flat has no class folders", "table of their names and labels"]),
        ({"file": "x.png"}, ["labels.csv"], ["no column of", "names the images", "--id-column"]),
        ({"file": "img 001"}, ["labels.csv"], ["names img 001.png 90 times"]),
        ({}, ["labels.csv", "--label=kind"], ["no column 'kind' for the labels"]),
        ({}, ["labels.csv", "--id-column=note"], ["column 'note'", "holds no image ''"]),
        ({}, ["rows.txt"], ["must be a table of their names and labels"]),
        ({"label": "dots"}, ["labels.csv"], ["all labels are 'dots'"]),
    ],
)
def test_mistakes_in_tables_are_named(folder, tmp_path, capsys, change, more, told):
    pd.read_csv(folder / "labels.csv").assign(**change).to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "rows.txt").write_text("1\n")
    arguments = [str(tmp_path / word) if word[0] != "-" else word for word in more]
    assert command.main([str(folder / "flat"), *arguments, f"--out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    for word in told:
        assert word in error


def test_other_folders_are_refused(tmp_path, capsys):
    for name in ("train/a", "val/a"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "set" / name / "x.png")
    assert command.main([str(tmp_path / "set"), f"--out={tmp_path / 'out'}"]) == 2
    assert "parts of a data set and no classes" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert command.main([str(tmp_path / "empty"), f"--out={tmp_path / 'out'}"]) == 2
    assert "holds no images" in capsys.readouterr().err
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "x.png").write_bytes(b"")
    assert command.main([str(tmp_path / "bad"), f"--out={tmp_path / 'out'}"]) == 2
    assert "2 of 2 images" in capsys.readouterr().err
