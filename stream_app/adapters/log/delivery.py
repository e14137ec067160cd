"""What consumers inside Faust have in common, whatever the log."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

POSITION_HEADER: Final = "position"
"""Names the header of an event that tells where its records continue; offsets have holes and do not tell."""
END_HEADER: Final = "end"
"""Names the header of an event that tells where the next one continues, where the log tells."""
EXIT_DEFECT: Final = 1
EXIT_REFUSED: Final = 2
"""Settings, rights, topics or state are such that a person has to mend something."""
EXIT_TRY_AGAIN: Final = 70
"""The log failed; a supervisor starts the worker again."""


class UnknownOffsets(defaultdict[Any, Any]):
    """Read offsets that Faust never gets to know.

    It drops what lies before them; after a seek backwards in the midst of a delivery it would drop what was sought.
    """

    def __getitem__(self, _partition: Any) -> None:
        return None

    def __setitem__(self, _partition: Any, _offset: Any) -> None:
        return None
