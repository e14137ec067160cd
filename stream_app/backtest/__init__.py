"""The driver that replays an event log through the engine and reports what the segments would have been."""
