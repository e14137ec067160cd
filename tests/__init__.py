"""Tests of stream_app, and the scalar reference that they hold the engine to."""
