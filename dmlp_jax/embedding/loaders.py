"""Loads models of sentence-transformers, transformers, timm and open_clip as functions of a batch.

Each library is an extra of this package. Remote code stays off: a model that needs code of its own is refused
by its library.
"""

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.errors import UserError

# Maps a list of b texts, or of Pillow images, to [b, d].
Call = Callable[[list[Any]], np.ndarray]


class Library(NamedTuple):
    """A library of encoders.

    Attributes:
        module: what is imported.
        package: its name on PyPI.
        extra: the extra of dmlp_jax that installs it.
    """

    module: str
    package: str
    extra: str


LIBRARIES = {
    "sentence-transformers": Library(
        "sentence_transformers", "sentence-transformers", "sentence-transformers"
    ),
    "transformers": Library("transformers", "transformers", "transformers"),
    "timm": Library("timm", "timm", "timm"),
    "open_clip": Library("open_clip", "open_clip_torch", "open-clip"),
}


def load(library: str, model: str) -> tuple[Call, str]:
    """Loads a model.

    Args:
        library: one of `LIBRARIES`.
        model: its name there, or a folder.

    Returns:
        A function of a batch, and a hash of the model's weights.

    Raises:
        UserError: the library is not installed, or cannot load the model.
    """
    loaders: dict[str, Callable[[Any, str], tuple[Call, Any]]] = {
        "sentence-transformers": _sentence_transformers,
        "transformers": _transformers,
        "timm": _timm,
        "open_clip": _open_clip,
    }
    module = _import(library, model)
    try:
        call, network = loaders[library](module, model)
    except UserError:
        raise
    except Exception as error:
        # Libraries raise errors of many types for models that do not exist, and without a network.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"the encoder '{library}:{model}' cannot be loaded ({reason})") from error
    return call, _hash(network)


def _import(library: str, model: str) -> Any:
    names = LIBRARIES[library]
    try:
        importlib.import_module("torch")
        return importlib.import_module(names.module)
    except ImportError as error:
        raise UserError(
            f"the encoder '{library}:{model}' needs {names.package}, which is not installed or cannot be "
            f"imported ({error}): pip install 'dmlp_jax[{names.extra}]'"
        ) from error


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _sentence_transformers(library: Any, model: str) -> tuple[Call, Any]:
    network = library.SentenceTransformer(model, device=_device(), trust_remote_code=False)

    def call(batch: list[Any]) -> np.ndarray:
        return network.encode(batch, batch_size=len(batch), show_progress_bar=False, convert_to_numpy=True)

    return call, network


def _transformers(library: Any, model: str) -> tuple[Call, Any]:
    """Texts: mean of the last layer over tokens; images: the pooled output, or the first token's."""
    network = library.AutoModel.from_pretrained(model, trust_remote_code=False).to(_device()).eval()
    prepared: dict[str, Any] = {}

    def call(batch: list[Any]) -> np.ndarray:
        import torch

        texts = isinstance(batch[0], str)
        if not prepared:
            kind = library.AutoTokenizer if texts else library.AutoImageProcessor
            prepared["by"] = kind.from_pretrained(model, trust_remote_code=False)
        if texts:
            inputs = prepared["by"](batch, padding=True, truncation=True, return_tensors="pt")
        else:
            inputs = prepared["by"](batch, return_tensors="pt")
        inputs = inputs.to(network.device)
        with torch.inference_mode():
            joint = getattr(network, "get_text_features" if texts else "get_image_features", None)
            output = joint(**inputs) if joint else network(**inputs)
            rows = _pooled(output, inputs.get("attention_mask") if texts and not joint else None)
        return rows.float().cpu().numpy()

    return call, network


def _pooled(output: Any, mask: Any) -> Any:
    """One row for each text or image, [b, d], of a transformers model's output."""
    if not hasattr(output, "last_hidden_state") and not hasattr(output, "pooler_output"):
        return output
    if mask is not None:
        weight = mask.unsqueeze(-1).to(output.last_hidden_state.dtype)
        return (output.last_hidden_state * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
    if getattr(output, "pooler_output", None) is not None:
        # Convolutional networks keep two axes of length 1.
        return output.pooler_output.flatten(1)
    return output.last_hidden_state[:, 0]


def _timm(library: Any, model: str) -> tuple[Call, Any]:
    from timm import data

    name = f"local-dir:{model}" if Path(model).is_dir() else f"hf-hub:{model}" if "/" in model else model
    # Without its classifier the network returns pooled features.
    network = library.create_model(name, pretrained=True, num_classes=0).to(_device()).eval()
    transform = data.create_transform(**data.resolve_model_data_config(network), is_training=False)

    def call(batch: list[Any]) -> np.ndarray:
        import torch

        _refuse_texts(batch, f"timm:{model}")
        images = torch.stack([transform(image) for image in batch])
        with torch.inference_mode():
            return network(images.to(next(network.parameters()).device)).float().cpu().numpy()

    return call, network


def _open_clip(library: Any, model: str) -> tuple[Call, Any]:
    architecture, _, weights = model.partition("/")
    if Path(model).is_dir():
        name, weights = f"local-dir:{model}", ""
    elif architecture in library.list_models():
        name = architecture
        if not weights:
            tags = ", ".join(library.list_pretrained_tags_by_model(architecture)[:8])
            raise UserError(f"'open_clip:{model}' names no weights; write open_clip:{model}/TAG, of {tags}")
    else:
        name, weights = f"hf-hub:{model}", ""
    network, _, transform = library.create_model_and_transforms(
        name, pretrained=weights or None, device=_device(), weights_only=True
    )
    network.eval()
    tokenizer = library.get_tokenizer(name)

    def call(batch: list[Any]) -> np.ndarray:
        import torch

        device = next(network.parameters()).device
        with torch.inference_mode():
            if isinstance(batch[0], str):
                rows = network.encode_text(tokenizer(batch).to(device))
            else:
                rows = network.encode_image(torch.stack([transform(image) for image in batch]).to(device))
        return rows.float().cpu().numpy()

    return call, network


def _refuse_texts(batch: list[Any], name: str) -> None:
    if isinstance(batch[0], str):
        raise UserError(f"the encoder {name!r} is for images, but these are texts")


def _hash(network: Any) -> str:
    """Hash of names, shapes, types and bytes of the weights in the order of their names, 16 hex digits."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # NumPy has no bfloat16, but every tensor has bytes.
        stored = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(stored.numpy().tobytes())
    return digest.hexdigest()[:16]
