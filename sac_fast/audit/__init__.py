"""One case from files to verdicts: probes, siblings, fingerprints, queries, results in one folder."""
