"""Write `requirements.lock`, all packages that the app needs, with hashes, and `LICENSES.md`: `python -m tools.lock`.

The versions are those that are installed in this environment. The lock leaves out torch, which has many builds of each
version.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions, metadata
from pathlib import Path

from .runtime import RUNTIME

ROOT = Path(__file__).parents[1]
LOCK = """# Written by `python -m tools.lock` for {platform}, Python {version}. After torch, of any build:
# pip install --no-deps --require-hashes -r requirements.lock
"""
LICENSES = """# Licences of what the app is built on

Written by `python -m tools.lock`, as the packages themselves declare. The last row comes with this project, for the
visitor's browser; `python -m tools.runtime` fetches it.

| package | version | licence |
|---|---|---|
"""


def resolve_requirements() -> dict:
    """pip's report of what it would install, with the versions of this environment."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as versions:
        versions.writelines(f"{d.name}=={d.version}\n" for d in distributions() if d.name != "t2i")
        versions.flush()
        options = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--constraint", versions.name]
        command = [sys.executable, "-m", "pip", "install", *options, "-r", str(ROOT / "requirements.txt")]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def licence(name: str) -> str:
    """The licence of an installed package: its expression, else its classifiers, else the first line of its text."""
    package = metadata(name)
    classifiers = [c.split(" :: ")[-1] for c in package.get_all("Classifier", []) if c.startswith("License :: ")]
    text = (package["License"] or "not declared").partition("\n")[0]
    return package["License-Expression"] or ", ".join(classifiers) or text


def main() -> None:
    report = resolve_requirements()
    packages = sorted(report["install"], key=lambda package: package["metadata"]["name"].lower())
    environment = report["environment"]
    platform = f"{environment['sys_platform']} {environment['platform_machine']}"
    lock = LOCK.format(platform=platform, version=environment["python_version"])
    licences = LICENSES
    for package in packages:
        name, version = (package["metadata"][key] for key in ("name", "version"))
        licences += f"| {name} | {re.sub('[+].*', '', version)} | {licence(name)} |\n"
        if name != "torch":
            lock += f"{name}=={version} --hash=sha256:{package['download_info']['archive_info']['hashes']['sha256']}\n"
    runtime = json.loads((RUNTIME / "source.json").read_text())
    licences += f"| {runtime['package']} (npm) | {runtime['version']} | {runtime['licence']} |\n"
    (ROOT / "requirements.lock").write_text(lock)
    (ROOT / "LICENSES.md").write_text(licences)


if __name__ == "__main__":
    main()
