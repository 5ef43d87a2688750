"""The networks that liquid ones are compared with, as cells of the same interface."""

from policies.cells.ctrnn import CTRNN
from policies.cells.gated import GRU, LSTM
from policies.cells.grud import GRUD
from policies.cells.mlp import MLP
from policies.cells.ode_rnn import ODERNN
from policies.cells.transformer import Transformer

__all__ = ["CTRNN", "GRU", "GRUD", "LSTM", "MLP", "ODERNN", "Transformer"]
