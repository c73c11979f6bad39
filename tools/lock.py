"""Write `requirements.lock`, the app's whole requirements with hashes, and `LICENSES.md`: `python -m examples.lock`.

The versions are those that are installed here, with which the tests pass. torch is left out of the lock, for it comes
in many builds of one version.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = """# Written by `python -m examples.lock` for {platform}, Python {version}. After torch, of any build:
# pip install --no-deps --require-hashes -r requirements.lock
"""
LICENSES = """# Licences of what the app is built on

Written by `python -m examples.lock`, as the packages themselves declare.

| package | version | licence |
|---|---|---|
"""


def resolved() -> dict:
    """pip's own report of what it would install, of the versions that are here."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as versions:
        versions.writelines(f"{one.name}=={one.version}\n" for one in distributions() if one.name != "t2i")
        versions.flush()
        options = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--constraint", versions.name]
        command = [sys.executable, "-m", "pip", "install", *options, "-r", str(ROOT / "requirements.txt")]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def licence(name: str) -> str:
    """Of an installed package: its expression, else its classifiers, else the first line of what it says."""
    told = metadata(name)
    classified = [c.split(" :: ")[-1] for c in told.get_all("Classifier", []) if c.startswith("License :: ")]
    return told["License-Expression"] or ", ".join(classified) or (told["License"] or "not declared").partition("\n")[0]


def main() -> None:
    report = resolved()
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
    (ROOT / "requirements.lock").write_text(lock)
    (ROOT / "LICENSES.md").write_text(licences)


if __name__ == "__main__":
    main()
