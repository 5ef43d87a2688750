"""Any cell over sequences of events, with a readout: whole, in windows, one event at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from reprlib import repr as short
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_sizes, check_tensors
from policies.events import Events, check_state, make_events
from policies.packing import lay_out, pack_like

STATE_VERSION: Final = 1  # of what `state_dict` holds; a change of names, shapes or meaning raises it


class LiquidRNN(nn.Module):
    """A cell, and where `outputs` is given a linear readout of what the cell shows.

    mixed_memory: "torch" or "tensorflow" puts the LSTM memory of that published form before the cell, see
    `policies.cells.mixed`. batch_first=False: x, dt_s, times_s, mask and y are (T, B, ...); states always (B, ...).
    Raises `ConfigError` for anything else.
    """

    def __init__(
        self, cell: Cell, outputs: int | None = None, mixed_memory: str | None = None, batch_first: bool = True
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise ConfigError(f"cell is a {type(cell).__name__}; give a Cell, such as CfC(inputs, units)")
        if mixed_memory is not None:
            from policies.cells.mixed import MixedMemory

            cell = MixedMemory(cell, mixed_memory)
        check_sizes(outputs=cell.outputs if outputs is None else outputs)
        if type(batch_first) is not bool:
            raise ConfigError(f"batch_first is {batch_first!r}; give True or False")
        self.cell, self.batch_first = cell, batch_first
        self.readout = nn.Identity() if outputs is None else nn.Linear(cell.outputs, outputs)

    def initial_state(self, batch: int) -> Tensor:
        """The state before the first event, (B, state_width)."""
        return self.cell.initial_state(batch)

    def forward(
        self,
        x: Tensor | PackedSequence,
        dt_s: Tensor | PackedSequence | None = None,
        state: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        times_s: Tensor | PackedSequence | None = None,
        start_s: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Outputs after every event, (B, T, outputs), and the last state, (B, state_width).

        x: (B, T, inputs). Either dt_s: (B, T) seconds since the event before, 0 or more, never (B, T, 1); or times_s:
        (B, T), which never decrease in a row; the first dt_s of a row is then 0, or counts from start_s (B,). mask:
        (B, T) bool, False at padding, wherever it stands: no time passes there, the state is kept, and x, dt_s and
        times_s are not looked at. A PackedSequence x takes dt_s or times_s packed alike, no mask, and gives y packed
        alike; states are in the order before packing. Raises `ConfigError` for shapes and number types, `MessageError`
        for elapsed times that are negative, times that decrease and numbers that are not finite.
        """
        if isinstance(x, PackedSequence):
            laid, elapsed, times, inside = lay_out(x, dt_s, times_s, mask)
            events = make_events(self.cell, laid, elapsed, times, start_s, inside)
            y, last = self._run(events, self._start(events, state))
            return pack_like(x, y, inside), last
        if isinstance(dt_s, PackedSequence) or isinstance(times_s, PackedSequence):
            raise ConfigError("dt_s or times_s is a PackedSequence and x is not; pack all of them alike or none")
        events = make_events(self.cell, x, dt_s, times_s, start_s, mask, self.batch_first)
        y, last = self._run(events, self._start(events, state))
        return self._laid(y), last

    def step(self, x: Tensor, dt_s: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One event. x: (B, inputs), dt_s: (B,), state: (B, state_width) -> y (B, outputs), the next state.

        Raises as `forward` does.
        """
        check_tensors(x=x)
        state = self.initial_state(x.shape[0] if x.ndim else 0) if state is None else state
        following = self.cell.step(x, state, dt_s)
        return self.readout(self.cell.read(following)), following

    def truncated(
        self,
        x: Tensor,
        dt_s: Tensor | None,
        window: int,
        state: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        times_s: Tensor | None = None,
        start_s: Tensor | None = None,
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Windows of at most `window` events for backpropagation through truncated time.

        Gives for each the steps of x that it covers, y as of `forward` and the state after it. The state is carried
        over without its gradient and elapsed times are those of the whole sequence, so that the values are those of one
        `forward`; weights may be changed between windows. Raises as `forward` does, before the first window.
        """
        check_sizes(window=window)
        events = make_events(self.cell, x, dt_s, times_s, start_s, mask, self.batch_first)
        return self._windows(events, self._start(events, state), window)

    def get_extra_state(self) -> Tensor:
        """The version and architecture that the weights belong to: JSON as bytes, so that any format can hold it."""
        return torch.tensor(list(json.dumps(self._record()).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Raise `ConfigError` unless the weights that are about to be loaded belong to this architecture."""
        try:
            found = dict(json.loads(bytes(state.tolist())))
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"these weights do not say what they belong to ({error}); save them again") from error
        own = json.loads(json.dumps(self._record()))
        differing = {k: (found.get(k), own.get(k)) for k in sorted({*found, *own}) if found.get(k) != own.get(k)}
        if differing:
            listed = "; ".join(
                f"{name}: {short(theirs)} there, {short(ours)} here" for name, (theirs, ours) in differing.items()
            )
            raise ConfigError(f"these weights belong to another network ({listed}); build that one to load them")

    def _record(self) -> dict[str, object]:
        readout = self.readout.out_features if isinstance(self.readout, nn.Linear) else None
        return {"version": STATE_VERSION, "readout": readout, **self.cell.architecture()}

    def _start(self, events: Events, state: Tensor | None) -> Tensor:
        batch = len(events.x)
        if state is None:
            return self.initial_state(batch)
        check_state(self.cell, state, batch)
        return state

    def _run(self, events: Events, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, (B, T, outputs), and the last state."""
        events = events.without_padding()
        shown, last = self.cell.sequence(events.x, events.dt_s, state, events.mask)
        return self.readout(shown), last

    def _windows(self, events: Events, state: Tensor, window: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for start in range(0, events.dt_s.shape[1], window):
            part = slice(start, start + window)
            y, last = self._run(events.window(part), state.detach())
            yield part, self._laid(y), last
            state = last

    def _laid(self, y: Tensor) -> Tensor:
        """y (B, T, ...) in the order of axes that the user has."""
        return y if self.batch_first else y.transpose(0, 1)
