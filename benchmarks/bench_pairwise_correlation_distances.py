"""Times pairwise_correlation_distances beside its peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("pairwise_correlation_distances", __doc__)
