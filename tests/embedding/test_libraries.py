"""Encoders of libraries, on tiny models that are made here, written to disk and read from there."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

import dmlp_jax
from dmlp_jax.embedding import libraries, loaders
from dmlp_jax.embedding.inputs import read
from dmlp_jax.errors import UserError

TEXTS = ["red ship", "blue ship", "", "red cat and blue cat"]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 40, 48, 3)).astype(np.uint8)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "ship", "cat", "and"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with a text model of transformers."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(WORDS), **sizes)
    transformers.BertModel(config).eval().save_pretrained(folder)
    return folder


def check(name, rows, width):
    """Embeddings have a row each, do not depend on the batch, and are found by the public function."""
    found = dmlp_jax.embed(rows, name)
    assert found.shape == (len(rows), width)
    assert found.dtype == np.float32
    assert len(np.unique(found.round(5), axis=0)) == len(rows)
    np.testing.assert_allclose(dmlp_jax.embed(rows, name, batch_size=2), found, atol=1e-4)
    return found


def test_texts_by_transformers_are_means_over_tokens(bert):
    import torch
    import transformers

    found = check(f"transformers:{bert}", TEXTS, 16)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    network = transformers.AutoModel.from_pretrained(bert).eval()
    with torch.inference_mode():
        alone = network(**tokenizer([TEXTS[0]], return_tensors="pt")).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(found[0], alone, atol=1e-4)


def test_texts_by_sentence_transformers(bert, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    word = modules.Transformer(str(bert))
    library.SentenceTransformer(modules=[word, modules.Pooling(16)], device="cpu").save(str(tmp_path))
    found = check(f"sentence-transformers:{tmp_path}", TEXTS, 16)
    # Mean pooling is what `transformers:` does.
    np.testing.assert_allclose(found, dmlp_jax.embed(TEXTS, f"transformers:{bert}"), atol=1e-4)


def test_images_by_transformers(tmp_path):
    pytest.importorskip("torchvision", exc_type=Exception)
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(image_size=16, patch_size=8, **sizes)
    transformers.ViTModel(config).eval().save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    check(f"transformers:{tmp_path}", IMAGES, 16)


def test_images_by_timm(tmp_path):
    timm = pytest.importorskip("timm", exc_type=Exception)
    from timm.models import save_for_hf

    network = timm.create_model("test_resnet.r160_in1k", pretrained=False).eval()
    save_for_hf(network, tmp_path, safe_serialization=True)
    found = check(f"timm:{tmp_path}", IMAGES, network.num_features)
    with pytest.raises(UserError, match="is for images, but these are texts"):
        dmlp_jax.embed(TEXTS, f"timm:{tmp_path}")
    assert found.std() > 0


def test_texts_and_images_by_open_clip(tmp_path):
    open_clip = pytest.importorskip("open_clip", exc_type=Exception)
    torch = pytest.importorskip("torch")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    network = open_clip.CLIP(**config)
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    from safetensors.torch import save_file

    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        tmp_path / "open_clip_model.safetensors",
    )
    check(f"open_clip:{tmp_path}", IMAGES, 16)
    found = check(f"open_clip:{tmp_path}", TEXTS, 16)
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")([TEXTS[1]])
    with torch.inference_mode():
        np.testing.assert_allclose(found[1], network.eval().encode_text(tokens)[0], atol=1e-4)


def test_a_folder_with_another_model_is_another_encoder(bert, tmp_path):
    name = f"transformers:{bert}"
    before = libraries.identity(name)
    assert libraries.identity(name) == before
    (bert / "note.txt").write_text("changed")
    assert libraries.identity(name) != before
    (bert / "note.txt").unlink()
    assert len(libraries.load(name).record()["weights"]) == 16


def test_weights_are_told_by_names_shapes_and_bytes():
    torch = pytest.importorskip("torch")

    def hashed(**tensors):
        network = torch.nn.Module()
        for name, tensor in tensors.items():
            network.register_buffer(name, tensor)
        return loaders._hash(network)

    one, two = torch.arange(6.0), torch.tensor(3, dtype=torch.bfloat16)
    first = hashed(one=one, two=two)
    # Not the order in which they were made.
    assert hashed(two=two.clone(), one=one.clone()) == first
    others = [
        hashed(one=one.reshape(2, 3), two=two),
        hashed(one=one + 2**-20, two=two),
        hashed(one=one.double(), two=two),
        hashed(one=one, other=two),
        hashed(one=one, two=two + 1),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize("library", loaders.LIBRARIES)
def test_a_missing_library_names_its_extra(monkeypatch, library):
    monkeypatch.setitem(sys.modules, loaders.LIBRARIES[library].module, None)
    extra = loaders.LIBRARIES[library].extra
    with pytest.raises(UserError, match=rf"pip install 'dmlp_jax\[{extra}\]'"):
        dmlp_jax.embed(TEXTS, f"{library}:some-model")


def test_extras_are_those_of_the_package():
    from configparser import ConfigParser
    from pathlib import Path

    settings = ConfigParser()
    settings.read(Path(__file__).parents[2] / "setup.cfg")
    for library in loaders.LIBRARIES.values():
        assert library.package in settings["options.extras_require"][library.extra]


def test_a_model_that_is_not_there_is_one_sentence(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot be loaded") as raised:
        dmlp_jax.embed(TEXTS, f"transformers:{tmp_path / 'empty'}")
    assert "\n" not in str(raised.value)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the current folder."""
    (tmp_path / "own_encoders.py").write_text(
        "import numpy as np\n"
        "def lengths(rows):\n    return [[len(row), row.count('a')] for row in rows]\n"
        "def sizes(rows):\n    return np.array([row.size for row in rows])\n"
        "def flat(rows):\n    return np.zeros(len(rows))\n"
        "def fewer(rows):\n    return np.zeros((1, 3))\n"
        "def nan(rows):\n    return np.full((len(rows), 2), np.nan)\n"
        "def words(rows):\n    return [['x'] for row in rows]\n"
        "def varying(rows):\n    return np.zeros((len(rows), len(rows)))\n"
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_encoders", None)


def test_a_function_of_ones_own(own):
    found = dmlp_jax.embed(TEXTS, "own_encoders:lengths")
    assert found.tolist() == [[8, 0], [9, 0], [0, 0], [20, 3]]
    assert dmlp_jax.embed(IMAGES, "own_encoders:sizes")[0].tolist() == [48, 40]
    assert str(own) not in sys.path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_encoders:flat", r"returned an array \(4,\) for 4 rows"),
        ("own_encoders:fewer", r"\(1, 3\) for 4 rows"),
        ("own_encoders:nan", "NaN or infinity for row 0"),
        ("own_encoders:words", "no array of numbers"),
        ("own_encoders:varying", "gave 3 numbers a row at first and 1 from row 3"),
        ("own_encoders:gone", "has no function 'gone'"),
        ("no_module_of_that_name:x", "no module 'no_module_of_that_name'"),
        ("tim:resnet18", "did you mean 'timm'"),
        ("timm:", "names no model"),
        ("tfid", "did you mean 'tfidf'"),
        ("patches", "'patches' is not for texts; use 'tfidf'"),
    ],
)
def test_mistakes_in_encoders_are_named(own, name, words):
    with pytest.raises(UserError, match=words):
        dmlp_jax.embed(TEXTS, name, batch_size=3 if name.endswith("varying") else 32)


def test_images_are_given_whole_and_in_colour(own):
    rows = read([Image.fromarray(IMAGES[0]).convert("L")])
    assert libraries.load("own_encoders:sizes").encode(rows)[0].tolist() == [48, 40]
