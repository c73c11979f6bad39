"""Fetch onnxruntime-web from npm into `t2i/web/runtime`: `python -m tools.runtime`.

`source.json` there names the package, its version and its hash, and the files that are taken. A package with another
hash is refused. For a new version, change `version` and `integrity` (`npm view PACKAGE@VERSION dist.integrity`).
"""

import base64
import gzip
import json
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256, sha512
from pathlib import Path

RUNTIME = Path(__file__).parents[1] / "t2i" / "web" / "runtime"


def fetch(package: str) -> bytes:
    """The archive of an npm package such as "name@1.2.3"."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", package], cwd=folder, check=True, capture_output=True)
        [archive] = Path(folder).iterdir()
        return archive.read_bytes()


def main() -> None:
    source = json.loads((RUNTIME / "source.json").read_text())
    archive = fetch(f"{source['package']}@{source['version']}")
    integrity = "sha512-" + base64.b64encode(sha512(archive).digest()).decode()
    if integrity != source["integrity"]:
        sys.exit(f"the package has another hash than source.json: {integrity}")
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        with tarfile.open(fileobj=file) as package:
            for name, entry in source["files"].items():
                data = package.extractfile(f"package/{entry['from']}").read()
                entry |= {"bytes": len(data), "sha256": sha256(data).hexdigest()}
                (RUNTIME / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    (RUNTIME / "source.json").write_text(json.dumps(source, indent=1) + "\n")


if __name__ == "__main__":
    main()
