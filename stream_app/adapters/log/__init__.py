"""Where records are kept: one port for every log, its topics, and an adapter for each kind of log."""
