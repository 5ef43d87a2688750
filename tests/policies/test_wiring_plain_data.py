"""A wiring as plain data: round trips, and data that somebody edited."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.errors import ConfigError
from policies.wirings import NCP, Wiring
from tests.policies.wiring_cases import ncp_arguments, small

HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(ncp_arguments(), st.booleans())
def test_plain_data_round_trip(arguments: dict[str, int], slow: bool) -> None:
    wiring = NCP(**arguments)
    wiring = wiring.multi_rate(0, ("inter", "motor")) if slow else wiring
    text = json.dumps(wiring.to_json())
    back = Wiring.from_json(json.loads(text))
    np.testing.assert_array_equal(back.recurrent, wiring.recurrent)
    np.testing.assert_array_equal(back.sensory, wiring.sensory)
    for field in ("inputs", "layers", "names", "outputs", "slow_layers", "trigger", "allow_unused_inputs"):
        assert getattr(back, field) == getattr(wiring, field)
    assert json.dumps(back.to_json()) == text


def test_plain_data_is_readable() -> None:
    data = small().to_json()
    assert (data["sensory"], data["recurrent"]) == (["+..", ".-."], ["..+", "..-", "..."])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "the wiring is schema 2; give the plain data of Wiring.to_json, schema 1"),
        ({"colour": 1}, r"has unknown \['colour'\]"),
        ({"sensory": ["+..", ".-"]}, "sensory is not a list of rows of one length"),
        ({"sensory": ["+..", ".x."]}, "sensory is not a list of rows"),
        ({"sensory": []}, "sensory is not a list of rows"),
        ({"sensory": "+"}, "sensory is not a list of rows"),
        ({"recurrent": ["..."]}, r"recurrent is int8 \(1, 3\)"),
        ({"inputs": 10**12}, "inputs is 1000000000000"),
        ({"layers": [10**12]}, "size of a layer"),
        ({"layers": {"a": 2}}, "layers is"),
        ({"names": [["a"], "b"]}, "names is"),
    ],
)
def test_plain_data_that_was_edited_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Wiring.from_json({**small().to_json(), **changes})


@pytest.mark.parametrize("key", list(small().to_json()))
def test_no_key_of_the_plain_data_may_be_missing(key: str) -> None:
    data = small().to_json()
    del data[key]
    with pytest.raises(ConfigError, match="schema None" if key == "schema" else f"misses .'{key}'"):
        Wiring.from_json(data)


@given(st.sampled_from(list(small().to_json())), HOSTILE)
def test_hostile_plain_data_is_refused_or_is_a_sound_wiring(key: str, value: Any) -> None:
    try:
        wiring = Wiring.from_json({**small().to_json(), key: value})
    except ConfigError:
        return
    assert Wiring.from_json(wiring.to_json()).to_json() == wiring.to_json()


@given(HOSTILE)
def test_what_is_not_plain_data_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="the wiring is"):
        Wiring.from_json(data)
