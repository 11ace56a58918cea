"""The dashboard at /: pages of the farm, made on the server, for people with a browser."""

from __future__ import annotations

from sigmafarm.http.dashboard.mount import add_dashboard

__all__ = ["add_dashboard"]
