"""Placement by murmur2, against Java's own vectors and kafka-python's implementation."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as murmur2_of_kafka_python

from ray_fraud.domain.contract import MAX_USER_ID
from ray_fraud.domain.placement import (
    FEW,
    Placement,
    murmur2,
    partition_of_key,
    partition_of_user,
    partitions_of_users,
)

USERS = st.integers(0, MAX_USER_ID) | st.integers(0, 10**6)


# From Kafka's own test of `Utils.murmur2`; signed, as Java has them.
@pytest.mark.parametrize(
    ("data", "hash_of_java"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_javas(data: bytes, hash_of_java: int) -> None:
    assert murmur2(data) == hash_of_java % 2**32


@given(st.binary(max_size=40))
def test_murmur2_is_kafka_pythons(data: bytes) -> None:
    assert murmur2(data) == murmur2_of_kafka_python(data)


@given(st.lists(USERS, max_size=50), st.integers(1, 1000))
def test_many_users_are_placed_as_each_alone(users: list[int], partitions: int) -> None:
    placed = partitions_of_users(np.array(users, np.int64), partitions).tolist()
    assert placed == [partition_of_key(str(user).encode(), partitions) for user in users]
    assert placed == [partition_of_user(user, partitions) for user in users]


@given(st.lists(st.lists(st.integers(0, 40), max_size=60), max_size=12), st.integers(1, 50))
def test_the_count_of_misrouted_records_is_exact_however_little_is_remembered(
    batches: list[list[int]], known_users: int
) -> None:
    placement = Placement(1, 3, known_users)
    for users in batches:
        expected = [user for user in users if partition_of_user(user, 3) != 1]
        assert placement.misrouted(users) == len(expected)
        assert all(placement.is_away(user) for user in expected)


def test_both_ways_of_learning_agree() -> None:
    users = random.Random(3).sample(range(10**12), 4 * FEW)
    at_once = Placement(0, 5).misrouted(users)
    assert at_once == sum(Placement(0, 5).misrouted([user]) for user in users)
    assert at_once > FEW
