"""Several policies on one event log, side by side: what an owner needs to see before a policy ships."""
