"""Finds labels corrected by coupled methods, and checks that networks were trained on the current ones.

Networks of other methods may be trained on such labels (`retrain.labels=corrected_mlc`). The record of their
stage then holds, as 'trained_on', the SHA-256 of the labels of each such network, so that results are never
reported for labels that have changed since.
"""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.retrain import label_variants
from dmlp_jax.runtime import hosts


def path_of(source: str, workdir: Workdir) -> Path:
    """The file of a source such as 'corrected_mlc': the given labels as corrected by that method."""
    method = source.removeprefix(label_variants.CORRECTED)
    return workdir.retrain / f"{method}-given" / "corrected.npz"


def of_run(method: str, trained: Iterable[str], workdir: Workdir) -> list[str]:
    """The existing sources of corrected labels that a method made itself or trained networks on.

    Args:
        method: `retrain.method`.
        trained: the sources of labels of its networks.
        workdir: the run's folder.
    """
    named = [
        f"{label_variants.CORRECTED}{method}",
        *(name for name in trained if name.startswith(label_variants.CORRECTED)),
    ]
    return [name for name in dict.fromkeys(named) if path_of(name, workdir).exists()]


def check_networks(config: ConfigDict, sources: Iterable[str], workdir: Workdir) -> dict[str, str]:
    """Compares the corrected labels with those that finished or unfinished networks here are trained on.

    Args:
        config: the whole configuration.
        sources: sources of labels of the requested networks.
        workdir: the run's folder.

    Returns:
        The 'trained_on' of the stage's record, the SHA-256 by source, including networks trained earlier.

    Raises:
        UserError: a network was trained on other labels than the current ones, or these are damaged or belong
            to other rows.
    """
    method = config.retrain.method
    known = workdir.details(f"retrain/{method}").get("trained_on", {})
    wanted = {source for source in sources if source.startswith(label_variants.CORRECTED)}
    for source in sorted(wanted):
        workdir.refuse_other_rows(f"retrain/{source.removeprefix(label_variants.CORRECTED)}", config)
    found = {}
    for source in sorted(wanted | set(known)):
        path, network = path_of(source, workdir), workdir.retrain / f"{method}-{source}"
        trained = hosts.agree(network.exists)
        digest = workdir.digest(path)
        if digest is None:
            if trained and source in known:
                found[source] = known[source]
            continue
        # Records of earlier versions have no checksum.
        if trained and known.get(source, digest) != digest:
            raise UserError(
                f"{network} was trained on other labels than {path} holds now; delete {network}, and "
                f"--config.retrain.method={method} --config.retrain.labels={source} trains it anew"
            )
        if trained or source in wanted:
            found[source] = digest
    return found
