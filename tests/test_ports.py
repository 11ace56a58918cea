"""Ports of loopback for servers of tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.ports import BLOCK, FIRST, NUM_BLOCKS, free_port

SCRIPT = "from tests.ports import free_port; print(*[free_port() for _ in range(20)], flush=True); input()"


def test_processes_that_run_together_choose_none_of_each_others_ports():
    def chosen(process: subprocess.Popen[str]) -> list[int]:
        assert process.stdout
        return [int(port) for port in process.stdout.readline().split()]

    command = [sys.executable, "-c", SCRIPT]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        ports = [port for own in pool.map(chosen, processes) for port in own]
    for process in processes:
        process.communicate("\n")

    ports += [free_port() for _ in range(20)]
    assert len(set(ports)) == 100
    assert set(ports) <= set(range(FIRST, FIRST + BLOCK * NUM_BLOCKS))


def test_a_port_that_somebody_listens_on_is_passed_over():
    taken = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        assert taken not in [free_port() for _ in range(BLOCK)]
    assert taken in [free_port() for _ in range(BLOCK)]
