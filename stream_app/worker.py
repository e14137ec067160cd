"""What `faust -A stream_app.worker worker` finds: the app as the environment describes it.

The only module that does work when it is imported.
"""

from __future__ import annotations

from stream_app.adapters.faust_app import build_app
from stream_app.settings import read_settings
from stream_app.streaming.hosting import hosting

settings = read_settings()
app = build_app(hosting(settings.options()))
