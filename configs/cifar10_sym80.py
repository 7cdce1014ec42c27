"""CIFAR-10, 80 % symmetric (true class included) noise, 1,000 clean images."""

from dmlp_jax.config import cifar_config, with_noise


def get_config():
    return with_noise(cifar_config("cifar10"), "sym", 80)
