"""Times correlation_distance beside its peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("correlation_distance", __doc__)
