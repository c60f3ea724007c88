"""The house plan, held against the code: who may import whom, and what only one room may do."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "authz"
GENERATED = {PACKAGE / "wire" / "pb", PACKAGE / "api" / "pb"}

# For each room: the rooms of ours it may import, and the outside packages. A room may always import itself.
# Floors import downwards only; the rooms wire, svid, catalog, tasks, policy, observe and config are neighbours.
MAY_IMPORT: dict[str, tuple[set[str], set[str]]] = {
    "core": (set(), set()),
    "documents": ({"core"}, {"pydantic", "pydantic_core", "yaml"}),
    "strict_json": (set(), set()),
    "jose": ({"strict_json"}, set()),
    "ports": ({"core"}, set()),
    "pipeline": ({"core", "ports"}, set()),
    "lifecycle": ({"core", "ports"}, set()),
    "wire": ({"core", "ports"}, {"google"}),
    "api": ({"core", "ports", "lifecycle"}, {"google", "grpc"}),
    "svid": (
        {"core", "ports", "strict_json", "jose"},
        {"cryptography", "cachetools", "joserfc", "spiffe", "grpc", "google"},
    ),
    "catalog": ({"core", "ports", "documents"}, {"pydantic", "pydantic_core", "yaml", "rfc8785", "graphql"}),
    "tasks": (
        {"core", "ports", "documents", "strict_json", "jose"},
        {"pydantic", "pydantic_core", "cachetools", "joserfc", "redis"},
    ),
    "policy": (
        {"core", "ports", "documents", "strict_json", "jose"},
        {"cedarpy", "cachetools", "joserfc", "regorus"},
    ),
    "observe": ({"core", "ports"}, {"opentelemetry"}),
    "forms": ({"core"}, {"pydantic", "pydantic_core"}),
    "bundle_settings": ({"core", "documents", "forms"}, {"pydantic", "pydantic_core"}),
    "config": ({"core", "documents", "forms", "bundle_settings"}, {"pydantic", "pydantic_core"}),
    "cases": ({"core", "documents"}, {"pydantic", "pydantic_core"}),
    "server": ({"core", "ports", "pipeline", "lifecycle", "api"}, {"grpc", "grpc_health", "google"}),
    "wiring": (
        {
            *("core", "config", "pipeline", "lifecycle", "ports", "api", "wire", "svid", "catalog", "tasks", "policy"),
            *("observe", "server", "cases", "bundle_settings", ""),
        },
        {"grpc"},
    ),
    "cli": ({"core", "api", "config", "wiring", "demo", ""}, {"click", "rich", "yaml", "google"}),
    "demo": (
        {"core", "documents"},
        {"cryptography", "joserfc", "rich", "yaml", "spiffe", "google", "grpc", "grpc_health", "envoy"},
    ),
    "__main__": ({"cli"}, set()),
    "": (set(), set()),
}

# What the rules may not touch, although it is in the standard library: the world.
WORLD = {"asyncio", "io", "logging", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
CLOCKS = {"datetime"}


def modules() -> list[Path]:
    """Every module that we wrote."""
    return sorted(path for path in PACKAGE.rglob("*.py") if GENERATED.isdisjoint(path.parents))


def room_of(path: Path) -> str:
    """The room a module belongs to: a folder, or a module on top; the package itself is the empty name."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(path: Path) -> set[str]:
    """The dotted names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def name(path: Path) -> str:
    """A module, as a test's name shows it."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    """Floors import downwards, neighbours do not know each other, and each outside library has its rooms."""
    room = room_of(path)
    ours, outside = MAY_IMPORT[room]
    for module in imported(path):
        top, _, rest = module.partition(".")
        if top == "authz":
            target = rest.partition(".")[0]
            assert target == room or target in ours, f"{name(path)} imports authz.{rest}"
        else:
            assert top in sys.stdlib_module_names or top in outside, f"{name(path)} imports {module}"


@pytest.mark.parametrize(
    "path", [path for path in modules() if room_of(path) in {"core", "pipeline", "lifecycle"}], ids=name
)
def test_the_rules_touch_nothing_of_the_world(path: Path) -> None:
    """No await, clock, environment, log or randomness where decisions are made."""
    assert not {module.partition(".")[0] for module in imported(path)} & (WORLD | CLOCKS)
    awaiting = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, awaiting)]


def test_only_encode_makes_a_check_response() -> None:
    """The name CheckResponse occurs as code in one module, so that there is one place where an allow is made."""
    makers = {
        name(path)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "CheckResponse"
    }
    assert makers == {"authz/wire/encode.py"}


def test_only_wire_speaks_envoys_protobuf() -> None:
    """The generated messages are imported by one room."""
    users = {room_of(path) for path in modules() if any(".wire.pb" in module for module in imported(path))}
    assert users == {"wire"}


def test_only_one_module_touches_the_core_of_grpc() -> None:
    """What aborts, hangs or allows where it is used wrongly is used in one place, and made by no other name."""
    users = {name(path) for path in modules() if any("_cython" in module for module in imported(path))}
    assert users == {"authz/server/queue.py"}
    by_name = {name(path) for path in modules() if "cygrpc." in path.read_text()}
    assert by_name == {"authz/server/queue.py"}


def test_no_port_has_more_than_two_methods() -> None:
    """Ports stay small enough to be implemented twice."""
    tree = ast.parse((PACKAGE / "ports.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert len(methods) <= 2, node.name


def test_modules_read_well() -> None:
    """No module of ours is longer than 300 lines, and none has a name that says nothing."""
    for path in modules():
        assert len(path.read_text().splitlines()) <= 300, name(path)
        assert path.stem not in {"utils", "helpers", "common", "manager", "base", "impl"}, name(path)


def test_every_room_of_the_plan_is_in_the_table() -> None:
    """A new room must say what it may import before it can be used."""
    assert {room_of(path) for path in modules()} == set(MAY_IMPORT)
