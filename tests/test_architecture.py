"""The house: which module may import which, and where streamlit, plotly and devices may be named."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "clear_hug"

# A module imports only from rows above its own.
ROWS = [
    {"leads", "tasks", "snomed", "qrs", "store", "runs", "turns", "fused"},
    {"ecg"},
    {"simulate", "io", "exchange", "beats"},
    {"quality"},
    {"measure", "labels", "display", "trend"},
    {"datasets"},
    {"known", "batch", "attention", "embed", "norms"},
    {"regression", "hug", "qt"},
    {"kernel"},
    {"model"},
    {"masked"},
    {"checkpoint"},
    {"diagnosis"},
    {"removal", "gradients", "operating"},
    {"shapley"},
    {"reconstruct", "explain"},
    {"faithfulness", "novelty"},
    {"words"},
    {"because"},
    {"gate"},
    {"cohort", "edits"},
    {"index"},
    {"plots"},
    {"export"},
    {"sheet"},
    {"train"},
    {"ui"},
]
ROW = {module: row for row, modules in enumerate(ROWS) for module in modules}
ALONE = {"leads", "tasks", "qrs", "store", "runs", "turns", "fused"}  # import nothing of the package
# know leads, and no ECG
NETWORK = {"batch", "fused", "attention", "embed", "qt", "regression", "kernel", "hug", "model", "masked"}
STREAMLIT = {"app.py", "benchmarks/load.py"}  # the latter speaks its protocol


def module_of(path):
    """`clear_hug/plots/x.py` -> plots; `clear_hug/io.py` -> io."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path, typing=True):
    """Full names of all that a file imports, at whatever depth; without what only type checkers see."""
    tree = ast.parse(path.read_text())
    skipped = set()
    if not typing:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {id(inner) for inner in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def ours(path, typing=True):
    """Modules of the package that a file imports."""
    names = {name.split(".")[1] for name in imports(path, typing) if name.startswith("clear_hug.")}
    return {name for name in names if name in ROW}


def python_files(*folders):
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if ".venv" not in p.parts)


MODULES = [p for p in python_files("clear_hug") if p != PACKAGE / "__init__.py"]


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_every_module_has_its_place():
    assert {module_of(p) for p in MODULES} <= set(ROW)
    assert len(MODULES) > 15


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_one_way(path):
    module = module_of(path)
    used = ours(path) - {module}
    if module in ALONE:
        assert not used
    if module in NETWORK:
        assert used <= {"leads", *NETWORK}
    above = {other for other in used if ROW[other] < ROW[module]}
    assert used == above, f"{module} imports {', '.join(used - above)}, which is not above it"
    assert "clear_hug" not in imports(path) or module in {"train", "ui"}, "import the module, not the package"


def test_nothing_imports_train_but_train():
    for path in python_files("clear_hug", "pages"):
        if PACKAGE / "train" not in path.parents:
            assert "train" not in ours(path), name(path)


def test_plots_know_results_for_typing_only():
    drawn = [p for p in MODULES if module_of(p) == "plots"]
    assert any(ours(p) & {"diagnosis", "explain", "reconstruct"} for p in drawn)
    for path in drawn:
        assert ours(path, typing=False) <= {"leads", "ecg", "beats", "plots"}, name(path)


def test_streamlit_lives_in_ui_and_the_pages():
    users = {
        name(p)
        for p in [*python_files("clear_hug", "pages", "benchmarks"), ROOT / "app.py"]
        if p.exists() and any(i.split(".")[0] == "streamlit" for i in imports(p))
    }
    assert "clear_hug/ui/page.py" in users
    assert {u for u in users if not u.startswith(("pages/", "clear_hug/ui/"))} <= STREAMLIT


def test_plotly_lives_in_plots():
    users = {name(p) for p in MODULES if any(i.split(".")[0] == "plotly" for i in imports(p, False))}
    assert users and all(user.startswith("clear_hug/plots/") for user in users)


def test_the_public_names_are_there_and_no_others():
    import clear_hug

    assert len(set(clear_hug.__all__)) == len(clear_hug.__all__)
    for public in clear_hug.__all__:
        assert hasattr(clear_hug, public)


def devices(path):
    """Where a file names a device: torch.cuda, torch.backends.mps, "cuda:0", "mps" ..."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ("cuda", "mps"):
            found.append(node.lineno)
        if isinstance(node, ast.Constant) and re.fullmatch(r"(cuda|mps)(:\d+)?", str(node.value)):
            found.append(node.lineno)
    return found


def test_devices_are_named_in_one_place():
    assert devices(PACKAGE / "diagnosis.py")
    named = {name(p): devices(p) for p in [*MODULES, *python_files("pages")] if devices(p)}
    # the app says in words which device it runs on: a table of titles, keyed by type
    assert set(named) - {"clear_hug/ui/page.py"} == {"clear_hug/diagnosis.py"}, named
    assert len(named.get("clear_hug/ui.py", [])) <= 2, named


SHARED = {"ui": "test_app.py"}  # seen from the pages


def test_every_module_has_its_test():
    modules = {module_of(p) for p in MODULES}
    missing = {m for m in modules if not (ROOT / "tests" / SHARED.get(m, f"test_{m}.py")).exists()}
    assert not missing


def test_no_file_knows_the_machine_it_was_written_on():
    """Absolute paths of one machine, and package indexes other than the usual."""
    machine = re.compile(
        r"(?<![\w.~$}\])])/(work|root|home|Users|mnt)/\w|/tmp/\w+/\w|https?://(localhost|127\.0\.0\.1|10\.)[^\s:]*/"
        r"|--(extra-)?index-url|--trusted-host"
    )
    files = [
        p
        for pattern in (
            "*.py",
            "*.md",
            "*.toml",
            "*.txt",
            "Makefile",
            "*.yaml",
            "*.yml",
            ".ci/*",
            ".streamlit/*",
        )
        for p in ROOT.glob(pattern)
    ]
    for folder in ("clear_hug", "pages", "tests", "benchmarks", "checkpoints"):
        files += [
            p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".md", ".json", ".toml", ".csv")
        ]
    assert len(files) > 40
    said = {}
    for path in files:
        if path.is_file() and path != Path(__file__).resolve() and (hit := machine.search(path.read_text())):
            said[name(path)] = hit.group()
    assert not said
