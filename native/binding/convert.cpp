#include "binding/convert.h"

#include <atomic>
#include <cmath>

#include "types/error.h"

namespace kvasir::binding {

namespace {

[[noreturn]] void fail(const std::string& where, const std::string& expected) {
  throw Error(ErrorKind::kInvalidType, where + " must be " + expected);
}

Napi::Array array_of(Napi::Value value, const std::string& where) {
  if (!value.IsArray()) fail(where, "an array");
  return value.As<Napi::Array>();
}

template <typename F>
void each_property(Napi::Value value, const std::string& where, const F& body) {
  Napi::Object object = object_of(value, where);
  Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    Napi::Value name = names[i];
    std::string key = name.ToString();
    body(key, object.Get(key));
  }
}

Dim dim_of(Napi::Value value, const std::string& where) {
  if (value.IsNumber()) return {Symbol::kFixed, integer_of(value, where, 1, int64_t{1} << 40)};
  std::string name = string_of(value, where);
  std::string known;
  for (int i = 1; i < kNumSymbols; i++) {
    const Symbol symbol = static_cast<Symbol>(i);
    if (name == name_of(symbol)) return {symbol, 0};
    known += (i > 1 ? ", " : "") + std::string(name_of(symbol));
  }
  throw Error(ErrorKind::kInvalidValue, where + " must be a number or one of " + known + ", got " + name);
}

ValueKind kind_of(Napi::Value value, const std::string& where) {
  std::string name = string_of(value, where);
  if (name == "input") return ValueKind::kInput;
  if (name == "weight") return ValueKind::kWeight;
  if (name == "constant") return ValueKind::kConstant;
  if (name == "result") return ValueKind::kResult;
  throw Error(ErrorKind::kInvalidValue, where + " must be input, weight, constant or result, got " + name);
}

ValueDescription value_of(Napi::Value from, const std::string& where) {
  Napi::Object object = object_of(from, where);
  ValueDescription value;
  value.kind = kind_of(object.Get("kind"), where + ".kind");
  value.name = string_of(object.Get("name"), where + ".name");
  value.dtype = dtype_of(object.Get("dtype"), where + ".dtype");
  Napi::Array shape = array_of(object.Get("shape"), where + ".shape");
  if (shape.Length() > 8) fail(where + ".shape", "of 8 dimensions at most");
  for (uint32_t i = 0; i < shape.Length(); i++) value.shape.push_back(dim_of(shape[i], where + ".shape"));
  if (!object.Get("layout").IsUndefined()) value.layout = layout_of(object.Get("layout"), where + ".layout");
  if (!object.Get("interleaved").IsUndefined())
    value.interleaved = boolean_of(object.Get("interleaved"), where + ".interleaved");
  Napi::Value data = object.Get("data");
  if (data.IsTypedArray() && data.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array) {
    Napi::Float32Array array = data.As<Napi::Float32Array>();
    value.data.assign(array.Data(), array.Data() + array.ElementLength());
  } else if (!data.IsUndefined()) {
    fail(where + ".data", "a Float32Array");
  }
  return value;
}

Attribute attribute_of(Napi::Value from, const std::string& where) {
  if (from.IsNumber()) return from.As<Napi::Number>().DoubleValue();
  if (from.IsBoolean()) return from.As<Napi::Boolean>().Value();
  if (from.IsString()) return from.As<Napi::String>().Utf8Value();
  Napi::Array array = array_of(from, where);
  std::vector<double> numbers;
  for (uint32_t i = 0; i < array.Length(); i++) numbers.push_back(number_of(array[i], where));
  return numbers;
}

std::map<std::string, int> operands_of(Napi::Value from, const std::string& where) {
  std::map<std::string, int> operands;
  each_property(from, where, [&](const std::string& key, Napi::Value id) {
    operands[key] = static_cast<int>(integer_of(id, where + "." + key, 0, 1 << 30));
  });
  return operands;
}

NodeDescription node_of(Napi::Value from, const std::string& where) {
  Napi::Object object = object_of(from, where);
  NodeDescription node;
  node.op = string_of(object.Get("op"), where + ".op");
  node.name = string_of(object.Get("name"), where + ".name");
  node.inputs = operands_of(object.Get("inputs"), where + ".inputs");
  node.outputs = operands_of(object.Get("outputs"), where + ".outputs");
  each_property(object.Get("attributes"), where + ".attributes",
                [&](const std::string& key, Napi::Value value) {
                  node.attributes[key] = attribute_of(value, where + ".attributes." + key);
                });
  return node;
}

// `Span` of a typed array as it is now: the length that a Napi::TypedArray knows is that of when it was made.
template <typename Span, typename Array>
Span span_of(const Napi::TypedArray& array, DType dtype) {
  Array elements = array.As<Array>();
  Span span;
  span.data = elements.Data();
  span.count = static_cast<int64_t>(elements.ElementLength());
  span.dtype = dtype;
  return span;
}

template <typename Span>
std::map<std::string, Span> spans_of(const Arrays& arrays) {
  std::map<std::string, Span> spans;
  for (const auto& [name, array] : arrays)
    spans[name] = array.TypedArrayType() == napi_float32_array
                      ? span_of<Span, Napi::Float32Array>(array, DType::kF32)
                      : span_of<Span, Napi::Int32Array>(array, DType::kI32);
  return spans;
}

}  // namespace

Napi::Object object_of(Napi::Value value, const std::string& where) {
  if (!value.IsObject()) fail(where, "an object");
  return value.As<Napi::Object>();
}

std::string string_of(Napi::Value value, const std::string& where) {
  if (!value.IsString()) fail(where, "a string");
  return value.As<Napi::String>().Utf8Value();
}

bool boolean_of(Napi::Value value, const std::string& where) {
  if (!value.IsBoolean()) fail(where, "true or false");
  return value.As<Napi::Boolean>().Value();
}

double number_of(Napi::Value value, const std::string& where) {
  if (!value.IsNumber()) fail(where, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_of(Napi::Value value, const std::string& where, int64_t least, int64_t most) {
  double number = number_of(value, where);
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) ||
      number != std::trunc(number))
    throw Error(ErrorKind::kInvalidValue, where + " must be a whole number from " + std::to_string(least) +
                                              " to " + std::to_string(most) + ", got " +
                                              std::to_string(number));
  return static_cast<int64_t>(number);
}

DType dtype_of(Napi::Value value, const std::string& where) {
  std::string name = string_of(value, where);
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kQ8, DType::kQ4})
    if (name == name_of(dtype)) return dtype;
  throw Error(ErrorKind::kDType, where + " must be f32, f16, bf16 or i32, got " + name);
}

Layout layout_of(Napi::Value value, const std::string& where) {
  std::string name = string_of(value, where);
  if (name == "rows") return Layout::kRows;
  if (name == "panels") return Layout::kPanels;
  if (name == "tiles") return Layout::kTiles;
  throw Error(ErrorKind::kInvalidValue, where + " must be rows, panels or tiles, got " + name);
}

ProgramDescription program_of(Napi::Value from) {
  Napi::Object object = object_of(from, "Program: graph");
  ProgramDescription program;
  Napi::Array values = array_of(object.Get("values"), "Program: graph.values");
  for (uint32_t i = 0; i < values.Length(); i++)
    program.values.push_back(value_of(values[i], "Program: graph.values[" + std::to_string(i) + "]"));
  Napi::Array nodes = array_of(object.Get("nodes"), "Program: graph.nodes");
  for (uint32_t i = 0; i < nodes.Length(); i++)
    program.nodes.push_back(node_of(nodes[i], "Program: graph.nodes[" + std::to_string(i) + "]"));
  program.outputs = operands_of(object.Get("outputs"), "Program: graph.outputs");
  return program;
}

StepLimits limits_of(Napi::Value from) {
  Napi::Object object = object_of(from, "Program: limits");
  auto limit = [&](const char* name) {
    return integer_of(object.Get(name), std::string("Program: limits.") + name, 1, 1 << 20);
  };
  auto limit_or_none = [&](const char* name) {
    Napi::Value value = object.Get(name);
    if (value.IsUndefined()) return int64_t{0};
    return integer_of(value, std::string("Program: limits.") + name, 0, 1 << 20);
  };
  return {limit("maxTokens"), limit("maxRows"),          limit("maxSequences"),
          limit("maxBlocks"), limit_or_none("maxEdits"), limit_or_none("maxMasks")};
}

Arrays arrays_of(Napi::Value value, const std::string& where) {
  Arrays arrays;
  each_property(value, where, [&](const std::string& key, Napi::Value from) {
    if (!from.IsTypedArray()) fail(where + "." + key, "a Float32Array or Int32Array");
    Napi::TypedArray array = from.As<Napi::TypedArray>();
    if (array.TypedArrayType() != napi_float32_array && array.TypedArrayType() != napi_int32_array)
      fail(where + "." + key, "a Float32Array or Int32Array");
    arrays[key] = array;
  });
  return arrays;
}

std::map<std::string, InputSpan> input_spans(const Arrays& arrays) { return spans_of<InputSpan>(arrays); }
std::map<std::string, OutputSpan> output_spans(const Arrays& arrays) { return spans_of<OutputSpan>(arrays); }

const std::atomic<int32_t>* flag_of(Napi::Value value, const std::string& where) {
  if (value.IsNull() || value.IsUndefined()) return nullptr;
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array ||
      value.As<Napi::TypedArray>().ElementLength() == 0)
    fail(where, "an Int32Array or null");
  static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t) && std::atomic<int32_t>::is_always_lock_free);
  return reinterpret_cast<const std::atomic<int32_t>*>(value.As<Napi::Int32Array>().Data());
}

}  // namespace kvasir::binding
