// Times the CUDA kernels, and whole models in random weights, without Node. Everything is verified before it is timed.
//
//   bench MODULE [--programs FILE] [--device N] [--filter TEXT] [--tiny]
//
// MODULE is the CUDA library or its emulated twin, FILE programs.bin of scripts/write-vectors.mjs. Prints a line of
// JSON for the device and one for each benchmark; what fails is told on stderr, and the rest goes on. --tiny takes
// sizes with which an emulator shows that all of this runs; its times mean nothing.

#include <cstdio>
#include <stdexcept>
#include <string>

#include "benchmarks.h"

namespace kvasir::benchmark {

namespace {

struct Options {
  std::string module, programs, filter;
  int device = 0;
  Scale scale = Scale::kFull;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    auto value = [&] {
      if (i + 1 == argc) throw std::invalid_argument(argument + " needs a value");
      return std::string(argv[++i]);
    };
    if (argument == "--programs") {
      options.programs = value();
    } else if (argument == "--device") {
      options.device = std::stoi(value());
    } else if (argument == "--filter") {
      options.filter = value();
    } else if (argument == "--tiny") {
      options.scale = Scale::kTiny;
    } else if (argument.rfind("--", 0) == 0 || !options.module.empty()) {
      throw std::invalid_argument("unknown argument " + argument);
    } else {
      options.module = argument;
    }
  }
  if (options.module.empty()) throw std::invalid_argument("MODULE is needed");
  return options;
}

std::shared_ptr<CudaBackend> open(const Options& options) {
  const cuda::Availability found = cuda::find_module(options.module);
  if (!found.reason.empty()) throw Error(ErrorKind::kDevice, found.reason);
  auto backend = std::make_shared<CudaBackend>(*found.module, options.device, 2);
  const cuda::DeviceInfo& info = backend->device().info();
  std::printf(
      "{\"kind\": \"device\", \"module\": \"%s\", \"name\": \"%s\", \"architecture\": %d, "
      "\"multiprocessors\": %d, "
      "\"memory_bytes\": %lld, \"l2_bytes\": %lld, \"driver\": %d, \"runtime\": %d, \"tiny\": %s}\n",
      found.module->name, info.name, info.architecture, info.multiprocessors,
      static_cast<long long>(info.memory_bytes), static_cast<long long>(info.l2_bytes), info.driver_version,
      info.runtime_version, options.scale == Scale::kTiny ? "true" : "false");
  std::fflush(stdout);
  return backend;
}

int run(const Options& options) {
  Machine machine(open(options), options.scale);
  Suite suite(options.filter);
  if (options.programs.empty()) {
    std::fprintf(stderr, "bench: models are left out, since --programs is not given\n");
  } else {
    bench_models(machine, suite, options.programs);
  }
  bench_gaps(machine, suite);
  bench_decode_kernels(machine, suite);
  bench_products(machine, suite);
  bench_prefill_attention(machine, suite);
  return suite.failures() == 0 ? 0 : 1;
}

}  // namespace

void Suite::run(const std::string& group, const std::string& name, const std::function<void()>& benchmark) {
  const std::string whole = group + ": " + name;
  if (whole.find(filter_) == std::string::npos) return;
  try {
    benchmark();
  } catch (const std::exception& error) {
    failures_++;
    std::fprintf(stderr, "bench: %s: %s\n", whole.c_str(), error.what());
  }
}

}  // namespace kvasir::benchmark

int main(int argc, char** argv) {
  using namespace kvasir::benchmark;
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 2;
  }
}
