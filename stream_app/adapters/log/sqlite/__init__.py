"""The embedded log: topics, partitions and offsets in one SQLite file, one transaction a commit."""
