"""The vectorised step against plain loops over slots."""

from __future__ import annotations

import torch

from sigmafarm_worker.sampling.step import guide, kept, move


def test_each_slot_is_guided_by_its_own_scale_and_rows():
    out = torch.randn(5, 4, 8, 8)  # three slots; the first and the last are guided
    scale = torch.tensor([7.5, 0.3, 2.0])

    guided = guide(out, torch.tensor([3, 1, 4]), scale)

    torch.testing.assert_close(guided[0], out[3] + 7.5 * (out[0] - out[3]))
    torch.testing.assert_close(guided[2], out[4] + 2.0 * (out[2] - out[4]))


def test_an_unguided_slot_is_its_conditional_row_exactly():
    out = torch.randn(2, 4, 8, 8)

    guided = guide(out, torch.tensor([0, 1]), torch.tensor([1.0, 0.0]))

    assert torch.equal(guided, out)


def test_padding_rows_are_never_read():
    out = torch.randn(4, 4, 8, 8)
    out[2:] = torch.nan

    assert guide(out, torch.tensor([1]), torch.tensor([3.0])).isfinite().all()


def test_what_is_kept_and_the_move_are_linear_in_each_slot():
    x, out, history = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.randn(4, 3, 4, 8, 8)
    a, b, alpha, c = torch.randn(3), torch.randn(3), torch.randn(3), torch.randn(3, 4)

    h, moved = kept(x, out, a, b), x.clone()
    move(moved, history, alpha, c)

    for s in range(3):
        torch.testing.assert_close(h[s], a[s] * x[s] + b[s] * out[s])
        torch.testing.assert_close(moved[s], alpha[s] * x[s] + sum(c[s, k] * history[k, s] for k in range(4)))
