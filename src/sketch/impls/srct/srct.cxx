/*
   Subsampled randomized cosine transform by virtual blocks: orthonormal DCT-II (FFTW) inside blocks of b rows, Hadamard across the B blocks; for n up to 8192 there is one block and it is
   the plain SRCT of length n. Cost about 2.5 n d log2 b + m d n/b, one sum of m d numbers.
*/
#include <skean/private/sketchimpl.h> /*I "skeansketch.h" I*/
#include "../blocktype.hpp"
#include <algorithm>
#include <cmath>

#if defined(SKEAN_HAVE_FFTW)
  #include <fftw3.h>

namespace {
class SRCT : public skean::BlockSketch {
public:
  SRCT(size_t m, size_t b, std::uint64_t N, bool permute, std::int64_t seed, std::uint32_t draw)
      : skean::BlockSketch(m, b, 1.0, permute, seed, draw), k1(m), k2(m), coef(m)
  {
    std::vector<std::uint64_t> s = skean::SampleWithoutReplacement(skean::RandomStream(seed, skean::Purpose::Samples, draw), N, m);
    std::sort(s.begin(), s.end(), [b](std::uint64_t x, std::uint64_t y) { return x % b != y % b ? x % b < y % b : x < y; });
    for (size_t t = 0; t < m; ++t) {
      k1[t] = s[t] / b;
      k2[t] = static_cast<std::uint32_t>(s[t] % b);
    }
    const int                   length = static_cast<int>(b), width = skean::PanelWidth;
    const fftw_r2r_kind         kind = FFTW_REDFT10;
    skean::AlignedArray<double> work(b * skean::PanelWidth);
    plan = fftw_plan_many_r2r(1, &length, width, work.data(), NULL, width, 1, work.data(), NULL, width, 1, &kind, FFTW_ESTIMATE);
    if (!plan) throw std::bad_alloc();
  }
  SRCT(const SRCT &)            = delete;
  SRCT &operator=(const SRCT &) = delete;
  ~SRCT() override { fftw_destroy_plan(plan); }
  /* FFTW's DCT-II is 2 sum_r x_r cos(pi (r + 1/2) k/b): times sqrt(1/(2b)), or sqrt(1/(4b)) for k = 0, it is orthonormal; S has the factor
     sqrt(N/m)/sqrt(B) = sqrt(b/m) besides */
  void Start(std::uint64_t block) override
  {
    for (size_t t = 0; t < m; ++t) coef[t] = (__builtin_parityll(k1[t] & block) ? -1.0 : 1.0) / std::sqrt((k2[t] ? 2.0 : 4.0) * static_cast<double>(m));
  }
  void   Transform(double *panel) override { fftw_execute_r2r(plan, panel, panel); }
  void   Accumulate(const double *panel, double *acc) const override { skean::AccumulateSamples(panel, m, k2.data(), coef.data(), acc); }
  double FlopsPerEntry() const override { return 2.5 * std::log2(static_cast<double>(b)) + 2.0 * static_cast<double>(m) / static_cast<double>(b); }

private:
  std::vector<std::uint64_t> k1;
  std::vector<std::uint32_t> k2;
  std::vector<double>        coef;
  fftw_plan                  plan;
};

/* The smallest number >= n without prime factors above 7 */
std::uint64_t NextSmooth(std::uint64_t n)
{
  for (;; ++n) {
    std::uint64_t q = n;
    for (std::uint64_t p : {2, 3, 5, 7})
      while (q % p == 0) q /= p;
    if (q == 1) return n;
  }
}
} // namespace

static PetscErrorCode SkeanSketchSetUp_SRCT(SkeanSketch sketch)
{
  const auto    n = static_cast<std::uint64_t>(PetscMax(sketch->n, 1));
  std::uint64_t b, N;

  PetscFunctionBegin;
  PetscCall(SkeanSketchReset_Block(sketch));
  if (sketch->bs != PETSC_DETERMINE)
    b = static_cast<std::uint64_t>(sketch->bs);
  else if (n <= 8192)
    b = n;
  else {
    const std::uint64_t B = skean::NextPowerOfTwo((n + 8191) / 8192);
    b                     = NextSmooth((n + B - 1) / B);
  }
  PetscCheck(b < (std::uint64_t(1) << 31), PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type srct needs blocks of fewer than 2^31 rows, not %" PetscInt_FMT, sketch->bs);
  N = b * skean::NextPowerOfTwo((n + b - 1) / b);
  PetscCheck(static_cast<std::uint64_t>(sketch->m) <= N, PetscObjectComm((PetscObject)sketch), PETSC_ERR_ARG_OUTOFRANGE,
             "Sketch type srct cannot sample %" PetscInt_FMT " different rows of a transform of length %" PetscInt64_FMT, sketch->m,
             static_cast<PetscInt64>(N));
  sketch->bsused = static_cast<PetscInt>(b);
  PetscCallCXX(sketch->data = static_cast<skean::BlockSketch *>(
                 new SRCT(static_cast<size_t>(sketch->m), b, N, sketch->permute, sketch->seed, static_cast<std::uint32_t>(sketch->draw))));
  sketch->guarantee = SKEAN_SKETCH_GUARANTEE_APPROXIMATE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

#endif

/*MC
   SKEANSKETCHSRCT - "srct": subsampled randomized cosine transform

   Options Database Keys:
+  -sketch_permute <bool>  - permute the rows inside each virtual block (true)
-  -sketch_block_size <bs> - rows of a virtual block, any positive number (n up to 8192, beyond that about n divided by a power of two)

   Level: beginner

   Notes:
   S = sqrt(N/m) P (H_B/sqrt(B) (x) C_b) Pi D: D random signs, Pi a permutation inside each virtual block (identity with -sketch_permute 0), C_b the orthonormal DCT-II of length b, H_B the
   Walsh-Hadamard matrix across the B blocks (a power of two), N = b B >= n, P the choice of m of N rows without replacement. For n up to 8192, B = 1 and this is the SRCT of
   length n, without padding. Beyond that b is the next number with prime factors up to 7, so that less than B (1 + n/B/50) rows are padded.
   One sum of m d numbers over the processes; b depends on n only, so S does not depend on the number of processes.

   Cost: about 2.5 n d log2(b) flops (FFTW) and m d n/b. Memory and sparse A: as srht. Rows needed: as srht. Needs Skean built with FFTW.

   When not to use it: where srht serves, which is faster; with -sketch_permute 0 on matrices with identity-like blocks: not singular, but cond(S A) up to 3515 was seen at m = 2 d.

   Source: H. Avron, P. Maymounkov and S. Toledo, Blendenpik: supercharging LAPACK's least-squares solver, SIAM J. Sci. Comput. 32, 2010, section 3.2; the blocks as in srht.

.seealso: `SKEANSKETCHSRHT`, `SkeanSketchSetBlockSize()`, `SkeanSketchType`
M*/
SKEAN_INTERN PetscErrorCode SkeanSketchCreate_SRCT(SkeanSketch sketch);
PetscErrorCode              SkeanSketchCreate_SRCT(SkeanSketch sketch)
{
  PetscFunctionBegin;
#if defined(SKEAN_HAVE_FFTW)
  PetscCall(SkeanSketchSetBlockOps_Private(sketch, SkeanSketchSetUp_SRCT));
  PetscFunctionReturn(PETSC_SUCCESS);
#else
  SETERRQ(PetscObjectComm((PetscObject)sketch), PETSC_ERR_SUP_SYS, "Sketch type srct needs Skean built with FFTW");
#endif
}
