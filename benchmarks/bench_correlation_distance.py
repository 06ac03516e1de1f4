"""Times correlation_distance and correlation_distances beside their peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("pair", __doc__)
