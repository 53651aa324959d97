#include "checkpoint/name-index.h"

#include <cstring>
#include <random>

namespace kvasir {
namespace {

constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;

uint64_t secret_point() {
  std::random_device random;
  return (uint64_t{random()} << 32 | random()) % (kPrime - 1) + 1;
}

}  // namespace

uint64_t hash_name(std::string_view name) {
  static const uint64_t point = secret_point();
  uint64_t sum = name.size() + 1;
  auto add = [&](uint64_t chunk) {
    unsigned __int128 product = static_cast<unsigned __int128>(sum) * point + chunk;
    sum = static_cast<uint64_t>(product & kPrime) + static_cast<uint64_t>(product >> 61);
    if (sum >= kPrime) sum -= kPrime;
  };
  uint64_t word;
  size_t i = 0;
  for (; i + 8 <= name.size(); i += 7) {  // 7 bytes a step: a chunk must be below the prime
    std::memcpy(&word, name.data() + i, 8);
    add(word & ((uint64_t{1} << 56) - 1));
  }
  for (word = 0; i < name.size(); ++i) word = word << 8 | static_cast<unsigned char>(name[i]);
  add(word);
  // The low bits, which choose the slot, must depend on all (the finaliser of splitmix64).
  sum = (sum ^ sum >> 30) * 0xBF58476D1CE4E5B9;
  sum = (sum ^ sum >> 27) * 0x94D049BB133111EB;
  return sum ^ sum >> 31;
}

}  // namespace kvasir
