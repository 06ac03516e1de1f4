"""What nvcc makes of the sweeps' inner loops: how many instructions an absolute difference costs.

Registers and spills: tests/csrc/test_cuda_compiled.py, of all CUDA sources.
"""

import collections
import re
import shutil
import subprocess

import pytest
from support import emulated_sweep

ROOT = emulated_sweep.ROOT
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
CUOBJDUMP = shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump")
PAIRS = 64  # of a thread
# Form: what does the work, how many of them a chunk of 16 bytes of all pairs needs, entries of a chunk, and at most so
# many instructions for a difference. float32 cannot be below 2, uint8 below ¼: one VABSDIFF4 for four differences.
LOOPS = {
    "Float32Chunks": (("FADD",), 8 * PAIRS, 4, 2.2),
    "Float16Chunks": (("HADD2", "HFMA2"), 9 * PAIRS, 8, 1.5),
    "Uint8Chunks": (("VABSDIFF4",), 4 * PAIRS, 16, 0.3),
    "Float64Chunks": (("DADD",), 4 * PAIRS, 2, 2.4),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NVCC is None or CUOBJDUMP is None, reason="needs nvcc and cuobjdump"),
]


def loops_of(body):
    """Opcodes of every backward branch's loop."""
    code = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_]*)([^;]*);", body)
    places = {int(address, 16): i for i, (address, *_) in enumerate(code)}
    for i, (address, opcode, rest) in enumerate(code):
        target = re.search(r"0x([0-9a-f]+)", rest)
        if opcode == "BRA" and target and int(target[1], 16) < int(address, 16):
            yield [each[1] for each in code[places[int(target[1], 16)] : i + 1]]


@pytest.mark.parametrize("architecture", ["80", "90a"])
@pytest.mark.parametrize("source", emulated_sweep.SOURCES)
def test_inner_loops_are_little_but_arithmetic(tmp_path, source, architecture):
    made = tmp_path / "sweep.cubin"
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
    code = ["-gencode", f"arch=compute_{architecture},code=sm_{architecture}", "-cubin"]
    file = ROOT / f"csrc/cuda/{source}.cu"
    subprocess.run([NVCC, "-std=c++17", "-O3", *include, *code, file, "-o", made], check=True, capture_output=True)
    sass = subprocess.run([CUOBJDUMP, "-sass", made], capture_output=True, text=True, check=True).stdout
    functions = re.findall(r"Function : (\S+)(.*?)(?=Function : |\Z)", sass, flags=re.S)
    assert functions
    for name, body in functions:
        form = next(form for form in LOOPS if form in name)
        opcodes, wanted, entries, most = LOOPS[form]
        inner = min((loop for loop in loops_of(body) if collections.Counter(loop)["LDS"] >= 16), key=len)
        counts = collections.Counter(inner)
        assert sum(counts[opcode] for opcode in opcodes) >= wanted, (name, counts)
        assert len(inner) / (PAIRS * entries) <= most, (name, counts)
        assert counts["LDS"] == 16, (name, counts)  # 16 bytes each
        assert not re.search(r" (LDL|STL)\b", body), name
        assert body.count("LDGSTS") >= 8
