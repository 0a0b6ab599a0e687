"""Measures commands side by side: one run of each in turn, so that the noise of the machine meets all of them alike."""
import os
import re
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass, field

LIMIT = 600  # seconds for one run of one command


class Failed(Exception):
    """A command that should be measured did not work."""


@dataclass
class Sample:
    wall: float  # seconds
    cpu: float   # seconds, of the process and the children it has waited for
    most: int = 0  # bytes of memory, of the largest of them


@dataclass
class Peer:
    name: str
    argv: list
    env: dict = field(default_factory=dict)
    at_most: float = None  # neap / peer, on medians of wall time
    aim: float = None


def last_words(log):
    with open(log, errors="replace") as text:
        return text.read()[-2000:]


def expired(*_):
    raise Failed(f"took longer than {LIMIT} s")


def run_once(peer, log, times):
    """One sample: the mean of `times` runs in a row. Popen would add its own milliseconds."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    files = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    environment = {**os.environ, **peer.env}
    cpu = most = 0
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(LIMIT)
    try:
        begun = time.perf_counter()
        for _ in range(times):
            pid = os.posix_spawnp(peer.argv[0], peer.argv, environment, file_actions=files)
            try:
                _, status, used = os.wait4(pid, 0)
            except Failed:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            cpu += used.ru_utime + used.ru_stime
            most = max(most, used.ru_maxrss << 10)
            if status != 0:
                raise Failed(f"{' '.join(peer.argv)} ended with {os.waitstatus_to_exitcode(status)}\n{last_words(log)}")
        return Sample((time.perf_counter() - begun) / times, cpu / times, most)
    finally:
        signal.alarm(0)
        os.close(out)
        os.close(null)


def side_by_side(peers, rounds, log, times=1, before=lambda: None, after=lambda: None, warm_up=1):
    """Samples of each peer by name. before and after are called round each run, untimed. The first rounds warm up."""
    samples = {peer.name: [] for peer in peers}
    for number in range(1 - warm_up, rounds + 1):
        for peer in peers:
            before()
            sample = run_once(peer, log, times)
            after()
            if number > 0:
                samples[peer.name].append(sample)
    return samples


def reported(peers, rounds, log):
    """The same for commands that measure themselves and print `seconds N`, of one unit."""
    samples = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            result = subprocess.run(peer.argv, env={**os.environ, **peer.env}, capture_output=True, text=True,
                                    timeout=LIMIT, check=False)
            seconds = re.search(r"^seconds\s+(\S+)$", result.stdout, re.MULTILINE)
            if result.returncode != 0 or not seconds:
                raise Failed(f"{peer.name}: {(result.stdout + result.stderr)[-2000:]}")
            if number:
                samples[peer.name].append(Sample(float(seconds[1]), 0))
    return samples


def median(samples):
    return statistics.median(sample.wall for sample in samples)


def verdict(ratio, peer):
    if peer.at_most is None:
        return ""
    if ratio > peer.at_most:
        return "missed"
    return "met, aim too" if peer.aim and ratio <= peer.aim else "met"


def goal_text(limit):
    if limit is None:
        return ""
    return f"<= 1/{1 / limit:.0f}" if limit < 0.2001 else f"<= {limit:g}"


def show(title, samples, peers):
    """Prints the table of one goal; neap is the first of the peers. Returns how many goals were missed."""
    ours = median(samples[peers[0].name])
    missed = 0
    print(f"\n{title}")
    print(f"  {'':44} {'median':>10} {'least':>10} {'CPU':>10} {'memory':>7}  {'neap/peer':>9}  {'goal':<8}")
    for peer in peers:
        found = samples[peer.name]
        ratio, least = ours / median(found), min(sample.wall for sample in found)
        cpu = statistics.median(sample.cpu for sample in found)
        word = verdict(ratio, peer)
        missed += word == "missed"
        compared = f"{ratio:9.3f}  {goal_text(peer.at_most):<8} {word}" if peer is not peers[0] else ""
        most = max(sample.most for sample in found)
        memory = f"{most / 1e6:4.0f} MB" if most else ""
        figures = f"{median(found) * 1e3:7.2f} ms {least * 1e3:7.2f} ms {cpu * 1e3:7.1f} ms {memory:>7}"
        print(f"  {peer.name:44} {figures}  {compared}".rstrip())
    return missed


def show_growth(rows):
    """Prints rows of growth.lua: name, small, large, unit, ratio, goal. Returns how many goals were missed."""
    missed = 0
    for name, small, large, unit, ratio, goal in rows:
        met = float(ratio) <= float(goal)
        missed += not met
        print(f"  {name:52} {small:>8} {large:>8} {unit:3} {ratio:>8}  <= {goal:<4} {'met' if met else 'missed'}")
    return missed
