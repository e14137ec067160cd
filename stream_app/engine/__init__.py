"""The engine: the only rules by which events and time change customers, shared by every driver."""

from stream_app.engine.clock import NO_TICK_MS, EngineClock
from stream_app.engine.engine import Engine
from stream_app.engine.sweeping import Sweep

__all__ = ["NO_TICK_MS", "Engine", "EngineClock", "Sweep"]
