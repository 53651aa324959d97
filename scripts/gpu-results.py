#!/usr/bin/env python3
"""Makes one result of what scripts/gpu-check.sh measured.

    gpu-results.py LOG_FOLDER --out benchmarks/results [--date YYYY-MM-DD] [--commit HASH] [--no-torch]

LOG_FOLDER holds bench.jsonl (benchmarks/cuda/bench), probe.jsonl (benchmarks/cuda/probe) and summary.jsonl (the steps
that ran). Where torch sees the device, its cuBLAS and FlashAttention-2 are timed in the same session. Writes
<out>/<date>-<device>.json and .md, and prints the table.
"""

import argparse
import datetime
import json
import pathlib
import re
import statistics
import sys

# Times that others published, in us a token, and ours to reach: shapes and conditions as in the benchmark of that name.
# Llama-3.2-1B: msaroufim/megakernels-vs-cuda-graphs, llama/docs/RESULTS.md, 32 tokens in and 128 out: the faster of
# its two programs. GPT-2: bytes over bandwidth and two thirds of the gaps of 60 kernels.
DECODE_TARGETS_US = {
    ("llama-3.2-1b", "H200"): 759.83,
    ("llama-3.2-1b", "H100"): 972.78,
    ("gpt2-124m", "H200"): 110.0,
}
PRODUCT_TARGET = 1.0  # of cuBLAS, in the same session
FEW_ROWS_TARGET = 0.85  # of the bandwidth that the probe's read has
JAVASCRIPT_TARGET = 0.95  # of the speed of the same generation without it
ATTENTION_TARGET = 1.5  # of FlashAttention-2, in the same session
DECODE_KERNEL_TARGET = 0.85  # of the probe's read, for kernels that move 4 MB and more
LARGE_BYTES = 4e6


def read_lines(path):
    """JSON objects, a line each; lines that are none (a program that was killed) are left out."""
    found = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                print(f"gpu-results: {path.name}: not JSON: {line[:80]}", file=sys.stderr)
    return found


class Torch:
    """References, timed as the benchmark times: random numbers, rotating buffers, graphs, device events, medians."""

    def __init__(self):
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("torch sees no device")
        self.torch = torch
        self.version = torch.__version__
        torch.manual_seed(1)

    def median_us(self, launch, sets):
        torch = self.torch
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for i in range(max(3, sets)):
                launch(i % sets)
        side.synchronize()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(sets):
            launch(i)
        end.record()
        torch.cuda.synchronize()
        estimate = max(0.5, 1000 * start.elapsed_time(end) / sets)
        launches = sets * max(1, min(round(2000 / estimate / sets), 400 // sets or 1))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(launches):
                launch(i % sets)
        times = []
        for i in range(3 + max(7, min(101, round(300_000 / (estimate * launches))))):
            start.record()
            graph.replay()
            end.record()
            torch.cuda.synchronize()
            if i >= 3:
                times.append(1000 * start.elapsed_time(end) / launches)
        return statistics.median(times)

    def sets(self, tensor_bytes):
        cache = getattr(self.torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20)
        return int(max(2, min(3 * cache // tensor_bytes + 1, 4e9 // tensor_bytes, 512)))

    def random(self, *shape):
        return self.torch.randn(*shape, device="cuda", dtype=self.torch.bfloat16)

    def product(self, m, n, k):
        """x (m,k) times the transpose of w (n,k), through cuBLAS."""
        sets = self.sets(2 * (m * k + n * k + m * n))
        x = [self.random(m, k) for _ in range(sets)]
        w = [self.random(n, k) for _ in range(sets)]
        y = [self.random(m, n) for _ in range(sets)]
        return self.median_us(lambda i: self.torch.matmul(x[i], w[i].t(), out=y[i]), sets)

    def attention(self, tokens, heads, kv_heads, size):
        """Causal attention by FlashAttention-2."""
        from torch.nn.attention import SDPBackend, sdpa_kernel

        sets = self.sets(2 * tokens * size * (2 * heads + 2 * kv_heads))
        q = [self.random(1, heads, tokens, size) for _ in range(sets)]
        k = [self.random(1, kv_heads, tokens, size) for _ in range(sets)]
        v = [self.random(1, kv_heads, tokens, size) for _ in range(sets)]
        run = self.torch.nn.functional.scaled_dot_product_attention
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return self.median_us(
                lambda i: run(q[i], k[i], v[i], is_causal=True, enable_gqa=heads != kv_heads), sets
            )

    def copy_bandwidth(self):
        a, b = (self.random(1 << 30) for _ in range(2))
        return 2 * 2 * (1 << 30) / (self.median_us(lambda i: b.copy_(a), 1) / 1e6)


def references(results, probes, log):
    """Times of the same work through torch, by name, and what torch is; a reference that fails is told and left out."""
    try:
        torch = Torch()
    except Exception as error:
        log(f"no references: {error}")
        return {}, None
    found = {}

    def attempt(key, measure):
        try:
            found[key] = measure()
        except Exception as error:
            log(f"no reference for {key}: {error}")

    attempt("copy bandwidth", torch.copy_bandwidth)
    if "copy bandwidth" in found:
        probes.setdefault("copy bytes a second by torch", {"value": found.pop("copy bandwidth")})
    for result in results:
        group, name = result["group"], result["name"]
        if group == "large products":
            size = int(name.split("^")[0])
            attempt(name, lambda: torch.product(size, size, size))
        elif group == "products of few rows":
            rows = int(re.search(r", (\d+) rows", name).group(1))
            n, k = {
                "q|k|v": (3072, 2048),
                "attention output": (2048, 2048),
                "gate|up": (16384, 2048),
                "down": (2048, 8192),
                "head": (128256, 2048),
            }[name.split(",")[0]]
            attempt(name, lambda: torch.product(rows, n, k))
        elif group == "attention over a prompt":
            tokens, heads, size = (int(x) for x in re.match(r"(\d+) tokens, (\d+) heads of (\d+)", name).groups())
            shared = re.search(r"(\d+) share keys", name)
            kv_heads = heads // int(shared.group(1)) if shared else heads
            attempt(name, lambda: torch.attention(tokens, heads, kv_heads, size))
    return found, torch.version


def device_short_name(device):
    return re.sub(r"[^a-z0-9]+", "-", device.lower().replace("nvidia", "")).strip("-")


def judge(result, probes, reference, device):
    """What a time amounts to: rates, shares of what the device can do, ratios to references and to targets."""
    seconds = result["us"] / 1e6
    judged = dict(result, noise=abs(result["us"] - result["us_again"]) / min(result["us"], result["us_again"]))
    if result["bytes"]:
        judged["bytes_a_second"] = result["bytes"] / seconds
        for kind in ("copy", "read"):
            probe = probes.get(f"{kind} bytes a second")
            if probe:
                judged[f"share_of_{kind}"] = judged["bytes_a_second"] / probe["value"]
    if result["operations"]:
        judged["operations_a_second"] = result["operations"] / seconds
    if reference:
        judged["reference_us"] = reference
        judged["speed_to_reference"] = reference / result["us"]
    group, name = result["group"], result["name"]
    target = None  # (what is compared, how it must be at least)
    if group == "generation from JavaScript" and reference:
        target = (judged["speed_to_reference"], JAVASCRIPT_TARGET, f"{JAVASCRIPT_TARGET:.0%} of the speed without")
    if group == "generation" and " 1 sequence," in name:
        for (model, chip), us in DECODE_TARGETS_US.items():
            if name.startswith(model + ", bf16,") and chip in device:
                target = (us / result["us"], 1.0, f"{us} us")
    elif group == "large products" and reference:
        target = (judged["speed_to_reference"], PRODUCT_TARGET, "cuBLAS")
    elif group == "products of few rows" and "share_of_read" in judged:
        target = (judged["share_of_read"], FEW_ROWS_TARGET, f"{FEW_ROWS_TARGET:.0%} of read bandwidth")
    elif group == "attention over a prompt" and reference:
        target = (judged["speed_to_reference"], ATTENTION_TARGET, f"{ATTENTION_TARGET} x FlashAttention-2")
    elif group == "kernels of a decode step" and result["bytes"] >= LARGE_BYTES and "share_of_read" in judged:
        target = (judged["share_of_read"], DECODE_KERNEL_TARGET, f"{DECODE_KERNEL_TARGET:.0%} of read bandwidth")
    if target:
        value, least, words = target
        judged.update(target=words, target_ratio=value / least, reached=value >= least)
    return judged


def table(document):
    """The results as Markdown."""
    device = document["device"]
    lines = [
        f"# {document['date']}, {device['name']}",
        "",
        f"Commit {document['commit']}; driver {device['driver']}, CUDA {device['runtime']}, "
        f"{device['multiprocessors']} multiprocessors, {device['memory_bytes'] / 1e9:.0f} GB"
        + (f"; references through torch {document['torch']}." if document["torch"] else "; no references."),
    ]
    if device["module"] != "cuda" or device["tiny"]:
        lines += ["", "**Not a measurement: an emulated device, or sizes made for one. It shows that the scripts work.**"]
    for name, probe in document["probes"].items():
        again = f", again {probe['again']:.4g}" if "again" in probe else ""
        lines.append(f"Probe: {name} {probe['value']:.4g}{again}.")
    lines += ["", "| Step | Result | Seconds |", "| --- | --- | ---: |"]
    lines += [f"| {s['step']} | {s['result']} | {s['seconds']} |" for s in document["steps"]]
    group = None
    for r in document["results"]:
        if r["group"] != group:
            group = r["group"]
            lines += ["", f"## {group[0].upper()}{group[1:]}", ""]
            lines.append("| | us | noise | GB/s | of read | TFLOP/s | reference, us | speed to it | target | of target |")
            lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")

        def cell(key, form, scale=1.0):
            return format(r[key] * scale, form) if r.get(key) is not None else ""

        cells = [
            r["name"].replace("|", "\\|"),
            cell("us", ".2f"),
            cell("noise", ".1%"),
            cell("bytes_a_second", ".0f", 1e-9),
            cell("share_of_read", ".0%"),
            cell("operations_a_second", ".1f", 1e-12),
            cell("reference_us", ".2f"),
            cell("speed_to_reference", ".2f"),
            r.get("target", ""),
            cell("target_ratio", ".2f"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
        sequences = re.search(r", (\d+) sequences,", r["name"])
        if sequences and group == "generation":
            lines.append(f"| (in all, tokens a second: {1e6 * int(sequences.group(1)) / r['us']:.0f}) " + "| " * 9 + "|")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args()
    lines = read_lines(options.logs / "bench.jsonl")
    device = next((line for line in lines if line["kind"] == "device"), None)
    results = [line for line in lines if line["kind"] == "kernel"]
    if device is None or not results:
        sys.exit("gpu-results: bench.jsonl has no results")
    probes = {
        line["name"]: {"value": line["value"], "again": line["again"]}
        for line in read_lines(options.logs / "probe.jsonl")
    }
    notes = []
    real = device["module"] == "cuda" and not device["tiny"]
    native = {r["name"]: r["us"] for r in results if r["group"] == "generation"}
    found, torch = ({}, None) if options.no_torch or not real else references(results, probes, notes.append)
    document = {
        "date": options.date,
        "commit": options.commit,
        "device": device,
        "torch": torch,
        "steps": read_lines(options.logs / "summary.jsonl"),
        "probes": probes,
        "notes": notes,
        "results": [
            judge(r, probes, (native if "JavaScript" in r["group"] else found).get(r["name"]), device["name"])
            for r in results
        ],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    base = options.out / f"{options.date}-{device_short_name(device['name'])}"
    pathlib.Path(f"{base}.json").write_text(json.dumps(document, indent=1) + "\n")
    pathlib.Path(f"{base}.md").write_text(table(document))
    print(table(document))
    for note in notes:
        print(f"gpu-results: {note}", file=sys.stderr)
    print(f"gpu-results: {base}.json, {base}.md", file=sys.stderr)


if __name__ == "__main__":
    main()
