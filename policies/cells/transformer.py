"""Transformer: causal self-attention over the last events, each with the time since it happened."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_positive, check_sizes
from policies.cells.elapsed import most_s
from policies.cells.padding import causal

FREQUENCIES: Final = (0.5, 1.0, 2.0, 4.0)  # of the sinusoids of log(1 + age)
PRESENT: Final = 0.5  # a slot of the state with a flag above this holds an event


class Block(nn.Module):
    """Attention, then a map of each event by itself, both added to what comes in (Vaswani et al. 2017, norms first)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.own_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.join = nn.Linear(width, width)
        self.own = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, z: Tensor, allowed: Tensor, shown: int) -> Tensor:
        """The last `shown` of the events z (N, C, width). allowed: (N, C, C) bool, [who looks, at whom]."""
        seen = self.norm(z)
        key, value = self.key_value(seen).chunk(2, dim=2)
        query, key, value = (self._by_heads(part) for part in (self.query(seen[:, -shown:]), key, value))
        score = query @ key.transpose(2, 3) / math.sqrt(key.shape[3])
        looked = score.masked_fill(~allowed[:, None, -shown:], -math.inf).softmax(dim=3) @ value
        z = z[:, -shown:] + self.join(looked.transpose(1, 2).flatten(2))
        own: Tensor = self.own(self.own_norm(z))
        return z + own

    def _by_heads(self, part: Tensor) -> Tensor:
        """(N, C, width) -> (N, heads, C, width / heads)."""
        return part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2)


class Transformer(Cell):
    """Attention of the newest event to itself and the `context - 1` before it, by `layers` blocks of `heads` heads.

    An event enters as a linear map of x plus one of its age, which is told by sinusoids of log(1 + age / time_unit_s).
    State: a row of `context` slots, the newest event last, each of [mapped x | age in seconds | 1 where it holds an
    event, else 0]; a step puts an event in, and what is shown, (B, width), is computed from the slots.
    Raises `ConfigError` for sizes and options that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        width: int = 16,
        heads: int = 2,
        layers: int = 1,
        context: int = 16,
        *,
        time_unit_s: float = 1.0,
    ) -> None:
        check_sizes(inputs=inputs, width=width, heads=heads, layers=layers, context=context)
        check_positive(time_unit_s=time_unit_s)
        if width % heads:
            raise ConfigError(f"width is {width} and heads {heads}; give a width that is a multiple of heads")
        super().__init__(inputs, context * (width + 2), width)
        self.width, self.heads, self.context, self.time_unit_s = width, heads, context, time_unit_s
        self.embed = nn.Linear(inputs, width)
        self.age = nn.Linear(2 * len(FREQUENCIES), width, bias=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        return self._states(x[:, None], dt_s[:, None], h)[:, 0]

    def read(self, h: Tensor) -> Tensor:
        """The newest event after attention to those before: (..., state_width) -> (..., width)."""
        slots = h.reshape(-1, self.context, self.width + 2)
        z, age_s, there = slots[..., : self.width], slots[..., self.width, None], slots[..., self.width + 1] > PRESENT
        z = z + self.age(self._sinusoids(age_s))
        itself = torch.eye(self.context, dtype=torch.bool, device=h.device)
        allowed = (there[:, None, :] | itself) & torch.ones_like(itself).tril()
        for k, block in enumerate(self.blocks):
            z = block(z, allowed, 1 if k == len(self.blocks) - 1 else self.context)
        shown: Tensor = self.norm(z[:, -1])
        return shown.reshape(*h.shape[:-1], self.width)

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`. All events at once, each with its own slots."""
        states = causal(self._states, x, dt_s[:, :, None], h, mask)
        return self.read(states), states[:, -1]

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        sizes = {"heads": self.heads, "layers": len(self.blocks), "context": self.context}
        return super().architecture() | sizes | {"time_unit_s": self.time_unit_s}

    def _states(self, x: Tensor, dt_s: Tensor, h: Tensor) -> Tensor:
        """States after every event, (B, T, state_width). x: (B, T, inputs), dt_s: (B, T, 1), h: (B, state_width)."""
        slots = h.reshape(-1, self.context, self.width + 2)
        limit_s = most_s(x.dtype, self.time_unit_s)
        now_s = dt_s.double().clamp(max=limit_s).cumsum(dim=1)  # a long sequence makes it large beside the ages
        there = torch.cat([(slots[..., self.width + 1] > PRESENT).to(x.dtype), torch.ones_like(x[..., 0])], dim=1)
        stamps_s = torch.cat([-slots[..., self.width, None].double(), now_s], dim=1)[..., 0]
        events = torch.cat([slots[..., : self.width], self.embed(x)], dim=1)
        there, stamps_s, events = (self._windows(part) for part in (there, stamps_s, events))
        age_s = (now_s - stamps_s).clamp(max=limit_s).to(x.dtype) * there
        events = events.transpose(2, 3)
        return torch.cat([events, age_s[..., None], there[..., None]], dim=3).flatten(2)

    def _windows(self, values: Tensor) -> Tensor:
        """values: (B, context + T, ...) -> the last `context` after every event, (B, T, ..., context)."""
        return values.unfold(1, self.context, 1)[:, 1:]

    def _sinusoids(self, age_s: Tensor) -> Tensor:
        """(..., 1) -> (..., 2 FREQUENCIES)."""
        phase = torch.log1p(age_s.clamp(min=0.0) / self.time_unit_s) * age_s.new_tensor(FREQUENCIES)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
