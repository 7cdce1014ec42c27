"""CIFAR-10, 40 % asymmetric noise, 1,000 clean images."""

from dmlp_jax.config import cifar_config, with_noise


def get_config():
    return with_noise(cifar_config("cifar10"), "asym", 40)
