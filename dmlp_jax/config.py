"""Defines all settings of a run with their defaults, and the base configurations of the data sets.

`default_config()` is the built-in digits demo. The files in configs/ start from one of the functions here and
set little more than the noise. Without `--config`, `python -m dmlp_jax.main` loads this file itself, so it
defines `get_config`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from dmlp_jax.retrain import recipes

STAGES = ("pretrain", "extract", "purify", "retrain", "report")


def default_config() -> ConfigDict:
    """The digits demo: 1,797 real 8x8 images, 80 % symmetric noise, 30 clean images; one minute on CPU."""
    config = ConfigDict()
    config.name = "digits_sym80"  # names the default workdir, runs/<name>
    config.seed = 0  # random seed; all random choices derive from it
    config.stages = ",".join(STAGES)  # the stages to run, comma-separated
    config.num_devices = 0  # local devices to use, 0 for all of them
    config.log_seconds = 2.0  # print at most one progress line per this many seconds
    # Folder of compiled programs. '': JAX_COMPILATION_CACHE_DIR, else the user's cache folder; 'none': none.
    config.compile_cache = ""
    config.tensorboard = False  # also write TensorBoard files to <workdir>/tensorboard (extra 'tensorboard')
    config.wandb = ""  # project at Weights & Biases that also gets the metrics (extra 'wandb'); '': none

    config.data = data = ConfigDict()
    data.name = "digits"  # digits, cifar10, cifar100, folder, clothing1m, npz
    data.dir = "data"  # cifar10, cifar100: folder of the files; folder, clothing1m: the root folder
    data.path = ""  # npz: the file with features, labels, val_features, val_labels
    data.test_share = 0.25  # digits: share of the images held out as the test set, stratified
    # folder, clothing1m:
    data.image_size = 0  # side length that images are resized to
    data.workers = 0  # number of image-decoding processes; 0 for one per core
    data.memory_gb = 4.0  # GB of pixels; up to this size all images are decoded once and kept in memory
    data.max_broken = 0.01  # largest share of undecodable images; these are left out

    config.noise = noise = ConfigDict()
    noise.name = "symmetric"  # none, symmetric, asymmetric, pair, superclass, instance, human
    noise.rate = 0.8  # noise rate, in [0, 1]: share of labels redrawn or changed, see data/noise.py
    noise.exclude_true_class = False  # symmetric: never draw the true class (`rate` is the flip rate)
    noise.path = ""  # human: the authors' CIFAR-10_human.pt or CIFAR-100_human.pt
    noise.column = ""  # human: aggre_label, worse_label, random_label1, ..., noisy_label

    config.val = val = ConfigDict()
    val.size = 30  # number of clean images, drawn from the training images; the rest get noisy labels
    val.stratified = True  # the same number from every class; False: at random, as in the paper's script
    val.share = 1.0  # folder, clothing1m, npz: share of each class of the clean set that is used
    # Whether the purifier also gets the noisy labels of the clean images. None: the default preset gets them
    # wherever the data say them, the paper's does not. True: it is an error if the data do not say them.
    val.given_labels = config_dict.placeholder(bool)

    config.pretrain = pretrain = ConfigDict()
    pretrain.method = "simclr"  # simclr, moco (MoCo-v2)
    pretrain.model = "auto"  # small_cnn, resnet18, resnet34, resnet50; auto: by image size
    # First layers of a ResNet: cifar (3x3, stride 1), imagenet (7x7, stride 2, max-pooling); auto: imagenet
    # for images of more than 64 pixels a side, after cropping.
    pretrain.stem = "auto"
    pretrain.epochs = 60
    pretrain.batch_size = 256  # images per step over all devices; two views each
    pretrain.optimizer = "adamw"  # adamw, sgd (Nesterov), momentum, lars
    pretrain.lr = 5e-3  # peak learning rate
    pretrain.weight_decay = 1e-4
    pretrain.decay_all = False  # also decay biases and batch norm, as PyTorch's optimisers do
    pretrain.momentum = 0.9  # sgd, momentum, lars
    pretrain.warmup_epochs = 6.0  # linear warm-up, then cosine to 0
    pretrain.temperature = 0.3  # temperature of NT-Xent or InfoNCE
    pretrain.projection_layers = 2  # layers of the projection head
    pretrain.projection_width = 128  # width of its hidden layers, 0 for the encoder's
    pretrain.projection_dim = 64  # width of its output
    pretrain.projection_norm = True  # batch norm in its hidden layers
    pretrain.projection_bias = False  # a bias in its output
    pretrain.augment = "affine"  # affine (small grey images), simclr (colour images), none
    pretrain.crop_size = 0  # side of the square crop that the network sees; 0 for the whole image
    pretrain.crop_min_area = 0.2  # simclr: smallest crop, as a share of the image's area
    pretrain.color_strength = 0.5  # simclr: strength of colour jitter; .5 on CIFAR, 1 on ImageNet
    pretrain.gray_prob = 0.2  # simclr: probability of greyscale
    pretrain.blur_prob = 0.0  # simclr: probability of Gaussian blur; .5 on large images
    pretrain.queue = 4096  # moco: length of the queue of negatives, a multiple of the batch size
    pretrain.key_momentum = 0.99  # moco: momentum of the key encoder (moving average per step)
    pretrain.norm_groups = 8  # moco: number of groups per batch that batch norm normalises separately
    pretrain.dtype = "float32"  # float32, or bfloat16 on accelerators
    pretrain.checkpoint_epochs = 30  # epochs between checkpoints

    config.extract = extract = ConfigDict()
    extract.batch_size = 512  # images per inference step
    extract.probe_iterations = 100  # L-BFGS iterations of the linear probe (for reporting only)
    extract.knn = 5  # neighbours of the kNN probe (for reporting only)

    config.purify = purify = ConfigDict()
    purify.preset = "default"  # default, or paper: PurifyConfig() or PurifyConfig.paper()
    purify.paper_steps = 100  # epochs of the paper preset where `steps` is None; the paper: 50 on Clothing1M
    # The other fields of PurifyConfig; None keeps the preset's value. keep_label_history None: on if the true
    # labels are known and the history is not too large.
    for name in (
        "steps",
        "race_steps",
        "num_folds",
        "refits",
        "kernel_points",
        "eac_period",
        "ipc_batch_size",
        "eac_batch_size",
        "num_members",
    ):
        purify[name] = config_dict.placeholder(int)
    for name in ("ipc", "eac", "posterior", "selection", "keep_label_history"):
        purify[name] = config_dict.placeholder(bool)
    purify.weight_decay = config_dict.placeholder(tuple)
    for name in (
        "ridge_penalty",
        "label_lr",
        "label_lr_decay",
        "entropy_weight",
        "val_weight",
        "eac_momentum",
        "eac_lr",
        "eac_lr_drop",
        "eac_entropy_weight",
    ):
        purify[name] = config_dict.placeholder(float)
    purify.label_optimizer = config_dict.placeholder(str)

    config.retrain = retrain = ConfigDict()
    # Training method: naive (plain cross-entropy), gce, bootstrap, elr, elr_plus, co_teaching,
    # co_teaching_plus, cdr, dividemix, incv, mlnt, famus, joint_optim, m_correction, moit_plus, pencil,
    # promix, rrl, sel_cl_plus, ssr, ssr_plus; with retrain.with_val also mlc, mslc, mslg, ieg,
    # meta_weight_net, l2r; semi-supervised, with the clean images' labels only: mean_teacher, mixmatch,
    # fixmatch, uda.
    retrain.method = "naive"
    # Label sets, comma-separated; each trains its own network. The semi-supervised methods ignore them and
    # train one network.
    retrain.labels = "given,val_only_probe,purified,true"
    retrain.with_val = True  # also train on the clean images, with every label set
    # Share of the clean images held out to select the epoch, at least one a class; 0 trains on all of them,
    # as in the paper's tables, and selects none.
    retrain.select_share = 0.2
    # scratch; encoder: start from the pretrained encoder; frozen: a linear layer, or an mlp, on its features,
    # which stay as they are.
    retrain.init = "scratch"
    # Also measure the network's features after each epoch by a linear probe on the true labels (mlc and
    # mlc_decoupled, for reporting only).
    retrain.linear_probe = False
    retrain.noise_rate = config_dict.placeholder(float)  # noise rate; None: estimated for each label set
    # None takes the method's own value, see `recipes`.
    for key, value in recipes.COMMON.items():
        retrain[key] = config_dict.placeholder(type(value))
    config.recipes = ConfigDict(recipes.small())  # hyperparameters of each method, see recipes.py
    config.recipes_for = "small"  # the data and noise that the recipes are for, see `recipes_needed`

    config.report = report = ConfigDict()
    report.gallery = 50_000  # number of images in the report, of the most suspicious rows; it lists 50,000
    report.megabytes = (
        20  # most megabytes of images in the report; images of many rows are made smaller to fit
    )
    report.map = "pca"  # 2-D map of the features: pca, umap (needs the extra 'umap') or none
    return config


def cifar_config(name: str) -> ConfigDict:
    """Base configuration for CIFAR or class folders: SimCLR on a ResNet-18, 1,000 clean images.

    SimCLR follows github.com/dkobak/simclr-cifar10, whose ResNet-18 reaches 91.7 % in a linear probe on
    CIFAR-10; google-research/simclr's own recipe (LARS, lr 2, crops from .08, a 3-layer head) reaches 91 %.

    Args:
        name: 'cifar10', 'cifar100', 'folder' or 'clothing1m'.
    """
    config = default_config()
    config.data.name = name
    config.val.size = 1000
    config.pretrain.update(
        model="resnet18", epochs=1000, batch_size=512, optimizer="momentum", lr=0.06, weight_decay=5e-4,
        decay_all=True, warmup_epochs=0.0, temperature=0.5, projection_layers=2, projection_width=1024,
        projection_dim=128, projection_norm=False, projection_bias=True, augment="simclr",
        crop_min_area=0.2, gray_prob=0.1, dtype="bfloat16", checkpoint_epochs=20,
    )  # fmt: skip
    config.extract.knn = 200
    config.retrain.labels = "purified"
    return with_recipes(config)


def clothing1m_config() -> ConfigDict:
    """Clothing1M with MoCo-v2 on a ResNet-50 and its 14,313 clean validation images.

    The MoCo-v2 settings are its authors' for ImageNet (github.com/facebookresearch/moco). How many epochs the
    DMLP paper pretrains is not known.
    """
    config = with_moco(cifar_config("clothing1m"))
    config.name = "clothing1m"
    config.data.image_size = 256
    config.noise.name = "none"
    config.pretrain.update(
        model="resnet50", crop_size=224, queue=65536, key_momentum=0.999, temperature=0.2, batch_size=256,
        lr=0.03, weight_decay=1e-4, epochs=200, projection_layers=2, projection_width=2048,
        crop_min_area=0.2, color_strength=0.5, blur_prob=0.5, checkpoint_epochs=1,
    )  # fmt: skip
    config.extract.batch_size = 256
    config.purify.paper_steps = 50
    config.retrain.update(init="encoder", labels="purified")
    return with_recipes(config)


def with_recipes(config: ConfigDict) -> ConfigDict:
    """Sets the recipes for the data set and noise of `config`; call it after changing either."""
    config.recipes_for = recipes_needed(config)
    if config.data.name == "clothing1m":
        config.recipes = ConfigDict(recipes.clothing1m())
        return config
    many, asymmetric = "hundred" in config.recipes_for, "asymmetric" in config.recipes_for
    config.recipes = ConfigDict(recipes.cifar(100 if many else 10, asymmetric))
    return config


def with_noise(config: ConfigDict, name: str, percent: int) -> ConfigDict:
    """Sets noise 'sym' (symmetric, true class included) or 'asym' at `percent`, and the run's name."""
    config.noise.name = {"sym": "symmetric", "asym": "asymmetric"}[name]
    config.noise.rate = percent / 100
    config.name = f"{config.data.name}_{name}{percent}"
    return config if config.data.name == "digits" else with_recipes(config)


def with_moco(config: ConfigDict) -> ConfigDict:
    """Replaces SimCLR by MoCo-v2, in its authors' version for CIFAR with eight groups of batch norm.

    Its crops go down to .08 of the image (the default of torchvision), where MoCo-v2 has .2 on ImageNet.
    """
    config.pretrain.update(
        method="moco", queue=4096, key_momentum=0.99, norm_groups=8, temperature=0.1, epochs=200, lr=0.06,
        weight_decay=5e-4, projection_layers=1, projection_dim=128, crop_min_area=0.08, gray_prob=0.2,
    )  # fmt: skip
    config.name += "_moco"
    return config


def recipes_needed(config: ConfigDict) -> str:
    """Name of the recipes that fit the configured data and noise: for small data, Clothing1M or CIFAR.

    Flags may change data and noise after the recipes were set; a difference from `recipes_for` shows that.
    """
    if config.data.name in ("digits", "npz"):
        return "small"
    if config.data.name == "clothing1m":
        return "Clothing1M"
    classes = "a hundred" if config.data.name == "cifar100" else "ten"
    kind = "asymmetric" if config.noise.name in ("asymmetric", "pair", "superclass") else "symmetric"
    return f"images of {classes} classes, {kind} noise"


def apply_recipe(config: ConfigDict) -> ConfigDict:
    """Returns a copy whose `retrain` settings are complete: those that are None come from the recipe.

    Settings that the method's recipe lacks come from the recipe of `naive`.
    """
    config = config.copy_and_resolve_references()
    recipe = {**config.recipes.naive, **config.recipes.get(config.retrain.method, {})}
    with config.unlocked():
        for key, value in recipe.items():
            if config.retrain.get(key) is None:
                config.retrain[key] = value
    return config


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted keys and values of a nested config, in its order."""
    for key, value in config.items():
        if isinstance(value, (ConfigDict, dict)):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def get_config() -> ConfigDict:
    """The default configuration, under the name that ml_collections' config flag expects."""
    return default_config()
