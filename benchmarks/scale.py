"""How large the benchmarks are: as promised, or tiny, to see that they work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of all benchmarks.

    Parameters
    ----------
    customers, customers_many
        How many the engine knows; the second is for memory alone.
    warm_up_events
        Random events before anything is timed, so that tiers are held and customers have a past.
    repetitions
        How often each figure is taken.
    batches, small_batches
        Batches of `batch_events` and of `small_batch_events` in each repetition.
    batch_events, small_batch_events
        Events of a batch.
    reference_events
        Events that the scalar reference gets.
    log_customers, log_days
        Of the simulated event log.
    is_full
        The sizes are those that the promises speak of, so there is a verdict.
    """

    customers: int
    customers_many: int
    warm_up_events: int
    repetitions: int
    batches: int
    small_batches: int
    reference_events: int
    log_customers: int
    log_days: int
    is_full: bool
    batch_events: int = 4000
    small_batch_events: int = 200


FULL = Scale(
    customers=1_000_000,
    customers_many=5_000_000,
    warm_up_events=1_000_000,
    repetitions=7,
    batches=20,
    small_batches=150,
    reference_events=20_000,
    log_customers=1_000_000,
    log_days=365,
    is_full=True,
)

QUICK = Scale(
    customers=2_000,
    customers_many=3_000,
    warm_up_events=2_000,
    repetitions=2,
    batches=1,
    small_batches=2,
    reference_events=200,
    log_customers=200,
    log_days=10,
    is_full=False,
    batch_events=200,
    small_batch_events=50,
)
