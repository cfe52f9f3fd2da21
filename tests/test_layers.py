"""The rule of who may import whom, read from the source with ast: nothing is imported here.

The checker is a set of pure functions on ``{module name: source}``; the lower half of this file
runs it on small made-up trees that break each rule, so that a checker that sees nothing is red.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# From the lowest to the highest. A part imports parts of lower groups and itself; parts of one
# group leave each other alone, but for the groups in OPEN.
GROUPS = (
    {"types", "errors", "events", "config", "settings", "utils"},
    {"ops", "metrics"},
    {"nn", "images"},
    {"data"},
    {"models", "losses", "curation"},
    {"report"},
    {"inference"},
    {"training"},
    {"pretraining"},
    {"verbs"},
)
OPEN = (0, 1)
LEVEL = {part: level for level, group in enumerate(GROUPS) for part in group}
CLI_ONLY = {"typer", "rich", "cli", "kdlnet_cli"}
NOWHERE = {"click"}

SEEN_BY_CLI = {"verbs", "errors", "events", "config", "settings", "utils", "__version__"}

Sources = dict[str, str]


def read_sources(folder: Path, package: str) -> Sources:
    """Source by module name; a package's ``__init__.py`` goes under the name of the package."""
    found = {}
    for file in sorted(folder.rglob("*.py")):
        parts = [package, *file.relative_to(folder).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = file.read_text(encoding="utf-8")
    return found


def imports(module: str, sources: Sources, packages: set[str]) -> Iterator[str]:
    """Dotted names that ``module`` imports, at any depth of the file, submodules resolved.

    The package itself names its public API for type checkers only; that is no import.
    """
    tree = ast.parse(sources[module], filename=module)
    if module == "kdlnet":
        tree.body = [node for node in tree.body if not _for_type_checkers(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node, packages)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in sources else base


def _for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _absolute(module: str, node: ast.ImportFrom, packages: set[str]) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    up = node.level - (module in packages)
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def import_graph(sources: Sources) -> dict[str, set[str]]:
    """Module to everything that it imports."""
    packages = {name.rpartition(".")[0] for name in sources} | {n for n in sources if "." not in n}
    return {module: set(imports(module, sources, packages)) for module in sources}


def layer_breaches(graph: dict[str, set[str]]) -> list[str]:
    """Imports inside kdlnet that point up or sideways, and parts that no layer names."""
    found = []
    for module, targets in graph.items():
        part = _part(module)
        if part and part not in LEVEL:
            found.append(f"{module}: {part!r} is in no layer; add it to GROUPS")
            continue
        for target in sorted(targets):
            other = _part(target)
            if target.split(".")[0] == "kdlnet" and other and not _may_import(part, other):
                found.append(f"{module} imports {target}")
    return found


def _part(module: str) -> str:
    """``ops`` for ``kdlnet.ops.boxes``; empty for the package itself."""
    return [*module.split("."), ""][1]


def _may_import(part: str, other: str) -> bool:
    if not part or other not in LEVEL:  # kdlnet/__init__.py loads nothing by itself
        return False
    here, there = LEVEL[part], LEVEL[other]
    return part == other or there < here or (there == here and here in OPEN)


def banned_imports(graph: dict[str, set[str]], banned: set[str]) -> list[str]:
    return [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if target.split(".")[0] in banned
    ]


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of one import cycle, in order, or nothing."""
    state: dict[str, str] = {}

    def visit(module: str, path: list[str]) -> list[str]:
        state[module] = "open"
        for target in sorted(graph[module] & graph.keys()):
            if state.get(target) == "open":
                return [*path[path.index(target) :], target]
            if target not in state and (cycle := visit(target, [*path, target])):
                return cycle
        state[module] = "done"
        return []

    for module in graph:
        if module not in state and (cycle := visit(module, [module])):
            return cycle
    return []


@pytest.fixture(scope="module")
def library() -> dict[str, set[str]]:
    return import_graph(read_sources(REPOSITORY / "kdlnet", "kdlnet"))


@pytest.fixture(scope="module")
def command_line() -> dict[str, set[str]]:
    return import_graph(read_sources(REPOSITORY / "cli", "kdlnet_cli"))


def test_library_keeps_its_layers(library: dict[str, set[str]]) -> None:
    assert "kdlnet.types" in library
    assert layer_breaches(library) == []


def test_library_does_not_know_the_command_line(library: dict[str, set[str]]) -> None:
    assert banned_imports(library, CLI_ONLY | NOWHERE) == []


def test_commands_call_their_verbs_and_nothing_deeper(command_line: dict[str, set[str]]) -> None:
    deeper = [
        f"{module} imports {target}"
        for module, targets in command_line.items()
        for target in sorted(targets)
        if target.split(".")[0] == "kdlnet" and _part(target) and _part(target) not in SEEN_BY_CLI
    ]
    assert deeper == []


def test_command_line_imports_itself_relatively(command_line: dict[str, set[str]]) -> None:
    assert "kdlnet_cli.main" in command_line
    for file in (REPOSITORY / "cli").rglob("*.py"):
        names = [
            alias.name if isinstance(node, ast.Import) else node.module or ""
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
            for alias in node.names
        ]
        assert not {name.split(".")[0] for name in names} & {"cli", "kdlnet_cli"}, file
    assert banned_imports(command_line, NOWHERE) == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_nothing_imports_click(folder: str) -> None:
    assert banned_imports(import_graph(read_sources(REPOSITORY / folder, folder)), NOWHERE) == []


def test_no_import_cycle(library: dict[str, set[str]], command_line: dict[str, set[str]]) -> None:
    assert find_cycle(library) == []
    assert find_cycle(command_line) == []


@pytest.mark.parametrize(
    ("module", "line", "breach"),
    [
        ("kdlnet.ops.boxes", "from kdlnet.nn.conv import Conv", True),  # up
        ("kdlnet.nn.conv", "import kdlnet.data.cache", True),  # sideways
        ("kdlnet.models.zoo", "from kdlnet.losses import box", True),  # sideways
        ("kdlnet.data.cache", "from ..training import loop", True),  # up, relative
        ("kdlnet.data.cache", "def f():\n    from kdlnet.training import loop", True),  # hidden
        ("kdlnet.brand_new.thing", "", True),  # in no layer
        ("kdlnet", "from kdlnet.types import Batch", True),  # import kdlnet stays cheap
        ("kdlnet", "if TYPE_CHECKING:\n    from kdlnet.types import Batch", False),
        ("kdlnet.nn.conv", "if TYPE_CHECKING:\n    import kdlnet.training.loop", True),
        ("kdlnet.training.loop", "from kdlnet.models.zoo import MODELS", False),
        ("kdlnet.config", "from kdlnet.errors import ConfigError", False),
        ("kdlnet.data.cache", "from . import labels", False),
        ("kdlnet.verbs.val", "from kdlnet import __version__", False),
    ],
)
def test_checker_sees_a_breach(module: str, line: str, breach: bool) -> None:
    sources = dict.fromkeys(("kdlnet", "kdlnet.data", "kdlnet.data.labels"), "") | {module: line}
    assert bool(layer_breaches(import_graph(sources))) is breach


@pytest.mark.parametrize("line", ["import rich.progress", "from typer import Option", "import cli"])
def test_checker_sees_a_banned_import(line: str) -> None:
    assert banned_imports(import_graph({"kdlnet.a": f"if True:\n    {line}"}), CLI_ONLY)


def test_checker_sees_a_cycle_of_three() -> None:
    sources = {
        "kdlnet.ops": "",
        "kdlnet.ops.a": "from .b import x",
        "kdlnet.ops.b": "from kdlnet.ops import c",
        "kdlnet.ops.c": "import kdlnet.ops.a",
    }
    assert find_cycle(import_graph(sources)) == [f"kdlnet.ops.{name}" for name in "abca"]
    assert find_cycle(import_graph({**sources, "kdlnet.ops.c": "import math"})) == []
