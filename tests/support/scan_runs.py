"""Scans with real worker processes that outlive one scan."""

import dataclasses

from sac_fast.models import ModelEntry
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.scan.pool import WorkerPool
from sac_fast.scan.run import scan_models as scan
from support import scan_models

PROBES = scan_models.probes()
SETTINGS = WorkerSettings(timeout=60, memory_bytes=600 << 20, architectures=(scan_models.SPEC,))


class Kept(WorkerPool):
    """Workers that outlive a scan, since their start takes seconds."""

    submitted = 0

    def close(self):
        pass

    def submit(self, job):
        self.submitted += 1
        super().submit(job)

    def limit(self, **changes):
        self._settings = dataclasses.replace(SETTINGS, **changes)


def entry(folder, name, seed=0, **kwargs):
    path = folder / f"{name}.safetensors"
    scan_models.weights(path, seed)
    return ModelEntry(name, path, scan_models.SPEC, kwargs)


def run_scan(entries, store, pool, **options):
    events = {}
    summary = scan(
        entries,
        PROBES,
        store,
        workers=pool,
        on_event=lambda e: events.update({e["name"]: e}),
        **{"settings": SETTINGS, **options},
    )
    return summary, events
