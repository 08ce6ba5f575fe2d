"""What the lab's commands share: they end in one sentence, and print above a bar."""

import contextlib
import functools
import importlib
import signal
import sys
import threading


@contextlib.contextmanager
def stopping(kept="What is finished is saved"):
    """End a command in one sentence where it is interrupted or cannot go on.

    After Ctrl-C the sentence says what is `kept`.

    SIGTERM, as of `kill`, ends it as Ctrl-C does.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    earlier = signal.getsignal(signal.SIGTERM)
    if main_thread:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"Stopped. {kept}, and the same command goes on.")
    except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
        sys.exit(f"Stopped: {error}")
    finally:
        if main_thread:
            signal.signal(signal.SIGTERM, earlier)


def say(line):
    """Print a line to the standard error, above the progress bar."""
    from tqdm import tqdm  # rise.py can be installed without it

    tqdm.write(line, file=sys.stderr)


def _installed(name):
    """The console script of a command, whose packages may not be installed."""
    try:
        main = importlib.import_module(f"lab.{name}").main
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. The commands need more than rise.py: pip install '.[lab]'")
    main()


explain = functools.partial(_installed, "explain")
evaluate = functools.partial(_installed, "evaluate")
