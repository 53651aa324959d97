#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "platform/platform.h"

namespace kvasir {

// Reads JSON from a range of a file, forward only, through a window of fixed size: what it takes up does not
// depend on the file. It has no recursion and no tree; the caller asks for the tokens its grammar allows, and
// anything else throws Error(kFileFormat) that names the file, `tensor`, `field` and the byte.
class JsonReader {
 public:
  // Reads bytes [begin, end) of the file; text beyond `max_text` bytes is refused.
  JsonReader(const platform::File& file, uint64_t begin, uint64_t end, uint64_t max_text);

  // Where in the checkpoint the reader is, for messages. `field` is a string that outlives its use.
  std::string tensor;
  const char* field = "header";

  // The next byte as it stands, 0 to 255, or -1 at the end; it is not taken.
  int peek() { return next_ < stop_ || refill() ? static_cast<unsigned char>(*next_) : -1; }

  // Skips white space; then takes `c` if it is next.
  bool accept(char c) {
    if (next_ == stop_ || static_cast<unsigned char>(*next_) <= ' ') skip_white_space();
    if (next_ == stop_ || *next_ != c) return false;
    ++next_;
    return true;
  }
  // Skips white space; then takes `c`, or throws.
  void expect(char c);

  // A string of at most `max_bytes` bytes of UTF-8 after its escapes are resolved. Lone surrogates, overlong
  // and otherwise invalid UTF-8, and raw control characters are errors.
  void read_string(std::string& out, size_t max_bytes);

  // An integer from 0 to 2^53 - 1, written in digits alone.
  int64_t read_integer();

  // Takes everything up to the end, which must be spaces (0x20).
  void expect_padding();

  // Throws; `found` describes the next token unless it is given.
  [[noreturn]] void fail(const std::string& expected);
  [[noreturn]] void fail(const std::string& expected, const std::string& found) const;

 private:
  bool refill();
  int take();
  void skip_white_space();
  void read_escape(std::string& out);
  uint32_t read_hex4();
  void read_multibyte(std::string& out);
  int64_t finish_integer(int64_t value);
  std::string describe_next();

  const platform::File& file_;
  const uint64_t begin_, end_, text_end_;
  uint64_t read_to_;         // the file offset that follows the window
  bool in_padding_ = false;  // where max_text does not count
  std::unique_ptr<char[]> window_;
  const char* next_;
  const char* stop_;
};

}  // namespace kvasir
