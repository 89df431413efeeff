"""The documentation is true: its examples run, its generated pages are what the program says, and what it names exists."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.pages import Reader, blocks
from tranship.testing.registry import FAULTS, RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
GENERATED = ("commands.md", "errors.md", "faults.md")  # the examples of commands.md are those of the commands' help
EMPTY = ("tutorial.md",)  # pages that begin in an empty folder, without a store


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory, images: Callable[[str], Path]) -> Path:
    """What most pages take for granted: `app:1` for three platforms, `app:2`, `tools:1` with zstd layers, and two folders, `model` and `site`."""
    from tranship import Layout, Store, transfer

    top = tmp_path_factory.mktemp("furnished")
    for name, source in {"app:1": "multi", "app:2": "small", "tools:1": "zstd"}.items():
        transfer(
            Layout(images(source), "v1"), Store(f"docker.io/library/{name}", root=top / "store", durability="process")
        )
    for name, content in {
        "model/weights.bin": bytes(range(256)) * 1024,
        "site/index.html": b"<h1>hello</h1>\n",
    }.items():
        (top / "here" / name).parent.mkdir(parents=True)
        (top / "here" / name).write_bytes(content)
    return top


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    """The registry that pages call registry.example, and one that they call mirror.example."""
    hosts = tmp_path / "certs.d"
    with RegistryServer() as server, RegistryServer() as mirror:
        for name, one in {"registry.example": server, "mirror.example": mirror}.items():
            (hosts / name).mkdir(parents=True)
            (hosts / name / "hosts.toml").write_text(f'server = "{one.url}"\n')
        yield server


@pytest.fixture
def terminal(furnished: Path, registry: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a page's examples are typed, with nothing of whoever runs the tests."""
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)
    for name in os.environ:
        ours = name.startswith(("TRANSHIP_", "XDG_", "DOCKER_", "REGISTRY_", "SSL_")) or name == "SOURCE_DATE_EPOCH"
        if ours or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRANSHIP_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("TRANSHIP_HOSTS_DIR", str(tmp_path / "certs.d"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED and blocks(DOCS / page)])
def test_the_examples_of_a_page_work_and_print_what_it_says(page: str, terminal: Path) -> None:
    if page in EMPTY:
        shutil.rmtree(terminal.parent / "store")
        shutil.rmtree(terminal / "site")
    with Reader() as reader:
        for block in blocks(DOCS / page):
            reader.run(block)


def test_an_example_that_is_not_run_says_why() -> None:
    notes = [note for page in PAGES for note in re.findall(r"<!--\s*(.*?)\s*-->\n```", (DOCS / page).read_text())]
    assert all(re.fullmatch(r"not run: \w.{8,}|exit [0-9]+", note) for note in notes), notes


@pytest.mark.parametrize("page", GENERATED)
def test_generated_pages_are_what_the_program_says(page: str) -> None:
    spec = importlib.util.spec_from_file_location("tools_docs", REPOSITORY / "tools" / "docs.py")
    assert spec
    assert spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.current(page) == tool.PAGES[page](), f"run tools/docs.py: docs/{page} is not what the program says"


def test_the_index_of_the_site_has_every_page() -> None:
    listed = re.findall(r"^\s+- (\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == PAGES


def test_the_objects_of_the_library_pages_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"^::: (\S+)$", (DOCS / page).read_text(), re.MULTILINE):
            module, _, member = name.rpartition(".")
            assert hasattr(importlib.import_module(module), member), f"{page} shows {name}, which does not exist"


def test_every_public_name_is_on_a_page() -> None:
    import tranship

    shown = {
        name for page in PAGES for name in re.findall(r"^::: tranship\.(\S+)$", (DOCS / page).read_text(), re.MULTILINE)
    }
    assert {name for name in tranship.__all__ if name not in ("__version__", "errors")} <= shown


def test_tests_and_files_that_pages_name_exist() -> None:
    for page in (*(DOCS / page for page in PAGES), *(REPOSITORY / f"{name}.md" for name in ("README", "ARCHITECTURE"))):
        text = page.read_text()
        for name in re.findall(r"`((?:tests|tools|bench|docs)/[\w/.-]+)`", text):
            assert (REPOSITORY / name).exists() or name == "bench/RESULTS.md", f"{page.name} names {name}"
        for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
            assert f"def {test}(" in (REPOSITORY / path).read_text(), f"{page.name} names {path}::{test}"


def test_every_statement_of_the_distribution_specification_names_its_tests() -> None:
    page = (DOCS / "registries.md").read_text().partition("## What the specification asks of clients")[2]
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| the specification")]
    assert len(rows) > 30
    for row in rows:
        assert re.search(r"`tests/\w+/test_\w+\.py::test_\w+`", row.split("|")[3]), row
        for faults in re.findall(r"` \(((?:`[\w-]+`(?:, )?)+)\)", row):
            assert set(re.findall(r"[\w-]+", faults)) <= set(FAULTS), row
    ours = REPOSITORY / "tests/matrix/test_registry_conformance.py"
    named = set(re.findall(r"test_registry_conformance\.py::(\w+)", page))
    assert set(re.findall(r"^def (test_\w+)", ours.read_text(), re.MULTILINE)) == named
