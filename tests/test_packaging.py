"""The package list, the four rooms, and which room may import which."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradloom as gl

ROOT = Path(__file__).parents[1]
ROOMS = ("ir", "compiler", "runtime", "frontends")
MAY_IMPORT = {
    "ir": {"ir"},
    "compiler": {"compiler", "ir"},
    "runtime": {"runtime", "ir"},
    "frontends": {"frontends", "compiler", "runtime", "ir"},
}
MODULES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported_rooms(module: Path, source: str) -> Iterator[tuple[int, str]]:
    """(line, room) of each import of ours in `source`; room "" is the root package itself.

    Imports inside functions count too.  `module` is the file's path below the root.
    """
    package = ("gradloom", *module.parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            targets = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "gradloom":
                room = target[1] if len(target) > 1 and target[1] in ROOMS else ""
                yield node.lineno, room


def test_package_list_is_what_the_rooms_hold() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {"gradloom"}
    for room in ROOMS:
        for path in (ROOT / room).rglob("__init__.py"):
            found.add(".".join(("gradloom", *path.parent.relative_to(ROOT).parts)))
    listed = configuration["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(found)


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {(ROOT / module).parent for module in MODULES}
    assert folders
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_root_holds_no_module_but_its_init() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_imports_only_what_its_room_may(module: Path) -> None:
    room = module.parts[0]
    imports = imported_rooms(module, (ROOT / module).read_text(encoding="utf-8"))
    wrong = [
        f"{module}:{line} imports gradloom.{target}"
        for line, target in imports
        if target not in MAY_IMPORT[room]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "source", "rooms"),
    [
        ("ir/text.py", "from .graph import Graph", ["ir"]),
        ("ir/ops/maths.py", "from ..graph import Graph", ["ir"]),
        ("ir/ops/maths.py", "from ...compiler import fuse", ["compiler"]),
        ("ir/__init__.py", "from ..runtime.driver import run", ["runtime"]),
        ("compiler/fuse.py", "from .. import runtime, ir", ["runtime", "ir"]),
        ("compiler/fuse.py", "def late():\n    import gradloom.runtime.cache", ["runtime"]),
        ("runtime/cache.py", "import gradloom", [""]),
        ("runtime/cache.py", "import numpy, numba.core", []),
    ],
)
def test_the_import_reader_sees_every_form(module: str, source: str, rooms: list[str]) -> None:
    assert [room for _, room in imported_rooms(Path(module), source)] == rooms


def test_the_version_is_the_one_that_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert gl.__version__ == declared


def test_the_licence_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    (licence,) = project["license-files"]
    text = (ROOT / licence).read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
