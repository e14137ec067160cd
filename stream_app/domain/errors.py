"""The three families of expected errors; anything else that is raised is a bug."""


class StreamAppError(Exception):
    """Root of all expected errors.

    Parameters
    ----------
    message
        What was wrong, what is allowed, and what to do about it, in one line.
    code
        Stable identifier in snake case, used as metric label and as reason code.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidEventError(StreamAppError):
    """One event cannot be used: it becomes a dead letter, is counted, and the stream goes on."""


class IncompatibleStateError(StreamAppError):
    """Stored state does not fit this policy or this version: stop and say what to do."""


class SettingsError(StreamAppError):
    """Settings, policy or arguments are wrong: stop at start and list all faults.

    Parameters
    ----------
    message
        One line that sums up the faults.
    code
        Stable identifier in snake case.
    faults
        Every fault found, one line each, each beginning with the place it is at.
    """

    def __init__(self, message: str, *, code: str = "invalid_settings", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, code=code)
        self.faults = faults
