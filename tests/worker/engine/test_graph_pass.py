"""Which passes are captured, and when: on stand-ins for CUDA graphs, which compute what they captured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.engine.graph_pass import LAUNCH_BOUND_PIXELS, MAX_GRAPHS, NUM_TO_EARN, GraphPass, Size, bucket
from sigmafarm_worker.engine.graphs import Forward
from sigmafarm_worker.engine.unet_pass import EagerPass
from sigmafarm_worker.models import Model


class StandIns:
    """Graphs that run eagerly at their replay, on the tensors that they captured."""

    def __init__(self, free_bytes: int = 1 << 40):
        self.free, self.peak = free_bytes, 1 << 20
        self.num_captured = self.num_replayed = self.num_dropped = 0
        #: What the next capture raises.
        self.error: Exception | None = None

    def peak_bytes(self, forward: Forward) -> int:
        forward()
        return self.peak

    def free_bytes(self) -> int:
        return self.free

    def capture(self, forward: Forward) -> Forward:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.num_captured += 1
        out = forward().clone()

        def replay() -> Tensor:
            self.num_replayed += 1
            return out.copy_(forward())

        return replay

    def drop(self) -> None:
        self.num_dropped += 1


def inputs(num_rows: int, side: int = 8, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_rows, 4, side, side, generator=generator)
    return x, torch.linspace(900, 5, num_rows), torch.randn(num_rows, 77, 32, generator=generator)


@pytest.fixture
def graphs() -> StandIns:
    return StandIns()


@pytest.fixture
def captured(light: Model, graphs: StandIns) -> GraphPass:
    return GraphPass(light, graphs)


@pytest.mark.parametrize(("num_rows", "wanted"), [(1, 1), (7, 7), (8, 8), (9, 10), (10, 10), (31, 32), (32, 32)])
def test_buckets_are_exact_up_to_eight_and_even_above(num_rows: int, wanted: int):
    assert bucket(num_rows) == wanted


@torch.inference_mode()
def test_a_size_runs_eagerly_until_it_has_earned_its_graph_and_gives_the_same(captured: GraphPass, graphs: StandIns):
    for n in range(NUM_TO_EARN):
        captured(*inputs(3, seed=n))
    assert (graphs.num_captured, captured.num_builds) == (0, 0)

    for n in range(3):
        found, wanted = captured(*inputs(3, seed=n)), EagerPass.__call__(captured, *inputs(3, seed=n))
        assert torch.allclose(found, wanted, atol=1e-6)
    captured(*inputs(2))

    assert (graphs.num_captured, graphs.num_replayed, captured.num_builds) == (1, 3, 1)


@torch.inference_mode()
def test_what_one_replay_gave_stays_when_the_next_is_made(captured: GraphPass):
    captured.warm_up(8, 8, 2)
    first = captured(*inputs(2, seed=1))
    kept = first.clone()
    captured(*inputs(2, seed=2))

    assert torch.equal(first, kept)


@torch.inference_mode()
def test_passes_that_keep_the_device_busy_are_neither_captured_nor_padded(captured: GraphPass, graphs: StandIns):
    size = Size(9, 64, 64, 77, has_mask=False)
    assert captured.padded(9, 64, 64) == 9
    assert captured.padded(9, 8, 8) == 10
    assert captured.padded(1, 256, 256) == 1
    for _ in range(NUM_TO_EARN + 2):
        assert captured._captured(size) is None
    captured.warm_up(64, 64, 9)

    assert size.num_rows * size.height * size.width > LAUNCH_BOUND_PIXELS
    assert graphs.num_captured == 8, "those of up to eight rows"


@torch.inference_mode()
def test_after_warm_up_nothing_of_its_size_is_built(captured: GraphPass, graphs: StandIns):
    captured.warm_up(8, 8, 32)
    assert captured.num_builds == graphs.num_captured == 20

    for num_rows in range(1, 33):
        captured(*inputs(captured.padded(num_rows, 8, 8)))

    assert captured.num_builds == 20
    assert graphs.num_replayed == 32


@torch.inference_mode()
def test_without_room_a_size_runs_eagerly_and_is_tried_again_when_it_has_earned_it_again(
    captured: GraphPass, graphs: StandIns
):
    graphs.free = graphs.peak
    for _ in range(NUM_TO_EARN + 10):
        captured(*inputs(2))
    assert graphs.num_captured == 0
    graphs.free = 2 * graphs.peak
    for _ in range(NUM_TO_EARN):
        captured(*inputs(2))

    assert graphs.num_captured == 1


@torch.inference_mode()
def test_a_smaller_graph_needs_no_room_of_its_own(captured: GraphPass, graphs: StandIns):
    captured.warm_up(8, 8, 4)
    graphs.free = 0
    for _ in range(NUM_TO_EARN + 1):
        captured(*inputs(2, side=4))

    assert graphs.num_captured == 5


@torch.inference_mode()
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture"),
    ],
)
def test_a_capture_that_fails_costs_no_pass_and_takes_the_shared_memory_with_it(
    captured: GraphPass, graphs: StandIns, error: Exception
):
    captured.warm_up(8, 8, 2)
    graphs.error = error
    for n in range(NUM_TO_EARN + 1):
        found = captured(*inputs(3, seed=n))
    assert torch.allclose(found, EagerPass.__call__(captured, *inputs(3, seed=NUM_TO_EARN)), atol=1e-6)
    assert graphs.num_dropped == 1

    replayed = graphs.num_replayed
    captured(*inputs(2))
    assert graphs.num_replayed == replayed, "its graph went with the memory"


@torch.inference_mode()
def test_a_device_that_breaks_in_a_capture_is_said(captured: GraphPass, graphs: StandIns):
    graphs.error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(torch.AcceleratorError):
        captured.warm_up(8, 8, 1)


@torch.inference_mode()
def test_the_graph_that_was_not_used_for_longest_goes_first(captured: GraphPass, graphs: StandIns, monkeypatch):
    monkeypatch.setattr("sigmafarm_worker.engine.graph_pass.MAX_GRAPHS", 3)
    captured.warm_up(8, 8, 3)
    captured(*inputs(3))
    for _ in range(NUM_TO_EARN + 1):
        captured(*inputs(4))
    built = captured.num_builds
    captured(*inputs(3))
    captured(*inputs(4))

    assert captured.num_builds == built == 4
    assert len(captured._kept) == 3 <= MAX_GRAPHS


def test_an_engine_with_graphs_draws_what_one_without_draws(light: Model, run, error):
    drawn: list[list[Tensor]] = []
    for is_captured in (True, False):
        engine = Engine(light, max_images=4)
        if is_captured:
            graphs = StandIns()
            engine._stepper.unet_passes = {light.name: GraphPass(light, graphs)}
            engine.warm_up()
        said = [{"num_inference_steps": 3 + n % 4, "guidance_scale": 1 + 3 * (n % 2), "seed": n} for n in range(9)]
        futures = [engine.submit(RenderRequest.parse({"prompt": f"thing {n}", **row})) for n, row in enumerate(said)]
        run(engine)
        drawn.append([future.result(0).latents for future in futures])

    assert graphs.num_replayed > 9
    for found, wanted in zip(*drawn, strict=True):
        assert error(found, wanted) < 1e-5
