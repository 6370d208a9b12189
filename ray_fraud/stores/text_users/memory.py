"""The register in memory, for tests and simulations; see `TextUserRegister`."""

from collections.abc import Collection, Mapping

from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.text_users.port import TextUserRegister
from ray_fraud.stores.text_users.postgres import OTHER_KEY


class MemoryTextUsers(TextUserRegister):
    """See `TextUserRegister`."""

    def __init__(self) -> None:
        self._fingerprint: str | None = None
        self._texts: dict[int, str] = {}
        self._taken: set[str] = set()

    def check_key(self, fingerprint: str) -> None:
        self._fingerprint = self._fingerprint or fingerprint
        if self._fingerprint != fingerprint:
            raise StoreRefused("memory", OTHER_KEY)

    def claim(self, numbers: Mapping[str, int]) -> dict[str, int | None]:
        answer: dict[str, int | None] = {}
        for text, number in sorted(numbers.items()):
            mine = self._texts.setdefault(number, text) == text
            answer[text] = number if mine else None
            if not mine:
                self._taken.add(text)
        return answer

    def texts(self, numbers: Collection[int]) -> dict[int, str]:
        return {number: self._texts[number] for number in numbers if number in self._texts}

    def taken(self) -> set[str]:
        return set(self._taken)

    def close(self) -> None:
        """Nothing to end."""
