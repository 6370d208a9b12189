"""What the register of text user ids promises: run on the memory one and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from ray_fraud.domain.contract import FIRST_TEXT_USER
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.text_users.memory import MemoryTextUsers
from ray_fraud.stores.text_users.port import TextUserRegister
from ray_fraud.stores.text_users.postgres import PostgresTextUsers

ONE, TWO = FIRST_TEXT_USER + 1, FIRST_TEXT_USER + 2


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def register(request: pytest.FixtureRequest) -> Iterator[TextUserRegister]:
    if request.param == "memory":
        yield MemoryTextUsers()
        return
    store = PostgresTextUsers(request.getfixturevalue("migrated_database"))
    yield store
    store.close()


def test_a_number_is_its_first_texts_for_ever(register: TextUserRegister) -> None:
    assert register.claim({"ann": ONE, "bob": TWO}) == {"ann": ONE, "bob": TWO}
    assert register.claim({"ann": ONE, "eve": ONE}) == {"ann": ONE, "eve": None}
    assert register.claim({"eve": ONE}) == {"eve": None}
    assert register.texts({ONE, TWO, 3}) == {ONE: "ann", TWO: "bob"}
    assert register.taken() == {"eve"}


def test_of_two_texts_at_once_the_first_in_the_order_of_code_points_gets_it(
    register: TextUserRegister,
) -> None:
    assert register.claim({"b": ONE, "Z": ONE, "é": ONE}) == {"b": None, "Z": ONE, "é": None}
    assert register.taken() == {"b", "é"}


def test_nothing_asked_is_nothing_answered(register: TextUserRegister) -> None:
    assert register.claim({}) == {}
    assert register.texts([]) == {}
    assert register.taken() == set()


def test_another_key_is_refused(register: TextUserRegister) -> None:
    register.check_key("aa")
    register.check_key("aa")
    with pytest.raises(StoreRefused, match="put the former key file back"):
        register.check_key("bb")
    register.check_key("aa")
