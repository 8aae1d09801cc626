/* What a file holds, as a matrix or a vector; see ioimpl.hpp. The grid is in grid.cxx */
#include "ioimpl.hpp"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace skean {
namespace io {

/* Sizes of PETSc's indices, and sizes that only a damaged header asks for */
static bool CheckSizes(const Opened &o, std::int64_t M, std::int64_t N, std::int64_t entries, Error &err)
{
  const std::int64_t most = std::max(M, N);
  if (most > PETSC_MAX_INT)
    return err.Set(Why::TooLarge, std::to_string(M) + " x " + std::to_string(N) + " needs more than the " + std::to_string(8 * sizeof(PetscInt)) +
                                    "-bit indices of this PETSc");
  /* a row takes memory even if it is empty: a header must not make us allocate gigabytes for a file of a few bytes */
  if (most > (1 << 24) && most / 1000 > std::max<std::int64_t>(entries, o.filesize / 8))
    return err.Set(Why::TooLarge,
                   "a matrix of " + std::to_string(M) + " x " + std::to_string(N) + " with " + std::to_string(entries) + " entries is not plausible");
  return true;
}

static PetscErrorCode SumAll(MPI_Comm comm, std::int64_t mine, std::int64_t *all)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(&mine, all, 1, MPI_INT64_T, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collects the values of a text with the place in the file's order of each piece */
struct TextValues {
  std::vector<std::int64_t> seq, count; /* per piece */
};
static void AddPiece(TextValues &tv, std::int64_t seq, std::int64_t n)
{
  if (tv.seq.empty() || tv.seq.back() != seq) {
    tv.seq.push_back(seq);
    tv.count.push_back(0);
  }
  tv.count.back() += n;
}
/* From pieces to positions: dense.start, dense.first, and the number of values of all */
static PetscErrorCode NumberPieces(MPI_Comm comm, const TextValues &tv, std::int64_t nseq, Dense &dense, std::int64_t *total)
{
  PetscFunctionBegin;
  PetscCheck(nseq < PETSC_MPI_INT_MAX, comm, PETSC_ERR_SUP, "Too many pieces of text");
  std::vector<std::int64_t> count(static_cast<std::size_t>(nseq) + 1, 0);
  for (std::size_t k = 0; k < tv.seq.size(); ++k) count[static_cast<std::size_t>(tv.seq[k]) + 1] = tv.count[k];
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, count.data(), static_cast<int>(nseq) + 1, MPI_INT64_T, MPI_SUM, comm));
  std::partial_sum(count.begin(), count.end(), count.begin());
  std::int64_t at = 0;
  for (std::size_t k = 0; k < tv.seq.size(); ++k) {
    dense.start.push_back(count[static_cast<std::size_t>(tv.seq[k])]);
    dense.first.push_back(at);
    at += tv.count[k];
  }
  *total = count.back();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ContentsMM(Opened &o, bool headeronly, Dense &dense, Sparse &sparse, bool *issparse)
{
  MMHeader h;
  Error    err;

  PetscFunctionBegin;
  PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
    h = MMHeader();
    return MMParseHeader(reinterpret_cast<const char *>(p), n, complete, h, e);
  }));
  *issparse = h.coordinate;
  if (h.coordinate) {
    std::int64_t bytes = 0;
    /* an entry takes at least "1 1\n" (the last one may lack the end of line) */
    if (!MulFits(h.nnz, 4, &bytes) || !FitsFile(o, h.body + bytes - 1, err)) {
      err = Error();
      err.Set(Why::Malformed, std::to_string(h.nnz) + " entries are declared, but the file is too short for them", h.lines);
    }
    if (!err.Failed()) CheckSizes(o, h.M, h.N, h.nnz, err);
    PetscCall(Raise(o, err));
    sparse.M    = h.M;
    sparse.N    = h.N;
    sparse.nnz  = h.nnz;
    sparse.type = h.field == MMHeader::Real ? "real" : h.field == MMHeader::Integer ? "integer" : "pattern";
    if (headeronly) PetscFunctionReturn(PETSC_SUCCESS);
    std::int64_t nseq, shift, upper = 0, lower = 0, total, lastline = 0;
    Coo         &coo = sparse.coo;
    PetscCall(ForEachChunk(
      o, h.body, h.lines, false,
      [&](const char *p, const char *e, std::int64_t line, std::int64_t, Error &er) {
        lastline = line + std::count(p, e, '\n');
        return MMParseEntries(p, e, line, h, coo, &upper, &lower, er);
      },
      &nseq, &shift));
    PetscCall(SumAll(o.comm, static_cast<std::int64_t>(coo.v.size()), &total));
    if (total != h.nnz) {
      err.Set(Why::Malformed, "the header declares " + std::to_string(h.nnz) + " entries, the file has " + std::to_string(total), total < h.nnz ? -1 : h.lines);
    }
    PetscCall(Raise(o, err));
    if (h.symmetry != MMHeader::General) {
      /* one triangle, whichever, is mirrored; both would count every entry twice */
      const std::int64_t none   = std::numeric_limits<std::int64_t>::max();
      std::int64_t       tri[2] = {upper ? upper + shift : none, lower ? lower + shift : none}, all[2];
      PetscCallMPI(MPI_Allreduce(tri, all, 2, MPI_INT64_T, MPI_MIN, o.comm));
      if (all[0] != none && all[1] != none)
        err.Set(Why::Malformed,
                "an entry above the diagonal, but line " + std::to_string(all[1]) + " has one below: only one triangle of a symmetric matrix is stored",
                all[0]);
      PetscCall(Raise(o, err));
      const std::size_t n = coo.v.size();
      for (std::size_t k = 0; k < n; ++k)
        if (coo.i[k] != coo.j[k]) {
          coo.i.push_back(coo.j[k]);
          coo.j.push_back(coo.i[k]);
          coo.v.push_back(h.symmetry == MMHeader::Skew ? -coo.v[k] : coo.v[k]);
        }
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }

  std::int64_t bytes;
  if (!MulFits(h.nnz, 2, &bytes) || !FitsFile(o, h.body + bytes - 1, err)) {
    err = Error();
    err.Set(Why::Malformed, std::to_string(h.nnz) + " values are declared, but the file is too short for them", h.lines);
  }
  PetscCall(Raise(o, err));
  dense.dims        = {h.M, h.N};
  dense.kind        = Dense::Text;
  dense.columnmajor = true;
  dense.symmetry    = h.symmetry;
  dense.type        = h.field == MMHeader::Real ? "real" : "integer";
  if (headeronly) PetscFunctionReturn(PETSC_SUCCESS);
  TextValues   tv;
  std::int64_t nseq, shift, total;
  PetscCall(ForEachChunk(
    o, h.body, h.lines, false,
    [&](const char *p, const char *e, std::int64_t line, std::int64_t seq, Error &er) {
      const std::size_t before = dense.values.size();
      const bool        ok     = ParseValues(p, e, line, h.field == MMHeader::Integer, 0, dense.values, er);
      AddPiece(tv, seq, static_cast<std::int64_t>(dense.values.size() - before));
      return ok;
    },
    &nseq, &shift));
  PetscCall(NumberPieces(o.comm, tv, nseq, dense, &total));
  if (total != h.nnz) err.Set(Why::Malformed, "the header declares " + std::to_string(h.nnz) + " values, the file has " + std::to_string(total));
  PetscCall(Raise(o, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ContentsCsv(Opened &o, int want, bool allownan, Dense &dense, Sparse &sparse, bool *issparse)
{
  CsvInfo      info;
  std::int64_t nseq, shift, total;
  Error        err;
  int          base = -1;

  PetscFunctionBegin;
  PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
    info = CsvInfo();
    return CsvSniff(reinterpret_cast<const char *>(p), n, complete, info, e);
  }));
  if (o.variable == "table")
    want = 2;
  else if (o.variable == "triplets")
    want = 1;
  else if (o.variable == "triplets0" || o.variable == "triplets1") {
    want = 1;
    base = o.variable.back() - '0';
  } else if (!o.variable.empty()) {
    err.Set(Why::Malformed, "'" + o.variable + "' after the colon is none of table, triplets, triplets0, triplets1");
    PetscCall(Raise(o, err));
  }
  *issparse = want == 1 || (want == 0 && info.triplets);
  if (*issparse) {
    Coo &coo = sparse.coo;
    PetscCall(ForEachChunk(
      o, info.body, info.lines, false,
      [&](const char *p, const char *e, std::int64_t line, std::int64_t, Error &er) { return CsvParseTriplets(p, e, line, info, coo, er); }, &nseq, &shift));
    std::int64_t ext[3] = {-1, -1, 0}, all[3]; /* max i, max j, -min of both */
    ext[2]              = std::numeric_limits<std::int64_t>::min();
    for (std::size_t k = 0; k < coo.v.size(); ++k) {
      ext[0] = std::max(ext[0], coo.i[k]);
      ext[1] = std::max(ext[1], coo.j[k]);
      ext[2] = std::max(ext[2], -std::min(coo.i[k], coo.j[k]));
    }
    PetscCallMPI(MPI_Allreduce(ext, all, 3, MPI_INT64_T, MPI_MAX, o.comm));
    PetscCall(SumAll(o.comm, static_cast<std::int64_t>(coo.v.size()), &sparse.nnz));
    if (base < 0) base = sparse.nnz && all[2] == 0 ? 0 : 1;
    if (base == 1 && all[2] == 0)
      err.Set(Why::Malformed, "an index is 0, but triplets1 says that they begin with 1");
    else if (all[0] == std::numeric_limits<std::int64_t>::max() || all[1] == std::numeric_limits<std::int64_t>::max())
      err.Set(Why::TooLarge, "an index is too large");
    else {
      sparse.M = all[0] + 1 - base;
      sparse.N = all[1] + 1 - base;
      CheckSizes(o, sparse.M, sparse.N, sparse.nnz, err);
    }
    PetscCall(Raise(o, err));
    if (base)
      for (std::size_t k = 0; k < coo.v.size(); ++k) {
        --coo.i[k];
        --coo.j[k];
      }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  TextValues tv;
  dense.kind = Dense::Text;
  PetscCall(ForEachChunk(
    o, info.body, info.lines, false,
    [&](const char *p, const char *e, std::int64_t line, std::int64_t seq, Error &er) {
      const std::size_t before = dense.values.size();
      const bool        ok     = CsvParseTable(p, e, line, info, allownan, dense.values, er);
      AddPiece(tv, seq, static_cast<std::int64_t>(dense.values.size() - before));
      return ok;
    },
    &nseq, &shift));
  PetscCall(NumberPieces(o.comm, tv, nseq, dense, &total));
  dense.dims = {total / info.fields, info.fields};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The variable of a NetCDF file: the named one, or the only one with the most dimensions that is no coordinate */
static bool PickNetcdf(const NcHeader &h, const std::string &name, const NcVar **v, Error &err)
{
  std::string                list;
  std::vector<const NcVar *> best;
  for (const auto &w : h.vars) {
    if (w.type == 2) continue;
    list += (list.empty() ? "" : ", ") + w.name;
    const bool coord = std::find(h.dimnames.begin(), h.dimnames.end(), w.name) != h.dimnames.end();
    if (coord || w.dimids.empty()) continue;
    if (best.empty() || w.dimids.size() > best[0]->dimids.size()) best.clear();
    if (best.empty() || w.dimids.size() == best[0]->dimids.size()) best.push_back(&w);
  }
  if (list.size() > 600) list = list.substr(0, 600) + "...";
  if (!name.empty()) {
    *v = h.Find(name);
    if (!*v) return err.Set(Why::Malformed, "there is no variable '" + name + "'; there are: " + (list.empty() ? "none" : list));
    if ((*v)->type == 2) return err.Set(Why::Unsupported, "variable '" + name + "' is text, not numbers");
    return true;
  }
  if (best.size() == 1) {
    *v = best[0];
    return true;
  }
  if (best.empty() && h.vars.size() == 1 && h.vars[0].type != 2) {
    *v = &h.vars[0];
    return true;
  }
  return err.Set(Why::Malformed, "say which variable is meant, as in file:variable; there are: " + (list.empty() ? "none" : list));
}

static PetscErrorCode ContentsBinary(Opened &o, Dense &dense, Sparse &sparse, bool headeronly, bool *issparse)
{
  bool         ascii = false;
  std::int64_t lines = 0;
  PetscHeader  ph;
  Error        err;

  PetscFunctionBegin;
  *issparse  = false;
  dense.kind = Dense::Binary;
  if (!o.variable.empty() && o.format != Format::Netcdf)
    err.Set(Why::Malformed, std::string("a ") + FormatName(o.format) + " file has no variables, but '" + o.variable + "' was asked for");
  PetscCall(Raise(o, err));
  if (o.format == Format::Netcdf) {
    NcHeader    &h = dense.nc;
    const NcVar *v = nullptr;
    PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
      h = NcHeader();
      return NcParseHeader(p, n, complete, o.gz ? -1 : o.filesize, h, e);
    }));
    PickNetcdf(h, o.variable, &v, err);
    PetscCall(Raise(o, err));
    dense.ncvar  = *v;
    dense.layout = v->layout;
    o.variable   = v->name;
  } else if (o.format == Format::PetscBinary) {
    PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
      ph = PetscHeader();
      return PetscParseHeader(p, n, complete, ph, e);
    }));
    dense.layout = ph.layout;
    if (ph.mat && !ph.dense) {
      *issparse                = true;
      sparse.M                 = ph.M;
      sparse.N                 = ph.N;
      sparse.nnz               = ph.nnz;
      const std::int64_t width = ph.width, head = 4 * width;
      FitsFile(o, head + width * ph.M + (width + 8) * ph.nnz, err);
      if (!err.Failed()) CheckSizes(o, ph.M, ph.N, ph.nnz, err);
      PetscCall(Raise(o, err));
      if (headeronly) PetscFunctionReturn(PETSC_SUCCESS);
      /* row lengths, column indices, values: each process reads the same share of the rows of all three */
      PetscMPIInt rank, size;
      PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
      PetscCallMPI(MPI_Comm_size(o.comm, &size));
      Target              t;
      std::vector<double> len, col;
      t.rstart = ph.M / size * rank + std::min<std::int64_t>(rank, ph.M % size);
      t.nrows  = ph.M / size + (rank < ph.M % size);
      t.rest = t.rs = t.cs = 1;
      len.resize(static_cast<std::size_t>(t.nrows));
      t.a = len.data();
      Layout a;
      a.elem   = width == 8 ? Elem::I8 : Elem::I4;
      a.big    = true;
      a.offset = head;
      a.slice  = width;
      a.dims   = {ph.M};
      PetscCall(ReadBinary(o, a, t));
      std::int64_t mine = 0, before = 0, total;
      for (std::size_t k = 0; k < len.size(); ++k) {
        if (len[k] < 0 || len[k] > static_cast<double>(ph.N))
          err.Set(Why::Malformed,
                  "row " + std::to_string(t.rstart + static_cast<std::int64_t>(k)) + " has " + std::to_string(static_cast<std::int64_t>(len[k])) +
                    " entries in " + std::to_string(ph.N) + " columns",
                  -1, head + width * (t.rstart + static_cast<std::int64_t>(k)));
        mine += static_cast<std::int64_t>(len[k]);
      }
      PetscCall(Agree(o.comm, o.path, err));
      PetscCallMPI(MPI_Exscan(&mine, &before, 1, MPI_INT64_T, MPI_SUM, o.comm));
      if (!rank) before = 0;
      PetscCall(SumAll(o.comm, mine, &total));
      if (total != ph.nnz)
        err.Set(Why::Malformed, "the rows have " + std::to_string(total) + " entries together, the header declares " + std::to_string(ph.nnz), -1, 3 * width);
      PetscCall(Raise(o, err));
      const std::int64_t row0 = t.rstart;
      t.rstart                = before;
      t.nrows                 = mine;
      a.offset                = head + width * ph.M;
      a.dims                  = {ph.nnz};
      col.resize(static_cast<std::size_t>(mine));
      t.a = col.data();
      PetscCall(ReadBinary(o, a, t));
      for (std::size_t k = 0; k < col.size(); ++k)
        if (col[k] < 0 || col[k] >= static_cast<double>(ph.N))
          err.Set(Why::Malformed, "column index " + std::to_string(static_cast<std::int64_t>(col[k])) + " is outside 0..." + std::to_string(ph.N - 1), -1,
                  a.offset + width * (before + static_cast<std::int64_t>(k)));
      PetscCall(Agree(o.comm, o.path, err));
      a.elem   = Elem::F8;
      a.offset = head + width * (ph.M + ph.nnz);
      a.slice  = 8;
      sparse.coo.v.resize(static_cast<std::size_t>(mine));
      t.a = sparse.coo.v.data();
      PetscCall(ReadBinary(o, a, t));
      for (std::size_t k = 0; k < col.size(); ++k)
        if (!std::isfinite(sparse.coo.v[k])) err.Set(Why::Malformed, "a value is not finite", -1, a.offset + 8 * (before + static_cast<std::int64_t>(k)));
      PetscCall(Agree(o.comm, o.path, err));
      for (std::size_t k = 0; k < len.size(); ++k)
        sparse.coo.i.insert(sparse.coo.i.end(), static_cast<std::size_t>(len[k]), row0 + static_cast<std::int64_t>(k));
      for (const double c : col) sparse.coo.j.push_back(static_cast<std::int64_t>(c));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  } else {
    PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
      dense.layout = Layout();
      switch (o.format) {
      case Format::Npy:
        return NpyParseHeader(p, n, complete, dense.layout, e);
      case Format::Idx:
        return IdxParseHeader(p, n, complete, dense.layout, e);
      default:
        return PnmParseHeader(p, n, complete, dense.layout, &ascii, &lines, e);
      }
    }));
  }
  dense.dims = dense.layout.dims;
  dense.type = ElemName(dense.layout.elem);
  if (ascii) {
    TextValues         tv;
    std::int64_t       nseq, shift, total;
    const std::int64_t want = dense.layout.dims[0] * dense.layout.Rest();
    FitsFile(o, dense.layout.offset + 2 * want - 1, err);
    PetscCall(Raise(o, err));
    dense.kind = Dense::Text;
    if (headeronly) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(ForEachChunk(
      o, dense.layout.offset, lines, true,
      [&](const char *p, const char *e, std::int64_t line, std::int64_t seq, Error &er) {
        const std::size_t before = dense.values.size();
        const bool        ok     = ParseValues(p, e, line, true, dense.layout.maxval, dense.values, er);
        AddPiece(tv, seq, static_cast<std::int64_t>(dense.values.size() - before));
        return ok;
      },
      &nseq, &shift));
    PetscCall(NumberPieces(o.comm, tv, nseq, dense, &total));
    if (total != want) err.Set(Why::Malformed, "the header declares " + std::to_string(want) + " values, the file has " + std::to_string(total));
    PetscCall(Raise(o, err));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const std::int64_t end = dense.layout.End();
  FitsFile(o, end, err);
  /* bytes behind an array that is alone in its file mean that the header is wrong */
  if (!o.gz && (o.format == Format::Npy || o.format == Format::Idx) && end < o.filesize)
    err.Set(Why::Malformed, "the header declares data up to byte " + std::to_string(end) + ", but the file has " + std::to_string(o.filesize) + " bytes");
  PetscCall(Raise(o, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Contents(Opened &o, int want, bool allownan, bool headeronly, Dense &dense, Sparse &sparse, bool *issparse)
{
  PetscFunctionBegin;
  switch (o.format) {
  case Format::MatrixMarket: {
    Error err;
    if (!o.variable.empty()) err.Set(Why::Malformed, "a Matrix Market file has no variables, but '" + o.variable + "' was asked for");
    PetscCall(Raise(o, err));
    PetscCall(ContentsMM(o, headeronly, dense, sparse, issparse));
  } break;
  case Format::Csv:
    PetscCall(ContentsCsv(o, want, allownan, dense, sparse, issparse));
    break;
  case Format::Hdf5: {
    Error err;
    PetscCall(Hdf5Inspect(o, dense.h5));
    dense.kind = Dense::Hdf5;
    *issparse  = dense.h5.sparse;
    o.variable = dense.h5.path;
    if (*issparse) {
      sparse.M    = dense.h5.dims[0];
      sparse.N    = dense.h5.dims[1];
      sparse.nnz  = dense.h5.nnz;
      sparse.type = dense.h5.type;
      CheckSizes(o, sparse.M, sparse.N, sparse.nnz, err);
      PetscCall(Raise(o, err));
      if (!headeronly) PetscCall(Hdf5ReadSparse(o, dense.h5, sparse.coo));
    } else {
      dense.dims = dense.h5.dims;
      dense.type = dense.h5.type;
    }
  } break;
  default:
    PetscCall(ContentsBinary(o, dense, sparse, headeronly, issparse));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReadDense(Opened &o, Dense &dense, const Target &t)
{
  PetscFunctionBegin;
  if (dense.kind == Dense::Binary)
    PetscCall(ReadBinary(o, dense.layout, t));
  else if (dense.kind == Dense::Hdf5)
    PetscCall(Hdf5Read(o, dense.h5.path, t));
  else {
    std::vector<std::int64_t> ranges;
    PetscCall(RowRanges(o.comm, t.rstart, t.nrows, ranges));
    const std::int64_t M = dense.dims[0], n = static_cast<std::int64_t>(dense.values.size());
    std::size_t        piece = 0;
    const bool         sym   = dense.symmetry != MMHeader::General;
    std::int64_t       jcol = 0, icol = 0, last = -2; /* walks through the triangle */
    const auto         skew = dense.symmetry == MMHeader::Skew;
    const auto         at   = [&](std::int64_t k) {
      while (piece + 1 < dense.first.size() && dense.first[piece + 1] <= k) ++piece;
      Record             r{0, 0, dense.values[static_cast<std::size_t>(k)]};
      const std::int64_t pos = dense.start[piece] + (k - dense.first[piece]);
      if (sym) {
        /* column j of the lower triangle holds M-j values, without the diagonal if skew */
        if (pos != last + 1 || last < 0) {
          std::int64_t p = pos;
          for (jcol = 0; p >= M - jcol - (skew ? 1 : 0); ++jcol) p -= M - jcol - (skew ? 1 : 0);
          icol = jcol + (skew ? 1 : 0) + p;
        } else if (++icol >= M) {
          ++jcol;
          icol = jcol + (skew ? 1 : 0);
        }
        last  = pos;
        r.key = icol;
        r.col = jcol;
      } else if (dense.columnmajor) {
        r.key = pos % M;
        r.col = pos / M;
      } else {
        r.key = pos / t.rest;
        r.col = pos % t.rest;
      }
      return r;
    };
    const auto put = [&](const Record &r) { t.a[(r.key - t.rstart) * t.rs + r.col * t.cs] = r.v; };
    PetscCall(Exchange(o.comm, n, at, ranges, put));
    if (sym) {
      piece = 0;
      last  = -2;
      PetscCall(Exchange(
        o.comm, n,
        [&](std::int64_t k) {
          Record r = at(k);
          std::swap(r.key, r.col);
          if (skew) r.v = -r.v;
          return r;
        },
        ranges,
        [&](const Record &r) {
          if (r.key != r.col) put(r);
        }));
    }
    std::vector<double>().swap(dense.values);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The entries to the owners of their rows, sorted, duplicates added */
static PetscErrorCode AssembleSparse(Opened &o, Sparse &s, MatType type, Mat *A)
{
  PetscInt                  m = PETSC_DECIDE, n = PETSC_DECIDE, M = static_cast<PetscInt>(s.M), N = static_cast<PetscInt>(s.N), rstart = 0;
  std::vector<std::int64_t> ranges;
  std::vector<Record>       mine;
  Error                     err;

  PetscFunctionBegin;
  PetscCall(PetscSplitOwnership(o.comm, &m, &M));
  PetscCall(PetscSplitOwnership(o.comm, &n, &N));
  PetscCallMPI(MPI_Exscan(&m, &rstart, 1, MPIU_INT, MPI_SUM, o.comm));
  PetscMPIInt rank;
  PetscCallMPI(MPI_Comm_rank(o.comm, &rank));
  if (!rank) rstart = 0;
  PetscCall(RowRanges(o.comm, rstart, m, ranges));
  PetscCall(Exchange(
    o.comm, static_cast<std::int64_t>(s.coo.v.size()),
    [&](std::int64_t k) {
      const auto q = static_cast<std::size_t>(k);
      return Record{s.coo.i[q], s.coo.j[q], s.coo.v[q]};
    },
    ranges, [&](const Record &r) { mine.push_back(r); }));
  s.coo = Coo();
  if (static_cast<std::int64_t>(mine.size()) > PETSC_MAX_INT)
    err.Set(Why::TooLarge, "one process has " + std::to_string(mine.size()) + " entries; use more processes or a PETSc with 64-bit indices");
  PetscCall(Agree(o.comm, o.path, err));
  std::stable_sort(mine.begin(), mine.end(), [](const Record &a, const Record &b) { return a.key != b.key ? a.key < b.key : a.col < b.col; });
  std::vector<PetscInt>    ia(static_cast<std::size_t>(m) + 1, 0), ja;
  std::vector<PetscScalar> va;
  for (std::size_t k = 0; k < mine.size(); ++k) {
    if (k && mine[k].key == mine[k - 1].key && mine[k].col == mine[k - 1].col) {
      va.back() += mine[k].v;
      continue;
    }
    ja.push_back(static_cast<PetscInt>(mine[k].col));
    va.push_back(mine[k].v);
    ++ia[static_cast<std::size_t>(mine[k].key - rstart) + 1];
  }
  std::partial_sum(ia.begin(), ia.end(), ia.begin());
  std::vector<Record>().swap(mine);
  ja.reserve(1); /* no null pointers to PETSc */
  va.reserve(1);
  Mat B;
  PetscCall(MatCreate(o.comm, &B));
  PetscCall(MatSetSizes(B, m, n, M, N));
  PetscCall(MatSetType(B, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocationCSR(B, ia.data(), ja.data(), va.data()));
  PetscCall(MatMPIAIJSetPreallocationCSR(B, ia.data(), ja.data(), va.data()));
  if (type) PetscCall(MatConvert(B, type, MAT_INPLACE_MATRIX, &B));
  *A = B;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Not-finite values, which matrices and vectors do not take */
static PetscErrorCode CheckFinite(Opened &o, const Target &t, bool vec)
{
  Error err;

  PetscFunctionBegin;
  for (PetscInt64 i = 0; t.rest && i < t.nrows && !err.Failed(); ++i)
    for (PetscInt64 r = 0; r < t.rest && !err.Failed(); ++r)
      if (!std::isfinite(t.a[i * t.rs + r * t.cs])) {
        err.Set(Why::Malformed,
                vec ? "value " + std::to_string(t.rstart + i) + " is not finite"
                    : "the value in row " + std::to_string(t.rstart + i) + ", column " + std::to_string(r) + " (from 0) is not finite",
                -1, -1);
        err.offset = -1;
      }
  PetscCall(Agree(o.comm, o.path, err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static std::int64_t Rest(const std::vector<std::int64_t> &dims)
{
  std::int64_t r = 1;
  for (std::size_t d = 1; d < dims.size(); ++d) r *= dims[d];
  return r;
}

static PetscErrorCode MatLoadFile(MPI_Comm comm, const char name[], MatType type, Mat *A)
{
  Opened o;
  Dense  dense;
  Sparse sparse;
  bool   issparse;
  int    want = 0;
  Error  err;

  PetscFunctionBegin;
  PetscCall(Open(comm, name, o));
  if (type) {
    const std::string t = type;
    want                = t == MATDENSE || t == MATSEQDENSE || t == MATMPIDENSE ? 2 : 1;
  }
  PetscCall(Contents(o, want, false, false, dense, sparse, &issparse));
  if (issparse) {
    PetscCall(AssembleSparse(o, sparse, type, A));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const std::int64_t M = dense.dims[0], N = Rest(dense.dims);
  PetscInt           m = PETSC_DECIDE, n = PETSC_DECIDE, PM, PN, rstart, lda;
  PetscMPIInt        size;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  std::int64_t local;
  if (M > PETSC_MAX_INT || N > PETSC_MAX_INT || !MulFits(M / size + 1, N, &local) || (sizeof(PetscInt) == 4 && local > PETSC_MAX_INT))
    err.Set(Why::TooLarge, std::to_string(M) + " x " + std::to_string(N) + " needs more than the " + std::to_string(8 * sizeof(PetscInt)) +
                             "-bit indices of this PETSc on " + std::to_string(size) + " processes");
  else
    CheckSizes(o, M, N, M * N, err);
  PetscCall(Raise(o, err));
  PM = static_cast<PetscInt>(M);
  PN = static_cast<PetscInt>(N);
  PetscCall(PetscSplitOwnership(comm, &m, &PM));
  PetscCall(PetscSplitOwnership(comm, &n, &PN));
  Mat B;
  PetscCall(MatCreateDense(comm, m, n, PM, PN, NULL, &B));
  PetscCall(MatGetOwnershipRange(B, &rstart, NULL));
  PetscCall(MatDenseGetLDA(B, &lda));
  Target       t;
  PetscScalar *a;
  PetscCall(MatDenseGetArrayWrite(B, &a));
  t.rstart            = rstart;
  t.nrows             = m;
  t.rest              = N;
  t.a                 = a;
  t.rs                = 1;
  t.cs                = lda;
  PetscErrorCode ierr = ReadDense(o, dense, t);
  if (!ierr) ierr = CheckFinite(o, t, false);
  PetscCall(MatDenseRestoreArrayWrite(B, &a));
  if (ierr) PetscCall(MatDestroy(&B));
  PetscCall(ierr);
  PetscCall(MatAssemblyBegin(B, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(B, MAT_FINAL_ASSEMBLY));
  if (type && want == 1) PetscCall(MatConvert(B, type, MAT_INPLACE_MATRIX, &B));
  *A = B;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VecLoadFile(MPI_Comm comm, const char name[], Vec *v)
{
  Opened o;
  Dense  dense;
  Sparse sparse;
  bool   issparse;
  Error  err;

  PetscFunctionBegin;
  PetscCall(Open(comm, name, o));
  PetscCall(Contents(o, 0, false, false, dense, sparse, &issparse));
  const auto refuse = [&](const std::string &dims) { err.Set(Why::Malformed, "holds " + dims + " values, not a vector; load it as a matrix"); };
  if (issparse) {
    if (sparse.N != 1 && sparse.M != 1) refuse(std::to_string(sparse.M) + " x " + std::to_string(sparse.N));
    PetscCall(Raise(o, err));
    if (sparse.N != 1) {
      std::swap(sparse.M, sparse.N);
      sparse.coo.i.swap(sparse.coo.j);
    }
    Mat A;
    PetscCall(AssembleSparse(o, sparse, NULL, &A));
    PetscCall(MatCreateVecs(A, NULL, v));
    PetscCall(MatGetColumnVector(A, *v, 0));
    PetscCall(MatDestroy(&A));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  std::int64_t n = 1, big = 0;
  std::string  text;
  bool         flat = true;
  for (const std::int64_t d : dense.dims) {
    n *= d;
    big += d != 1;
    text += (text.empty() ? "" : " x ") + std::to_string(d);
  }
  flat = big <= 1;
  if (!flat)
    refuse(text);
  else if (n > PETSC_MAX_INT)
    err.Set(Why::TooLarge, std::to_string(n) + " values need more than the " + std::to_string(8 * sizeof(PetscInt)) + "-bit indices of this PETSc");
  PetscCall(Raise(o, err));
  if (dense.kind == Dense::Binary) {
    /* 1 x n and the like are n rows of one number; records of a NetCDF file keep their distance */
    Layout &a = dense.layout;
    if (a.dims[0] != n || a.dims.size() > 1) {
      if (a.dims[0] != n) a.slice = static_cast<std::int64_t>(ElemSize(a.elem));
      a.dims    = {n};
      a.fortran = false;
    }
  } else if (dense.kind == Dense::Text) {
    dense.symmetry    = MMHeader::General; /* 1 x 1 at most, or an error below */
    dense.columnmajor = false;
    dense.dims        = {n, 1};
  }
  Target       t;
  PetscScalar *a;
  PetscInt     rstart, nlocal;
  PetscCall(VecCreateMPI(comm, PETSC_DECIDE, static_cast<PetscInt>(n), v));
  PetscCall(VecZeroEntries(*v));
  PetscCall(VecGetOwnershipRange(*v, &rstart, NULL));
  PetscCall(VecGetLocalSize(*v, &nlocal));
  PetscCall(VecGetArrayWrite(*v, &a));
  t.rstart = rstart;
  t.nrows  = nlocal;
  t.rest   = 1;
  t.a      = a;
  t.rs = t.cs         = 1;
  PetscErrorCode ierr = ReadDense(o, dense, t);
  if (!ierr) ierr = CheckFinite(o, t, true);
  PetscCall(VecRestoreArrayWrite(*v, &a));
  if (ierr) PetscCall(VecDestroy(v));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileGetInfo(MPI_Comm comm, const char name[], SkeanFileInfo *info)
{
  Opened o;
  Dense  dense;
  Sparse sparse;
  bool   issparse;

  PetscFunctionBegin;
  PetscCall(Open(comm, name, o));
  PetscCall(Contents(o, 0, true, true, dense, sparse, &issparse));
  PetscCall(PetscMemzero(info, sizeof(*info)));
  info->format     = static_cast<SkeanFileFormat>(o.format);
  info->compressed = o.gz ? PETSC_TRUE : PETSC_FALSE;
  info->sparse     = issparse ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscStrncpy(info->variable, o.variable.c_str(), sizeof(info->variable)));
  PetscCall(PetscStrncpy(info->type, issparse ? sparse.type.c_str() : dense.type.c_str(), sizeof(info->type)));
  if (issparse) {
    info->ndims   = 2;
    info->dims[0] = sparse.M;
    info->dims[1] = sparse.N;
    info->nnz     = sparse.nnz;
  } else {
    info->nnz = 1;
    for (const std::int64_t d : dense.dims) {
      if (info->ndims == SKEAN_FILE_MAX_DIMS) break;
      info->dims[info->ndims++] = d;
      info->nnz *= d;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace io
} // namespace skean

/*@
   SkeanMatLoadFile - Reads a matrix from a file of any known format

   Collective

   Input Parameters:
+  comm - the communicator of the matrix
.  name - name of the file, for HDF5 and NetCDF file:variable, for CSV file:table, file:triplets, file:triplets0 or file:triplets1
-  type - type of the matrix, or NULL: `MATAIJ` for files with indices, `MATDENSE` for full arrays

   Output Parameter:
.  A - the matrix, rows distributed as `PETSC_DECIDE` does; an array of more than two dimensions is read as dims[0] rows

   Level: beginner

   Notes:
   The format is recognised by the content of the file, then by the ending of its name: Matrix Market (real, integer, pattern;
   general, symmetric, skew-symmetric; coordinate and array), PETSc binary, HDF5 (datasets, and the sparse groups that
   `SkeanMatWriteFile()` and Python's anndata write), NumPy .npy, CSV, IDX, PGM and PPM (rows of pixels), NetCDF classic. All but
   HDF5 may be compressed with gzip.

   Entries given twice are added. Of a symmetric Matrix Market file either triangle is accepted, not both. Triplets of a CSV file
   count from 0 if an index 0 occurs and from 1 otherwise, unless triplets0 or triplets1 says so; a file is taken for triplets if it
   has three columns (four below a header, the last is ignored) whose first two hold non-negative integers, or if type is a sparse one.

   Each process reads and parses its share of the bytes; a compressed file is decompressed by the first process, which deals blocks
   of about 1 MB. Memory: the matrix and, for text, this process's share of the numbers.

   Errors: `PETSC_ERR_FILE_OPEN`, `PETSC_ERR_FILE_READ`, `PETSC_ERR_FILE_UNEXPECTED` (malformed, with file, line or byte, and reason),
   `PETSC_ERR_SUP` (complex, structured...), `PETSC_ERR_ARG_OUTOFRANGE` (sizes beyond the indices of PETSc, or not plausible); the same
   code and text on all processes. NaN and infinite values are errors: use `SkeanGridLoadFile()` where values may be missing.

   Source: R. Boisvert, R. Pozo, K. Remington, The Matrix Market Exchange Formats: Initial Design, NISTIR 5935 (1996).

.seealso: `SkeanVecLoadFile()`, `SkeanGridLoadFile()`, `SkeanFileGetInfo()`, `SkeanMatWriteFile()`
@*/
PetscErrorCode SkeanMatLoadFile(MPI_Comm comm, const char name[], MatType type, Mat *A)
{
  PetscErrorCode ierr;

  PetscFunctionBegin;
  PetscCheck(A, comm, PETSC_ERR_ARG_NULL, "Null pointer: A");
  PetscCall(SkeanInitializePackage());
  PetscCallCXX(ierr = skean::io::MatLoadFile(comm, name, type, A));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanVecLoadFile - Reads a vector from a file of any known format

   Collective

   Input Parameters:
+  comm - the communicator of the vector
-  name - name of the file, as for `SkeanMatLoadFile()`

   Output Parameter:
.  v - the vector, distributed as `PETSC_DECIDE` does

   Level: beginner

   Notes:
   At most one dimension of the file may be other than 1: n, n x 1 and 1 x n. A sparse matrix with one column or one row is read as a
   full vector.

   Errors: as `SkeanMatLoadFile()`; `PETSC_ERR_FILE_UNEXPECTED` if the file holds a matrix.

.seealso: `SkeanMatLoadFile()`, `SkeanVecWriteFile()`, `SkeanFileGetInfo()`
@*/
PetscErrorCode SkeanVecLoadFile(MPI_Comm comm, const char name[], Vec *v)
{
  PetscErrorCode ierr;

  PetscFunctionBegin;
  PetscCheck(v, comm, PETSC_ERR_ARG_NULL, "Null pointer: v");
  PetscCall(SkeanInitializePackage());
  PetscCallCXX(ierr = skean::io::VecLoadFile(comm, name, v));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanFileGetInfo - Format, dimensions and number type of a file

   Collective

   Input Parameters:
+  comm - the communicator
-  name - name of the file, or file:variable

   Output Parameter:
.  info - what the file holds, the same on every process

   Level: beginner

   Notes:
   Reads the header only, except for CSV, whose sizes are known only when it has been read.

   Errors: as `SkeanMatLoadFile()`.

.seealso: `SkeanFileInfo`, `SkeanMatLoadFile()`
@*/
PetscErrorCode SkeanFileGetInfo(MPI_Comm comm, const char name[], SkeanFileInfo *info)
{
  PetscErrorCode ierr;

  PetscFunctionBegin;
  PetscCheck(info, comm, PETSC_ERR_ARG_NULL, "Null pointer: info");
  PetscCall(SkeanInitializePackage());
  PetscCallCXX(ierr = skean::io::FileGetInfo(comm, name, info));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}
