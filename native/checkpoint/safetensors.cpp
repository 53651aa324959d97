#include "checkpoint/safetensors.h"

#include <algorithm>

#include "checkpoint/json-reader.h"
#include "checkpoint/problem.h"

namespace kvasir {
namespace {

// The format's own bound.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
// Ours. They keep the cost of a hostile header small (50 ms and 64 MiB) and are far above any real file's: a
// mixture of 128 experts in 94 layers, in one file, has 37,000 tensors and 6 MB of JSON.
constexpr uint64_t kMaxJsonBytes = uint64_t{10} << 20;
constexpr size_t kMaxTensors = 65'536;
constexpr size_t kMaxMetadata = 16'384;
constexpr size_t kMaxMetadataBytes = size_t{4} << 20;  // of one value
constexpr size_t kMaxNameBytes = 4096;
constexpr size_t kMaxFieldBytes = 32;  // a field's or a dtype's name
constexpr size_t kMaxRank = 16;

struct FileDType {
  std::string_view name;
  uint64_t bits;
};

// Every dtype of the format.
constexpr FileDType kDTypes[] = {
    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F64", 64},        {"I64", 64},        {"I32", 32},
    {"I16", 16},    {"I8", 8},      {"U8", 8},      {"BOOL", 8},        {"U16", 16},        {"U32", 32},
    {"U64", 64},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64},
};

// 0 for a dtype that the format does not have.
uint64_t bits_of(std::string_view dtype) {
  for (const FileDType& known : kDTypes)
    if (dtype == known.name) return known.bits;
  return 0;
}

std::string known_dtypes() {
  std::string list;
  for (const FileDType& known : kDTypes) list += (list.empty() ? "" : ", ") + std::string(known.name);
  return list;
}

class HeaderParser {
 public:
  HeaderParser(SafetensorsFile& target, uint64_t header_bytes)
      : target_(target), data_start_(8 + header_bytes), json_(target.file, 8, data_start_, kMaxJsonBytes) {}

  void parse();

 private:
  void parse_entry(bool& seen_metadata);
  void parse_metadata();
  void parse_tensor();
  void parse_field(const std::string& field, TensorEntry& entry, uint64_t& begin, uint64_t& end);
  void check_size(const TensorEntry& entry, uint64_t begin, uint64_t end);
  void check_names();
  void check_coverage();
  [[noreturn]] void fail(const std::string& tensor, const char* field, const std::string& expected,
                         const std::string& found, ErrorKind kind = ErrorKind::kFileFormat) const {
    throw_problem(kind, {target_.file.path(), tensor, field, expected, found});
  }

  SafetensorsFile& target_;
  const uint64_t data_start_;
  JsonReader json_;
  std::string name_, field_;  // kept for their memory
  uint64_t dtype_bits_ = 0;
};

void HeaderParser::parse() {
  if (json_.peek() != '{') json_.fail("JSON that begins with '{'");
  json_.expect('{');
  bool seen_metadata = false;
  if (!json_.accept('}')) {
    do parse_entry(seen_metadata);
    while (json_.accept(','));
    json_.expect('}');
  }
  json_.expect_padding();
  check_names();
  check_coverage();
}

void HeaderParser::parse_entry(bool& seen_metadata) {
  json_.field = "a tensor's name";
  json_.read_string(name_, kMaxNameBytes);
  json_.tensor.swap(name_);
  json_.field = "header";
  json_.expect(':');
  if (json_.tensor == "__metadata__") {
    json_.tensor.clear();
    if (seen_metadata) fail("", "__metadata__", "given once", "a second one");
    seen_metadata = true;
    parse_metadata();
  } else {
    if (target_.tensors.size() == kMaxTensors)
      fail("", "header", "a list of at most " + std::to_string(kMaxTensors) + " tensors", "more");
    parse_tensor();
    json_.tensor.clear();
  }
  json_.field = "header";
}

void HeaderParser::parse_metadata() {
  json_.field = "__metadata__";
  json_.expect('{');
  if (json_.accept('}')) return;
  do {
    if (target_.metadata.size() == kMaxMetadata)
      json_.fail("at most " + std::to_string(kMaxMetadata) + " entries", "more");
    auto& [key, value] = target_.metadata.emplace_back();
    json_.read_string(key, kMaxNameBytes);
    json_.expect(':');
    json_.read_string(value, kMaxMetadataBytes);
  } while (json_.accept(','));
  json_.expect('}');
}

void HeaderParser::parse_tensor() {
  static constexpr std::string_view kFields[] = {"dtype", "shape", "data_offsets"};
  TensorEntry entry;
  uint64_t begin = 0, end = 0;
  bool seen[3] = {};
  json_.field = "entry";
  json_.expect('{');
  if (!json_.accept('}')) {
    do {
      json_.field = "entry";
      json_.read_string(field_, kMaxFieldBytes);
      size_t i = 0;
      while (i < 3 && field_ != kFields[i]) ++i;
      if (i == 3) json_.fail("an object of dtype, shape and data_offsets", "the field " + quoted(field_));
      json_.field = kFields[i].data();
      if (seen[i]) json_.fail("given once", "a second one");
      seen[i] = true;
      json_.expect(':');
      parse_field(field_, entry, begin, end);
      json_.field = "entry";
    } while (json_.accept(','));
    json_.expect('}');
  }
  for (size_t i = 0; i < 3; ++i)
    if (!seen[i]) fail(json_.tensor, kFields[i].data(), "given", "none");
  check_size(entry, begin, end);
  entry.name = json_.tensor;
  entry.offset = data_start_ + begin;  // no overflow: JSON integers are below 2^53
  entry.bytes = end - begin;
  target_.tensors.push_back(std::move(entry));
}

void HeaderParser::parse_field(const std::string& field, TensorEntry& entry, uint64_t& begin, uint64_t& end) {
  if (field == "dtype") {
    json_.read_string(entry.dtype, kMaxFieldBytes);
    dtype_bits_ = bits_of(entry.dtype);
    if (dtype_bits_ == 0)
      fail(json_.tensor, "dtype", "one of " + known_dtypes(), quoted(entry.dtype), ErrorKind::kUnsupported);
    return;
  }
  json_.expect('[');
  if (field == "shape") {
    if (json_.accept(']')) return;
    int64_t dimensions[kMaxRank];
    size_t rank = 0;
    do {
      if (rank == kMaxRank) json_.fail("of at most " + std::to_string(kMaxRank) + " dimensions", "more");
      dimensions[rank++] = json_.read_integer();
    } while (json_.accept(','));
    entry.shape.assign(dimensions, dimensions + rank);
  } else {
    begin = static_cast<uint64_t>(json_.read_integer());
    json_.expect(',');
    end = static_cast<uint64_t>(json_.read_integer());
  }
  json_.expect(']');
}

void HeaderParser::check_size(const TensorEntry& entry, uint64_t begin, uint64_t end) {
  // The dimensions that are not 0 must have a product too, so that strides computed in any order exist.
  uint64_t bits = dtype_bits_;
  bool empty = false;
  for (int64_t dimension : entry.shape) {
    if (dimension == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bits, static_cast<uint64_t>(dimension), &bits)) {
      fail(json_.tensor, "shape", "fewer than 2^64 bits in size",
           shape_text(entry.shape) + " of " + entry.dtype);
    }
  }
  if (empty) bits = 0;
  if (bits % 8 != 0)
    fail(json_.tensor, "shape", "a whole number of bytes in size",
         shape_text(entry.shape) + " of " + entry.dtype);
  if (begin > end || end - begin != bits / 8)
    fail(json_.tensor, "data_offsets",
         "[begin, begin + " + std::to_string(bits / 8) + "] for " + shape_text(entry.shape) + " of " +
             entry.dtype,
         "[" + std::to_string(begin) + ", " + std::to_string(end) + "]");
}

void HeaderParser::check_names() {
  if (const TensorEntry* second = target_.index_names())
    fail(second->name, "name", "given once", "a second tensor of this name");

  auto key = [&](uint32_t i) { return std::string_view(target_.metadata[i].first); };
  NameIndex keys;
  keys.reset(target_.metadata.size());
  for (uint32_t i = 0; i < target_.metadata.size(); ++i)
    if (keys.add(i, key) != NameIndex::kNone)
      fail("", "__metadata__", "an object of unique keys", quoted(key(i)) + " twice");
}

// Ranges in any order, but from the first byte of the data to the last without a hole or an overlap: a file
// has one meaning, and none of its bytes are hidden. Empty tensors may lie between any two others.
void HeaderParser::check_coverage() {
  // Sorted by where they begin, the empty ones first: (2 * begin + not empty, tensor).
  std::vector<std::pair<uint64_t, uint32_t>> order;
  order.reserve(target_.tensors.size());
  for (const TensorEntry& entry : target_.tensors)
    order.emplace_back(2 * (entry.offset - data_start_) + (entry.bytes > 0),
                       static_cast<uint32_t>(order.size()));
  if (!std::is_sorted(order.begin(), order.end())) std::sort(order.begin(), order.end());

  uint64_t covered = 0;
  for (const auto& [key, i] : order) {
    const TensorEntry& entry = target_.tensors[i];
    if (key / 2 != covered)
      fail(entry.name, "data_offsets", "without holes or overlaps: a begin of " + std::to_string(covered),
           std::to_string(key / 2));
    covered += entry.bytes;  // below 2^53, as all ends
  }
  uint64_t data_bytes = target_.file.size() - data_start_;
  std::string found = std::to_string(target_.file.size()) + " bytes";
  std::string expected = std::to_string(data_start_ + covered) + " bytes long, as its header says";
  if (covered > data_bytes) fail("", "file", expected, found, ErrorKind::kFileTruncated);
  if (covered < data_bytes) fail("", "file", expected, found);
}

uint64_t read_header_length(const platform::File& file) {
  auto fail = [&](ErrorKind kind, const char* field, const std::string& expected, const std::string& found) {
    throw_problem(kind, {file.path(), "", field, expected, found});
  };
  if (file.size() < 8)
    fail(ErrorKind::kFileFormat, "file", "a safetensors file of at least 10 bytes",
         std::to_string(file.size()) + " bytes");
  unsigned char bytes[8];  // little-endian
  file.read(0, bytes, sizeof bytes);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | bytes[i];
  if (length < 2 || length > kMaxHeaderBytes)
    fail(ErrorKind::kFileFormat, "header length", "from 2 to " + std::to_string(kMaxHeaderBytes) + " bytes",
         std::to_string(length));
  if (length > file.size() - 8)
    fail(ErrorKind::kFileTruncated, "file",
         "at least " + std::to_string(8 + length) + " bytes long for its header",
         std::to_string(file.size()) + " bytes");
  return length;
}

}  // namespace

std::unique_ptr<SafetensorsFile> open_safetensors(const std::string& path) {
  auto opened = std::make_unique<SafetensorsFile>(path);
  uint64_t header_bytes = read_header_length(opened->file);
  HeaderParser(*opened, header_bytes).parse();
  name_blocked_tensors(*opened);
  return opened;
}

}  // namespace kvasir
