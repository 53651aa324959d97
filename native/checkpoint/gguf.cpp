#include "checkpoint/gguf.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "checkpoint/byte-reader.h"
#include "checkpoint/gguf-types.h"
#include "checkpoint/problem.h"

namespace kvasir {
namespace {

// Ours: they bound what a hostile header costs and are far above any real file's.
constexpr uint64_t kMaxTensors = 65'536;
constexpr uint64_t kMaxValues = 65'536;
constexpr uint64_t kMaxKeyBytes = 65'535;         // the format's own bound
constexpr uint64_t kMaxKeysBytes = 4 << 20;       // of all keys and tensors' names together
constexpr uint64_t kMaxNameBytes = 256;           // of a tensor
constexpr uint64_t kMaxTextBytes = 4 << 20;       // of one string; templates have some 10 KB
constexpr uint64_t kMaxTextsBytes = 16 << 20;     // of all strings outside arrays
constexpr uint64_t kMaxStrings = 4 << 20;         // of all arrays
constexpr uint32_t kMaxRank = 4;                  // ggml's own
constexpr uint64_t kMaxSize = uint64_t{1} << 48;  // of a dimension
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = 1 << 20;

// Bytes of an element; 0 for strings and arrays.
uint64_t element_bytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kU8:
    case GgufValueType::kI8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kU16:
    case GgufValueType::kI16:
      return 2;
    case GgufValueType::kU32:
    case GgufValueType::kI32:
    case GgufValueType::kF32:
      return 4;
    case GgufValueType::kU64:
    case GgufValueType::kI64:
    case GgufValueType::kF64:
      return 8;
    default:
      return 0;
  }
}

// Well-formed, without surrogates and overlong forms (RFC 3629).
bool is_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char first = byte(i);
    const size_t length = first < 0x80   ? 1
                          : first < 0xC2 ? 0
                          : first < 0xE0 ? 2
                          : first < 0xF0 ? 3
                          : first < 0xF5 ? 4
                                         : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (size_t k = 1; k < length; k++)
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    if ((first == 0xE0 && byte(i + 1) < 0xA0) || (first == 0xED && byte(i + 1) > 0x9F) ||
        (first == 0xF0 && byte(i + 1) < 0x90) || (first == 0xF4 && byte(i + 1) > 0x8F))
      return false;
    i += length;
  }
  return true;
}

double take_number(ByteReader& reader, GgufValueType type, const std::string& key) {
  const std::string none;
  switch (type) {
    case GgufValueType::kU8:
      return reader.take<uint8_t>(none, key);
    case GgufValueType::kI8:
      return reader.take<int8_t>(none, key);
    case GgufValueType::kU16:
      return reader.take<uint16_t>(none, key);
    case GgufValueType::kI16:
      return reader.take<int16_t>(none, key);
    case GgufValueType::kU32:
      return reader.take<uint32_t>(none, key);
    case GgufValueType::kI32:
      return reader.take<int32_t>(none, key);
    case GgufValueType::kF32:
      return reader.take<float>(none, key);
    case GgufValueType::kU64:
      return static_cast<double>(reader.take<uint64_t>(none, key));
    case GgufValueType::kI64:
      return static_cast<double>(reader.take<int64_t>(none, key));
    case GgufValueType::kF64:
      return reader.take<double>(none, key);
    default:
      return reader.take<uint8_t>(none, key);
  }
}

class HeaderParser {
 public:
  explicit HeaderParser(GgufFile& target) : target_(target), reader_(target.file) {}

  void parse() {
    const uint64_t tensors = parse_counts();
    for (uint64_t i = 0; i < num_values_; i++) parse_value();
    check_keys();
    alignment_ = find_alignment();
    for (uint64_t i = 0; i < tensors; i++) parse_tensor();
    if (const TensorEntry* second = target_.index_names())
      fail(second->name, "name", "given once", "a second tensor of this name");
    place_tensors();
  }

 private:
  [[noreturn]] void fail(const std::string& tensor, const std::string& field, const std::string& expected,
                         const std::string& found, ErrorKind kind = ErrorKind::kFileFormat) const {
    throw_problem(kind, {target_.file.path(), tensor, field, expected, found});
  }

  // Returns the number of tensors.
  uint64_t parse_counts() {
    const std::string none;
    char magic[4];
    for (char& c : magic) c = reader_.take<char>(none, "magic");
    if (std::memcmp(magic, kGgufMagic, sizeof magic) != 0)
      fail("", "magic", "GGUF", quoted(std::string_view(magic, sizeof magic)));
    target_.version = reader_.take<uint32_t>(none, "version");
    if (target_.version != 2 && target_.version != 3)
      fail("", "version", "2 or 3",
           (target_.version & 0xFFFF) == 0 ? "that of a big-endian file" : std::to_string(target_.version),
           ErrorKind::kUnsupported);
    const uint64_t tensors = take_count("tensor count", kMaxTensors);
    num_values_ = take_count("metadata count", kMaxValues);
    return tensors;
  }

  uint64_t take_count(const char* field, uint64_t most) {
    const uint64_t count = reader_.take<uint64_t>("", field);
    if (count > most) fail("", field, "at most " + std::to_string(most), std::to_string(count));
    return count;
  }

  // A string whose length comes before it. `all` counts the bytes of its kind.
  std::string take_string(const std::string& tensor, const std::string& field, uint64_t most, uint64_t& all,
                          uint64_t most_of_all) {
    const uint64_t bytes = reader_.take<uint64_t>(tensor, field);
    reader_.need(bytes, tensor, field);
    all += bytes <= most ? bytes : 0;
    if (bytes > most || all > most_of_all)
      fail(tensor, field,
           "at most " + std::to_string(most) + " bytes, all together " + std::to_string(most_of_all),
           std::to_string(bytes));
    std::string text = reader_.take_text(bytes, tensor, field);
    if (!is_utf8(text)) fail(tensor, field, "UTF-8", quoted(text));
    return text;
  }

  GgufValueType take_type(const std::string& key) {
    const uint32_t type = reader_.take<uint32_t>("", key);
    if (type > static_cast<uint32_t>(GgufValueType::kF64))
      fail("", key, "of a value type from 0 to 12", std::to_string(type));
    return static_cast<GgufValueType>(type);
  }

  void parse_value() {
    std::string key = take_string("", "metadata key", kMaxKeyBytes, keys_bytes_, kMaxKeysBytes);
    GgufValue value;
    value.type = take_type(key);
    if (value.type == GgufValueType::kArray) {
      parse_array(key, value);
    } else if (value.type == GgufValueType::kString) {
      value.text = take_string("", key, kMaxTextBytes, texts_bytes_, kMaxTextsBytes);
    } else {
      value.number = take_number(reader_, value.type, key);
      if (value.type == GgufValueType::kBool && value.number > 1)
        fail("", key, "0 or 1", std::to_string(static_cast<int>(value.number)));
    }
    target_.metadata.emplace_back(std::move(key), std::move(value));
  }

  void parse_array(const std::string& key, GgufValue& value) {
    value.is_array = true;
    value.type = take_type(key);
    value.count = reader_.take<uint64_t>("", key);
    value.offset = reader_.at();
    if (value.type == GgufValueType::kArray)
      fail("", key, "an array of numbers or strings", "an array of arrays", ErrorKind::kUnsupported);
    if (value.type == GgufValueType::kString) {
      pass_strings(key, value.count);
    } else {
      const uint64_t size = element_bytes(value.type);
      if (value.count > reader_.left() / size) reader_.need(UINT64_MAX, "", key);
      reader_.pass(value.count * size, "", key);
    }
    value.bytes = reader_.at() - value.offset;
  }

  void pass_strings(const std::string& key, uint64_t count) {
    if (count > reader_.left() / 8) reader_.need(UINT64_MAX, "", key);
    num_strings_ += count;
    if (num_strings_ > kMaxStrings)
      fail("", key, "at most " + std::to_string(kMaxStrings) + " strings in all arrays",
           std::to_string(count));
    for (uint64_t i = 0; i < count; i++) reader_.pass(reader_.take<uint64_t>("", key), "", key);
  }

  void check_keys() const {
    auto key = [&](uint32_t i) { return std::string_view(target_.metadata[i].first); };
    NameIndex keys;
    keys.reset(target_.metadata.size());
    for (uint32_t i = 0; i < target_.metadata.size(); i++)
      if (keys.add(i, key) != NameIndex::kNone)
        fail("", "metadata", "unique keys", quoted(key(i)) + " twice");
  }

  uint64_t find_alignment() const {
    const std::string key = "general.alignment";
    const GgufValue* value = target_.find_value(key);
    if (value == nullptr) return kDefaultAlignment;
    if (value->is_array || value->type != GgufValueType::kU32) fail("", key, "a u32", "another type");
    const uint64_t alignment = static_cast<uint64_t>(value->number);
    if (alignment < 8 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0)
      fail("", key, "a power of two from 8 to " + std::to_string(kMaxAlignment), std::to_string(alignment));
    return alignment;
  }

  void parse_tensor() {
    TensorEntry entry{};
    entry.name = take_string("", "tensor name", kMaxNameBytes, keys_bytes_, kMaxKeysBytes);
    if (entry.name.empty()) fail("", "tensor name", "not empty", "an empty one");
    const uint32_t rank = reader_.take<uint32_t>(entry.name, "dimensions");
    if (rank < 1 || rank > kMaxRank)
      fail(entry.name, "dimensions", "from 1 to " + std::to_string(kMaxRank), std::to_string(rank));
    for (uint32_t i = 0; i < rank; i++) {
      const uint64_t size = reader_.take<uint64_t>(entry.name, "shape");
      if (size < 1 || size > kMaxSize)
        fail(entry.name, "shape", "of sizes from 1 to 2^48", std::to_string(size));
      entry.shape.insert(entry.shape.begin(), static_cast<int64_t>(size));
    }
    const uint32_t id = reader_.take<uint32_t>(entry.name, "type");
    const GgufType* type = gguf_type(id);
    if (type == nullptr)
      fail(entry.name, "type", "one of the format's types", std::to_string(id), ErrorKind::kUnsupported);
    entry.dtype = type->name;
    entry.bytes = bytes_of(entry, *type);
    entry.offset = reader_.take<uint64_t>(entry.name, "offset");
    target_.tensors.push_back(std::move(entry));
  }

  uint64_t bytes_of(const TensorEntry& entry, const GgufType& type) const {
    if (entry.shape.back() % type.numbers != 0)
      fail(entry.name, "row", "whole blocks of " + std::to_string(type.numbers) + " numbers",
           std::to_string(entry.shape.back()) + " numbers");
    uint64_t bytes = static_cast<uint64_t>(entry.shape.back() / type.numbers);
    bool wraps = __builtin_mul_overflow(bytes, static_cast<uint64_t>(type.bytes), &bytes);
    for (size_t i = 0; i + 1 < entry.shape.size(); i++)
      wraps |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(entry.shape[i]), &bytes);
    if (wraps || bytes > target_.file.size())
      fail(entry.name, "shape", "of data that is inside the file", shape_text(entry.shape),
           ErrorKind::kFileTruncated);
    return bytes;
  }

  // Offsets so far count from the data's first byte.
  void place_tensors() {
    const uint64_t header = reader_.at(), size = target_.file.size();
    const uint64_t data = (header + alignment_ - 1) / alignment_ * alignment_;
    if (target_.tensors.empty()) return;
    std::vector<std::pair<uint64_t, uint32_t>> order;
    for (TensorEntry& entry : target_.tensors) {
      if (entry.offset % alignment_ != 0)
        fail(entry.name, "offset", "a multiple of " + std::to_string(alignment_),
             std::to_string(entry.offset));
      if (data > size || entry.offset > size - data || entry.bytes > size - data - entry.offset)
        fail(entry.name, "data", "inside the file",
             std::to_string(entry.bytes) + " bytes at byte " + std::to_string(entry.offset) + " of " +
                 std::to_string(data > size ? 0 : size - data),
             ErrorKind::kFileTruncated);
      entry.offset += data;
      order.emplace_back(entry.offset, static_cast<uint32_t>(order.size()));
    }
    std::sort(order.begin(), order.end());
    for (size_t i = 1; i < order.size(); i++) {
      const TensorEntry& before = target_.tensors[order[i - 1].second];
      const TensorEntry& entry = target_.tensors[order[i].second];
      if (before.offset + before.bytes > entry.offset)
        fail(entry.name, "data", "apart from other tensors'", "an overlap with " + quoted(before.name));
    }
  }

  GgufFile& target_;
  ByteReader reader_;
  uint64_t num_values_ = 0, keys_bytes_ = 0, texts_bytes_ = 0, num_strings_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
};

}  // namespace

const GgufValue* GgufFile::find_value(std::string_view key) const {
  for (const auto& [name, value] : metadata)
    if (name == key) return &value;
  return nullptr;
}

std::vector<double> GgufFile::numbers(const std::string& key, const GgufValue& array) const {
  if (!array.is_array || array.type == GgufValueType::kString)
    throw Error(ErrorKind::kInvalidValue, "GGUF: " + key + " is no array of numbers");
  ByteReader reader(file, array.offset);
  std::vector<double> numbers(static_cast<size_t>(array.count));
  for (double& number : numbers) {
    number = take_number(reader, array.type, key);
    if (array.type == GgufValueType::kBool && number > 1)
      throw_problem(ErrorKind::kFileFormat,
                    {file.path(), "", key, "0 or 1", std::to_string(static_cast<int>(number))});
  }
  return numbers;
}

std::vector<std::string> GgufFile::strings(const std::string& key, const GgufValue& array) const {
  if (!array.is_array || array.type != GgufValueType::kString)
    throw Error(ErrorKind::kInvalidValue, "GGUF: " + key + " is no array of strings");
  ByteReader reader(file, array.offset);
  std::vector<std::string> strings(static_cast<size_t>(array.count));
  for (std::string& text : strings) {
    // The file may have changed since its header was checked.
    const uint64_t bytes = reader.take<uint64_t>("", key), end = array.offset + array.bytes;
    if (reader.at() > end || bytes > end - reader.at())
      throw_problem(ErrorKind::kFileChanged,
                    {file.path(), "", key, "as it was when opened", "other lengths"});
    text = reader.take_text(bytes, "", key);
    if (!is_utf8(text)) throw_problem(ErrorKind::kFileFormat, {file.path(), "", key, "UTF-8", quoted(text)});
  }
  return strings;
}

std::unique_ptr<GgufFile> open_gguf(const std::string& path) {
  auto opened = std::make_unique<GgufFile>(path);
  HeaderParser(*opened).parse();
  return opened;
}

}  // namespace kvasir
