// Attention on the CPU.
//
// Work is divided into query tiles: up to 48 rows (query heads of a group times tokens) of one sequence and
// key/value head, so that each block of the cache is read once for all of them. A thread takes one tile after
// another, the longest of a head first. A tile goes over its keys in segments of 512 positions, each summed
// from nothing and then added to those before, in order. Where there are fewer tiles than would keep all
// threads busy (long contexts, few heads) the segments themselves are handed out, and added by the calling
// thread in the same order, so that the results are the same.
//
// Bytes moved by a decode step: the cache of each sequence, once.

#include "kernels/attention/attention.h"

#include "device/cpu/parallel.h"
#include "kernels/attention/attention-tile.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

// Sums of one tile, or several of fewer rows.
struct alignas(64) SumSpace {
  float y[kTileRows * kMaxHeadSize];
  float weight[kTileRows], maximum[kTileRows];
};

struct ThreadSpace {
  TileScratch tile;
  SumSpace segment, total;
};
static_assert(sizeof(ThreadSpace) <= kAttentionScratchBytesPerThread);

ThreadSpace& space_of(const Execution& execution, int64_t thread) {
  return *reinterpret_cast<ThreadSpace*>(execution.scratch + thread * kAttentionScratchBytesPerThread);
}

// The i-th set of sums of `rows` rows in `space`, which has room for kTileRows / rows of them.
RowSums sums_in(SumSpace& space, int64_t i, int64_t rows, int64_t DP) {
  return {space.y + i * rows * DP, space.weight + i * rows, space.maximum + i * rows};
}

void clear(const RowSums& sums, int64_t rows, int64_t DP) {
  std::memset(sums.y, 0, static_cast<size_t>(rows * DP) * sizeof(float));
  for (int64_t row = 0; row < rows; row++) {
    sums.weight[row] = 0;
    sums.maximum[row] = kNoScore;
  }
}

// total += segment, each relative to its own maximum.
void add_segment(const RowSums& total, const RowSums& segment, int64_t rows, int64_t DP) {
  for (int64_t row = 0; row < rows; row++) {
    const float before = total.maximum[row], its = segment.maximum[row];
    const float maximum = its > before ? its : before, reference = reference_of(maximum);
    const Vec a = exp2_of_negative(broadcast(before - reference));
    const Vec b = exp2_of_negative(broadcast(its - reference));
    for (int64_t i = row * DP; i < (row + 1) * DP; i += kWidth)
      store(total.y + i, fma(load(total.y + i), a, load(segment.y + i) * b));
    total.weight[row] = total.weight[row] * reduce_max(a) + segment.weight[row] * reduce_max(b);
    total.maximum[row] = maximum;
  }
}

// Numbers a call's query tiles sequence by sequence, head by head. The first number of a sequence follows
// from the tokens before it, without a table; so a sequence may have a number more than tiles, and that tile
// has no rows.
struct TileNumbers {
  const Attention& a;

  int64_t start(int64_t s) const { return a.tables.query_starts[s] * group_size(a) / kTileRows + s; }
  int64_t count() const { return start(a.tables.S) * a.cache.KH; }
  int64_t sequence_of(int64_t tile) const;
  QueryTile operator[](int64_t tile) const;
};

int64_t TileNumbers::sequence_of(int64_t tile) const {
  int64_t low = 0, high = a.tables.S;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (start(middle) * a.cache.KH <= tile ? low : high) = middle;
  }
  return low;
}

QueryTile TileNumbers::operator[](int64_t tile) const {
  const int64_t s = sequence_of(tile), tiles = start(s + 1) - start(s), local = tile - start(s) * a.cache.KH;
  const int64_t rows = (a.tables.query_starts[s + 1] - a.tables.query_starts[s]) * group_size(a);
  const int64_t first_row = (tiles - 1 - local % tiles) * kTileRows;  // the last tile sees most keys
  return {s, local / tiles, first_row, larger(0, smaller(kTileRows, rows - first_row))};
}

// Work in elements of keys, each times the rows it is used for; reading one from memory takes as long as
// using it for kRowsPerRead rows. Below kWorkForOneThread, about 5 us, waking others does not pay.
constexpr int64_t kRowsPerRead = 8;
constexpr int64_t kWorkForOneThread = 1 << 17;

struct Segments {
  int64_t begin, end;
};

Segments segments_of(const Attention& a, const QueryTile& tile) {
  const int64_t first = visible_keys(a, tile.sequence, tile.first_row).first;
  const int64_t last = visible_keys(a, tile.sequence, tile.first_row + tile.rows - 1).last;
  return {first / kSegment, (last - 1) / kSegment + 1};
}

void attend_segment(const Attention& a, const QueryTile& tile, const ScoreRule& rule, int64_t segment,
                    TileScratch& scratch, const RowSums& sums, const Execution& execution) {
  switch (a.cache.dtype) {
    case DType::kF16:
      return attend_segment<F16Element>(a, tile, rule, segment, scratch, sums, execution);
    case DType::kBF16:
      return attend_segment<BF16Element>(a, tile, rule, segment, scratch, sums, execution);
    case DType::kQ8:
      return attend_segment<Int8Element>(a, tile, rule, segment, scratch, sums, execution);
    default:
      return attend_segment<float>(a, tile, rule, segment, scratch, sums, execution);
  }
}

void attend_tile(const Attention& a, const QueryTile& tile, const ScoreRule& rule, ThreadSpace& space,
                 const Execution& execution) {
  if (tile.rows == 0) return;
  const int64_t DP = KvCacheLayer::padded(a.D);
  const RowSums segment = sums_in(space.segment, 0, tile.rows, DP);
  const RowSums total = sums_in(space.total, 0, tile.rows, DP);
  const Segments segments = segments_of(a, tile);
  load_queries(a, tile, rule, space.tile);
  clear(total, tile.rows, DP);
  for (int64_t i = segments.begin; i < segments.end; i++) {
    attend_segment(a, tile, rule, i, space.tile, segment, execution);
    if (execution.aborted()) return;
    add_segment(total, segment, tile.rows, DP);
  }
  store_outputs(a, tile, total);
}

void attend_tiles(const Attention& a, const ScoreRule& rule, int64_t grain, Execution& execution) {
  const TileNumbers tiles{a};
  parallel_for(execution, tiles.count(), grain, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end && !execution.aborted(); i++)
      attend_tile(a, tiles[i], rule, space_of(execution, thread), execution);
  });
}

// One segment of one tile, and where its sums go.
struct SegmentJob {
  QueryTile tile;
  int64_t segment;
  bool first, last;  // of the tile
  RowSums sums;
};
constexpr int64_t kMaxJobs = 256;

void run_jobs(const Attention& a, const ScoreRule& rule, const SegmentJob* jobs, int64_t num_jobs,
              Execution& execution) {
  parallel_for(execution, num_jobs, 1, [&](int64_t begin, int64_t end, int thread) {
    TileScratch& scratch = space_of(execution, thread).tile;
    for (int64_t i = begin; i < end; i++) {
      load_queries(a, jobs[i].tile, rule, scratch);
      attend_segment(a, jobs[i].tile, rule, jobs[i].segment, scratch, jobs[i].sums, execution);
    }
  });
  if (execution.aborted()) return;
  const int64_t DP = KvCacheLayer::padded(a.D);
  for (int64_t i = 0; i < num_jobs; i++) {
    const int64_t rows = jobs[i].tile.rows;
    const RowSums total = sums_in(space_of(execution, 0).total, 0, rows, DP);
    if (jobs[i].first) clear(total, rows, DP);
    add_segment(total, jobs[i].sums, rows, DP);
    if (jobs[i].last) store_outputs(a, jobs[i].tile, total);
  }
}

// As many segments at a time as there is room for sums of `max_rows` rows.
void attend_segments(const Attention& a, const ScoreRule& rule, int64_t max_rows, Execution& execution) {
  const TileNumbers tiles{a};
  const int64_t DP = KvCacheLayer::padded(a.D), threads = execution.pool.num_threads();
  const int64_t room = smaller(kMaxJobs, threads * (kTileRows / max_rows));
  SegmentJob jobs[kMaxJobs];
  int64_t num_jobs = 0;
  for (int64_t t = 0; t < tiles.count() && !execution.aborted(); t++) {
    const QueryTile tile = tiles[t];
    if (tile.rows == 0) continue;
    const Segments segments = segments_of(a, tile);
    for (int64_t i = segments.begin; i < segments.end; i++) {
      SumSpace& space = space_of(execution, num_jobs % threads).segment;
      const RowSums sums = sums_in(space, num_jobs / threads, max_rows, DP);
      jobs[num_jobs++] = {tile, i, i == segments.begin, i + 1 == segments.end, sums};
      if (num_jobs == room) {
        run_jobs(a, rule, jobs, num_jobs, execution);
        num_jobs = 0;
      }
    }
  }
  run_jobs(a, rule, jobs, num_jobs, execution);
}

}  // namespace

void attention(const Attention& a, Execution& execution) {
  const StepTables& t = a.tables;
  int64_t max_rows = 0, max_context = 0, work = 0;
  for (int64_t s = 0; s < t.S; s++) {
    const int64_t rows = (t.query_starts[s + 1] - t.query_starts[s]) * group_size(a);
    if (rows == 0) continue;
    max_rows = larger(max_rows, rows);
    max_context = larger(max_context, t.context_lengths[s]);
    work += t.context_lengths[s] * a.cache.KH * a.D * (rows + kRowsPerRead);
  }
  const ScoreRule rule = score_rule(a);
  const int64_t tiles = TileNumbers{a}.count(), threads = execution.pool.num_threads();
  if (threads > 1 && tiles < 2 * threads && max_context > kSegment)
    attend_segments(a, rule, smaller(kTileRows, max_rows), execution);
  else
    attend_tiles(a, rule, work < kWorkForOneThread ? tiles : 1, execution);
}

}  // namespace kvasir::KVASIR_ISA
