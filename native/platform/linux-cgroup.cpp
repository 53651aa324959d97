#include "platform/linux-cgroup.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace kvasir::platform {
namespace {

struct Mount {
  bool unified;             // v2
  std::string group;        // the group that is mounted
  std::string folder;       // where
  std::string controllers;  // of v1, separated by commas
};

struct Group {
  bool unified;
  std::string folder;
};

bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == word) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// A line of mountinfo: id parent device group folder options [tags]... - type source controllers
std::vector<Mount> read_mounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream left(line.substr(0, dash)), right(line.substr(dash + 3));
    std::string skip, type, source;
    Mount mount;
    left >> skip >> skip >> skip >> mount.group >> mount.folder;
    right >> type >> source >> mount.controllers;
    if (type != "cgroup" && type != "cgroup2") continue;
    mount.unified = type == "cgroup2";
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

// Appends the groups from `path` up to the one that is mounted. In a container the path may lie outside what
// is mounted (or begin with /..); then the mounted group is the one known to hold.
void add_groups(const std::string& root, const Mount& mount, std::string path, std::vector<Group>& groups) {
  if (mount.group != "/") {
    bool inside = path.compare(0, mount.group.size(), mount.group) == 0 &&
                  (path.size() == mount.group.size() || path[mount.group.size()] == '/');
    path = inside ? path.substr(mount.group.size()) : "";
  }
  if (path.find("/..") != std::string::npos || path == "/") path.clear();
  while (!path.empty()) {
    groups.push_back({mount.unified, root + mount.folder + path});
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  groups.push_back({mount.unified, root + mount.folder});
}

// The folders of this process's groups and of those above them, in every hierarchy with that controller.
std::vector<Group> find_groups(const std::string& root, std::string_view controller) {
  std::vector<Mount> mounts = read_mounts(root);
  std::vector<Group> groups;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // hierarchy:controllers:path
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool unified = controllers.empty();
    if (!unified && !lists(controllers, controller)) continue;
    for (const Mount& mount : mounts)
      if (mount.unified == unified && (unified || lists(mount.controllers, controller)))
        add_groups(root, mount, line.substr(second + 1), groups);
  }
  return groups;
}

// The number a one-line file holds; nothing for "max", -1 (v1's "no limit") or no such file.
std::optional<uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t number = -1;
  if (!(file >> number) || number < 0) return std::nullopt;
  return static_cast<uint64_t>(number);
}

uint64_t read_statistic(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string key;
  for (uint64_t value; file >> key >> value;)
    if (key == name) return value;
  return 0;
}

double quota_of(const Group& group) {
  std::optional<uint64_t> quota, period;
  if (group.unified) {
    std::ifstream file(group.folder + "/cpu.max");  // "QUOTA PERIOD", both in microseconds, or "max PERIOD"
    uint64_t numbers[2];
    if (file >> numbers[0] >> numbers[1]) quota = numbers[0], period = numbers[1];
  } else {
    quota = read_number(group.folder + "/cpu.cfs_quota_us");
    period = read_number(group.folder + "/cpu.cfs_period_us");
  }
  if (!quota || !period || *quota == 0 || *period == 0) return std::numeric_limits<double>::infinity();
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

uint64_t memory_left(const Group& group) {
  const std::string& folder = group.folder;
  std::optional<uint64_t> limit, usage;
  if (group.unified) {
    limit = read_number(folder + "/memory.max");
    std::optional<uint64_t> high = read_number(folder + "/memory.high");  // above it the group is slowed down
    if (high) limit = limit ? std::min(*limit, *high) : *high;
    usage = read_number(folder + "/memory.current");
  } else {
    limit = read_number(folder + "/memory.limit_in_bytes");
    usage = read_number(folder + "/memory.usage_in_bytes");
  }
  constexpr uint64_t kUnlimited = uint64_t{1} << 62;  // v1 writes "none" as the largest multiple of a page
  if (!limit || !usage || *limit >= kUnlimited) return std::numeric_limits<uint64_t>::max();
  const char* cached = group.unified ? "inactive_file" : "total_inactive_file";
  uint64_t held = *usage - std::min(*usage, read_statistic(folder + "/memory.stat", cached));
  return *limit - std::min(*limit, held);
}

}  // namespace

double cgroup_processors(const std::string& root) {
  double processors = std::numeric_limits<double>::infinity();
  for (const Group& group : find_groups(root, "cpu")) processors = std::min(processors, quota_of(group));
  return processors;
}

uint64_t cgroup_available_memory(const std::string& root) {
  uint64_t bytes = std::numeric_limits<uint64_t>::max();
  for (const Group& group : find_groups(root, "memory")) bytes = std::min(bytes, memory_left(group));
  return bytes;
}

}  // namespace kvasir::platform
