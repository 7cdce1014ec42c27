"""A run that is killed at any change of its bucket."""

import hashlib
import json
import threading
import time

from dmlp_jax.storage import files
from dmlp_jax.storage.bucket.local_copy import LocalCopy
from dmlp_jax.storage.bucket.objects import Bucket
from tests.storage.bucket.kit import ADDRESS, contents, machine, there, write


class Killed(BaseException):
    pass


class KilledAt(Bucket):
    """A bucket whose process dies before its n-th change."""

    def __init__(self, number):
        super().__init__(ADDRESS)
        self.left, self.mutex = number, threading.Lock()

    def count(self):
        with self.mutex:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def write(self, *args):
        self.count()
        super().write(*args)

    def delete(self, *args):
        self.count()
        super().delete(*args)

    def upload(self, path, name):
        if name == "features":  # It is large: what is sent at the same time arrives before it.
            time.sleep(0.02)
        self.count()
        return super().upload(path, name)


def test_wherever_a_run_is_killed_another_machine_finds_files_that_fit(tmp_path, system):
    """stages.json says what the files hold: true at every moment, as it is of the folder itself."""

    def finish(folder, mirror, **made):
        write(folder, **made)
        digests = {}
        if (folder / "stages.json").exists():
            digests = json.loads((folder / "stages.json").read_text())
        digests |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()}
        files.save_json(folder / "stages.json", digests)
        mirror.send()

    def run(folder, mirror):
        """Two stages, and the second once more, with checkpoints on the way."""
        finish(folder, mirror, split="rows")
        for epoch in range(3):
            write(folder, **{f"pretrain__{epoch}__a": "1", f"pretrain__{epoch}__b": "2"})
            if epoch:
                LocalCopy(folder).delete([f"pretrain/{epoch - 1}/a", f"pretrain/{epoch - 1}/b"])
            mirror.send()
        finish(folder, mirror, features="first")
        # As a workdir begins a stage: first its record goes, then its file.
        files.save_json(folder / "stages.json", {})
        mirror.send()
        finish(folder, mirror, features="second")

    kills = 0
    while True:
        system.store.clear()
        folder = tmp_path / f"killed{kills}"
        mirror = machine(folder, KilledAt(kills))
        try:
            with mirror.kept():
                run(folder, mirror)
            break
        except Killed:
            kills += 1
        other = tmp_path / f"other{kills}"
        with machine(other).kept():
            found = contents(other)
        for name, digest in json.loads(found.get("stages.json", "{}")).items():
            if name in found:  # A stage whose file is not there is run anew.
                assert hashlib.sha256(found[name].encode()).hexdigest() == digest
        epochs = {name.split("/")[1] for name in found if name.startswith("pretrain/")}
        for epoch in epochs:
            assert f"pretrain/{epoch}/b" in found
        assert there(system) == sorted(found)  # no parts of what was being sent
    assert kills > 15
