#!/usr/bin/env bash
# Proves the CUDA kernels on a machine with an NVIDIA driver: builds the library for its device, runs the test vectors,
# then compute-sanitizer on the small ones, then the benchmarks; writes benchmarks/results/<date>-<device>.json and .md.
#
#   scripts/gpu-check.sh [--build] [--conformance] [--sanitize] [--bench]     all of them where none is named
#     --vectors FOLDER   what `node scripts/write-vectors.mjs FOLDER` wrote; written here where there is Node
#     --out FOLDER       for the result (benchmarks/results)
#     --logs FOLDER      for everything that was printed (build/gpu-check/logs)
#     --minutes N        for all of it (9.5); what has no time left is told, not run
#     --device N, --architecture N (90 for 9.0; asked of the driver), --jobs N
#     --emulated         the same steps on the emulated devices, to test this script and the vectors without a GPU
#
# Needs cmake (or nvcc alone), a C++20 compiler and python3; no network. A step that fails does not keep the others from
# running. Closes with a table of the steps and `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 2

parts='' vectors='' out='' minutes=9.5 device=0 architecture='' emulated='' jobs=$(nproc)
work=build/gpu-check logs=build/gpu-check/logs
usage() { sed -n '2,15p' "$0" | sed 's/^# \?//'; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --build | --conformance | --sanitize | --bench) parts+=" ${1#--} " ;;
    --emulated) emulated=1 ;;
    --vectors | --out | --logs | --minutes | --device | --architecture | --jobs)
      [ $# -ge 2 ] || usage
      declare "${1#--}=$2"
      shift
      ;;
    *) usage ;;
  esac
  shift
done
[ -n "$parts" ] || parts=' build  conformance  sanitize  bench '
mkdir -p "$work" "$logs"
rm -f "$logs"/*.jsonl
started=$SECONDS
deadline=$(python3 -c "print(int(60 * $minutes))")
passed=0 failed=0 skipped=0
declare -a rows=()

# Adds a row to the summary: step, result in words, seconds.
report() {
  rows+=("$(printf '%-28s %-64s %5s s' "$1" "$2" "$3")")
  python3 -c 'import json, sys; print(json.dumps(dict(step=sys.argv[1], result=sys.argv[2], seconds=int(sys.argv[3]))))' \
    "$1" "$2" "$3" >>"$logs/summary.jsonl"
}
skip() {
  skipped=$((skipped + 1))
  report "$1" "skipped: $2" 0
}
# Runs a step for at most LIMIT seconds and what is left of all of them. Its output goes to a log; where that closes with
# counts (or has lines that begin with ok and FAILED), they are added.
step() {
  local name=$1 limit=$2 begin=$SECONDS log status=0 left result counts
  shift 2
  log=$logs/$(tr -c 'a-z0-9\n' - <<<"$name").log
  left=$((deadline - (SECONDS - started)))
  [ "$left" -ge 5 ] || { skip "$name" 'no time left'; return 1; }
  echo "== $name"
  timeout --kill-after=5 $((limit < left ? limit : left)) "$@" >"$log" 2>&1 || status=$?
  counts=$(tail -n 1 "$log" | grep -Eo '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$')
  [ -n "$counts" ] || counts="$(grep -c '^ok ' "$log") passed, $(grep -c '^FAILED ' "$log") failed, 0 skipped"
  local p f s
  read -r p _ f _ s _ <<<"$counts"
  # A step without counts of its own counts as one; one that fails has a failure.
  [ $((p + f)) -gt 0 ] || p=$((status == 0))
  [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || f=1
  passed=$((passed + p)) failed=$((failed + f))
  case $status in
    0) result=passed ;;
    124 | 137) result="ran out of time after $((SECONDS - begin)) s" ;;
    *) result="FAILED, status $status" ;;
  esac
  [ "$p$f" = 10 ] || result+=": $p passed, $f failed"
  [ "$f" -eq 0 ] || { grep -A3 '^FAILED ' "$log" | head -n 40; tail -n 15 "$log"; }
  report "$name" "$result" $((SECONDS - begin))
  return "$status"
}
wants() { [[ $parts == *" $1 "* ]]; }
has() { command -v "$1" >/dev/null 2>&1; }

# Compute capability of the device, as 90, from the driver itself.
device_architecture() {
  python3 - "$1" <<'PYTHON'
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
def check(status):
    if status != 0:
        sys.exit(f"the driver says {status}")
check(cuda.cuInit(0))
check(cuda.cuDeviceGet(ctypes.byref(device), int(sys.argv[1])))
check(cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device))
check(cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device))
print(10 * major.value + minor.value)
PYTHON
}

# Lists of native/sources.json.
sources() {
  python3 - "$1" <<'PYTHON'
import json, sys
lists = json.load(open("native/sources.json"))
if sys.argv[1] == "host":  # the runtime without Node, and without the CPU's kernels
    print(*[f for f in lists["base"] if not f.startswith("native/binding/") and f != "native/backends/cpu.cpp"], sep="\n")
elif sys.argv[1] == "module":
    print(*lists["cuda"], *lists["cudaRuntime"], sep="\n")
PYTHON
}

# Compiles a source where it, or any header, is newer than its object.
compile() {
  local source=$1 object=$objects/${1//\//_}.o
  if [ -e "$object" ] && [ "$object" -nt "$source" ] &&
    [ -z "$(find native test/cuda/conformance benchmarks/cuda -newer "$object" \( -name '*.h' -o -name '*.cuh' \) -print -quit)" ]; then
    return
  fi
  "${compiler[@]}" -c "$source" -o "$object.part" && mv "$object.part" "$object"
}
# compile_all COMPILER... : the sources on stdin into the folder $objects, `jobs` at a time.
compile_all() {
  export compiler_line="$*"
  mkdir -p "$objects"
  xargs -P "$jobs" -I{} bash -c 'read -ra compiler <<<"$compiler_line"; compile {}'
}
objects_of() { sed "s|/|_|g; s|^|$objects/|; s|$|.o|"; }

build_host() {
  local library bench conformance
  local -a files
  export objects=$work/host
  library=$(sources host)
  conformance=$(ls test/cuda/conformance/*.cpp)
  bench=$(ls benchmarks/cuda/*.cpp)
  printf '%s\n' $library $conformance $bench |
    compile_all "${CXX:-g++}" -std=c++20 -O2 -Inative -Itest/cuda/conformance -Ibenchmarks/cuda || return
  mapfile -t files < <(printf '%s\n' $library $conformance | objects_of)
  "${CXX:-g++}" "${files[@]}" -o "$work/conformance" -lpthread -ldl || return
  mapfile -t files < <(printf '%s\n' $library $bench test/cuda/conformance/vectors.cpp | objects_of)
  "${CXX:-g++}" "${files[@]}" -o "$work/bench" -lpthread -ldl
}

# The library with the device's own kernels, by CMake; by nvcc alone where that cannot.
real_architecture() { [ "$architecture" = 90 ] && echo 90a || echo "$architecture"; } # wgmma and its like
build_module() {
  local real
  real=$(real_architecture)
  if has cmake && cmake -S . -B "$work/cmake" -DKVASIR_CUDA=ON "-DKVASIR_CUDA_ARCHITECTURES=$real-real" &&
    cmake --build "$work/cmake" --target kvasir_cuda -j "$jobs"; then
    cp "$(find "$work/cmake" -name kvasir-cuda.so -print -quit)" "$module" && return
  fi
  echo "gpu-check: by nvcc alone"
  local -a files
  export objects=$work/module
  sources module | compile_all nvcc -std=c++20 -O3 -Inative \
    -gencode "arch=compute_$real,code=sm_$real" -Xcompiler -fPIC,-fvisibility=hidden || return
  mapfile -t files < <(sources module | objects_of)
  nvcc -shared -cudart static -Xlinker --version-script=native/exports-cuda.map "${files[@]}" -o "$module"
}
build_probe() {
  nvcc -std=c++20 -O3 -gencode "arch=compute_$(real_architecture),code=sm_$(real_architecture)" benchmarks/cuda/probe.cu -o "$work/probe"
}
build_emulated() { node scripts/build-emulated.mjs; }
write_vectors() {
  if [ -e "$vectors/programs.bin" ] &&
    [ -z "$(find lib test scripts/write-vectors.mjs -newer "$vectors/programs.bin" -print -quit)" ]; then
    return
  fi
  npm run --silent build:ts && node scripts/write-vectors.mjs "$vectors"
}
export -f build_host build_module build_probe build_emulated write_vectors real_architecture sources compile compile_all objects_of has

run_conformance() { "$work/conformance" "$module" "$vectors/vectors.bin" --device "$1"; }
# What the tools write goes between the lines of the conformance binary.
sanitize() { compute-sanitizer --tool "$1" --error-exitcode 9 "$work/conformance" "$module" "$vectors/vectors.bin" --small --device "$device"; }
run_probe() { "$work/probe" | tee "$logs/probe.jsonl"; }
run_bench() { "$work/bench" "$module" --device "$1" --programs "$vectors/programs.bin" "${@:2}" | tee "$logs/bench.jsonl"; return "${PIPESTATUS[0]}"; }
run_generate() { node benchmarks/cuda/generate.mjs "$module" --device "$1" "${@:2}" | tee -a "$logs/bench.jsonl"; return "${PIPESTATUS[0]}"; }
export -f run_conformance sanitize run_probe run_bench run_generate
results() {
  local commit
  commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
  [ -z "$(git status --porcelain -- native benchmarks 2>/dev/null)" ] || commit+='+changes'
  python3 scripts/gpu-results.py "$logs" --out "$out" --commit "$commit"
}
export -f results

if [ -n "$emulated" ]; then
  module=${KVASIR_EMULATED_MODULE:-build/emulated/kvasir-cuda-emulated.so}
  out=${out:-$work/results}
else
  module=$work/kvasir-cuda.so
  out=${out:-benchmarks/results}
  if [ -z "$architecture" ]; then
    architecture=$(device_architecture "$device") || architecture=''
  fi
fi
given_vectors=$vectors
vectors=${vectors:-$work/vectors}
export work logs module vectors out device architecture jobs

if wants build; then
  step 'conformance and benchmark' 300 bash -c build_host
  if [ -n "$emulated" ]; then
    if has node && [ -z "${KVASIR_EMULATED_MODULE:-}" ]; then step 'emulated library' 900 bash -c build_emulated; fi
  elif ! has nvcc; then
    skip 'kvasir-cuda.so' 'no nvcc'
  elif [ -z "$architecture" ]; then
    skip 'kvasir-cuda.so' 'the driver shows no device; --architecture builds without one'
  else
    step 'kvasir-cuda.so' 420 bash -c build_module
    step 'probe' 60 bash -c build_probe
  fi
  if [ -z "$given_vectors" ]; then
    if has node; then
      step 'vectors' 300 bash -c write_vectors
    else
      skip 'vectors' 'no Node, and no --vectors'
    fi
  fi
fi

ready=''
if [ ! -x "$work/conformance" ]; then
  ready='nothing was built'
elif [ ! -e "$module" ]; then
  ready='there is no CUDA library'
elif [ ! -e "$vectors/vectors.bin" ]; then
  ready="there is no $vectors/vectors.bin"
fi

if wants conformance; then
  if [ -n "$ready" ]; then
    skip 'conformance' "$ready"
  elif [ -n "$emulated" ]; then
    for index in 0 1; do step "conformance, device $index" 1500 bash -c "run_conformance $index"; done
  else
    step 'conformance' 150 bash -c "run_conformance $device"
  fi
fi

if wants sanitize && [ -z "$emulated" ]; then
  for tool in memcheck racecheck synccheck; do
    if [ -n "$ready" ]; then
      skip "$tool" "$ready"
    elif ! has compute-sanitizer; then
      skip "$tool" 'no compute-sanitizer'
    else
      step "$tool" 75 bash -c "sanitize $tool"
    fi
  done
fi

if wants bench; then
  if [ -n "$ready" ]; then
    skip 'benchmarks' "$ready"
  else
    if [ -n "$emulated" ]; then
      step 'benchmarks, tiny' 600 bash -c 'run_bench 1 --tiny'
      through_node=(1 --tiny)
    else
      if [ -x "$work/probe" ]; then step 'probe of the device' 30 bash -c run_probe; else skip 'probe of the device' 'not built'; fi
      step 'benchmarks' 240 bash -c 'run_bench "$device"'
      through_node=("$device")
    fi
    if has node && [ -e build/Release/kvasir.node ] && [ -e dist/index.js ]; then
      step 'generation from JavaScript' 120 bash -c 'run_generate "$@"' _ "${through_node[@]}"
    else
      skip 'generation from JavaScript' 'no Node, or the package is not built'
    fi
    step 'result' 120 bash -c results
    grep -v '^gpu-results:' "$logs/result.log"
  fi
fi

echo
printf '%s\n' "${rows[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
