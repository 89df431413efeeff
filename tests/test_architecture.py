"""The house: a module imports its own layer's siblings and what is below, never what is above. ARCHITECTURE.md draws it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tranship

ROOT = Path(tranship.__file__).parent
LAYERS = {  # package or module -> layer
    "errors": 0,
    "version": 0,
    "failpoints": 0,
    "model": 0,
    "formats": 1,
    "files": 1,
    "pump": 1,
    "engine": 2,
    "http": 2,
    "store": 2,
    "endpoints": 3,
    "testing": 3,
    "containerd": 4,
    "daemon": 5,
    "cli": 6,
}
# Beyond the order: who may not know whom, although the layer would allow it.
STRANGERS = {
    "engine": {"store", "http", "formats"},
    "http": {"store", "engine"},
    "store": {"http", "engine"},
    "model": {"formats"},
}
API_USERS = {"containerd", "daemon", "_api"}


def modules() -> Iterator[Path]:
    yield from (p for p in ROOT.rglob("*.py") if "_api" not in p.parts)


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The tranship modules that a file imports, type-checking imports too, with the line."""
    package = ["tranship", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(filter(None, (base, node.module)))
            yield name, node.lineno
            yield from ((f"{name}.{alias.name}", node.lineno) for alias in node.names)


def part(module: str) -> str | None:
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "tranship" and len(pieces) > 1 else None


def test_every_module_has_a_layer() -> None:
    found = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in modules()} - {"__init__", "__main__"}
    assert found <= LAYERS.keys()


def test_no_import_climbs() -> None:
    climbing = []
    for path in modules():
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        for module, line in imported(path):
            other = part(module)
            if other in LAYERS and LAYERS[other] > LAYERS[own]:
                climbing.append(f"{path.relative_to(ROOT)}:{line} (L{LAYERS[own]}) imports {module} (L{LAYERS[other]})")
            if other in STRANGERS.get(own, ()):
                climbing.append(f"{path.relative_to(ROOT)}:{line} imports {module}, which {own} must not know")
    assert not climbing, "\n".join(climbing)


def test_only_those_who_speak_containerd_know_its_messages() -> None:
    users = {
        path.relative_to(ROOT).parts[0] for path in modules() for module, _ in imported(path) if part(module) == "_api"
    }
    assert users <= API_USERS


def test_formats_do_no_input_or_output() -> None:
    used = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in (ROOT / "formats").rglob("*.py")
        for module, line in imported(path)
        if module in {"os", "socket", "subprocess", "urllib3", "http.client", "requests", "tranship.files"}
    ]
    assert not used, "\n".join(used)


def test_the_engine_knows_no_kind_of_end() -> None:
    kinds = {"registry", "archive", "layout", "containerd"}
    named = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in (ROOT / "engine").rglob("*.py")
        for module, line in imported(path)
        if kinds & set(module.split("."))
    ]
    assert not named, "\n".join(named)


@pytest.mark.parametrize("heavy", ["urllib3", "grpc", "google.protobuf", "ssl", "asyncio", "rich", "sqlite3"])
def test_importing_the_library_imports_nothing_heavy(heavy: str) -> None:
    code = f"import tranship, sys; raise SystemExit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_name_is_there_in_a_fresh_process() -> None:
    code = "import tranship\nfor name in tranship.__all__: getattr(tranship, name)\ntranship.errors.NotFound"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code]).returncode == 0
