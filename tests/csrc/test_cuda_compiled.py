"""What nvcc makes of the CUDA kernels: registers suffice, and the tensor cores are where they should be."""

import pathlib
import re
import shutil
import subprocess

import pytest

from sac_fast import _backend, capabilities

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted(path.stem for path in (ROOT / "csrc/cuda").glob("*.cu"))
ARCHITECTURES = ("80", "90a")
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
CUOBJDUMP = shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump")
CASES = [(file, architecture) for file in FILES for architecture in ARCHITECTURES]

needs_nvcc = pytest.mark.skipif(NVCC is None or not FILES, reason="needs nvcc and the source tree")
needs_cuobjdump = pytest.mark.skipif(CUOBJDUMP is None, reason="needs cuobjdump")


@needs_nvcc
@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ("9.0\n9.0\n", "90a-real"),
        ("8.9\n8.6\n", "89-real;86-real"),
        ("99.9\n", "80-real;90a-real;80-virtual"),  # newer than the compiler
        ("7.5\n", "80-real;90a-real;80-virtual"),
        ("No devices were found\n", "80-real;90a-real;80-virtual"),
        (None, "80-real;90a-real;80-virtual"),
    ],
)
def test_architectures_of_the_build(tmp_path, capabilities, expected):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 9\n" if capabilities is None else f"#!/bin/sh\nprintf '{capabilities}'\n")
    smi.chmod(0o755)
    script = tmp_path / "ask.cmake"
    script.write_text(
        f"include({ROOT / 'csrc/cuda/architectures.cmake'})\nset(CMAKE_CUDA_COMPILER {NVCC})\n"
        f'set(SAC_NVIDIA_SMI {smi})\nsac_cuda_architectures(found)\nmessage("found=${{found}}=")\n'
    )
    answer = subprocess.run(["cmake", "-P", script], capture_output=True, text=True)
    assert f"found={expected}=" in answer.stderr, answer.stderr


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Object file and ptxas's report of a source for one architecture."""
    made = {}

    def compile_(file, architecture):
        if (file, architecture) not in made:
            target = tmp_path_factory.mktemp("cuda") / f"{file}.o"
            flags = ["-std=c++17", "-O3", "-DSAC_CUDA_SM90A", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
            code = f"arch=compute_{architecture},code=sm_{architecture}"
            command = [
                NVCC,
                *flags,
                "-gencode",
                code,
                "-Xptxas",
                "-v",
                "-c",
                ROOT / f"csrc/cuda/{file}.cu",
                "-o",
                target,
            ]
            run = subprocess.run(command, capture_output=True, text=True)
            assert run.returncode == 0, run.stderr
            made[file, architecture] = target, run.stdout + run.stderr
        return made[file, architecture]

    return compile_


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize(("file", "architecture"), CASES)
def test_no_kernel_spills_registers(compiled, file, architecture):
    _, report = compiled(file, architecture)
    kernels = re.findall(r"Compiling entry function '(\w+)'", report)
    used = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert kernels
    assert len(used) >= len(kernels)
    assert {numbers for numbers in used} == {("0", "0", "0")}, report
    # ptxas says so when it cannot run wgmma asynchronously
    assert "warning" not in report.lower(), report


@needs_nvcc
@needs_cuobjdump
@pytest.mark.slow
@pytest.mark.parametrize(("file", "architecture"), [case for case in CASES if case[0].startswith("correlation_")])
def test_products_are_on_tensor_cores(compiled, file, architecture):
    check_tensor_cores(dump(compiled(file, architecture)[0], "-sass"), architecture)


def dump(target, *what):
    return subprocess.run([CUOBJDUMP, *what, target], capture_output=True, text=True, check=True).stdout


def check_tensor_cores(sass, architecture):
    functions = dict(re.findall(r"Function : (\S+)(.*?)(?=Function : |\Z)", sass, flags=re.S))
    assert functions
    for name, body in functions.items():
        kind = "HGMMA" if "warpgroup_kernel" in name else "HMMA" if "warp_kernel" in name else None
        if kind == "HGMMA" and architecture != "90a":
            continue  # empty there
        assert kind is None or f" {kind}." in body, name
        assert not re.search(r" (LDL|STL)\b", body), name  # nothing in local memory


@pytest.fixture(scope="module")
def resources():
    """What the kernels of the module under test use: (architecture, kernel, bytes of stack, bytes of local memory)."""
    if not capabilities()["cuda_compiled"]:
        pytest.skip("needs a module with CUDA kernels")
    found, architecture = [], None
    for line in dump(_backend.compiled("cpu").__file__, "-res-usage").splitlines():
        if match := re.match(r"arch = (\w+)", line):
            architecture = match[1]
        elif match := re.match(r" Function (\S+):", line):
            kernel = match[1]
        elif match := re.search(r"STACK:(\d+) .*LOCAL:(\d+)", line):
            found.append((architecture, kernel, int(match[1]), int(match[2])))
    return found


@needs_cuobjdump
def test_no_kernel_of_the_module_spills_registers(resources):
    built = {name.removesuffix("-real") for name in capabilities()["cuda_architectures"] if name.endswith("-real")}
    for architecture in built:
        kernels = {kernel for found, kernel, _, _ in resources if found == f"sm_{architecture}"}
        # every file that has kernels: nearest_models_cuda.cu has nearest_models_kernel, …
        for name in {file.removesuffix("_cuda") for file in FILES}:
            assert any(f"{name}_" in kernel for kernel in kernels), (architecture, name)
    assert [row for row in resources if row[2:] != (0, 0)] == []


@needs_cuobjdump
def test_the_module_multiplies_on_tensor_cores(resources):
    kernels = {kernel for architecture, kernel, _, _ in resources if architecture == "sm_90a" and "_warp" in kernel}
    if not kernels:
        pytest.skip("the module has no kernels for sm_90a")
    assert any("warpgroup_kernel" in kernel for kernel in kernels)
    module = _backend.compiled("cpu").__file__
    check_tensor_cores(dump(module, "-sass", "-arch", "sm_90a", "-fun", ",".join(sorted(kernels))), "90a")
