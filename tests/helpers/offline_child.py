"""Run as a program: a verb of the command line that may neither open a socket nor unpickle.

Usage: offline_child.py VERB... The kernel ends this process, or one that it starts, at socket(2),
in native code too; the interpreter ends this one before it looks up what a pickle names. With
--jobs it does not: the processes of one command give each other pickles, through pipes.
"""

import os
import sys
from pathlib import Path


def refuse_pickles():
    def hook(event, arguments):
        if event == "pickle.find_class":
            os.write(2, f"unpickled {arguments}\n".encode())
            os._exit(77)

    sys.addaudithook(hook)


if __name__ == "__main__":  # processes that a verb spawns import this file
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.helpers.watched_child import forbid_sockets

    forbid_sockets()
    if "--jobs" not in sys.argv:
        refuse_pickles()
    from orthoedge.cli.main import main

    sys.exit(main(sys.argv[1:]))
