"""The one place of all limits."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError


def test_a_config_is_frozen_and_travels_as_it_is():
    config = Config(max_clients=5, timeout_s=7.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.max_clients = 6
    assert repr(config) == "Config(timeout_s=7.5, max_clients=5)"
    for other in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert other == config and hash(other) == hash(config)
    assert dataclasses.replace(config, max_clients=6) == Config(max_clients=6, timeout_s=7.5)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_clients": 0}, "Config.max_clients must be a positive number"),
        ({"max_clients": 1.5}, "Config.max_clients must be a whole number"),
        ({"timeout_s": "long"}, "Config.timeout_s must be a positive number"),
        ({"resume_after_s": 60.0}, "Config.resume_after_s must be smaller than Config.timeout_s"),
    ],
)
def test_a_value_that_cannot_be_is_named(wrong, told):
    with pytest.raises(ArgumentError, match=told):
        Config(**wrong)
