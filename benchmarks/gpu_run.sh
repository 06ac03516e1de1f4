#!/usr/bin/env bash
# One run on a machine with a GPU, without a network: build for its architecture, check every op against its definition,
# time the headline cases beside PyTorch, compute-sanitizer last. At most --limit seconds (480).
#
#   benchmarks/gpu_run.sh [--out FOLDER] [--device cpu] [--limit 480] [--no-build] [-- ARGUMENTS OF gpu_check.py]
#
# FOLDER (gpu_run/) gets gpu_check.json, written after every check and case, parts.jsonl with the seconds and exit code
# of every part, written after each, and a log of each. What is cut short loses nothing that was measured.
# Exit code: 0 all results are right, 1 some are wrong or missing, 2 the build failed. Times decide nothing.
# PYTHON names the interpreter, which has torch, pybind11, CMake and ninja.
set -uo pipefail
cd "$(dirname "$0")/.."
out=gpu_run device=cuda limit=480 build=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    --no-build) build=no; shift ;;
    --) shift; break ;;
    *) printf 'gpu_run: unknown option %s\n' "$1" >&2; exit 2 ;;
  esac
done
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
begun=$SECONDS
: >"$out/parts.jsonl"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

# part NAME SECONDS COMMAND …: runs it for as long as is left, but SECONDS at most, and writes how it went
part() {
  local name=$1 most=$2 started=$SECONDS left=$((limit - (SECONDS - begun))) rc
  shift 2
  [ "$most" -lt "$left" ] && left=$most
  if [ "$left" -lt 5 ]; then
    printf '{"part":"%s","seconds":0,"rc":"no time left"}\n' "$name" | tee -a "$out/parts.jsonl"
    return 124
  fi
  timeout --kill-after=5 "$left" "$@" >"$out/$name.log" 2>&1
  rc=$?
  printf '{"part":"%s","seconds":%d,"limit":%d,"rc":%d}\n' "$name" $((SECONDS - started)) "$left" "$rc" |
    tee -a "$out/parts.jsonl"
  return $rc
}

build_module() {
  local cuda=OFF architecture=native
  if [ "$device" = cuda ]; then
    cuda=ON
    architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .) || return 1
    [ "$architecture" = 90 ] && architecture=90a # wgmma
    architecture=$architecture-real
  fi
  cmake -G Ninja -S . -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DSKBUILD_PROJECT_NAME=sac_fast \
    -DSKBUILD_PROJECT_VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" -DSAC_FAST_CUDA=$cuda \
    -DCMAKE_CUDA_ARCHITECTURES="$architecture" -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" &&
    cmake --build "$out/build" && cp "$out"/build/_C*.so sac_fast/
}

check() { "$python" benchmarks/gpu_check.py --device "$device" --out "$out/gpu_check.json" "$@"; }
export -f build_module check
export out device python

if [ "$build" = yes ]; then
  part build 200 bash -c build_module || exit 2
fi
part checks 240 bash -c 'check --only checks "$@"' check --limit 60 "$@"
part times 150 bash -c 'check --only ceilings times --quick "$@"' check --limit 60 "$@"
[ "$device" = cpu ] || part sanitizer 120 bash -c 'check --only sanitizer --quick "$@"' check --limit 100 "$@"

# Only results decide: all checks were made, and all are right.
"$python" - "$out/gpu_check.json" "$out/parts.jsonl" <<'END'
import json, pathlib, sys

try:
    checks = json.loads(pathlib.Path(sys.argv[1]).read_text())["checks"]
except (OSError, ValueError, KeyError):
    sys.exit("gpu_run: no check was made")
parts = [json.loads(line) for line in pathlib.Path(sys.argv[2]).read_text().splitlines()]
wrong = [row["case"] for row in checks if not row["ok"]]
cut = [part["part"] for part in parts if part["part"] == "checks" and part["rc"] in (124, 137, "no time left")]
print(f"{len(checks) - len(wrong)} of {len(checks)} results right" + (", cut short" if cut else ""), *wrong[:20], sep="\n  ")
sys.exit(1 if wrong or cut or not checks else 0)
END
