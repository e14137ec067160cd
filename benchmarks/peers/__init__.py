"""Other stream processors on the same events, each doing one simple job, to measure a worker against."""
