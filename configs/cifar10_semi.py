"""CIFAR-10 as semi-supervised data: 1,000 clean labels, all other labels drawn uniformly at random."""

from dmlp_jax.config import cifar_config, with_noise


def get_config():
    config = with_noise(cifar_config("cifar10"), "sym", 100)
    config.name = "cifar10_semi"
    return config
