"""Labels that coupled methods corrected: where they lie, and which of them a network was trained on.

Networks of other methods may be trained on them (`retrain.labels=corrected_mlc`). The record of their stage
then holds, as 'trained_on', the SHA-256 of the labels of each such network, so that none stands beside labels
that it never saw.
"""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.retrain import label_variants
from dmlp_jax.runtime import hosts


def path_of(source: str, workdir: Workdir) -> Path:
    """The file of a source such as 'corrected_mlc': what that method made of the given labels."""
    method = source.removeprefix(label_variants.CORRECTED)
    return workdir.retrain / f"{method}-given" / "corrected.npz"


def of_run(method: str, trained: Iterable[str], workdir: Workdir) -> list[str]:
    """The sources of corrected labels that a method made itself or trained networks on, if they are there.

    Args:
        method: `retrain.method`.
        trained: the sources of labels of its networks.
        workdir: where they lie.
    """
    named = [
        f"{label_variants.CORRECTED}{method}",
        *(name for name in trained if name.startswith(label_variants.CORRECTED)),
    ]
    return [name for name in dict.fromkeys(named) if path_of(name, workdir).exists()]


def check_networks(config: ConfigDict, sources: Iterable[str], workdir: Workdir) -> dict[str, str]:
    """Compares the corrected labels with those that the networks here were trained on, or began to be.

    Args:
        config: the whole configuration.
        sources: of the labels of the networks that are wanted.
        workdir: where they lie.

    Returns:
        The 'trained_on' of the stage's record, the SHA-256 by source; of networks trained earlier, too.

    Raises:
        UserError: a network has learned from other labels than are there now, or these are damaged, or were
            made of other rows.
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
        # Of networks of earlier versions nobody knows it.
        if trained and known.get(source, digest) != digest:
            raise UserError(
                f"{network} was trained on other labels than {path} holds now; delete {network}, and "
                f"--config.retrain.method={method} --config.retrain.labels={source} trains it anew"
            )
        if trained or source in wanted:
            found[source] = digest
    return found
