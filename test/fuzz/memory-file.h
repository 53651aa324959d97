#pragma once

#include <cstddef>
#include <cstdint>

namespace kvasir::fuzz {

// What every file holds from now on: memory that the caller keeps.
void hold(const uint8_t* bytes, size_t size);

}  // namespace kvasir::fuzz
