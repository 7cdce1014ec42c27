"""What the arguments of `dmlp-purify` say of its input: the files, the clean rows to draw, the pictures."""

import argparse
from pathlib import Path
from typing import Any

from dmlp_jax.errors import UserError


def named(arguments: argparse.Namespace) -> Any:
    """The files, columns and encoder that the arguments name, as `Sources` of `inputs/input_files.py`.

    Raises:
        UserError: options that do not go together.
    """
    from dmlp_jax.cli.inputs import annotators
    from dmlp_jax.cli.inputs.input_files import Sources
    from dmlp_jax.cli.inputs.raw_rows import Embedder

    several = annotators.named(arguments.label_column)
    if several and arguments.annotator_column is not None:
        raise UserError("--annotator-column is for a long table with one column of labels; name only this")
    if (several or arguments.annotator_column is not None) and arguments.draw_clean is not None:
        raise UserError("--draw-clean is for one label a row; several annotators need no clean rows")
    embedder = None
    if arguments.text is not None or arguments.features.is_dir():
        folder = arguments.embeddings or arguments.out / "embedding"
        embedder = Embedder(folder, arguments.encoder, arguments.text)
    elif arguments.encoder is not None or arguments.embeddings is not None:
        option = "encoder" if arguments.encoder is not None else "embeddings"
        raise UserError(
            f"--{option} is for texts and images: name the column of texts with --text, or a folder of images"
        )
    return Sources(
        features=arguments.features,
        labels=arguments.labels,
        val_features=arguments.val_features,
        val_labels=arguments.val_labels,
        val_index=arguments.val_index,
        val_given_labels=arguments.val_given_labels,
        val_random=arguments.val_random,
        label_column=None if several else arguments.label_column,
        annotators=several,
        annotator_column=arguments.annotator_column,
        feature_columns=_names(arguments.feature_columns),
        id_column=arguments.id_column,
        show_columns=_names(arguments.show_columns) or (),
        num_classes=arguments.num_classes,
        embedder=embedder,
    )


def clean_draw(arguments: argparse.Namespace) -> Any:
    """The function that draws clean rows, or None without --draw-clean.

    It takes features [n, d], given class indices [n] and the number of classes, and returns the drawn rows
    [m] and the estimated noise rate.
    """
    if arguments.draw_clean is None:
        return None

    def draw(features: Any, labels: Any, num_classes: int) -> tuple[Any, float]:
        import jax

        from dmlp_jax.purifier import likely_clean

        found = likely_clean.estimate(features, labels, num_classes)
        key = jax.random.fold_in(jax.random.key(arguments.seed), 1)
        return likely_clean.draw(found.correct, labels, arguments.draw_clean, key), found.noise_rate

    return draw


def pictures(arguments: argparse.Namespace, rows: Any) -> list[Path] | None:
    """The picture of every row of the file, or None without pictures.

    Raises:
        UserError: --image-names without --images, or a row without a picture.
    """
    from dmlp_jax.cli.inputs import input_files, row_images

    if arguments.images is None:
        if arguments.image_names is not None:
            raise UserError("--image-names needs --images, the folder of the images")
        own = None if rows.file is None or rows.file.raw is None else rows.file.raw.pictures
        return own
    if arguments.image_names is not None:
        names = input_files.read_labels(arguments.image_names)
        return row_images.find(arguments.images, rows.file_rows, names)
    if rows.ids is not None:
        return row_images.find(arguments.images, rows.file_rows, rows.ids)
    return row_images.find(arguments.images, rows.file_rows)


def shown(arguments: argparse.Namespace, rows: Any, found: list[Path] | None) -> dict[str, Any]:
    """Columns of review.csv that show a row: its text, or the name of its picture."""
    texts = None if rows.file is None or rows.file.raw is None else rows.file.raw.texts
    if texts is not None:
        return {"text": texts}
    if found is None:
        return {}
    folder = arguments.features if arguments.images is None else arguments.images
    return {"image": [path.relative_to(folder).as_posix() for path in found]}


def image_of(found: list[Path] | None) -> Any:
    """The function from a row of the file to its picture, or None without pictures."""
    from dmlp_jax.cli.inputs import row_images

    return None if found is None else lambda row: row_images.thumbnail(found[row])


def _names(text: str | None) -> tuple[str, ...] | None:
    """Comma-separated names of columns."""
    return None if text is None else tuple(filter(None, text.split(",")))
