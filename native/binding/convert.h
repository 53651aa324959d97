#pragma once

#include <napi.h>

#include <map>
#include <string>

#include "runtime/program.h"

namespace kvasir::binding {

// JavaScript values to native ones. Everything is checked: a wrong kind is an Error(kInvalidType) naming `where`.

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

// Float32Array or Int32Array, lent for the length of a call.
std::map<std::string, InputSpan> inputs_of(Napi::Value value);
std::map<std::string, OutputSpan> outputs_of(Napi::Value value);
// The first element of an Int32Array as an abort flag, or null for null.
const std::atomic<int32_t>* flag_of(Napi::Value value, const std::string& where);

}  // namespace kvasir::binding
