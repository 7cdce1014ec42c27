"""scikit-learn's digits, 80 % symmetric noise (true class included), 30 clean images: the default."""

from dmlp_jax.config import default_config


def get_config():
    return default_config()
