"""Imports point one way, without circles, and importing the library is light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# By package or module, the packages and modules of this project that it must not import.
FORBIDDEN = {
    "t2i.models": "t2i",
    "t2i.engine": ("t2i.data", "t2i.training", "t2i.web", "t2i.studio", "t2i.locate", "t2i.store"),
    "t2i.store": ("t2i.locate", "t2i.hub", "t2i.registry"),
    "t2i.studio": ("t2i.web", "t2i.data", "t2i.training", "t2i.evaluation"),
    "t2i.data": ("t2i.training", "t2i.evaluation", "t2i.metrics", "t2i.web"),
    "t2i.metrics": ("t2i.training", "t2i.evaluation", "t2i.web"),
    "t2i.training": ("t2i.evaluation", "t2i.web", "t2i.studio"),
    "t2i.evaluation": ("t2i.training", "t2i.web"),
    "t2i.web": ("t2i.data", "t2i.training", "t2i.evaluation", "t2i.bench"),
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in (ROOT / "t2i").rglob("*.py")}


@cache
def imports(module: str, also_late: bool = True) -> frozenset[str]:
    """The modules of this project that a module imports; `also_late`: also those imported inside functions."""
    path = MODULES[module]
    tree = ast.parse(path.read_text("utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    nodes = ast.walk(tree) if also_late else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])]) if node.level else ""
            base = base or node.module
            names |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return frozenset(names & MODULES.keys()) - {module}


def inside(module: str, packages: str | tuple[str, ...]) -> bool:
    packages = (packages,) if isinstance(packages, str) else packages
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package):
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if inside(module, package)
        for other in imports(module)
        if inside(other, FORBIDDEN[package]) and not inside(other, package)
    ]
    assert not wrong


def test_there_are_no_import_circles():
    finished, path = set(), []

    def visit(module: str) -> None:
        if module in path:
            raise AssertionError(" → ".join([*path[path.index(module) :], module]))
        if module in finished:
            return
        path.append(module)
        for other in sorted(imports(module, also_late=False)):
            visit(other)
        path.pop()
        finished.add(module)

    for module in sorted(MODULES):
        visit(module)


def test_importing_the_library_is_light():
    program = (
        "import sys, threading, t2i\n"
        "heavy = [m for m in ('gradio', 'huggingface_hub', 'sklearn', 't2i.web', 't2i.training') if m in sys.modules]\n"
        "assert not heavy, heavy\nassert threading.active_count() == 1"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
