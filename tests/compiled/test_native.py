"""The build helper: one compilation a content, safe against races, damage, and machines that cannot build."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from liquid_pilot import native
from liquid_pilot.errors import ConfigError, LiquidPilotError

ROOT = Path(__file__).parents[2]
SOURCE = "int answer(void) { return 42; }\n"
FLAGS = ("-O1",)
NEEDS_COMPILER = pytest.mark.skipif(not native.available(), reason="no C compiler")
pytestmark = NEEDS_COMPILER


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIQUID_PILOT_CACHE", str(tmp_path / "cache"))
    native._private_dir.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def broken_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CC that fails whenever it has something to compile."""
    script = tmp_path / "cc"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo fake 1.0 && exit 0\necho "fatal error: broken" >&2\nexit 3\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))


def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is compiled from now on."""
    seen: list[str] = []
    original = native._compile

    def counted(compiler: tuple[str, ...], source: str, name: str, flags: tuple[str, ...], index: Path) -> None:
        seen.append(name)
        original(compiler, source, name, flags, index)

    monkeypatch.setattr(native, "_compile", counted)
    return seen


def entry(cache: Path) -> tuple[Path, Path]:
    """(index, library) of the only entry."""
    (index,) = cache.glob("*.json")
    (library,) = cache.glob("*.so")
    return index, library


def test_second_build_is_a_quick_cache_hit(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiles(monkeypatch)
    assert native.build(SOURCE, "demo", FLAGS).answer() == 42
    start = time.process_time()
    assert native.build(SOURCE, "demo", FLAGS).answer() == 42
    assert time.process_time() - start < 0.1
    assert seen == ["demo"]
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".so"], "scratch folders are removed"


def test_source_flags_and_processor_each_make_another_entry(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiles(monkeypatch)
    native.build(SOURCE, "demo", FLAGS)
    assert native.build(SOURCE.replace("42", "43"), "demo", FLAGS).answer() == 43
    native.build(SOURCE, "demo", ("-O2",))
    monkeypatch.setattr(native, "processor_identity", lambda: "another processor")
    native.build(SOURCE, "demo", FLAGS)
    assert len(seen) == 4 and len(list(cache.glob("*.json"))) == 4


def test_a_hit_needs_no_second_compilation_even_if_the_compiler_broke(
    cache: Path, monkeypatch: pytest.MonkeyPatch, broken_compiler: None
) -> None:
    broken = os.environ["CC"]
    monkeypatch.delenv("CC")
    good = native.find_compiler()
    monkeypatch.setenv("CC", broken)
    with pytest.raises(native.NativeBuildError, match="broken"):
        native.build(SOURCE, "demo", FLAGS)
    monkeypatch.setattr(native, "find_compiler", lambda: good)
    assert native.build(SOURCE, "demo", FLAGS).answer() == 42


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty index", "index of another", "no library", "wrong type"])
def test_damaged_entry_is_built_again(damage: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = f"from liquid_pilot import native\nprint(native.build({SOURCE!r}, 'demo', {FLAGS!r}).answer())"
    run = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "42\n"
    index, library = entry(cache)
    good = library.read_bytes()
    if damage == "cut":
        library.write_bytes(good[: len(good) // 2])
    elif damage == "foreign":
        library.write_bytes(b"not a library of this machine")
    elif damage == "empty index":
        index.write_text("")
    elif damage == "index of another":
        index.write_text(json.dumps({"library": "../../etc/other.so", "sha256": hashlib.sha256(good).hexdigest()}))
    elif damage == "no library":
        library.unlink()
    else:
        index.write_text("[1, 2]")
    assert native.build(SOURCE, "demo", FLAGS).answer() == 42
    index, library = entry(cache)
    assert json.loads(index.read_text())["sha256"] == hashlib.sha256(library.read_bytes()).hexdigest()
    assert damage == "no library" or damage == "index of another" or "built again" in caplog.text


def test_a_library_that_does_not_load_is_an_error(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "cc"
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho junk > demo.so\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(native.NativeBuildError, match="cannot be loaded"):
        native.build(SOURCE, "demo", FLAGS)


def test_processes_at_once_all_get_the_library(cache: Path) -> None:
    code = f"from liquid_pilot import native\nprint(native.build({SOURCE!r}, 'demo', {FLAGS!r}).answer())"
    command = [sys.executable, "-W", "error", "-c", code]
    racing = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for process in racing:
        out, err = process.communicate(timeout=60)
        assert (out, err) == (b"42\n", b"")
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".so"]


def test_wrong_source_shows_what_the_compiler_said(cache: Path) -> None:
    with pytest.raises(
        native.NativeBuildError, match=r"building demo failed(?s:.*)demo\.c:2(?s:.*)undeclared"
    ) as caught:
        native.build("int a;\nint f(void) { return nonsense; }\n", "demo", FLAGS)
    assert len(str(caught.value).splitlines()) < 16
    assert isinstance(caught.value, LiquidPilotError)
    assert list(cache.iterdir()) == []


def test_failing_compiler_is_named(cache: Path, broken_compiler: None) -> None:
    with pytest.raises(native.NativeBuildError, match=r"ended with 3(?s:.*)fatal error: broken(?s:.*)setting CC"):
        native.build(SOURCE, "demo", FLAGS)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not native.available()
    with pytest.raises(native.NativeUnavailable, match="apt install gcc"):
        native.build(SOURCE, "demo", FLAGS)
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(native.NativeUnavailable, match="which is not there"):
        native.find_compiler()
    monkeypatch.setenv("CC", "'gcc")
    with pytest.raises(native.NativeUnavailable, match="not a command"):
        native.find_compiler()


def test_cc_may_hold_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = native.find_compiler()[0]
    monkeypatch.setenv("CC", f"{plain} -m64")
    assert native.find_compiler() == (plain, "-m64")


@pytest.mark.parametrize("obstacle", ["file", "open to all"])
def test_unusable_cache_folder_gives_a_private_one_with_a_note(
    obstacle: str, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if obstacle == "file":  # as a read-only folder, but also for the superuser
        cache.write_text("in the way")
    else:
        cache.mkdir()
        cache.chmod(0o777)
    seen = compiles(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert native.build(SOURCE, "demo", FLAGS).answer() == 42
        assert native.build(SOURCE, "demo", FLAGS).answer() == 42
    assert f"the cache folder {cache} cannot be used" in caplog.text
    assert seen == ["demo"], "the second build finds the private one"
    assert obstacle == "file" or list(cache.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_read_only_cache_still_serves_what_it_holds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native.build(SOURCE, "demo", FLAGS)
    cache.chmod(0o500)
    seen = compiles(monkeypatch)
    assert native.build(SOURCE, "demo", FLAGS).answer() == 42
    assert native.build(SOURCE.replace("42", "44"), "demo", FLAGS).answer() == 44
    assert seen == ["demo"]


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIQUID_PILOT_CACHE", str(tmp_path / "own"))
    assert native.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("LIQUID_PILOT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert native.cache_dir() == tmp_path / "xdg" / "liquid-pilot"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert native.cache_dir() == tmp_path / ".cache" / "liquid-pilot"


def test_lane_width_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for identity, wanted in (("x86_64 avx avx2 avx512f", 64), ("x86_64 sse2 avx avx2", 32), ("aarch64 asimd", 16)):
        monkeypatch.setattr(native, "processor_identity", lambda identity=identity: identity)
        assert native.best_lane_bytes() == wanted


def test_name_becomes_a_file_name() -> None:
    with pytest.raises(ConfigError, match="letters"):
        native.build(SOURCE, "../demo", FLAGS)
