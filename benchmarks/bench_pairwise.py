"""Times pairwise_correlation_distances and nearest_models beside their peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("zoo", __doc__)
