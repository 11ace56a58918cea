"""Keeps the host at most one pass ahead of the device."""

from __future__ import annotations

import torch


class Pace:
    """Keeps the host at most one pass ahead of the device, so that progress and signs of life are true.

    Without it a host would queue steps without bound; waiting for each pass would leave the device idle between them.
    The host sleeps meanwhile: an event that is not blocking would have it spin, on a core that PNGs are made on.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._previous: torch.cuda.Event | None = None

    def tick(self) -> None:
        """Call after each pass was given to the device. Device-to-host sync with the pass before."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event(blocking=True)
        event.record(torch.cuda.current_stream(self._device))
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = event
