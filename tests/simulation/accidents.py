"""What happens around the owners of one run: arrivals, accidents of the log and the stores, wishes.

Never: a draw from anything but the run's own generator.
"""

from collections.abc import Callable
from copy import deepcopy

from ray_fraud.domain.record import Record
from ray_fraud.stores.cuts.memory import StoredPartition
from tests.simulation.driver import Driver
from tests.simulation.phases import PhasedPlan
from tests.simulation.world import FORGETFUL, SETTINGS, SPLITS, TABLES, TOPICS

REACH = 60
"""Records that an unclean election may lose."""


class Accidents:
    """The outside of one run; each method is one thing that may happen."""

    def __init__(self, driver: Driver, waiting: list[Record], faults: PhasedPlan) -> None:
        self.driver = driver
        self.waiting = waiting
        self._faults = faults
        self._rng = driver.rng
        self._earlier: StoredPartition | None = None

    def weights(self) -> dict[Callable[[], None], int]:
        """Every action with how often it comes."""
        driver, rng = self.driver, self._rng
        return {
            self.arrive: 250,
            lambda: driver.do(lambda owner: driver.read(owner, rng.randint(1, 30))): 300,
            lambda: driver.do(driver.settle): 250,
            lambda: driver.do(driver.keep): 80,
            lambda: driver.do(driver.progress): 30,
            lambda: driver.do(driver.snapshot): 20,
            lambda: driver.do(driver.drain): 15,
            self.change_split: 20,
            self.change_settings: 20,
            self.refresh_features: 20,
            driver.crash: 10,
            driver.desert: 10,
            driver.world.contents.clear: 5,
            driver.haunt: 25,
            self.cut_off: 15,
            self.elect: 10,
            self.skip_offsets: 15,
            self.send_in_a_transaction: 10,
            driver.repair: 40,
            self.recreate_alerts: 6,
            self.refuse_writes: 8,
            self.fail_over: 8,
            self.remember_redis: 15,
        }

    def arrive(self) -> None:
        count = self._rng.randint(1, 20)
        self.driver.world.send(self.waiting[:count])
        del self.waiting[:count]

    def cut_off(self) -> None:
        """An unclean election: seen by a live owner, or not before the log has grown again."""
        rng, waiting = self._rng, self.waiting
        log = self.driver.world.broker.topic(TOPICS.transactions).logs[0]
        lost = self.driver.world.cut_off(rng.randint(max(log.start, log.end - REACH), log.end))
        self.driver.happened.cut_offs += 1
        if rng.random() < 0.5:
            waiting[:0] = [record for record in lost if rng.random() < 0.5]
        if rng.random() < 0.3:
            self.driver.crash()
            while waiting and rng.random() < 0.9:
                self.arrive()

    def elect(self) -> None:
        self.driver.world.broker.elect(TOPICS.transactions, 0)
        self.driver.happened.elections += 1

    def skip_offsets(self) -> None:
        """Compaction leaves a hole, in the middle of the log or at its end."""
        self.driver.world.broker.add_hole(TOPICS.transactions, 0, self._rng.randint(1, 4))
        self.driver.happened.holes += 1

    def send_in_a_transaction(self) -> None:
        """A producer commits or aborts what it sent; the marker takes an offset."""
        broker = self.driver.world.broker
        broker.begin_transaction(TOPICS.transactions, 0)
        self.arrive()
        broker.end_transaction(TOPICS.transactions, 0, commit=self._rng.random() < 0.7)
        self.driver.happened.transactions += 1

    def recreate_alerts(self) -> None:
        self.driver.world.recreate_alerts()

    def refuse_writes(self) -> None:
        """PostgreSQL or Redis is read-only for a while: a replica was promoted, or the other way round."""
        self._faults.begin(self._rng.choice(("postgres", "redis")), self._rng.randint(1, 8), read_only=True)
        self.driver.happened.read_only += 1

    def fail_over(self) -> None:
        """A store is away for a while; of Redis, the last writes may be lost then, the fence included."""
        store = self._rng.choice(("postgres", "redis"))
        self._faults.begin(store, self._rng.randint(1, 8), read_only=False)
        world = self.driver.world
        if store == "redis" and self._earlier is not None:
            world.contents[world.partition] = deepcopy(self._earlier)
        self.driver.happened.fail_overs += 1

    def remember_redis(self) -> None:
        """How far a replica of Redis has got, should it be promoted."""
        self._earlier = deepcopy(self.driver.world.contents.of(self.driver.world.partition))

    def change_split(self) -> None:
        driver = self.driver
        driver.split = self._rng.choice(SPLITS)
        driver.happened.splits += 1
        if driver.owner is not None:
            driver.owner.steps.desire(split=driver.split)

    def change_settings(self) -> None:
        driver = self.driver
        driver.settings = self._rng.choice((SETTINGS, FORGETFUL))
        driver.happened.settings += 1
        if driver.owner is not None:
            driver.owner.steps.desire(settings=driver.settings)

    def refresh_features(self) -> None:
        driver = self.driver
        driver.tables = self._rng.choice(TABLES)
        driver.happened.refreshes += 1
        if driver.owner is not None:
            driver.owner.steps.desire(tables=driver.tables)
