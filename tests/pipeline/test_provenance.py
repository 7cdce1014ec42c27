"""The commit that is recorded with a run."""

import subprocess

import pytest

from dmlp_jax.pipeline import provenance


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Somebody's git project with a commit, and the package in an ignored .venv within it."""
    module = tmp_path / ".venv" / "dmlp_jax" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    (tmp_path / "own.py").write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "own.py", ".gitignore")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "-m", "own")
    monkeypatch.setattr(provenance, "__file__", str(module))
    return tmp_path


def git(folder, *arguments):
    found = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def commit():
    """Without what the process remembers."""
    return provenance.commit.__wrapped__()


def test_the_commit_of_the_project_that_the_package_is_installed_in_is_not_ours(project):
    assert commit() is None


def test_the_commit_is_named_where_git_knows_the_package(project):
    git(project, "add", "--force", ".venv")
    git(project, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "-m", "all")
    assert commit() == git(project, "rev-parse", "--short=12", "HEAD")
    (project / ".venv" / "dmlp_jax" / "provenance.py").write_text("changed")
    assert commit().endswith("-dirty")
