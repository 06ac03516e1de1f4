#!/usr/bin/env bash
# One run on a machine with a GPU, without a network: build for its architecture, check every op against its definition,
# time the headline cases beside PyTorch, compute-sanitizer last. At most --limit seconds (480).
#
#   benchmarks/gpu_run.sh [--out FOLDER] [--device cpu] [--limit 480] [--build-limit 200] [--no-build]
#                        [-- ARGUMENTS OF gpu_check.py]
#
# FOLDER (gpu_run/) gets gpu_check.json, written after every check and case, parts.jsonl with the seconds and exit code
# of every part, written after each, and a log of each; a gpu_check.json of an earlier run is kept as
# gpu_check.previous.json. What is cut short loses nothing that was measured. SIGTERM ends the part that runs and the run.
# Exit code: 0 all results are right, 1 some are wrong or missing, 2 the module was not built or does not load (then only
# what needs no kernels is run), 3 a signal ended the run and nothing was wrong before. Times decide nothing.
# PYTHON names the interpreter, which has torch, pybind11, CMake and ninja.
set -uo pipefail
cd "$(dirname "$0")/.."
out=gpu_run device=cuda limit=480 build_limit=200 build=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    --build-limit) build_limit=$2; shift 2 ;;
    --no-build) build=no; shift ;;
    --) shift; break ;;
    *) printf 'gpu_run: unknown option %s\n' "$1" >&2; exit 2 ;;
  esac
done
python=${PYTHON:-python3}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
begun=$SECONDS running='' ended=''
: >"$out/parts.jsonl"
# results of an earlier run must not pass for this one's
[ ! -e "$out/gpu_check.json" ] || mv "$out/gpu_check.json" "$out/gpu_check.previous.json"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
# seconds of the limit that are kept for ending what hangs and for the summary
spare=10

# `timeout` hands the signal on to the part's processes
trap 'ended=yes; [ -z "$running" ] || kill -TERM "$running" 2>/dev/null' TERM INT HUP

note() { printf '{"part":"%s","seconds":%d,"limit":%d,"rc":%s}\n' "$@" | tee -a "$out/parts.jsonl"; }

# part NAME SECONDS COMMAND …: runs it for as long as is left, but SECONDS at most, and writes how it went
part() {
  local name=$1 most=$2 started=$SECONDS left=$((limit - spare - (SECONDS - begun))) rc
  shift 2
  [ -z "$ended" ] || return 143
  [ "$most" -lt "$left" ] && left=$most
  if [ "$left" -lt 5 ]; then
    note "$name" 0 0 '"no time left"'
    return 124
  fi
  timeout --kill-after=5 "$left" "$@" >"$out/$name.log" 2>&1 </dev/null &
  running=$!
  [ -z "$ended" ] || kill -TERM "$running"
  wait "$running"
  rc=$?
  # a signal ends `wait` before the part has ended
  while kill -0 "$running" 2>/dev/null; do
    wait "$running"
    rc=$?
  done
  running=''
  if [ -n "$ended" ]; then
    note "$name" $((SECONDS - started)) "$left" '"signal"'
    return 143
  fi
  note "$name" $((SECONDS - started)) "$left" "$rc"
  return $rc
}

build_module() {
  set -o pipefail
  local cuda=OFF architecture=native
  if [ "$device" = cuda ]; then
    cuda=ON
    architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .) && [ -n "$architecture" ] || return 1
    [ "$architecture" = 90 ] && architecture=90a # wgmma
    architecture=$architecture-real
  fi
  # removed first: a process that has the old module loaded keeps it whole
  cmake -G Ninja -S . -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DSKBUILD_PROJECT_NAME=sac_fast \
    -DSKBUILD_PROJECT_VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" -DSAC_FAST_CUDA=$cuda \
    -DCMAKE_CUDA_ARCHITECTURES="$architecture" -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" &&
    cmake --build "$out/build" && cp --remove-destination "$out"/build/_C*.so sac_fast/
}

# `exec`: the signal of `timeout` reaches Python, which then writes what it has, and the part ends no sooner than that
check() { exec "$python" benchmarks/gpu_check.py --device "$device" --out "$out/gpu_check.json" "$@"; }
load() { exec "$python" -c 'import sys; from sac_fast import _backend; print(_backend.compiled(sys.argv[1]))' "$device"; }
export -f build_module check load
export out device python
sizes=headline
[ "$device" = cuda ] || sizes=quick

built=yes
if [ "$build" = yes ]; then
  part build "$build_limit" bash -c build_module || built=no
fi
if [ $built = yes ]; then
  part load 60 bash -c load || built=no
fi
if [ $built = yes ]; then
  part checks 240 bash -c 'check --only checks --limit 60 "$@"' check "$@"
  part times 150 bash -c 'check --only ceilings times --sizes "$@"' check $sizes --limit 60 "$@"
  [ "$device" = cpu ] || part sanitizer 120 bash -c 'check --only sanitizer "$@"' check --limit 55 "$@"
else
  part formulas 120 bash -c 'check --only checks --limit 60 --cases comparisons gradients' check
  part ceilings 60 bash -c 'check --only ceilings --limit 60 --sizes "$0"' $sizes
fi
"$python" benchmarks/gpu_run_summary.py "$out"
