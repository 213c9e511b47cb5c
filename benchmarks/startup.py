"""What `--help` costs beside the bare interpreter: `python benchmarks/startup.py [ROUNDS]`.

The commands are run in turn, so that a machine that slows down slows all of them; medians and fastest, wall clock.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import click'": ["-c", "import click"],
    "python -m arena --help": ["-m", "arena", "--help"],
    "python -m arena run --help": ["-m", "arena", "run", "--help"],
    "python -m arena list models": ["-m", "arena", "list", "models"],
}


def main(rounds: int) -> None:
    """Prints one line a command: median and fastest in milliseconds, and the median's distance from the interpreter's."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, args in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *args], capture_output=True, check=True)
            times[name].append((time.perf_counter() - begun) * 1000)
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':<30}{'median ms':>10}{'fastest ms':>12}{'over bare':>11}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<30}{median:>10.0f}{min(values):>12.0f}{median - bare:>11.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
