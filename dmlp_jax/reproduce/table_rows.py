"""Defines how each row of the paper's tables is reproduced; other rows are shown as published only."""

from typing import Any, NamedTuple


class How(NamedTuple):
    """The method of a row, and the labels that it is trained on.

    Attributes:
        method: `retrain.method`; '' for a linear probe of the features, trained on the given labels.
        labels: `retrain.labels`, one source; 'corrected_' and a method for given labels that it corrected.
        encoder: key of `cells.ENCODERS`.
        with_val: whether the clean images, all of them, join the training set.
        init: `retrain.init`; 'encoder' starts from the pretrained encoder, 'frozen' keeps it as it is.
        settings: of `retrain`, further ones.
        purify: settings of the purifier that differ from the preset.
        presets: of the purifier, each of which makes a cell of its own; '' for a row that is not trained on
            purified labels.
    """

    method: str = "naive"
    labels: str = "given"
    encoder: str = "simclr_resnet18"
    with_val: bool = False
    init: str = "scratch"
    settings: tuple[tuple[str, Any], ...] = ()
    purify: tuple[tuple[str, Any], ...] = ()
    presets: tuple[str, ...] = ("",)


HEADLINE = "simclr_resnet50"
PRESETS = ("paper", "default")


def _dmlp(method: str, encoder: str = HEADLINE, presets: tuple[str, ...] = PRESETS, **more: Any) -> How:
    return How(method, "purified", encoder, with_val=True, presets=presets, **more)


_META: dict[str, Any] = {"with_val": True}
_CLOTHING: dict[str, Any] = {"encoder": "clothing1m", "init": "encoder"}

# What a reader of every table, and of one, has to know; it stands under the title and in `--list`.
CLEAN_IMAGES = (
    "All clean images join the training of rows that use them (DivideMix*, MLC, MSLC, DMLP-..., Table 9): no "
    "epoch is picked on held-out ones."
)
NOTES: dict[int, str] = {
    5: "'IPC alone' is made under the paper preset only: the default preset writes all labels by EAC in "
    "every round, so nothing of it would be left. With the printed step of 0.01 IPC alone changes hardly any "
    "label; the authors' script gives its gradient to Adam (purify.label_optimizer=adam).",
}

ROWS: dict[int, dict[str, How]] = {
    1: {
        "Cross-Entropy": How(),
        # The caption of Table 1 announces it, but the table has no such row.
        "Classifier": How(method="", encoder=HEADLINE),
        "Co-teaching+": How("co_teaching_plus"),
        "PENCIL": How("pencil"),
        "C2D-DivideMix": How("dividemix", init="encoder"),
        "DivideMix": How("dividemix"),
        "Meta-Learning": How("mlnt"),
        "Sel-CL+": How("sel_cl_plus"),
        "MOIT+": How("moit_plus"),
        "MLC": How("mlc", **_META),
        "MSLC": How("mslc", **_META),
        "DivideMix*": How("dividemix", with_val=True),
        "DMLP-Naive": _dmlp("naive"),
        "DMLP-DivideMix": _dmlp("dividemix"),
        # Newer than the paper.
        "ProMix": How("promix"),
        "SSR": How("ssr"),
        "SSR+": How("ssr_plus"),
    },
    2: {
        "Joint-Optim": How("naive", "corrected_joint_optim"),
        "PENCIL": How("pencil"),
        "M-correction": How("m_correction"),
        "RRL": How("rrl"),
        "Sel-CL+": How("sel_cl_plus"),
        "DivideMix": How("dividemix"),
        "C2D-DivideMix": How("dividemix", init="encoder"),
        "GCE": How("gce", init="encoder"),
        "Iterative-CV": How("incv"),
        "Zhang et al. (CVPR20 [38])": How("ieg", **_META),
        "Meta-Learning": How("mlnt"),
        "MSLC": How("mslc", **_META),
        "DMLP-Naive": _dmlp("naive"),
        "DMLP-DivideMix": _dmlp("dividemix"),
    },
    3: {
        "PENCIL": How("pencil", **_CLOTHING),
        # DivideMix in this table starts from ImageNet weights, which are not available here; from the
        # pretrained encoder it would be C2D-DivideMix.
        "C2D-DivideMix": How("dividemix", **_CLOTHING),
        "GCE": How("gce", **_CLOTHING),
        "Meta-Learning": How("mlnt", **_CLOTHING),
        "MLC": How("mlc", **_CLOTHING, **_META),
        "MSLC": How("mslc", **_CLOTHING, **_META),
        "Meta-Weight-Net": How("meta_weight_net", **_CLOTHING, **_META),
        "FaMUS": How("famus", **_CLOTHING),
        "MSLG": How("mslg", **_CLOTHING, **_META),
        "DMLP-Naive": _dmlp("naive", **_CLOTHING),
        "DMLP-DivideMix": _dmlp("dividemix", **_CLOTHING),
    },
    4: {
        "Co-teaching": How("co_teaching"),
        "DMLP-Co-teaching": _dmlp("co_teaching"),
        "CDR": How("cdr"),
        "DMLP-CDR": _dmlp("cdr"),
        "ELR+": How("elr_plus"),
        "DMLP-ELR+": _dmlp("elr_plus"),
    },
    5: {
        "EAC alone": _dmlp("naive", purify=(("ipc", False),)),
        "IPC alone": _dmlp("naive", purify=(("eac", False),), presets=("paper",)),
        "IPC and EAC": _dmlp("naive", purify=(("ipc", True),)),
    },
    6: {
        "MLC*": How("mlc", init="encoder", **_META),
        "MSLC*": How("mslc", init="encoder", **_META),
        "DMLP-Naive*": _dmlp("naive", "simclr_resnet18"),
        "MLC*-DivideMix": How("dividemix", "corrected_mlc", init="encoder", **_META),
        "MSLC*-DivideMix": How("dividemix", "corrected_mslc", init="encoder", **_META),
        "DMLP*-DivideMix": _dmlp("dividemix", "simclr_resnet18"),
    },
    7: {"DMLP-Naive": _dmlp("naive", **_CLOTHING)},
    8: {
        "MoCo ResNet-18": _dmlp("naive", "moco_resnet18"),
        "SimCLR ResNet-18": _dmlp("naive", "simclr_resnet18"),
        "SimCLR ResNet-50": _dmlp("naive"),
    },
    9: {
        "MeanTeacher": How("mean_teacher", with_val=True),
        "MixMatch": How("mixmatch", with_val=True),
        "FixMatch": How("fixmatch", with_val=True),
        "UDA": How("uda", with_val=True),
        "DMLP-DivideMix": _dmlp("dividemix"),
    },
}
