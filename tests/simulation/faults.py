"""What goes wrong, and how often: each seed draws its own mix, so that rare things meet."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

#: How much of all that can go wrong does, one of these by the seed.
SHARES = (0.1, 0.25, 0.5)
#: Rows of a submit, one of these. No quota is smaller than the largest: else some would wait for ever.
NUM_ROWS = (1, 1, 2, 5, 10, 20)


@dataclass
class Mix:
    """Chances by call, and pauses in virtual seconds."""

    #: Of a call to the store: it never arrives, its answer is lost, it is said twice, it takes long.
    lost_request: float = 0.0
    lost_answer: float = 0.0
    said_twice: float = 0.0
    slow_call: float = 0.0
    #: That a worker's process dies right after it; that a submitter's does.
    death: float = 0.0
    submitter_death: float = 0.0
    #: Of a call to the object store: refused before, refused after the write, slow.
    refused_object: float = 0.0
    lost_object_answer: float = 0.0
    slow_object: float = 0.0
    #: Seconds between two faults that befall processes and services, on average; 0: none.
    crash_s: float = 0.0
    freeze_s: float = 0.0
    outage_s: float = 0.0
    storage_outage_s: float = 0.0
    supervisor_crash_s: float = 0.0
    drain_s: float = 0.0
    rollback_s: float = 0.0
    api_crash_s: float = 0.0
    api_end_s: float = 0.0
    #: Seconds between two things that users say, on average; 0: nothing.
    cancel_s: float = 0.0
    cancel_retry_s: float = 0.0
    cancel_batch_s: float = 0.0
    retry_s: float = 0.0
    pause_s: float = 0.0
    priority_s: float = 0.0
    #: Of submits: that they are said once more, and that their jobs are equal to those of others.
    resubmit: float = 0.0
    equal: float = 0.0
    #: Of submits: that their rows come one by one, with pauses.
    slow_rows: float = 0.0
    #: Of jobs: that they begin with a picture that is submitted with them.
    drawn_from: float = 0.0
    #: Jobs that the submitters' owner may have open; 0: any number.
    quota: float = 0.0
    #: Seconds between two clients that wait at the API for their picture; of them: that they leave for good. Of their
    #: tries: that the connection breaks.
    client_s: float = 0.0
    leave: float = 0.0
    broken_line: float = 0.0
    #: Of jobs: that they take longer than renewals, raise, find no memory now and then, or kill their worker.
    long: float = 0.0
    broken: float = 0.0
    memory: float = 0.0
    poison: float = 0.0

    @classmethod
    def drawn(cls, seed: int) -> Mix:
        """Return a mix in which half of all there is happens, or less, some of it often: what much else excuses is seen
        where little else goes wrong. Each part is drawn for itself, so that a new one leaves the others as they are."""
        mix, share = cls(), Random(f"share of {seed}").choice(SHARES)
        for field in fields(cls):
            chance = Random(f"{field.name} of {seed}")
            if chance.random() < share:
                setattr(mix, field.name, _RANGES[field.name](chance))
        return mix

    def said(self) -> str:
        """Return what happens, in words."""
        here = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name} {value:.3g}" for name, value in here.items() if value)


def _share(low: float, high: float):
    return lambda chance: low * (high / low) ** chance.random()


_RANGES = {
    "lost_request": _share(0.001, 0.05),
    "lost_answer": _share(0.001, 0.05),
    "said_twice": _share(0.001, 0.05),
    "slow_call": _share(0.001, 0.05),
    "death": _share(0.0002, 0.003),
    "submitter_death": _share(0.003, 0.05),
    "refused_object": _share(0.005, 0.2),
    "lost_object_answer": _share(0.005, 0.2),
    "slow_object": _share(0.005, 0.3),
    "crash_s": _share(3, 30),
    "freeze_s": _share(3, 30),
    "outage_s": _share(5, 40),
    "storage_outage_s": _share(5, 40),
    "supervisor_crash_s": _share(5, 60),
    "drain_s": _share(5, 40),
    "rollback_s": _share(8, 60),
    "api_crash_s": _share(3, 40),
    "api_end_s": _share(3, 40),
    "cancel_s": _share(0.5, 10),
    "cancel_retry_s": _share(0.5, 10),
    "cancel_batch_s": _share(10, 60),
    "retry_s": _share(0.5, 10),
    "pause_s": _share(3, 30),
    "priority_s": _share(3, 30),
    "resubmit": _share(0.05, 0.5),
    "equal": _share(0.1, 0.6),
    "slow_rows": _share(0.1, 0.8),
    "drawn_from": _share(0.1, 0.8),
    "quota": _share(max(NUM_ROWS), 200),
    "client_s": _share(0.5, 8),
    "leave": _share(0.1, 0.6),
    "broken_line": _share(0.1, 0.7),
    "long": _share(0.02, 0.3),
    "broken": _share(0.02, 0.2),
    "memory": _share(0.02, 0.2),
    "poison": _share(0.01, 0.05),
}
