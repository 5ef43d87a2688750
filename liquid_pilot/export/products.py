"""Matrix products of a network as C: rows in blocks that fit registers, weights in the order in which they are read.

A block of 8 rows adds one column after the other to 8 sums, so that a processor with vectors does them at once, and
one without loads each input once for 8 products. No sum is ever split or reordered. A wired cell gets the same dense
blocks, zeros included: at the sizes that fly (9-6-4 neurons: 4 kB) its live synapses alone would save half of those
bytes, and cost a load of an index for each, more instructions than the products with zero, and the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from liquid_pilot.cells import F32
from liquid_pilot.export.plain_c import bytes_, floats

Number = TypeVar("Number", np.float32, np.int8)
I8: TypeAlias = npt.NDArray[np.int8]

BLOCK: Final = 8
SMALL_BLOCK: Final = 4  # for the last rows, where 8 would be half empty
STEPS: Final = 127  # of an int8 weight on either side of 0; -128 is not used


@dataclass(frozen=True, slots=True)
class Affine:
    """gain * (weight x) + bias. weight: (rows, columns), bias: (rows,), gain: (rows,) or 1 of each row."""

    weight: F32
    bias: F32
    gain: F32

    @property
    def columns(self) -> int:
        """Width of x."""
        return int(self.weight.shape[1])

    @property
    def rows(self) -> int:
        """Results."""
        return int(self.weight.shape[0])


def joined(parts: Sequence[Affine]) -> Affine:
    """Products of the same x, one below the other."""
    return Affine(
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.bias for part in parts]),
        np.concatenate([part.gain for part in parts]),
    )


def row_scales(weight: F32) -> F32:
    """What one step of an int8 weight is worth in each row, (rows,): the largest weight is `STEPS` of them."""
    scales: F32 = (np.abs(weight).max(axis=1, initial=0.0) / np.float32(STEPS)).astype(np.float32)
    return np.where(scales > 0.0, scales, np.float32(1.0))


def quantised(weight: F32) -> I8:
    """Each weight as the nearest whole number of its row's `row_scales`, (rows, columns)."""
    steps = np.rint(weight / row_scales(weight)[:, None])
    whole: I8 = np.clip(steps, -STEPS, STEPS).astype(np.int8)
    return whole


def padded_rows(rows: int) -> int:
    """Rows with the empty ones that fill the last block."""
    rest = rows % BLOCK
    whole = rows - rest
    return whole + (0 if rest == 0 else SMALL_BLOCK if rest <= SMALL_BLOCK else BLOCK)


def blocks(rows: int) -> tuple[int, int]:
    """How many blocks of `BLOCK` rows, and how many of `SMALL_BLOCK` (0 or 1) after them."""
    return padded_rows(rows) // BLOCK, padded_rows(rows) % BLOCK // SMALL_BLOCK


def tables(name: str, product: Affine, int8: bool) -> Iterator[str]:
    """The constants `NAME_weight`, `NAME_bias` and, for int8 weights, `NAME_scale`."""
    beyond = padded_rows(product.rows) - product.rows
    bias = np.pad(product.bias, (0, beyond))
    if int8:
        scale = np.pad(row_scales(product.weight) * product.gain, (0, beyond))
        yield from bytes_(f"{name}_weight", _in_blocks(np.pad(quantised(product.weight), ((0, beyond), (0, 0)))))
        yield from floats(f"{name}_scale", scale.astype(np.float32))
    else:
        weight = (product.weight.astype(np.float64) * product.gain[:, None]).astype(np.float32)
        yield from floats(f"{name}_weight", _in_blocks(np.pad(weight, ((0, beyond), (0, 0)))))
    yield from floats(f"{name}_bias", bias)


def _in_blocks(weight: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Weights of a block of rows column by column, block by block."""
    eights, fours = blocks(len(weight))
    parts = [weight[BLOCK * k : BLOCK * (k + 1)].T.ravel() for k in range(eights)]
    if fours:
        parts.append(weight[BLOCK * eights :].T.ravel())
    return np.concatenate(parts)


def functions(name: str, sizes: set[int], int8: bool) -> Iterator[str]:
    """`NAME_rows8` and `NAME_rows4`, so far as the block `sizes` need them."""
    kind = "int8_t" if int8 else "float"
    value = "(float)weight[{0} * j + i]" if int8 else "weight[{0} * j + i]"
    for size in sorted(sizes, reverse=True):
        scale = " const float *scale," if int8 else ""
        yield (
            f"static inline void {name}_rows{size}(const {kind} *weight,{scale} const float *bias, const float *x, "
            "int columns,"
        )
        yield "    float *out)"
        yield "{"
        yield f"    float sum[{size}];"
        yield "    int i, j;"
        yield f"    for (i = 0; i < {size}; ++i)"
        yield f"        sum[i] = {'0.0f' if int8 else 'bias[i]'};"
        yield "    for (j = 0; j < columns; ++j)"
        yield f"        for (i = 0; i < {size}; ++i)"
        yield f"            sum[i] += {value.format(size)} * x[j];"
        yield f"    for (i = 0; i < {size}; ++i)"
        yield f"        out[i] = {'scale[i] * sum[i] + bias[i]' if int8 else 'sum[i]'};"
        yield "}"
        yield ""


def call(name: str, table: str, product: Affine, source: str, out: str, int8: bool) -> Iterator[str]:
    """Statements that put the product of `source` into `out`, which has room for the padded rows. Uses the int k."""
    eights, fours = blocks(product.rows)
    columns = product.columns
    if eights:
        scale = f" {table}_scale + {BLOCK} * k," if int8 else ""
        yield f"for (k = 0; k < {eights}; ++k)"
        yield (
            f"    {name}_rows{BLOCK}({table}_weight + {BLOCK * columns} * k,{scale} {table}_bias + {BLOCK} * k, "
            f"{source}, {columns}, {out} + {BLOCK} * k);"
        )
    if fours:
        done = BLOCK * eights
        scale = f" {table}_scale + {done}," if int8 else ""
        yield (
            f"{name}_rows{SMALL_BLOCK}({table}_weight + {done * columns},{scale} {table}_bias + {done}, "
            f"{source}, {columns}, {out} + {done});"
        )


def block_sizes(products: Sequence[Affine]) -> set[int]:
    """The block sizes that these products use."""
    found = set[int]()
    for product in products:
        eights, fours = blocks(product.rows)
        found |= ({BLOCK} if eights else set()) | ({SMALL_BLOCK} if fours else set())
    return found
