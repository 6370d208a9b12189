"""Counting and digesting users on their way through, so that a partial loss cannot pass as a state.

Never: holding the users; deciding where else to read them.
"""

from collections.abc import Callable, Iterable, Iterator

from ray_fraud.domain.user_state import users_digest_term


def checked_users(
    users: Iterable[tuple[int, bytes]], user_count: int, digest: int, failure: Callable[[str], Exception]
) -> Iterator[tuple[int, bytes]]:
    """Yield all `users`; when they have ended, raise `failure(what)` if count or digest differ."""
    found_count, found_digest = 0, 0
    for user_id, state in users:
        found_count += 1
        found_digest ^= users_digest_term(user_id, state)
        yield user_id, state
    if found_count != user_count:
        raise failure(f"{found_count} users found, the header says {user_count}")
    if found_digest != digest:
        raise failure(f"digest of the users is {found_digest:016x}, the header says {digest:016x}")
