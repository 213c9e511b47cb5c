"""What is installed: the wheel's own files from another folder, and the editable install. Nothing is downloaded.

The new environments see this one's libraries (a `.pth` file lists its site-packages), but not its arena: an editable
install is a `.pth` of its own, and Python reads none inside a folder that a `.pth` has added.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from arena.catalog import KINDS, Kind, entries

REPO = Path(__file__).resolve().parents[1]
ROOMS = ("arena", "judge", "reports", "prompts", "datasets")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))


def shipped() -> set[str]:
    """Every file of the rooms, as the wheel should name it."""
    names = set()
    for room in ROOMS:
        for path in (REPO / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(REPO).as_posix()
                names.add(f"arena/_data/{name}" if room in ("prompts", "datasets") else name)
    return names


def run(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program without this process's Python settings, and says what it wrote where it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ARENA_", "PIP_"))}
    done = subprocess.run(
        list(map(str, args)), cwd=cwd, env=clean, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def installed(self) -> set[str]:
        """What stands in its own site-packages."""
        return {path.name for path in next(self.folder.glob("lib/python*/site-packages")).iterdir()}

    def install(self, *args: str | Path, cwd: Path) -> None:
        """`pip install`, without the network. pip itself stays outside."""
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "install")
        run(*pip, "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", *args, cwd=cwd)


def new_environment(folder: Path) -> Environment:
    venv.create(folder, with_pip=False)
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (next(folder.glob("lib/python*/site-packages")) / "libraries.pth").write_text("\n".join(sorted(packages)) + "\n")
    return Environment(folder)


def copy_of_the_sources(folder: Path) -> Path:
    """The files that a build reads, so that it leaves nothing in the checkout."""
    for room in ROOMS:
        shutil.copytree(REPO / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `python -m build` does it: the source distribution first, and the wheel from that."""
    folder = tmp_path_factory.mktemp("build")
    source = copy_of_the_sources(folder / "source")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source, cwd=folder)
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel in it."""
    environment = new_environment(tmp_path_factory.mktemp("installed") / "venv")
    environment.install(wheel, cwd=environment.folder)
    return environment


class TestWheel:
    def test_holds_every_file_of_the_rooms_and_no_other(self, wheel: Path) -> None:
        names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        assert sorted(names ^ shipped()) == []

    def test_has_no_top_level_package_that_hides_a_library(self, installed: Environment) -> None:
        own = installed.installed() - {"libraries.pth", "__pycache__"}
        assert {name for name in own if not name.endswith(".dist-info")} == {"arena", "judge", "reports"}

    def test_names_its_version_licence_and_extras(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = archive.read(name).decode()
        assert f"Version: {PROJECT['project']['version']}\n" in metadata
        assert "License-Expression: Apache-2.0\n" in metadata
        for extra in ("hf", "vllm", "ray", "slurm", "test"):
            assert f"Provides-Extra: {extra}\n" in metadata

    def test_runs_the_quickstart_from_another_folder(self, installed: Environment, tmp_path: Path) -> None:
        done = run(installed.python, "-m", "arena", "run", cwd=tmp_path)
        report = tmp_path / done.stdout.strip().split("\n")[-1]
        assert report.is_file()
        assert "52 items" in done.stderr

    def test_uses_its_own_files(self, installed: Environment, tmp_path: Path) -> None:
        code = "import arena, judge, reports; print(arena.__file__, judge.__file__, reports.__file__, sep='\\n')"
        places = run(installed.python, "-c", code, cwd=tmp_path).stdout.split()
        assert [place for place in places if not place.startswith(str(installed.folder))] == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_lists_what_it_ships(self, installed: Environment, kind: Kind, tmp_path: Path) -> None:
        lines = run(installed.python, "-m", "arena", "list", kind, cwd=tmp_path).stdout.splitlines()
        assert [line.split()[0] for line in lines] == list(entries(kind))

    def test_installs_the_command(self, installed: Environment, tmp_path: Path) -> None:
        done = run(installed.folder / "bin" / "arena", "--version", cwd=tmp_path)
        assert PROJECT["project"]["version"] in done.stdout

    def test_leaves_datasets_and_prompts_to_others(self, installed: Environment, tmp_path: Path) -> None:
        code = "import importlib.util as u; print([n for n in ('prompts', 'tests') if u.find_spec(n)])"
        assert run(installed.python, "-c", code, cwd=tmp_path).stdout == "[]\n"


class TestEditableInstall:
    @pytest.fixture(scope="class")
    @classmethod
    def editable(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
        folder = tmp_path_factory.mktemp("editable")
        source = copy_of_the_sources(folder / "checkout")
        environment = new_environment(folder / "venv")
        environment.install("-e", ".", cwd=source)
        return environment, source

    def test_runs_the_quickstart_from_another_folder(self, editable: tuple[Environment, Path], tmp_path: Path) -> None:
        done = run(editable[0].python, "-m", "arena", "run", "--limit", "2", "quickstart", cwd=tmp_path)
        assert (tmp_path / done.stdout.strip().split("\n")[-1]).is_file()

    def test_uses_the_checkout_and_hides_no_library(self, editable: tuple[Environment, Path], tmp_path: Path) -> None:
        environment, source = editable
        code = (
            "import importlib.util as u, arena; print(arena.__file__);"
            "print([n for n in ('datasets', 'prompts') if (s := u.find_spec(n)) and 'checkout' in str(s)])"
        )
        place, hidden = run(environment.python, "-c", code, cwd=tmp_path).stdout.splitlines()
        assert place.startswith(str(source))
        assert hidden == "[]"


class TestDeclaration:
    def test_every_package_is_listed(self) -> None:
        """The list is by hand, so that `datasets` stays out: this says which package was forgotten."""
        folders = {p.parent.relative_to(REPO) for room in ROOMS[:3] for p in (REPO / room).rglob("*.py")}
        found = {".".join(folder.parts) for folder in folders}
        listed = set(PROJECT["tool"]["setuptools"]["packages"]) - {"arena._data.prompts", "arena._data.datasets"}
        assert found <= listed
        assert {name for name in listed if not (REPO / name.replace(".", "/")).is_dir()} == set()
