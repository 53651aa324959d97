#pragma once

#include <napi.h>

#include <map>
#include <string>

#include "runtime/program.h"

namespace kvasir::binding {

// JavaScript values to native ones. Everything is checked: a wrong kind is an Error(kInvalidType) naming
// `where`.

Napi::Object object_of(Napi::Value value, const std::string& where);
std::string string_of(Napi::Value value, const std::string& where);
bool boolean_of(Napi::Value value, const std::string& where);
double number_of(Napi::Value value, const std::string& where);
// A whole number from `least` to `most`, both below 2^53.
int64_t integer_of(Napi::Value value, const std::string& where, int64_t least, int64_t most);
DType dtype_of(Napi::Value value, const std::string& where);
Layout layout_of(Napi::Value value, const std::string& where);

ProgramDescription program_of(Napi::Value value);
StepLimits limits_of(Napi::Value value);

// An object's properties, each a Float32Array or Int32Array.
using Arrays = std::map<std::string, Napi::TypedArray>;
Arrays arrays_of(Napi::Value value, const std::string& where);
// Their elements, lent until JavaScript runs again.
std::map<std::string, InputSpan> input_spans(const Arrays& arrays);
std::map<std::string, OutputSpan> output_spans(const Arrays& arrays);
// The first element of an Int32Array as an abort flag, or null for null.
const std::atomic<int32_t>* flag_of(Napi::Value value, const std::string& where);

}  // namespace kvasir::binding
