"""Your own features from `--config.data.path=features.npz`; docs/your_data.md lists the arrays in it."""

from dmlp_jax.config import default_config


def get_config():
    config = default_config()
    config.name = "features"
    config.data.name = "npz"
    config.noise.name = "none"
    config.stages = "purify,retrain,report"
    config.retrain.labels = "given,purified"
    return config
