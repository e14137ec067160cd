"""Dynamic customer segmentation on event streams: value and growth tiers that follow behaviour."""

__version__ = "0.1.0"
