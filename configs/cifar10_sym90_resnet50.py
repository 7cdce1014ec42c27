"""CIFAR-10, 90 % symmetric noise, with SimCLR features of a ResNet-50."""

from dmlp_jax.config import cifar_config, with_noise


def get_config():
    config = with_noise(cifar_config("cifar10"), "sym", 90)
    config.name += "_resnet50"
    config.pretrain.model = "resnet50"
    return config
