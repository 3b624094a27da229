"""The layout's promises, read from the source: who may import whom, and what is listed where."""

import ast
import functools
import graphlib
import sys
from collections import Counter
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

ARROWS = {
    "runtime": set(),
    "targets": {"runtime"},
    "benchmarks": {"targets", "runtime"},
    "clinic": {"targets", "runtime"},
    "training": {"benchmarks", "runtime"},
    "compression": {"training", "benchmarks", "targets", "runtime"},
    "cli": {"runtime", "targets", "benchmarks", "training", "compression", "clinic"},
}
# What importing a module of these folders may pull in; anything else is imported where it is used.
LEAN = {
    "runtime": {"numpy", "cv2", "msgspec"},
    "targets": {"numpy", "cv2", "msgspec"},
    "clinic": {"numpy", "cv2", "msgspec"},
    "cli": set(),
}
# Optional even for the heavy folders: without them the rest of the folder still works.
NEVER_AT_IMPORT = {
    "openvino",
    "onnxruntime",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "distributed",
    "highdicom",
    "pyarrow",
    "pydicom",
    "pynetdicom",
    "pytorch_grad_cam",
}

SOURCES = sorted(
    path for folder in ARROWS for path in (ROOT / folder).rglob("*.py") if path.is_file()
)


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text("utf-8"))


def complaints(about):
    """What a rule says of each module that breaks it."""
    found = {str(path.relative_to(ROOT)): about(path) for path in SOURCES}
    return {path: complaint for path, complaint in found.items() if complaint}


def top_folder(path):
    return path.relative_to(ROOT).parts[0]


def names(node):
    """Dotted names that a statement or an import_module call imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: relative import"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [a.value for a in node.args if isinstance(a, ast.Constant)]
    return []


def imported_anywhere(tree):
    return {name for node in ast.walk(tree) for name in names(node)}


def imported_at_import(tree, *, type_checking=False):
    """Names imported when the module is: not in functions; under TYPE_CHECKING only if asked."""
    found = set()
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        is_guard = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if is_guard and not type_checking:
            waiting.extend(node.orelse)
            continue
        found.update(names(node))
        waiting.extend(ast.iter_child_nodes(node))
    return found


def crossings(tree):
    """Folders of ours that a module reaches into."""
    ours = {tuple(name.split(".")) for name in imported_anywhere(tree)}
    return {parts[1] for parts in ours if parts[0] == "orthoedge" and len(parts) > 1}


def test_imports_follow_the_arrows():
    def about(path):
        folder = top_folder(path)
        return crossings(tree_of(path)) - {folder} - ARROWS[folder]

    assert complaints(about) == {}


def test_folders_are_never_imported_by_their_bare_name():
    def about(path):
        return {name.split(".")[0] for name in imported_anywhere(tree_of(path))} & set(ARROWS)

    assert complaints(about) == {}


def test_heavy_packages_are_imported_where_they_are_used():
    def about(path):
        folder = top_folder(path)
        roots = {name.split(".")[0] for name in imported_at_import(tree_of(path))} - {"orthoedge"}
        heavy = roots & NEVER_AT_IMPORT
        if folder in LEAN:
            heavy |= roots - LEAN[folder] - set(sys.stdlib_module_names)
        return heavy

    assert complaints(about) == {}


def module_name(path):
    parts = ("orthoedge", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(trees):
    """Module to the modules of ours that it imports outside functions, for types alone too."""
    return {
        module: {
            imported if imported in trees else imported.rpartition(".")[0]
            for imported in imported_at_import(tree, type_checking=True)
            if imported.startswith("orthoedge.")
        }
        & trees.keys()
        for module, tree in trees.items()
    }


def import_cycle(graph):
    """Modules of a cycle in the order of their imports, or None."""
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def test_modules_do_not_import_each_other():
    trees = {module_name(path): tree_of(path) for path in SOURCES}
    assert import_cycle(import_graph(trees)) is None


@pytest.mark.parametrize(
    ("validation", "is_cycle"),
    [
        ("from orthoedge.runtime.manifest import Manifest", True),
        ("if TYPE_CHECKING:\n    from orthoedge.runtime.manifest import Manifest", True),
        ("def check():\n    from orthoedge.runtime.manifest import Manifest", False),
        ("import orthoedge.runtime.manifest", True),
        ("from orthoedge.runtime import manifest", True),
        ("from orthoedge.runtime import errors", False),
    ],
)
def test_a_cycle_of_imports_is_seen(validation, is_cycle):
    sources = {
        "orthoedge.runtime": "",
        "orthoedge.runtime.manifest": "from orthoedge.runtime.validation import check",
        "orthoedge.runtime.validation": validation,
        "orthoedge.runtime.errors": "",
    }
    cycle = import_cycle(import_graph({name: ast.parse(text) for name, text in sources.items()}))
    assert (cycle is not None) == is_cycle


def about_dunder_all(path):
    tree = tree_of(path)
    lists = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    if not lists:
        return {}
    (listed,) = lists
    defined, public = set(), set()
    typed = [node for node in tree.body if isinstance(node, ast.If)]  # under TYPE_CHECKING
    for node in (*tree.body, *(inner for block in typed for inner in block.body)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            public.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            public.update(t.id for t in targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined.update(a.asname or a.name.split(".")[0] for a in node.names)
    public = {name for name in public if not name.startswith("_")}
    found = {
        "listed twice": {name for name in listed if listed.count(name) > 1},
        "listed and not there": set(listed) - defined - public,
        "public and not listed": public - set(listed),
    }
    return {complaint: names for complaint, names in found.items() if names}


def test_dunder_all_is_valid_and_complete():
    assert complaints(about_dunder_all) == {}


# Holds the namespace's own __main__.py; an __init__.py there would end the namespace.
NAMESPACE = "cli/orthoedge"


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_package_in_the_tree_is_listed_for_the_wheel():
    folders = {p.parent.relative_to(ROOT) for p in SOURCES} - {Path(NAMESPACE)}
    found = {"orthoedge", *("orthoedge." + ".".join(folder.parts) for folder in folders)}
    setuptools = pyproject()["tool"]["setuptools"]
    assert found == set(setuptools["packages"])
    for package, folder in setuptools["package-dir"].items():
        assert package == "orthoedge" or package == "orthoedge." + folder.replace("/", ".")
    assert set(setuptools["package-dir"]) == set(setuptools["packages"])


def test_every_package_is_typed_and_has_an_init():
    for package in set(pyproject()["tool"]["setuptools"]["packages"]) - {"orthoedge"}:
        folder = ROOT.joinpath(*package.split(".")[1:])
        assert (folder / "py.typed").is_file(), f"{package} has no py.typed"
        assert (folder / "__init__.py").is_file(), f"{package} has no __init__.py"


def test_nothing_turns_the_namespace_into_a_package():
    # An __init__.py at the root would make the checkout itself importable and hide the namespace.
    assert not (ROOT / "__init__.py").exists()
    assert not (ROOT / "orthoedge").exists()
    assert pyproject()["tool"]["setuptools"]["package-dir"]["orthoedge"] == NAMESPACE
    assert [p.name for p in (ROOT / NAMESPACE).glob("*.py")] == ["__main__.py"]


def test_every_extra_of_an_extra_exists():
    extras = pyproject()["project"]["optional-dependencies"]
    for requirements in extras.values():
        for requirement in requirements:
            if requirement.startswith("orthoedge["):
                inner = requirement.split("[")[1].split("]")[0]
                assert {name.strip() for name in inner.split(",")} <= set(extras)


@pytest.mark.parametrize(
    ("source", "anywhere", "at_import"),
    [
        ("def f():\n    import torch", {"torch"}, set()),
        ("class A:\n    import torch", {"torch"}, {"torch"}),
        ("try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}, {"torch"}),
        ("if TYPE_CHECKING:\n    import torch\nelse:\n    import cv2", {"torch", "cv2"}, {"cv2"}),
        ("import importlib\nx = importlib.import_module('torch')", {"importlib", "torch"}, None),
        ("from orthoedge import training", {"orthoedge.training"}, None),
    ],
)
def test_these_tests_see_every_way_of_importing(source, anywhere, at_import):
    tree = ast.parse(source)
    assert imported_anywhere(tree) == anywhere
    assert imported_at_import(tree) == (anywhere if at_import is None else at_import)


def test_python_is_started_through_subprocesses():
    # A child that is started otherwise looks for its modules in the working folder first.
    starts = [path for path in SOURCES if '[sys.executable, "-' in path.read_text("utf-8")]
    assert [path.name for path in starts] == ["subprocesses.py"]


MOST_FILES = 12  # of Python in a folder: more cannot be taken in at a glance


def test_no_folder_has_too_many_python_files():
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path.is_file()]
    counts = Counter(path.parent.relative_to(ROOT) for path in (*SOURCES, *tests))
    crowded = {str(folder): count for folder, count in counts.items() if count > MOST_FILES}
    assert crowded == {}
