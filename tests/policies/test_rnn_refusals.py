"""What `LiquidRNN` refuses: shapes that would broadcast, times that cannot be, weights of another network."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from liquid_pilot.errors import ConfigError, MessageError
from policies import AutoNCP, CfC, LiquidRNN
from tests.policies.rnn_cases import INPUTS, WIRING, events, make, same


def test_weights_of_another_network_are_refused_with_the_difference() -> None:
    kept = make("wired").state_dict()
    for other, told in [
        (make("dense"), "wiring"),
        (make("wired", outputs=2), "readout: 3 there, 2 here"),
        (LiquidRNN(CfC(INPUTS, wiring=WIRING, form="default"), 3), "form: 'decay' there, 'default' here"),
        (LiquidRNN(CfC(INPUTS, wiring=WIRING, time_unit_s=0.5), 3), "time_unit_s: 1.0 there, 0.5 here"),
        (LiquidRNN(CfC(INPUTS, wiring=AutoNCP(INPUTS, 10, 2, rng=9)), 3), "wiring"),
    ]:
        before = copy.deepcopy(other.state_dict())
        with pytest.raises(ConfigError, match=told):
            other.load_state_dict(kept)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    later = {**json.loads(bytes(kept["_extra_state"].tolist())), "version": 99}
    for record, told in [
        (torch.tensor(list(json.dumps(later).encode()), dtype=torch.uint8), "version: 99 there, 1 here"),
        (torch.tensor([0.5, -1.0]), "do not say what they belong to"),
        (torch.tensor(list(b"[1]"), dtype=torch.uint8), "do not say what they belong to"),
        ("text", "do not say what they belong to"),
    ]:
        with pytest.raises(ConfigError, match=told):
            make("wired").load_state_dict({**kept, "_extra_state": record})


def test_shapes_and_types_that_do_not_fit_are_refused_never_broadcast() -> None:
    rnn = make()
    x, dt_s = events(3, 5)
    mask, state = torch.ones(3, 5, dtype=torch.bool), rnn.initial_state(3)
    lengths = torch.tensor([5, 4, 2])
    packed, elapsed = (pack_padded_sequence(tensor, lengths, batch_first=True) for tensor in (x, dt_s))
    for arguments, told in [
        ((x[0], dt_s[0]), r"x is \(5, 4\)"),
        ((x[:, :0], dt_s[:, :0]), "at least 1"),
        ((x[..., :3], dt_s), r"x is \(3, 5, 3\); give \(B, T, 4\)"),
        ((x, dt_s[:, :, None]), r"dt_s is \(3, 5, 1\); give \(B, T\)"),
        ((x, dt_s.T), r"dt_s is \(5, 3\)"),
        ((x, dt_s[:1]), r"dt_s is \(1, 5\)"),
        ((x, dt_s[:, 0]), r"dt_s is \(3,\)"),
        ((x, dt_s, state[:1]), r"state is \(1, 6\)"),
        ((x, dt_s, state[:, :5]), r"state is \(3, 5\)"),
        ((x, dt_s, state.float()), "state is torch.float32"),
        ((x.float(), dt_s), "x is torch.float32"),
        ((x, dt_s.long()), "dt_s is torch.int64"),
        ((x, dt_s.long(), None, mask), "dt_s is torch.int64"),
        ((x, dt_s, None, mask[:, :1]), r"mask is \(3, 1\)"),
        ((x, dt_s, None, mask.double()), "mask is torch.float64"),
        ((x,), "either dt_s, or times_s"),
        ((packed, dt_s), "dt_s a Tensor"),
        ((packed, elapsed, None, mask), "leave the mask out"),
        ((x, elapsed), "and x is not"),
        ((packed, pack_padded_sequence(dt_s, torch.tensor([5, 3, 2]), batch_first=True)), r"lengths \[5, 3, 2\]"),
        ((packed, pack_padded_sequence(dt_s[:, :, None], lengths, batch_first=True)), r"shape \(1,\)"),
    ]:
        with pytest.raises(ConfigError, match=told):
            rnn(*arguments)
    for named, told in [
        ({"dt_s": dt_s, "times_s": dt_s}, "either dt_s, or times_s"),
        ({"dt_s": dt_s, "start_s": dt_s[:, 0]}, "either dt_s, or times_s"),
        ({"times_s": dt_s.long()}, "times_s is torch.int64"),
        ({"times_s": dt_s, "start_s": dt_s[:1, 0]}, r"start_s is \(1,\)"),
        ({"times_s": dt_s, "start_s": dt_s[:, 0].float()}, "start_s torch.float32"),
    ]:
        with pytest.raises(ConfigError, match=told):
            rnn(x, **named)
    for wrong in (0, -3, 2.5):
        with pytest.raises(ConfigError, match="window is"):
            rnn.truncated(x, dt_s, wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cell is a Linear"):
        LiquidRNN(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="outputs is 0"):
        make(outputs=0)
    with pytest.raises(ConfigError, match="batch_first is 'no'"):
        make(batch_first="no")
    for name, no_tensor in (("x", x.numpy()), ("dt_s", 0.1), ("state", [0.1])):
        with pytest.raises(ConfigError, match=f"{name} is a {type(no_tensor).__name__}; give a torch.Tensor"):
            rnn(**{"x": x, "dt_s": dt_s, name: no_tensor})


@pytest.mark.parametrize("bad", [-1e-3, math.nan, math.inf, -math.inf])
def test_times_that_cannot_be_are_refused_with_their_place(bad: float) -> None:
    rnn = make()
    x, dt_s = events(3, 5)
    state = rnn.initial_state(3)
    wrong = dt_s.clone()
    wrong[1, 3] = bad
    with pytest.raises(MessageError, match=r"dt_s at \(1, 3\)"):
        rnn(x, wrong)
    with pytest.raises(MessageError, match=r"dt_s at \(1,\)"):
        rnn.step(x[:, 3], wrong[:, 3], state)
    times_s = dt_s.cumsum(dim=1)
    times_s[1, 3] = times_s[1, 2] + bad
    with pytest.raises(MessageError, match=r"times_s at \(1, 3\)"):
        rnn(x, times_s=times_s)
    if not math.isfinite(bad):
        hole = x.clone()
        hole[2, 1, 0] = bad
        with pytest.raises(MessageError, match=r"x at \(2, 1, 0\)"):
            rnn(hole, dt_s)
        with pytest.raises(MessageError, match=r"state at \(0, 0\)"):
            rnn(x, dt_s, torch.full_like(state, bad))


def test_times_may_stand_still_but_not_fall_behind_the_start() -> None:
    rnn = make()
    x, dt_s = events(3, 5)
    still = torch.full_like(dt_s, 2.0)
    y, _ = rnn(x, times_s=still)
    same(y, rnn(x, torch.zeros_like(dt_s))[0])
    with pytest.raises(MessageError, match=r"times_s at \(0, 0\).*start_s"):
        rnn(x, times_s=still, start_s=torch.full_like(dt_s[:, 0], 2.5))
