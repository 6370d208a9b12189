"""The changes of a slot that people and rules ask for, as shares of the next split.

    versions now → shares, for `Registry.set_split`

Never: a write; a change that leaves no production version.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from ray_fraud.domain.split import BASIS_POINTS
from ray_fraud.stores.ledger.errors import RegistryConflict
from ray_fraud.stores.ledger.model_events import ModelEvent, previous_production
from ray_fraud.stores.ledger.registry import LIVE, ModelStatus, ModelVersion, Share, production_of


def version_of(versions: Sequence[ModelVersion], label: str) -> ModelVersion:
    """The version `name:version`; raises `RegistryConflict`, naming the known ones."""
    for row in versions:
        if row.label == label:
            return row
    known = ", ".join(row.label for row in versions) or "none"
    raise RegistryConflict(f"there is no model {label}; known: {known}")


def in_production(versions: Sequence[ModelVersion]) -> ModelVersion:
    """The production version; raises `RegistryConflict` if there is none."""
    found = production_of(versions)
    if found is None:
        raise RegistryConflict("no version is in production; promote one")
    return found


def promotion(versions: Sequence[ModelVersion], label: str) -> list[Share]:
    """The version takes production's place and users, with those that it has; the other one is retired.

    Other versions under test keep their users.

    Raises:
        RegistryConflict: it is not known, or in production already.
    """
    chosen = version_of(versions, label)
    if chosen.status is ModelStatus.PRODUCTION:
        raise RegistryConflict(f"{label} is in production already")
    others = [
        Share(row.id, ModelStatus.TESTING, row.share_bp)
        for row in versions
        if row.status is ModelStatus.TESTING and row.id != chosen.id
    ]
    rest = BASIS_POINTS - sum(share.share_bp for share in others)
    return [Share(chosen.id, ModelStatus.PRODUCTION, rest), *others]


def rollback(versions: Sequence[ModelVersion], events: Sequence[ModelEvent]) -> list[Share]:
    """The version that was in production before takes the place back, by the history.

    Raises:
        RegistryConflict: there was none.
    """
    present = in_production(versions)
    before = previous_production(events, present.id)
    row = next((row for row in versions if row.id == before), None)
    if row is None:
        raise RegistryConflict(f"no version was in production before {present.label}; promote one")
    return promotion(versions, row.label)


def testing(versions: Sequence[ModelVersion], label: str, share_bp: int) -> list[Share]:
    """The version is tested with this share, which production gives; 0 is a shadow.

    Raises:
        RegistryConflict: it is not known, is in production, or production has no such share to give.
    """
    chosen, present = version_of(versions, label), in_production(versions)
    if chosen.id == present.id:
        raise RegistryConflict(f"{label} is in production; a test needs another version")
    left = present.share_bp + chosen.share_bp - share_bp
    if share_bp < 0 or left < 0:
        raise RegistryConflict(
            f"{label}: share of {share_bp} basis points, production has {present.share_bp}"
        )
    others = [
        Share(row.id, row.status, row.share_bp)
        for row in versions
        if row.status is ModelStatus.TESTING and row.id != chosen.id
    ]
    return [
        Share(present.id, ModelStatus.PRODUCTION, left),
        Share(chosen.id, ModelStatus.TESTING, share_bp),
        *others,
    ]


def retirement(versions: Sequence[ModelVersion], label: str) -> list[Share]:
    """The version leaves the split, and production takes its users.

    Raises:
        RegistryConflict: it is not known, not live, or in production.
    """
    chosen, present = version_of(versions, label), in_production(versions)
    if chosen.id == present.id:
        raise RegistryConflict(f"{label} is in production; promote another version, which retires it")
    if chosen.status not in LIVE:
        raise RegistryConflict(f"{label} is {chosen.status} and has no users")
    shares = testing(versions, label, 0)
    return [share for share in shares if share.model_id != chosen.id]


def shares_by_label(versions: Sequence[ModelVersion], shares_bp: Mapping[str, int]) -> list[Share]:
    """Exactly these versions live with these shares; the production version stays it.

    Raises:
        RegistryConflict: one is not known, production is not among them, or they do not add up.
    """
    present = in_production(versions)
    rows = {label: version_of(versions, label) for label in shares_bp}
    if present.label not in rows:
        raise RegistryConflict(f"{present.label} is in production and must be named; or promote another one")
    total = sum(shares_bp.values())
    if total != BASIS_POINTS:
        raise RegistryConflict(f"shares add up to {total / 100:g} %, must be 100 %")
    status = {True: ModelStatus.PRODUCTION, False: ModelStatus.TESTING}
    return [Share(row.id, status[row.id == present.id], shares_bp[label]) for label, row in rows.items()]


def basis_points(percent: str) -> int:
    """A share such as `70`, `0` or `2.5` (per cent) in basis points; raises `ValueError`."""
    try:
        points = Decimal(percent) * 100
    except InvalidOperation:
        raise ValueError(f"{percent!r} is no number of per cent such as 70 or 2.5") from None
    if not points.is_finite() or not 0 <= points <= BASIS_POINTS or points != int(points):
        raise ValueError(f"{percent!r} must be between 0 and 100 per cent with at most two decimals")
    return int(points)
