"""Your own images in ROOT/{train,val,test}/<class>/; set `--config.data.dir=ROOT`."""

from dmlp_jax.config import cifar_config


def get_config():
    config = cifar_config("folder")
    config.name = "folder"
    config.data.image_size = 32
    config.noise.name = "none"
    config.retrain.labels = "given,purified"
    return config
