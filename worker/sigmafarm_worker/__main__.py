"""`python -m sigmafarm_worker`: the supervisor of this machine's workers; with --worker-id: one worker process.

Settings come from SIGMAFARM_* and .env (`sigmafarm config` lists them). Exit codes: 0 stopped in order, 2 a setting or
model that does not fit, 3 Redis or the bucket out of reach or refusing us; of a worker process also 4: its jobs kept
failing, 5 in place of 3: refused, no waiting helps, 6: its engine ended, as on a device that has gone wrong, and 7: its
device can never be used, whatever is tried.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from sigmafarm_common import logs
from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, DeviceUnusable, NewerRecords, SigmafarmError
from sigmafarm_common.models_file import ModelSpec, read_models_file
from sigmafarm_common.signals import call_on
from sigmafarm_common.start_up import begin_start, end_start
from sigmafarm_common.visible import visible

if TYPE_CHECKING:
    from sigmafarm_worker.drawing_engine import MakeEngine


def main(*, make_engine: MakeEngine | None = None, command: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for and return the exit code. `make_engine` and `command`, which starts the worker
    processes, are the real ones unless said."""
    arguments = _parse()
    try:
        config = Config.load(device=arguments.device)
        if arguments.worker_id:
            return _work(config, arguments, make_engine)
        return _supervise(config, command)
    except SigmafarmError as error:
        _say(error)
        return error.exit_code


def _say(what: object) -> None:
    """Write the line that tells a person why it ends: `sigmafarm up` shows those of its workers."""
    sys.stderr.write(visible(f"sigmafarm worker: {what}") + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sigmafarm_worker", description=__doc__)
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: SIGMAFARM_DEVICE)")
    parser.add_argument("--worker-id", help=argparse.SUPPRESS)
    parser.add_argument("--label", help=argparse.SUPPRESS)
    parser.add_argument("--pulse-fd", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def worker_specs(config: Config) -> Mapping[str, ModelSpec]:
    """Return the models to serve: those of the models file, else the bundled one."""
    if config.models_file is not None:
        return read_models_file(config.models_file)
    from sigmafarm_common.model_folder import bundled_spec
    from sigmafarm_worker.bundled import bundled_model_path

    spec = bundled_spec(bundled_model_path())
    return {spec.name: spec}


def _supervise(config: Config, command: Sequence[str] | None) -> int:
    from sigmafarm_common.celery_app import make_app, publisher
    from sigmafarm_common.concluder import Concluder
    from sigmafarm_common.keeper import Keeper
    from sigmafarm_common.objects.opening import open_objects
    from sigmafarm_common.store.redis_store import RedisStore
    from sigmafarm_common.tracing import open_tracing, traced
    from sigmafarm_worker.service.devices import worker_devices
    from sigmafarm_worker.service.supervisor import WORKER_COMMAND, Supervisor

    logs.set_up(config, process="supervisor")
    worker_specs(config)
    store, objects = RedisStore(config), open_objects(config)
    store.check()
    objects.check()
    tracing = open_tracing("sigmafarm-supervisor")
    keeper = Keeper(config, store, traced(publisher(make_app(config)), tracing, store.trace_of))
    concluder = Concluder(config, store, objects, keeper)
    devices = worker_devices(config)
    supervisor = Supervisor(config, devices, store, keeper, concluder, command=command or WORKER_COMMAND)
    call_on((signal.SIGTERM, signal.SIGINT), supervisor.stop)
    end_start()
    try:
        return supervisor.run()
    finally:
        tracing.close()


def _work(config: Config, arguments: argparse.Namespace, make_engine: MakeEngine | None) -> int:
    from sigmafarm_worker.host_memory import keep_freed_memory
    from sigmafarm_worker.service.cores import usable_cores

    keep_freed_memory()
    # Threads of BLAS and OpenMP are bounded before torch is imported: several workers share one machine.
    os.environ.setdefault("OMP_NUM_THREADS", str(config.num_threads or usable_cores()))
    from sigmafarm_worker.service.process import WorkerProcess
    from sigmafarm_worker.service.supervisor import REFUSED_EXIT_CODE, UNUSABLE_EXIT_CODE

    logs.set_up(config, worker=arguments.worker_id)
    if make_engine is None:
        from sigmafarm_worker.quick_imports import quick_imports

        with quick_imports():
            from sigmafarm_worker.service.making_engine import make_engine
    process = WorkerProcess(
        config,
        worker_id=arguments.worker_id,
        device=arguments.device or "cpu",
        label=arguments.label or arguments.device or "cpu",
        specs=worker_specs(config),
        pulse_fd=arguments.pulse_fd,
        make_engine=make_engine,
    )
    try:
        return process.run()
    except (AccessDenied, NewerRecords) as error:
        _say(error)
        return REFUSED_EXIT_CODE
    except DeviceUnusable as error:
        _say(error)
        return UNUSABLE_EXIT_CODE
    except SigmafarmError:
        raise
    except Exception as error:  # the outermost guard: who reads the log's last lines is to see what it was
        structlog.get_logger("sigmafarm.worker").exception("worker cannot go on")
        _say(f"{type(error).__name__}: {error}")
        return 1


if __name__ == "__main__":
    begin_start()
    sys.exit(main())
