#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace kvasir {

// The hash of a name from a file: a polynomial at a secret point, modulo the prime 2^61 - 1. Two different
// names collide with a chance of at most length / 2^63, and nobody can prepare a file full of collisions.
uint64_t hash_name(std::string_view name);

// A hash table from names, which the caller keeps, to their places in the caller's list.
class NameIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Makes room for `count` names and forgets the earlier ones.
  void reset(size_t count) {
    size_t slots = 4;
    while (slots < 2 * count) slots *= 2;
    slots_.assign(slots, {0, kNone});
  }

  // Adds the name at `place`, unless it is there: then returns its place. `name_at(place)` gives a name's
  // text.
  template <typename NameAt>
  uint32_t add(uint32_t place, const NameAt& name_at) {
    std::string_view name = name_at(place);
    uint64_t hash = hash_name(name);
    Slot& slot = slots_[probe(hash, name, name_at)];
    if (slot.place != kNone) return slot.place;
    slot = {hash, place};
    return kNone;
  }

  // The name's place, or kNone.
  template <typename NameAt>
  uint32_t find(std::string_view name, const NameAt& name_at) const {
    return slots_.empty() ? kNone : slots_[probe(hash_name(name), name, name_at)].place;
  }

 private:
  struct Slot {
    uint64_t hash;
    uint32_t place;
  };

  // The slot that holds the name or would. At least half of them are free.
  template <typename NameAt>
  size_t probe(uint64_t hash, std::string_view name, const NameAt& name_at) const {
    size_t i = hash & (slots_.size() - 1);
    while (slots_[i].place != kNone && !(slots_[i].hash == hash && name_at(slots_[i].place) == name))
      i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  std::vector<Slot> slots_;
};

}  // namespace kvasir
