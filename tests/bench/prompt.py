"""Measures programs that a person types at, on terminals of their own: until the prompt is there, and until Tab has
completed a word."""
import os
import pty
import select
import time
from dataclasses import dataclass, field

from measure import Failed, Sample

LIMIT = 30  # seconds for one answer


@dataclass
class Typed:
    name: str
    argv: list
    prompt: bytes     # what stands there once it is ready
    word: bytes       # the beginning of a word
    completed: bytes  # what Tab makes of it
    env: dict = field(default_factory=dict)
    at_most: float = None  # neap / peer
    aim: float = None


def wait_for(terminal, seen, text):
    limit = time.perf_counter() + LIMIT
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, limit - time.perf_counter()))
        piece = os.read(terminal, 65536) if ready else b""
        if not piece:
            raise Failed(f"no {text!r} in {seen[-500:]!r}")
        seen += piece
    return seen


def start(peer):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(peer.argv[0], peer.argv, {**os.environ, "TERM": "xterm", "COLUMNS": "80", **peer.env})
    return pid, terminal


def finish(pid, terminal):
    os.write(terminal, b"\x15\x04")  # nothing on the line, then the end of input
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass  # it has ended
    _, _, used = os.wait4(pid, 0)
    os.close(terminal)
    return used


def run_once(peer):
    """The samples of one start: until the prompt, and until the word is whole."""
    begun = time.perf_counter()
    pid, terminal = start(peer)
    wait_for(terminal, b"", peer.prompt)
    ready = time.perf_counter()
    os.write(terminal, peer.word)
    wait_for(terminal, b"", peer.word)
    typed = time.perf_counter()
    os.write(terminal, b"\t")
    wait_for(terminal, b"", peer.completed)
    completed = time.perf_counter()
    used = finish(pid, terminal)
    return Sample(ready - begun, used.ru_utime + used.ru_stime, used.ru_maxrss << 10), Sample(completed - typed, 0)


def at_prompts(peers, rounds):
    """Samples by name, of the start and of Tab."""
    ready, tab = {peer.name: [] for peer in peers}, {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            first, second = run_once(peer)
            if number:
                ready[peer.name].append(first)
                tab[peer.name].append(second)
    return ready, tab
