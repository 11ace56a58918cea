"""When a UNet's compiled kernels are used, and what becomes of one that cannot be compiled: with a stand-in compiler.

torch's own takes minutes: `python -m tests.bench.engine_bench --compile-engine` measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine import Engine, compiling
from sigmafarm_worker.engine import unet_pass as unet_passes
from sigmafarm_worker.engine.compiling import CompiledUnet
from sigmafarm_worker.engine.graph_pass import GraphPass
from sigmafarm_worker.models import Model
from tests.worker.engine.test_graph_pass import StandIns, inputs

Draw = Callable[..., Rendered]


class StandIn:
    """A compiler whose kernels are the network itself, and note each call; or that cannot compile."""

    def __init__(self, error: Exception | None = None):
        self.error, self.rows = error, list[int]()

    def __call__(self, network: Any, *, dynamic: bool) -> Callable[..., Any]:
        assert dynamic, "other numbers of rows must not be compiled anew"

        def run(x: torch.Tensor, *args: Any, **said: Any) -> Any:
            if self.error is not None:
                raise self.error
            self.rows.append(x.shape[0])
            return network(x, *args, **said)

        return run


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(unet_passes, "CompiledUnet", lambda unet: CompiledUnet(unet, stand_in))
    return stand_in


def draw(engine: Engine, **said: object) -> Rendered:
    from tests.worker.engine.test_memory import draw

    return draw(engine, **said)


def test_a_warm_up_compiles_for_many_few_and_one_row_and_later_passes_use_it(light: Model, compiler: StandIn) -> None:
    engine = Engine(light, max_images=4, is_compiled=True)

    engine.warm_up()
    assert compiler.rows[:3] == [8, 2, 1]
    compiler.rows.clear()
    compiled, eager = draw(engine), draw(Engine(light, max_images=4))

    assert compiler.rows == [1, 1]
    assert (compiled.pixels == eager.pixels).all()


def test_other_sizes_and_masked_rows_run_as_ever(light: Model, compiler: StandIn) -> None:
    engine = Engine(light, max_images=4, is_compiled=True)
    engine.warm_up()
    compiler.rows.clear()

    draw(engine, height=96)
    unet = CompiledUnet(light.unet, compiler)
    unet.sizes.add((8, 8))
    x, t, emb = inputs(2)
    unet(x, t, encoder_hidden_states=emb, encoder_attention_mask=torch.ones(2, 77), return_dict=False)

    assert compiler.rows == []


def test_without_being_asked_nothing_is_compiled(light: Model, compiler: StandIn) -> None:
    engine = Engine(light, max_images=4)

    engine.warm_up()

    assert compiler.rows == []


def test_what_cannot_be_compiled_is_drawn_all_the_same(
    light: Model, compiler: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.error = RuntimeError("InductorError: InvalidCxxCompiler: No working C++ compiler found")
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(compiling, "tell", lambda _level, event, **said: told.append({"event": event, **said}))
    engine = Engine(light, max_images=4, is_compiled=True)

    engine.warm_up()

    assert (draw(engine).pixels == draw(Engine(light, max_images=4)).pixels).all()
    (said,) = told
    assert "No working C++ compiler found" in said["error"]
    assert "SIGMAFARM_COMPILE_UNET" in said["cure"]


@pytest.mark.parametrize("said", ["CUDA error: an illegal memory access was encountered", "CUDA out of memory"])
def test_a_device_that_breaks_or_has_no_memory_is_told_on(light: Model, said: str) -> None:
    unet = CompiledUnet(light.unet, StandIn(RuntimeError(said)))

    with pytest.raises(RuntimeError, match=said):
        unet.compile_for(8, 8, 4, lambda n: unet(*inputs(n)[:2], encoder_hidden_states=inputs(n)[2]))


@torch.inference_mode()
def test_graphs_are_captured_over_compiled_kernels(light: Model, compiler: StandIn) -> None:
    graphs = StandIns()
    captured = GraphPass(light, graphs, is_compiled=True)
    captured.warm_up(8, 8, 4)
    compiler.rows.clear()

    found = captured(*inputs(3))

    assert graphs.num_captured == 4
    assert compiler.rows == [3], "what a replay runs was compiled"
    assert torch.allclose(found, GraphPass(light, StandIns())(*inputs(3)), atol=1e-6)
