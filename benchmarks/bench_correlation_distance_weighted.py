"""Times correlation_distance_weighted beside its peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("correlation_distance_weighted", __doc__)
