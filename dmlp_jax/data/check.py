"""Runs `python -m dmlp_jax.data.check`: finds undecodable images; see `pipeline/check_images.py`."""

from dmlp_jax.pipeline.check_images import console

if __name__ == "__main__":
    console()
