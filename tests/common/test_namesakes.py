"""Two models under one name, as everybody is told of them."""

from __future__ import annotations

from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.records import WorkerInfo
from tests.common.store_contract import worker


def with_models(name: str, **fingerprints: str) -> WorkerInfo:
    return worker(name, models=tuple(fingerprints)).model_copy(update={"fingerprints": fingerprints})


def test_a_name_that_stands_for_two_models_is_told_with_both_and_the_cure():
    workers = [with_models(f"w{n}", a="aaaa", b="bbbb") for n in range(5)] + [with_models("x", a="cccc", b="bbbb")]

    (found,) = find_namesakes(workers)

    assert str(found) == (
        "model 'a' is not the same on all workers (aaaa on w0 and w1 and w2 and 2 more, cccc on x): a job's picture "
        "depends on where it is drawn; give each of them a name of its own in its models file, or the same files to "
        "every worker"
    )


def test_workers_that_do_not_tell_count_as_like_the_others():
    old = WorkerInfo.model_validate_json(
        '{"id": "old", "models": ["a"], "host": "h", "pid": 1, "device": "cpu", "slots": 1, "lookahead": 0}'
    )

    assert find_namesakes([old, with_models("w", a="aaaa"), with_models("v", a="")]) == []
