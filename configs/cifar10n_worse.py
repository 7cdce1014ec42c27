"""CIFAR-10N, the worst of three human labels; noise.path is the path of the authors' CIFAR-10_human.pt."""

from dmlp_jax.config import cifar_config


def get_config():
    config = cifar_config("cifar10")
    config.name = "cifar10n_worse"
    config.noise.update(name="human", column="worse_label", path="data/CIFAR-10_human.pt")
    config.retrain.labels = "given,purified"
    return config
