"""The register of users whose id is text: whose number is whose, for ever.

Never: a number that changes its owner; an answer before it is durable.
"""

from collections.abc import Collection, Mapping
from typing import Protocol


class TextUserRegister(Protocol):
    """Who has which number."""

    def check_key(self, fingerprint: str) -> None:
        """Notes the key's fingerprint the first time.

        Raises:
            StoreRefused: the numbers in the register were made with another key.
            StoreUnavailable: the register does not answer.
        """

    def claim(self, numbers: Mapping[str, int]) -> dict[str, int | None]:
        """Gives each number to the text that asks for it unless another text has it; repeatable.

        Of several texts that ask for one number at once the first in the order of code points gets it.

        Returns:
            Of each text its number, or None if another text has it. That is durable, and never changes.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """

    def texts(self, numbers: Collection[int]) -> dict[int, str]:
        """The texts of these numbers, as far as they are claimed.

        Raises:
            StoreUnavailable: the register does not answer.
        """

    def taken(self) -> set[str]:
        """The texts whose number another text has.

        Raises:
            StoreUnavailable: the register does not answer.
        """

    def close(self) -> None:
        """Ends the connection."""
