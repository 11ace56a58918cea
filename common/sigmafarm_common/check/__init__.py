"""The checker: whether the six invariants hold on a living or a stopped farm, and what violates them.

`violation.py` names the rules, `seen.py` holds what was read, `reader.py` reads it; `job_rules.py`, `batch_rules.py`,
`farm_rules.py`, `event_rules.py`, `picture_rules.py` and `upload_rules.py` judge it without IO; `upload_reader.py`
reads uploads; `checker.py` puts them together.
"""

from sigmafarm_common.check.checker import check_farm
from sigmafarm_common.check.violation import Invariant, Rule, Violation

__all__ = ["Invariant", "Rule", "Violation", "check_farm"]
