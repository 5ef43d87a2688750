"""What every cell is: one step `(x, h, dt_s) -> h'` for any batch, and what of the state is its output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError, MessageError


class Cell(nn.Module):
    """A recurrent network of one step. Subclasses write `advance`, and where they can do better, `sequence`.

    inputs: features of x. state_width: numbers that are carried from step to step. outputs: numbers that are shown,
    `read` of the state; all of it unless the cell says otherwise.
    """

    inputs: int
    state_width: int
    outputs: int

    def __init__(self, inputs: int, state_width: int, outputs: int | None = None) -> None:
        super().__init__()
        outputs = state_width if outputs is None else outputs
        check_sizes(inputs=inputs, outputs=outputs)
        self.inputs, self.state_width, self.outputs = inputs, state_width, outputs

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (B, state_width), in the number type of the weights."""
        example = next(self.parameters())
        return torch.zeros((batch, self.state_width), dtype=example.dtype, device=example.device)

    def step(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """State after one event. x: (B, inputs), h: (B, state_width), dt_s: (B,) or (B, 1) seconds since the last one.

        Raises `ConfigError` for other shapes and number types, `MessageError` for a dt_s that is negative and for
        numbers that are not finite.
        """
        dt_s = check_step(self, x, h, dt_s)
        return self.advance(x, h, dt_s)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """`step` for arguments that are known to fit; dt_s: (B, 1)."""
        raise NotImplementedError

    def read(self, h: Tensor) -> Tensor:
        """Output of a state (..., state_width): (..., outputs)."""
        return h[..., self.state_width - self.outputs :]

    def architecture(self) -> dict[str, object]:
        """Plain data that says which cell this is; weights of one architecture mean nothing in another."""
        sizes = {"inputs": self.inputs, "state_width": self.state_width, "outputs": self.outputs}
        return {"cell": type(self).__name__, **sizes}

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Many events, for arguments that are known to fit.

        x: (B, T, inputs), dt_s: (B, T), mask: (B, T) True where there is an event; elsewhere the state is kept.
        Returns the outputs after every event, (B, T, outputs), and the last state, (B, state_width).
        """
        shown = []
        for t in range(x.shape[1]):
            following = self.advance(x[:, t], h, dt_s[:, t, None])
            h = following if mask is None else torch.where(mask[:, t, None], following, h)
            shown.append(self.read(h))
        return torch.stack(shown, dim=1), h


def check_sizes(**sizes: int) -> None:
    """Raise `ConfigError` unless every size is a whole number of at least 1."""
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ConfigError(f"{name} is {size!r}; give a whole number of at least 1")


def check_positive(**values: float) -> None:
    """Raise `ConfigError` unless every value is a number above 0 that single precision holds."""
    single = torch.finfo(torch.float32)
    for name, value in values.items():
        if type(value) not in (int, float) or not single.tiny <= value <= single.max:
            allowed = f"a finite number above 0, {single.tiny:.2g} to {single.max:.2g}"
            raise ConfigError(f"{name} is {value!r}; give {allowed}")


def check_step(cell: Cell, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
    """dt_s as (B, 1). Nothing is broadcast: a batch is a batch in every argument. See `Cell.step` for the errors."""
    check_tensors(x=x, h=h, dt_s=dt_s)
    batch = x.shape[0] if x.ndim == 2 else 0
    wanted = (batch, cell.inputs), (batch, cell.state_width)
    if batch < 1 or (x.shape, h.shape) != wanted or dt_s.shape not in ((batch,), (batch, 1)):
        raise ConfigError(
            f"step got x {tuple(x.shape)}, h {tuple(h.shape)}, dt_s {tuple(dt_s.shape)}; "
            f"give (B, {cell.inputs}), (B, {cell.state_width}), (B,) or (B, 1) with B of at least 1"
        )
    check_numbers(cell, x=x, h=h)
    check_finite(x=x, h=h)
    return check_elapsed(dt_s, x.dtype).reshape(batch, 1)


def check_tensors(**values: object) -> None:
    """Raise `ConfigError` unless every value is a tensor."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ConfigError(f"{name} is a {type(value).__name__}; give a torch.Tensor")


def check_numbers(cell: Cell, **tensors: Tensor) -> None:
    """Raise `ConfigError` unless every tensor has the number type of the cell's weights."""
    wanted = next(cell.parameters()).dtype
    for name, tensor in tensors.items():
        if tensor.dtype != wanted:
            raise ConfigError(
                f"{name} is {tensor.dtype} and the weights are {wanted}; convert one: {name}.to({wanted})"
            )


def check_finite(**tensors: Tensor) -> None:
    """Raise `MessageError` unless every number is finite."""
    for name, tensor in tensors.items():
        refuse(tensor, ~torch.isfinite(tensor), name, "every number is finite")


def check_elapsed(dt_s: Tensor, dtype: torch.dtype) -> Tensor:
    """dt_s in the number type of the weights.

    Raises `MessageError` for elapsed times that are negative or, in that type, not finite, `ConfigError` for whole
    numbers.
    """
    if not dt_s.is_floating_point():
        raise ConfigError(f"dt_s is {dt_s.dtype}; give seconds as floating-point numbers")
    converted = dt_s.to(dtype)
    refuse(
        dt_s, ~((dt_s >= 0) & torch.isfinite(converted)), "dt_s", f"elapsed times are 0 or more and finite in {dtype}"
    )
    return converted


def refuse(values: Tensor, bad: Tensor, name: str, allowed: str) -> None:
    """Raise `MessageError` with the first of the `values` that is `bad`. Not looked at while torch records a graph."""
    if abstract() or not bool(bad.any()):
        return
    where = tuple(int(i) for i in bad.nonzero()[0])
    raise MessageError(f"{name} at {where} is {float(values[where]):g}; {allowed}")


def abstract() -> bool:
    """Whether torch records or transforms a computation (trace, compile, export, vmap), so that values are unknown."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return True
    transformed: bool = torch._C._are_functorch_transforms_active()  # torch has no public name for it
    return transformed
