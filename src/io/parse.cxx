/* Parsers on byte buffers; see parse.hpp */
#include "parse.hpp"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace skean {
namespace io {

bool Error::Set(Why w, const std::string &t, std::int64_t atline, std::int64_t atoffset)
{
  if (why == Why::Ok) {
    why    = w;
    text   = t;
    line   = atline;
    offset = atoffset;
  }
  return false;
}

std::string Error::Where() const
{
  if (line >= 0) return "line " + std::to_string(line) + ": " + text;
  if (offset >= 0) return "byte " + std::to_string(offset) + ": " + text;
  return text;
}

const char *FormatName(Format f)
{
  switch (f) {
  case Format::MatrixMarket:
    return "Matrix Market";
  case Format::PetscBinary:
    return "PETSc binary";
  case Format::Hdf5:
    return "HDF5";
  case Format::Npy:
    return "NumPy";
  case Format::Csv:
    return "CSV";
  case Format::Idx:
    return "IDX";
  case Format::Pnm:
    return "PGM/PPM";
  case Format::Netcdf:
    return "NetCDF";
  default:
    return "unknown";
  }
}

std::size_t ElemSize(Elem e)
{
  switch (e) {
  case Elem::I1:
  case Elem::U1:
  case Elem::Bool:
    return 1;
  case Elem::I2:
  case Elem::U2:
    return 2;
  case Elem::I4:
  case Elem::U4:
  case Elem::F4:
    return 4;
  default:
    return 8;
  }
}

const char *ElemName(Elem e)
{
  static const char *const names[] = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bool"};
  return names[static_cast<int>(e)];
}

template <class T, class U>
static void Convert(const unsigned char *p, std::size_t n, bool big, double *out)
{
  for (std::size_t k = 0; k < n; ++k) {
    U u = 0;
    for (std::size_t b = 0; b < sizeof(U); ++b) u = static_cast<U>(u | (static_cast<U>(p[k * sizeof(U) + b]) << (8 * (big ? sizeof(U) - 1 - b : b))));
    T t;
    std::memcpy(&t, &u, sizeof(T));
    out[k] = static_cast<double>(t);
  }
}

void ElemsToDouble(const unsigned char *p, std::size_t n, Elem e, bool big, double *out)
{
  switch (e) {
  case Elem::I1:
    Convert<std::int8_t, std::uint8_t>(p, n, big, out);
    break;
  case Elem::U1:
    Convert<std::uint8_t, std::uint8_t>(p, n, big, out);
    break;
  case Elem::I2:
    Convert<std::int16_t, std::uint16_t>(p, n, big, out);
    break;
  case Elem::U2:
    Convert<std::uint16_t, std::uint16_t>(p, n, big, out);
    break;
  case Elem::I4:
    Convert<std::int32_t, std::uint32_t>(p, n, big, out);
    break;
  case Elem::U4:
    Convert<std::uint32_t, std::uint32_t>(p, n, big, out);
    break;
  case Elem::I8:
    Convert<std::int64_t, std::uint64_t>(p, n, big, out);
    break;
  case Elem::U8:
    Convert<std::uint64_t, std::uint64_t>(p, n, big, out);
    break;
  case Elem::F4:
    Convert<float, std::uint32_t>(p, n, big, out);
    break;
  case Elem::F8:
    Convert<double, std::uint64_t>(p, n, big, out);
    break;
  case Elem::Bool:
    for (std::size_t k = 0; k < n; ++k) out[k] = p[k] ? 1.0 : 0.0;
    break;
  }
}

bool MulFits(std::int64_t a, std::int64_t b, std::int64_t *c) noexcept
{
  return !__builtin_mul_overflow(a, b, c);
}

std::int64_t Layout::Rest() const noexcept
{
  std::int64_t r = 1;
  for (std::size_t d = 1; d < dims.size(); ++d) r *= dims[d];
  return r;
}

std::int64_t Layout::End() const noexcept
{
  const std::int64_t bytes = Rest() * static_cast<std::int64_t>(ElemSize(elem));
  if (dims.empty() || dims[0] == 0 || bytes == 0) return offset;
  return offset + (fortran ? dims[0] * bytes : (dims[0] - 1) * slice + bytes);
}

/* Checks that the whole array has a size and an end within 62 bits, and sets slice for arrays without gaps */
static bool LayoutFinish(Layout &a, Error &err)
{
  std::int64_t total = static_cast<std::int64_t>(ElemSize(a.elem)), nonzero = total;
  for (std::size_t d = a.dims.size(); d-- > 0;) {
    if (a.dims[d] < 0) return err.Set(Why::Malformed, "negative dimension " + std::to_string(a.dims[d]));
    if (d == 0) a.slice = total;
    /* a zero among the dimensions must not hide that the others overflow */
    if (!MulFits(total, a.dims[d], &total) || !MulFits(nonzero, std::max<std::int64_t>(1, a.dims[d]), &nonzero) || nonzero > (std::int64_t(1) << 60))
      return err.Set(Why::TooLarge, "the declared dimensions need more than 2^60 bytes");
  }
  return true;
}

bool IsGzip(const unsigned char *p, std::size_t n)
{
  return n >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

bool LooksLikeText(const unsigned char *p, std::size_t n)
{
  if (!n) return false;
  for (std::size_t k = 0; k < n; ++k)
    if (p[k] < 32 && p[k] != '\n' && p[k] != '\r' && p[k] != '\t' && p[k] != '\f') return false;
  return true;
}

static std::uint32_t Big32(const unsigned char *p)
{
  return (std::uint32_t(p[0]) << 24) | (std::uint32_t(p[1]) << 16) | (std::uint32_t(p[2]) << 8) | p[3];
}
static std::uint64_t Big64(const unsigned char *p)
{
  return (std::uint64_t(Big32(p)) << 32) | Big32(p + 4);
}

static const std::uint32_t PETSC_MAT_ID = 1211216, PETSC_VEC_ID = 1211214;

static bool IsSpace(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}
static bool IsBlank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

Format Sniff(const unsigned char *p, std::size_t n)
{
  static const unsigned char hdf[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  if (n >= 8 && !std::memcmp(p, hdf, 8)) return Format::Hdf5;
  for (std::size_t at = 512; at + 8 <= n; at *= 2) /* after a user block */
    if (!std::memcmp(p + at, hdf, 8)) return Format::Hdf5;
  static const char banner[] = "%%matrixmarket";
  std::size_t       same     = 0;
  while (same < 14 && same < n && (p[same] >= 'A' && p[same] <= 'Z' ? p[same] + 32 : p[same]) == banner[same]) ++same;
  if (same == 14) return Format::MatrixMarket;
  if (n >= 6 && !std::memcmp(p, "\x93NUMPY", 6)) return Format::Npy;
  if (n >= 4 && !std::memcmp(p, "CDF", 3) && (p[3] == 1 || p[3] == 2 || p[3] == 5)) return Format::Netcdf;
  if (n >= 4 && (Big32(p) == PETSC_MAT_ID || Big32(p) == PETSC_VEC_ID)) return Format::PetscBinary;
  if (n >= 8 && (Big64(p) == PETSC_MAT_ID || Big64(p) == PETSC_VEC_ID)) return Format::PetscBinary;
  if (n >= 4 && p[0] == 0 && p[1] == 0 && p[3] > 0 && (p[2] == 8 || p[2] == 9 || (p[2] >= 0x0b && p[2] <= 0x0e))) return Format::Idx;
  if (n >= 3 && p[0] == 'P' && p[1] >= '1' && p[1] <= '7' && (IsSpace(static_cast<char>(p[2])) || p[2] == '#')) return Format::Pnm;
  return Format::Unknown;
}

const char *ParseInt(const char *p, const char *end, std::int64_t *value)
{
  if (p < end && *p == '+' && p + 1 < end && p[1] != '-') ++p;
  const auto r = std::from_chars(p, end, *value);
  return r.ec == std::errc() ? r.ptr : nullptr;
}

const char *ParseDouble(const char *p, const char *end, double *value)
{
  if (p < end && *p == '+' && p + 1 < end && p[1] != '-') ++p;
  auto        r    = std::from_chars(p, end, *value);
  const char *stop = r.ptr;
  if (r.ec == std::errc::invalid_argument) return nullptr;
  const bool range = r.ec == std::errc::result_out_of_range;
  /* Fortran's D exponent: from_chars stops before it */
  const bool fortran = stop < end && (*stop == 'd' || *stop == 'D') && stop + 1 < end;
  if (!range && !fortran) return stop;
  std::string copy(p, stop);
  if (fortran) {
    const char *q = stop + 1;
    if (q < end && (*q == '+' || *q == '-')) ++q;
    if (q == end || *q < '0' || *q > '9') return nullptr;
    while (q < end && *q >= '0' && *q <= '9') ++q;
    copy += 'e';
    copy.append(stop + 1, q);
    stop = q;
  }
  /* out of range: underflow to zero or a denormal number is a value, overflow is not */
  char *e;
  *value = std::strtod(copy.c_str(), &e);
  if (*e || !std::isfinite(*value)) return nullptr;
  return stop;
}

/* A token for messages: at most 40 characters, printable */
static std::string Quote(const char *p, const char *end)
{
  std::string s = "'";
  for (int k = 0; p < end && k < 40; ++p, ++k) s += (*p >= 32 && *p < 127) ? *p : '?';
  if (p < end) s += "...";
  return s + "'";
}
static const char *TokenEnd(const char *p, const char *end)
{
  while (p < end && !IsSpace(*p)) ++p;
  return p;
}
static const char *LineEnd(const char *p, const char *end)
{
  const void *q = std::memchr(p, '\n', static_cast<std::size_t>(end - p));
  return q ? static_cast<const char *>(q) : end;
}
static const char *SkipBlank(const char *p, const char *end)
{
  while (p < end && IsBlank(*p)) ++p;
  return p;
}

/* ------------------------------------------------------- Matrix Market ------------------------------------------------------- */

bool MMParseHeader(const char *p, std::size_t n, bool complete, MMHeader &h, Error &err)
{
  const char *const begin = p, *const end = p + n;
  std::int64_t line = 1;
  const char  *eol  = LineEnd(p, end);
  if (eol == end && !complete) return err.Set(n > 4096 ? Why::Malformed : Why::NeedMore, "the header line does not end", 1);
  std::vector<std::string> word;
  for (const char *q = SkipBlank(p, eol); q < eol && word.size() < 6; q = SkipBlank(q, eol)) {
    const char *e = TokenEnd(q, eol);
    word.emplace_back(q, std::min(e, q + 40));
    for (char &c : word.back())
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    q = e;
  }
  if (word.size() != 5 || word[0] != "%%matrixmarket")
    return err.Set(Why::Malformed, "expected '%%MatrixMarket matrix (coordinate|array) (real|integer|pattern) (general|symmetric|skew-symmetric)'", 1);
  if (word[1] != "matrix") return err.Set(Why::Unsupported, "object " + Quote(word[1].data(), word[1].data() + word[1].size()) + " is not 'matrix'", 1);
  if (word[2] == "coordinate")
    h.coordinate = true;
  else if (word[2] == "array")
    h.coordinate = false;
  else
    return err.Set(Why::Malformed, "format " + Quote(word[2].data(), word[2].data() + word[2].size()) + " is neither 'coordinate' nor 'array'", 1);
  if (word[3] == "complex" || word[4] == "hermitian") return err.Set(Why::Unsupported, "complex matrices are not supported, the scalars are real", 1);
  if (word[3] == "real" || word[3] == "double")
    h.field = MMHeader::Real;
  else if (word[3] == "integer")
    h.field = MMHeader::Integer;
  else if (word[3] == "pattern")
    h.field = MMHeader::Pattern;
  else
    return err.Set(Why::Malformed, "field " + Quote(word[3].data(), word[3].data() + word[3].size()) + " is not real, integer or pattern", 1);
  if (word[4] == "general")
    h.symmetry = MMHeader::General;
  else if (word[4] == "symmetric")
    h.symmetry = MMHeader::Symmetric;
  else if (word[4] == "skew-symmetric")
    h.symmetry = MMHeader::Skew;
  else
    return err.Set(Why::Malformed, "symmetry " + Quote(word[4].data(), word[4].data() + word[4].size()) + " is not general, symmetric or skew-symmetric", 1);
  if (h.field == MMHeader::Pattern && !h.coordinate) return err.Set(Why::Malformed, "an array cannot have the field 'pattern'", 1);

  for (p = eol; p < end;) {
    ++p;
    ++line;
    eol           = LineEnd(p, end);
    const char *q = SkipBlank(p, eol);
    if (eol == end && !complete) return err.Set(Why::NeedMore, "no size line", line);
    if (q < eol && *q == '%') {
      if (h.comments.size() < 1000) h.comments.emplace_back(q + 1, eol);
      p = eol;
      continue;
    }
    if (q == eol) {
      p = eol;
      continue;
    }
    std::int64_t size[3];
    const int    want = h.coordinate ? 3 : 2;
    for (int k = 0; k < want; ++k, q = SkipBlank(q, eol)) {
      const char *e = TokenEnd(q, eol);
      if (q == e)
        return err.Set(Why::Malformed,
                       "the size line has " + std::to_string(k) + " numbers, expected " + (h.coordinate ? "rows, columns, entries" : "rows, columns"), line);
      if (ParseInt(q, e, &size[k]) != e || size[k] < 0) return err.Set(Why::Malformed, "size " + Quote(q, e) + " is not a non-negative 64-bit integer", line);
      q = e;
    }
    if (q != eol) return err.Set(Why::Malformed, "unexpected " + Quote(q, eol) + " after the sizes", line);
    h.M = size[0];
    h.N = size[1];
    if (h.symmetry != MMHeader::General && h.M != h.N)
      return err.Set(Why::Malformed, "a symmetric or skew-symmetric matrix must be square, not " + std::to_string(h.M) + " x " + std::to_string(h.N), line);
    std::int64_t full;
    if (!MulFits(h.M, h.N, &full)) full = std::numeric_limits<std::int64_t>::max();
    if (h.coordinate) {
      h.nnz = size[2];
      if (h.nnz > 0 && full == 0) return err.Set(Why::Malformed, std::to_string(h.nnz) + " entries in an empty matrix", line);
    } else {
      if (full > (std::int64_t(1) << 57))
        return err.Set(Why::TooLarge, "the array of " + std::to_string(h.M) + " x " + std::to_string(h.N) + " values is too large", line);
      h.nnz = h.symmetry == MMHeader::General ? full : h.symmetry == MMHeader::Symmetric ? (full + h.M) / 2 : (full - h.M) / 2;
    }
    h.body  = (eol < end ? eol + 1 : eol) - begin;
    h.lines = line;
    return true;
  }
  if (!complete) return err.Set(Why::NeedMore, "no size line", line);
  return err.Set(Why::Malformed, "the file ends before the size line", line);
}

bool MMParseEntries(const char *p, const char *end, std::int64_t line, const MMHeader &h, Coo &coo, std::int64_t *upper, std::int64_t *lower, Error &err)
{
  for (; p < end; ++line) {
    const char *eol = LineEnd(p, end);
    const char *q   = SkipBlank(p, eol);
    p               = eol < end ? eol + 1 : eol;
    if (q == eol || *q == '%') continue;
    std::int64_t       ij[2];
    const std::int64_t size[2] = {h.M, h.N};
    for (int k = 0; k < 2; ++k) {
      const char *e = TokenEnd(q, eol);
      if (q == e) return err.Set(Why::Malformed, k ? "the column index is missing" : "the row index is missing", line);
      if (ParseInt(q, e, &ij[k]) != e) return err.Set(Why::Malformed, std::string(k ? "column" : "row") + " index " + Quote(q, e) + " is not an integer", line);
      if (ij[k] < 1 || ij[k] > size[k])
        return err.Set(Why::Malformed, std::string(k ? "column" : "row") + " index " + std::to_string(ij[k]) + " is outside 1..." + std::to_string(size[k]),
                       line);
      q = SkipBlank(e, eol);
    }
    double v = 1.0;
    if (h.field != MMHeader::Pattern) {
      const char *e = TokenEnd(q, eol);
      if (q == e) return err.Set(Why::Malformed, "the value is missing", line);
      if (ParseDouble(q, e, &v) != e) return err.Set(Why::Malformed, "value " + Quote(q, e) + " is not a number within the range of doubles", line);
      if (!std::isfinite(v)) return err.Set(Why::Malformed, "value " + Quote(q, e) + " is not finite", line);
      if (h.field == MMHeader::Integer && v != std::floor(v)) return err.Set(Why::Malformed, "value " + Quote(q, e) + " is not an integer", line);
      q = SkipBlank(e, eol);
    }
    if (q != eol) return err.Set(Why::Malformed, "unexpected " + Quote(q, eol) + " after the entry", line);
    if (h.symmetry == MMHeader::Skew && ij[0] == ij[1] && v != 0.0)
      return err.Set(Why::Malformed, "a skew-symmetric matrix has no entries on the diagonal", line);
    if (ij[0] < ij[1] && !*upper) *upper = line;
    if (ij[0] > ij[1] && !*lower) *lower = line;
    coo.i.push_back(ij[0] - 1);
    coo.j.push_back(ij[1] - 1);
    coo.v.push_back(v);
  }
  return true;
}

bool ParseValues(const char *p, const char *end, std::int64_t line, bool integer, double maxval, std::vector<double> &v, Error &err)
{
  while (p < end) {
    if (*p == '\n') ++line;
    if (IsSpace(*p)) {
      ++p;
      continue;
    }
    const char *e = TokenEnd(p, end);
    double      x;
    if (ParseDouble(p, e, &x) != e) return err.Set(Why::Malformed, "value " + Quote(p, e) + " is not a number within the range of doubles", line);
    if (!std::isfinite(x)) return err.Set(Why::Malformed, "value " + Quote(p, e) + " is not finite", line);
    if (integer && x != std::floor(x)) return err.Set(Why::Malformed, "value " + Quote(p, e) + " is not an integer", line);
    if (maxval > 0 && (x < 0 || x > maxval))
      return err.Set(Why::Malformed, "value " + Quote(p, e) + " is outside 0..." + std::to_string(static_cast<int>(maxval)), line);
    v.push_back(x);
    p = e;
  }
  return true;
}

/* ------------------------------------------------------------ CSV ------------------------------------------------------------ */

/* The next field of [p, eol), trimmed of blanks and quotes; returns where the one after it starts, or NULL after the last */
static const char *CsvField(const char *p, const char *eol, char sep, const char **fb, const char **fe)
{
  const char *q = p;
  if (sep == ' ') {
    p = q = SkipBlank(p, eol);
    while (q < eol && !IsBlank(*q)) ++q;
    *fb             = p;
    *fe             = q;
    const char *nxt = SkipBlank(q, eol);
    if (*fe - *fb >= 2 && **fb == '"' && (*fe)[-1] == '"') ++*fb, --*fe;
    return nxt < eol ? nxt : nullptr;
  }
  bool quoted = false;
  for (; q < eol && (quoted || *q != sep); ++q)
    if (*q == '"') quoted = !quoted;
  *fb             = p;
  *fe             = q;
  const char *nxt = q < eol ? q + 1 : nullptr;
  while (*fb < *fe && IsBlank(**fb)) ++*fb;
  while (*fb < *fe && IsBlank((*fe)[-1])) --*fe;
  if (*fe - *fb >= 2 && **fb == '"' && (*fe)[-1] == '"') ++*fb, --*fe;
  return nxt;
}

static bool IsMissing(const char *b, const char *e)
{
  const std::size_t n = static_cast<std::size_t>(e - b);
  return n == 0 || (n == 2 && !std::memcmp(b, "NA", 2)) || (n == 4 && !std::memcmp(b, "null", 4)) || (n == 3 && !std::memcmp(b, "N/A", 3));
}

bool CsvSniff(const char *p, std::size_t n, bool complete, CsvInfo &info, Error &err)
{
  const char *const begin = p, *const end = p + n;
  std::int64_t line = 1;
  if (n >= 3 && !std::memcmp(p, "\xef\xbb\xbf", 3)) p += 3; /* byte order mark of UTF-8 */
  std::int64_t headerfields = 0, headerline = 0;
  int          rows = 0;
  bool         ints = true;
  for (; p < end; ++line) {
    const char *eol = LineEnd(p, end);
    if (eol == end && !complete) break;
    const char *q    = SkipBlank(p, eol);
    const char *next = eol < end ? eol + 1 : eol;
    if (q == eol || *q == '#') {
      p = next;
      continue;
    }
    const char *last = eol;
    while (last > q && IsBlank(last[-1]) && last[-1] != '\t') --last;
    const bool first = !rows && !headerfields;
    if (first) {
      if (std::memchr(q, ';', static_cast<std::size_t>(last - q)))
        info.sep = ';';
      else if (std::memchr(q, ',', static_cast<std::size_t>(last - q)))
        info.sep = ',';
      else if (std::memchr(q, '\t', static_cast<std::size_t>(last - q)))
        info.sep = '\t';
      else
        info.sep = ' ';
    }
    std::int64_t             fields = 0, numbers = 0, missing = 0;
    std::vector<std::string> names;
    bool                     ij = true;
    for (const char *r = q; r;) {
      const char *fb, *fe;
      double      x     = -1;
      r                 = CsvField(r, last, info.sep, &fb, &fe);
      const bool number = fb < fe && ParseDouble(fb, fe, &x) == fe;
      if (IsMissing(fb, fe))
        ++missing;
      else if (number)
        ++numbers;
      if (fields < 2 && !(number && x >= 0 && x == std::floor(x))) ij = false;
      if (first && fields < 100000) names.emplace_back(fb, std::min(fe, fb + 256));
      ++fields;
    }
    if (first && numbers + missing < fields) {
      if (numbers > 0) { return err.Set(Why::Malformed, "the first line is neither a header nor a row of numbers: " + Quote(q, last), line); }
      info.header  = true;
      info.names   = names;
      headerfields = fields;
      headerline   = line;
      p            = next;
      continue;
    }
    if (!rows) {
      info.fields = fields;
      info.body   = p - begin;
      info.lines  = line - 1;
      if (numbers + missing < fields) {
        return err.Set(Why::Malformed,
                       headerfields ? "the line after the header is not a row of numbers: " + Quote(q, last) : "not a row of numbers: " + Quote(q, last), line);
      }
      if (headerfields && headerfields != fields)
        return err.Set(Why::Malformed,
                       std::to_string(fields) + " fields, but the header in line " + std::to_string(headerline) + " has " + std::to_string(headerfields), line);
    }
    ints = ints && ij;
    p    = next;
    if (++rows >= 100) break;
  }
  if (!rows) {
    if (!complete) return err.Set(Why::NeedMore, "no line of numbers", line);
    return err.Set(Why::Malformed, "the file has no line of numbers");
  }
  info.triplets = ints && (info.fields == 3 || (info.fields == 4 && info.header));
  return true;
}

/* One line's numbers; missing fields are NaN */
static bool CsvLine(const char *q, const char *eol, std::int64_t line, const CsvInfo &info, bool allownan, std::vector<double> &v, Error &err)
{
  const char *last = eol;
  while (last > q && IsBlank(last[-1]) && (info.sep != '\t' || last[-1] != '\t')) --last;
  std::int64_t fields = 0;
  for (const char *r = q; r;) {
    const char *fb, *fe;
    double      x;
    r = CsvField(r, last, info.sep, &fb, &fe);
    ++fields;
    if (IsMissing(fb, fe))
      x = std::numeric_limits<double>::quiet_NaN();
    else if (ParseDouble(fb, fe, &x) != fe)
      return err.Set(Why::Malformed, "field " + std::to_string(fields) + ", " + Quote(fb, fe) + ", is not a number within the range of doubles", line);
    if (std::isinf(x)) return err.Set(Why::Malformed, "field " + std::to_string(fields) + " is infinite", line);
    if (std::isnan(x) && !allownan)
      return err.Set(Why::Malformed, "field " + std::to_string(fields) + (IsMissing(fb, fe) ? " is empty" : " is not a number (NaN)"), line);
    if (fields > info.fields) break;
    v.push_back(x);
  }
  if (fields != info.fields)
    return err.Set(
      Why::Malformed,
      (fields > info.fields ? "more than " + std::to_string(info.fields) : std::to_string(fields)) + " fields, expected " + std::to_string(info.fields), line);
  return true;
}

bool CsvParseTable(const char *p, const char *end, std::int64_t line, const CsvInfo &info, bool allownan, std::vector<double> &v, Error &err)
{
  for (; p < end; ++line) {
    const char *eol = LineEnd(p, end), *q = SkipBlank(p, eol);
    /* an empty first field of a tab-separated line is no blank line */
    const bool blank = q == eol;
    if (!blank && *q != '#') {
      if (!CsvLine(info.sep == '\t' ? p : q, eol, line, info, allownan, v, err)) return false;
    }
    p = eol < end ? eol + 1 : eol;
  }
  return true;
}

bool CsvParseTriplets(const char *p, const char *end, std::int64_t line, const CsvInfo &info, Coo &coo, Error &err)
{
  std::vector<double> row;
  if (info.fields < 3) return err.Set(Why::Malformed, "triplets need three columns (row, column, value), the file has " + std::to_string(info.fields), line);
  for (; p < end; ++line) {
    const char *eol = LineEnd(p, end), *q = SkipBlank(p, eol);
    p = eol < end ? eol + 1 : eol;
    if (q == eol || *q == '#') continue;
    const char  *last = eol, *fb, *fe;
    std::int64_t ij[2], fields = 0;
    double       v = 0;
    while (last > q && IsBlank(last[-1]) && (info.sep != '\t' || last[-1] != '\t')) --last;
    for (const char *r = q; r;) {
      r = CsvField(r, last, info.sep, &fb, &fe);
      if (fields < 2) {
        double x;
        if (ParseInt(fb, fe, &ij[fields]) != fe) {
          /* 12.0 is an index too, as table writers that know only doubles leave it */
          if (fb == fe || ParseDouble(fb, fe, &x) != fe || x != std::floor(x) || std::fabs(x) > 9007199254740992.0)
            return err.Set(Why::Malformed, std::string(fields ? "column" : "row") + " index " + Quote(fb, fe) + " is not an integer", line);
          ij[fields] = static_cast<std::int64_t>(x);
        }
        if (ij[fields] < 0)
          return err.Set(Why::Malformed, std::string(fields ? "column" : "row") + " index " + std::to_string(ij[fields]) + " is negative", line);
      } else if (fields == 2) {
        if (fb == fe || ParseDouble(fb, fe, &v) != fe)
          return err.Set(Why::Malformed, "value " + Quote(fb, fe) + " is not a number within the range of doubles", line);
        if (!std::isfinite(v)) return err.Set(Why::Malformed, "value " + Quote(fb, fe) + " is not finite", line);
      }
      ++fields;
    }
    if (fields != info.fields) return err.Set(Why::Malformed, std::to_string(fields) + " fields, expected " + std::to_string(info.fields), line);
    coo.i.push_back(ij[0]);
    coo.j.push_back(ij[1]);
    coo.v.push_back(v);
  }
  return true;
}

/* ----------------------------------------------------------- NumPy ----------------------------------------------------------- */

/* The value of 'key': in the header's Python dictionary: [*b, *e) */
static bool NpyValue(const std::string &s, const char *key, std::size_t *b)
{
  for (const char quote : {'\'', '"'}) {
    const std::string k  = std::string(1, quote) + key + quote;
    std::size_t       at = s.find(k);
    if (at == std::string::npos) continue;
    at += k.size();
    while (at < s.size() && IsSpace(s[at])) ++at;
    if (at >= s.size() || s[at] != ':') return false;
    ++at;
    while (at < s.size() && IsSpace(s[at])) ++at;
    *b = at;
    return at < s.size();
  }
  return false;
}

bool NpyParseHeader(const unsigned char *p, std::size_t n, bool complete, Layout &a, Error &err)
{
  const Why more = complete ? Why::Malformed : Why::NeedMore;
  if (n < 12) return err.Set(more, "the file ends inside the .npy header", -1, static_cast<std::int64_t>(n));
  if (std::memcmp(p, "\x93NUMPY", 6)) return err.Set(Why::Malformed, "not a .npy file", -1, 0);
  const int   major = p[6];
  std::size_t len, at;
  if (major == 1) {
    len = p[8] | (std::size_t(p[9]) << 8);
    at  = 10;
  } else if (major == 2 || major == 3) {
    len = p[8] | (std::size_t(p[9]) << 8) | (std::size_t(p[10]) << 16) | (std::size_t(p[11]) << 24);
    at  = 12;
  } else
    return err.Set(Why::Unsupported, "version " + std::to_string(major) + " of the .npy format is not known", -1, 6);
  if (len > (1u << 20)) return err.Set(Why::Malformed, "a header of " + std::to_string(len) + " bytes is not plausible", -1, 8);
  if (at + len > n) return err.Set(more, "the file ends inside the .npy header", -1, static_cast<std::int64_t>(n));
  const std::string s(reinterpret_cast<const char *>(p + at), len);
  const auto        off = static_cast<std::int64_t>(at);
  std::size_t       b;

  if (!NpyValue(s, "descr", &b) || (s[b] != '\'' && s[b] != '"')) {
    if (NpyValue(s, "descr", &b) && s[b] == '[') return err.Set(Why::Unsupported, "structured arrays are not supported", -1, off);
    return err.Set(Why::Malformed, "the header has no 'descr'", -1, off);
  }
  const std::size_t close = s.find(s[b], b + 1);
  if (close == std::string::npos) return err.Set(Why::Malformed, "the header's 'descr' does not end", -1, off);
  const std::string d = s.substr(b + 1, std::min<std::size_t>(close - b - 1, 40));
  static const struct {
    const char *code;
    Elem        elem;
  } codes[]  = {{"f8", Elem::F8}, {"f4", Elem::F4}, {"i1", Elem::I1}, {"u1", Elem::U1}, {"i2", Elem::I2},  {"u2", Elem::U2},
                {"i4", Elem::I4}, {"u4", Elem::U4}, {"i8", Elem::I8}, {"u8", Elem::U8}, {"b1", Elem::Bool}};
  bool known = false;
  if (d.size() == 3 && (d[0] == '<' || d[0] == '>' || d[0] == '|' || d[0] == '='))
    for (const auto &c : codes)
      if (!d.compare(1, 2, c.code)) {
        a.elem = c.elem;
        known  = true;
      }
  if (!known)
    return err.Set(Why::Unsupported,
                   "elements of type " + Quote(d.data(), d.data() + d.size()) + " are not supported (real numbers of 1 to 8 bytes and bool are)", -1, off);
  if (ElemSize(a.elem) > 1 && d[0] == '|') return err.Set(Why::Malformed, "type " + Quote(d.data(), d.data() + d.size()) + " has no byte order", -1, off);
  a.big = d[0] == '>';

  if (!NpyValue(s, "fortran_order", &b)) return err.Set(Why::Malformed, "the header has no 'fortran_order'", -1, off);
  if (!s.compare(b, 4, "True"))
    a.fortran = true;
  else if (!s.compare(b, 5, "False"))
    a.fortran = false;
  else
    return err.Set(Why::Malformed, "'fortran_order' is neither True nor False", -1, off);

  if (!NpyValue(s, "shape", &b) || s[b] != '(') return err.Set(Why::Malformed, "the header has no 'shape'", -1, off);
  a.dims.clear();
  for (++b;;) {
    while (b < s.size() && (IsSpace(s[b]) || s[b] == ',')) ++b;
    if (b >= s.size()) return err.Set(Why::Malformed, "the header's 'shape' does not end", -1, off);
    if (s[b] == ')') break;
    std::int64_t v;
    const char  *q = ParseInt(s.data() + b, s.data() + s.size(), &v);
    if (!q || v < 0) return err.Set(Why::Malformed, "the header's 'shape' holds something that is not a non-negative 64-bit integer", -1, off);
    b = static_cast<std::size_t>(q - s.data());
    if (b < s.size() && s[b] == 'L') ++b; /* Python 2 */
    if (b < s.size() && !IsSpace(s[b]) && s[b] != ',' && s[b] != ')') return err.Set(Why::Malformed, "the header's 'shape' is malformed", -1, off);
    a.dims.push_back(v);
    if (a.dims.size() > 32) return err.Set(Why::Malformed, "more than 32 dimensions", -1, off);
  }
  if (a.dims.empty()) a.dims.push_back(1); /* a scalar */
  if (a.dims.size() == 1) a.fortran = false;
  a.offset = static_cast<std::int64_t>(at + len);
  return LayoutFinish(a, err);
}

/* ------------------------------------------------------------ IDX ------------------------------------------------------------ */

bool IdxParseHeader(const unsigned char *p, std::size_t n, bool complete, Layout &a, Error &err)
{
  const Why more = complete ? Why::Malformed : Why::NeedMore;
  if (n < 4) return err.Set(more, "the file ends inside the IDX header", -1, static_cast<std::int64_t>(n));
  if (p[0] || p[1]) return err.Set(Why::Malformed, "not an IDX file", -1, 0);
  switch (p[2]) {
  case 0x08:
    a.elem = Elem::U1;
    break;
  case 0x09:
    a.elem = Elem::I1;
    break;
  case 0x0b:
    a.elem = Elem::I2;
    break;
  case 0x0c:
    a.elem = Elem::I4;
    break;
  case 0x0d:
    a.elem = Elem::F4;
    break;
  case 0x0e:
    a.elem = Elem::F8;
    break;
  default:
    return err.Set(Why::Malformed, "unknown element type " + std::to_string(p[2]), -1, 2);
  }
  const std::size_t nd = p[3];
  if (nd < 1 || nd > 32) return err.Set(Why::Malformed, std::to_string(nd) + " dimensions", -1, 3);
  if (n < 4 + 4 * nd) return err.Set(more, "the file ends inside the IDX header", -1, static_cast<std::int64_t>(n));
  a.big     = true;
  a.fortran = false;
  a.dims.clear();
  for (std::size_t d = 0; d < nd; ++d) a.dims.push_back(Big32(p + 4 + 4 * d));
  a.offset = static_cast<std::int64_t>(4 + 4 * nd);
  return LayoutFinish(a, err);
}

/* ---------------------------------------------------------- PGM, PPM --------------------------------------------------------- */

bool PnmParseHeader(const unsigned char *p, std::size_t n, bool complete, Layout &a, bool *ascii, std::int64_t *lines, Error &err)
{
  const Why more = complete ? Why::Malformed : Why::NeedMore;
  if (n < 3) return err.Set(more, "the file ends inside the image header", -1, static_cast<std::int64_t>(n));
  const char kind = static_cast<char>(p[1]);
  if (kind != '2' && kind != '3' && kind != '5' && kind != '6')
    return err.Set(Why::Unsupported, std::string("images of type P") + (kind > 32 && kind < 127 ? kind : '?') + " are not supported (P2, P3, P5, P6 are)", -1,
                   0);
  *ascii                      = kind == '2' || kind == '3';
  *lines                      = 0;
  std::size_t       at        = 2;
  std::int64_t      number[3] = {0, 0, 0};
  const char *const what[]    = {"width", "height", "maximum"};
  for (int k = 0; k < 3; ++k) {
    const std::size_t from = at;
    while (at < n && (IsSpace(static_cast<char>(p[at])) || p[at] == '#')) {
      if (p[at] == '#')
        while (at < n && p[at] != '\n') ++at;
      if (at < n && p[at] == '\n') ++*lines;
      if (at < n) ++at;
    }
    if (at >= n) return err.Set(more, std::string("the file ends before the image's ") + what[k], -1, static_cast<std::int64_t>(n));
    if (at == from) return err.Set(Why::Malformed, std::string("expected the image's ") + what[k], -1, static_cast<std::int64_t>(at));
    const char *b = reinterpret_cast<const char *>(p + at), *e = reinterpret_cast<const char *>(p + n), *q = ParseInt(b, e, &number[k]);
    if (!q || number[k] < 1 || number[k] > 2147483647)
      return err.Set(Why::Malformed, std::string("the image's ") + what[k] + " is not an integer from 1 to 2147483647", -1, static_cast<std::int64_t>(at));
    at += static_cast<std::size_t>(q - b);
  }
  if (number[2] > 65535) return err.Set(Why::Malformed, "the maximum " + std::to_string(number[2]) + " is above 65535", -1, static_cast<std::int64_t>(at));
  if (at >= n) return err.Set(more, "the file ends after the image header", -1, static_cast<std::int64_t>(n));
  if (!IsSpace(static_cast<char>(p[at]))) return err.Set(Why::Malformed, "expected white space after the maximum", -1, static_cast<std::int64_t>(at));
  if (!*ascii) ++at; /* exactly one; a text body may start with it */
  a.elem    = number[2] > 255 ? Elem::U2 : Elem::U1;
  a.big     = true;
  a.fortran = false;
  a.maxval  = static_cast<double>(number[2]);
  a.dims    = {number[1], number[0]};
  if (kind == '3' || kind == '6') a.dims.push_back(3);
  a.offset = static_cast<std::int64_t>(at);
  return LayoutFinish(a, err);
}

/* -------------------------------------------------------- PETSc binary ------------------------------------------------------- */

bool PetscParseHeader(const unsigned char *p, std::size_t n, bool complete, PetscHeader &h, Error &err)
{
  const Why more = complete ? Why::Malformed : Why::NeedMore;
  if (n < 8) return err.Set(more, "the file ends inside the PETSc header", -1, static_cast<std::int64_t>(n));
  /* the class identifier is an index too: a wide one begins with four bytes of zero */
  h.width          = Big64(p) == PETSC_MAT_ID || Big64(p) == PETSC_VEC_ID ? 8 : 4;
  const auto w     = static_cast<std::size_t>(h.width);
  const auto Index = [&](std::size_t k) {
    return w == 8 ? static_cast<std::int64_t>(Big64(p + 8 * k)) : static_cast<std::int64_t>(static_cast<std::int32_t>(Big32(p + 4 * k)));
  };
  const std::int64_t id = Index(0);
  h.layout.elem         = Elem::F8;
  h.layout.big          = true;
  if (id != PETSC_VEC_ID && id != PETSC_MAT_ID) return err.Set(Why::Malformed, "neither a matrix nor a vector of PETSc", -1, 0);
  h.mat = id == PETSC_MAT_ID;
  if (n < (h.mat ? 4 : 2) * w) return err.Set(more, "the file ends inside the PETSc header", -1, static_cast<std::int64_t>(n));
  h.M = Index(1);
  h.N = 1;
  if (!h.mat) {
    h.layout.offset = 2 * h.width;
    h.layout.dims   = {h.M};
    if (h.M < 0) return err.Set(Why::Malformed, "negative length " + std::to_string(h.M), -1, h.width);
    return LayoutFinish(h.layout, err);
  }
  h.N   = Index(2);
  h.nnz = Index(3);
  if (h.M < 0 || h.N < 0) return err.Set(Why::Malformed, "negative size " + std::to_string(h.M) + " x " + std::to_string(h.N), -1, h.width);
  h.dense = h.nnz == -1;
  if (h.nnz < -1) return err.Set(Why::Malformed, "negative number of entries " + std::to_string(h.nnz), -1, 3 * h.width);
  if (!h.dense && h.nnz > 0 && (!h.M || !h.N)) return err.Set(Why::Malformed, std::to_string(h.nnz) + " entries in an empty matrix", -1, 3 * h.width);
  h.layout.offset = 4 * h.width;
  if (h.dense) {
    h.layout.dims = {h.M, h.N};
    return LayoutFinish(h.layout, err);
  }
  std::int64_t lengths, entries, all;
  if (!MulFits(h.M, h.width, &lengths) || !MulFits(h.nnz, h.width + 8, &entries) || __builtin_add_overflow(lengths, entries, &all))
    return err.Set(Why::Malformed, std::to_string(h.M) + " rows with " + std::to_string(h.nnz) + " entries are more than a file can hold", -1, h.width);
  return true;
}

/* ----------------------------------------------------------- NetCDF ---------------------------------------------------------- */

const NcAtt *NcVar::Find(const char *att) const
{
  for (const auto &a : atts)
    if (a.name == att) return &a;
  return nullptr;
}
const NcVar *NcHeader::Find(const std::string &name) const
{
  for (const auto &v : vars)
    if (v.name == name) return &v;
  return nullptr;
}

namespace {
struct NcReader {
  const unsigned char *p;
  std::size_t          n, at          = 0;
  bool                 complete, wide = false; /* wide: CDF-5 counts */
  Error               &err;

  bool Has(std::size_t k)
  {
    if (k <= n - at) return true;
    return err.Set(complete ? Why::Malformed : Why::NeedMore, "the file ends inside the NetCDF header", -1, static_cast<std::int64_t>(n));
  }
  bool Word(std::uint32_t *v)
  {
    if (!Has(4)) return false;
    *v = Big32(p + at);
    at += 4;
    return true;
  }
  bool Count(std::int64_t *v)
  {
    const std::size_t from = at;
    if (wide) {
      if (!Has(8)) return false;
      const std::uint64_t u = Big64(p + at);
      at += 8;
      *v = static_cast<std::int64_t>(u);
    } else {
      std::uint32_t u;
      if (!Word(&u)) return false;
      *v = u;
    }
    if (*v < 0) return err.Set(Why::Malformed, "negative count in the NetCDF header", -1, static_cast<std::int64_t>(from));
    return true;
  }
  bool Name(std::string *s)
  {
    std::int64_t       len;
    const std::int64_t from = static_cast<std::int64_t>(at);
    if (!Count(&len)) return false;
    if (len > 1024) return err.Set(Why::Malformed, "a name of " + std::to_string(len) + " characters", -1, from);
    const std::size_t padded = static_cast<std::size_t>((len + 3) / 4 * 4);
    if (!Has(padded)) return false;
    s->assign(reinterpret_cast<const char *>(p + at), static_cast<std::size_t>(len));
    at += padded;
    return true;
  }
  /* The tag and the number of elements of a list; each element takes at least minbytes, so the count cannot lie without end */
  bool List(std::uint32_t tag, const char *what, std::size_t minbytes, std::int64_t *count)
  {
    std::uint32_t      t;
    const std::int64_t from = static_cast<std::int64_t>(at);
    if (!Word(&t) || !Count(count)) return false;
    if (t == 0 && *count == 0) return true;
    if (t != tag) return err.Set(Why::Malformed, std::string("expected the list of ") + what + " in the NetCDF header", -1, from);
    if (*count > (1 << 20)) return err.Set(Why::Malformed, "a list of " + std::to_string(*count) + " " + what, -1, from);
    (void)minbytes;
    return true;
  }
};

bool NcType(int type, Elem *e)
{
  switch (type) {
  case 1:
    *e = Elem::I1;
    return true;
  case 2:
    *e = Elem::U1;
    return true;
  case 3:
    *e = Elem::I2;
    return true;
  case 4:
    *e = Elem::I4;
    return true;
  case 5:
    *e = Elem::F4;
    return true;
  case 6:
    *e = Elem::F8;
    return true;
  case 7:
    *e = Elem::U1;
    return true;
  case 8:
    *e = Elem::U2;
    return true;
  case 9:
    *e = Elem::U4;
    return true;
  case 10:
    *e = Elem::I8;
    return true;
  case 11:
    *e = Elem::U8;
    return true;
  default:
    return false;
  }
}

bool NcAtts(NcReader &r, std::vector<NcAtt> &atts)
{
  std::int64_t count;
  if (!r.List(0x0c, "attributes", 12, &count)) return false;
  for (std::int64_t k = 0; k < count; ++k) {
    NcAtt         a;
    std::uint32_t type;
    std::int64_t  len, bytes;
    Elem          e = Elem::I1;
    if (!r.Name(&a.name)) return false;
    const auto from = static_cast<std::int64_t>(r.at);
    if (!r.Word(&type) || !r.Count(&len)) return false;
    if (!NcType(static_cast<int>(std::min<std::uint32_t>(type, 99)), &e))
      return r.err.Set(Why::Malformed, "attribute of unknown type " + std::to_string(type), -1, from);
    if (!MulFits(len, static_cast<std::int64_t>(ElemSize(e)), &bytes) || bytes > (1 << 26))
      return r.err.Set(Why::Malformed, "an attribute of " + std::to_string(len) + " elements", -1, from);
    const auto padded = static_cast<std::size_t>((bytes + 3) / 4 * 4);
    if (!r.Has(padded)) return false;
    if (type == 2) {
      a.text.assign(reinterpret_cast<const char *>(r.p + r.at), static_cast<std::size_t>(len));
      while (!a.text.empty() && a.text.back() == '\0') a.text.pop_back();
    } else {
      a.values.resize(static_cast<std::size_t>(len));
      ElemsToDouble(r.p + r.at, a.values.size(), e, true, a.values.data());
    }
    r.at += padded;
    atts.push_back(std::move(a));
  }
  return true;
}
} // namespace

bool NcParseHeader(const unsigned char *p, std::size_t n, bool complete, std::int64_t filesize, NcHeader &h, Error &err)
{
  NcReader     r{p, n, 0, complete, false, err};
  std::int64_t count;
  if (!r.Has(4)) return false;
  if (std::memcmp(p, "CDF", 3) || (p[3] != 1 && p[3] != 2 && p[3] != 5)) return err.Set(Why::Malformed, "not a NetCDF classic file", -1, 0);
  h.version      = p[3];
  r.at           = 4;
  r.wide         = h.version == 5;
  bool streaming = false;
  if (r.wide) {
    if (!r.Has(8)) return false;
    const std::uint64_t u = Big64(p + 4);
    r.at                  = 12;
    streaming             = u == ~std::uint64_t(0);
    h.numrecs             = streaming ? 0 : static_cast<std::int64_t>(u);
  } else {
    std::uint32_t u;
    if (!r.Word(&u)) return false;
    streaming = u == 0xffffffffu;
    h.numrecs = streaming ? 0 : u;
  }
  if (h.numrecs < 0) return err.Set(Why::Malformed, "negative number of records", -1, 4);

  if (!r.List(0x0a, "dimensions", 8, &count)) return false;
  for (std::int64_t d = 0; d < count; ++d) {
    std::string  name;
    std::int64_t len;
    if (!r.Name(&name)) return false;
    const auto from = static_cast<std::int64_t>(r.at);
    if (!r.Count(&len)) return false;
    if (len == 0) {
      if (h.recdim >= 0) return err.Set(Why::Malformed, "two record dimensions", -1, from);
      h.recdim = d;
    }
    h.dimnames.push_back(name);
    h.dimlens.push_back(len);
  }
  if (!NcAtts(r, h.atts)) return false;

  if (!r.List(0x0b, "variables", 16, &count)) return false;
  int          nrec   = 0;
  std::int64_t lastsz = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    NcVar         v;
    std::int64_t  nd, vsize;
    std::uint32_t type;
    if (!r.Name(&v.name)) return false;
    const auto from = static_cast<std::int64_t>(r.at);
    if (!r.Count(&nd)) return false;
    if (nd > 32)
      return err.Set(Why::Malformed, "variable " + Quote(v.name.data(), v.name.data() + v.name.size()) + " has " + std::to_string(nd) + " dimensions", -1,
                     from);
    for (std::int64_t d = 0; d < nd; ++d) {
      std::int64_t id;
      if (!r.Count(&id)) return false;
      if (id >= static_cast<std::int64_t>(h.dimlens.size()))
        return err.Set(Why::Malformed, "dimension number " + std::to_string(id) + " does not exist", -1, from);
      if (id == h.recdim && d > 0) return err.Set(Why::Malformed, "the record dimension is not the first of a variable", -1, from);
      v.dimids.push_back(id);
    }
    v.record = nd > 0 && v.dimids[0] == h.recdim;
    if (!NcAtts(r, v.atts)) return false;
    const auto where = static_cast<std::int64_t>(r.at);
    if (!r.Word(&type) || !r.Count(&vsize)) return false;
    v.type = static_cast<int>(std::min<std::uint32_t>(type, 99));
    if (!NcType(v.type, &v.layout.elem)) return err.Set(Why::Malformed, "variable of unknown type " + std::to_string(type), -1, where);
    std::int64_t begin;
    if (h.version == 1) {
      std::uint32_t b;
      if (!r.Word(&b)) return false;
      begin = b;
    } else {
      if (!r.Has(8)) return false;
      begin = static_cast<std::int64_t>(Big64(p + r.at));
      r.at += 8;
    }
    if (begin < 0 || begin > (std::int64_t(1) << 60)) return err.Set(Why::Malformed, "the offset of a variable is out of range", -1, where);
    v.layout.big     = true;
    v.layout.fortran = false;
    v.layout.offset  = begin;
    for (std::int64_t d = 0; d < nd; ++d)
      v.layout.dims.push_back(d == 0 && v.record ? 1 : h.dimlens[static_cast<std::size_t>(v.dimids[static_cast<std::size_t>(d)])]);
    if (!nd) v.layout.dims.push_back(1);
    if (!LayoutFinish(v.layout, err)) return false;
    if (v.record) {
      /* one record of the variable, padded to 4 bytes unless it is alone */
      const std::int64_t bytes = v.layout.slice;
      ++nrec;
      lastsz = bytes;
      if (__builtin_add_overflow(h.recsize, (bytes + 3) / 4 * 4, &h.recsize) || h.recsize > (std::int64_t(1) << 60))
        return err.Set(Why::TooLarge, "the records need more than 2^60 bytes", -1, where);
    }
    h.vars.push_back(std::move(v));
  }
  if (nrec == 1) h.recsize = lastsz;
  if (streaming) {
    /* the writer did not say: what the file holds */
    std::int64_t first = -1;
    for (const auto &v : h.vars)
      if (v.record && (first < 0 || v.layout.offset < first)) first = v.layout.offset;
    if (first >= 0 && h.recsize > 0 && filesize < 0)
      return err.Set(Why::Unsupported, "the number of records is not in the header and the size of the file is not known");
    h.numrecs = first >= 0 && h.recsize > 0 && filesize > first ? (filesize - first) / h.recsize : 0;
  }
  for (auto &v : h.vars)
    if (v.record) {
      std::int64_t total;
      if (!MulFits(h.recsize, std::max<std::int64_t>(1, h.numrecs), &total) || total > (std::int64_t(1) << 60))
        return err.Set(Why::TooLarge, "the declared records need more than 2^60 bytes");
      v.layout.dims[0] = h.numrecs;
      v.layout.slice   = h.recsize;
    }
  return true;
}

} // namespace io
} // namespace skean
