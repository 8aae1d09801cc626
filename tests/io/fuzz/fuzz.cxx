/*
   libFuzzer targets of the parsers of src/io and of the checkpoint format; SKEAN_FUZZ_TARGET says which. Each parser gets the bytes
   whole, as a beginning that may be continued, and cut into two shares at a line, and must neither crash, nor allocate much more
   than it was given, nor give other numbers when the text is cut.
*/
#include <src/io/parse.hpp>
#include <src/sys/checkpointparse.hpp>
#include <cstdlib>
#include <cstring>

using namespace skean::io;

#define MUST(c)             \
  do {                      \
    if (!(c)) std::abort(); \
  } while (0)

static void CheckError(bool ok, const Error &e, bool complete)
{
  MUST(ok == !e.Failed());
  MUST(!complete || e.why != Why::NeedMore);
  MUST(e.Failed() == !e.text.empty());
  MUST(e.Where().size() < 4096);
}
static void CheckLayout(const Layout &a)
{
  MUST(!a.dims.empty());
  for (const auto d : a.dims) MUST(d >= 0);
  MUST(a.offset >= 0 && a.Rest() >= 0 && a.End() >= a.offset);
}
/* The end of the first half's last line */
static const char *Middle(const char *p, const char *e)
{
  const char *m = p + (e - p) / 2;
  while (m < e && m[-1] != '\n') ++m;
  return m;
}
static bool Same(const std::vector<double> &a, const std::vector<double> &b)
{
  return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(double)));
}

static void MatrixMarket(const char *p, std::size_t n)
{
  MMHeader h, g;
  Error    e, more;
  MMParseHeader(p, n, false, g, more);
  const bool ok = MMParseHeader(p, n, true, h, e);
  CheckError(ok, e, true);
  if (!ok) return;
  MUST(h.body >= 0 && h.body <= static_cast<std::int64_t>(n) && h.M >= 0 && h.N >= 0 && h.nnz >= 0);
  const char *b = p + h.body, *end = p + n, *m = b < end ? Middle(b + 1, end) : end;
  if (h.coordinate) {
    Coo          c, d;
    std::int64_t u = 0, l = 0, v = 0, k = 0;
    Error        e1, e2;
    const bool   whole = MMParseEntries(b, end, h.lines + 1, h, c, &u, &l, e1);
    CheckError(whole, e1, true);
    MUST(c.i.size() == c.v.size() && c.j.size() == c.v.size());
    for (std::size_t q = 0; q < c.v.size(); ++q) MUST(c.i[q] >= 0 && c.i[q] < h.M && c.j[q] >= 0 && c.j[q] < h.N);
    const bool halves = MMParseEntries(b, m, 1, h, d, &v, &k, e2) && MMParseEntries(m, end, 1, h, d, &v, &k, e2);
    MUST(whole == halves);
    if (whole) MUST(Same(c.v, d.v) && c.i == d.i && c.j == d.j);
  } else {
    std::vector<double> x, y;
    Error               e1, e2;
    const bool          whole = ParseValues(b, end, 1, h.field == MMHeader::Integer, 0, x, e1);
    CheckError(whole, e1, true);
    const bool halves = ParseValues(b, m, 1, h.field == MMHeader::Integer, 0, y, e2) && ParseValues(m, end, 1, h.field == MMHeader::Integer, 0, y, e2);
    MUST(whole == halves);
    if (whole) MUST(Same(x, y));
  }
}

static void Csv(const char *p, std::size_t n)
{
  CsvInfo info, part;
  Error   e, more;
  CsvSniff(p, n, false, part, more);
  const bool ok = CsvSniff(p, n, true, info, e);
  CheckError(ok, e, true);
  if (!ok) return;
  MUST(info.body >= 0 && info.body <= static_cast<std::int64_t>(n) && info.fields > 0);
  const char *b = p + info.body, *end = p + n, *m = b < end ? Middle(b + 1, end) : end;
  for (const bool nan : {false, true}) {
    std::vector<double> x, y;
    Error               e1, e2;
    const bool          whole = CsvParseTable(b, end, 1, info, nan, x, e1);
    CheckError(whole, e1, true);
    if (whole) MUST(x.size() % static_cast<std::size_t>(info.fields) == 0);
    const bool halves = CsvParseTable(b, m, 1, info, nan, y, e2) && CsvParseTable(m, end, 1, info, nan, y, e2);
    MUST(whole == halves);
    if (whole) MUST(Same(x, y));
  }
  Coo        c;
  Error      e3;
  const bool t = CsvParseTriplets(b, end, 1, info, c, e3);
  CheckError(t, e3, true);
  MUST(c.i.size() == c.v.size() && c.j.size() == c.v.size());
  for (std::size_t q = 0; q < c.v.size(); ++q) MUST(c.i[q] >= 0 && c.j[q] >= 0);
}

static void Binary(const unsigned char *p, std::size_t n)
{
  for (const bool complete : {true, false}) {
    {
      Layout     a;
      Error      e;
      const bool ok = NpyParseHeader(p, n, complete, a, e);
      CheckError(ok, e, complete);
      if (ok) CheckLayout(a);
    }
    {
      Layout     a;
      Error      e;
      const bool ok = IdxParseHeader(p, n, complete, a, e);
      CheckError(ok, e, complete);
      if (ok) CheckLayout(a);
    }
    {
      Layout       a;
      Error        e, e2;
      bool         ascii;
      std::int64_t lines;
      const bool   ok = PnmParseHeader(p, n, complete, a, &ascii, &lines, e);
      CheckError(ok, e, complete);
      if (ok) {
        CheckLayout(a);
        MUST(a.offset <= static_cast<std::int64_t>(n));
        std::vector<double> v;
        if (ascii) ParseValues(reinterpret_cast<const char *>(p) + a.offset, reinterpret_cast<const char *>(p) + n, 1, true, a.maxval, v, e2);
      }
    }
    {
      PetscHeader h;
      Error       e;
      const bool  ok = PetscParseHeader(p, n, complete, h, e);
      CheckError(ok, e, complete);
      if (ok && (!h.mat || h.dense)) CheckLayout(h.layout);
      if (ok) MUST(h.M >= 0 && h.N >= 0 && (h.dense || h.nnz >= 0));
    }
  }
  if (n >= 8) {
    double out;
    for (int e = 0; e <= static_cast<int>(Elem::Bool); ++e)
      for (const bool big : {false, true}) ElemsToDouble(p, 1, static_cast<Elem>(e), big, &out);
  }
  Sniff(p, n);
}

static void Netcdf(const unsigned char *p, std::size_t n)
{
  for (const bool complete : {true, false})
    for (const std::int64_t size : {std::int64_t(-1), static_cast<std::int64_t>(n), std::int64_t(1) << 40}) {
      NcHeader   h;
      Error      e;
      const bool ok = NcParseHeader(p, n, complete, size, h, e);
      CheckError(ok, e, complete);
      if (!ok) continue;
      for (const auto &v : h.vars) {
        CheckLayout(v.layout);
        for (const auto d : v.dimids) MUST(d >= 0 && d < static_cast<std::int64_t>(h.dimnames.size()));
      }
    }
}

static void Checkpoint(const unsigned char *p, std::size_t n)
{
  std::vector<skean::checkpoint::Section> s;
  const auto                              read = [&](std::int64_t at, void *to, std::size_t m) {
    MUST(at >= 0 && static_cast<std::uint64_t>(at) + m <= n);
    std::memcpy(to, p + at, m);
    return true;
  };
  const std::string bad = skean::checkpoint::Scan(static_cast<std::int64_t>(n), read, s);
  if (bad.empty())
    for (const auto &x : s) MUST(x.offset >= 0 && x.rows >= 0 && x.width >= 0 && x.offset + x.rows * x.width <= static_cast<std::int64_t>(n));
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *p, std::size_t n)
{
  /* a copy of its own, so that reading one byte too far is seen */
  unsigned char *copy = static_cast<unsigned char *>(std::malloc(n ? n : 1));
  if (n) std::memcpy(copy, p, n);
  switch (SKEAN_FUZZ_TARGET) {
  case 1:
    MatrixMarket(reinterpret_cast<const char *>(copy), n);
    break;
  case 2:
    Csv(reinterpret_cast<const char *>(copy), n);
    break;
  case 3:
    Binary(copy, n);
    break;
  case 4:
    Netcdf(copy, n);
    break;
  case 5:
    Checkpoint(copy, n);
    break;
  }
  std::free(copy);
  return 0;
}
