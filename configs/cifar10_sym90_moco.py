"""CIFAR-10, 90 % symmetric noise, with MoCo-v2 features instead of SimCLR (ResNet-18)."""

from dmlp_jax.config import cifar_config, with_moco, with_noise


def get_config():
    return with_moco(with_noise(cifar_config("cifar10"), "sym", 90))
