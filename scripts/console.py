"""What every script shares at the terminal: consoles, progress bars, errors in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from liquid_pilot import native
from liquid_pilot.errors import LiquidPilotError

T = TypeVar("T")

OUT: Final = Console()  # results
ERR: Final = Console(stderr=True)  # progress and errors, so that results can be piped

EXIT_BAD_INPUT: Final = 2


def progress_bar() -> Progress:
    """A progress bar on stderr: what, bar, count, time spent and time left."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        Remaining(),
        console=ERR,
        transient=True,
    )


def exit_code(main: Callable[[], None]) -> int:
    """Run a script. 0 = done; 2 = bad input, said in one line on stderr; 130 = interrupted."""
    try:
        main()
    except LiquidPilotError as error:
        ERR.print(f"error: {' '.join(str(error).split())}", markup=False, highlight=False, soft_wrap=True)
        return EXIT_BAD_INPUT
    except OSError as error:
        said = f"error: {' '.join(str(error).split())}; check the paths that were given and the room on the disk"
        ERR.print(said, markup=False, highlight=False, soft_wrap=True)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        ERR.print("interrupted")
        return 130
    return 0


def choose_backend(wanted: str, console: Console) -> str:
    """Name of the backend, compiled or torch; without a C compiler "auto" says so and takes the slower one."""
    if wanted != "auto":
        return wanted
    if native.available():
        return "compiled"
    console.print("no C compiler found (install gcc): the torch engine serves, about a hundred times slower")
    return "torch"


def on_backend(wanted: str, console: Console, work: Callable[[str], T]) -> T:
    """The result of `work`, told the name of its backend.

    Where "auto" finds a C compiler that fails, what it said is shown and torch does the work. A backend that was
    asked for by name raises `NativeBuildError` or `NativeUnavailable` instead.
    """
    backend = choose_backend(wanted, console)
    try:
        return work(backend)
    except (native.NativeBuildError, native.NativeUnavailable) as error:
        if wanted != "auto":
            raise
        console.print("the C compiler failed: the torch engine serves, about a hundred times slower")
        console.print(str(error), markup=False, highlight=False)
        return work("torch")
