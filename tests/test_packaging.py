"""The package is installed from a wheel into an environment of its own, and works there."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A new environment with the wheel; what the wheel depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("packaging")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = folder / "source"  # a copy, because a build leaves files beside what it builds
    shutil.copytree(ROOT / "t2i", source / "t2i", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    [wheel] = folder.glob("t2i-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    run(*pip, "--python", folder / "venv", "install", "--no-deps", "--no-index", wheel)
    [packages] = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv"


def run(*command: object, **options) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_package_is_imported_and_typed(environment, tmp_path):
    program = "import pathlib, t2i; path = pathlib.Path(t2i.__file__); print(path.parent); print(*t2i.__all__)"
    folder, names = run(environment / "bin" / "python", "-c", program, cwd=tmp_path).splitlines()
    assert Path(folder).is_relative_to(environment) and "load" in names
    assert (Path(folder) / "py.typed").exists() and (Path(folder) / "web/static/common.css").exists()
    assert (Path(folder) / "web/runtime/ort.wasm.gz").exists()


def test_the_installed_command_draws_a_model_of_a_folder(environment, tmp_path, tiny_model):
    command = [environment / "bin" / "t2i", "draw", "a red flower", "--count", "2", "--model", tiny_model]
    run(*command, "--out", "red.png", cwd=tmp_path, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert (tmp_path / "red.png").stat().st_size > 1000
