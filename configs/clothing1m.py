"""Clothing1M in its authors' folder layout at `--config.data.dir=ROOT`; MoCo-v2 on a ResNet-50."""

from dmlp_jax.config import clothing1m_config


def get_config():
    return clothing1m_config()
