"""What turns the UNet's raw rows into one step of every slot. Tensors in, tensors out; no loop over slots.

Letters: S slots, R rows, C channels, H W latent size, K positions in the ring of h (see table.py). Rows 0..S-1 are the
conditional ones, slot by slot; after them stand the unconditional rows of the guided slots, then padding.
"""

from __future__ import annotations

from torch import Tensor


def guide(out_RCHW: Tensor, uncond_row_S: Tensor, scale_S: Tensor) -> Tensor:
    """Return uncond + scale (cond - uncond) of every slot, [S, C, H, W] (Ho and Salimans, classifier-free guidance).

    An unguided slot names its own conditional row as the unconditional one: the difference is then exactly 0, whatever
    its scale, and it costs no second row.
    """
    num_slots = len(uncond_row_S)
    assert scale_S.shape == (num_slots,)
    assert len(out_RCHW) >= num_slots
    cond_SCHW = out_RCHW[:num_slots]
    uncond_SCHW = out_RCHW.index_select(0, uncond_row_S)
    return uncond_SCHW + scale_S[:, None, None, None] * (cond_SCHW - uncond_SCHW)


def kept(x_SCHW: Tensor, out_SCHW: Tensor, a_S: Tensor, b_S: Tensor) -> Tensor:
    """Return h = a x + b out of every slot, which its sampler remembers of this call; `a` and `b` hold what the network
    predicts and the noise level of each slot."""
    assert x_SCHW.shape == out_SCHW.shape
    assert a_S.shape == b_S.shape == x_SCHW.shape[:1]
    return a_S[:, None, None, None] * x_SCHW + b_S[:, None, None, None] * out_SCHW


def move(x_SCHW: Tensor, history_KSCHW: Tensor, alpha_S: Tensor, c_SK: Tensor) -> None:
    """Make x alpha x + sum_k c_k h_k of every slot, in place. `c_SK` is in the order of the ring, not of age."""
    assert c_SK.shape == (history_KSCHW.shape[1], history_KSCHW.shape[0])
    x_SCHW.mul_(alpha_S[:, None, None, None])
    for k, h_SCHW in enumerate(history_KSCHW):  # a matrix product would be open to TF32
        x_SCHW.addcmul_(h_SCHW, c_SK[:, k, None, None, None])
