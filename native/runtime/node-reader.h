#pragma once

#include <string>
#include <vector>

#include "runtime/program-description.h"
#include "types/error.h"

namespace kvasir {

// A node's operands and attributes by name, each checked as it is asked for.
class NodeReader {
 public:
  NodeReader(const ProgramDescription& program, const NodeDescription& node)
      : program_(program), node_(node) {}

  const NodeDescription& node() const { return node_; }
  const ProgramDescription& program() const { return program_; }

  bool has_input(const std::string& name) const { return node_.inputs.count(name) != 0; }
  bool has_output(const std::string& name) const { return node_.outputs.count(name) != 0; }
  int input_id(const std::string& name) const { return id(node_.inputs, name, "input"); }
  int output_id(const std::string& name) const { return id(node_.outputs, name, "output"); }
  const ValueDescription& input(const std::string& name) const { return value(input_id(name)); }
  const ValueDescription& output(const std::string& name) const { return value(output_id(name)); }
  const ValueDescription& value(int id) const { return program_.values[static_cast<size_t>(id)]; }

  // The columns of a value: 1 where it has one dimension.
  int64_t input_cols(const std::string& name) const { return cols(input(name)); }
  int64_t output_cols(const std::string& name) const { return cols(output(name)); }

  double number(const std::string& name) const { return attribute<double>(name, "a number"); }
  double number_or(const std::string& name, double otherwise) const {
    return node_.attributes.count(name) != 0 ? number(name) : otherwise;
  }
  // A whole number from `least` to `most`.
  int64_t integer(const std::string& name, int64_t least, int64_t most) const;
  bool flag_or(const std::string& name, bool otherwise) const {
    return node_.attributes.count(name) != 0 ? attribute<bool>(name, "true or false") : otherwise;
  }
  const std::string& text(const std::string& name) const { return attribute<std::string>(name, "a string"); }
  const std::vector<double>& numbers(const std::string& name) const {
    return attribute<std::vector<double>>(name, "an array of numbers");
  }

  // `<op> (<module path>): <problem>`
  [[noreturn]] void fail(ErrorKind kind, const std::string& problem) const {
    throw Error(kind, node_.op + " (" + node_.name + "): " + problem);
  }

 private:
  int id(const std::map<std::string, int>& operands, const std::string& name, const char* what) const {
    auto found = operands.find(name);
    if (found == operands.end())
      fail(ErrorKind::kInvalidValue, std::string(what) + " " + name + " is missing");
    return found->second;
  }

  static int64_t cols(const ValueDescription& v) { return v.shape.size() > 1 ? v.shape[1].size : 1; }

  template <typename T>
  const T& attribute(const std::string& name, const char* what) const {
    auto found = node_.attributes.find(name);
    if (found == node_.attributes.end()) fail(ErrorKind::kInvalidValue, "attribute " + name + " is missing");
    const T* typed = std::get_if<T>(&found->second);
    if (typed == nullptr) fail(ErrorKind::kInvalidValue, "attribute " + name + " must be " + what);
    return *typed;
  }

  const ProgramDescription& program_;
  const NodeDescription& node_;
};

inline int64_t NodeReader::integer(const std::string& name, int64_t least, int64_t most) const {
  double found = number(name);
  if (!(found >= static_cast<double>(least) && found <= static_cast<double>(most)) ||
      found != static_cast<double>(static_cast<int64_t>(found)))
    fail(ErrorKind::kInvalidValue, "attribute " + name + " must be a whole number from " +
                                       std::to_string(least) + " to " + std::to_string(most) + ", got " +
                                       std::to_string(found));
  return static_cast<int64_t>(found);
}

}  // namespace kvasir
