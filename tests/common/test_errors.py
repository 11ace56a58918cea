"""Errors between processes: a pool whose worker raises one gets it, whole."""

from __future__ import annotations

import pickle

import pytest

from sigmafarm_common.errors import (
    FieldError,
    InvalidRequest,
    InvalidRows,
    NotFound,
    QuotaExceeded,
    RowError,
    SigmafarmError,
    TooManyRequests,
    UnknownModel,
)

BAD = FieldError("width", "width is 63: must be a multiple of 8")


@pytest.mark.parametrize(
    "error",
    [
        NotFound("there is no batch x"),
        InvalidRequest([BAD] * 120, num_more=3),
        InvalidRows([RowError(3, (BAD,))], 7, num_bad=5),
        UnknownModel("sd", ["tiny", "large"]),
        TooManyRequests("too many", 2.5),
        QuotaExceeded("too much"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_travels_by_pickle_with_all_that_it_says(error: SigmafarmError):
    there = pickle.loads(pickle.dumps(error))

    assert type(there) is type(error)
    assert (str(there), there.fields, there.__dict__) == (str(error), error.fields, error.__dict__)
