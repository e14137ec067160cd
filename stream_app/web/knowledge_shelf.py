"""The few versions of knowledge that any partition still goes by."""

from __future__ import annotations

from stream_app.adapters.knowledge_json import decode_knowledge
from stream_app.domain.knowledge import Knowledge

VERSIONS_MAX = 64
"""Versions kept where a partition lags far behind; beyond, it is read with the oldest one kept."""


class KnowledgeShelf:
    """Versions of knowledge as they were published, decoded when first asked for."""

    def __init__(self) -> None:
        self._records: dict[int, bytes] = {}
        self._decoded: dict[int, Knowledge] = {}

    @property
    def newest(self) -> Knowledge | None:
        """The last version published."""
        return self.of_version(max(self._records)) if self._records else None

    @property
    def oldest_version(self) -> int:
        """The oldest version kept; 0 when there is none."""
        return min(self._records, default=0)

    def add(self, record: bytes) -> int:
        """Take in a version; gives its number."""
        knowledge = decode_knowledge(record)
        self._records[knowledge.version] = record
        self._decoded[knowledge.version] = knowledge
        return knowledge.version

    def restore(self, records: dict[int, bytes]) -> None:
        """Take in versions that were kept; they are decoded when asked for."""
        self._records.update(records)

    def let_go(self, oldest_needed: int) -> None:
        """Forget what is older than any partition goes by, and more than so many versions."""
        versions = sorted(self._records)
        kept = [version for version in versions if version >= oldest_needed][-VERSIONS_MAX:] or versions[-1:]
        self._records = {version: self._records[version] for version in kept}
        self._decoded = {version: known for version, known in self._decoded.items() if version in self._records}

    def records(self) -> dict[int, bytes]:
        """Give the versions kept, as they were published."""
        return dict(self._records)

    def of_version(self, version: int) -> Knowledge | None:
        """Give a version, or the nearest one that is kept; None when there is none at all."""
        if not self._records:
            return None
        nearest = min(self._records, key=lambda known: (abs(known - version), known))
        if nearest not in self._decoded:
            self._decoded[nearest] = decode_knowledge(self._records[nearest])
        return self._decoded[nearest]
