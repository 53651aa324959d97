#include "checkpoint/json-reader.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "checkpoint/problem.h"

namespace kvasir {
namespace {

constexpr size_t kWindowBytes = size_t{64} << 10;
// What a JavaScript number holds exactly.
constexpr int64_t kMaxInteger = (int64_t{1} << 53) - 1;
constexpr const char* kIntegers = "an integer from 0 to 9007199254740991";

bool is_digit(int c) { return c >= '0' && c <= '9'; }
bool is_white_space(int c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// The functions on ranges of bytes below return how far they got. (Pointers in locals: a member would be
// stored and loaded again for every byte, which is four times slower.)

const char* skip_spaces(const char* next, const char* stop) {
  constexpr uint64_t kSpaces = 0x2020202020202020;
  for (uint64_t word; stop - next >= 8; next += 8) {
    std::memcpy(&word, next, 8);
    if (word != kSpaces) break;
  }
  while (next < stop && *next == ' ') ++next;
  return next;
}

// Whether all eight bytes stand for themselves in a JSON string: ASCII from 0x20 on, neither '"' nor '\\'.
// With bytes below 0x80 nothing carries or borrows into a neighbour that the test has not already refused.
bool all_plain(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHighs = kOnes << 7;
  uint64_t quote = word ^ kOnes * '"', backslash = word ^ kOnes * '\\';
  return ((word | (word - kOnes * 0x20) | (quote - kOnes) | (backslash - kOnes)) & kHighs) == 0;
}

// The length of the UTF-8 character at `next`, of more than one byte; 0 where it is invalid or leaves the
// range. Table 3-7 of the Unicode standard: the second byte's range depends on the first, the others
// are 80..BF.
size_t multibyte_length(const char* next, const char* stop) {
  auto at = [&](size_t i) { return static_cast<unsigned char>(next[i]); };
  unsigned lead = at(0);
  if (lead < 0xC2 || lead > 0xF4) return 0;
  size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (static_cast<size_t>(stop - next) < length) return 0;
  if (length == 2) return (at(1) & 0xC0) == 0x80 ? 2 : 0;
  unsigned least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (at(1) < least || at(1) > most) return 0;
  for (size_t i = 2; i < length; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  return length;
}

// Skips whole characters that stand for themselves in a string.
const char* skip_plain(const char* next, const char* stop) {
  for (;;) {
    for (uint64_t word; stop - next >= 8; next += 8) {
      std::memcpy(&word, next, 8);
      if (!all_plain(word)) break;
    }
    while (next < stop && static_cast<signed char>(*next) >= 0x20 && *next != '"' && *next != '\\') ++next;
    const char* first = next;
    while (next < stop && static_cast<unsigned char>(*next) >= 0x80) {
      size_t length = multibyte_length(next, stop);
      if (length == 0) return next;
      next += length;
    }
    if (next == first) return next;
  }
}

// What \c stands for; 0 for none, and for \u.
char simple_escape(int c) {
  switch (c) {
    case '"':
    case '\\':
    case '/':
      return static_cast<char>(c);
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

int hex_value(int c) {
  if (is_digit(c)) return c - '0';
  int letter = c | 0x20;
  return c >= 0 && letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

void append_utf8(std::string& out, uint32_t c) {
  auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

std::string describe_byte(int byte) {
  if (byte < 0) return "the end of the header";
  char text[16];
  std::snprintf(text, sizeof text, byte > 0x20 && byte < 0x7F ? "'%c'" : "byte 0x%02x", byte);
  return text;
}

}  // namespace

JsonReader::JsonReader(const platform::File& file, uint64_t begin, uint64_t end, uint64_t max_text)
    : file_(file),
      begin_(begin),
      end_(end),
      text_end_(begin + std::min(end - begin, max_text)),
      read_to_(begin),
      window_(new char[kWindowBytes]),
      next_(window_.get()),
      stop_(next_) {}

bool JsonReader::refill() {
  uint64_t limit = in_padding_ ? end_ : text_end_;
  if (read_to_ >= limit) {
    if (limit < end_)
      fail("at most " + std::to_string(text_end_ - begin_) + " bytes of JSON before its padding", "more");
    return false;
  }
  size_t count = static_cast<size_t>(std::min<uint64_t>(kWindowBytes, limit - read_to_));
  file_.read(read_to_, window_.get(), count);
  read_to_ += count;
  next_ = window_.get();
  stop_ = next_ + count;
  return true;
}

int JsonReader::take() {
  int byte = peek();
  if (byte >= 0) ++next_;
  return byte;
}

void JsonReader::skip_white_space() {
  while (is_white_space(peek())) next_ = *next_ == ' ' ? skip_spaces(next_, stop_) : next_ + 1;
}

void JsonReader::expect(char c) {
  if (!accept(c))
    fail(c == '{' ? "an object" : c == '[' ? "an array" : std::string("followed by '") + c + "'");
}

void JsonReader::read_string(std::string& out, size_t max_bytes) {
  out.clear();
  if (!accept('"')) fail("a string");
  for (;;) {
    const char* end = skip_plain(next_, stop_);
    out.append(next_, end);
    next_ = end;
    if (out.size() > max_bytes)
      fail("a string of at most " + std::to_string(max_bytes) + " bytes", "a longer one, " + quoted(out));
    if (next_ == stop_ && refill()) continue;
    int byte = peek();
    if (byte == '"') break;
    if (byte == '\\') {
      do read_escape(out);
      while (next_ < stop_ && *next_ == '\\' && out.size() <= max_bytes);
    } else if (byte >= 0x80) {
      read_multibyte(out);
    } else {
      fail("a string without raw control characters, ended by '\"'", describe_byte(byte));
    }
  }
  ++next_;
}

void JsonReader::read_escape(std::string& out) {
  ++next_;
  int escape = take();
  if (char simple = simple_escape(escape)) {
    out += simple;
    return;
  }
  if (escape != 'u') fail("a string with JSON's escapes", "\\ followed by " + describe_byte(escape));
  uint32_t unit = read_hex4();
  if (unit >= 0xD800 && unit < 0xDC00) {
    bool escaped = take() == '\\' && take() == 'u';
    uint32_t low = escaped ? read_hex4() : 0;
    if (low < 0xDC00 || low > 0xDFFF) fail("a string of valid Unicode", "a high surrogate alone");
    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  } else if (unit >= 0xDC00 && unit < 0xE000) {
    fail("a string of valid Unicode", "a low surrogate alone");
  }
  append_utf8(out, unit);
}

uint32_t JsonReader::read_hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    int c = take(), digit = hex_value(c);
    if (digit < 0) fail("a string with four hexadecimal digits after \\u", describe_byte(c));
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

// A character that the window's end cuts, or that is invalid.
void JsonReader::read_multibyte(std::string& out) {
  char character[4];
  size_t count = 0;
  int lead = peek();
  size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  while (count < length && peek() >= 0x80) character[count++] = static_cast<char>(take());
  if (count < length || multibyte_length(character, character + count) != length)
    fail("valid UTF-8", "an invalid sequence that begins with " + describe_byte(lead));
  out.append(character, count);
}

int64_t JsonReader::read_integer() {
  if (next_ == stop_ || static_cast<unsigned char>(*next_) <= ' ') skip_white_space();
  if (!is_digit(peek())) fail(kIntegers);
  if (*next_ == '0') {
    ++next_;
    if (is_digit(peek())) fail(kIntegers, "a number with a leading zero");
    return finish_integer(0);
  }
  int64_t value = 0;
  do {
    const char* next = next_;
    for (; next < stop_ && is_digit(*next); ++next) {
      value = value * 10 + (*next - '0');
      if (value > kMaxInteger) fail(kIntegers, "a larger one");
    }
    next_ = next;
  } while (next_ == stop_ && refill());
  return finish_integer(value);
}

int64_t JsonReader::finish_integer(int64_t value) {
  int after = peek();
  if (after == '.' || after == 'e' || after == 'E')
    fail(kIntegers, std::to_string(value) + static_cast<char>(after) + "...");
  return value;
}

void JsonReader::expect_padding() {
  in_padding_ = true;
  while (peek() == ' ') next_ = skip_spaces(next_, stop_);
  if (peek() >= 0) fail("followed by spaces alone", describe_byte(peek()));
}

std::string JsonReader::describe_next() {
  int byte = peek();
  if (byte == '"') return "a string";
  if (byte == '{') return "an object";
  if (byte == '[') return "an array";
  std::string word;  // a number, true, false or null
  while (word.size() < 24 && (peek() == '-' || peek() == '+' || peek() == '.' || is_digit(peek()) ||
                              (peek() >= 'A' && (peek() | 0x20) >= 'a' && (peek() | 0x20) <= 'z')))
    word += static_cast<char>(take());
  return word.empty() ? describe_byte(byte) : word;
}

void JsonReader::fail(const std::string& expected) { fail(expected, describe_next()); }

void JsonReader::fail(const std::string& expected, const std::string& found) const {
  uint64_t byte = read_to_ - static_cast<uint64_t>(stop_ - next_);
  throw_problem(ErrorKind::kFileFormat,
                {file_.path(), tensor, field, expected, found + " (at byte " + std::to_string(byte) + ")"});
}

}  // namespace kvasir
