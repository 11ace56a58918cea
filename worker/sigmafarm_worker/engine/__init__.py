"""The engine: many jobs drawn at once on one device."""

from sigmafarm_worker.engine.engine import Engine as Engine
