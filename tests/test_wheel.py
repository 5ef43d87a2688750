"""The wheel holds the onboard package alone, and works where nothing else of the project is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "LICENSE", "README.md", "liquid_pilot", "envs", "policies", "scripts")
EXTRAS = ("mcap", "matplotlib", "cv2")
BLOCKED = ("torch", "pybullet", "gymnasium", "stable_baselines3", *EXTRAS, "envs", "policies", "scripts")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as it would lie in site-packages."""
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def metadata(unpacked: Path) -> Message:
    (found,) = unpacked.glob("*.dist-info/METADATA")
    return Parser().parsestr(found.read_text(encoding="utf-8"))


def run(unpacked: Path, code: str) -> str:
    """Output of `code` where only the wheel, numpy and safetensors can be imported; warnings are errors."""
    prelude = f"import sys; sys.path.insert(0, {str(unpacked)!r}); sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", prelude + code],
        env=environment,
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_the_onboard_package_is_inside(unpacked: Path) -> None:
    assert {entry.name for entry in unpacked.iterdir() if not entry.name.endswith(".dist-info")} == {"liquid_pilot"}


def test_every_module_policy_and_the_typing_marker_are_inside(unpacked: Path) -> None:
    kinds = ("*.py", "py.typed", "*.safetensors", "*.md", "*.toml", "*.c", "*.h")
    source = ROOT / "liquid_pilot"
    wanted = {path.relative_to(source) for kind in kinds for path in source.rglob(kind)}
    inside = {path.relative_to(unpacked / "liquid_pilot") for path in (unpacked / "liquid_pilot").rglob("*.*")}
    assert Path("py.typed") in wanted
    assert wanted <= inside


def test_base_needs_numpy_and_safetensors_alone(unpacked: Path) -> None:
    found = metadata(unpacked)
    base = [need for need in found.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert sorted(need.partition(">")[0].strip() for need in base) == ["numpy", "safetensors"]
    assert found["Requires-Python"] == ">=3.10"
    assert found["License-Expression"] == "MIT"


def test_no_requirement_is_a_url(unpacked: Path) -> None:
    assert [need for need in metadata(unpacked).get_all("Requires-Dist", []) if "@" in need] == []


def test_one_console_script_with_the_project_in_its_name(unpacked: Path) -> None:
    (found,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert found.read_text(encoding="utf-8").split() == [
        "[console_scripts]",
        "liquid-pilot",
        "=",
        "liquid_pilot.cli:main",
    ]


def test_version_is_the_package_version(unpacked: Path) -> None:
    version, file = run(unpacked, "import liquid_pilot as l; print(l.__version__); print(l.__file__)").splitlines()
    assert version == metadata(unpacked)["Version"]
    assert Path(file).is_relative_to(unpacked)  # not the checkout's


def test_shipped_policy_commands_from_the_wheel_alone(unpacked: Path) -> None:
    code = (
        "from liquid_pilot import Controller, Imu, Setpoint\n"
        "c = Controller.load('hover')\n"
        "c.feed(Setpoint(t_s=0.0, velocity_m_s=(0, 0), height_m=1.0, yaw_rate_rad_s=0.0))\n"
        "answers = [c.feed(Imu(t_s=0.01 * k, gyro_rad_s=(0, 0, 0), accel_m_s2=(0, 0, 9.81))) for k in range(1, 9)]\n"
        "print(all(type(a).__name__ == 'Command' and 0 <= a.thrust_m_s2 < 40 for a in answers))"
    )
    assert run(unpacked, code) == "True"


def test_inspect_works_from_the_wheel_alone(unpacked: Path) -> None:
    text = run(unpacked, "from liquid_pilot.cli import main; sys.exit(main(['inspect', 'hover']))")
    assert "19 neurons" in text
    assert "self-test" in text
