"""Turns texts and images into features: encoders that learn on the data itself, and those of libraries.

embed.py      `embed`, the function for users, and `fit`, which keeps the encoder for new rows
inputs.py     what texts and images come as: lists, arrays, files, columns of data frames and data sets
encoders.py   what an encoder is; the built-in ones by name, saved and loaded
text.py       TF-IDF and truncated SVD           patches.py   whitened patches and k-means
libraries.py  'library:model' and 'module:function'
store.py      embeddings in a folder, found again by content
"""

from dmlp_jax.embedding.features import embed, fit

__all__ = ["embed", "fit"]
