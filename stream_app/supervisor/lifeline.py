"""What a child runs: the command line, tied to the life of the process that started it.

`python -m stream_app.supervisor.lifeline FD ARGUMENTS...` does what `python -m stream_app ARGUMENTS...` does. FD is the
reading end of a pipe whose writing end only the supervisor holds: when it ends in whatever way, kill -9 included,
the pipe breaks and the child ends, too. This needs nothing of the operating system but pipes.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 5.0
"""How long a child may take to end in order once its supervisor is gone."""


def hang_on(descriptor: int) -> None:
    """End this process when the pipe breaks."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    hang_on(int(sys.argv[1]))
    sys.argv[:] = ["stream-app", *sys.argv[2:]]
    # The first name of the module search path would be this module's folder, not what `-m stream_app` has.
    runpy.run_module("stream_app", run_name="__main__", alter_sys=False)
