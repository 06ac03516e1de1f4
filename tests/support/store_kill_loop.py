"""Kills a process that adds to a store, again and again: ``store_kill_loop.py FOLDER KILLS SEED`` prints one JSON line.

It forks from a process that has imported everything, since a start takes longer than what is to be interrupted.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from sac_fast.store import ModelStore, check_store, export_models
from support.store_models import model, result

FAILS_EACH = 5


def add(store: ModelStore, numbers: list[int]) -> None:
    """Numbers divisible by five are failures, the others results."""
    store.add_results([result(i) for i in numbers if i % FAILS_EACH])
    for i in numbers:
        if i % FAILS_EACH == 0:
            store.add_failure(model(i), "timeout", f"number {i}")


def child(folder: Path, say: int, seed: int) -> None:
    draw = random.Random(seed)
    with ModelStore.open(folder, write=True, create=True) as store:
        known = {int(record.name[-4:]) for record in store.records()}
        number = 0
        while True:
            todo: list[int] = []
            while len(todo) < draw.choice((1, 1, 7)):
                if number not in known:
                    todo.append(number)
                number += 1
            add(store, todo)
            os.write(say, "".join(f"{i}\n" for i in todo).encode())


def main(folder: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    acknowledged: set[int] = set()
    lost = torn = unclean = 0
    # How long until a child has said something: the machine's speed at present decides when killing makes sense.
    window = None
    for kill in range(kills):
        hear, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(hear)
                child(folder / "killed", say, seed + kill)
            finally:
                os._exit(1)
        os.close(say)
        if window is None:
            start = time.monotonic()
            select.select([hear], [], [], 60)
            window = 2 * (time.monotonic() - start)
        else:
            time.sleep(draw.uniform(0, window))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"the child ended by itself, status {status}")
        with os.fdopen(hear) as lines:
            acknowledged |= {int(line) for line in lines.read().split()}
        if not (folder / "killed" / "zoo.sqlite").exists():
            lost += len(acknowledged)
            continue
        with ModelStore.open(folder / "killed", write=False) as store:
            records = list(store.records())
            lost += len(acknowledged - {int(record.name[-4:]) for record in records})
            for record in records:
                if record.status == "done":
                    store.outputs(record)
            found = [finding.kind for finding in check_store(store).findings]
        torn += sum(kind in ("orphaned", "left-over") for kind in found)
        unclean += sum(kind not in ("orphaned", "left-over") for kind in found)
    last = max(acknowledged, default=0) + 20
    for name, numbers in (("killed", range(last)), ("undisturbed", range(last - 1, -1, -1))):
        with ModelStore.open(folder / name, write=True, create=True) as store:
            add(store, list(numbers))
            export_models(store, folder / f"{name}.csv")
            found = [finding.kind for finding in check_store(store).findings]
            unclean += len(found)
    print(json.dumps({"acknowledged": len(acknowledged), "lost": lost, "torn": torn, "unclean": unclean}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
