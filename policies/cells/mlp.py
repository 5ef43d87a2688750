"""MLP: what can be done without memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_sizes
from policies.cells.padding import causal
from policies.cells.time_input import TimeInput


class MLP(Cell):
    """Layers of tanh neurons of [x; log(1 + dt_s / time_unit_s)], and a linear map where `outputs` is given.

    Without it the last of the `hidden` layers is shown. State: the output, which the next step does not look at.
    Raises `ConfigError` for sizes and options that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int] = (40,),
        outputs: int | None = None,
        *,
        time_input: bool = True,
        time_unit_s: float = 1.0,
    ) -> None:
        if not isinstance(hidden, Sequence) or not hidden:
            raise ConfigError(f"hidden is {hidden!r}; give the size of each hidden layer, such as (40,)")
        check_sizes(inputs=inputs, **{f"hidden[{k}]": size for k, size in enumerate(hidden)})
        super().__init__(inputs, hidden[-1] if outputs is None else outputs)
        self.hidden, self.time = tuple(hidden), TimeInput(time_input, time_unit_s)
        layers: list[nn.Module] = []
        width = inputs + self.time.width
        for size in hidden:
            layers += [nn.Linear(width, size), nn.Tanh()]
            width = size
        if outputs is not None:
            layers.append(nn.Linear(width, outputs))
        self.layers = nn.Sequential(*layers)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        shown: Tensor = self.layers(self.time(x, dt_s))
        return shown

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`. All events at once."""
        states = causal(lambda x, dt_s, h: self.layers(self.time(x, dt_s)), x, dt_s[:, :, None], h, mask)
        return states, states[:, -1]

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        return super().architecture() | {"hidden": list(self.hidden)} | self.time.architecture()
