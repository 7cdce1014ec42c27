"""CIFAR-100N, human labels; noise.path is the path of the authors' CIFAR-100_human.pt."""

from dmlp_jax.config import cifar_config


def get_config():
    config = cifar_config("cifar100")
    config.name = "cifar100n"
    config.noise.update(name="human", column="noisy_label", path="data/CIFAR-100_human.pt")
    config.retrain.labels = "given,purified"
    return config
