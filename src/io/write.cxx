/* Writers: PETSc binary, HDF5, NumPy, Matrix Market, NetCDF classic; atomic, in parallel, with provenance */
#include "ioimpl.hpp"
#include "gridimpl.hpp"
#include <skean/private/rowblock.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>

#if defined(SKEAN_HAVE_HDF5)
  #include <hdf5.h>
#endif
#if defined(SKEAN_HAVE_PNETCDF)
  #include <pnetcdf.h>
#endif

namespace skean {
namespace io {

using Attributes = std::map<std::string, std::string>;

static PetscErrorCode GetAttributes(PetscObject obj, Attributes **att)
{
  PetscObject c;
  void       *p;

  PetscFunctionBegin;
  *att = nullptr;
  PetscCall(PetscObjectQuery(obj, "SkeanAttributes", &c));
  if (c) {
    PetscCall(PetscContainerGetPointer((PetscContainer)c, &p));
    *att = static_cast<Attributes *>(p);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::vector<std::pair<std::string, std::string>> Provenance(PetscObject obj)
{
  std::vector<std::pair<std::string, std::string>> p;
  char                                             version[128] = "";
  char                                            *options      = nullptr;
  Attributes                                      *att          = nullptr;
  if (obj && obj->name) p.emplace_back("name", obj->name);
  if (!SkeanGetVersion(version, sizeof(version))) p.emplace_back("version", version);
  if (!PetscOptionsGetAll(NULL, &options) && options) {
    std::string o = OneLine(options);
    if (o.size() > 16384) o = o.substr(0, 16384) + "...";
    while (!o.empty() && o.back() == ' ') o.pop_back();
    p.emplace_back("options", o);
    PetscErrorCode ierr = PetscFree(options);
    (void)ierr;
  }
  if (obj && !GetAttributes(obj, &att) && att)
    for (const auto &a : *att) p.emplace_back(a);
  return p;
}

/* The rows of an object in row-major blocks: what all writers read from */
struct Rows {
  std::string           name;
  PetscObject           obj    = nullptr;
  PetscInt              rstart = 0, nrows = 0, M = 0, N = 0; /* N: columns, or points of a slice */
  bool                  vec = false, sparse = false;
  std::vector<PetscInt> dims;
  SkeanGrid             grid = nullptr;
  RowBlock              block;
  Vec                   v = nullptr;
  const PetscScalar    *a = nullptr; /* vectors and grids */
  void                  Get(PetscInt i0, PetscInt i1, double *out) const
  {
    if (a) {
      std::copy(a + static_cast<std::size_t>(i0) * static_cast<std::size_t>(N), a + static_cast<std::size_t>(i1) * static_cast<std::size_t>(N), out);
      return;
    }
    const RowView &w = block.View();
    for (PetscInt i = i0; i < i1; ++i)
      for (PetscInt j = 0; j < N; ++j) *out++ = w.dense[i + static_cast<std::size_t>(j) * static_cast<std::size_t>(w.lda)];
  }
  /* The entries of a row of a sparse matrix by column: its parts have them in another order on every number of processes */
  void GetSparse(PetscInt i, std::vector<std::pair<PetscInt, double>> &row) const
  {
    const RowView &w = block.View();
    row.clear();
    for (int p = 0; p < w.nparts; ++p)
      for (PetscInt k = w.part[p].i[i]; k < w.part[p].i[i + 1]; ++k) row.emplace_back(w.part[p].Column(k), w.part[p].a[k]);
    const auto less = [](const std::pair<PetscInt, double> &a, const std::pair<PetscInt, double> &b) { return a.first < b.first; };
    if (!std::is_sorted(row.begin(), row.end(), less)) std::stable_sort(row.begin(), row.end(), less);
  }
};

static PetscErrorCode RowsOpen(PetscObject obj, Rows &r)
{
  PetscClassId id;
  const char  *name;

  PetscFunctionBegin;
  PetscCall(PetscObjectGetClassId(obj, &id));
  PetscCall(PetscObjectGetName(obj, &name));
  r.name = name;
  r.obj  = obj;
  for (char &c : r.name)
    if (c == '/' || c == ' ' || c == ':') c = '_';
  if (id == VEC_CLASSID || id == SKEAN_GRID_CLASSID) {
    if (id == VEC_CLASSID) {
      r.v = (Vec)obj;
      PetscCall(VecGetSize(r.v, &r.M));
      PetscCall(VecGetLocalSize(r.v, &r.nrows));
      PetscCall(VecGetOwnershipRange(r.v, &r.rstart, NULL));
      r.N    = 1;
      r.vec  = true;
      r.dims = {r.M};
    } else {
      r.grid   = (SkeanGrid)obj;
      r.v      = r.grid->data->values;
      r.dims   = r.grid->data->dims;
      r.M      = r.dims[0];
      r.N      = 1;
      r.rstart = r.grid->data->first;
      r.nrows  = r.grid->data->local;
      for (std::size_t d = 1; d < r.dims.size(); ++d) r.N *= r.dims[d];
    }
    PetscCall(VecGetArrayRead(r.v, &r.a));
    static const PetscScalar none = 0;
    if (!r.a) r.a = &none;
  } else {
    PetscCheck(id == MAT_CLASSID, PetscObjectComm(obj), PETSC_ERR_ARG_WRONG, "Can write a Mat, a Vec or a SkeanGrid, not a %s",
               obj->class_name ? obj->class_name : "?");
    PetscCall(r.block.Open((Mat)obj));
    const RowView &w = r.block.View();
    r.rstart         = w.rstart;
    r.nrows          = w.nrows;
    r.M              = w.nglobal;
    r.N              = w.ncols;
    r.dims           = {r.M, r.N};
    r.sparse         = !w.IsDense();
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode RowsClose(Rows &r)
{
  PetscFunctionBegin;
  if (r.v)
    PetscCall(VecRestoreArrayRead(r.v, &r.a));
  else
    PetscCall(r.block.Restore());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* rows in a block of about a million numbers */
static PetscInt BlockRows(PetscInt N)
{
  return std::max<PetscInt>(1, (1 << 20) / std::max<PetscInt>(1, N));
}
static PetscErrorCode MaxRounds(MPI_Comm comm, std::int64_t mine, std::int64_t *most)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(&mine, most, 1, MPI_INT64_T, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the numbers of all objects take; of sparse ones, with columns and an entry for every row, in integers of these widths */
static PetscErrorCode DataBytes(MPI_Comm comm, const std::vector<Rows> &rows, std::int64_t column, std::int64_t row, std::int64_t *bytes)
{
  PetscFunctionBegin;
  *bytes = 0;
  for (const Rows &r : rows) {
    std::int64_t mine = r.sparse ? r.block.View().Entries() : 0, total = 0;
    PetscCallMPI(MPI_Allreduce(&mine, &total, 1, MPI_INT64_T, MPI_SUM, comm));
    *bytes += r.sparse ? (8 + column) * total + row * (static_cast<std::int64_t>(r.M) + 1) : 8 * static_cast<std::int64_t>(r.M) * r.N;
    if (r.grid)
      for (const auto &d : r.grid->data->dim) *bytes += 8 * static_cast<std::int64_t>(d.coordinates.size());
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes at given places of one file, by MPI-IO */
class SharedFile {
public:
  bool Open(MPI_Comm comm, const std::string &path, Error &err)
  {
    const int e = MPI_File_open(comm, path.c_str(), MPI_MODE_WRONLY | MPI_MODE_CREATE, MPI_INFO_NULL, &f);
    if (e) return err.Set(Why::Open, "cannot open for writing: " + Text(e));
    return true;
  }
  bool Size(std::int64_t bytes, Error &err)
  {
    const int e = MPI_File_set_size(f, static_cast<MPI_Offset>(bytes));
    return !e || err.Set(Why::Open, "cannot make the file " + std::to_string(bytes) + " bytes long: " + Text(e));
  }
  bool Write(std::int64_t offset, const void *p, std::size_t n, Error &err)
  {
    const auto *q = static_cast<const char *>(p);
    while (n && !err.Failed()) {
      const int  m = static_cast<int>(std::min<std::size_t>(n, 1u << 30));
      MPI_Status st;
      int        got = 0, e = MPI_File_write_at(f, static_cast<MPI_Offset>(offset), q, m, MPI_BYTE, &st);
      if (!e) MPI_Get_count(&st, MPI_BYTE, &got);
      if (e || got != m) err.Set(Why::Open, e ? "cannot write: " + Text(e) : "cannot write all bytes: is the disk full?", -1, offset);
      q += m;
      offset += m;
      n -= static_cast<std::size_t>(m);
    }
    return !err.Failed();
  }
  void Close(Error &err)
  {
    if (f == MPI_FILE_NULL) return;
    const int e = MPI_File_close(&f);
    if (e) err.Set(Why::Open, "cannot write: " + Text(e));
  }

private:
  MPI_File           f = MPI_FILE_NULL;
  static std::string Text(int e)
  {
    char text[MPI_MAX_ERROR_STRING] = "";
    int  n                          = 0;
    MPI_Error_string(e, text, &n);
    return OneLine(text);
  }
};

static PetscErrorCode WriteNpy(MPI_Comm comm, const Rows &r, AtomicFile &file)
{
  SharedFile  f;
  Error       err;
  PetscMPIInt rank;
  std::string shape, head;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  for (const PetscInt d : r.dims) shape += std::to_string(d) + ", ";
  if (r.dims.size() > 1)
    shape.resize(shape.size() - 2);
  else
    shape.resize(shape.size() - 1);
  const std::uint16_t one    = 1;
  const bool          little = *reinterpret_cast<const unsigned char *>(&one) == 1;
  head                       = std::string("{'descr': '") + (little ? "<" : ">") + "f8', 'fortran_order': False, 'shape': (" + shape + "), }";
  while ((10 + head.size() + 1) % 64) head += ' ';
  head += '\n';
  head                        = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(head.size() & 255) + static_cast<char>(head.size() >> 8) + head;
  const std::int64_t rowbytes = 8 * static_cast<std::int64_t>(r.N), start = static_cast<std::int64_t>(head.size());
  PetscCall(file.Reserve(start + rowbytes * r.M, nullptr));
  f.Open(comm, file.Temp(), err);
  PetscCall(Agree(comm, file.Name(), err));
  f.Size(start + rowbytes * r.M, err);
  if (!rank && !err.Failed()) f.Write(0, head.data(), head.size(), err);
  std::vector<double> buf;
  const PetscInt      step = BlockRows(r.N);
  for (PetscInt i = 0; i < r.nrows && !err.Failed(); i += step) {
    const PetscInt e = std::min<PetscInt>(r.nrows, i + step);
    buf.resize(static_cast<std::size_t>(e - i) * static_cast<std::size_t>(r.N));
    r.Get(i, e, buf.data());
    f.Write(start + rowbytes * (r.rstart + i), buf.data(), 8 * buf.size(), err);
  }
  f.Close(err);
  PetscCall(file.Commit(err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Lines of one width, so that every process knows where its own stand */
static PetscErrorCode WriteMM(MPI_Comm comm, const Rows &r, AtomicFile &file)
{
  SharedFile   f;
  Error        err;
  PetscMPIInt  rank;
  std::string  head;
  std::int64_t mine = 0, before = 0, total = 0;
  char         line[128];

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  head = std::string("%%MatrixMarket matrix ") + (r.sparse ? "coordinate" : "array") + " real general\n";
  for (const auto &p : Provenance(r.obj)) {
    std::string s = p.first + ": " + OneLine(p.second);
    if (s.size() > 1000) s = s.substr(0, 1000) + "..."; /* the format allows lines of 1024 characters */
    head += "% " + s + "\n";
  }
  if (r.sparse) {
    mine = r.block.View().Entries();
    PetscCallMPI(MPI_Exscan(&mine, &before, 1, MPI_INT64_T, MPI_SUM, comm));
    if (!rank) before = 0;
    PetscCallMPI(MPI_Allreduce(&mine, &total, 1, MPI_INT64_T, MPI_SUM, comm));
    head += std::to_string(r.M) + " " + std::to_string(r.N) + " " + std::to_string(total) + "\n";
  } else
    head += std::to_string(r.M) + " " + std::to_string(r.N) + "\n";
  std::int64_t start = static_cast<std::int64_t>(head.size());
  PetscCallMPI(MPI_Bcast(&start, 1, MPI_INT64_T, 0, comm));
  const int          wi = static_cast<int>(std::to_string(r.M).size()), wj = static_cast<int>(std::to_string(r.N).size());
  const std::int64_t width = r.sparse ? wi + wj + 27 : 25; /* of a line */
  PetscCall(file.Reserve(start + width * (r.sparse ? total : static_cast<std::int64_t>(r.M) * r.N), nullptr));
  f.Open(comm, file.Temp(), err);
  PetscCall(Agree(comm, file.Name(), err));
  if (!rank) f.Write(0, head.data(), head.size(), err);
  std::string out;
  if (r.sparse) {
    std::int64_t at = start + width * before;

    std::vector<std::pair<PetscInt, double>> row;
    for (PetscInt i = 0; i < r.nrows && !err.Failed(); ++i) {
      r.GetSparse(i, row);
      for (const auto &e : row) {
        if (!std::isfinite(e.second))
          err.Set(Why::Malformed, "the entry in row " + std::to_string(r.rstart + i) + " is not finite, which Matrix Market cannot hold");
        std::snprintf(line, sizeof(line), "%*lld %*lld %24.16e\n", wi, static_cast<long long>(r.rstart) + i + 1, wj, static_cast<long long>(e.first) + 1,
                      e.second);
        out += line;
      }
      if (out.size() > (1u << 22) || i + 1 == r.nrows) {
        f.Write(at, out.data(), out.size(), err);
        at += static_cast<std::int64_t>(out.size());
        out.clear();
      }
    }
  } else {
    std::vector<double> row(static_cast<std::size_t>(r.N));
    const PetscInt      step = std::max<PetscInt>(1, std::min<PetscInt>(r.nrows, (1 << 22) / std::max<PetscInt>(1, r.N)));
    std::vector<double> buf;
    for (PetscInt i = 0; i < r.nrows && !err.Failed(); i += step) {
      const PetscInt e = std::min<PetscInt>(r.nrows, i + step);
      buf.resize(static_cast<std::size_t>(e - i) * static_cast<std::size_t>(r.N));
      r.Get(i, e, buf.data());
      for (PetscInt j = 0; j < r.N && !err.Failed(); ++j) {
        out.clear();
        for (PetscInt q = i; q < e; ++q) {
          const double x = buf[static_cast<std::size_t>(q - i) * static_cast<std::size_t>(r.N) + static_cast<std::size_t>(j)];
          if (!std::isfinite(x))
            err.Set(Why::Malformed, "the value in row " + std::to_string(r.rstart + q) + " is not finite, which Matrix Market cannot hold");
          std::snprintf(line, sizeof(line), "%24.16e\n", x);
          out += line;
        }
        f.Write(start + width * (static_cast<std::int64_t>(j) * r.M + r.rstart + i), out.data(), out.size(), err);
      }
    }
  }
  f.Close(err);
  PetscCall(file.Commit(err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The words of PETSc's binary files: big endian, integers as wide as PetscInt */
template <class T>
static void PutBig(std::string &out, T x)
{
  const std::uint16_t one    = 1;
  const bool          little = *reinterpret_cast<const unsigned char *>(&one) == 1;
  char                b[8];
  std::memcpy(b, &x, sizeof(x));
  if (little) std::reverse(b, b + sizeof(x));
  out.append(b, sizeof(x));
}

/* Not by PETSc's viewer: when that cannot write, only the first process knows */
static PetscErrorCode WriteBinary(MPI_Comm comm, const std::vector<Rows> &rows, AtomicFile &file)
{
  PetscMPIInt        rank;
  Error              err;
  SharedFile         f;
  AtomicFile         side;
  std::string        out;
  std::int64_t       start = 0, bytes; /* of an object; of all */
  const std::int64_t wi    = sizeof(PetscInt);

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  for (const Rows &r : rows)
    PetscCheck(!r.grid, comm, PETSC_ERR_SUP, "%s: PETSc binary files hold matrices and vectors; write a grid to HDF5, NetCDF or .npy", file.Name().c_str());
  PetscCall(DataBytes(comm, rows, wi, wi, &bytes));
  PetscCall(file.Reserve(bytes + 4 * wi * static_cast<std::int64_t>(rows.size()), nullptr));
  f.Open(comm, file.Temp(), err);
  PetscCall(Agree(comm, file.Name(), err));
  for (const Rows &r : rows) {
    std::int64_t mine = r.sparse ? r.block.View().Entries() : 0, before = 0, total = 0;
    PetscCallMPI(MPI_Exscan(&mine, &before, 1, MPI_INT64_T, MPI_SUM, comm));
    if (!rank) before = 0;
    PetscCallMPI(MPI_Allreduce(&mine, &total, 1, MPI_INT64_T, MPI_SUM, comm));
    PetscCheck(total <= PETSC_MAX_INT, comm, PETSC_ERR_SUP, "%s: PETSc binary files of this PETSc hold up to %" PetscInt_FMT " entries; use .h5 or .mtx",
               file.Name().c_str(), PETSC_MAX_INT);
    out.clear();
    PutBig(out, static_cast<PetscInt>(r.vec ? VEC_FILE_CLASSID : MAT_FILE_CLASSID));
    PutBig(out, r.M);
    if (!r.vec) {
      PutBig(out, r.N);
      PutBig(out, r.sparse ? static_cast<PetscInt>(total) : static_cast<PetscInt>(MATRIX_BINARY_FORMAT_DENSE));
    }
    const std::int64_t head = static_cast<std::int64_t>(out.size());
    if (!rank && !err.Failed()) f.Write(start, out.data(), out.size(), err);
    start += head;
    out.clear();
    if (r.sparse) {
      /* lengths of rows, then columns, then values */
      const std::int64_t                       columns = start + wi * r.M, values = columns + wi * total;
      std::int64_t                             at = before;
      std::string                              lengths, col;
      std::vector<std::pair<PetscInt, double>> row;
      PetscInt                                 first = 0; /* row whose length is the first that is not yet written */
      for (PetscInt i = 0; i < r.nrows && !err.Failed(); ++i) {
        r.GetSparse(i, row);
        PutBig(lengths, static_cast<PetscInt>(row.size()));
        for (const auto &e : row) {
          PutBig(col, e.first);
          PutBig(out, e.second);
        }
        if (lengths.size() + out.size() > (1u << 22) || i + 1 == r.nrows) {
          f.Write(start + wi * (r.rstart + first), lengths.data(), lengths.size(), err);
          f.Write(columns + wi * at, col.data(), col.size(), err);
          f.Write(values + 8 * at, out.data(), out.size(), err);
          at += static_cast<std::int64_t>(out.size() / 8);
          first = i + 1;
          lengths.clear();
          col.clear();
          out.clear();
        }
      }
      start = values + 8 * total;
    } else {
      std::vector<double> buf;
      const PetscInt      step = BlockRows(r.N);
      for (PetscInt i = 0; i < r.nrows && !err.Failed(); i += step) {
        const PetscInt e = std::min<PetscInt>(r.nrows, i + step);
        buf.resize(static_cast<std::size_t>(e - i) * static_cast<std::size_t>(r.N));
        r.Get(i, e, buf.data());
        out.clear();
        for (const double x : buf) PutBig(out, x);
        f.Write(start + 8 * static_cast<std::int64_t>(r.N) * (r.rstart + i), out.data(), out.size(), err);
      }
      start += 8 * static_cast<std::int64_t>(r.N) * r.M;
    }
  }
  f.Close(err);
  PetscCall(Agree(comm, file.Name(), err));
  /* the .info file that PETSc reads options from: ours are comments. Written before the other appears: both or none */
  PetscCall(side.Begin(comm, file.Name() + ".info"));
  if (!rank) {
    std::FILE *g = std::fopen(side.Temp().c_str(), "w");
    if (!g)
      err.Set(Why::Open, "cannot open for writing");
    else {
      for (const Rows &r : rows)
        for (const auto &p : Provenance(r.obj)) std::fprintf(g, "# %s: %s\n", p.first.c_str(), OneLine(p.second).c_str());
      if (std::ferror(g) | std::fclose(g)) err.Set(Why::Open, "cannot write all bytes: is the disk full?");
    }
  }
  PetscCall(Agree(comm, side.Name(), err));
  PetscCall(file.Commit(err, start));
  PetscCall(side.Commit(err));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#if defined(SKEAN_HAVE_HDF5)
namespace {
/* Numbers as numbers, if their text comes back the same; those that have a meaning for readers of grids are left to whoever means them */
bool PutNumber(hid_t obj, const std::string &key, const std::string &value, Error &err)
{
  for (const char *k : {"name", "version", "options", "units", "dimensions", "_FillValue", "missing_value", "scale_factor", "add_offset"})
    if (key == k) return false;
  char            text[64];
  const long long i = std::strtoll(value.c_str(), nullptr, 10);
  const double    x = std::strtod(value.c_str(), nullptr);
  std::snprintf(text, sizeof(text), "%lld", i);
  const bool integer = value == text;
  std::snprintf(text, sizeof(text), "%.17g", x);
  if (!integer && value != text) return false;
  const std::int64_t whole = i;
  const hid_t        sp    = H5Screate(H5S_SCALAR);
  if (H5Aexists(obj, key.c_str()) > 0) H5Adelete(obj, key.c_str());
  const hid_t a = H5Acreate2(obj, key.c_str(), integer ? H5T_STD_I64LE : H5T_IEEE_F64LE, sp, H5P_DEFAULT, H5P_DEFAULT);
  if (a < 0 || (integer ? H5Awrite(a, H5T_NATIVE_INT64, &whole) : H5Awrite(a, H5T_NATIVE_DOUBLE, &x)) < 0)
    err.Set(Why::Open, "HDF5 cannot write the attribute " + key);
  if (a >= 0) H5Aclose(a);
  H5Sclose(sp);
  return true;
}
void PutAttribute(hid_t obj, const std::string &key, const std::string &value, Error &err)
{
  const hid_t t = H5Tcopy(H5T_C_S1), sp = H5Screate(H5S_SCALAR);
  H5Tset_size(t, std::max<std::size_t>(1, value.size()));
  H5Tset_cset(t, H5T_CSET_UTF8);
  if (H5Aexists(obj, key.c_str()) > 0) H5Adelete(obj, key.c_str());
  const hid_t a = H5Acreate2(obj, key.c_str(), t, sp, H5P_DEFAULT, H5P_DEFAULT);
  if (a < 0 || H5Awrite(a, t, value.empty() ? "\0" : value.data()) < 0) err.Set(Why::Open, "HDF5 cannot write the attribute " + key);
  if (a >= 0) H5Aclose(a);
  H5Sclose(sp);
  H5Tclose(t);
}
/* A dataset of which this process writes [start, start+n) slices in rounds that all processes share */
template <class F>
PetscErrorCode PutDataset(MPI_Comm comm, hid_t file, const std::string &path, const std::vector<hsize_t> &dims, hid_t type, std::int64_t start, std::int64_t n,
                          F get, Error &err)
{
  std::int64_t rest = 1, most;

  PetscFunctionBegin;
  for (std::size_t d = 1; d < dims.size(); ++d) rest *= static_cast<std::int64_t>(dims[d]);
  const std::int64_t step = std::max<std::int64_t>(1, (1 << 20) / std::max<std::int64_t>(1, rest));
  PetscCall(MaxRounds(comm, rest ? (n + step - 1) / step : 0, &most));
  const hid_t sp = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), xfer = H5Pcreate(H5P_DATASET_XFER), lcpl = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(lcpl, 1);
  const hid_t d = H5Dcreate2(file, path.c_str(), type, sp, lcpl, H5P_DEFAULT, H5P_DEFAULT);
  if (d < 0) err.Set(Why::Open, "HDF5 cannot make the dataset '" + path + "'");
  #if defined(H5_HAVE_PARALLEL)
  H5Pset_dxpl_mpio(xfer, H5FD_MPIO_COLLECTIVE);
  #endif
  for (std::int64_t k = 0; k < most && d >= 0; ++k) {
    const std::int64_t   from = std::min(n, k * step), m = std::min(step, n - from);
    std::vector<hsize_t> s(dims.size(), 0), c(dims);
    s[0]              = static_cast<hsize_t>(start + from);
    c[0]              = static_cast<hsize_t>(m);
    const hsize_t len = static_cast<hsize_t>(std::max<std::int64_t>(1, m * rest));
    const hid_t   mem = H5Screate_simple(1, &len, nullptr);
    if (m > 0)
      H5Sselect_hyperslab(sp, H5S_SELECT_SET, s.data(), nullptr, c.data(), nullptr);
    else {
      H5Sselect_none(sp);
      H5Sselect_none(mem);
    }
    if (H5Dwrite(d, H5Tequal(type, H5T_STD_I64LE) > 0 ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, mem, sp, xfer, get(from, from + m)) < 0)
      err.Set(Why::Open, "HDF5 cannot write '" + path + "'");
    H5Sclose(mem);
  }
  if (d >= 0) H5Dclose(d);
  H5Pclose(lcpl);
  H5Pclose(xfer);
  H5Sclose(sp);
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

static PetscErrorCode WriteHdf5Objects(MPI_Comm comm, hid_t f, std::vector<Rows> &rows, AtomicFile &file)
{
  Error       err;
  PetscMPIInt rank;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  for (Rows &r : rows) {
    std::vector<double>  buf;
    std::vector<hsize_t> dims(r.dims.begin(), r.dims.end());
    hid_t                obj;
    if (r.sparse) {
      std::int64_t              mine = r.block.View().Entries(), before = 0, total;
      std::vector<std::int64_t> ptr(static_cast<std::size_t>(r.nrows) + 1), col;

      std::vector<std::pair<PetscInt, double>> row;
      PetscCallMPI(MPI_Exscan(&mine, &before, 1, MPI_INT64_T, MPI_SUM, comm));
      if (!rank) before = 0;
      PetscCallMPI(MPI_Allreduce(&mine, &total, 1, MPI_INT64_T, MPI_SUM, comm));
      std::int64_t at = before;
      for (PetscInt i = 0; i < r.nrows; ++i) {
        ptr[static_cast<std::size_t>(i)] = at;
        r.GetSparse(i, row);
        for (const auto &e : row) {
          col.push_back(e.first);
          buf.push_back(e.second);
          ++at;
        }
      }
      ptr[static_cast<std::size_t>(r.nrows)] = at;
      const bool last                        = r.rstart + r.nrows == r.M;
      /* the last process that has rows, or the last of all, also writes the end; empty ones before it would write it twice */
      PetscMPIInt size;
      PetscCallMPI(MPI_Comm_size(comm, &size));
      const std::int64_t nptr = r.nrows + (last && rank == size - 1);
      col.reserve(1);
      buf.reserve(1);
      PetscCall(PutDataset(
        comm, f, r.name + "/data", {static_cast<hsize_t>(total)}, H5T_IEEE_F64LE, before, mine, [&](std::int64_t a, std::int64_t) { return buf.data() + a; },
        err));
      PetscCall(PutDataset(
        comm, f, r.name + "/indices", {static_cast<hsize_t>(total)}, H5T_STD_I64LE, before, mine, [&](std::int64_t a, std::int64_t) { return col.data() + a; },
        err));
      PetscCall(PutDataset(
        comm, f, r.name + "/indptr", {static_cast<hsize_t>(r.M) + 1}, H5T_STD_I64LE, r.rstart, nptr,
        [&](std::int64_t a, std::int64_t) { return ptr.data() + a; }, err));
      obj = H5Gopen2(f, r.name.c_str(), H5P_DEFAULT);
      if (obj >= 0) {
        PutAttribute(obj, "encoding-type", "csr_matrix", err);
        PutAttribute(obj, "encoding-version", "0.1.0", err);
        const hsize_t two      = 2;
        const hid_t   sp       = H5Screate_simple(1, &two, nullptr);
        const hid_t   a        = H5Acreate2(obj, "shape", H5T_STD_I64LE, sp, H5P_DEFAULT, H5P_DEFAULT);
        std::int64_t  shape[2] = {r.M, r.N};
        if (a < 0 || H5Awrite(a, H5T_NATIVE_INT64, shape) < 0) err.Set(Why::Open, "HDF5 cannot write the attribute shape");
        if (a >= 0) H5Aclose(a);
        H5Sclose(sp);
      }
    } else {
      PetscCall(PutDataset(
        comm, f, r.name, dims, H5T_IEEE_F64LE, r.rstart, r.nrows,
        [&](std::int64_t a, std::int64_t b) {
          buf.resize(static_cast<std::size_t>(std::max<std::int64_t>(1, (b - a) * r.N)));
          if (b > a) r.Get(static_cast<PetscInt>(a), static_cast<PetscInt>(b), buf.data());
          return buf.data();
        },
        err));
      obj = H5Dopen2(f, r.name.c_str(), H5P_DEFAULT);
      if (r.grid && obj >= 0) {
        std::string names;
        for (std::size_t d = 0; d < r.dims.size(); ++d) {
          std::string dn = r.grid->data->dim[d].name;
          for (char &c : dn)
            if (c == ' ' || c == '/') c = '_';
          names += (d ? " " : "") + dn;
          const auto &c = r.grid->data->dim[d].coordinates;
          if (c.empty()) continue;
          const std::string path  = "coordinates/" + dn;
          bool              there = H5Lexists(f, "coordinates", H5P_DEFAULT) > 0 && H5Lexists(f, path.c_str(), H5P_DEFAULT) > 0;
          if (there) continue; /* of a grid before in the same file */
          const std::int64_t n = static_cast<std::int64_t>(c.size());
          PetscCall(PutDataset(
            comm, f, path, {static_cast<hsize_t>(n)}, H5T_IEEE_F64LE, 0, rank ? 0 : n, [&](std::int64_t a, std::int64_t) { return c.data() + a; }, err));
          const hid_t cd = H5Dopen2(f, path.c_str(), H5P_DEFAULT);
          if (cd >= 0) {
            PutAttribute(cd, "units", r.grid->data->dim[d].units, err);
            H5Dclose(cd);
          }
        }
        PutAttribute(obj, "dimensions", names, err);
        PutAttribute(obj, "units", r.grid->data->units, err);
      }
    }
    if (obj < 0)
      err.Set(Why::Open, "HDF5 cannot open '" + r.name + "' again");
    else {
      /* attributes are collective: the values of the first process on all */
      for (const auto &p : Provenance(r.obj))
        if (!PutNumber(obj, p.first, p.second, err)) PutAttribute(obj, p.first, p.second, err);
      H5Oclose(obj);
    }
    if (!err.Failed() && H5Fflush(f, H5F_SCOPE_LOCAL) < 0) err.Set(Why::Open, "cannot write all bytes: is the disk full?");
    PetscCall(Agree(comm, file.Name(), err));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace {
/* HDF5's own reports of errors, some sixty lines on every process: ours says it in one */
struct Hdf5Silence {
  H5E_auto2_t f    = nullptr;
  void       *data = nullptr;
  Hdf5Silence()
  {
    H5Eget_auto2(H5E_DEFAULT, &f, &data);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Hdf5Silence() { H5Eset_auto2(H5E_DEFAULT, f, data); }
};
} // namespace

static PetscErrorCode WriteHdf5(MPI_Comm comm, std::vector<Rows> &rows, AtomicFile &file)
{
  Error             err;
  const Hdf5Silence silence;
  std::int64_t      bytes;

  PetscFunctionBegin;
  PetscCall(DataBytes(comm, rows, 8, 8, &bytes));
  /* and what HDF5 adds: headers, tables of names, gaps after attributes that did not fit */
  bytes += 8192;
  for (const Rows &r : rows) {
    bytes += 4096 * static_cast<std::int64_t>(1 + (r.grid ? r.dims.size() : 0));
    for (const auto &p : Provenance(r.obj)) bytes += 2 * static_cast<std::int64_t>(p.first.size() + p.second.size() + 64);
  }
  PetscCall(file.Reserve(bytes, nullptr)); /* before HDF5 makes the file, which empties it, and after: it survives neither time without */
  const hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
  #if defined(H5_HAVE_PARALLEL)
  H5Pset_fapl_mpio(fapl, comm, MPI_INFO_NULL);
  #endif
  const hid_t f = H5Fcreate(file.Temp().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
  H5Pclose(fapl);
  if (f < 0) err.Set(Why::Open, "HDF5 cannot make the file");
  PetscErrorCode ierr = Agree(comm, file.Name(), err);
  if (!ierr) {
    ierr = file.Reserve(bytes, nullptr);
    if (!ierr) ierr = WriteHdf5Objects(comm, f, rows, file);
    /* HDF5 keeps a file that it cannot finish, and crashes over it when the program ends */
    if (ierr) PetscCall(file.Abandon());
  }
  if (f >= 0 && H5Fclose(f) < 0) err.Set(Why::Open, "HDF5 cannot finish the file: is the disk full?");
  PetscCall(ierr);
  PetscCall(file.Commit(err));
  PetscFunctionReturn(PETSC_SUCCESS);
}
#endif

#if defined(SKEAN_HAVE_PNETCDF)
/* Whether the file holds these rows: Open MPI's files tell PnetCDF nothing of bytes that could not be written */
static PetscErrorCode CompareNetcdf(const std::vector<Rows> &rows, const std::vector<MPI_Offset> &at, const std::string &name, Error &err)
{
  std::vector<double> want;
  std::vector<char>   got;
  std::string         big;

  PetscFunctionBegin;
  std::FILE *f = std::fopen(name.c_str(), "rb");
  if (!f) err.Set(Why::Open, "cannot be read again");
  for (std::size_t k = 0; k < rows.size() && !err.Failed(); ++k) {
    const Rows    &r    = rows[k];
    const PetscInt step = BlockRows(r.N);
    for (PetscInt i = 0; i < r.nrows && !err.Failed(); i += step) {
      const PetscInt e = std::min<PetscInt>(r.nrows, i + step);
      want.resize(static_cast<std::size_t>(e - i) * static_cast<std::size_t>(r.N));
      r.Get(i, e, want.data());
      big.clear();
      for (const double x : want) PutBig(big, x);
      got.resize(big.size());
      if (fseeko(f, static_cast<off_t>(at[k]) + 8 * static_cast<off_t>(r.N) * (r.rstart + i), SEEK_SET) ||
          std::fread(got.data(), 1, got.size(), f) != got.size() || std::memcmp(got.data(), big.data(), got.size()))
        err.Set(Why::Open, "cannot write all bytes: is the disk full?");
    }
  }
  if (f) std::fclose(f);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteNetcdf(MPI_Comm comm, std::vector<Rows> &rows, AtomicFile &file)
{
  Error err;
  int   nc = -1, e;

  PetscFunctionBegin;
  const auto check = [&](int code, const std::string &what) {
    if (code != NC_NOERR) err.Set(Why::Open, "NetCDF: " + what + ": " + ncmpi_strerror(code));
    return code == NC_NOERR;
  };
  std::int64_t bytes;
  PetscCall(DataBytes(comm, rows, 8, 8, &bytes));
  PetscCall(file.Reserve(bytes, nullptr));
  e = ncmpi_create(comm, file.Temp().c_str(), NC_CLOBBER | NC_64BIT_DATA, MPI_INFO_NULL, &nc);
  check(e, "cannot make the file");
  PetscCall(Agree(comm, file.Name(), err));
  std::map<std::string, std::pair<int, PetscInt>> dimids;
  std::map<std::string, int>                      coordids;
  std::vector<int>                                varids;
  std::vector<std::vector<std::string>>           names;
  for (const Rows &r : rows) {
    std::vector<int> ids;
    names.emplace_back();
    for (std::size_t d = 0; d < r.dims.size(); ++d) {
      std::string dn = r.grid ? r.grid->data->dim[d].name : r.name + "_dim" + std::to_string(d);
      if (dimids.count(dn) && dimids[dn].second != r.dims[d]) dn.insert(0, r.name + "_");
      if (!dimids.count(dn)) {
        int id;
        /* a dimension of length 0 would be the record dimension */
        if (!r.dims[d]) err.Set(Why::Unsupported, "a NetCDF dimension cannot have length 0");
        if (!err.Failed() && check(ncmpi_def_dim(nc, dn.c_str(), r.dims[d], &id), "dimension " + dn))
          dimids[dn] = {id, r.dims[d]};
        else
          break;
        if (r.grid && !r.grid->data->dim[d].coordinates.empty()) {
          int v;
          if (check(ncmpi_def_var(nc, dn.c_str(), NC_DOUBLE, 1, &id, &v), "coordinate " + dn)) {
            coordids[dn]         = v;
            const std::string &u = r.grid->data->dim[d].units;
            if (!u.empty()) check(ncmpi_put_att_text(nc, v, "units", static_cast<MPI_Offset>(u.size()), u.c_str()), "units of " + dn);
          }
        }
      }
      ids.push_back(dimids[dn].first);
      names.back().push_back(dn);
    }
    int v = -1;
    if (!err.Failed() && check(ncmpi_def_var(nc, r.name.c_str(), NC_DOUBLE, static_cast<int>(ids.size()), ids.data(), &v), "variable " + r.name)) {
      const double nan = std::numeric_limits<double>::quiet_NaN();
      check(ncmpi_put_att_double(nc, v, "_FillValue", NC_DOUBLE, 1, &nan), "_FillValue");
      if (r.grid && !r.grid->data->units.empty())
        check(ncmpi_put_att_text(nc, v, "units", static_cast<MPI_Offset>(r.grid->data->units.size()), r.grid->data->units.c_str()), "units");
      for (const auto &p : Provenance(r.obj))
        if (p.first != "units")
          check(ncmpi_put_att_text(nc, v, p.first.c_str(), static_cast<MPI_Offset>(p.second.size()), p.second.c_str()), "attribute " + p.first);
    }
    varids.push_back(v);
  }
  if (!err.Failed()) check(ncmpi_enddef(nc), "cannot write the header");
  PetscMPIInt rank;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  /* the space, and where the numbers will stand */
  std::vector<MPI_Offset> at(rows.size(), 0);
  MPI_Offset              headsize = 0;
  std::int64_t            end      = 0;
  bool                    bad, sure = false;
  if (!err.Failed() && check(ncmpi_inq_header_size(nc, &headsize), "header")) {
    end = static_cast<std::int64_t>(headsize);
    for (std::size_t k = 0; k < rows.size(); ++k)
      if (check(ncmpi_inq_varoffset(nc, varids[k], &at[k]), rows[k].name))
        end = std::max(end, static_cast<std::int64_t>(at[k]) + 8 * static_cast<std::int64_t>(rows[k].M) * rows[k].N);
    for (const auto &c : coordids) {
      MPI_Offset o = 0, len = 0;
      int        id = -1;
      if (check(ncmpi_inq_varoffset(nc, c.second, &o), c.first) && check(ncmpi_inq_vardimid(nc, c.second, &id), c.first) &&
          check(ncmpi_inq_dimlen(nc, id, &len), c.first))
        end = std::max(end, static_cast<std::int64_t>(o) + 8 * static_cast<std::int64_t>(len));
    }
  }
  PetscErrorCode ierr = Agree(comm, file.Name(), err);
  if (!ierr) ierr = file.Reserve(end, &sure);
  if (ierr) {
    (void)ncmpi_abort(nc);
    PetscCall(ierr);
  }
  for (std::size_t k = 0; k < rows.size(); ++k) {
    int any = err.Failed(), all;
    PetscCallMPI(MPI_Allreduce(&any, &all, 1, MPI_INT, MPI_MAX, comm));
    bad = all != 0;
    if (bad) break;
    const Rows         &r = rows[k];
    std::vector<double> buf;
    const PetscInt      step = BlockRows(r.N);
    std::int64_t        most;
    PetscCall(MaxRounds(comm, (r.nrows + step - 1) / step, &most));
    for (std::int64_t round = 0; round < most; ++round) {
      const PetscInt          i = static_cast<PetscInt>(std::min<std::int64_t>(r.nrows, round * step)), m = std::min<PetscInt>(step, r.nrows - i);
      std::vector<MPI_Offset> start(r.dims.size(), 0), count(r.dims.begin(), r.dims.end());
      start[0] = m ? r.rstart + i : 0;
      count[0] = m;
      buf.resize(std::max<std::size_t>(1, static_cast<std::size_t>(m) * static_cast<std::size_t>(r.N)));
      if (m) r.Get(i, i + m, buf.data());
      check(ncmpi_put_vara_double_all(nc, varids[k], start.data(), count.data(), buf.data()), "cannot write " + r.name);
    }
    if (r.grid)
      for (std::size_t d = 0; d < r.dims.size(); ++d) {
        const auto it = coordids.find(names[k][d]);
        if (it == coordids.end()) continue;
        const MPI_Offset zero = 0, n = rank ? 0 : r.dims[d];
        check(ncmpi_put_vara_double_all(nc, it->second, &zero, &n, r.grid->data->dim[d].coordinates.data()), "cannot write the coordinates");
        coordids.erase(it);
      }
  }
  e = ncmpi_close(nc);
  check(e, "cannot finish the file");
  PetscCallMPI(MPI_Barrier(comm)); /* nobody writes any more */
  if (!rank && !err.Failed()) {
    NcHeader                   h;
    Error                      parse;
    std::vector<unsigned char> head(static_cast<std::size_t>(headsize));
    std::FILE                 *f = std::fopen(file.Temp().c_str(), "rb");
    if (!f || std::fread(head.data(), 1, head.size(), f) != head.size() || !NcParseHeader(head.data(), head.size(), true, end, h, parse) ||
        h.vars.size() < rows.size())
      err.Set(Why::Open, "cannot write all bytes: is the disk full?");
    if (f) std::fclose(f);
  }
  if (!sure && !err.Failed()) PetscCall(CompareNetcdf(rows, at, file.Temp(), err));
  PetscCall(file.Commit(err, end));
  PetscFunctionReturn(PETSC_SUCCESS);
}
#endif

static PetscErrorCode WriteFile(MPI_Comm comm, const char cname[], PetscInt n, PetscObject objs[])
{
  const std::string name = cname;
  std::vector<Rows> rows(static_cast<std::size_t>(n));
  AtomicFile        file;

  PetscFunctionBegin;
  const bool npy = HasSuffix(name, ".npy"), mm = HasSuffix(name, ".mtx") || HasSuffix(name, ".mm"), h5 = HasSuffix(name, ".h5") || HasSuffix(name, ".hdf5"),
             nc = HasSuffix(name, ".nc") || HasSuffix(name, ".cdf"), bin = HasSuffix(name, ".bin") || HasSuffix(name, ".petsc") || HasSuffix(name, ".dat");
  PetscCheck(npy || mm || h5 || nc || bin, comm, PETSC_ERR_ARG_WRONG,
             "%s: the ending must say the format: .bin .petsc .dat (PETSc), .h5 .hdf5, .npy, .mtx .mm (Matrix Market), .nc .cdf (NetCDF)", cname);
#if !defined(SKEAN_HAVE_HDF5)
  PetscCheck(!h5, comm, PETSC_ERR_SUP, "%s: Skean was built without HDF5", cname);
#endif
#if !defined(SKEAN_HAVE_PNETCDF)
  PetscCheck(!nc, comm, PETSC_ERR_SUP, "%s: Skean was built without PnetCDF", cname);
#endif
  PetscCheck(n >= 1, comm, PETSC_ERR_ARG_OUTOFRANGE, "%s: nothing to write", cname);
  if (n > 1 && (npy || mm)) {
    /* formats that hold one object: name.object.ending */
    const std::size_t dot = name.rfind('.');
    for (PetscInt k = 0; k < n; ++k) {
      const char *on;
      PetscCall(PetscObjectGetName(objs[k], &on));
      std::string part = on;
      for (char &c : part)
        if (c == '/') c = '_';
      PetscCall(WriteFile(comm, (name.substr(0, dot) + "." + part + name.substr(dot)).c_str(), 1, &objs[k]));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscErrorCode ierr = PETSC_SUCCESS;
  PetscInt       open = 0;
  for (; open < n && !ierr; ++open) ierr = RowsOpen(objs[open], rows[static_cast<std::size_t>(open)]);
  if (ierr) --open;
  for (PetscInt k = 0; k < n && !ierr; ++k) {
    const Rows &r = rows[static_cast<std::size_t>(k)];
    for (PetscInt q = 0; q < k; ++q)
      if (!bin && rows[static_cast<std::size_t>(q)].name == r.name) /* in PETSc's files objects have no name, only an order */
        ierr = PetscError(comm, __LINE__, PETSC_FUNCTION_NAME, __FILE__, PETSC_ERR_ARG_WRONG, PETSC_ERROR_INITIAL,
                          "%s: two objects are called '%s'; name them with PetscObjectSetName()", cname, r.name.c_str());
    if (!ierr && r.sparse && (npy || nc))
      ierr = PetscError(comm, __LINE__, PETSC_FUNCTION_NAME, __FILE__, PETSC_ERR_SUP, PETSC_ERROR_INITIAL,
                        "%s: a sparse matrix cannot be written to %s files; use .h5, .mtx or .bin, or convert it to MATDENSE", cname, npy ? ".npy" : "NetCDF");
    if (!ierr && r.grid && mm)
      ierr = PetscError(comm, __LINE__, PETSC_FUNCTION_NAME, __FILE__, PETSC_ERR_SUP, PETSC_ERROR_INITIAL,
                        "%s: a grid cannot be written to Matrix Market; use .h5, .nc or .npy", cname);
  }
  if (!ierr) ierr = file.Begin(comm, name);
  if (!ierr) {
    if (npy)
      ierr = WriteNpy(comm, rows[0], file);
    else if (mm)
      ierr = WriteMM(comm, rows[0], file);
    else if (bin)
      ierr = WriteBinary(comm, rows, file);
#if defined(SKEAN_HAVE_HDF5)
    else if (h5)
      ierr = WriteHdf5(comm, rows, file);
#endif
#if defined(SKEAN_HAVE_PNETCDF)
    else if (nc)
      ierr = WriteNetcdf(comm, rows, file);
#endif
  }
  for (PetscInt k = 0; k < open; ++k) PetscCall(RowsClose(rows[static_cast<std::size_t>(k)]));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileGetAttribute(MPI_Comm comm, const char name[], const std::string &key, std::string &value, bool *found)
{
  Opened o;

  PetscFunctionBegin;
  *found = false;
  PetscCall(Open(comm, name, o));
  if (o.format == Format::Hdf5)
    PetscCall(Hdf5GetAttribute(o, key, &value, found));
  else if (o.format == Format::Netcdf) {
    NcHeader h;
    PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
      h = NcHeader();
      return NcParseHeader(p, n, complete, o.gz ? -1 : o.filesize, h, e);
    }));
    std::vector<const NcAtt *> atts;
    for (const auto &v : h.vars)
      if (o.variable.empty() || v.name == o.variable)
        for (const auto &a : v.atts) atts.push_back(&a);
    for (const auto &a : h.atts) atts.push_back(&a);
    for (const NcAtt *a : atts)
      if (!*found && a->name == key && a->values.empty()) {
        value  = a->text;
        *found = true;
      }
  } else {
    std::vector<std::string> lines;
    if (o.format == Format::MatrixMarket) {
      MMHeader h;
      PetscCall(ParseHead(o, [&](const unsigned char *p, std::size_t n, bool complete, Error &e) {
        h = MMHeader();
        return MMParseHeader(reinterpret_cast<const char *>(p), n, complete, h, e);
      }));
      lines = h.comments;
    } else if (o.format == Format::PetscBinary) {
      Opened    info;
      PetscBool exists;
      PetscCall(PetscTestFile((o.path + ".info").c_str(), 'r', &exists));
      int mine = exists, all;
      PetscCallMPI(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm));
      if (all) {
        PetscCall(Open(comm, (o.path + ".info").c_str(), info));
        std::string text(info.head.begin(), info.head.end());
        for (std::size_t at = 0; at < text.size();) {
          std::size_t e = text.find('\n', at);
          if (e == std::string::npos) e = text.size();
          if (text[at] == '#') lines.push_back(text.substr(at + 1, e - at - 1));
          at = e + 1;
        }
      }
    }
    for (std::string l : lines) {
      l.erase(0, l.find_first_not_of(' ') == std::string::npos ? l.size() : l.find_first_not_of(' '));
      if (!*found && l.rfind(key + ": ", 0) == 0) {
        value  = l.substr(key.size() + 2);
        *found = true;
        while (!value.empty() && (value.back() == '\r' || value.back() == ' ')) value.pop_back();
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace io
} // namespace skean

/*@C
   SkeanWriteFile - Writes matrices, vectors and grids to one file

   Collective

   Input Parameters:
+  comm    - the communicator of all of them
.  name    - name of the file; its ending says the format: .bin .petsc .dat (PETSc binary), .h5 .hdf5, .npy, .mtx .mm (Matrix Market), .nc .cdf (NetCDF)
.  n       - number of objects
-  objects - `Vec`, `Mat` or `SkeanGrid`, each under the name that `PetscObjectSetName()` gave it

   Level: beginner

   Notes:
   The file appears under its name only when it is complete (temporary file in the same folder, flush, rename); an old one is then replaced, and
   stays as it was if writing fails. HDF5, NetCDF and PETSc binary hold several objects; of .npy and .mtx one file for each is written,
   called stem.object.ending. Sparse matrices go to .bin, .mtx (coordinate) and .h5 (a group with data, indices, indptr as
   scipy.sparse.csr_matrix takes them); grids to .h5, .nc and .npy.

   The name, Skean's version, the options of the run and what `SkeanFileSetAttribute()` gave are written as attributes (HDF5, where a number
   is one; NetCDF), comments (Matrix Market, cut after 1000 characters) or a file name.info (PETSc binary); .npy has no room. All processes write at once by MPI-IO.
   The entries of every row of a sparse matrix are written in the order of their columns, whatever the number of processes. Memory: about 8 MB
   besides the objects; sparse HDF5 copies this process's entries.

   A full disk is an error of every process, and the old file stays: the space is set aside first for HDF5 and NetCDF, whose libraries do not
   notice or do not survive it. Where the file system cannot set space aside, NetCDF files are read again and compared.

   Errors: `PETSC_ERR_FILE_OPEN` if the file cannot be written, `PETSC_ERR_ARG_WRONG` for an unknown ending or two objects of one name,
   `PETSC_ERR_SUP` if the format cannot hold the object.

.seealso: `SkeanMatWriteFile()`, `SkeanVecWriteFile()`, `SkeanGridWriteFile()`, `SkeanFileSetAttribute()`, `SkeanMatLoadFile()`
@*/
PetscErrorCode SkeanWriteFile(MPI_Comm comm, const char name[], PetscInt n, PetscObject objects[])
{
  PetscErrorCode ierr;

  PetscFunctionBegin;
  PetscCheck(name && *name, comm, PETSC_ERR_ARG_NULL, "No file name");
  for (PetscInt k = 0; k < n; ++k) PetscCheck(objects && objects[k], comm, PETSC_ERR_ARG_NULL, "Null pointer: objects[%" PetscInt_FMT "]", k);
  PetscCall(SkeanInitializePackage());
  PetscCallCXX(ierr = skean::io::WriteFile(comm, name, n, objects));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanMatWriteFile - Writes a matrix to a file

   Collective

   Input Parameters:
+  A    - the matrix
-  name - name of the file, its ending says the format, see `SkeanWriteFile()`

   Level: beginner

   Errors: as `SkeanWriteFile()`.

.seealso: `SkeanWriteFile()`, `SkeanMatLoadFile()`, `SkeanVecWriteFile()`
@*/
PetscErrorCode SkeanMatWriteFile(Mat A, const char name[])
{
  PetscObject obj = (PetscObject)A;

  PetscFunctionBegin;
  PetscCheck(A, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: A");
  PetscCall(SkeanWriteFile(PetscObjectComm(obj), name, 1, &obj));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanVecWriteFile - Writes a vector to a file

   Collective

   Input Parameters:
+  v    - the vector
-  name - name of the file, its ending says the format, see `SkeanWriteFile()`

   Level: beginner

   Errors: as `SkeanWriteFile()`.

.seealso: `SkeanWriteFile()`, `SkeanVecLoadFile()`, `SkeanMatWriteFile()`
@*/
PetscErrorCode SkeanVecWriteFile(Vec v, const char name[])
{
  PetscObject obj = (PetscObject)v;

  PetscFunctionBegin;
  PetscCheck(v, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: v");
  PetscCall(SkeanWriteFile(PetscObjectComm(obj), name, 1, &obj));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGridWriteFile - Writes a grid to a file: HDF5, NetCDF classic or NumPy

   Collective

   Input Parameters:
+  grid - the grid
-  name - name of the file ending in .h5, .hdf5, .nc, .cdf or .npy, see `SkeanWriteFile()`

   Level: beginner

   Notes:
   NetCDF and HDF5 carry names, units and coordinates; missing values are NaN (and _FillValue is NaN in NetCDF).

   Errors: as `SkeanWriteFile()`.

.seealso: `SkeanWriteFile()`, `SkeanGridLoadFile()`
@*/
PetscErrorCode SkeanGridWriteFile(SkeanGrid grid, const char name[])
{
  PetscObject obj = (PetscObject)grid;

  PetscFunctionBegin;
  PetscCheck(grid, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer: grid");
  PetscCall(SkeanWriteFile(PetscObjectComm(obj), name, 1, &obj));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanFileSetAttribute - Gives an object a line that is written with it, such as the seed it was computed with

   Logically Collective

   Input Parameters:
+  obj   - a `Vec`, `Mat` or `SkeanGrid`
.  key   - name of the attribute
-  value - its text

   Level: intermediate

   Errors: `PETSC_ERR_ARG_WRONG` if key is empty or contains a colon or a blank.

.seealso: `SkeanFileGetAttribute()`, `SkeanWriteFile()`
@*/
PetscErrorCode SkeanFileSetAttribute(PetscObject obj, const char key[], const char value[])
{
  skean::io::Attributes *att;

  PetscFunctionBegin;
  PetscCheck(obj && key && value, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null pointer");
  PetscCheck(*key && !strpbrk(key, ": \t\r\n/"), PetscObjectComm(obj), PETSC_ERR_ARG_WRONG, "The name of an attribute must be one word, not '%s'", key);
  PetscCall(skean::io::GetAttributes(obj, &att));
  if (!att) {
    PetscContainer c;
    PetscCallCXX(att = new skean::io::Attributes());
    PetscCall(PetscContainerCreate(PetscObjectComm(obj), &c));
    PetscCall(PetscContainerSetPointer(c, att));
    PetscCall(SkeanContainerSetDelete(c, skean::io::Attributes));
    PetscCall(PetscObjectCompose(obj, "SkeanAttributes", (PetscObject)c));
    PetscCall(PetscContainerDestroy(&c));
  }
  PetscCallCXX((*att)[key] = value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanFileGetAttribute - Reads back what was written with an object: name, version, options, or an attribute of its own

   Collective

   Input Parameters:
+  comm - the communicator
.  name - name of the file, or file:variable
.  key  - name of the attribute
-  len  - length of value

   Output Parameters:
+  value - its text, cut to len, the same on every process; empty if there is none
-  found - whether there is one

   Level: intermediate

   Notes:
   Looks at the attributes of HDF5 and NetCDF, at the comments of Matrix Market and at the .info file of PETSc binary.

   Errors: as `SkeanMatLoadFile()`.

.seealso: `SkeanFileSetAttribute()`, `SkeanWriteFile()`
@*/
PetscErrorCode SkeanFileGetAttribute(MPI_Comm comm, const char name[], const char key[], char value[], size_t len, PetscBool *found)
{
  PetscErrorCode ierr;
  std::string    text;
  bool           f = false;

  PetscFunctionBegin;
  PetscCheck(key && value && found && len > 0, comm, PETSC_ERR_ARG_NULL, "Null pointer");
  PetscCall(SkeanInitializePackage());
  PetscCallCXX(ierr = skean::io::FileGetAttribute(comm, name, key, text, &f));
  PetscCall(ierr);
  *found = f ? PETSC_TRUE : PETSC_FALSE;
  PetscCall(PetscStrncpy(value, text.c_str(), len));
  PetscFunctionReturn(PETSC_SUCCESS);
}
