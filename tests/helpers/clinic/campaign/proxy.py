"""A line to a peer that breaks, stalls or refuses at a byte that is drawn."""

import collections
import contextlib
import random
import socket
import threading

FAULTS = ("refuses", "breaks off", "stalls", "says nothing back")


class Proxy:
    """Passes connections on to a port of this machine, as many of them with a fault as wanted.

    Args:
        port: of the peer.
        faults: connections that get one; later ones are passed on whole.
        seed: of what is drawn.
    """

    def __init__(self, port, faults, seed=0):
        self._to = port
        self._left = faults
        self._rng = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.met = collections.Counter()
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def is_clean(self):
        return self._left <= 0

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                fault = FAULTS[sum(self.met.values()) % len(FAULTS)] if self._left > 0 else ""
                self._left -= 1
                self._open.append(near)
                if fault:
                    self.met[fault] += 1
                if fault == "refuses":
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open.append(far)
                budget = int(10 ** self._rng.uniform(0, 4.8)) if fault else None
                back = fault == "says nothing back"
                self._pass_on(near, far, None if back else budget, fault)
                self._pass_on(far, near, budget % 300 if back else None, fault)

    def _pass_on(self, source, target, budget, fault):
        """Pass bytes on in a thread; after `budget` of them the fault occurs."""

        def run():
            left = budget
            with contextlib.suppress(OSError):
                while data := source.recv(4096):
                    if left is not None and len(data) > left:
                        target.sendall(data[:left])
                        if fault == "breaks off":
                            for end in (source, target):
                                end.shutdown(socket.SHUT_RDWR)
                            return
                        while source.recv(4096):  # until the sender gives up
                            continue
                        break
                    target.sendall(data)
                    left = None if left is None else left - len(data)
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=run, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            end.close()


@contextlib.contextmanager
def proxy(port, faults, seed=0):
    made = Proxy(port, faults, seed)
    try:
        yield made
    finally:
        made.close()
