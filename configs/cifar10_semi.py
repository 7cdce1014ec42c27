"""CIFAR-10 with 1,000 labels and no others: all the rest is drawn at random."""

from dmlp_jax.config import cifar_config, with_noise


def get_config():
    config = with_noise(cifar_config("cifar10"), "sym", 100)
    config.name = "cifar10_semi"
    return config
