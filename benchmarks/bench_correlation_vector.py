"""Times correlation_vector beside its peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("correlation_vector", __doc__)
