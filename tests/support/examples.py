"""Runs the examples in docstrings."""

import doctest
import types


def documented(module):
    """Names of the functions and classes that a package exports."""
    public = {name: getattr(module, name) for name in module.__all__}
    return [name for name, value in public.items() if isinstance(value, (type, types.FunctionType))]


def run_examples(module, name, **names):
    """Run the examples of one exported object, at least one: they see its own module, the package and `names`."""
    finder = doctest.DocTestFinder(recurse=False)
    seen = {**vars(module), **names, "__name__": "example"}
    tests = finder.find(getattr(module, name), name, extraglobs=seen)
    assert sum(len(test.examples) for test in tests) > 0, f"{name} has no example"
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.REPORT_NDIFF)
    output = []
    for test in tests:
        runner.run(test, out=output.append)
    assert not runner.failures, "".join(output)
