"""What every command line that has workers takes about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import tyro

from liquid_pilot.errors import ConfigError

RAY: Final = "ray"


@dataclass(frozen=True)
class Workers:
    """Where the work is done; results do not depend on it."""

    workers: int | Literal["ray"] | None = None
    """Parallel processes, or threads of the compiled engine; as many as processors if not given. ray: workers of a Ray
    cluster (pip install 'liquid-pilot[ray]'), see docs/scale_out.md; the compiled engine stays on this machine."""
    ray_address: str | None = None
    """For --workers ray: HOST:PORT of a cluster that runs, ray://HOST:PORT from outside of it, or auto for the one of
    this machine. Ray is started on this machine alone, and ended, if not given."""

    def check(self) -> None:
        """Raise `ConfigError` for what makes no sense."""
        if isinstance(self.workers, int) and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; give at least one")
        if self.ray_address is not None and self.workers != RAY:
            raise ConfigError(f"--ray-address {self.ray_address} is of --workers ray; give both, or neither")


ALL_CORES: Final = Workers()
WorkerOptions: TypeAlias = Annotated[Workers, tyro.conf.arg(name="")]  # as fields of a command: no prefix
