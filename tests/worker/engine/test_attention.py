"""Which attention kernel a model is drawn with: with a stand-in for the GPU's clock, on torch's own switches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from sigmafarm_worker.engine.attention import CANDIDATES, NUM_MEASURED, NUM_WARM_UPS, fastest, in_order
from sigmafarm_worker.engine.graph_pass import GraphPass
from sigmafarm_worker.models import Model
from tests.worker.engine.test_graph_pass import StandIns, inputs

#: Passes of one candidate.
EACH = NUM_WARM_UPS + NUM_MEASURED


@dataclass
class Watch:
    """Says so many seconds, of torch's own order and of each candidate; the first pass of each takes long."""

    said_s: tuple[float, ...]
    num_asked: int = 0
    orders: list[list[int]] = field(default_factory=list)

    def seconds(self, work: Callable[[], object]) -> float:
        work()
        at, self.num_asked = self.num_asked, self.num_asked + 1
        self.orders.append(torch._C._get_sdp_priority_order())
        return 9.0 if at % EACH < NUM_WARM_UPS else self.said_s[at // EACH]


def attend() -> torch.Tensor:
    q = torch.randn(1, 2, 16, 8, generator=torch.Generator().manual_seed(1))
    return scaled_dot_product_attention(q, q, q)


@pytest.mark.parametrize(
    ("said_s", "best"),
    [
        ((1.0, 1.2, 0.5, 0.9), SDPBackend.CUDNN_ATTENTION),
        ((1.0, 0.7, 0.8, 0.9), SDPBackend.FLASH_ATTENTION),
        ((1.0, 0.99, 0.98, 0.99), None),  # within the noise: torch's own order stays
        ((1.0, 2.0, 2.0, 2.0), None),
    ],
)
def test_the_fastest_kernel_goes_first_if_it_saves_something(
    said_s: tuple[float, ...], best: SDPBackend | None
) -> None:
    watch = Watch(said_s)

    order = fastest(attend, watch)

    assert (order[0] if order else None) == best
    assert not order or set(order) == {*CANDIDATES, SDPBackend.MATH}
    assert watch.num_asked == EACH * (1 + len(CANDIDATES))


def test_each_candidate_is_tried_first_while_it_is_measured_and_torchs_order_comes_back() -> None:
    before, watch = torch._C._get_sdp_priority_order(), Watch((1.0, 1.0, 1.0, 1.0))

    fastest(attend, watch)

    firsts = [int(order[0]) for order in watch.orders[EACH::EACH]]
    assert firsts == [int(each.value) for each in CANDIDATES]
    assert torch._C._get_sdp_priority_order() == before


def test_a_kernel_that_cannot_do_it_is_no_candidate_and_a_broken_device_is_told() -> None:
    class Refusing(Watch):
        error: Exception = RuntimeError("No available kernel. Aborting execution.")

        def seconds(self, work: Callable[[], object]) -> float:
            if self.num_asked == 2 * EACH:
                self.num_asked += EACH
                raise self.error
            return super().seconds(work)

    assert fastest(attend, Refusing((1.0, 0.9, 0.1, 0.8)))[0] is SDPBackend.EFFICIENT_ATTENTION

    Refusing.error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        fastest(attend, Refusing((1.0, 0.9, 0.1, 0.8)))


@torch.inference_mode()
def test_a_warm_up_chooses_and_all_later_passes_use_it(model: Model) -> None:
    watch = Watch((1.0, 1.0, 1.0, 0.5))
    chosen = GraphPass(model, StandIns(), watch)

    chosen.warm_up(8, 8, 4)

    assert chosen._attention[0] is SDPBackend.EFFICIENT_ATTENTION
    assert torch.allclose(chosen(*inputs(3)), GraphPass(model, StandIns())(*inputs(3)), atol=1e-5)


def test_without_an_order_nothing_changes() -> None:
    before = torch._C._get_sdp_priority_order()
    with in_order(()):
        assert torch._C._get_sdp_priority_order() == before
