/*
   The parsers of src/io: free functions on byte buffers, without PETSc and without MPI, so that a fuzzer can drive each alone
   (tests/io/fuzz). None of them throws but std::bad_alloc, none allocates more than a small multiple of the bytes it was given.
*/
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace skean {
namespace io {

enum class Why { Ok, Open, Read, Malformed, Unsupported, TooLarge, NeedMore };

/* What is wrong and where; line counts from 1, offset in bytes from 0 (of the decompressed data), -1: not known */
struct Error {
  Why          why = Why::Ok;
  std::string  text;
  std::int64_t line = -1, offset = -1;

  bool Failed() const noexcept { return why != Why::Ok; }
  /* Keeps the first error. Returns false, so that a parser can say: return err.Set(...) */
  bool Set(Why w, const std::string &t, std::int64_t atline = -1, std::int64_t atoffset = -1);
  /* "line 12: text", "byte 80: text" or "text" */
  std::string Where() const;
};

enum class Format { Unknown, MatrixMarket, PetscBinary, Hdf5, Npy, Csv, Idx, Pnm, Netcdf };
const char *FormatName(Format f);

/* Element types of binary formats */
enum class Elem { I1, U1, I2, U2, I4, U4, I8, U8, F4, F8, Bool };
std::size_t ElemSize(Elem e);
const char *ElemName(Elem e);
/* n elements at p to doubles; integers beyond 2^53 are rounded */
void ElemsToDouble(const unsigned char *p, std::size_t n, Elem e, bool big, double *out);

/* An array of fixed-size elements in a file: element (i, r), with i the slowest index and r the C-order index of the rest, is at
   offset + i*slice + r*ElemSize (C order) or in Fortran order without gaps */
struct Layout {
  Elem                      elem    = Elem::F8;
  bool                      big     = false;
  bool                      fortran = false;
  std::int64_t              offset  = 0;
  std::int64_t              slice   = 0; /* bytes between dims[0] slices (C order) */
  std::vector<std::int64_t> dims;
  double                    maxval = 0; /* images: larger values are malformed; 0: no limit */

  std::int64_t Rest() const noexcept; /* product of dims[1...] */
  std::int64_t End() const noexcept;  /* offset of the byte after the last element */
};

/* a*b, or false if it does not fit 63 bits */
bool MulFits(std::int64_t a, std::int64_t b, std::int64_t *c) noexcept;

/* Recognises a format by its content; n is what could be read of the beginning. Unknown: text or garbage */
Format Sniff(const unsigned char *p, std::size_t n);
bool   LooksLikeText(const unsigned char *p, std::size_t n);
bool   IsGzip(const unsigned char *p, std::size_t n);

/* A decimal number: [+-]digits[.digits][(e|E|d|D)[+-]digits], nan, inf. Returns the end of what was read or NULL */
const char *ParseDouble(const char *p, const char *end, double *value);
const char *ParseInt(const char *p, const char *end, std::int64_t *value);

struct Coo {
  std::vector<std::int64_t> i, j;
  std::vector<double>       v;
};

/* ---- Matrix Market: R. Boisvert, R. Pozo, K. Remington, The Matrix Market Exchange Formats, NISTIR 5935 (1996) ---- */
struct MMHeader {
  enum Field { Real, Integer, Pattern };
  enum Symmetry { General, Symmetric, Skew };
  bool                     coordinate = true;
  Field                    field      = Real;
  Symmetry                 symmetry   = General;
  std::int64_t             M = 0, N = 0, nnz = 0; /* nnz: entries in the file; array: values in the file */
  std::int64_t             body  = 0;             /* offset of the first byte after the size line */
  std::int64_t             lines = 0;             /* lines before body */
  std::vector<std::string> comments;
};
/* complete: p[0..n) is the whole file. Why::NeedMore if the header is longer than n and not complete */
bool MMParseHeader(const char *p, std::size_t n, bool complete, MMHeader &h, Error &err);
/* Lines [p, end) of the body; line: number of the first. Indices are returned from 0, mirrored entries are not added.
   upper, lower: number of the first line with an entry above, below the diagonal (0: none yet) */
bool MMParseEntries(const char *p, const char *end, std::int64_t line, const MMHeader &h, Coo &coo, std::int64_t *upper, std::int64_t *lower, Error &err);
/* Whitespace-separated numbers */
bool ParseValues(const char *p, const char *end, std::int64_t line, bool integer, double maxval, std::vector<double> &v, Error &err);

/* ---- CSV ---- */
struct CsvInfo {
  char                     sep      = ',';
  bool                     header   = false;
  bool                     triplets = false; /* what it looks like; the user may say otherwise */
  std::int64_t             fields   = 0;
  std::int64_t             body = 0, lines = 0; /* offset of the first data line, lines before it */
  std::vector<std::string> names;
};
bool CsvSniff(const char *p, std::size_t n, bool complete, CsvInfo &info, Error &err);
bool CsvParseTable(const char *p, const char *end, std::int64_t line, const CsvInfo &info, bool allownan, std::vector<double> &v, Error &err);
/* Indices as in the file (base 0 or 1 is decided by the caller); columns after the third are ignored */
bool CsvParseTriplets(const char *p, const char *end, std::int64_t line, const CsvInfo &info, Coo &coo, Error &err);

/* ---- binary headers; complete as above; filesize: bytes of the decompressed file or -1 where not known ---- */
bool NpyParseHeader(const unsigned char *p, std::size_t n, bool complete, Layout &a, Error &err);
bool IdxParseHeader(const unsigned char *p, std::size_t n, bool complete, Layout &a, Error &err);
/* ascii: P2 and P3; a.offset is then where the text begins and lines the number of lines before it */
bool PnmParseHeader(const unsigned char *p, std::size_t n, bool complete, Layout &a, bool *ascii, std::int64_t *lines, Error &err);
struct PetscHeader {
  bool         mat = false, dense = false;
  std::int64_t width = 4; /* bytes of an index: 8 where the PETSc that wrote it has 64-bit indices */
  std::int64_t M = 0, N = 0, nnz = 0;
  Layout       layout; /* dense matrices and vectors */
};
bool PetscParseHeader(const unsigned char *p, std::size_t n, bool complete, PetscHeader &h, Error &err);

/* NetCDF classic, 64-bit offset and 64-bit data (CDF-1, -2, -5): Unidata, NetCDF Classic Format Specification */
struct NcAtt {
  std::string         name, text;
  std::vector<double> values; /* numeric attributes */
};
struct NcVar {
  std::string               name;
  int                       type = 0; /* 1...11; 2 is text */
  std::vector<std::int64_t> dimids;
  std::vector<NcAtt>        atts;
  Layout                    layout; /* not for text */
  bool                      record = false;
  const NcAtt              *Find(const char *att) const;
};
struct NcHeader {
  int                       version = 0;
  std::int64_t              numrecs = 0, recsize = 0;
  std::vector<std::string>  dimnames;
  std::vector<std::int64_t> dimlens;
  std::int64_t              recdim = -1;
  std::vector<NcAtt>        atts;
  std::vector<NcVar>        vars;
  const NcVar              *Find(const std::string &name) const;
};
bool NcParseHeader(const unsigned char *p, std::size_t n, bool complete, std::int64_t filesize, NcHeader &h, Error &err);

} // namespace io
} // namespace skean
