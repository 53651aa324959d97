# The CPU addon for machines without CMake: `node-gyp rebuild`. The list of sources and the flags are native/sources.json.
{
  "target_defaults": {
    "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20", "-O2", "-fno-strict-aliasing"],
    "cflags_cc": ["<!@(node scripts/native-sources.cjs flags common)", "-fexceptions"],
    # An error that meets an environment in shutdown is dropped: thrown on, it would end the process by std::terminate.
    "defines": ["NAPI_VERSION=9", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "configurations": { "Release": { "ldflags": ["-Wl,--version-script=<(module_root_dir)/native/exports.map"] } }
  },
  "targets": [
    {
      "target_name": "kernels_baseline",
      "type": "static_library",
      "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
      "cflags_cc": ["<!@(node scripts/native-sources.cjs isas <(target_arch) baseline)"],
      "defines": ["KVASIR_ISA=baseline"]
    },
    {
      "target_name": "kvasir",
      "dependencies": ["kernels_baseline"],
      "conditions": [
        ["target_arch == 'x64'", { "dependencies": ["kernels_avx2", "kernels_avxvnni", "kernels_avx512"] }],
        ["target_arch == 'arm64'", { "dependencies": ["kernels_dotprod", "kernels_i8mm"] }]
      ],
      "sources": ["<!@(node scripts/native-sources.cjs base)"],
      "libraries": ["-ldl", "-lpthread"]
    }
  ],
  "conditions": [
    ["target_arch == 'x64'", {
      "targets": [
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "cflags_cc": ["<!@(node scripts/native-sources.cjs isas x64 avx2)"],
          "defines": ["KVASIR_ISA=avx2"]
        },
        {
          "target_name": "kernels_avxvnni",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "cflags_cc": ["<!@(node scripts/native-sources.cjs isas x64 avxvnni)"],
          "defines": ["KVASIR_ISA=avxvnni"]
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "cflags_cc": ["<!@(node scripts/native-sources.cjs isas x64 avx512)"],
          "defines": ["KVASIR_ISA=avx512"]
        }
      ]
    }],
    ["target_arch == 'arm64'", {
      "targets": [
        {
          "target_name": "kernels_dotprod",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "cflags_cc": ["<!@(node scripts/native-sources.cjs isas arm64 dotprod)"],
          "defines": ["KVASIR_ISA=dotprod"]
        },
        {
          "target_name": "kernels_i8mm",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "cflags_cc": ["<!@(node scripts/native-sources.cjs isas arm64 i8mm)"],
          "defines": ["KVASIR_ISA=i8mm"]
        }
      ]
    }]
  ]
}
