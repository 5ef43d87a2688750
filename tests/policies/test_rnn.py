"""Laws of `LiquidRNN`: pieces make the whole, padding is nothing, times are true, copies are alike."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from policies import CfC, LiquidRNN
from tests.policies.rnn_cases import events, every_kind, make, same


@every_kind
@pytest.mark.parametrize("split", [1, 7, 14])
def test_chunks_and_single_steps_make_the_whole_wherever_it_is_split(kind: str, split: int) -> None:
    rnn = make(kind)
    x, dt_s = events(3, 15)
    whole, last = rnn(x, dt_s)
    first, state = rnn(x[:, :split], dt_s[:, :split])
    second, state = rnn(x[:, split:], dt_s[:, split:], state)
    same(torch.cat([first, second], dim=1), whole)
    same(state, last)
    shown, state = [], None
    for t in range(15):
        y, state = rnn.step(x[:, t], dt_s[:, t], state)
        shown.append(y)
    same(torch.stack(shown, dim=1), whole)


@every_kind
def test_rows_do_not_see_each_other_even_when_batch_steps_and_units_are_alike(kind: str) -> None:
    rnn = make(kind, outputs=None)
    size = rnn.cell.units if isinstance(rnn.cell, CfC) else 0
    x, dt_s = events(size, size)
    together, last = rnn(x, dt_s)
    alone = [rnn(x[i : i + 1], dt_s[i : i + 1]) for i in range(size)]
    same(together, torch.cat([y for y, _ in alone]))
    same(last, torch.cat([state for _, state in alone]))
    order = torch.randperm(size, generator=torch.Generator().manual_seed(2))
    shuffled, shuffled_last = rnn(x[order], dt_s[order])
    same(shuffled, together[order])
    same(shuffled_last, last[order])


@every_kind
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_padding_anywhere_is_as_if_it_were_not_there(kind: str, data: st.DataObject) -> None:
    rnn = make(kind)
    row = data.draw(st.lists(st.booleans(), min_size=1, max_size=9))
    mask = torch.tensor([row, row[::-1]])
    x, dt_s = events(2, len(row))
    times_s = dt_s.cumsum(dim=1)
    for garbage in (0.0, math.nan, -math.inf):
        y, last = rnn(
            torch.where(mask[:, :, None], x, garbage), torch.where(mask, dt_s, garbage), mask=mask, state=rnn_state(rnn)
        )
        stamped, _ = rnn(x, mask=mask, times_s=torch.where(mask, times_s, garbage), state=rnn_state(rnn))
        for i in range(2):
            if not mask[i].any():
                same(last[i], rnn_state(rnn)[i])
                continue
            kept = x[i, mask[i]][None]
            alone, alone_last = rnn(kept, dt_s[i, mask[i]][None], rnn_state(rnn)[i : i + 1])
            same(y[i, mask[i]], alone[0])
            same(last[i], alone_last[0])
            by_times, _ = rnn(kept, times_s=times_s[i, mask[i]][None], state=rnn_state(rnn)[i : i + 1])
            same(stamped[i, mask[i]], by_times[0])


def rnn_state(rnn: LiquidRNN) -> Tensor:
    return torch.linspace(0.1, 0.4, 2 * rnn.cell.state_width, dtype=torch.float64).reshape(2, -1)


def test_padding_takes_no_gradient_and_gives_none() -> None:
    rnn = make("slow")
    x, dt_s = events(2, 6)
    mask = torch.tensor([[1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 0]], dtype=torch.bool)
    x[~mask], dt_s[~mask] = math.nan, math.inf
    x, dt_s = x.requires_grad_(), dt_s.requires_grad_()
    y, last = rnn(x, dt_s, mask=mask)
    (y[mask].sum() + last.sum()).backward()
    assert x.grad is not None and dt_s.grad is not None
    assert not x.grad[~mask].any() and not dt_s.grad[~mask].any()
    assert all(bool(torch.isfinite(p.grad).all()) for p in rnn.parameters() if p.grad is not None)


def test_times_are_elapsed_times_added_up() -> None:
    rnn = make()
    x, dt_s = events(3, 8)
    start_s = torch.tensor([0.0, -2.0, 1.7e9], dtype=torch.float64)
    times_s = start_s[:, None] + dt_s.cumsum(dim=1)
    same(rnn(x, times_s=times_s, start_s=start_s)[0], rnn(x, dt_s)[0], atol=1e-6)
    without_start = torch.cat([torch.zeros_like(dt_s[:, :1]), dt_s[:, 1:]], dim=1)
    same(rnn(x, times_s=times_s)[0], rnn(x, without_start)[0], atol=1e-6)
    single = rnn.float()  # times of their own type: counted from 1970, float32 would know no difference
    same(single(x.float(), times_s=times_s)[0], single(x.float(), without_start.float())[0], atol=1e-5)


@every_kind
def test_time_first_is_batch_first_transposed(kind: str) -> None:
    rnn, other = make(kind), make(kind, batch_first=False)
    x, dt_s = events(3, 3)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    y, last = rnn(x, dt_s, mask=mask)
    turned, turned_last = other(x.transpose(0, 1), dt_s.T, mask=mask.T)
    same(turned.transpose(0, 1), y)
    same(turned_last, last)


@every_kind
@pytest.mark.parametrize("sort", [False, True])
def test_packed_lengths_give_what_each_row_gives_alone(kind: str, sort: bool) -> None:
    rnn = make(kind)
    x, dt_s = events(4, 9)
    lengths = torch.tensor([9, 6, 6, 2] if sort else [6, 9, 2, 6])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=sort)
    elapsed = pack_padded_sequence(dt_s, lengths, batch_first=True, enforce_sorted=sort)
    times = pack_padded_sequence(dt_s.cumsum(1), lengths, batch_first=True, enforce_sorted=sort)
    y, last = rnn(packed, elapsed)
    by_times, _ = rnn(packed, times_s=times, start_s=torch.zeros(4, dtype=torch.float64))
    assert isinstance(y, PackedSequence)
    assert torch.equal(y.batch_sizes, packed.batch_sizes)
    same(by_times.data, y.data)
    shown, found = pad_packed_sequence(y, batch_first=True)
    assert torch.equal(found, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone, state = rnn(x[i : i + 1, :length], dt_s[i : i + 1, :length])
        same(shown[i, :length], alone[0])
        same(last[i], state[0])


@every_kind
@pytest.mark.parametrize("batch_first", [True, False])
def test_windows_carry_the_state_and_cut_the_gradient(kind: str, batch_first: bool) -> None:
    rnn = make(kind, batch_first=batch_first)
    x, dt_s = events(3, 10)
    axis = 1 if batch_first else 0
    x, dt_s = (x, dt_s) if batch_first else (x.transpose(0, 1), dt_s.T)
    times_s = 5.0 + dt_s.cumsum(dim=axis)
    x.requires_grad_()
    whole, last = rnn(x, times_s=times_s)
    windows = list(rnn.truncated(x, None, 4, times_s=times_s))
    same(torch.cat([y for _, y, _ in windows], dim=axis), whole)
    same(windows[-1][2], last)
    assert [y.shape[axis] for _, y, _ in windows] == [4, 4, 2]
    (gradient,) = torch.autograd.grad(windows[1][1].sum(), x)
    reached = gradient.transpose(0, 1) if batch_first else gradient
    assert not reached[:4].any() and not reached[8:].any() and bool((reached[4:8] != 0).any())


def test_windows_allow_the_weights_to_change_between_them() -> None:
    rnn = make()
    optimiser = torch.optim.SGD(rnn.parameters(), lr=0.1)
    x, dt_s = events(3, 9)
    before = copy.deepcopy(rnn.state_dict())
    for _, y, _ in rnn.truncated(x, dt_s, 3):
        optimiser.zero_grad()
        y.square().mean().backward()
        optimiser.step()
    assert any(not torch.equal(value, before[name]) for name, value in rnn.state_dict().items())


@every_kind
def test_windows_with_padding_have_graphs_of_their_own(kind: str) -> None:
    rnn, (x, dt_s) = make(kind), events(3, 9)
    mask = torch.rand(3, 9, generator=torch.Generator().manual_seed(5)) > 0.4
    x, dt_s = (torch.where(inside, part, math.nan) for inside, part in ((mask[:, :, None], x), (mask, dt_s)))
    x.requires_grad_()
    dt_s.requires_grad_()
    whole, _ = rnn(x, dt_s, mask=mask)
    for part, y, _ in rnn.truncated(x, dt_s, 4, mask=mask):
        same(y, whole[:, part])
        y.square().sum().backward()
    assert x.grad is not None and dt_s.grad is not None
    assert bool(x.grad[mask].isfinite().all()) and not x.grad[~mask].any() and not dt_s.grad[~mask].any()


@every_kind
def test_many_networks_and_single_samples_by_the_transforms_of_torch(kind: str) -> None:
    networks = [make(kind, seed=seed) for seed in range(3)]
    x, dt_s = events(2, 5)
    weights, buffers = stack_module_state(list(networks))
    frame = copy.deepcopy(networks[0]).to("meta")

    def run(one: dict[str, Tensor], kept: dict[str, Tensor], x: Tensor, dt_s: Tensor) -> Tensor:
        y: Tensor = functional_call(frame, (one, kept), (x, dt_s))[0]
        return y

    together = vmap(run, in_dims=(0, 0, None, None))(weights, buffers, x, dt_s)
    same(together, torch.stack([network(x, dt_s)[0] for network in networks]))
    one = {name: value[0].detach() for name, value in weights.items()}
    kept = {name: value[0] for name, value in buffers.items()}

    def loss(one: dict[str, Tensor], x: Tensor, dt_s: Tensor) -> Tensor:
        return run(one, kept, x[None], dt_s[None]).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0, 0))(one, x, dt_s)
    networks[0](x, dt_s)[0].square().sum().backward()
    for name, parameter in networks[0].named_parameters():
        assert parameter.grad is not None
        same(each[name].sum(dim=0), parameter.grad)


@every_kind
def test_copies_and_saved_weights_are_the_same_network(kind: str) -> None:
    rnn, other = make(kind), make(kind, seed=5)
    x, dt_s = events(2, 5)
    expected = rnn(x, dt_s)[0]
    assert torch.equal(copy.deepcopy(rnn)(x, dt_s)[0], expected)
    other.load_state_dict(load(save(rnn.state_dict())))
    assert torch.equal(other(x, dt_s)[0], expected)
    file = io.BytesIO()
    torch.save(rnn.state_dict(), file)
    file.seek(0)
    make(kind, seed=6).load_state_dict(torch.load(file, weights_only=True))
    same(rnn.float()(x.float(), dt_s.float())[0].double(), expected, atol=1e-5)


def test_public_names_are_all_there_and_no_others() -> None:
    import policies

    assert all(hasattr(policies, name) for name in policies.__all__)
    assert set(policies.__all__) <= set(dir(policies))
    assert not hasattr(policies, "nonsense")
