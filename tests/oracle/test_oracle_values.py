"""The oracle's arithmetic against published vectors and numbers worked out by hand."""

import math

import msgspec
import pytest

from tests.oracle.values import arm_of, blake2b, haversine_km, message_pack, message_pack_array, uuid5_text

DNS_NAMESPACE = "6ba7b8109dad11d180b400c04fd430c8"
KM_PER_DEGREE = 111.19508  # pi * 6371.0088 / 180
HALF_ROUND_KM = 20_015.1145  # pi * 6371.0088


def test_uuid5_is_the_one_of_the_standard() -> None:
    # RFC 9562, appendix A.4
    assert uuid5_text("www.example.com", DNS_NAMESPACE) == "2ed6657d-e927-568b-95e1-2665a8aea6a2"


@pytest.mark.parametrize(
    ("here", "there", "km"),
    [
        ((0.0, 0.0), (1.0, 0.0), KM_PER_DEGREE),
        ((0.0, 179.5), (0.0, -179.5), KM_PER_DEGREE),
        ((60.0, 0.0), (60.0, 180.0), 60 * KM_PER_DEGREE),  # over the pole
        ((90.0, 0.0), (90.0, 123.0), 0.0),
        ((90.0, 0.0), (-90.0, 50.0), HALF_ROUND_KM),
        ((0.0, -90.0), (0.0, 90.0), HALF_ROUND_KM),
        ((12.0, 34.0), (12.0, 34.0), 0.0),
    ],
)
def test_distances(here: tuple[float, float], there: tuple[float, float], km: float) -> None:
    assert haversine_km(*here, *there) == pytest.approx(km, rel=1e-6, abs=1e-9)
    assert haversine_km(*there, *here) == pytest.approx(km, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("value", [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1])
def test_whole_numbers_have_the_smallest_form(value: int) -> None:
    assert message_pack(value) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_texts_have_the_smallest_form(length: int) -> None:
    assert message_pack("x" * length) == msgspec.msgpack.encode("x" * length)


def test_an_array_of_the_payload() -> None:
    values: list[str | int | float | None] = [
        "t1",
        7,
        12.5,
        1e9,
        None,
        None,
        "Zürich",
        None,
        "",
        None,
        None,
        "web",
    ]
    assert message_pack_array(values) == msgspec.msgpack.encode(values)
    assert message_pack(-0.0) != message_pack(0.0)
    assert math.copysign(1, msgspec.msgpack.decode(message_pack(-0.0))) == -1


def test_the_point_of_a_user_is_the_finaliser_of_splitmix64() -> None:
    # The published first output of splitmix64 from seed 0 is the finaliser of its increment.
    increment, first_output = 0x9E3779B97F4A7C15, 0xE220A8397B1DCDAF
    salt_number = int.from_bytes(blake2b(b"salt", 8), "little")
    user_id = (increment - salt_number) % 2**64
    point = first_output % 10_000
    assert point == 7_535
    assert arm_of(user_id, "salt", [point, 10_000 - point]) == 1
    assert arm_of(user_id, "salt", [point + 1, 9_999 - point]) == 0
    assert arm_of(user_id, "salt", [0, 10_000]) == 1


def test_arms_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 0"):
        arm_of(1, "salt", [0])
