// Runs the project's test vectors on a GPU, without Node.
//
//   conformance MODULE VECTORS [--device N] [--filter TEXT] [--small] [--list]
//
// MODULE is the CUDA library or its emulated twin, VECTORS what scripts/write-vectors.mjs wrote. Closes with
// `N passed, N failed, N skipped`; --filter takes the cases whose names hold the text (or, given again, one of the
// texts), --small those for tools under which kernels are a hundred times slower.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "backends/cuda.h"
#include "case-run.h"
#include "vectors.h"

namespace kvasir::conformance {

namespace {

struct Options {
  std::string module, vectors;
  std::vector<std::string> filters;
  int device = 0;
  bool small = false, list = false;
};

Options parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> places;
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    auto value = [&] {
      if (i + 1 == argc) throw std::invalid_argument(argument + " needs a value");
      return std::string(argv[++i]);
    };
    if (argument == "--device") {
      options.device = std::stoi(value());
    } else if (argument == "--filter") {
      options.filters.push_back(value());
    } else if (argument == "--small") {
      options.small = true;
    } else if (argument == "--list") {
      options.list = true;
    } else if (argument.rfind("--", 0) == 0) {
      throw std::invalid_argument("unknown option " + argument);
    } else {
      places.push_back(argument);
    }
  }
  if (places.size() != 2) throw std::invalid_argument("MODULE and VECTORS are needed");
  options.module = places[0];
  options.vectors = places[1];
  return options;
}

bool wanted(const Case& one, const Options& options) {
  const auto is_in_name = [&](const std::string& text) { return one.name.find(text) != std::string::npos; };
  const auto& filters = options.filters;
  return (!options.small || one.small) &&
         (filters.empty() || std::any_of(filters.begin(), filters.end(), is_in_name));
}

std::shared_ptr<CudaBackend> open(const Options& options) {
  const cuda::Availability found = cuda::find_module(options.module);
  if (!found.reason.empty()) throw Error(ErrorKind::kDevice, found.reason);
  if (options.device < 0 || options.device >= found.devices)
    throw Error(ErrorKind::kDevice, "there are " + std::to_string(found.devices) + " devices");
  auto backend = std::make_shared<CudaBackend>(*found.module, options.device, 2);
  const cuda::DeviceInfo& info = backend->device().info();
  std::printf("%s, compute capability %d.%d, driver %d, runtime %d\n", info.name, info.architecture / 10,
              info.architecture % 10, info.driver_version, info.runtime_version);
  return backend;
}

// One line a case: what was compared, and how much of the allowed error was taken (mean square, largest).
bool report(const Case& one, const CaseResult& result, double seconds) {
  const bool ok = result.failures.empty();
  std::printf("%s %s: %lld steps, %lld comparisons, %.0f %% and %.0f %% of the error allowed, %.2f s\n",
              ok ? "ok" : "FAILED", one.name.c_str(), static_cast<long long>(result.steps),
              static_cast<long long>(result.comparisons), 100 * result.nmse_share, 100 * result.worst_share,
              seconds);
  for (const std::string& failure : result.failures) std::printf("  %s\n", failure.c_str());
  std::fflush(stdout);
  return ok;
}

int run(const Options& options) {
  const std::vector<Case> cases = read_vectors(options.vectors);
  if (options.list) {
    for (const Case& one : cases)
      if (wanted(one, options)) std::printf("%s\n", one.name.c_str());
    return 0;
  }
  const std::shared_ptr<CudaBackend> backend = open(options);
  int passed = 0, failed = 0, skipped = 0;
  for (const Case& one : cases) {
    if (!wanted(one, options)) {
      skipped++;
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    const CaseResult result = run_case(one, backend);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    (report(one, result, seconds) ? passed : failed)++;
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace

}  // namespace kvasir::conformance

int main(int argc, char** argv) {
  using namespace kvasir::conformance;
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "conformance: %s\n", error.what());
    return 2;
  }
}
