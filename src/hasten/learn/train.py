"""Training a policy for a range of scenarios, in one call: what is refused before it begins, and one thread for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from hasten.core.output import check_file
from hasten.core.scenario import Scenario
from hasten.learn.curve import FinishedTraining, Interrupted
from hasten.learn.domain import Domain
from hasten.learn.interruption import interruptible
from hasten.learn.logs import Logged
from hasten.learn.preconditions import check_trainable
from hasten.learn.settings import Settings
from hasten.learn.trainer import OnPoint, Trainer
from hasten.policies.policy import AnyPolicy


def train_policy(
    scenario: Scenario,
    domain: Domain | None = None,
    settings: Settings | None = None,
    logs: Sequence[Logged] = (),
    start: AnyPolicy | None = None,
    checkpoint: Path | None = None,
    on_point: OnPoint | None = None,
) -> FinishedTraining:
    """Train a policy for a range of scenarios.

    Args:
        scenario: the middle of the range; also fixes networks, gain, topology and order of service.
        domain: the range; by default :class:`Domain`'s around the scenario.
        settings: how to learn.
        logs: what real devices logged, kept beside the demonstrations.
        start: a policy to go on from, of the same networks, instead of random weights.
        checkpoint: written after every validation; if the file exists, training goes on from it.
        on_point: told every new point of the learning curve.

    Returns:
        The best policy on the validation set and the learning curve; ``stopped`` says why training ended early.

    Raises:
        HastenError: training diverged, or found nothing to learn from, before there was any policy to keep.
        InputError: a scenario in which nothing can be learned, a checkpoint that cannot be written or is of another
            training, a policy for other networks, or numbers that are not finite.
        Interrupted: a Ctrl-C, with the best policy so far.
    """
    domain, settings = domain or Domain(), settings or Settings()
    check_trainable(scenario, domain)
    if checkpoint is not None:
        check_file(checkpoint, "checkpoint")
    with interruptible(), threadpool_limits(1):  # on networks as small as these more threads cost more than they bring
        try:
            trainer = Trainer(scenario, domain, settings, logs, start)
            if checkpoint is not None and checkpoint.exists():
                trainer.restore(checkpoint)
        except KeyboardInterrupt:
            raise Interrupted(None) from None
        return trainer.run(checkpoint, on_point)
