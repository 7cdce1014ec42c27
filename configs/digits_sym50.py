"""scikit-learn's digits, 50 % symmetric noise (true class included), 30 clean images."""

from dmlp_jax.config import default_config, with_noise


def get_config():
    return with_noise(default_config(), "sym", 50)
