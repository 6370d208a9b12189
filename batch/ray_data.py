"""How the platform uses Ray Data: few tasks, at the lowest priority, without its progress bars.

Never: a dataset whose rows pass the driver (tasks write files and tell about them).
"""

import logging
from typing import Any

from ray.data import DataContext, TaskPoolStrategy

from batch.priority import low_priority_env


def quiet_ray_data() -> None:
    """Our own progress is enough; Ray Data's goes to its log files."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def few_tasks(tasks: int, blocks: int) -> dict[str, Any]:
    """Options of a dataset's steps: at most `tasks` of its `blocks` at a time.

    Steps with the same options become one task.
    """
    # Ray Data warns of more tasks than there are blocks.
    compute = TaskPoolStrategy(min(tasks, max(1, blocks)))
    return {"num_cpus": 1, "runtime_env": low_priority_env(), "compute": compute}
