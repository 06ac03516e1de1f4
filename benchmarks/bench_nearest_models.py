"""Times nearest_models beside its peers; results are checked first."""

from sac_fast.bench.script import main

if __name__ == "__main__":
    main("nearest_models", __doc__)
