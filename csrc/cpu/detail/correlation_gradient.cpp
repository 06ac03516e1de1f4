#include "cpu/detail/correlation_gradient.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/detail/packing.h"
#include "cpu/detail/parallel.h"
#include "sac/detail/triangle.h"

namespace sac {
namespace {

// Rows of a group of panels: a square of that many correlations, and its transpose, stay in the L2 cache.
constexpr std::int64_t kGroupRows = 128;

// A core's sums and rows stay longer in its cache if a team has several groups. Half as many tasks as teams run at a
// time, and a task shall not take long, since calls are cancelled between two.
constexpr std::int64_t kMinTeams = 32, kMaxSpan = 4;

// The two sides of match `m` in round `r` of a tournament of `players` (an even number), where each meets each other
// one once: the circle method, in which the last player stays and the others move on.
std::pair<std::int64_t, std::int64_t> match(std::int64_t players, std::int64_t r, std::int64_t m) {
  const std::int64_t moving = players - 1;
  if (m == 0) return {r, moving};
  const std::int64_t left = (r + m) % moving, right = (r + moving - m) % moving;
  return {std::min(left, right), std::max(left, right)};
}

// A team's part in a task of a round: waits for its tasks of the rounds before, which other threads have begun earlier,
// and counts one round more at the end, also of an exception.
class Turn {
 public:
  Turn(std::atomic<std::int64_t>& rounds, std::int64_t round) : rounds_(rounds) {
    // Long waits are for a thread that the system has put aside: it needs a core.
    for (int waits = 0; rounds_.load(std::memory_order_acquire) < round; ++waits)
      waits < 100 ? std::this_thread::yield() : std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  ~Turn() { rounds_.fetch_add(1, std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<std::int64_t>& rounds_;
};

// W as <u_i, u_j> − <v_i, v_j>: replicates with a positive share are in u, the others in v, in the layout of a pair.
template <typename T>
class PackedShares {
 public:
  PackedShares(const GradientWeights& given, std::int64_t n, int width, std::int64_t panels) {
    std::vector<std::int64_t> positive, negative;
    for (std::int64_t r = 0; r < given.replicates; ++r) {
      largest_ = std::max(largest_, std::fabs(given.shares[r]));
      if (given.shares[r] != 0) (given.shares[r] > 0 ? positive : negative).push_back(r);
    }
    view_.pairs = static_cast<std::int64_t>(std::min(positive.size(), negative.size()));
    view_.rest = static_cast<std::int64_t>(std::max(positive.size(), negative.size())) - view_.pairs;
    view_.rest_is_a = positive.size() > negative.size();
    view_.panels = panels;
    const std::int64_t lines = 2 * view_.pairs + view_.rest;
    lines_ = std::make_unique<AlignedBuffer<T>>(lines * panels * width);
    std::fill(lines_->data(), lines_->data() + lines * panels * width, T(0));
    view_.lines = lines_->data();
    const auto fill = [&](const std::vector<std::int64_t>& replicates, int side) {
      for (std::size_t place = 0; place < replicates.size(); ++place) {
        const auto at = static_cast<std::int64_t>(place);
        const std::int64_t line = at < view_.pairs ? 2 * at + side : view_.pairs + at;
        const double* w = given.weights + replicates[place] * n;
        const double largest = *std::max_element(w, w + n);
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) sum += w[i] / largest;
        // near 1, so that products are normal numbers
        const double share = std::sqrt(std::fabs(given.shares[replicates[place]]) / largest_) * static_cast<double>(n);
        for (std::int64_t i = 0; i < n; ++i)
          lines_->data()[(i / width * lines + line) * width + i % width] = static_cast<T>(w[i] / largest / sum * share);
      }
    };
    fill(positive, 0);
    fill(negative, 1);
    scale_ = largest_ / static_cast<double>(n) / static_cast<double>(n);
  }

  const PackedPairView<T>& view() const { return view_; }
  // of the products, to W
  double scale() const { return scale_; }

 private:
  double largest_ = 0, scale_;
  PackedPairView<T> view_{};
  std::unique_ptr<AlignedBuffer<T>> lines_;
};

template <typename T>
class Gradient {
 public:
  Gradient(const MatrixView& a, const MatrixView& b, Metric metric, double sigma, const CpuOptions& options,
           bool wants_a, bool wants_b)
      : a_(a),
        b_(b),
        metric_(metric),
        options_(options),
        kernels_(kernels_of<T>(options.instruction_set)),
        wants_{wants_a, wants_b},
        // both passes: the forward one's operations, and as many for each side
        threads_(useful_threads(
            static_cast<double>(a.rows) * static_cast<double>(a.rows) * static_cast<double>(a.cols + b.cols) * 2,
            options.threads)),
        packed_(a, b, metric, sigma, kernels_, threads_, options),
        sums_(packed_.identical() ? 0 : packed_.view().panels * packed_.panel_size()) {}

  bool identical() const { return packed_.identical(); }
  std::int64_t panels() const { return packed_.view().panels; }
  int width() const { return kernels_.width; }

  // Groups form teams, and each pair of teams is one task. A team takes part in one task of each round, and its tasks
  // run in the order of the rounds, so every sum is added up in one order by any number of threads. Rounds overlap: a
  // thread that finds no task in one goes on with the next, as soon as the two teams are ready.
  void add_up(const PackedPairView<T>* weights) {
    parallel_for(panels(), threads_, options_, [this](std::int64_t p) {
      T* panel = sums_.data() + p * packed_.panel_size();
      std::fill(panel, panel + packed_.panel_size(), T(0));
    });
    group_ = std::max<std::int64_t>(1, kGroupRows / kernels_.width);
    const std::int64_t groups = ceil_div(panels(), group_);
    const std::int64_t span = std::clamp<std::int64_t>(groups / kMinTeams, 1, kMaxSpan);
    const std::int64_t teams = ceil_div(groups, span), players = round_up(teams, 2);
    // round 0: each team with itself
    std::vector<std::atomic<std::int64_t>> rounds(static_cast<std::size_t>(players));
    const std::int64_t matches = players / 2, tasks = teams + (players - 1) * matches;
    const auto play = [&](std::int64_t a, std::int64_t b) {
      for (std::int64_t j = b * span; j < std::min(groups, (b + 1) * span); ++j)
        for (std::int64_t i = a * span; i < std::min(a == b ? j + 1 : groups, (a + 1) * span); ++i) run(i, j, weights);
    };
    parallel_for(tasks, threads_, options_, [&](std::int64_t t) {
      if (t < teams) {
        const Turn turn(rounds[t], 0);
        return play(t, t);
      }
      const std::int64_t r = (t - teams) / matches;
      const auto [i, j] = match(players, r, (t - teams) % matches);
      const Turn first(rounds[i], r + 1);
      if (j >= teams) return;  // no opponent in this round
      const Turn second(rounds[j], r + 1);
      play(i, j);
    });
  }

  // Through the normalisation of the rows of a (side 0) or b (1), times `scale`.
  void write(int side, double scale, double* out) const {
    const MatrixView& x = side == 0 ? a_ : b_;
    parallel_for(panels(), threads_, options_, [&](std::int64_t p) {
      std::vector<double> row(static_cast<std::size_t>(x.cols));
      for (std::int64_t i = p * width(); i < std::min(x.rows, (p + 1) * width()); ++i)
        write_row(x, side, i, scale, row.data(), out + i * x.cols);
    });
  }

 private:
  // The signs of the tiles of groups i ≤ j times the rows of one group are added to the sums of the other.
  void run(std::int64_t i, std::int64_t j, const PackedPairView<T>* weights) {
    const bool rbf = metric_ == Metric::rbf;
    const std::int64_t size = static_cast<std::int64_t>(width()) * width(), square = group_ * group_ * size;
    const std::int64_t rows = std::min(group_, panels() - i * group_), cols = std::min(group_, panels() - j * group_);
    // signs[side]: of column q the blocks of all rows p; behind them their transposes, of row p all columns q
    AlignedBuffer<T> signs((rbf ? 4 : 2) * square);
    T* const side_signs[2] = {signs.data(), rbf ? signs.data() + 2 * square : signs.data()};
    const auto block = rbf ? kernels_.sign_block_rbf : kernels_.sign_block_dot;
    const T equal = static_cast<T>(sizeof(T) == sizeof(double) ? 0x1p-48 : 0x1p-22);
    for (std::int64_t q = 0; q < cols; ++q)
      for (std::int64_t p = 0; p < (i == j ? q + 1 : rows); ++p) {
        const std::int64_t at = (q * rows + p) * size;
        block(packed_.view(), weights, i * group_ + p, j * group_ + q, equal, side_signs[0] + at, side_signs[1] + at);
        if (i == j && p == q) continue;  // its own transpose
        const std::int64_t mirrored = (i == j ? 0 : square) + (p * cols + q) * size;
        for (int side = 0; side < (rbf ? 2 : 1); ++side)
          kernels_.transpose_block(side_signs[side] + at, side_signs[side] + mirrored);
      }
    for (std::int64_t q = 0; q < cols; ++q) add(i, rows, j * group_ + q, side_signs, q * rows * size);
    if (i != j)
      for (std::int64_t p = 0; p < rows; ++p) add(j, cols, i * group_ + p, side_signs, square + p * cols * size);
  }

  // To the sums of panel `to`: the rows of a group times the blocks at `first`.
  void add(std::int64_t group, std::int64_t count, std::int64_t to, T* const (&signs)[2], std::int64_t first) {
    const PackedPairView<T>& z = packed_.view();
    const std::int64_t size = packed_.panel_size();
    const T* x = z.lines + group * group_ * size;
    T* sums = sums_.data() + to * size;
    if (wants_[0] && wants_[1] && metric_ != Metric::rbf) {
      kernels_.add_products(x, size, signs[0] + first, count, 2 * z.pairs + z.rest, 1, sums);
      return;
    }
    for (int side = 0; side < 2; ++side) {
      if (!wants_[side]) continue;
      const T* blocks = signs[side] + first;
      const std::int64_t skipped = side * width(), rest = 2 * z.pairs * width();
      kernels_.add_products(x + skipped, size, blocks, count, z.pairs, 2, sums + skipped);
      if (z.rest_is_a == (side == 0)) kernels_.add_products(x + rest, size, blocks, count, z.rest, 1, sums + rest);
    }
  }

  void write_row(const MatrixView& x, int side, std::int64_t i, double scale, double* row, double* out) const {
    const std::int64_t k = x.cols, pairs = packed_.view().pairs;
    double norm = 0;
    widen_row(x, i, row);
    const auto normalise = kernels_of<double>(options_.instruction_set).normalise;
    if (normalise(row, k, metric_ == Metric::pearson, row, &norm) != RowKind::ordinary) {
      std::fill(out, out + k, 0.0);
      return;
    }
    const T* sums = sums_.data() + i / width() * packed_.panel_size() + i % width();
    double along = 0, mean = 0;
    for (std::int64_t l = 0; l < k; ++l) {
      out[l] = scale * static_cast<double>(sums[(l < pairs ? 2 * l + side : pairs + l) * width()]);
      along += out[l] * row[l];
      mean += out[l] / static_cast<double>(k);
    }
    if (metric_ != Metric::pearson) mean = 0;
    for (std::int64_t l = 0; l < k; ++l) out[l] = (out[l] - mean - along * row[l]) / norm;
  }

  const MatrixView &a_, &b_;
  const Metric metric_;
  const CpuOptions& options_;
  const KernelsOf<T>& kernels_;
  const bool wants_[2];
  const int threads_;
  const PackedPair<T> packed_;
  AlignedBuffer<T> sums_;  // as the rows are packed
  std::int64_t group_ = 1;
};

template <typename T>
void gradient(const MatrixView& a, const MatrixView& b, Metric metric, double sigma, const GradientWeights& given,
              const CpuOptions& options, double* grad_a, double* grad_b) {
  Gradient<T> work(a, b, metric, sigma, options, grad_a != nullptr, grad_b != nullptr);
  if (work.identical()) {
    if (grad_a) std::fill(grad_a, grad_a + a.rows * a.cols, 0.0);
    if (grad_b) std::fill(grad_b, grad_b + b.rows * b.cols, 0.0);
    return;
  }
  double scale = 2 * given.factor;
  if (metric == Metric::rbf) scale /= sigma * sigma;
  if (given.weights) {
    const PackedShares<T> shares(given, a.rows, work.width(), work.panels());
    scale *= shares.scale();
    work.add_up(&shares.view());
  } else {
    work.add_up(nullptr);
  }
  if (grad_a) work.write(0, scale, grad_a);
  if (grad_b) work.write(1, -scale, grad_b);
}

}  // namespace

void correlation_gradient(const MatrixView& a, const MatrixView& b, Metric metric, double sigma,
                          const GradientWeights& weights, const CpuOptions& options, double* grad_a, double* grad_b) {
  const bool wide = needs_float64(a, metric, sigma) || needs_float64(b, metric, sigma);
  (wide ? gradient<double> : gradient<float>)(a, b, metric, sigma, weights, options, grad_a, grad_b);
}

}  // namespace sac
