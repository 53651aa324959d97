#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <thread>

#include "check.h"
#include "faults.h"
#include "files.h"
#include "platform/linux-cgroup.h"
#include "platform/platform.h"

namespace kvasir::test {
namespace {

std::atomic<int64_t> reads{0}, faulty{-1};
std::atomic<Fault> fault_kind{Fault::kNone};

}  // namespace

void inject(Fault fault, int64_t at) {
  reads = 0;
  faulty = at;
  fault_kind = fault;
}

int64_t reads_since_inject() {
  faulty = -1;
  return reads;
}

}  // namespace kvasir::test

// In place of the C library's, for platform::File.
extern "C" ssize_t pread(int descriptor, void* buffer, size_t bytes, off_t offset) {
  using namespace kvasir::test;
  auto read = [&](size_t count) { return syscall(SYS_pread64, descriptor, buffer, count, offset); };
  if (reads++ != faulty) return read(bytes);
  switch (fault_kind) {
    case Fault::kInterrupted:
      errno = EINTR;
      return -1;
    case Fault::kShort:
      return read((bytes + 1) / 2);
    case Fault::kInputError:
      errno = EIO;
      return -1;
    case Fault::kEnd:
      return 0;
    default:
      return read(bytes);
  }
}

namespace kvasir::test {
namespace {

Error open_error(const std::string& path) {
  return error_of([&] { platform::File file(path); });
}

void check_refused(const std::string& path, ErrorKind kind, const std::string& found) {
  Error error = open_error(path);
  CHECK(error.kind == kind);
  CHECK(error.file == path);
  CHECK(error.field == "file");
  CHECK(!error.expected.empty());
  if (!found.empty()) CHECK(error.found == found);
}

void thread_tests() {
  test("available_processors is at least 1 and at most the machine's", [] {
    int processors = platform::available_processors();
    CHECK(processors >= 1);
    CHECK(processors <= sysconf(_SC_NPROCESSORS_CONF));
  });

  test("available_processors follows the affinity mask", [] {
    std::thread([] {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(sched_getcpu(), &one);
      if (sched_setaffinity(0, sizeof one, &one) == 0) CHECK(platform::available_processors() == 1);
    }).join();
  });

  test("wait_on returns at once where the word differs, and wake_all ends a wait", [] {
    std::atomic<uint32_t> word{1};
    platform::wait_on(word, 0);
    std::thread waker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      word = 2;
      platform::wake_all(word);
    });
    while (word == 1) platform::wait_on(word, 1);
    waker.join();
    CHECK(word == 2);
    platform::cpu_relax();
    platform::name_thread("a name longer than fifteen characters");
  });
}

void memory_tests() {
  test("reserve_pages gives aligned zeros, large ones on a huge page's border", [] {
    for (size_t bytes : {size_t{1}, size_t{4096}, size_t{5000}, size_t{2} << 20, (size_t{5} << 20) + 1}) {
      auto* pages = static_cast<unsigned char*>(platform::reserve_pages(bytes));
      CHECK(reinterpret_cast<uintptr_t>(pages) % (bytes >= size_t{2} << 20 ? size_t{2} << 20 : 64) == 0);
      bool zero = true;
      for (size_t i = 0; i < bytes; ++i) zero &= pages[i] == 0;
      CHECK(zero);
      pages[bytes - 1] = 1;
      platform::release_pages(pages, bytes);
    }
    platform::release_pages(nullptr, 4096);
  });

  test("reserve_pages says how much it could not have", [] {
    for (size_t bytes : {size_t{1} << 60, SIZE_MAX, SIZE_MAX - 4096}) {
      Error error = error_of([&] { platform::reserve_pages(bytes); });
      CHECK(error.kind == ErrorKind::kOutOfMemory);
      CHECK(std::string(error.what()).find(std::to_string(bytes)) != std::string::npos);
    }
  });

  test("available_memory is positive", [] { CHECK(platform::available_memory() > 0); });
}

// S14, at the level of File
void file_tests(const Folder& folder) {
  test("S14 File refuses what is no regular file, without waiting", [&] {
    mkfifo((folder / "fifo").c_str(), 0600);
    check_refused(folder / "fifo", ErrorKind::kFileFormat, "a FIFO");
    check_refused(folder / ".", ErrorKind::kFileFormat, "a folder");
    check_refused("/dev/zero", ErrorKind::kFileFormat, "a device");
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (folder / "socket").c_str(), sizeof address.sun_path - 1);
    if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      check_refused(folder / "socket", ErrorKind::kFileFormat, "a socket");
    close(descriptor);
  });

  test("S14 File says that a file is missing or not readable", [&] {
    check_refused(folder / "missing", ErrorKind::kFileNotFound, "No such file or directory");
    check_refused("", ErrorKind::kFileNotFound, "");
    std::filesystem::create_symlink("loop", folder / "loop");
    check_refused(folder / "loop", ErrorKind::kFileNotFound, "");
    check_refused(write_file(folder / "nul", "x") + std::string("\0y", 2), ErrorKind::kFileNotFound, "");
    std::string secret = write_file(folder / "secret", "x");
    chmod(secret.c_str(), 0);
    if (geteuid() != 0) check_refused(secret, ErrorKind::kFileNotFound, "Permission denied");
  });

  test("File reads ranges and refuses those beyond its end", [&] {
    platform::File file(write_file(folder / "ten", "0123456789"));
    CHECK(file.size() == 10);
    char bytes[4] = {};
    file.read(6, bytes, 4);
    CHECK(std::string(bytes, 4) == "6789");
    file.read(10, bytes, 0);
    for (uint64_t offset : {uint64_t{7}, uint64_t{10}, uint64_t{11}, UINT64_MAX, UINT64_MAX - 3})
      CHECK(error_of([&] { file.read(offset, bytes, 4); }).kind == ErrorKind::kFileTruncated);
    file.check_unchanged();
  });

  test("S12 File notices a file that shrinks, grows, is rewritten, replaced or deleted", [&] {
    auto changed = [&](auto change) {
      platform::File file(write_file(folder / "changing", "0123456789"));
      std::filesystem::last_write_time(
          folder / "changing", std::filesystem::last_write_time(folder / "changing") - std::chrono::hours(1));
      platform::File aged(folder / "changing");
      change();
      return error_of([&] { aged.check_unchanged(); }).kind == ErrorKind::kFileChanged;
    };
    CHECK(changed([&] { write_file(folder / "changing", "012345678"); }));
    CHECK(changed([&] { write_file(folder / "changing", "0123456789a"); }));
    CHECK(changed([&] { write_file(folder / "changing", "9876543210"); }));
    CHECK(changed([&] { std::filesystem::remove(folder / "changing"); }));
    CHECK(changed(
        [&] { std::filesystem::rename(write_file(folder / "other", "0123456789"), folder / "changing"); }));

    platform::File file(write_file(folder / "shrinking", "0123456789"));
    std::filesystem::resize_file(folder / "shrinking", 4);
    char bytes[8];
    CHECK(error_of([&] { file.read(0, bytes, 8); }).kind == ErrorKind::kFileChanged);
  });

  test("S14 File opens a sparse file of 1 TB", [&] {
    std::string path = write_file(folder / "sparse", "");
    std::error_code too_large;
    std::filesystem::resize_file(path, uintmax_t{1} << 40, too_large);
    if (too_large) return;  // not on every file system
    platform::File file(path);
    CHECK(file.size() == uint64_t{1} << 40);
    char byte = 1;
    file.read((uint64_t{1} << 40) - 1, &byte, 1);
    CHECK(byte == 0);
  });
}

// A root with /proc and cgroup files.
void lay_out(const std::string& root, const std::vector<std::pair<std::string, std::string>>& files) {
  std::filesystem::remove_all(root);
  for (const auto& [path, text] : files) {
    std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
    write_file(root + path, text + "\n");
  }
}

void cgroup_tests(const Folder& folder) {
  std::string root = folder / "root";

  test("cgroup v2: the tightest group on the way up", [&] {
    lay_out(root, {{"/proc/self/cgroup", "0::/a/b"},
                   {"/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"},
                   {"/sys/fs/cgroup/a/cpu.max", "150000 100000"},
                   {"/sys/fs/cgroup/a/b/cpu.max", "max 100000"},
                   {"/sys/fs/cgroup/a/memory.max", "1000"},
                   {"/sys/fs/cgroup/a/memory.current", "900"},
                   {"/sys/fs/cgroup/a/memory.stat", "anon 100\ninactive_file 300\nactive_file 5"},
                   {"/sys/fs/cgroup/a/b/memory.max", "max"},
                   {"/sys/fs/cgroup/a/b/memory.current", "800"}});
    CHECK(platform::cgroup_processors(root) == 1.5);
    CHECK(platform::cgroup_available_memory(root) == 400);
    write_file(root + "/sys/fs/cgroup/a/b/memory.high", "850\n");
    CHECK(platform::cgroup_available_memory(root) == 50);
    write_file(root + "/sys/fs/cgroup/a/memory.current", "5000\n");
    CHECK(platform::cgroup_available_memory(root) == 0);
  });

  test("cgroup v1: controllers on mounts of their own, a container's view included", [&] {
    lay_out(root, {{"/proc/self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/"},
                   {"/proc/self/mountinfo",
                    "32 31 0:29 /docker/x /sys/fs/cgroup/cpu,cpuacct rw master:1 - cgroup cgroup "
                    "rw,cpu,cpuacct\n33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"},
                   {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000"},
                   {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"},
                   {"/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712"},
                   {"/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "10"},
                   {"/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "100"},
                   {"/sys/fs/cgroup/memory/docker/memory.usage_in_bytes", "30"}});
    CHECK(platform::cgroup_processors(root) == 0.5);
    CHECK(platform::cgroup_available_memory(root) == 70);
    write_file(root + "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    CHECK(std::isinf(platform::cgroup_processors(root)));
  });

  test("cgroup: no files, or a path outside what is mounted, is no limit", [&] {
    CHECK(std::isinf(platform::cgroup_processors(folder / "nowhere")));
    CHECK(platform::cgroup_available_memory(folder / "nowhere") == UINT64_MAX);
    lay_out(root,
            {{"/proc/self/cgroup", "garbage\n0::/../../x"},
             {"/proc/self/mountinfo", "garbage\n31 23 0:28 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw"},
             {"/sys/fs/cgroup/cpu.max", "200000 100000"}});
    CHECK(platform::cgroup_processors(root) == 2);
  });
}

}  // namespace

void platform_tests() {
  Folder folder;
  thread_tests();
  memory_tests();
  file_tests(folder);
  cgroup_tests(folder);

  test("processor and libraries are described", [] {
    platform::CpuFeatures features = platform::cpu_features();
    CHECK(features.avx2 || !features.avx512);
    CHECK(features.avx512 || !features.avx512_vnni);
    CHECK(features.avx2 || !features.avx_vnni);
    CHECK(!platform::cpu_name().empty());
    CHECK(platform::open_library("/nowhere/libnothing.so") == nullptr);
    void* library = platform::open_library("libc.so.6");
    CHECK(library && platform::library_symbol(library, "strlen"));
    CHECK(library && !platform::library_symbol(library, "no_such_symbol_as_this"));
    CHECK(platform::own_folder() == std::filesystem::read_symlink("/proc/self/exe").parent_path());
  });
}

}  // namespace kvasir::test
